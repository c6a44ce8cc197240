"""How a simulated forge calls webhooks: in its own order, never again by itself."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aiohttp

if TYPE_CHECKING:
    from zhiban.testing.forge import Forge, Repo


@dataclass
class Hook:
    """Where to call. `repo`: only what happens there; None is an app's hook."""

    url: str
    secret: str
    repo: int | None = None
    app_id: int | None = None


@dataclass
class HookDelivery:
    id: int
    guid: str
    event: str
    action: str
    body: bytes
    hook: Hook
    at: str
    status: int = 0
    redelivery: bool = False


@dataclass
class Hooks:
    """Calls go out one after another unless `paused`; then they are kept, to be sent thrice or in another order."""

    forge: Forge
    hooks: list[Hook] = field(default_factory=list)
    deliveries: list[HookDelivery] = field(default_factory=list)
    waiting: list[HookDelivery] = field(default_factory=list)
    paused: bool = False
    lost: int = 0  # so many of the next calls never arrive
    _ids: Any = field(default_factory=lambda: itertools.count(1))
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _order: asyncio.Lock = field(default_factory=asyncio.Lock)
    _session: aiohttp.ClientSession | None = None

    def add(self, url: str, secret: str, *, repo: Repo | None = None, app_id: int | None = None) -> Hook:
        hook = Hook(url, secret, repo.id if repo else None, app_id)
        self.hooks.append(hook)
        return hook

    def tell(self, event: str, payload: dict[str, Any], repo: Repo) -> None:
        """Call every hook that wants to know of this repository."""
        for hook in self.hooks:
            if hook.repo not in (None, repo.id):
                continue
            said = {**payload, "installation": {"id": 1}} if hook.app_id is not None else payload
            self._call(hook, event, said)

    def tell_app(self, app_id: int, event: str, payload: dict[str, Any]) -> None:
        """Call the hook of an app, of what concerns the app itself."""
        for hook in self.hooks:
            if hook.app_id == app_id:
                self._call(hook, event, payload)

    def _call(self, hook: Hook, event: str, payload: dict[str, Any]) -> None:
        body = json.dumps(payload, ensure_ascii=False).encode()
        guid, action = str(uuid4()), str(payload.get("action", ""))
        at = f"{self.forge.now():%Y-%m-%dT%H:%M:%SZ}"
        delivery = HookDelivery(next(self._ids), guid, event, action, body, hook, at)
        self.deliveries.append(delivery)
        if self.paused:
            self.waiting.append(delivery)
        else:
            self.start(delivery)

    def start(self, delivery: HookDelivery) -> None:
        task = asyncio.get_running_loop().create_task(self._in_order(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _in_order(self, delivery: HookDelivery) -> None:
        async with self._order:
            await self.send(delivery)

    async def send(self, delivery: HookDelivery) -> int:
        """Call once. Returns the status, 502 where nobody answers."""
        if self.lost > 0:
            self.lost -= 1
            delivery.status = 502
            return 502
        if self._session is None:
            self._session = aiohttp.ClientSession()
        try:
            timeout = aiohttp.ClientTimeout(total=10)
            async with self._session.post(
                delivery.hook.url, data=delivery.body, headers=self.headers(delivery), timeout=timeout
            ) as answer:
                delivery.status = answer.status
        except (aiohttp.ClientError, TimeoutError):
            delivery.status = 502
        return delivery.status

    def redeliver(self, delivery: HookDelivery) -> None:
        """The same again, under the same guid."""
        again = HookDelivery(
            next(self._ids),
            delivery.guid,
            delivery.event,
            delivery.action,
            delivery.body,
            delivery.hook,
            f"{self.forge.now():%Y-%m-%dT%H:%M:%SZ}",
            redelivery=True,
        )
        self.deliveries.append(again)
        self.start(again)

    async def settled(self) -> None:
        """Return when every call that was begun has ended."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        await self.settled()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def headers(self, delivery: HookDelivery) -> dict[str, str]:
        """What a call proves itself with, as this forge does."""
        raise NotImplementedError
