"""Write the references from the code: docs/reference/configuration.{zh,en}.md and cli.{zh,en}.md.

    python tools/reference.py          # writes the pages
    python tools/reference.py check    # exit 1 when a page or a Chinese description is missing or out of date

English descriptions of settings stand at the settings themselves, Chinese ones and the order of the groups in
reference.json. What the commands say of themselves follows the first heading "## zhiban" of their pages; what stands
above it is written by hand.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import types
import typing
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from zhiban.integrations.gitea.config import GiteaSettings
from zhiban.integrations.gitee.config import GiteeSettings
from zhiban.integrations.github.config import GitHubSettings
from zhiban.integrations.gitlab.config import GitLabSettings
from zhiban.integrations.wecom.config import WeComSettings
from zhiban.kit.settings import Settings, setting_names

FIELDS = {
    **Settings.model_fields,
    **WeComSettings.model_fields,
    **GitHubSettings.model_fields,
    **GitLabSettings.model_fields,
    **GiteaSettings.model_fields,
    **GiteeSettings.model_fields,
}
ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference"
WORDS = {
    "zh": {
        "title": "配置参考",
        "intro": (
            "所有设置都来自环境变量，或当前目录下的 `.env` 文件（环境变量优先）。空值等同于没有设置。"
            "多数设置有默认值，什么都不写也能运行。\n\n"
            "本页由 `python tools/reference.py` 根据代码生成，请勿手工修改。"
        ),
        "head": ("设置", "类型", "默认值", "说明"),
        "also": "也可写作",
        "secret": "密文",
        "empty": "空",
        "or": "或",
        "types": {"str": "文本", "int": "整数", "float": "数字", "bool": "true 或 false", "Path": "目录"},
        "from": "至少",
        "to": "至多",
        "above": "大于",
    },
    "en": {
        "title": "Configuration reference",
        "intro": (
            "Every setting comes from the environment or from a file `.env` in the current folder; the environment "
            "wins. An empty value is the same as none. Nearly everything has a default.\n\n"
            "This page is written by `python tools/reference.py` from the code; do not edit it."
        ),
        "head": ("Setting", "Type", "Default", "Meaning"),
        "also": "also",
        "secret": "secret",
        "empty": "empty",
        "or": "or",
        "types": {"str": "text", "int": "integer", "float": "number", "bool": "true or false", "Path": "folder"},
        "from": "at least",
        "to": "at most",
        "above": "above",
    },
}
Locale = Literal["zh", "en"]
COMMANDS = "## zhiban\n"
# Texts are chosen when the modules are imported, so each language needs a process of its own.
HELP = """
import json, sys
from importlib import import_module
import typer
from zhiban.cli import app as frame

for module in frame.every_module():
    import_module(f"zhiban.cli.{module}")
pages = []

def visit(command, path, parent):
    wishes = {"terminal_width": 80, "max_content_width": 80, **command.context_settings}
    context = type(command).context_class(command, info_name=path[-1], parent=parent, **wishes)
    nested = getattr(command, "commands", None)
    if nested is None or len(path) == 1:
        pages.append((" ".join(path), command.get_help(context)))
    for name, one in (nested or {}).items():
        visit(one, [*path, name], context)

visit(typer.main.get_command(frame.app), ["zhiban"], None)
sys.stdout.write(json.dumps(pages))
"""


class ReferenceError(Exception):  # noqa: A001 - ours is about the reference page
    """The page cannot be written; the sentence says what is missing."""


def names(field: str, info: FieldInfo) -> list[str]:
    return [name.upper() for name in setting_names(field, info)]


def kind(annotation: Any, words: dict[str, Any]) -> str:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(annotation) if part is not type(None)]
        return f" {words['or']} ".join(kind(part, words) for part in parts)
    if origin is Literal:
        return f" {words['or']} ".join(f"`{value}`" for value in typing.get_args(annotation))
    if annotation is SecretStr:
        return str(words["secret"])
    return str(words["types"][annotation.__name__])


def limits(info: FieldInfo, words: dict[str, Any]) -> str:
    signs = {"ge": words["from"], "gt": words["above"], "le": words["to"], "lt": "<"}
    found = [
        f"{signs[sign]} {getattr(rule, sign):g}" for rule in info.metadata for sign in signs if hasattr(rule, sign)
    ]
    return f" ({', '.join(found)})" if found else ""


def default(info: FieldInfo, words: dict[str, Any]) -> str:
    value = info.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value in ("", PydanticUndefined):
        return str(words["empty"])
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def groups() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((ROOT / "tools" / "reference.json").read_text("utf-8"))
    listed = [name for group in found for name in group["settings"]]
    missing = sorted(set(FIELDS) - set(listed))
    stale = sorted(set(listed) - set(FIELDS))
    if missing or stale or len(listed) != len(set(listed)):
        raise ReferenceError(f"tools/reference.json: missing {missing}, unknown {stale}, or listed twice.")
    return found


def page(locale: Locale) -> str:
    words = WORDS[locale]
    lines = [f"# {words['title']}", "", str(words["intro"])]
    for group in groups():
        lines += [
            "",
            f"## {group[locale]}",
            "",
            "| {} | {} | {} | {} |".format(*words["head"]),
            "| --- | --- | --- | --- |",
        ]
        for name, chinese in group["settings"].items():
            info = FIELDS[name]
            first, *others = names(name, info)
            title = f"`{first}`" + (
                f" ({words['also']} {', '.join(f'`{other}`' for other in others)})" if others else ""
            )
            meaning = chinese if locale == "zh" else info.description
            if not meaning:
                raise ReferenceError(f"{first} has no description.")
            cells = (title, kind(info.annotation, words) + limits(info, words), default(info, words), meaning)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def commands(locale: Locale) -> str:
    """The page about the commands: what is written by hand, then what each command says of itself."""
    before = (FOLDER / f"cli.{locale}.md").read_text("utf-8")
    written, found, _ = before.partition(COMMANDS)
    if not found:
        raise ReferenceError(f"cli.{locale}.md has no heading {COMMANDS.strip()!r}.")
    environment = {**os.environ, "ZHIBAN_LOCALE": locale, "COLUMNS": "80", "NO_COLOR": "1"}
    with tempfile.TemporaryDirectory() as empty:  # without anybody's .env
        said = subprocess.run(
            [sys.executable, "-c", HELP], cwd=empty, env=environment, capture_output=True, text=True, check=False
        )
    if said.returncode:
        raise ReferenceError(said.stderr)
    pages: list[tuple[str, str]] = json.loads(said.stdout)
    lines = [written.rstrip("\n")]
    order = re.findall(r"^## (zhiban.*)$", before, re.MULTILINE)

    def place(name: str) -> int:
        """Where it stood; what is new comes after the others of its group."""
        group = name.rpartition(" ")[0]
        beside = (
            at for at, known in enumerate(order) if known == name or known.rpartition(" ")[0] == group != "zhiban"
        )
        return order.index(name) if name in order else max(beside, default=len(order))

    for name, text in sorted(pages, key=lambda one: place(one[0])):
        body = "\n".join(line.rstrip() for line in text.strip("\n").splitlines())
        lines += ["", f"## {name}", "", "```text", body, "```"]
    return "\n".join(lines) + "\n"


def main() -> int:
    check = sys.argv[1:] == ["check"]
    stale = False
    try:
        for locale in typing.get_args(Locale):
            for name, write in (("configuration", page), ("cli", commands)):
                path, text = FOLDER / f"{name}.{locale}.md", write(locale)
                if path.exists() and path.read_text("utf-8") == text:
                    continue
                stale = True
                if not check:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text, "utf-8")
                said = "is out of date; run python tools/reference.py" if check else "written"
                print(f"{path.relative_to(ROOT)} {said}")
    except ReferenceError as error:
        print(error, file=sys.stderr)
        return 1
    return int(check and stale)


if __name__ == "__main__":
    raise SystemExit(main())
