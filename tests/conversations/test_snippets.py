"""Snippets: what may stand in one, how it is filled, who sees and changes it, and how it travels as a file."""

from __future__ import annotations

import pytest
from tests.kernel_desk import NOON, Desk, open_desk

from zhiban.conversations import snippets as kept
from zhiban.conversations.snippet_files import read, written
from zhiban.conversations.snippet_variables import VARIABLES, check_template, filled_parts
from zhiban.conversations.snippets import LONGEST_TEXT, MOST, Snippet, SnippetInFile
from zhiban.events import SYSTEM, Actor
from zhiban.kit.db import Database
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.i18n import Texts
from zhiban.kit.pinyin import initials


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{contact.phone}}您好", 'no variable "contact.phone"'),
        ("{{}}", 'no variable ""'),
        ("{{ contact.name | 朋友 }}{{agent.password}}", 'no variable "agent.password"'),
        ("{{contact.name}", "one of these is alone"),
        ("{{{{contact.name}}}}", "one of these is alone"),
    ],
)
def test_what_nobody_knows_is_refused_in_words(template: str, said: str) -> None:
    with pytest.raises(Conflict, match=said):
        check_template(template)


@pytest.mark.parametrize(
    ("template", "name", "locale", "text", "missing"),
    [
        ("{{contact.name}}您好", "周予安", "zh", "周予安您好", []),
        ("{{ contact.name }}您好", "  周\n予安 ", "zh", "周 予安您好", []),
        ("{{contact.name}}您好", " ", "zh", "朋友您好", ["contact.name"]),
        ("Hi {{contact.name}}", "", "en", "Hi there", ["contact.name"]),
        ("{{contact.name | 老客户}}您好", "", "zh", "老客户您好", ["contact.name"]),
        ("{{contact.name|}}您好", "", "zh", "您好", ["contact.name"]),
        ("{{contact.name}}", "{{agent.name}}", "zh", "{{agent.name}}", []),  # read once, never again
        ("{单括号} 100% \\1", "x", "zh", "{单括号} 100% \\1", []),
    ],
)
def test_it_is_filled_once_and_says_what_was_empty(
    template: str, name: str, locale: str, text: str, missing: list[str]
) -> None:
    check_template(template)
    parts = filled_parts(
        template, {"contact.name": name, "agent.name": "林晓"}, Texts("en" if locale == "en" else "zh")
    )
    assert "".join(part.text for part in parts) == text
    assert [part.variable for part in parts if part.missing] == missing


def test_every_variable_may_be_empty() -> None:
    text = "".join(f"{{{{{name}}}}}" for name in VARIABLES)
    assert all(part.missing for part in filled_parts(text, {}, Texts()))


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("发票说明", "fpsm"),
        ("再见，2天内回复", "zj2tnhf"),
        ("Docker 部署", "dockerbs"),
        ("鑫", ""),
        ("啊座", "az"),
        ("", ""),
    ],
)
def test_names_are_found_by_their_initials(name: str, letters: str) -> None:
    assert initials(name) == letters


SPECIAL = [("发票", "好的，\n“已开”：{{contact.name}}"), ("=1+1", "@cmd 'x', \"y\""), ("'-", "'=x")]


@pytest.mark.parametrize("as_csv", [False, True])
def test_a_file_is_read_as_it_was_written(*, as_csv: bool) -> None:
    text = written([Snippet(1, None, name, body) for name, body in SPECIAL], as_csv=as_csv)
    assert read(text, as_csv=as_csv) == [SnippetInFile(name, body) for name, body in SPECIAL]
    if as_csv:
        assert not [line for line in text.splitlines() if line.startswith(("=", "@"))]
        assert read("\ufeff" + text, as_csv=True) == read(text, as_csv=True)


@pytest.mark.parametrize(
    ("text", "as_csv", "said"),
    [
        ("name: x", False, "is a list"),
        ("- {name: x}", False, "Snippet 1 of the file"),
        ("- {name: x, text: [1]}", False, "Snippet 1 of the file"),
        ("- &a {name: x, text: y}\n- *a", False, "Aliases"),
        ("x" * 200_001, True, "at most"),
        ("", True, "first line"),
        ("名字,内容\nx,y", True, "first line"),
        ("name,text\nx,y,z", True, "Snippet 1 of the file"),
        ('name,text\n"x,y', True, "not CSV"),
    ],
)
def test_a_file_that_holds_no_snippets_is_refused_in_words(text: str, as_csv: bool, said: str) -> None:
    with pytest.raises(Conflict, match=said):
        read(text, as_csv=as_csv)


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    return await open_desk(db, workspace)


async def test_they_are_kept_for_oneself_or_for_all_and_every_change_is_told(desk: Desk) -> None:
    lin, chen = Actor("agent", desk.lin), desk.chen
    async with desk.database.transaction(desk.workspace_id) as tx:
        shared = await kept.add_snippet(
            tx, name=" 发票 说明 ", text="在“我的订单”里\r\n申请\n", owner_id=None, by=lin, now=NOON
        )
        own = await kept.add_snippet(tx, name="发票 说明", text="我的", owner_id=chen, by=lin, now=NOON)
        assert [(one.name, one.text) for one in await kept.snippets(tx, desk.lin)] == [
            ("发票 说明", "在“我的订单”里\n申请")
        ]
        assert [one.id for one in await kept.snippets(tx, chen)] == [own, shared]
        with pytest.raises(NotFound):
            await kept.access_snippet(tx, own, agent_id=desk.lin)
        one = await kept.access_snippet(tx, shared, agent_id=desk.lin)
        assert await kept.change_snippet(tx, one, name="开票", text=one.text, by=lin, now=NOON)
        assert not await kept.change_snippet(tx, one, name="开票", text=one.text, by=lin, now=NOON)
        with pytest.raises(Conflict, match="no variable"):
            await kept.change_snippet(tx, one, name="开票", text="{{x}}", by=lin, now=NOON)
        await kept.remove_snippet(tx, one, by=lin, now=NOON)
        await kept.remove_snippet(tx, one, by=lin, now=NOON)
        with pytest.raises(NotFound):
            await kept.change_snippet(tx, one, name="又来", text="x", by=lin, now=NOON)
        told = await tx.rows("select kind, data from event where kind like 'snippet%%' order by id")
    assert [(kind, data.get("before"), data.get("after")) for kind, data in told] == [
        ("snippet_added", None, None),
        ("snippet_added", None, None),
        ("snippet_changed", {"name": "发票 说明"}, {"name": "开票"}),
        ("snippet_removed", None, None),
    ]


async def test_names_texts_and_numbers_have_their_limits(desk: Desk) -> None:
    wrong = [("", "x", "needs a name"), ("字" * 41, "x", "at most 40"), ("x", " \n", "needs a text"),
             ("x\x07", "x", "visible"), ("x", "字" * (LONGEST_TEXT + 1), "at most 4000"), ("x", "a\0b", "visible"),
             ("有了", "x", "already")]  # fmt: skip
    async with desk.database.transaction(desk.workspace_id) as tx:
        await kept.add_snippet(tx, name="有了", text="x", owner_id=None, by=SYSTEM, now=NOON)
        for name, text, said in wrong:
            with pytest.raises(Conflict, match=said):
                await kept.add_snippet(tx, name=name, text=text, owner_id=None, by=SYSTEM, now=NOON)
        await tx.run(
            "insert into snippet (workspace_id, name, text, changed_at) "
            "select %(w)s, 'n' || n, 'x', %(now)s from generate_series(1, %(most)s) n",
            w=desk.workspace_id, most=MOST - 1, now=NOON,
        )  # fmt: skip
        with pytest.raises(Conflict, match="300 snippets already"):
            await kept.add_snippet(tx, name="新的", text="x", owner_id=None, by=SYSTEM, now=NOON)


async def test_a_file_adds_and_changes_and_with_any_mistake_does_nothing(desk: Desk) -> None:
    first = [SnippetInFile("A", "一"), SnippetInFile("b", "二")]
    async with desk.database.transaction(desk.workspace_id) as tx:
        adopt = await kept.adopt_snippets(tx, first, owner_id=None, by=SYSTEM, now=NOON)
        again = [SnippetInFile("a", "一"), SnippetInFile("b", "新的"), SnippetInFile("c", "三")]
        assert (adopt, await kept.adopt_snippets(tx, again, owner_id=None, by=SYSTEM, now=NOON)) == ((2, 0), (1, 2))
        with pytest.raises(Conflict, match="same name"):
            await kept.adopt_snippets(tx, [*first, SnippetInFile("a", "x")], owner_id=None, by=SYSTEM, now=NOON)
        assert await kept.snippets_of(tx, desk.lin) == []
