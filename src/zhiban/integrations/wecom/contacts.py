"""客户联系: welcoming new contacts, tags, remarks, links, and reading who is connected with whom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from zhiban.integrations.wecom.api import WeComApi
from zhiban.integrations.wecom.errors import error_for
from zhiban.integrations.wecom.values import items_of, mapping_of, number, storable, text_of, texts_of
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.text import cut_bytes
from zhiban.ports import Profile, Refusal, SendRefused

WELCOME_SECONDS: Final = 20.0
WELCOME_BYTES: Final = 4000
_BEING_SENT: Final = 41096
_NAME_TAKEN: Final = 40071
_NOT_CONNECTED: Final = 84061
_MEMBERS_AT_ONCE: Final = 100
_MOST_PAGES: Final = 10_000
_LATEST: Final = 253402300800  # the year 10000


@frozen_dataclass
class FollowEntry:
    """A contact as one member knows it. `tags` are ids of corp tags."""

    member: str
    profile: Profile
    remark: str
    state: str
    tags: tuple[str, ...]
    added_at: datetime | None = None


@frozen_dataclass
class ContactWay:
    """A link or QR code that leads to members. Keep `config_id`: without it the link can never be changed."""

    config_id: str
    qr_code_url: str


class CustomerContacts:
    """Calls of 客户联系. Every method raises SendRefused, TryLater or ConnectionBroken."""

    def __init__(
        self,
        api: WeComApi,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api = api
        self._monotonic = monotonic
        self._sleep = sleep

    # ------------------------------------------------------------------------------------------------ welcoming

    async def welcome(
        self, code: str, text: str, *, attachments: Sequence[Mapping[str, Any]] = (), left: float = WELCOME_SECONDS
    ) -> None:
        """Send the one welcome that a new contact's code allows.

        `left` is how many of the twenty seconds remain; while another app is sending, ours waits its turn within
        them. Raises SendRefused(CODE_EXPIRED) when it is too late or another welcome was first: both are final.
        """
        until = self._monotonic() + left
        body: dict[str, Any] = {"welcome_code": code}
        if text:
            body["text"] = {"content": cut_bytes(text, WELCOME_BYTES)}
        if attachments:
            body["attachments"] = [dict(attachment) for attachment in attachments]
        while True:
            if self._monotonic() >= until:
                raise SendRefused(Refusal.CODE_EXPIRED, hint="The welcome code is older than 20 seconds.")
            found, answer = await self._api.attempt("externalcontact/send_welcome_msg", body)
            if found == 0:
                return
            if found != _BEING_SENT:
                raise error_for(found, text_of(answer, "errmsg"))
            await self._sleep(1.0)

    # ----------------------------------------------------------------------------------------- tags and remarks

    async def tag_ids(self, group: str, names: Sequence[str]) -> dict[str, str]:
        """Ids of corp tags by name, in the named group; those that are missing are created."""
        found = await self._known_tags(group)
        missing = [name for name in dict.fromkeys(names) if name not in found]
        if missing:
            code, answer = await self._api.attempt(
                "externalcontact/add_corp_tag", {"group_name": group, "tag": [{"name": name} for name in missing]}
            )
            if code == _NAME_TAKEN:  # somebody else was quicker
                found = await self._known_tags(group)
            elif code:
                raise error_for(code, text_of(answer, "errmsg"))
            else:
                found |= _tag_names(mapping_of(answer, "tag_group"))
        return {name: found[name] for name in names if name in found}

    async def _known_tags(self, group: str) -> dict[str, str]:
        answer = await self._api.call("externalcontact/get_corp_tag_list", {})
        found: dict[str, str] = {}
        for entry in items_of(answer, "tag_group"):
            if text_of(entry, "group_name") == group:
                found |= _tag_names(entry)
        return found

    async def mark(self, member: str, contact: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        """Add and remove tags, by id. Does nothing when there is nothing to do."""
        if add or remove:
            await self._api.call(
                "externalcontact/mark_tag",
                {"userid": member, "external_userid": contact, "add_tag": list(add), "remove_tag": list(remove)},
            )

    async def remark(
        self,
        member: str,
        contact: str,
        *,
        remark: str | None = None,
        description: str | None = None,
        mobiles: Sequence[str] | None = None,
    ) -> None:
        """Set the member's own name (20 characters), description (150) or phone numbers of a contact.

        An empty `mobiles` clears them. What is None stays as it is.
        """
        body: dict[str, Any] = {"userid": member, "external_userid": contact}
        if remark is not None:
            body["remark"] = remark[:20]
        if description is not None:
            body["description"] = description[:150]
        if mobiles is not None:
            body["remark_mobiles"] = list(mobiles) or [""]
        if len(body) > 2:
            await self._api.call("externalcontact/remark", body)

    # --------------------------------------------------------------------------------------------------- links

    async def add_contact_way(
        self, members: Sequence[str], *, state: str, remark: str = "", skip_verify: bool = True
    ) -> ContactWay:
        """A QR code. `skip_verify` accepts contacts unasked, and is the only automatic acceptance there is.

        `state` (30 characters) comes back in ContactFollowChanged.
        """
        answer = await self._api.call(
            "externalcontact/add_contact_way",
            {
                "type": 1 if len(members) == 1 else 2,
                "scene": 2,
                "remark": remark[:30],
                "skip_verify": skip_verify,
                "state": state[:30],
                "user": list(members),
            },
        )
        return ContactWay(text_of(answer, "config_id"), text_of(answer, "qr_code"))

    async def remove_contact_way(self, config_id: str) -> None:
        await self._api.call("externalcontact/del_contact_way", {"config_id": config_id})

    # ------------------------------------------------------------------------------------------------- reading

    async def members(self) -> list[str]:
        """The members who may have contacts and whom the app may see."""
        return texts_of(await self._api.call("externalcontact/get_follow_user_list"), "follow_user")

    async def follows(self, members: Sequence[str]) -> AsyncIterator[FollowEntry]:
        """Everything for a reconciling pull: callbacks get lost, and the platform says so.

        One member without contacts makes WeCom refuse a whole batch; it is then halved until only that one is left out.
        """
        batches = [members[start : start + _MEMBERS_AT_ONCE] for start in range(0, len(members), _MEMBERS_AT_ONCE)]
        while batches:
            batch = batches.pop(0)
            cursor = ""
            for _ in range(_MOST_PAGES):
                code, answer = await self._api.attempt(
                    "externalcontact/batch/get_by_user",
                    {"userid_list": list(batch), "cursor": cursor, "limit": 100},
                )
                if code == _NOT_CONNECTED:
                    half = len(batch) // 2
                    batches[:0] = [batch[:half], batch[half:]] if half else []
                    break
                if code:
                    raise error_for(code, text_of(answer, "errmsg"))
                for entry in items_of(answer, "external_contact_list"):
                    relation = _relation(mapping_of(entry, "external_contact"), mapping_of(entry, "follow_info"))
                    if relation is not None:
                        yield relation
                before, cursor = cursor, text_of(answer, "next_cursor")
                if not cursor or cursor == before:
                    break

    async def contact(self, external_id: str) -> list[FollowEntry]:
        """A contact as each of its members knows it, five hundred of them at a time."""
        found: list[FollowEntry] = []
        params = {"external_userid": external_id}
        for _ in range(_MOST_PAGES):
            answer = await self._api.call("externalcontact/get", params=params)
            person = mapping_of(answer, "external_contact")
            relations = (_relation(person, follow) for follow in items_of(answer, "follow_user"))
            found.extend(relation for relation in relations if relation is not None)
            cursor = text_of(answer, "next_cursor")
            if not cursor or cursor == params.get("cursor"):
                break
            params = {"external_userid": external_id, "cursor": cursor}
        return found


def _relation(person: Mapping[str, Any], follow: Mapping[str, Any]) -> FollowEntry | None:
    external_id, member = text_of(person, "external_userid"), text_of(follow, "userid")
    if not external_id or not member:
        return None
    tags = texts_of(follow, "tag_id") or [
        tag for entry in items_of(follow, "tags") if (tag := text_of(entry, "tag_id"))
    ]
    profile = Profile(
        external_id,
        text_of(person, "name"),
        avatar_url=text_of(person, "avatar") or None,
        unionid=text_of(person, "unionid") or None,
        content=storable(
            {name: person[name] for name in ("type", "gender", "corp_name", "position") if name in person}
        ),
    )
    created = number(follow.get("createtime"))
    return FollowEntry(
        member,
        profile,
        text_of(follow, "remark"),
        text_of(follow, "state"),
        tuple(tags),
        datetime.fromtimestamp(created, UTC) if created and 0 < created < _LATEST else None,
    )


def _tag_names(group: Mapping[str, Any]) -> dict[str, str]:
    return {
        text_of(tag, "name"): text_of(tag, "id")
        for tag in items_of(group, "tag")
        if text_of(tag, "id") and not tag.get("deleted")
    }
