"""Files as Wechaty passes them on: JSON with the file inside, an address, or a name to fetch it by."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final, Literal

from zhiban.kit.frozen_dataclass import frozen_dataclass

BASE64: Final = 1
URL: Final = 2
QR_CODE: Final = 3
UUID: Final = 7

INLINE_BYTES: Final = 2_500_000  # a request of more than 4 MiB is refused, and base64 takes a third more


@frozen_dataclass
class FileBox:
    """A file: its content, or where it is. `size` is what the gateway says, 0 when it says nothing."""

    where: Literal["inline", "url", "uuid"]
    name: str
    content: bytes = b""
    reference: str = ""
    size: int = 0


def parse(text: str) -> FileBox | None:
    """None for what is no file that can be fetched."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    name = _text(said, "name")
    stated = said.get("size")
    size = stated if isinstance(stated, int) and stated > 0 else 0
    match said.get("type", said.get("boxType")):
        case 1:
            try:
                content = base64.b64decode(_text(said, "base64"), validate=True)
            except (binascii.Error, ValueError):
                return None
            return FileBox("inline", name, content=content, size=len(content))
        case 2:
            url = _text(said, "url") or _text(said, "remoteUrl")
            return FileBox("url", name, reference=url, size=size) if url else None
        case 3:
            return FileBox("inline", name, content=_text(said, "qrCode").encode())
        case 7:
            uuid = _text(said, "uuid")
            return FileBox("uuid", name, reference=uuid, size=size) if uuid else None
    return None


def inline(data: bytes, name: str) -> str:
    """The file inside the message."""
    return json.dumps({"type": BASE64, "name": name, "base64": base64.b64encode(data).decode(), "metadata": {}})


def uploaded(uuid: str, name: str) -> str:
    """The file by the name that the gateway gave it."""
    return json.dumps({"type": UUID, "name": name, "uuid": uuid, "metadata": {}})


def _text(said: dict[str, Any], name: str) -> str:
    found = said.get(name)
    return found if isinstance(found, str) else ""
