"""Our own checks find what they are for. Each test breaks one rule in a small repository."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    spec = importlib.util.spec_from_file_location("checks", ROOT / "tools" / "checks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    module.ROOT = tmp_path
    monkeypatch.setattr(module.sql_owners, "EXCEPTIONS", {"a list": ("desk/pages/list.py: reads agent",)})
    write(tmp_path / "src/zhiban/desk/pages/list.py", 'ROWS = "select name from agent"\n')
    return module


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_clean_folder_passes(checks: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n" * 500)
    (tmp_path / "requirements.lock").write_text(f"a==1 \\\n    --hash=sha256:{'0' * 64}\n")
    assert checks.main() == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("long.py", "x = 1\n" * 501),
        ("a.md", "see https://" + "py" + "pi.org/simple"),
        ("a.toml", "path = '/ho" + "me/alice/x'"),
        ("b.py", "# TO" + "DO later"),
        ("requirements.lock", "a==1\n"),
        ("requirements-x.lock", "--index-url https://example.com\n"),
    ],
)
def test_what_does_not_belong_is_named(checks: ModuleType, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert checks.main() == 1


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("src/zhiban/desk/templates/a.html", 1),
        ("src/zhiban/channels/a.py", 1),
        ("src/zhiban/integrations/wecom/a.py", 0),
        ("src/zhiban/bootstrap.py", 0),
        ("src/zhiban/locale/en.po", 0),
        ("docs/a.md", 0),
    ],
)
def test_a_vendor_is_named_in_its_integration(checks: ModuleType, tmp_path: Path, name: str, found: int) -> None:
    write(tmp_path / name, "see WeCom-robot:x\n")
    assert len(list(checks.vendor_words(checks.tracked()))) == found


def test_developers_have_what_runs(checks: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def lock(*names: str) -> str:
        return "".join(f"{name} \\\n    --hash=sha256:{'0' * 64}\n" for name in names)

    (tmp_path / "requirements.lock").write_text(lock("a==1", "b==2"))
    (tmp_path / "requirements-dev.lock").write_text(lock("a==1", "b==3", "c==1"))
    assert checks.main() == 1
    assert "b==2 of requirements.lock is missing" in capsys.readouterr().out
    (tmp_path / "requirements-dev.lock").write_text(lock("a==1", "b==2", "c==1"))
    assert checks.main() == 0


def test_an_npm_lock_has_hashes_and_no_addresses(checks: ModuleType, tmp_path: Path) -> None:
    lock = {"packages": {"": {}, "node_modules/a": {"version": "1", "resolved": "https://example.com/a.tgz"}}}
    (tmp_path / "package-lock.json").write_text(json.dumps(lock))
    assert len(list(checks.wrong_locks(checks.tracked()))) == 2
    lock["packages"]["node_modules/a"]["funding"] = {"url": "https://example.com/a"}
    (tmp_path / "package-lock.json").write_text(json.dumps(lock))
    assert len(list(checks.wrong_locks(checks.tracked()))) == 3


def test_one_class_name_has_one_meaning(checks: ModuleType, tmp_path: Path) -> None:
    write(tmp_path / "src/zhiban/kit/text.py", "class Reader: ...\n")
    write(tmp_path / "tests/test_text.py", "class Reader: ...\n")
    assert checks.main() == 0
    write(tmp_path / "src/zhiban/web/render.py", "class Outer:\n    class Reader: ...\n")
    (problem,) = checks.homonyms(checks.tracked())
    assert problem.startswith("src/zhiban/web/render.py:2: src/zhiban/kit/text.py has a type Reader too")


@pytest.mark.parametrize(
    "source",
    [
        "class _Reader: ...",
        "Reader = int | str",
        "_Reader: TypeAlias = int | str",
        'Reader = NewType("Reader", int)',
        "Reader = Annotated[int, Field(gt=0)]",
    ],
)
def test_aliases_and_private_classes_have_one_meaning_too(checks: ModuleType, tmp_path: Path, source: str) -> None:
    write(tmp_path / "src/zhiban/kit/text.py", "class Reader: ...\n")
    write(tmp_path / "src/zhiban/web/render.py", f"{source}\n")
    (problem,) = checks.homonyms(checks.tracked())
    assert problem.startswith("src/zhiban/web/render.py:1: src/zhiban/kit/text.py has a type Reader too")


def test_what_is_written_alike_or_declares_a_parameter_is_no_second_meaning(checks: ModuleType, tmp_path: Path) -> None:
    write(tmp_path / "src/zhiban/kit/text.py", "Part = dict[str, int]\nREADER = 1\nclass Reader: ...\n")
    write(tmp_path / "src/zhiban/web/render.py", "Part = dict[str, int]\nREADER = 2\nReader = Annotated[str, Form()]\n")
    assert checks.main() == 0


def test_what_is_read_first_says_what_it_promises(checks: ModuleType, tmp_path: Path) -> None:
    write(tmp_path / "src/zhiban/ports/a.py", 'class _Own: ...\nclass A:\n    """Promised."""\n    def b(self): ...\n')
    write(tmp_path / "src/zhiban/kit/text.py", "class Other: ...\n")
    (problem,) = checks.without_promise(checks.tracked())
    assert problem == "src/zhiban/ports/a.py:4: say what b promises, in a docstring"


@pytest.mark.parametrize(
    "sql",
    [
        '"select c.id, p.name from conversation c left join contact p on p.id = c.contact_id"',
        '"select 1", "update contact set name = %(name)s"',
        'f"insert into contact (name) {values}"',
        '"delete from contact where id = %(id)s"',
    ],
)
def test_only_the_owner_names_a_table(checks: ModuleType, tmp_path: Path, sql: str) -> None:
    write(tmp_path / "src/zhiban/people/contacts.py", f"SQL = {sql.replace('conversation', 'agent')}\n")
    assert checks.main() == 0
    write(tmp_path / "src/zhiban/conversations/queries.py", f"def read(values):\n    return {sql}\n")
    (problem,) = checks.sql_owners.problems(tmp_path)
    assert problem.startswith("src/zhiban/conversations/queries.py:2: ")
    assert problem.endswith(" contact belongs to people; ask its queries or its verbs")


def test_prose_is_not_sql_and_everybody_reads_the_log(checks: ModuleType, tmp_path: Path) -> None:
    write(
        tmp_path / "src/zhiban/desk/stream.py",
        '"""We select from contact, and update message set by set."""\n'
        'SORRY = "There is no message from contact {name}."\n'
        'LAST = "select max(id) from event"\n',
    )
    assert checks.main() == 0
    write(tmp_path / "src/zhiban/desk/stream.py", 'ADD = "insert into event (kind) values (1)"\n')
    assert len(list(checks.sql_owners.problems(tmp_path))) == 1


def test_every_table_has_an_owner_and_exceptions_end(checks: ModuleType, tmp_path: Path) -> None:
    write(tmp_path / "src/zhiban/migrations/versions/0003_more.py", 'SQL = "create table made_up (id bigint)"\n')
    write(tmp_path / "src/zhiban/desk/pages/list.py", "ROWS = 1\n")
    assert sorted(checks.sql_owners.problems(tmp_path)) == [
        "src/zhiban/migrations/versions/0003_more.py: made_up has no owner; name one in tools/sql_owners.py",
        "tools/sql_owners.py: desk/pages/list.py does not read agent any more; strike the exception",
    ]


def test_who_may_read_may_not_write(checks: ModuleType, tmp_path: Path) -> None:
    write(tmp_path / "src/zhiban/desk/pages/list.py", 'ROWS = "select name from agent", "update agent set name = 1"\n')
    (problem,) = checks.sql_owners.problems(tmp_path)
    assert problem == ("src/zhiban/desk/pages/list.py:1: update agent belongs to people; ask its queries or its verbs")


@pytest.mark.parametrize(
    "body",
    [
        'row = await tx.row("select id from agent")\n    return row[0]',
        'rows = await tx.rows("select id from agent")\n    return [row[0] for row in rows]',
        'rows = await tx.rows("select id from agent")\n    return rows[0][1]',
        'row = await tx.row("select id from agent") if tx else None\n    return row[2]',
        'row = await tx.row("select id from agent")\n    return row[10:]',
        'rows = await tx.rows("select id from agent")\n    return rows[0][:3]',
    ],
)
def test_a_row_is_not_read_by_number(checks: ModuleType, tmp_path: Path, body: str) -> None:
    write(tmp_path / "src/zhiban/people/queries.py", f"async def read(tx):\n    {body}\n")
    assert [problem.split(": ")[1] for problem in checks.numbered_rows(checks.tracked())] == [
        "name the columns of this row"
    ]


def test_what_is_unpacked_or_no_row_may_be(checks: ModuleType, tmp_path: Path) -> None:
    write(
        tmp_path / "src/zhiban/people/queries.py",
        "async def read(tx, found):\n"
        '    id_, name = await tx.row("select id, name from agent")\n'
        '    ids = await tx.values("select id from agent")\n'
        "    return found[0], ids[0], id_, name\n",
    )
    assert list(checks.numbered_rows(checks.tracked())) == []
