"""The folder of a demonstration: marked as one, with credentials of the simulated platform that nobody else knows.

Whoever knows the credentials of a connection can send it messages. Those that stand in this repository are known to
everybody, so neither a demonstration nor an installation may run with them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import string
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from zhiban.kit.errors import Misconfigured
from zhiban.kit.frozen_dataclass import frozen_dataclass

MARK = "demo.json"
_LETTERS = string.ascii_letters + string.digits

# Digests of the Secret, Token, EncodingAESKey and signing secrets that the simulators have by default.
_PUBLISHED = frozenset(
    (
        "798d6889880f4140a3f5ddb127ab4ed48fb98ccb9b5a8ede598f4c96b1c56bd8",
        "ca1069d2920b1450d0a4a935cf7af5193c595049750e47ce5ea1205880dc95ca",
        "95a716bcbe7b1f4dcd6261d061222d48f7a24663d409152bb94db0396c7659ab",
        "cbbcbfc50089a277a5aa01f7ad5a4f52a3bc01493be5e89bbd0006f25035453c",
        "fc3d93ac101318b40fcd0757894b4374a954ce4033113882a40da9b27c41db5b",
    )
)


@frozen_dataclass
class SimulatedKeys:
    """What an operator would copy from the platform's console."""

    corp_id: str
    agent_id: int
    secret: str
    token: str
    aes_key: str

    @classmethod
    def random(cls) -> SimulatedKeys:
        def letters(count: int) -> str:
            return "".join(secrets.choice(_LETTERS) for _ in range(count))

        # 43 characters are 258 bits; the last one may only hold what fits into 256.
        aes_key = letters(42) + secrets.choice("AEIMQUYcgkosw048")
        return cls(f"ww{secrets.token_hex(8)}", 1_000_002, letters(43), letters(20), aes_key)

    @property
    def site_secret(self) -> str:
        """The signing secret of the shop's website, which writes through the webhook channel."""
        return "whsec_" + base64.b64encode(hashlib.sha256(f"site {self.secret}".encode()).digest()).decode()

    def of_tracker(self, what: str) -> str:
        """A secret of the simulated GitHub, the same at each start: its token, or what its webhooks are signed with."""
        return hashlib.sha256(f"tracker {what} {self.secret}".encode()).hexdigest()

    def environment(self, api_base: str) -> dict[str, str]:
        """The settings of an installation that is connected to the simulator."""
        return {
            "WECOM_CORP_ID": self.corp_id,
            "WECOM_AGENT_ID": str(self.agent_id),
            "WECOM_AGENT_SECRET": self.secret,
            "WECOM_TOKEN": self.token,
            "WECOM_ENCODING_AES_KEY": self.aes_key,
            "WECOM_API_BASE": api_base,
        }


def is_demo(folder: Path) -> bool:
    return (folder / MARK).exists()


def open_demo(folder: Path) -> SimulatedKeys:
    """The keys of this demonstration, made with the folder. Raises Misconfigured when other data lives there."""
    mark = folder / MARK
    try:
        if mark.exists():
            return SimulatedKeys(**json.loads(mark.read_text("utf-8")))
        if folder.exists() and any(folder.iterdir()):
            raise Misconfigured(
                f"{folder} holds data and is not marked as a demonstration's. Nothing was touched: "
                "choose an empty folder with ZHIBAN_DATA."
            )
        folder.mkdir(parents=True, exist_ok=True)
        keys = SimulatedKeys.random()
        with os.fdopen(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(keys), file)
    except OSError as error:
        raise Misconfigured(f"The demonstration cannot use {folder} ({error.strerror}).") from error
    except (ValueError, TypeError) as error:
        raise Misconfigured(f"{mark} is damaged. Remove the folder to begin a new demonstration.") from error
    return keys


def is_published(credentials: Iterable[str]) -> bool:
    """Whether one of these is the simulator's own, which everybody knows."""
    return any(hashlib.sha256(one.encode()).hexdigest() in _PUBLISHED for one in credentials)
