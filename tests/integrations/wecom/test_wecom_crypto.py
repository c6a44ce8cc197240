"""The published and our own vectors, and ciphertexts made to hurt."""

from __future__ import annotations

import base64
import json
import os
import struct
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from zhiban.integrations.wecom.crypto import KeyPair, Seal
from zhiban.kit.errors import Misconfigured
from zhiban.ports import InvalidWebhook

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PAIR = KeyPair.of("QnA7hJ2vK9xT", "kWq3vN8sZ1xC5bM7tR2yL9pJ4hG6fD0aSeUiOwQzXcV")
CORP = "ww0a1b2c3d4e5f6789"


def opened(seal: Seal, encrypt: str, *, pair: KeyPair = PAIR, signature: str | None = None, **change: str) -> bytes:
    """Open an envelope whose signature is right unless it is given."""
    timestamp, nonce = change.get("timestamp", "1767225700"), change.get("nonce", "1")
    made = pair.signature(timestamp, nonce, encrypt) if signature is None else signature
    return seal.open(encrypt, signature=made, timestamp=timestamp, nonce=nonce, now=NOW)


def raw(plain: bytes) -> str:
    """Encrypt bytes as they are, padded or not."""
    encryptor = Cipher(algorithms.AES(PAIR.aes_key), modes.CBC(PAIR.aes_key[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain) + encryptor.finalize()).decode()


def padded(plain: bytes) -> bytes:
    pad = 32 - len(plain) % 32
    return plain + bytes([pad]) * pad


@pytest.fixture
def seal() -> Seal:
    return Seal([PAIR], [CORP])


def test_the_key_may_carry_unused_bits(vectors: dict[str, Any]) -> None:
    assert PAIR.aes_key.hex() == vectors["aes_key_hex"]


@pytest.mark.parametrize("number", range(5), ids=["V1", "V2", "V3", "V4", "V5"])
def test_vector(vectors: dict[str, Any], number: int) -> None:
    vector = vectors["genuine"][number]
    seal = Seal([PAIR], [vector["receive_id"]])
    message = seal.open(
        vector["encrypt"],
        signature=vector["signature"],
        timestamp=vector["timestamp"],
        nonce=vector["nonce"],
        now=NOW,
    )
    assert message.decode() == vector["plain"]
    made = PAIR.encrypt(message, vector["receive_id"], random=vector["random"].encode())
    assert made == vector["encrypt"]
    assert PAIR.signature(vector["timestamp"], vector["nonce"], made) == vector["signature"]


HOSTILE = [
    "wrong_receiveid",
    "len_too_big",
    "len_ffffffff",
    "len_zero",
    "pad_zero_byte",
    "pad_255",
    "pad_inconsistent",
    "pkcs7_to_16",
    "empty_receiveid",
    "one_block_16B",
    "empty",
    "not_block_multiple",
    "not_base64",
]


CASES = [(name, [CORP]) for name in HOSTILE] + [(name, [CORP, ""]) for name in HOSTILE if name != "empty_receiveid"]


@pytest.mark.parametrize(("name", "receivers"), CASES)
def test_hostile_vector_is_refused(vectors: dict[str, Any], name: str, receivers: list[str]) -> None:
    vector = next(entry for entry in vectors["hostile"] if entry["name"] == name)
    with pytest.raises(InvalidWebhook) as caught:
        Seal([PAIR], receivers).open(
            vector["encrypt"],
            signature=vector["signature"],
            timestamp=vectors["hostile_timestamp"],
            nonce=vectors["hostile_nonce"],
            now=NOW,
        )
    assert caught.value.status == 403


def test_the_fourteenth_vector_is_bytes_that_are_no_text(vectors: dict[str, Any], seal: Seal) -> None:
    vector = next(entry for entry in vectors["hostile"] if entry["name"] == "non_utf8_msg")
    message = opened(seal, vector["encrypt"], signature=vector["signature"])
    with pytest.raises(UnicodeDecodeError):
        message.decode()  # the callback door refuses it: see test_wecom_callback


@given(st.binary(min_size=1, max_size=400), st.sampled_from([CORP, "", "suite"]), st.binary(min_size=16, max_size=16))
def test_what_is_sealed_opens(message: bytes, receiver: str, random: bytes) -> None:
    assert opened(Seal([PAIR], [receiver]), PAIR.encrypt(message, receiver, random=random)) == message


@settings(max_examples=300)
@given(st.binary(max_size=300).map(lambda data: data + b"\x00" * (-len(data) % 32)))
def test_any_blocks_are_opened_or_refused(plain: bytes) -> None:
    with suppress(InvalidWebhook):
        opened(Seal([PAIR], [CORP]), raw(plain) if plain else "")


@given(st.text(max_size=80), st.text(max_size=50), st.text(max_size=50), st.text(max_size=200))
def test_any_texts_are_refused(signature: str, timestamp: str, nonce: str, encrypt: str) -> None:
    with pytest.raises(InvalidWebhook):
        Seal([PAIR], [CORP]).open(encrypt, signature=signature, timestamp=timestamp, nonce=nonce, now=NOW)


# ------------------------------------------------------------------------- hostile inputs of the protocol notes


def test_hostile_16_wrong_signature(seal: Seal) -> None:
    with pytest.raises(InvalidWebhook, match="signature"):
        opened(seal, PAIR.encrypt(b"x", CORP), signature="0" * 40)


def test_hostile_17_upper_case_signature_is_refused(seal: Seal) -> None:
    encrypt = PAIR.encrypt(b"x", CORP)
    with pytest.raises(InvalidWebhook, match="signature"):
        opened(seal, encrypt, signature=PAIR.signature("1767225700", "1", encrypt).upper())


@pytest.mark.parametrize("tail", [" ", "\n", "\r\n", "\x00"])
def test_hostile_18_signature_with_a_tail(seal: Seal, tail: str) -> None:
    encrypt = PAIR.encrypt(b"x", CORP)
    with pytest.raises(InvalidWebhook):
        opened(seal, encrypt, signature=PAIR.signature("1767225700", "1", encrypt) + tail)


@pytest.mark.parametrize("odd", ["é" * 40, "你" * 40, "\x00" * 40, "\ud83d" * 40])
@pytest.mark.parametrize("where", ["signature", "timestamp", "nonce"])
def test_hostile_19_letters_beyond_ascii(seal: Seal, odd: str, where: str) -> None:
    with pytest.raises(InvalidWebhook):
        seal.open(
            PAIR.encrypt(b"x", CORP),
            **{"signature": "0" * 40, "timestamp": "1767225700", "nonce": "1", where: odd},  # type: ignore[arg-type]
            now=NOW,
        )


def test_hostile_24_another_integrations_token(seal: Seal) -> None:
    other = KeyPair("another", PAIR.aes_key)
    with pytest.raises(InvalidWebhook, match="signature"):
        opened(seal, PAIR.encrypt(b"x", CORP), pair=other)


def test_hostile_25_the_former_pair_works_until_its_grace_ends() -> None:
    former = KeyPair.of("oldtoken", base64.b64encode(os.urandom(32)).decode()[:43], until=NOW + timedelta(hours=1))
    seal = Seal([PAIR, former], [CORP])
    encrypt = former.encrypt(b"late", CORP)
    signature = former.signature("1767225700", "1", encrypt)
    assert opened(seal, encrypt, signature=signature) == b"late"
    with pytest.raises(InvalidWebhook):
        seal.open(encrypt, signature=signature, timestamp="1767225700", nonce="1", now=NOW + timedelta(hours=1))


def test_hostile_26_only_blanks_are_repaired(seal: Seal) -> None:
    encrypt = PAIR.encrypt(b"\xfb\xff" * 20, CORP, random=b"\xff" * 16)
    assert opened(seal, encrypt[:40] + "\r\n " + encrypt[40:]) == b"\xfb\xff" * 20
    for broken in (encrypt.replace("+", "-").replace("/", "_") + "-_", encrypt.rstrip("=")[:-1], "!" + encrypt, "€"):
        with pytest.raises(InvalidWebhook):
            opened(seal, broken, signature="0" * 40 if not broken.isascii() else None)


@pytest.mark.parametrize("cut", [1, 15, 16])
def test_hostile_28_blocks_are_missing(seal: Seal, cut: int) -> None:
    data = base64.b64decode(PAIR.encrypt(b"x" * 60, CORP))
    with pytest.raises(InvalidWebhook):
        opened(seal, base64.b64encode(data[:-cut]).decode())


@pytest.mark.parametrize("pad", [0, 33, 64, 200, 255])
def test_hostile_29_impossible_padding(seal: Seal, pad: int) -> None:
    plain = b"r" * 16 + struct.pack(">I", 1) + b"x" + CORP.encode()
    plain = plain + bytes([pad]) * (-len(plain) % 32)
    with pytest.raises(InvalidWebhook, match="padding"):
        opened(seal, raw(plain))


def test_hostile_29_padding_longer_than_the_text(seal: Seal) -> None:
    with pytest.raises(InvalidWebhook, match="too short"):
        opened(seal, raw(bytes([32]) * 32))


@pytest.mark.parametrize("length", [0, 200, 0x7FFFFFFF, 0xFFFFFFFF])
def test_hostile_30_impossible_length(length: int) -> None:
    plain = padded(b"r" * 16 + struct.pack(">I", length) + b"x" + CORP.encode())
    with pytest.raises(InvalidWebhook, match="length"):
        opened(Seal([PAIR], [CORP, ""]), raw(plain))


def test_hostile_30_a_length_that_swallows_the_receiver() -> None:
    plain = padded(b"r" * 16 + struct.pack(">I", 1 + len(CORP)) + b"x" + CORP.encode())
    with pytest.raises(InvalidWebhook, match="receiver"):
        opened(Seal([PAIR], [CORP]), raw(plain))


@pytest.mark.parametrize("receiver", ["wwffffffffffffffff", CORP.upper(), CORP + "\0", CORP[:-1], ""])
def test_hostile_31_another_receiver(seal: Seal, receiver: str) -> None:
    with pytest.raises(InvalidWebhook, match="receiver"):
        opened(seal, PAIR.encrypt(b"x", receiver))


def test_hostile_33_a_megabyte_of_zeros(seal: Seal) -> None:
    with pytest.raises(InvalidWebhook):
        opened(seal, "A" * (1 << 20))
    with pytest.raises(InvalidWebhook, match="too long"):
        opened(seal, "A" * ((1 << 20) + 1))


@pytest.mark.parametrize("key", ["", "short", "k" * 42, "k" * 44, "我" * 43, "k" * 42 + "!"])
def test_an_impossible_key_is_named(key: str) -> None:
    with pytest.raises(Misconfigured, match="WECOM_ENCODING_AES_KEY"):
        KeyPair.of("token", key)


def test_pasted_blanks_around_token_and_key_do_no_harm() -> None:
    assert KeyPair.of(" QnA7hJ2vK9xT\n", " kWq3vN8sZ1xC5bM7tR2yL9pJ4hG6fD0aSeUiOwQzXcV \n") == PAIR


def test_a_reply_is_sealed_as_calls_are(seal: Seal) -> None:
    sealed = PAIR.seal("你好👋", CORP, timestamp="1767225662", nonce="55501234")
    assert opened(seal, sealed.encrypt, signature=sealed.signature, timestamp="1767225662", nonce="55501234")
    assert json.dumps(sealed.encrypt).isascii()
