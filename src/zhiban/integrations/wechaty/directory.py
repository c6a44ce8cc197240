"""Who is called what at a gateway: each asked once, however many messages want to know, and again after a while."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from zhiban.integrations.wechaty.client import GatewayClient
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.text import clean
from zhiban.ports import ConnectionBroken, GroupMember, SendRefused, TryLater

KEPT_SECONDS: Final = 900.0
REMEMBERED: Final = 50_000
AT_ONCE: Final = 16  # names asked for at the same time, so that a large group does not hold up the messages
MEMBERS: Final = 1_000  # of one group; WeChat's own limit is 500
LONGEST: Final = 200


@frozen_dataclass
class Room:
    """A group as the gateway describes it; all empty where it does not."""

    topic: str = ""
    owner: str = ""
    admins: frozenset[str] = frozenset()
    members: tuple[str, ...] = ()

    def role(self, member: str) -> Literal["member", "admin", "owner"]:
        return "owner" if member == self.owner else "admin" if member in self.admins else "member"


@dataclass
class OwnAccount:
    """The account that is logged in, as far as this process has heard; its id is empty while there is none."""

    id: str = ""


class Directory:
    """Asks `client`. What a gateway does not tell is empty, and asked again soon."""

    def __init__(self, client: GatewayClient) -> None:
        self._client = client
        self._known: OrderedDict[tuple[str, str], tuple[float, asyncio.Task[Any]]] = OrderedDict()
        self._slots = asyncio.Semaphore(AT_ONCE)

    def forget(self, id_: str) -> None:
        """Something about this contact or group has changed."""
        for key in [key for key in self._known if id_ in key]:
            del self._known[key]

    def forget_all(self) -> None:
        """Anything may have changed."""
        self._known.clear()

    async def contact_name(self, contact: str) -> str:
        """What somebody calls themselves."""
        return str(await self._once(("", contact), lambda: self._ask_contact(contact)) or "")

    async def member(self, room: str, member: str) -> GroupMember:
        """Somebody in a group, with both names."""
        found = await self._once((room, member), lambda: self._ask_member(room, member))
        return found if isinstance(found, GroupMember) else GroupMember(member)

    async def room(self, room: str) -> Room:
        found = await self._once((room, ""), lambda: self._ask_room(room))
        return found if isinstance(found, Room) else Room()

    async def members(self, room: str) -> tuple[GroupMember, ...] | None:
        """Everybody in a group; None where the gateway does not say who they are."""
        described = await self.room(room)
        if not described.members:
            return None
        found = await asyncio.gather(*(self.member(room, each) for each in described.members[:MEMBERS]))
        return tuple(
            GroupMember(one.external_id, one.name, one.nickname, described.role(one.external_id)) for one in found
        )

    async def close(self) -> None:
        """End what is being asked."""
        for _, task in self._known.values():
            task.cancel()
        self._known.clear()

    async def _once(self, key: tuple[str, str], ask: Callable[[], Awaitable[object]]) -> object:
        now = time.monotonic()
        found = self._known.get(key)
        if found is None or now - found[0] > KEPT_SECONDS:
            self._known[key] = found = (now, asyncio.ensure_future(self._asked(ask)))
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        # One who stops waiting must not take the answer from the others.
        answer: object = await asyncio.shield(found[1])
        if answer is None and self._known.get(key) is found:
            del self._known[key]
        return answer

    async def _asked(self, ask: Callable[[], Awaitable[object]]) -> object:
        try:
            async with self._slots:
                return await ask()
        except (SendRefused, TryLater, ConnectionBroken):
            return None

    async def _ask_contact(self, contact: str) -> str:
        answer = await self._client.call("ContactPayload", id=contact)
        return clean(answer.name)[:LONGEST]

    async def _ask_member(self, room: str, member: str) -> GroupMember:
        answer = await self._client.call("RoomMemberPayload", id=room, member_id=member)
        name = clean(answer.name)[:LONGEST] or await self._ask_contact(member)
        return GroupMember(member, name, clean(answer.room_alias)[:LONGEST])

    async def _ask_room(self, room: str) -> Room:
        answer = await self._client.call("RoomPayload", id=room)
        members = tuple(answer.member_ids) or tuple((await self._client.call("RoomMemberList", id=room)).member_ids)
        return Room(clean(answer.topic)[:LONGEST], answer.owner_id, frozenset(answer.admin_ids), members)
