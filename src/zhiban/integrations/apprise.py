"""Notifier over Apprise: Feishu, DingTalk, e-mail, Slack and a hundred more, by address."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

import apprise

from zhiban.ports import ConnectionBroken, Notice, TryLater

_WAIT = 30.0  # seconds for one notice; mail servers are slow

# Apprise writes whole addresses, with their keys, into its own log.
logging.getLogger("apprise").setLevel(logging.CRITICAL)


class AppriseNotifier:
    """Apprise blocks, so it runs in threads of its own. Close it at the end."""

    def __init__(self, *, wait: float = _WAIT) -> None:
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="apprise")
        self._wait = wait

    async def notify(self, address: str, notice: Notice) -> None:
        """Deliver one notice to an Apprise address. Raises TryLater, or ConnectionBroken for a wrong address."""
        service = self._service(address)
        body = f"{notice.text}\n{notice.url}" if notice.url else notice.text
        loop = asyncio.get_running_loop()
        sending = loop.run_in_executor(self._threads, _send, service, notice.title, body)
        try:
            async with asyncio.timeout(self._wait):
                sent = await sending
        except TimeoutError:
            raise TryLater(f"{_name(service)} took longer than {self._wait:g} seconds.", unknown=True) from None
        if not sent:
            # Apprise says no more than that it failed.
            raise TryLater(f"{_name(service)} did not take the notice. Check the address and its key.", after=30)

    def _service(self, address: str) -> apprise.NotifyBase:
        service = apprise.Apprise.instantiate(address.strip(), suppress_exceptions=True)
        if service is None:
            raise ConnectionBroken(
                f"Apprise does not understand the {address.partition(':')[0][:30]} address",
                code=0,
                hint="Addresses are described at https://github.com/caronc/apprise/wiki.",
            )
        return service

    def close(self) -> None:
        """Let running notices end in their threads without waiting for them."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def understands(address: str) -> bool:
    """Whether Apprise can send to such an address, as far as its form tells."""
    return apprise.Apprise.instantiate(address.strip(), suppress_exceptions=True) is not None


def _send(service: apprise.NotifyBase, title: str, body: str) -> bool:
    try:
        return bool(service.notify(body=body, title=title, body_format=apprise.NotifyFormat.TEXT))
    except (TypeError, OSError):  # a title or body that the service refuses, a broken connection
        return False


def _name(service: apprise.NotifyBase) -> str:
    return str(service.service_name or "Apprise")
