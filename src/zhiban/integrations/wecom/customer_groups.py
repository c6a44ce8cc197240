"""客户群: the groups of a company and its customers in WeChat, as far as the official API goes.

It tells which groups there are, what they are called, and who is in them; not what is said, and nothing can be said.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Literal

from zhiban.integrations.wecom import xml
from zhiban.integrations.wecom.api import WeComApi
from zhiban.integrations.wecom.documents import read_document
from zhiban.integrations.wecom.errors import NOT_OPENED_CODES, error_for
from zhiban.integrations.wecom.kinds import CUSTOMER_GROUPS
from zhiban.integrations.wecom.values import items_of, mapping_of, moment, number, text_of, texts_of
from zhiban.kit.clock import Clock
from zhiban.kit.i18n import mark
from zhiban.ports import (
    CheckResult,
    ConnectionBroken,
    FeatureOff,
    GroupChanged,
    GroupMember,
    GroupStale,
    Incoming,
    Limits,
    Outgoing,
    Refusal,
    SendRefused,
    TryLater,
    VendorAccount,
)

ACCOUNT: Final = "customer-groups"
EVENT: Final = "change_external_chat"
NAME_OF_INBOX: Final = "客户群"
PAGE_SIZE: Final = 1000
OWNERS_AT_ONCE: Final = 100
_MOST_PAGES: Final = 1000
_TOO_MANY_OWNERS: Final = 81017  # more than a thousand members are visible: the list has to name whose groups it wants
_NO_SUCH_GROUP: Final = frozenset({40050, 86001, 86003})
_OUT_OF_SIGHT: Final = frozenset({60011, 60021})  # the owner is outside of the app's visible range
_COLLEAGUE: Final = 1
_LATEST: Final = 253402300800  # the year 10000


def account() -> VendorAccount:
    """All customer groups of a connection are one inbox."""
    return VendorAccount(CUSTOMER_GROUPS.kind, ACCOUNT, NAME_OF_INBOX)


class CustomerGroups:
    """Calls of 客户群. Every method raises SendRefused, TryLater or ConnectionBroken; FeatureOff where 客户联系 is not
    opened to the app."""

    def __init__(self, api: WeComApi) -> None:
        self._api = api

    async def has_any(self) -> bool:
        """Whether the app sees a group. What stands in the way of asking counts as none."""
        try:
            code, answer = await self._list({"limit": 1})
        except (TryLater, ConnectionBroken, FeatureOff):
            return False
        return code == _TOO_MANY_OWNERS or bool(not code and items_of(answer, "group_chat_list"))

    async def ids(self) -> AsyncIterator[str]:
        """Every group that the app may see."""
        code, answer = await self._list({"limit": PAGE_SIZE})
        if code == _TOO_MANY_OWNERS:
            owners = texts_of(await self._api.call("externalcontact/get_follow_user_list"), "follow_user")
            for start in range(0, len(owners), OWNERS_AT_ONCE):
                wanted = {"owner_filter": {"userid_list": owners[start : start + OWNERS_AT_ONCE]}, "limit": PAGE_SIZE}
                async for chat in self._pages(wanted, *await self._list(wanted)):
                    yield chat
            return
        async for chat in self._pages({"limit": PAGE_SIZE}, code, answer):
            yield chat

    async def _pages(self, wanted: Mapping[str, Any], code: int, answer: Mapping[str, Any]) -> AsyncIterator[str]:
        cursor = ""
        for _ in range(_MOST_PAGES):
            if code:
                raise error_for(code, text_of(answer, "errmsg"))
            for entry in items_of(answer, "group_chat_list"):
                if chat := text_of(entry, "chat_id"):
                    yield chat
            before, cursor = cursor, text_of(answer, "next_cursor")
            if not cursor or cursor == before:
                return
            code, answer = await self._list({**wanted, "cursor": cursor})

    async def _list(self, wanted: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        code, answer = await self._api.attempt("externalcontact/groupchat/list", {"status_filter": 0, **wanted})
        if code in NOT_OPENED_CODES:
            raise FeatureOff("客户联系 is not opened to this app", code=code)
        return code, answer

    async def group(self, chat: str, *, now: datetime) -> GroupChanged | None:
        """What a group is now; None: it is dismissed, or was never there."""
        code, answer = await self._api.attempt("externalcontact/groupchat/get", {"chat_id": chat, "need_name": 1})
        if code in NOT_OPENED_CODES:
            raise FeatureOff("客户联系 is not opened to this app", code=code)
        if code in _NO_SUCH_GROUP:
            return None
        if code in _OUT_OF_SIGHT:
            raise FeatureOff("The owner of this group is outside the app's visible range", code=code)
        if code:
            raise error_for(code, text_of(answer, "errmsg"))
        found = mapping_of(answer, "group_chat")
        return GroupChanged(chat, now, name=text_of(found, "name") or None, members=_members(found))


async def check(groups: CustomerGroups) -> CheckResult:
    """Whether the app may read customer groups, and how many it sees."""
    name = mark("客户群")
    try:
        seen = len([chat async for chat in groups.ids()])
    except FeatureOff as error:
        cure = mark("不用客户群，可以不管；要用：客户联系 → 可调用接口的应用，加上这个应用")
        return CheckResult(name, "skip", problem=error.sentence, cure=cure)
    except (SendRefused, ConnectionBroken, TryLater) as error:
        cure = mark("客户联系 → 权限配置：群主要在使用范围里，也要在应用的可见范围里")
        return CheckResult(name, "warn", problem=error.sentence, cure=cure)
    return CheckResult(name, "ok", mark("看得到{n}个客户群"), values={"n": str(seen)})


class CustomerGroupsChannel:
    """Channel and ReadsGroups. What happens is announced by the app's callback; what it led to has to be asked for."""

    kind: ClassVar[str] = CUSTOMER_GROUPS.kind
    limits: ClassVar[Limits] = CUSTOMER_GROUPS.limits

    def __init__(self, groups: CustomerGroups, clock: Clock) -> None:
        self._groups = groups
        self._clock = clock

    def read(self, body: str) -> Sequence[Incoming]:
        """The event for the log, and that its group has to be read. One that tells too little is only for the log."""
        now = self._clock.now()
        noted = read_document(body, now=now)
        try:
            root = xml.parse(body)
        except xml.UnreadableXml:
            return noted
        chat = root.get("ChatId")
        if root.get("Event").lower() != EVENT or not chat:
            return noted
        return (*noted, GroupStale(chat, moment(root.get("CreateTime"), now)))

    async def send(self, message: Outgoing) -> str:  # noqa: ARG002
        raise SendRefused(Refusal.READ_ONLY, hint="WeCom's API lets nobody write into customer groups.")

    def groups(self) -> AsyncIterator[str]:
        return self._groups.ids()

    async def group(self, thread: str) -> GroupChanged | None:
        return await self._groups.group(thread, now=self._clock.now())


def _members(chat: Mapping[str, Any]) -> tuple[GroupMember, ...]:
    """Customers by the ids that customer service has, too; colleagues by ids that are nobody else's."""
    owner, admins = text_of(chat, "owner"), {text_of(one, "userid") for one in items_of(chat, "admin_list")}
    found: dict[str, GroupMember] = {}
    for entry in items_of(chat, "member_list"):
        userid = text_of(entry, "userid")
        if not userid:
            continue
        role: Literal["member", "admin", "owner"] = "member"
        if userid == owner:
            role = "owner"
        elif userid in admins:
            role = "admin"
        id_ = f"member:{userid}" if number(entry.get("type")) == _COLLEAGUE else userid
        joined = number(entry.get("join_time"))
        found[id_] = GroupMember(
            id_,
            name=text_of(entry, "name"),
            nickname=text_of(entry, "group_nickname"),
            role=role,
            joined_at=datetime.fromtimestamp(joined, UTC) if joined and 0 < joined < _LATEST else None,
        )
    return tuple(found.values())
