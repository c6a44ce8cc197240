"""What the simulated platform takes as a message to a contact of 微信客服, and what their client makes of it."""

from __future__ import annotations

from zhiban.testing.wecom.media import MediaStore
from zhiban.testing.wecom.wire import Complaint, Json, bad, fits, need, web_address

TEXT_BYTES = 2048
_WORDS_BYTES = 1024


def as_shown(body: Json, media: MediaStore, *, on_event: bool = False) -> Json:
    """msgtype and body as they arrive: a text that is too long is cut without a word. Raises Complaint."""
    msgtype = body.get("msgtype")
    inner = body.get(msgtype) if isinstance(msgtype, str) else None
    if not isinstance(msgtype, str) or not isinstance(inner, dict):
        raise bad("msgtype")
    match msgtype:
        case "text":
            content = inner.get("content")
            if not isinstance(content, str) or not content:
                raise Complaint(40063, "some parameters are empty")
            inner = {"content": content.encode()[:TEXT_BYTES].decode("utf-8", "ignore")}
        case "msgmenu":
            _check_menu(inner, most=10 if on_event else 50)
        case "image" | "voice" | "video" | "file":
            media.check(inner.get("media_id"), msgtype)
        case "link":
            fits(inner.get("title"), 128, "title", least=1)
            fits(inner.get("desc", ""), 512, "desc")
            web_address(inner.get("url"), "url")
            media.check(inner.get("thumb_media_id"), "image")
        case "miniprogram":
            fits(inner.get("title", ""), 64, "title")
            media.check(inner.get("thumb_media_id"), "image")
            fits(inner.get("appid"), 32, "appid", least=1)
            if not need(inner, "pagepath").partition("?")[0].endswith(".html"):
                raise bad("pagepath")
        case "location":
            _check_degrees(inner.get("latitude"), 90)
            _check_degrees(inner.get("longitude"), 180)
        case "ca_link":
            if not need(inner, "link_url").startswith("https://work.weixin.qq.com/ca/"):
                raise bad("link_url")
        case _:
            raise bad("msgtype")
    return {"msgtype": msgtype, msgtype: inner}


def _check_menu(menu: Json, *, most: int) -> None:
    fits(menu.get("head_content", ""), _WORDS_BYTES, "head_content")
    fits(menu.get("tail_content", ""), _WORDS_BYTES, "tail_content")
    entries = menu.get("list", [])
    if not isinstance(entries, list) or len(entries) > most:
        raise Complaint(95008, "msg menu item count limit")
    if sum(entry.get("type") != "text" for entry in entries) > 10:
        raise Complaint(95008, "msg menu item count limit")
    for entry in entries:
        name = entry.get("type")
        if name not in ("click", "view", "miniprogram", "text"):
            raise Complaint(95009, "invalid msg menu item type")
        _check_entry(name, entry.get(name) or {})


def _check_entry(name: str, inner: Json) -> None:
    match name:
        case "click":
            if "#" in fits(inner.get("id", ""), 128, "click.id"):
                raise bad("click.id")
            fits(inner.get("content"), 128, "click.content", least=1)
        case "view":
            web_address(inner.get("url"), "view.url")
            fits(inner.get("content"), 1024, "view.content", least=1)
        case "miniprogram":
            fits(inner.get("appid"), 32, "miniprogram.appid", least=1)
            fits(inner.get("pagepath"), 1024, "miniprogram.pagepath", least=1)
            fits(inner.get("content"), 1024, "miniprogram.content", least=1)
        case _:
            fits(inner.get("content"), 256, "text.content", least=1)


def _check_degrees(value: object, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -most <= value <= most:
        raise Complaint(95022, "invalid location")
