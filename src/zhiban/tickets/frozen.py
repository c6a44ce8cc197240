"""What was said, as it stood when somebody asked for a ticket: in words, also what is no text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from zhiban.assistant.normalising import visible
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts, mark
from zhiban.tickets.masking import whole_secrets

LONGEST = 8000  # characters of one message that are kept
_FORWARDED = 100  # lines of a forwarded history
_KINDS = {
    "image": mark("图片"),
    "voice": mark("语音"),
    "video": mark("视频"),
    "file": mark("文件"),
    "location": mark("位置"),
    "link": mark("链接"),
    "card": mark("名片"),
    "miniprogram": mark("小程序"),
    "product": mark("商品"),
    "order": mark("订单"),
    "merged": mark("聊天记录"),
}


@frozen_dataclass
class FrozenFile:
    """A file that belongs to a message. `fetched` is False when it could not be had from where it lay."""

    name: str
    size: int | None = None
    seconds: int | None = None
    fetched: bool = True


@frozen_dataclass
class FrozenLine:
    """One message. `name` is who wrote it, `alias` what they are called in the group; `quoted` what it answers."""

    message_id: int
    speaker: str  # the same for two messages of one person
    name: str
    alias: str
    sent_at: datetime
    text: str
    quoted_name: str = ""
    quoted: str = ""
    recalled: bool = False
    contact_id: int | None = None  # None: one of ours


def frozen_words(kind: str, text: str, content: Mapping[str, Any], files: Sequence[FrozenFile], texts: Texts) -> str:
    """What a message says in words: its text, and a placeholder for whatever else it holds."""
    parts: list[str] = []
    if kind == "merged":
        parts += [f"[{texts(_KINDS[kind])}] {_said(content, 'title')}".strip(), *_forwarded(content)]
    elif files:
        parts += [_file(kind, each, texts) for each in files]
    elif kind in _KINDS:
        parts.append(" ".join(filter(None, (f"[{texts(_KINDS[kind])}]", *_about(content)))))
    elif kind not in ("text", "markdown", "menu") and not text.strip():
        parts.append(f"[{texts('其他消息')}]")
    if text.strip() and text.strip() not in parts:
        parts.append(text.strip())
    return whole_secrets(visible("\n".join(parts)), LONGEST)


def size_words(size: int) -> str:
    """12 KB, 3.4 MB"""
    if size < 1024:
        return f"{size} B"
    return f"{size / 1024:.0f} KB" if size < 1024 * 1024 else f"{size / 1024 / 1024:.1f} MB"


def _file(kind: str, file: FrozenFile, texts: Texts) -> str:
    said = [texts(_KINDS.get(kind, mark("文件")))]
    if file.name and kind == "file":
        said.append(file.name)
    if file.seconds:
        said.append(texts("{n}秒", n=file.seconds))
    elif file.size:
        said.append(size_words(file.size))
    if not file.fetched:
        said.append(texts("没有取到"))
    return f"[{' '.join(said)}]"


def _about(content: Mapping[str, Any]) -> list[str]:
    names = ("title", "name", "address", "url")
    return list(dict.fromkeys(said for name in names if (said := _said(content, name))))[:2]


def _forwarded(content: Mapping[str, Any]) -> list[str]:
    items = content.get("items")
    lines = [item for item in (items if isinstance(items, list | tuple) else ()) if isinstance(item, Mapping)]
    return [f"{_said(item, 'sender')}: {_said(item, 'text')}".removeprefix(": ") for item in lines[:_FORWARDED]]


def _said(content: Mapping[str, Any], name: str) -> str:
    value = content.get(name)
    return value.strip() if isinstance(value, str) else ""
