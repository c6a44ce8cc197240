"""Encryption of credentials at rest.

The key comes from ZHIBAN_SECRET_KEY or from a file that is made in the data folder. Several keys, separated by commas,
rotate: the first one seals, all of them open.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from zhiban.kit.errors import Misconfigured, ZhibanError
from zhiban.kit.settings import Settings

log = logging.getLogger(__name__)

KEY_FILE = "secret.key"
SHORTEST_KEY = 16  # characters


class SealBroken(ZhibanError):
    """A stored credential was sealed with another key, or is damaged."""


class Vault:
    """Seals small dictionaries of secrets. `keys` are what people may type; the first is the current one."""

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise Misconfigured("ZHIBAN_SECRET_KEY has no key in it.")
        for key in keys:
            if len(key) < SHORTEST_KEY:
                raise Misconfigured(f"ZHIBAN_SECRET_KEY is too short: {SHORTEST_KEY} characters at least.")
        self._keys = tuple(keys)
        self._fernet = MultiFernet([Fernet(_fernet_key(key)) for key in keys])

    @classmethod
    def from_settings(cls, settings: Settings) -> Vault:
        """The installation's vault. Makes the key file when there is neither a setting nor a file."""
        if settings.zhiban_secret_key is not None:
            return cls(_split(settings.zhiban_secret_key.get_secret_value()))
        return cls(_split(_key_file(settings.data)))

    def seal(self, secrets: Mapping[str, Any]) -> bytes:
        return self._fernet.encrypt(json.dumps(dict(secrets), ensure_ascii=False).encode())

    def open(self, sealed: bytes) -> dict[str, Any]:
        """What was sealed. Raises SealBroken."""
        try:
            found = json.loads(self._fernet.decrypt(bytes(sealed)))
        except (InvalidToken, ValueError) as error:
            raise SealBroken(
                "A stored credential cannot be opened: ZHIBAN_SECRET_KEY (or secret.key in the data folder) is not the "
                "one it was sealed with. Put the old key behind the new one, separated by a comma."
            ) from error
        if not isinstance(found, dict):
            raise SealBroken("A stored credential is damaged: enter it again.")
        return found

    def reseal(self, sealed: bytes) -> bytes:
        """The same content under the current key, after a rotation. Raises SealBroken."""
        return self.seal(self.open(sealed))

    def derive(self, purpose: str) -> bytes:
        """32 bytes for another purpose, such as signing cookies. Changes with the current key."""
        return _derive(self._keys[0], f"zhiban {purpose}")


def _split(text: str) -> list[str]:
    return [key.strip() for key in text.split(",") if key.strip()]


def _derive(key: str, info: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info.encode()).derive(key.encode())


def _fernet_key(key: str) -> bytes:
    """A key of Fernet's own form is used as it is, anything else as the source of one."""
    try:
        if len(base64.urlsafe_b64decode(key)) == 32 and len(key) == 44:
            return key.encode()
    except (binascii.Error, ValueError):
        pass
    return base64.urlsafe_b64encode(_derive(key, "zhiban vault"))


def _key_file(folder: Path) -> str:
    """The text of the key file. Two processes that make it at once end with the same one."""
    path = folder / KEY_FILE
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, name = tempfile.mkstemp(dir=folder, prefix=".secret-")
            with os.fdopen(descriptor, "wb") as file:
                file.write(Fernet.generate_key() + b"\n")
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
