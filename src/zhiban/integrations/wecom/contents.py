"""Messages that are more than a text, as words for people and as fields a page can lay out.

The fields have the same names whichever way the message came (customer service or app):

========== ==================================================================================================
kind       content
========== ==================================================================================================
location   name, address, latitude, longitude (degrees)
link       title, description, url, image_url
card       member (userid of a colleague)
miniprogram title, app_id, path
product    title, price (as written on the product, in yuan), shop, image_url, product_id
order      title, price, state, shop, image_url, order_id
merged     title, items: each with sender, kind, text, sent_at (ISO 8601, absent when unknown)
other      type (the vendor's name), raw (all of it)
========== ==================================================================================================

A field that the vendor left out is left out. Files have no fields here; they are `Media`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import UTC, datetime
from typing import Any

from zhiban.integrations.wecom.values import items_of, mapping_of, moment, number, storable, text_of
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.ports import Kind

Values = Mapping[str, Any]

KINDS: Mapping[str, Kind] = {
    "text": Kind.TEXT,
    "image": Kind.IMAGE,
    "voice": Kind.VOICE,
    "video": Kind.VIDEO,
    "file": Kind.FILE,
    "location": Kind.LOCATION,
    "link": Kind.LINK,
    "business_card": Kind.CARD,
    "miniprogram": Kind.MINIPROGRAM,
    "msgmenu": Kind.MENU,
    "channels_shop_product": Kind.PRODUCT,
    "channels_shop_order": Kind.ORDER,
    "merged_msg": Kind.MERGED,
}
FILES = {Kind.IMAGE: "image/jpeg", Kind.VOICE: "audio/amr", Kind.VIDEO: "video/mp4", Kind.FILE: None}

_NAMES = {
    "image": "图片",
    "voice": "语音",
    "video": "视频",
    "file": "文件",
    "location": "位置",
    "link": "链接",
    "business_card": "名片",
    "miniprogram": "小程序",
    "msgmenu": "菜单",
    "channels_shop_product": "商品",
    "channels_shop_order": "订单",
    "merged_msg": "聊天记录",
    "channels": "视频号",
    "meeting": "会议",
    "calendar": "日程",
    "note": "笔记",
}
_FEEDS = {1: "视频号动态", 2: "视频号直播", 3: "视频号名片"}
_DEEPEST_HISTORY = 4
_LONGEST_HISTORY = 200
_UNKNOWN = datetime(9000, 1, 1, tzinfo=UTC)  # stands for a time that cannot be used


@frozen_dataclass
class Readable:
    """`text` is what a person (or a model) reads; `content` is empty for plain texts and files."""

    kind: Kind
    text: str = ""
    content: Mapping[str, Any] = field(default_factory=dict)


def read_content(name: str, values: Values, *, depth: int = 0) -> Readable:
    """What a message of the vendor's type `name` says. Never raises; a type nobody knows keeps everything as `raw`."""
    kind = KINDS.get(name, Kind.OTHER)
    if kind is Kind.TEXT:
        return Readable(kind, text_of(values, "content"))
    if kind in FILES:
        return Readable(kind)
    if kind is Kind.MERGED:
        return _history(values, depth)
    read = _READERS.get(kind)
    if read is not None:
        return read(values)
    return _other(name, values)


def location(*, name: str, address: str, latitude: object, longitude: object) -> Readable:
    """A place; coordinates that are no place on earth are left out."""
    place = _coordinates(latitude, longitude)
    content: dict[str, Any] = _present(name=name, address=address)
    lines = [line for line in dict.fromkeys((name, address)) if line]
    if place is not None:
        content["latitude"], content["longitude"] = place
        lines.append(f"({place[0]:g}, {place[1]:g})")
    return Readable(Kind.LOCATION, "\n".join(lines), content)


def link(*, title: str, description: str, url: str, image_url: str) -> Readable:
    """A link with what its card shows. Nobody fetches the addresses."""
    words = "\n".join(line for line in (title, description, url) if line)
    return Readable(Kind.LINK, words, _present(title=title, description=description, url=url, image_url=image_url))


def name_of(vendor_type: str) -> str:
    """What people call a message of this type, such as 图片; the vendor's own name when there is no word."""
    return _NAMES.get(vendor_type, vendor_type)


# ------------------------------------------------------------------------------------------------- kind by kind


def _location(values: Values) -> Readable:
    return location(
        name=text_of(values, "name"),
        address=text_of(values, "address"),
        latitude=values.get("latitude"),
        longitude=values.get("longitude"),
    )


def _link(values: Values) -> Readable:
    return link(
        title=text_of(values, "title"),
        description=text_of(values, "desc"),
        url=text_of(values, "url"),
        image_url=text_of(values, "pic_url"),
    )


def _card(values: Values) -> Readable:
    member = text_of(values, "userid")
    return Readable(Kind.CARD, member, _present(member=member))


def _miniprogram(values: Values) -> Readable:
    title, path = text_of(values, "title"), text_of(values, "pagepath")
    return Readable(Kind.MINIPROGRAM, title, _present(title=title, app_id=text_of(values, "appid"), path=path))


def _product(values: Values) -> Readable:
    title, shop = text_of(values, "title"), text_of(values, "shop_nickname")
    price = _yuan(values.get("sales_price"))
    words = "\n".join(line for line in (title, price, shop) if line)
    content = _present(
        title=title,
        price=price,
        shop=shop,
        image_url=text_of(values, "head_image"),
        product_id=text_of(values, "product_id"),
    )
    return Readable(Kind.PRODUCT, words, content)


def _order(values: Values) -> Readable:
    title, price = text_of(values, "product_titles"), text_of(values, "price_wording")
    state, shop, number_ = (text_of(values, name) for name in ("state", "shop_nickname", "order_id"))
    words = "\n".join(line for line in (title, price, state, f"订单号 {number_}" if number_ else "", shop) if line)
    content = _present(
        title=title, price=price, state=state, shop=shop, image_url=text_of(values, "image_url"), order_id=number_
    )
    return Readable(Kind.ORDER, words, content)


def _menu(values: Values) -> Readable:
    lines = [text_of(values, "head_content")]
    lines += [text_of(mapping_of(entry, text_of(entry, "type")), "content") for entry in items_of(values, "list")]
    lines.append(text_of(values, "tail_content"))
    return Readable(Kind.MENU, "\n".join(line for line in lines if line))


def _history(values: Values, depth: int) -> Readable:
    """Forwarded history as `name: words`, one a line; each entry's content is JSON inside a string."""
    title = text_of(values, "title")
    lines, items = [title], []
    for item in items_of(values, "item")[:_LONGEST_HISTORY]:
        name, sender = text_of(item, "msgtype"), text_of(item, "sender_name")
        inner = _inner(text_of(item, "msg_content"))
        if KINDS.get(name) is Kind.MERGED and depth >= _DEEPEST_HISTORY:
            found = Readable(Kind.MERGED)
        else:
            found = read_content(name, mapping_of(inner, name) or inner, depth=depth + 1)
        words = found.text or f"[{name_of(name)}]"
        lines.append(f"{sender}: {words}")
        items.append({"sender": sender, "kind": found.kind.value, "text": words, **_when(item)})
    return Readable(Kind.MERGED, "\n".join(line for line in lines if line), {"title": title, "items": items})


def _inner(content: str) -> Values:
    try:
        found = json.loads(content, strict=False)
    except (ValueError, RecursionError):
        return {"content": content}
    return found if isinstance(found, dict) else {"content": content}


def _when(item: Values) -> dict[str, str]:
    found = moment(item.get("send_time"), _UNKNOWN)
    return {} if found == _UNKNOWN else {"sent_at": found.isoformat()}


def _other(name: str, values: Values) -> Readable:
    """A type without a reader: its name, and the words that such messages usually carry."""
    label = _FEEDS.get(number(values.get("sub_type")) or 0, "视频号") if name == "channels" else name_of(name)
    words = [text_of(values, key) for key in ("nickname", "title", "desc")]
    told = " · ".join(word for word in words if word)
    text = f"[{label}] {told}".rstrip() if label else ""
    return Readable(Kind.OTHER, text, {"type": name, "raw": storable(values)})


_READERS: Mapping[Kind, Callable[[Values], Readable]] = {
    Kind.LOCATION: _location,
    Kind.LINK: _link,
    Kind.CARD: _card,
    Kind.MINIPROGRAM: _miniprogram,
    Kind.PRODUCT: _product,
    Kind.ORDER: _order,
    Kind.MENU: _menu,
}


# ------------------------------------------------------------------------------------------------------ values


def _present(**values: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


def _coordinates(latitude: object, longitude: object) -> tuple[float, float] | None:
    found = (_degrees(latitude, 90), _degrees(longitude, 180))
    return None if found[0] is None or found[1] is None else (found[0], found[1])


def _degrees(value: object, most: int) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or len(str(value)) > 40:
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) and abs(found) <= most else None


def _yuan(fen: object) -> str:
    """The price in yuan; the vendor counts in fen, as a text."""
    found = number(fen)
    return "" if found is None or found < 0 else f"¥{found // 100}.{found % 100:02d}"
