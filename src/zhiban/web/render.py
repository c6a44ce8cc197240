"""HTML out of templates: the whole page for a visit, the part for an htmx request."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any, Literal

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket
from jinja2.environment import TemplateModule
from jinja2.runtime import Macro
from markupsafe import Markup, escape

from zhiban.kit.clock import Clock
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import DEFAULT_ZONE, Locale, Texts, to_locale
from zhiban.web.assets import Assets
from zhiban.web.prose import line, prose
from zhiban.web.rich import rich as rich_text

Theme = Literal["auto", "light", "dark"]
PACKAGE = Path(__file__).resolve().parent.parent
LOCALE_COOKIE = "zhiban_locale"
THEME_COOKIE = "zhiban_theme"


@frozen_dataclass
class Viewer:
    """For whom we write: the words and the look. A cookie of their browser may override an agent's settings."""

    texts: Texts
    theme: Theme


def viewer_of(request: Request, *, locale: str | None = None, theme: str | None = None) -> Viewer:
    """What this browser chose; otherwise what the agent's settings say; otherwise what the browser asks for."""
    tongue: Locale = to_locale(
        request.cookies.get(LOCALE_COOKIE) or locale or request.headers.get("accept-language"), "zh"
    )
    wish = request.cookies.get(THEME_COOKIE) or theme
    look: Theme = "light" if wish == "light" else "dark" if wish == "dark" else "auto"
    return Viewer(Texts(tongue, DEFAULT_ZONE), look)


def wants_part(request: Request) -> bool:
    """True for a request of htmx that swaps a part; a history restore wants the page."""
    headers = request.headers
    return headers.get("hx-request") == "true" and headers.get("hx-history-restore-request") != "true"


def hue(key: object) -> int:
    """1 to 6, the same for the same id for ever."""
    return hashlib.blake2b(str(key).encode(), digest_size=2).digest()[0] % 6 + 1


def initials(name: str) -> str:
    """What stands in an avatar: the last two characters of a Chinese name, the first two of others."""
    bare = "".join(name.split())
    if any("\u3400" <= character <= "\u9fff" for character in bare):
        return bare[-2:]
    words = name.split()
    if len(words) > 1:
        return (words[0][:1] + words[-1][:1]).upper()
    return bare[:2].upper() if bare else "?"


def _span(milliseconds: float) -> timedelta:
    return timedelta(milliseconds=milliseconds)


def bold(text: str) -> Markup:
    return Markup("<b>{}</b>").format(text)


def filesize(size: int | None) -> str:
    """3.2 KB"""
    if size is None:
        return ""
    amount = float(size)
    for unit in ("B", "KB", "MB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GB"


class _CompiledTemplates(BytecodeCache):
    """Templates as they were compiled first in this process, for every language and every renderer."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, CodeType]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        checksum, code = self._kept.get(bucket.key, ("", None))
        if checksum == bucket.checksum:
            bucket.code = code

    def dump_bytecode(self, bucket: Bucket) -> None:
        if bucket.code is not None:
            self._kept[bucket.key] = bucket.checksum, bucket.code


_COMPILED = _CompiledTemplates()
DRAWN = 8192  # small pieces that are kept as they were drawn, of each kind and language
DRAWN_LARGE = 1024  # and of those that are more than a word and a sign


def _draw_once(pieces: TemplateModule, kept: int) -> None:
    """Let the macros of a template that knows nothing but their parameters draw the same piece once.

    By type, too: what is escaped already is equal to the text that would have to be.
    """
    for name, macro in vars(pieces).items():
        if isinstance(macro, Macro):
            setattr(pieces, name, lru_cache(kept, typed=True)(macro))


class Renderer:
    """All templates of the program. Modules bring their own folders, named when the program is put together."""

    def __init__(
        self,
        modules: Sequence[str] = (),
        *,
        assets: Assets,
        clock: Clock,
        names: Mapping[str, Any] | None = None,
        pieces: Sequence[str] = (),
    ) -> None:
        """`names` are known to every template; `pieces`: templates of macros that draw the same once for everybody."""
        self.assets = assets
        self._names = dict(names or {})
        self._pieces = tuple(pieces)
        self._clock = clock
        self._folders = [PACKAGE / "web" / "templates", *(PACKAGE / name / "templates" for name in modules)]
        self._environment = lru_cache(maxsize=16)(self._build)

    def _build(self, texts: Texts) -> Environment:
        environment = Environment(
            loader=FileSystemLoader(self._folders),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            bytecode_cache=_COMPILED,
            auto_reload=False,  # whoever changes a template starts anew; else each include of a row asks the disk
        )

        def rich(msgid: str, **values: object) -> Markup:
            """A text whose values may be HTML that we made; all else is escaped."""
            return escape(texts(msgid)).format(**values)

        environment.globals.update(
            _=texts,
            n=texts.n,
            rich=rich,
            texts=texts,
            hue=hue,
            initials=initials,
            static=self.assets.url,
            icons=self.assets.url("vendor/icons.svg"),
            span=_span,
            **self._names,
        )
        environment.filters.update(prose=prose, rich=rich_text, line=line, bold=bold, filesize=filesize)
        _draw_once(environment.get_template("parts/kit.html").module, DRAWN)
        for template in self._pieces:
            _draw_once(environment.get_template(template).module, DRAWN_LARGE)
        return environment

    def html(self, template: str, viewer: Viewer, values: Mapping[str, Any]) -> str:
        environment = self._environment(viewer.texts)
        return environment.get_template(template).render(viewer=viewer, now=self._clock.now(), **values)

    def answer(
        self,
        template: str,
        viewer: Viewer,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> HTMLResponse:
        """A private page or part: never kept by a cache."""
        kept = {"cache-control": "no-store", "vary": "HX-Request, Cookie, Accept-Language", **(headers or {})}
        return HTMLResponse(self.html(template, viewer, values), status_code=status, headers=kept)
