"""OneBot messages: both formats taken apart, and what each segment means to people. Pure; nothing here raises.

The same message comes as an array of segments or as a string with CQ codes, as its implementation is configured. Cards
are JSON or XML that anybody may have written: a few values are looked up by their names.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.text import clean
from zhiban.ports import Kind, Media

LONGEST: Final = 100_000
MOST_SEGMENTS: Final = 500
MOST_FILES: Final = 20
LONGEST_VALUE: Final = 2_000
LONGEST_RAW: Final = 2_000
ALL: Final = "all"

_CODE = re.compile(r"\[CQ:([A-Za-z0-9_.-]{1,40})((?:,[^\[\],=]{1,60}=[^\[\],]*)*)\]")
_XML = re.compile(r"<(title|summary|des)\b[^>]*>(?:<!\[CDATA\[(.*?)\]\]>|([^<]*))</\1>", re.DOTALL | re.IGNORECASE)
_XML_ATTRIBUTE = re.compile(r"\b(brief|url)\s*=\s*\"([^\"]*)\"", re.IGNORECASE)
_FORWARDED = re.compile(r"\bm_resid\s*=\s*\"([^\"]{1,200})\"")
_SPACES = re.compile(r"[@\s\u2005]+")

FILES: Final[Mapping[str, Kind]] = {
    "image": Kind.IMAGE,
    "mface": Kind.IMAGE,
    "record": Kind.VOICE,
    "video": Kind.VIDEO,
    "file": Kind.FILE,
    "onlinefile": Kind.FILE,
}
_SHOWN: Final = {Kind.IMAGE: "[图片]", Kind.VOICE: "[语音]", Kind.VIDEO: "[视频]", Kind.FILE: "[文件]"}
_SIGNS: Final = {
    "dice": "[骰子]",
    "rps": "[猜拳]",
    "poke": "[戳一戳]",
    "shake": "[窗口抖动]",
    "gift": "[礼物]",
    "redbag": "[红包]",
}


@frozen_dataclass
class MessageSegment:
    """One part of a message. `data` is what it says, by OneBot's names."""

    type: str
    data: Mapping[str, Any] = field(default_factory=dict)

    def text(self, *names: str) -> str:
        """The first of these that says something, as text fit for storing."""
        for name in names:
            value = self.data.get(name)
            if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
                return clean(str(value))[:LONGEST]
        return ""


def identifier(value: object) -> str:
    """An id as we keep it: numbers of any size and sign, and what bridges to other networks call people; else empty."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**30 else ""
    if isinstance(value, str) and re.fullmatch(r"[!-~]{1,100}", value.strip()):
        return value.strip()
    return ""


def number(value: str) -> int | str:
    """An id as implementations want it: the number that it is, or itself."""
    return int(value) if re.fullmatch(r"-?[0-9]{1,19}", value, re.ASCII) else value


# --------------------------------------------------------------------------------------------------------- both formats


def segments_of(message: object) -> list[MessageSegment]:
    """A message in either format. What is neither is empty."""
    if isinstance(message, str):
        return _from_codes(message[:LONGEST])
    if isinstance(message, Mapping):
        message = [message]
    if not isinstance(message, list):
        return []
    found: list[MessageSegment] = []
    for one in message[:MOST_SEGMENTS]:
        if isinstance(one, str):
            found.append(MessageSegment("text", {"text": one}))
        elif isinstance(one, Mapping) and isinstance(one.get("type"), str):
            data = one.get("data")
            found.append(MessageSegment(one["type"], data if isinstance(data, Mapping) else {}))
    return found


def _from_codes(text: str) -> list[MessageSegment]:
    found: list[MessageSegment] = []
    at = 0
    for code in _CODE.finditer(text):
        if len(found) >= MOST_SEGMENTS:
            break
        if code.start() > at:
            found.append(MessageSegment("text", {"text": unescape(text[at : code.start()])}))
        pairs = (pair.partition("=") for pair in code[2].split(",") if pair)
        found.append(MessageSegment(code[1], {name: unescape(value) for name, _, value in pairs}))
        at = code.end()
    if at < len(text):
        found.append(MessageSegment("text", {"text": unescape(text[at:])}))
    return found


def unescape(text: str) -> str:
    """CQ's escapes, `&amp;` last, so that what was escaped twice is taken back once."""
    return text.replace("&#91;", "[").replace("&#93;", "]").replace("&#44;", ",").replace("&amp;", "&")


# ------------------------------------------------------------------------------------------------------ what they mean


@dataclass(slots=True)
class Reading:
    """A message as people read it, as it is put together."""

    text: str = ""
    kind: Kind = Kind.TEXT
    media: list[Media] = field(default_factory=list)
    content: dict[str, Any] = field(default_factory=dict)
    reply_to: str = ""
    mentions: list[str] = field(default_factory=list)
    mentions_us: bool = False
    forward: str = ""  # the id of what has to be asked for
    nodes: list[Any] = field(default_factory=list)  # what was forwarded, where the message brings it along
    files: list[str] = field(default_factory=list)  # the names of its files


def read(
    segments: Sequence[MessageSegment], *, us: str = "", name_of: Callable[[str], str] = lambda _id: "", raw: str = ""
) -> Reading:
    """What a message says. `name_of` tells what somebody is called in that group, or nothing."""
    found = Reading()
    for one in segments:
        match one.type:
            case "text":
                found.text += one.text("text")
            case "at":
                _mention(found, one, us, name_of)
            case "reply":
                found.reply_to = found.reply_to or identifier(one.data.get("id"))
            case "forward":
                _forward(found, one)
            case "markdown":
                found.text += one.text("content", "data")
            case "json" | "miniapp" | "xml" | "share" | "music" | "location" | "contact":
                _card(found, one)
            case type_ if type_ in FILES:
                _file(found, one)
            case _:
                found.text += _sign(one)
    _settle(found, raw)
    return found


def _mention(found: Reading, one: MessageSegment, us: str, name_of: Callable[[str], str]) -> None:
    whom = identifier(one.data.get("qq"))
    if not whom:
        return
    if whom == us:
        found.mentions_us = True
    elif whom != ALL and whom not in found.mentions:
        found.mentions.append(whom)
    name = "全体成员" if whom == ALL else one.text("name") or name_of(whom) or whom
    # One word and a space after it, by which a mention is known to be over.
    found.text += f"@{_SPACES.sub('', name)[:60] or whom} "


def _forward(found: Reading, one: MessageSegment) -> None:
    found.kind = Kind.MERGED
    found.forward = found.forward or identifier(one.data.get("id"))
    content = one.data.get("content")
    if isinstance(content, list):
        found.nodes = content


def _file(found: Reading, one: MessageSegment) -> None:
    kind = FILES[one.type]
    name = one.text("name", "file_name", "fileName") or one.text("file")
    name = "" if "://" in name else name.rpartition("/")[2].rpartition("\\")[2][:200]
    reference = file_reference(one)
    if reference and len(found.media) < MOST_FILES:
        found.media.append(Media(reference, kind, name or None))
        found.files.append(name)
    elif one.text("summary"):
        found.text += one.text("summary")
    else:
        found.text += _SHOWN[kind]


def file_reference(one: MessageSegment) -> str:
    """Where the file is got: its address, what it holds itself, or the implementation's own name for it."""
    file, url = one.text("file"), one.text("url")
    for address in (url, file):
        if address.startswith(("http://", "https://")):
            return f"url:{address}"
    if file.startswith("base64://"):
        return file
    known = one.text("file_id", "id") if one.type in ("file", "onlinefile") else file
    return f"{one.type}:{known or file}" if known or file else ""


def _sign(one: MessageSegment) -> str:
    if one.type == "face":
        raw = one.data.get("raw")
        said = raw.get("faceText") if isinstance(raw, Mapping) else None
        words = clean(said)[:40].strip("[]/ ") if isinstance(said, str) else ""
        return f"[{words or '表情'}]"
    if one.type in ("dice", "rps") and one.text("result"):
        return f"{_SIGNS[one.type][:-1]}{one.text('result')[:10]}]"
    return _SIGNS.get(one.type, "" if one.type in ("anonymous", "keyboard", "longmsg") else f"[{clean(one.type)[:40]}]")


def _settle(found: Reading, raw: str) -> None:
    """Which kind it is as a whole."""
    found.text = found.text.strip("\n") if found.text.strip() else ""
    if found.kind is Kind.TEXT and not found.text and found.media:
        kinds = {one.kind for one in found.media}
        found.kind = kinds.pop() if len(kinds) == 1 else Kind.TEXT
    elif found.kind is Kind.TEXT and not found.text and not found.media and not found.mentions_us:
        found.kind = Kind.OTHER
        found.content = {"type": "qq", "raw": clean(raw)[:LONGEST_RAW]}


# --------------------------------------------------------------------------------------------------------------- cards


def _card(found: Reading, one: MessageSegment) -> None:
    kind, text, content = _CARDS[one.type](one)
    if kind is Kind.MERGED:
        found.kind, found.forward = kind, found.forward or str(content.pop("forward", ""))
    elif found.kind is Kind.TEXT:
        found.kind = kind
    found.text += ("\n" if found.text and text else "") + text
    if not found.content:
        found.content = content


ParsedCard = tuple[Kind, str, dict[str, Any]]


def _present(**values: str) -> dict[str, Any]:
    return {name: value[:LONGEST_VALUE] for name, value in values.items() if value}


def _lines(*values: str) -> str:
    return "\n".join(dict.fromkeys(value for value in values if value))


def _share(one: MessageSegment) -> ParsedCard:
    title, description, url = one.text("title"), one.text("content"), one.text("url")
    return Kind.LINK, _lines(title, description, url), _present(title=title, description=description, url=url)


def _place(one: MessageSegment) -> ParsedCard:
    name, address = one.text("title", "name"), one.text("content", "address")
    content = _present(name=name, address=address)
    try:
        latitude, longitude = float(one.text("lat")), float(one.text("lon", "lng"))
        if abs(latitude) <= 90 and abs(longitude) <= 180:
            content |= {"latitude": latitude, "longitude": longitude}
    except ValueError:
        pass
    return Kind.LOCATION, _lines(name, address) or "[位置]", content


def _business_card(one: MessageSegment) -> ParsedCard:
    who = one.text("id")
    return Kind.CARD, f"[推荐{'群' if one.text('type') == 'group' else '好友'}] {who}", _present(member=who)


def _json(one: MessageSegment) -> ParsedCard:
    value = one.data.get("data")
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, Mapping):
        return Kind.OTHER, "", {"type": "qq_json", "raw": one.text("data")[:LONGEST_RAW]}
    app, prompt = _said(value, "app"), _said(value, "prompt")
    meta = value.get("meta")
    parts = [part for part in meta.values() if isinstance(part, Mapping)] if isinstance(meta, Mapping) else []
    part = parts[0] if parts else {}
    if app == "com.tencent.multimsg":
        return Kind.MERGED, prompt, {"forward": identifier(part.get("resid"))}
    if app == "com.tencent.map":
        return _place(MessageSegment("location", {**part, "title": part.get("name"), "content": part.get("address")}))
    title, description = _said(part, "title"), _said(part, "desc", "summary")
    url = _said(part, "qqdocurl", "jumpUrl", "url")
    words = _lines(title, description, url) or prompt
    if app.startswith("com.tencent.miniapp"):
        return Kind.MINIPROGRAM, _lines(prompt, title, description), _present(title=description or title or prompt)
    content = _present(title=title or prompt, description=description, url=url)
    return (Kind.LINK, words, content) if words else (Kind.OTHER, "", {"type": "qq_json", "raw": app})


def _said(value: Mapping[str, Any], *names: str) -> str:
    for name in names:
        found = value.get(name)
        if isinstance(found, str) and found.strip():
            return clean(found).strip()[:LONGEST_VALUE]
    return ""


def _xml(one: MessageSegment) -> ParsedCard:
    document = one.text("data")
    if forwarded := _FORWARDED.search(document):
        brief = dict(_XML_ATTRIBUTE.findall(document)).get("brief", "")
        return Kind.MERGED, html.unescape(brief), {"forward": identifier(forwarded[1])}
    values: dict[str, str] = {}
    for name, inner, plain in _XML.findall(document):
        values.setdefault(name.lower(), html.unescape(inner or plain).strip()[:LONGEST_VALUE])
    for name, value in _XML_ATTRIBUTE.findall(document):
        values.setdefault(name.lower(), html.unescape(value).strip()[:LONGEST_VALUE])
    title = values.get("title") or values.get("brief", "")
    description, url = values.get("summary") or values.get("des", ""), values.get("url", "")
    words = _lines(title, description, url)
    if not words:
        return Kind.OTHER, "", {"type": "qq_xml", "raw": document[:LONGEST_RAW]}
    return Kind.LINK, words, _present(title=title, description=description, url=url)


_CARDS: Final[Mapping[str, Callable[[MessageSegment], ParsedCard]]] = {
    "json": _json,
    "miniapp": _json,
    "xml": _xml,
    "share": _share,
    "music": _share,
    "location": _place,
    "contact": _business_card,
}


# ------------------------------------------------------------------------------------------------- forwarded messages


@frozen_dataclass
class Node:
    """One message of a forwarded chat. `forward` names a chat that is forwarded within it."""

    sender: str
    text: str
    kind: Kind
    forward: str = ""
    nodes: tuple[Any, ...] = ()


def nodes_of(answer: object) -> list[Node]:
    """What `get_forward_msg` answered, as the three implementations that matter shape it."""
    if isinstance(answer, Mapping):
        answer = answer.get("messages") or answer.get("message")
    return [one for one in map(_node, answer if isinstance(answer, list) else ()) if one is not None]


def _node(value: object) -> Node | None:
    if not isinstance(value, Mapping):
        return None
    inner = value.get("data")
    if value.get("type") == "node" and isinstance(inner, Mapping):
        value = inner
    sender = value.get("sender")
    who = sender if isinstance(sender, Mapping) else value
    name = _said(who, "card", "nickname", "name") or identifier(who.get("user_id") or who.get("uin"))
    content = value.get("content") or value.get("message")
    inside = (
        [part for part in content if isinstance(part, Mapping) and part.get("type") == "node"]
        if isinstance(content, list)
        else []
    )
    if inside:  # a chat within a chat, laid out
        return Node(name, "", Kind.MERGED, nodes=tuple(inside))
    said = read(segments_of(content))
    shown = "".join(_SHOWN.get(one.kind, "") for one in said.media)
    return Node(name, _lines(said.text, shown), said.kind, said.forward, tuple(said.nodes))


# ------------------------------------------------------------------------------------------------------------ outgoing


def as_array(parts: Iterable[MessageSegment]) -> list[dict[str, Any]]:
    """Segments as they are sent: always an array, in which nothing has to be escaped."""
    return [{"type": one.type, "data": dict(one.data)} for one in parts]
