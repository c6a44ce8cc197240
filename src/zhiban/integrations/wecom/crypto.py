"""WeCom's callback cryptography: signature, AES-256-CBC envelope and receiver, checked in full.

Outside, every failure is the same `InvalidWebhook`; its `reason` is for our own log. The signature is checked before
anything is decrypted, so that the padding says nothing to somebody without the token.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import struct
from collections.abc import Sequence
from datetime import datetime
from hmac import compare_digest

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from zhiban.kit.errors import Misconfigured
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.ports import InvalidWebhook

_BLOCK = 32  # the padding's block; larger than AES's own
_HEAD = 20  # 16 random bytes and the length
_KEY_LENGTH = 43
_SIGNATURE_LENGTH = 40
_LONGEST_PARAMETER = 128
_LONGEST_ENCRYPT = 1 << 20
_BLANKS = str.maketrans("", "", " \t\r\n")


@frozen_dataclass
class Sealed:
    """An encrypted passive reply."""

    encrypt: str
    signature: str
    timestamp: str
    nonce: str


@frozen_dataclass
class KeyPair:
    """A Token and the AES key that belongs to it. `until` ends the grace of a pair that was replaced."""

    token: str
    aes_key: bytes
    until: datetime | None = None

    @classmethod
    def of(cls, token: str, encoding_aes_key: str, *, until: datetime | None = None) -> KeyPair:
        """Raises Misconfigured when the key is not 43 letters and digits."""
        key = encoding_aes_key.strip()
        if len(key) != _KEY_LENGTH or not key.isascii():
            raise Misconfigured("WECOM_ENCODING_AES_KEY must be the 43 characters from WeCom's callback page.")
        try:
            # The last character may carry unused bits, which Python's decoder ignores as it should.
            aes_key = base64.b64decode(key + "=", validate=True)
        except binascii.Error as error:
            raise Misconfigured("WECOM_ENCODING_AES_KEY may only have letters and digits.") from error
        return cls(token.strip(), aes_key, until)

    def signature(self, timestamp: str, nonce: str, encrypt: str) -> str:
        """msg_signature: SHA-1 over the four strings in their order, as lower-case hex."""
        joined = "".join(sorted((self.token, timestamp, nonce, encrypt)))
        return hashlib.sha1(joined.encode(), usedforsecurity=False).hexdigest()

    def decrypt(self, encrypt: str) -> tuple[bytes, bytes]:
        """The message and the receiver's id, both as bytes. Raises InvalidWebhook."""
        padded = self._decipher(_decoded(encrypt))
        pad = padded[-1]
        if not 1 <= pad <= _BLOCK or padded[-pad:] != bytes((pad,)) * pad:
            raise InvalidWebhook("padding")
        plain = padded[:-pad]
        if len(plain) < _HEAD:
            raise InvalidWebhook("too short")
        (length,) = struct.unpack_from(">I", plain, 16)
        if not 0 < length <= len(plain) - _HEAD:
            raise InvalidWebhook("length")
        return plain[_HEAD : _HEAD + length], plain[_HEAD + length :]

    def decrypt_file(self, data: bytes) -> bytes:
        """A file of an AI bot's message, which is enciphered as it is, padded to 32 bytes. Raises InvalidWebhook."""
        if not data or len(data) % 16:
            raise InvalidWebhook("block size")
        padded = self._decipher(data)
        pad = padded[-1]
        if not 1 <= pad <= _BLOCK or padded[-pad:] != bytes((pad,)) * pad:
            raise InvalidWebhook("padding")
        return padded[:-pad]

    def encrypt(self, message: bytes, receive_id: str, *, random: bytes | None = None) -> str:
        """The Encrypt text of a message. `random` are 16 bytes, for reproducible tests."""
        plain = (random or os.urandom(16)) + struct.pack(">I", len(message)) + message + receive_id.encode()
        pad = _BLOCK - len(plain) % _BLOCK
        encryptor = Cipher(algorithms.AES(self.aes_key), modes.CBC(self.aes_key[:16])).encryptor()
        return base64.b64encode(encryptor.update(plain + bytes((pad,)) * pad) + encryptor.finalize()).decode()

    def seal(self, message: str, receive_id: str, *, timestamp: str, nonce: str) -> Sealed:
        """Encrypt and sign a reply."""
        encrypt = self.encrypt(message.encode(), receive_id)
        return Sealed(encrypt, self.signature(timestamp, nonce, encrypt), timestamp, nonce)

    def _decipher(self, data: bytes) -> bytes:
        decryptor = Cipher(algorithms.AES(self.aes_key), modes.CBC(self.aes_key[:16])).decryptor()
        return decryptor.update(data) + decryptor.finalize()


def _decoded(encrypt: str) -> bytes:
    try:
        data = base64.b64decode(encrypt.translate(_BLANKS), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidWebhook("base64") from error
    if not data or len(data) % _BLOCK:
        raise InvalidWebhook("block size")
    return data


class Seal:
    """Opens callbacks with the current key pair or one in grace."""

    def __init__(self, keys: Sequence[KeyPair], receive_ids: Sequence[str]) -> None:
        """The first of `keys` is the current one. `receive_ids`: corp id, suite id, or "" for an AI bot."""
        if not keys:
            raise Misconfigured("WECOM_TOKEN and WECOM_ENCODING_AES_KEY are both needed to receive callbacks.")
        self._keys = tuple(keys)
        self._receivers = tuple(receiver.encode() for receiver in receive_ids)

    def open(self, encrypt: str, *, signature: str, timestamp: str, nonce: str, now: datetime) -> bytes:
        """The message, proven to be the vendor's and for us. Raises InvalidWebhook."""
        return self.open_with_key(encrypt, signature=signature, timestamp=timestamp, nonce=nonce, now=now)[0]

    def open_with_key(
        self, encrypt: str, *, signature: str, timestamp: str, nonce: str, now: datetime
    ) -> tuple[bytes, KeyPair]:
        """The message, and the pair with which the vendor sealed it: it can open a reply with no other."""
        if not all(map(str.isascii, (encrypt, signature, timestamp, nonce))):
            raise InvalidWebhook("not ASCII")
        if len(signature) != _SIGNATURE_LENGTH or max(len(timestamp), len(nonce)) > _LONGEST_PARAMETER:
            raise InvalidWebhook("parameter length")
        if len(encrypt) > _LONGEST_ENCRYPT:
            raise InvalidWebhook("too long")
        pair = self._signer(encrypt, signature, timestamp, nonce, now)
        message, receiver = pair.decrypt(encrypt)
        if not any(compare_digest(receiver, ours) for ours in self._receivers):
            raise InvalidWebhook("receiver")
        return message, pair

    def _signer(self, encrypt: str, signature: str, timestamp: str, nonce: str, now: datetime) -> KeyPair:
        offered = signature.encode()
        for pair in self._keys:
            if pair.until is not None and pair.until <= now:
                continue
            if compare_digest(pair.signature(timestamp, nonce, encrypt).encode(), offered):
                return pair
        raise InvalidWebhook("signature")
