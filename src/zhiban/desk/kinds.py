"""Messages that are more than a text: what the page lays out of a location, a link, an order or a forwarded history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark

# Opened only when somebody clicks. 高德 takes the coordinates that phones in China send; OpenStreetMap would be off by
# some hundred metres.
_MAP = "https://uri.amap.com/marker?position={longitude:.6f},{latitude:.6f}&name={name}"
HISTORY_SHOWN = 4  # lines of a forwarded history before the rest is folded away


@frozen_dataclass
class ForwardedLine:
    """One message of a forwarded history."""

    sender: str
    text: str
    at: datetime | None = None


@frozen_dataclass
class ContentView:
    """A title, lines below it, where it leads, and what is inside it. `labelled` are (label, value) to translate."""

    title: str = ""
    lines: tuple[str, ...] = ()
    labelled: tuple[tuple[str, str], ...] = ()
    url: str | None = None
    url_words: str = ""
    history: tuple[ForwardedLine, ...] = ()

    @property
    def shown(self) -> tuple[ForwardedLine, ...]:
        """The lines of the history that are open; a single one more is not worth folding away."""
        return self.history if len(self.history) == HISTORY_SHOWN + 1 else self.history[:HISTORY_SHOWN]

    @property
    def folded(self) -> tuple[ForwardedLine, ...]:
        return self.history[len(self.shown) :]

    def __bool__(self) -> bool:
        return bool(self.title or self.lines or self.labelled or self.history)


def content_view(kind: str, content: Mapping[str, Any]) -> ContentView | None:
    """The message as the page lays it out; None for kinds that are words or files, and where nothing was said."""
    read = _READERS.get(kind)
    found = read(content) if read else None
    return found or None


def _text(content: Mapping[str, Any], name: str) -> str:
    value = content.get(name)
    return value.strip() if isinstance(value, str) else ""


def _lines(content: Mapping[str, Any], *names: str) -> tuple[str, ...]:
    return tuple(text for name in names if (text := _text(content, name)))


def web_address(url: str) -> str | None:
    """The address if it is one that a browser may open; never script, file or data."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.hostname else None


def _location(content: Mapping[str, Any]) -> ContentView:
    names = _lines(content, "name", "address")
    latitude, longitude = _degrees(content.get("latitude"), 90), _degrees(content.get("longitude"), 180)
    url = None
    if latitude is not None and longitude is not None:
        name = quote((names[0] if names else "")[:60], safe="")
        url = _MAP.format(latitude=latitude, longitude=longitude, name=name)
        names = names or (f"{latitude:.5f}, {longitude:.5f}",)
    title = names[0] if names else ""
    return ContentView(title, names[1:] if names[1:] != (title,) else (), url=url, url_words=mark("在地图上看"))


def _degrees(value: object, most: int) -> float | None:
    """None for what is no number, or no place on earth (which a not-a-number is not either)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -most <= value <= most:
        return None
    return float(value)


def _link(content: Mapping[str, Any]) -> ContentView:
    address = _text(content, "url")
    url = web_address(address)
    host = (urlsplit(url).hostname or "") if url else address
    lines = (*_lines(content, "description"), *((host,) if host else ()))
    return ContentView(_text(content, "title") or address, lines, url=url, url_words=mark("打开链接"))


def _card(content: Mapping[str, Any]) -> ContentView:
    return ContentView(_text(content, "name") or _text(content, "member"))


def _miniprogram(content: Mapping[str, Any]) -> ContentView:
    return ContentView(_text(content, "title") or _text(content, "app_id"), _lines(content, "path"))


def _product(content: Mapping[str, Any]) -> ContentView:
    return ContentView(
        _text(content, "title"),
        _lines(content, "price", "shop"),
        _labelled((mark("商品编号"), _text(content, "product_id"))),
    )


def _order(content: Mapping[str, Any]) -> ContentView:
    return ContentView(
        _text(content, "title"),
        _lines(content, "price", "state", "shop"),
        _labelled((mark("订单号"), _text(content, "order_id"))),
    )


def _labelled(*pairs: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in pairs if pair[1])


def _merged(content: Mapping[str, Any]) -> ContentView:
    items = content.get("items")
    history = tuple(
        ForwardedLine(_text(item, "sender"), _text(item, "text"), _time(item.get("sent_at")))
        for item in (items if isinstance(items, list | tuple) else ())
        if isinstance(item, Mapping)
    )
    return ContentView(_text(content, "title"), history=history)


def _time(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


_READERS = {
    "location": _location,
    "link": _link,
    "card": _card,
    "miniprogram": _miniprogram,
    "product": _product,
    "order": _order,
    "merged": _merged,
}
