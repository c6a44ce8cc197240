"""What events leave out, asked of the program: groups with their members, forwarded chats, friends and invitations.

Asking has its time; what is not answered in it stays as it is, and the event is taken in without.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Literal

from zhiban.integrations.onebot import events, segments
from zhiban.integrations.onebot.client import OneBotClient
from zhiban.integrations.onebot.config import OneBotConfig
from zhiban.integrations.onebot.events import GROUP, OneBotEvent
from zhiban.integrations.onebot.segments import Node, identifier, number
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.ports import (
    ConnectionBroken,
    ContactChanged,
    Entered,
    GroupChanged,
    GroupMember,
    Incoming,
    IncomingMessage,
    Kind,
    MembersJoined,
    MembersLeft,
    Profile,
    SendRefused,
    TryLater,
    UnknownVendorEvent,
)

log = logging.getLogger(__name__)

ASK_SECONDS: Final = 6.0
AGAIN_SECONDS: Final = 60.0  # after a question that was not answered
GROUPS: Final = 500  # of one account
MEMBERS: Final = 3_000  # of one group
REMEMBERED: Final = 300  # groups whose members' names are known
DEPTH: Final = 3  # of chats forwarded within chats
LINES: Final = 200
FILES: Final = 50
TWICE_SECONDS: Final = 120.0  # within which a file is told by a message and by a notice

_ROLES: Final[Mapping[str, Literal["member", "admin", "owner"]]] = {"owner": "owner", "admin": "admin"}


@frozen_dataclass
class _KnownGroup:
    """When a group was asked for, and what its members are called."""

    at: float
    names: Mapping[str, str] | None


class Asking:
    """What one process knows of one connection. It is forgotten whenever the program connects anew."""

    def __init__(self, client: OneBotClient, config: OneBotConfig) -> None:
        self._client = client
        self._config = config
        self._groups: OrderedDict[str, _KnownGroup] = OrderedDict()
        self._introduced: OrderedDict[str, None] = OrderedDict()
        self._accepted: OrderedDict[str, None] = OrderedDict()
        self._files: deque[tuple[str, str, float, bool]] = deque(maxlen=FILES)

    async def complete(self, event: OneBotEvent, *, now: datetime) -> Sequence[Incoming]:
        """What an event brings, with what only its program can tell. Never raises because of the program."""
        if event.kind == "zhiban":
            self._groups.clear()
            self._introduced.clear()
            return await self._all_groups(now)
        before = await self._before(event, now)
        names = self._names(event.id("group_id"))
        items = events.incoming(event, now=now, name_of=lambda id_: names.get(id_, ""))
        found: list[Incoming] = []
        for item in items:
            match item:
                case IncomingMessage():
                    found += await self._message(event, item)
                case MembersJoined() | MembersLeft():
                    self._groups.pop(event.id("group_id"), None)
                    found.append(await self._named(event, item))
                case Entered():
                    found += await self._friend(item, now)
                case UnknownVendorEvent() if event.kind == "request":
                    found += await self._request(event, item, now)
                case _:
                    found.append(item)
        return [*before, *found]

    async def _ask(self, action: str, **params: Any) -> Any:
        """The answer, or None where there is none in time."""
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await self._client.call(action, timeout=ASK_SECONDS, **params)
        except (SendRefused, TryLater, ConnectionBroken, TimeoutError) as error:
            log.info("The program of %s did not answer %s: %s", self._config.source, action, error)
            return None

    # -------------------------------------------------------------------------------------------------------- groups

    async def _all_groups(self, now: datetime) -> list[Incoming]:
        """The groups of the account by their names; who is in them is asked when somebody says something."""
        listed = await self._ask("get_group_list")
        found: list[Incoming] = []
        for one in listed[:GROUPS] if isinstance(listed, list) else ():
            group = OneBotEvent(one) if isinstance(one, Mapping) else OneBotEvent({})
            if group.id("group_id") and (name := group.named("group_name")):
                found.append(GroupChanged(f"{GROUP}{group.id('group_id')}", now, name=name))
        return found

    async def _before(self, event: OneBotEvent, now: datetime) -> list[Incoming]:
        """What is to be known before an event: its group and everybody in it; or who a person is."""
        group = event.id("group_id") if event.thread.startswith(GROUP) else ""
        if not group:
            return self._introduction(event, now)
        changed = event.word("notice_type") in ("group_card", "group_admin")
        known = self._groups.get(group)
        if known is not None and not changed:
            lately = time.monotonic() - known.at < AGAIN_SECONDS
            if known.names is not None or lately:
                return []
        if event.word("notice_type") in ("group_decrease", "group_recall") or event.kind == "request":
            return []
        return await self._group(group, event, now)

    async def _group(self, group: str, event: OneBotEvent, now: datetime) -> list[Incoming]:
        listed = await self._ask("get_group_member_list", group_id=number(group))
        members = [one for one in map(_member, listed[:MEMBERS] if isinstance(listed, list) else ()) if one is not None]
        names = {one.external_id: one.nickname or one.name for one in members} if members else None
        self._groups[group] = _KnownGroup(time.monotonic(), names)
        self._groups.move_to_end(group)
        if len(self._groups) > REMEMBERED:
            self._groups.popitem(last=False)
        name = event.named("group_name")
        if not name:
            described = await self._ask("get_group_info", group_id=number(group))
            name = events.called(described.get("group_name")) if isinstance(described, Mapping) else ""
        others = tuple(one for one in members if one.external_id != event.us)
        if not name and not members:
            return []
        return [GroupChanged(f"{GROUP}{group}", now, name=name or None, members=others if members else None)]

    def _names(self, group: str) -> Mapping[str, str]:
        known = self._groups.get(group)
        return known.names or {} if known is not None else {}

    async def _named(self, event: OneBotEvent, item: MembersJoined | MembersLeft) -> Incoming:
        if isinstance(item, MembersLeft) or not item.members:
            return item
        who = item.members[0].external_id
        told = await self._ask(
            "get_group_member_info", group_id=number(event.id("group_id")), user_id=number(who), no_cache=True
        )
        member = _member({**told, "user_id": who}) if isinstance(told, Mapping) else None
        return replace(item, members=(member,)) if member is not None else item

    # ------------------------------------------------------------------------------------------------------ messages

    def _introduction(self, event: OneBotEvent, now: datetime) -> list[Incoming]:
        """Who somebody is, once, before what they say to us."""
        who, name = event.id("user_id"), event.part("sender").named("nickname")
        if event.kind != "message" or not who or not name or who in self._introduced or who == event.us:
            return []
        self._introduced[who] = None
        if len(self._introduced) > REMEMBERED * 10:
            self._introduced.popitem(last=False)
        return [ContactChanged(Profile(who, name), now)]

    async def _message(self, event: OneBotEvent, message: IncomingMessage) -> list[Incoming]:
        if self._told_before(event, message):
            return []
        if message.kind is not Kind.MERGED:
            return [message]
        said = segments.read(segments.segments_of(event.values.get("message") or event.values.get("raw_message")))
        lines: list[dict[str, Any]] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * ASK_SECONDS):  # what came by then is kept
                await self._expand(lines, said.forward, said.nodes, event.id("message_id"))
        return [events.expanded(message, said.text, lines) if lines else message]

    def _told_before(self, event: OneBotEvent, message: IncomingMessage) -> bool:
        """Whether a file came by a message already, or by a notice: some programs tell it in both ways."""
        if message.kind is not Kind.FILE or not message.media:
            return False
        by_notice, now = event.kind == "notice", time.monotonic()
        key = f"{message.thread}\0{message.sender}"
        name = message.media[0].filename or ""
        for other, called, at, noticed in self._files:
            if other == key and called == name and noticed != by_notice and now - at < TWICE_SECONDS:
                return True
        self._files.append((key, name, now, by_notice))
        return False

    async def _expand(
        self, lines: list[dict[str, Any]], forward: str, nodes: Sequence[Any], id_: str = "", depth: int = 0
    ) -> None:
        """Add what a forwarded chat says, those within it included, until there are enough lines."""
        told: Any = list(nodes)
        if not told and forward:
            # One program wants `id`, another `message_id` of the message, or the same under both names.
            told = await self._ask("get_forward_msg", id=forward, message_id=id_ or forward)
            if not told and id_:
                told = await self._ask("get_forward_msg", id=forward)
        for node in segments.nodes_of(told):
            if len(lines) >= LINES:
                return
            lines.append(_line(node, depth))
            if depth + 1 < DEPTH and (node.forward or node.nodes):
                await self._expand(lines, node.forward, node.nodes, depth=depth + 1)

    # -------------------------------------------------------------------------------------- friends and invitations

    async def _friend(self, item: Entered, now: datetime) -> list[Incoming]:
        """A new friend with their name. One program tells of a friend as soon as somebody asks to be one."""
        friends = await self._ask("get_friend_list")
        known = {identifier(one.get("user_id")): one for one in friends or () if isinstance(one, Mapping)}
        if known and item.thread not in known:
            return []
        name = events.called(known[item.thread].get("nickname")) if item.thread in known else ""
        return [*([ContactChanged(Profile(item.thread, name), now)] if name else []), item]

    async def _request(self, event: OneBotEvent, item: UnknownVendorEvent, now: datetime) -> list[Incoming]:
        """Accept what the operator wants to be accepted; who asks to be let into a group is decided by its people."""
        flag = events.called(event.values.get("flag")) or identifier(event.values.get("flag"))
        invited, friend = events.is_invitation(event), event.word("request_type") == "friend"
        wanted = (friend and self._config.accept_friends) or (invited and self._config.accept_invitations)
        if not wanted or self._config.read_only or not flag:
            return [item]
        if flag not in self._accepted and not await self._accept(event, flag, friend=friend):
            return [item]
        self._accepted[flag] = None  # an event that could not be stored is read again
        if len(self._accepted) > REMEMBERED:
            self._accepted.popitem(last=False)
        kind = "friendship_accepted" if friend else "group_invitation_accepted"
        accepted = replace(item, kind=kind)
        return [accepted, events.entered(event.id("user_id"), now)] if friend and event.id("user_id") else [accepted]

    async def _accept(self, event: OneBotEvent, flag: str, *, friend: bool) -> bool:
        """Whether they are our friend now, or we in their group. A request counts once: who read it before us, or whose
        answer was lost, has used it up, which the list tells."""
        try:
            async with asyncio.timeout(ASK_SECONDS):
                if friend:
                    await self._client.call("set_friend_add_request", timeout=ASK_SECONDS, flag=flag, approve=True)
                else:
                    invitation: dict[str, Any] = {"flag": flag, "sub_type": "invite", "type": "invite", "approve": True}
                    await self._client.call("set_group_add_request", timeout=ASK_SECONDS, **invitation)
        except (SendRefused, TryLater, ConnectionBroken, TimeoutError) as error:
            listed = await self._ask("get_friend_list" if friend else "get_group_list", no_cache=True)
            name = "user_id" if friend else "group_id"
            known = listed if isinstance(listed, list) else ()
            if any(identifier(one.get(name)) == event.id(name) for one in known if isinstance(one, Mapping)):
                return True
            log.warning("The program of %s could not accept a request: %s", self._config.source, error)
            return False
        return True


def _member(value: object) -> GroupMember | None:
    if not isinstance(value, Mapping):
        return None
    told = OneBotEvent(value)
    who = told.id("user_id")
    if not who:
        return None
    return GroupMember(who, told.named("nickname"), told.named("card"), _ROLES.get(told.word("role"), "member"))


def _line(node: Node, depth: int) -> dict[str, Any]:
    text = node.text or ("[聊天记录]" if node.forward or node.nodes else "")
    return {"sender": "　" * depth + node.sender, "kind": node.kind.value, "text": text}
