"""Our style sheets, scripts and icons, under addresses that change when their content does."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

FOLDER = Path(__file__).resolve().parent / "static"
FOR_EVER = b"public, max-age=31536000, immutable"


class Assets:
    """The static folder. One hash over everything names it, so that a script may import its neighbour."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder

    @cached_property
    def version(self) -> str:
        digest = hashlib.sha256()
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                digest.update(path.relative_to(self.folder).as_posix().encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()[:12]

    @property
    def complete(self) -> bool:
        """Whether the parts that tools/assets.py fetches are here."""
        return (self.folder / "vendor" / "htmx.js").exists() and (self.folder / "vendor" / "icons.svg").exists()

    def url(self, name: str) -> str:
        return f"/static/{self.version}/{name}"

    def app(self) -> ASGIApp:
        """Serves `/static/<version>/…`; only the current version may be kept by browsers for ever."""
        return _Versioned(StaticFiles(directory=self.folder), self.version)


class _Versioned:
    def __init__(self, files: ASGIApp, version: str) -> None:
        self._files = files
        self._prefix = f"/{version}/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path", "")
        path = scope["path"].removeprefix(root)
        if scope["type"] != "http" or path.count("/") < 2:
            await self._files(scope, receive, send)
            return
        version, rest = path.lstrip("/").split("/", 1)
        current = f"/{version}/" == self._prefix

        async def cached(message: object) -> None:
            if isinstance(message, dict) and message.get("type") == "http.response.start":
                age = FOR_EVER if current and message["status"] == 200 else b"no-cache"
                message["headers"] = [*message.get("headers", ()), (b"cache-control", age)]
            await send(message)  # type: ignore[arg-type]  # ASGI messages are mappings

        await self._files({**scope, "path": f"{root}/{rest}"}, receive, cached)
