"""Addresses under which contacts rate us: signed, good for one survey, and only for some days."""

from __future__ import annotations

import hmac
import re
from datetime import UTC, datetime
from hashlib import sha256

from zhiban.kit.errors import Gone, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass

PATH = "/s"
_TOKEN = re.compile(r"([0-9]{1,18})-([0-9]{1,18})-([0-9]{1,12})-([0-9a-f]{32})", re.ASCII)


@frozen_dataclass
class SurveyLinks:
    """Makes the addresses and reads them. `url` is ours as contacts reach it, empty where nobody said; `key` signs."""

    url: str
    key: bytes

    @property
    def usable(self) -> bool:
        """Whether a contact can be sent a link at all."""
        return bool(self.url)

    def to(self, workspace_id: int, survey_id: int, *, until: datetime) -> str:
        """The address of a survey, good until then."""
        signed = f"{workspace_id}-{survey_id}-{int(until.timestamp())}"
        return f"{self.url.rstrip('/')}{PATH}/{signed}-{self._sign(signed)}"

    def read(self, token: str, *, now: datetime) -> tuple[int, int]:
        """The workspace and the survey that the last part of an address names. Raises NotFound, Gone."""
        found = _TOKEN.fullmatch(token)
        if found is None or not hmac.compare_digest(found[4], self._sign(f"{found[1]}-{found[2]}-{found[3]}")):
            raise NotFound("There is no such survey.")
        if now >= datetime.fromtimestamp(int(found[3]), UTC):
            raise Gone("This survey is closed.")
        return int(found[1]), int(found[2])

    def _sign(self, text: str) -> str:
        return hmac.new(self.key, text.encode(), sha256).hexdigest()[:32]
