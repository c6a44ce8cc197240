"""Notifier over Apprise: Feishu, DingTalk, e-mail, Slack and a hundred more, by address.

Apprise blocks, and loading its plugins takes time and 40 MB; so both happen on first use, in threads of its own.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from zhiban.ports import ConnectionBroken, Notice, TryLater

_WAIT = 30.0  # seconds for one notice; mail servers are slow
_SILENCE = 20.0  # seconds that a silent host holds a thread

# Services whose addresses name no host, so that they lead nowhere else: agents may enter them in the settings.
HOSTED_SCHEMES: Final = frozenset(
    {
        "dingtalk",
        "discord",
        "feishu",
        "gchat",
        "kook",
        "lark",
        "line",
        "pbul",
        "pover",
        "pushplus",
        "qq",
        "schan",
        "slack",
        "tgram",
        "wecombot",
        "wxpusher",
    }
)

# Apprise writes whole addresses, with their keys, into its own log.
logging.getLogger("apprise").setLevel(logging.CRITICAL)


class AppriseNotifier:
    """Sends to any Apprise address. Close it at the end."""

    def __init__(self, *, wait: float = _WAIT, silence: float = _SILENCE) -> None:
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="apprise")
        self._wait = wait
        self._silence = silence

    async def notify(self, address: str, notice: Notice) -> None:
        """Deliver one notice to an Apprise address. Raises TryLater, or ConnectionBroken for a wrong address."""
        body = f"{notice.text}\n{notice.url}" if notice.url else notice.text
        sending = asyncio.get_running_loop().run_in_executor(
            self._threads, _send, address, notice.title, body, self._silence
        )
        kind = _kind(address)
        try:
            async with asyncio.timeout(self._wait):
                sent = await sending
        except TimeoutError:
            raise TryLater(f"{kind} took longer than {self._wait:g} seconds.", unknown=True) from None
        if not sent:
            # Apprise says no more than that it failed.
            raise TryLater(f"{kind} did not take the notice. Check the address and its key.", after=30)

    def close(self) -> None:
        """Let running notices end in their threads without waiting for them."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def understands(address: str) -> bool:
    """Whether Apprise can send to such an address, as far as its form tells. Blocks for a moment on first use."""
    import apprise

    return apprise.Apprise.instantiate(address.strip(), suppress_exceptions=True) is not None


def _send(address: str, title: str, body: str, silence: float) -> bool:
    import apprise

    service = apprise.Apprise.instantiate(address.strip(), suppress_exceptions=True)
    if service is None:
        raise ConnectionBroken(
            f"Apprise does not understand the {_kind(address)} address",
            code=0,
            hint="Addresses are described at https://github.com/caronc/apprise/wiki.",
        )
    _pin(service, silence)
    try:
        return bool(service.notify(body=body, title=title, body_format=apprise.NotifyFormat.TEXT))
    except (TypeError, OSError):  # a title or body that the service refuses, a broken connection
        return False


def _pin(service: Any, silence: float) -> None:
    """How long, how often and how carefully we call, whatever the address says (rto, cto, retry, redirect, verify)."""
    service.socket_connect_timeout = service.socket_read_timeout = silence
    service.retry = service.wait = 0
    service.redirects = False
    service.verify_certificate = True


def _kind(address: str) -> str:
    """The address up to its colon: what comes after holds keys."""
    return address.partition(":")[0].strip()[:30]
