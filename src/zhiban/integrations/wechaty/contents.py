"""What a WeChat message says, from its kind and its text: quotes, mentions, cards. Pure.

What is more than a text comes as WeChat's own XML, of which a few values are read by their names, as the desk lays them
out. It is never parsed as a document: it was written by whoever sent it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Final

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.text import clean
from zhiban.ports import Kind, Mention

FILE, AUDIO, CONTACT, HISTORY, EMOTICON, IMAGE, TEXT, LOCATION, MINI_PROGRAM = 1, 2, 3, 4, 5, 6, 7, 8, 9
TRANSFER, RED_ENVELOPE, RECALLED, LINK, VIDEO = 11, 12, 13, 14, 15

FILES: Final[Mapping[int, Kind]] = {
    FILE: Kind.FILE,
    AUDIO: Kind.VOICE,
    EMOTICON: Kind.IMAGE,
    IMAGE: Kind.IMAGE,
    VIDEO: Kind.VIDEO,
}
_NAMES: Final = {TRANSFER: "[转账]", RED_ENVELOPE: "[红包]", 16: "[动态]"}
LONGEST: Final = 100_000
LONGEST_RAW: Final = 2_000  # characters kept of a message that nobody can read

SPACE: Final = "\u2005"  # WeChat ends a mention with it
_MENTIONED = re.compile(r"@([^@\u2005\n]{1,64})\u2005")
_RULE = "- " * 14 + "-"
_QUOTE = re.compile(rf"\A「(?:([^：」\n]{{0,64}})：)?(.*)」\n{_RULE}\n(.*)\Z", re.DOTALL)
_TAG = re.compile(
    r"<(title|des|url|appid|pagepath|nickname|username)>(?:<!\[CDATA\[(.*?)\]\]>|([^<]*))</\1>", re.DOTALL
)
_ATTRIBUTE = re.compile(r"\b(x|y|label|poiname|nickname|username)\s*=\s*\"([^\"]*)\"")
_REVOKED = re.compile(r"<newmsgid>\s*(\d{1,30})\s*</newmsgid>")
_ID = re.compile(r"[A-Za-z0-9_@.:\-]{1,100}", re.ASCII)


@frozen_dataclass
class Quote:
    """The message that another one answers, as its text repeats it."""

    name: str
    text: str


@frozen_dataclass
class WeChatText:
    """A message as people read it. `content` holds the fields that the desk lays out."""

    kind: Kind
    text: str
    content: Mapping[str, Any] = field(default_factory=dict)
    quote: Quote | None = None


def read(kind: int, text: str) -> WeChatText:
    """Never raises; a kind that nobody knows keeps its beginning as `raw`."""
    text = clean(text)[:LONGEST]
    if kind == TEXT:
        return _text(text)
    if kind in FILES:
        return WeChatText(FILES[kind], "")
    found = _CARDS[kind](_values(text), text) if kind in _CARDS else None
    return found or WeChatText(Kind.OTHER, _NAMES.get(kind, ""), {"type": f"wechat_{kind}", "raw": text[:LONGEST_RAW]})


def _text(text: str) -> WeChatText:
    found = _QUOTE.match(text)
    if found is None:
        return WeChatText(Kind.TEXT, text)
    name, quoted, said = found.groups()
    return WeChatText(Kind.TEXT, said, quote=Quote((name or "").strip(), quoted))


def mentioned_names(text: str) -> list[str]:
    """Whom a text names with @, as it was written by WeChat."""
    return [name.strip() for name in _MENTIONED.findall(text)]


def with_mentions(text: str, mentions: Sequence[Mention]) -> str:
    """The text as WeChat writes it when it names these people."""
    names = [re.sub(r"[@\s\u2005]+", " ", one.name).strip() for one in mentions]
    return "".join(f"@{name}{SPACE}" for name in names if name) + text


def recalled_id(text: str) -> str:
    """The id of the message that was taken back, where its notice names one; empty otherwise."""
    if found := _REVOKED.search(text):
        return found[1]
    return text.strip() if _ID.fullmatch(text.strip()) else ""


# ------------------------------------------------------------------------------------------------------------- cards


def _values(text: str) -> dict[str, str]:
    found = dict(_ATTRIBUTE.findall(text))
    for name, raw, plain in _TAG.findall(text):
        found.setdefault(name, raw or plain)
    return {name: html.unescape(value).strip()[:2000] for name, value in found.items() if value.strip()}


def _present(**fields: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _location(values: Mapping[str, str], _raw: str) -> WeChatText | None:
    name, address = values.get("poiname", ""), values.get("label", "")
    content = _present(name=name, address=address)
    try:
        latitude, longitude = float(values["x"]), float(values["y"])
        if abs(latitude) <= 90 and abs(longitude) <= 180:
            content |= {"latitude": latitude, "longitude": longitude}
    except (KeyError, ValueError):
        pass
    lines = dict.fromkeys(line for line in (name, address) if line)
    return WeChatText(Kind.LOCATION, "\n".join(lines), content) if content else None


def _link(values: Mapping[str, str], _raw: str) -> WeChatText | None:
    title, description, url = (values.get(name, "") for name in ("title", "des", "url"))
    words = "\n".join(line for line in (title, description, url) if line)
    content = _present(title=title, description=description, url=url)
    return WeChatText(Kind.LINK, words, content) if content else None


def _mini_program(values: Mapping[str, str], _raw: str) -> WeChatText | None:
    title = values.get("title", "")
    content = _present(title=title, app_id=values.get("appid", ""), path=values.get("pagepath", ""))
    return WeChatText(Kind.MINIPROGRAM, title, content) if title else None


def _card(values: Mapping[str, str], raw: str) -> WeChatText | None:
    name = values.get("nickname") or (raw.strip() if _ID.fullmatch(raw.strip()) else "")
    return WeChatText(Kind.CARD, name, _present(member=name)) if name else None


def _history(values: Mapping[str, str], _raw: str) -> WeChatText | None:
    title, lines = values.get("title", ""), values.get("des", "")
    if not (title or lines):
        return None
    items = [
        {"sender": sender.strip(), "kind": Kind.TEXT.value, "text": words.strip()}
        for sender, found, words in (line.partition(":") for line in lines.splitlines()[:200])
        if found
    ]
    return WeChatText(Kind.MERGED, "\n".join(filter(None, (title, lines))), {"title": title, "items": items})


_CARDS: Final = {
    CONTACT: _card,
    HISTORY: _history,
    LOCATION: _location,
    MINI_PROGRAM: _mini_program,
    LINK: _link,
}
