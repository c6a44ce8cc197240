"""Notifier over a Telegram bot: `telegram:<chat id>`."""

from __future__ import annotations

import html
import re
from typing import Any

from pydantic import BaseModel, ConfigDict, SecretStr

from zhiban.kit.errors import Unavailable
from zhiban.kit.http import Http, HttpResponse, NotJson, Unreachable
from zhiban.ports import ConnectionBroken, Notice, TryLater

_LONGEST = 4096  # UTF-16 units of a message, counted after its marks are taken away
_CHAT = re.compile(r"-?\d{1,20}|@[A-Za-z]\w{3,31}", re.ASCII)


class TelegramConfig(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True)

    token: SecretStr
    base: str = "https://api.telegram.org"
    timeout: float = 10.0


class TelegramNotifier:
    """Sends notices as a bot. The chat must have written to the bot once, or hold it as a member."""

    def __init__(self, config: TelegramConfig, http: Http) -> None:
        self._config = config
        self._http = http

    async def notify(self, address: str, notice: Notice) -> None:
        """Deliver one notice to `telegram:<chat id>`. Raises TryLater or ConnectionBroken."""
        chat = address.strip().removeprefix("telegram:").removeprefix("//").strip("/ ")
        if not self._config.token.get_secret_value():
            raise ConnectionBroken("Telegram has no bot token", code=0, hint="Set TELEGRAM_BOT_TOKEN.")
        if not _CHAT.fullmatch(chat):
            raise ConnectionBroken(
                "A Telegram address is telegram: with a chat id", code=0, hint="For example telegram:8518085684."
            )
        moved = await self._send(chat, notice)
        if moved is not None:
            await self._send(moved, notice)

    async def _send(self, chat: str, notice: Notice) -> str | None:
        """Send; returns the chat's new id when it has become a supergroup and was not reached."""
        body = {
            "chat_id": chat,
            "text": written(notice),
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": True},
        }
        answer = await self._post(body)
        said = _said(answer)
        if answer.status == 200 and said.get("ok") is True:
            return None
        parameters = said.get("parameters")
        wishes = parameters if isinstance(parameters, dict) else {}
        moved = wishes.get("migrate_to_chat_id")
        if isinstance(moved, int) and str(moved) != chat:
            return str(moved)
        raise _refusal(answer.status, said, wishes)

    async def _post(self, body: dict[str, Any]) -> HttpResponse:
        token = self._config.token.get_secret_value()
        url = f"{self._config.base.rstrip('/')}/bot{token}/sendMessage"
        try:
            return await self._http.request("POST", url, json=body, timeout=self._config.timeout, limit=1 << 20)
        except Unreachable:
            raise TryLater("Telegram cannot be reached. Behind a firewall set TELEGRAM_API_BASE.", after=10) from None
        except Unavailable:
            raise TryLater("Telegram did not answer.", after=10, unknown=True) from None


def written(notice: Notice) -> str:
    """The notice as Telegram's HTML, at most as long as a message may be."""
    title, text = notice.title.strip(), notice.text.strip()
    url = f"\n{notice.url}" if notice.url else ""
    title = cut_units(title, 256)
    text = cut_units(text, _LONGEST - units(title) - units(url) - 1)
    return f"<b>{html.escape(title, quote=False)}</b>\n{html.escape(text, quote=False)}{html.escape(url, quote=False)}"


def units(text: str) -> int:
    """The length as Telegram counts it."""
    return len(text.encode("utf-16-le", "replace")) // 2


def cut_units(text: str, limit: int) -> str:
    """The text in at most `limit` units, with an ellipsis where it was cut."""
    if units(text) <= limit:
        return text
    # An ignored half of a surrogate pair at the cut is dropped.
    return text.encode("utf-16-le", "replace")[: 2 * max(0, limit - 1)].decode("utf-16-le", "ignore") + "…"


def _said(answer: HttpResponse) -> dict[str, Any]:
    try:
        value = answer.json()
    except NotJson:
        return {}
    return value if isinstance(value, dict) else {}


def _refusal(status: int, said: dict[str, Any], wishes: dict[str, Any]) -> TryLater | ConnectionBroken:
    told = str(said.get("description") or "no description")[:200]
    if status == 429:
        after = wishes.get("retry_after")
        seconds = float(after) if isinstance(after, int | float) and after > 0 else 5.0
        return TryLater("Telegram asks us to slow down.", after=seconds, code=429)
    if status in (401, 404):
        return ConnectionBroken("Telegram does not know the bot", code=status, hint="Check TELEGRAM_BOT_TOKEN.")
    if status == 403:
        return ConnectionBroken(
            f"Telegram: {told}", code=403, hint="The person must write to the bot first, and not block it."
        )
    if status == 400:
        hint = "Check the chat id; write to the bot once." if "chat not found" in told.lower() else ""
        return ConnectionBroken(f"Telegram: {told}", code=400, hint=hint)
    return TryLater(f"Telegram answered {status}.", after=10, code=status, unknown=status >= 500)
