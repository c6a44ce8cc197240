"""Encryption of credentials at rest.

The key comes from ZHIBAN_SECRET_KEY or from a file that is made in the data folder. Several keys, separated by commas,
rotate: the first one seals, all of them open. What is sealed is bound to its place: a sealed value that somebody copies
into another row, or into another workspace, does not open there.

A sealed value is a version byte, four bytes that tell the key, the nonce, and AES-256-GCM's output.
"""

from __future__ import annotations

import json
import logging
import os
import secrets as random
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from zhiban.kit.errors import Misconfigured, ZhibanError
from zhiban.kit.settings import Settings

log = logging.getLogger(__name__)

KEY_FILE = "secret.key"
SHORTEST_KEY = 16  # characters
_VERSION = b"\x01"
_ID = 4  # bytes
_NONCE = 12


class SealBroken(ZhibanError):
    """A stored credential was sealed with another key or for another place, or is damaged."""


class Vault:
    """Seals small dictionaries of secrets. `keys` are what people may type; the first is the current one."""

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise Misconfigured("ZHIBAN_SECRET_KEY has no key in it.")
        for key in keys:
            if len(key) < SHORTEST_KEY:
                raise Misconfigured(f"ZHIBAN_SECRET_KEY is too short: {SHORTEST_KEY} characters at least.")
        self._keys = tuple(keys)
        self._ciphers = {_derive(key, "zhiban key id")[:_ID]: AESGCM(_derive(key, "zhiban vault")) for key in keys}
        self._current = _derive(keys[0], "zhiban key id")[:_ID]

    @classmethod
    def from_settings(cls, settings: Settings) -> Vault:
        """The installation's vault. Makes the key file when there is neither a setting nor a file."""
        if settings.zhiban_secret_key is not None:
            return cls(split_keys(settings.zhiban_secret_key.get_secret_value()))
        return cls(split_keys(_key_file(settings.data)))

    def seal(self, secrets: Mapping[str, Any], *, bound_to: str) -> bytes:
        """Encrypt. `bound_to` names the place for which this is, such as workspace, table, row and column."""
        nonce = os.urandom(_NONCE)
        content = json.dumps(dict(secrets), ensure_ascii=False).encode()
        head = _VERSION + self._current + nonce
        return head + self._ciphers[self._current].encrypt(nonce, content, _VERSION + bound_to.encode())

    def open(self, sealed: bytes, *, bound_to: str) -> dict[str, Any]:
        """What was sealed for this place. Raises SealBroken."""
        version, key, nonce, content = _parts(bytes(sealed))
        cipher = self._ciphers.get(key) if version == _VERSION else None
        if cipher is None:
            raise SealBroken(
                "A stored credential cannot be opened: ZHIBAN_SECRET_KEY (or secret.key in the data folder) is not the "
                "one it was sealed with. Put the old key behind the new one, separated by a comma."
            )
        try:
            found = json.loads(cipher.decrypt(nonce, content, version + bound_to.encode()))
        except (InvalidTag, ValueError) as error:
            raise SealBroken("A stored credential is damaged or belongs elsewhere: enter it again.") from error
        if not isinstance(found, dict):
            raise SealBroken("A stored credential is damaged or belongs elsewhere: enter it again.")
        return found

    def is_current(self, sealed: bytes) -> bool:
        """Whether this is sealed with the first key, so that the others are not needed for it."""
        return _parts(bytes(sealed))[:2] == (_VERSION, self._current)

    def reseal(self, sealed: bytes, *, bound_to: str) -> bytes:
        """The same content for the same place under the first key, after a rotation. Raises SealBroken."""
        return self.seal(self.open(sealed, bound_to=bound_to), bound_to=bound_to)

    def derive(self, purpose: str) -> bytes:
        """32 bytes for another purpose, such as signing cookies. Changes with the current key."""
        return _derive(self._keys[0], f"zhiban {purpose}")


def _parts(sealed: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Version, key id, nonce, content; empty where the value is too short to have them."""
    key, nonce = 1 + _ID, 1 + _ID + _NONCE
    return sealed[:1], sealed[1:key], sealed[key:nonce], sealed[nonce:]


def split_keys(text: str) -> list[str]:
    return [key.strip() for key in text.split(",") if key.strip()]


def _derive(key: str, info: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info.encode()).derive(key.encode())


def new_key() -> str:
    """A key of 256 random bits, as text."""
    return random.token_urlsafe(32)


def rewrite_key_file(folder: Path, keys: Sequence[str]) -> None:
    """Replace the key file as a whole. Raises Misconfigured."""
    path = folder / KEY_FILE
    try:
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=".secret-")
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(",".join(keys) + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except (OSError, UnicodeEncodeError) as error:
        raise Misconfigured(f"The key file {path} cannot be written.") from error


def _key_file(folder: Path) -> str:
    """The text of the key file. Two processes that make it at once end with the same one."""
    path = folder / KEY_FILE
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, name = tempfile.mkstemp(dir=folder, prefix=".secret-")
            with os.fdopen(descriptor, "wb") as file:
                file.write(new_key().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(name, path)  # unlike a rename, never replaces the other's key
            except FileExistsError:
                pass
            finally:
                Path(name).unlink()
        if path.stat().st_mode & 0o077:
            log.warning("%s was readable by others; now it is not.", path)
            path.chmod(0o600)
        return path.read_text(encoding="ascii")
    except OSError as error:
        raise Misconfigured(
            f"The key file {path} cannot be used ({error.strerror}). Give it to this user, or set ZHIBAN_SECRET_KEY."
        ) from error
