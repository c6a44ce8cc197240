"""Groups: what is set for one, who is in it, and what becomes of it at the vendor."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, assert_never

from zhiban.channels.connections import OpenInbox
from zhiban.conversations import participants, transitions
from zhiban.conversations.changes import NoteMembers, RenameGroup
from zhiban.conversations.group_policy import Consent, GroupPolicy, PublishFiles
from zhiban.conversations.models import ConversationState
from zhiban.conversations.queries import is_recorded
from zhiban.conversations.threads import match_or_create
from zhiban.events import SYSTEM, Actor, GroupConfigured, GroupConsentChanged
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.json_safe import json_safe
from zhiban.kit.text import clean
from zhiban.ports import GroupChanged, MembersJoined, MembersLeft, Refusal

LONGEST_SUBJECT = 200


# What waits to be sent is not sent; what a person wrote stands there as failed.
_UNSEND = """
update message set state = case author when 'agent' then 'failed' else 'dropped' end, failure = %(why)s
where conversation_id = %(id)s and direction = 'out' and state = 'queued'"""


@frozen_dataclass
class GroupChat:
    """What is set for a group. `left_at`: since when our own account is out of it, so that nothing can be said."""

    policy: GroupPolicy = GroupPolicy()
    listed_at: datetime | None = None  # since when all members are known
    left_at: datetime | None = None
    welcomed_at: datetime | None = None  # who came later was not greeted yet

    @property
    def closed(self) -> Literal["read_only", "left"] | None:
        """Why nothing may be said there, or None."""
        if self.left_at is not None:
            return "left"
        return "read_only" if self.policy.read_only else None


@frozen_dataclass
class _GroupRow:
    policy: dict[str, Any]
    listed_at: datetime | None
    left_at: datetime | None
    welcomed_at: datetime | None


async def chat_of(tx: Transaction, conversation_id: int) -> GroupChat:
    """What is set for this group, the defaults where nobody has set anything."""
    row = await tx.object(
        _GroupRow,
        "select policy, listed_at, left_at, welcomed_at from group_chat where conversation_id = %(id)s",
        id=conversation_id,
    )
    if row is None:
        return GroupChat()
    return GroupChat(GroupPolicy.model_validate(row.policy), row.listed_at, row.left_at, row.welcomed_at)


async def publishes(tx: Transaction, conversation_id: int) -> PublishFiles:
    """What of the files shown here everybody may see, if somebody says so: in a chat of two, any."""
    if not await tx.value("select kind = 'group' from conversation where id = %(id)s", id=conversation_id):
        return "all"
    return (await chat_of(tx, conversation_id)).policy.publish_files


async def base_of(tx: Transaction, conversation_id: int) -> int | None:
    """The knowledge base that was chosen for this group; None where none was, and for what is no group."""
    return (await chat_of(tx, conversation_id)).policy.base_id


async def has_messages(tx: Transaction, conversation_id: int) -> bool:
    """Whether a member ever said anything there, as far as we know."""
    return bool(
        await tx.value(
            "select exists (select from message where conversation_id = %(id)s and direction = 'in')",
            id=conversation_id,
        )
    )


async def group_names(tx: Transaction, *, most: int = 500) -> list[tuple[int, str]]:
    """Groups by conversation, those with the latest talk first."""
    found = await tx.rows(
        "select id, coalesce(subject, '') from conversation where kind = 'group' "
        "order by last_activity_at desc nulls last limit %(most)s",
        most=most,
    )
    return [(int(id_), str(name)) for id_, name in found]


async def group_called(tx: Transaction, name: str) -> int:
    """The conversation of the group that is called so, or has this number. Raises NotFound, Conflict."""
    number = int(name) if name.isdecimal() and len(name) < 18 else None
    ids = await tx.values(
        "select id from conversation where kind = 'group' and (id = %(id)s or subject = %(name)s) order by id limit 2",
        id=number,
        name=name.strip(),
    )
    if number is not None and number in ids:
        return number
    if len(ids) == 1:
        return int(ids[0])
    if ids:
        raise Conflict("Several groups are called like that: name one by its number.")
    raise NotFound("There is no such group.")


# ------------------------------------------------------------------------------------------------------ our people


async def configure(tx: Transaction, conversation_id: int, policy: GroupPolicy, *, by: Actor, now: datetime) -> bool:
    """Set how we behave in a group. False when it is so already. Raises NotFound, also for what is no group."""
    state = await _lock_group(tx, conversation_id)
    stored = (await chat_of(tx, state.id)).policy.model_dump(mode="json")
    wanted = policy.model_dump(mode="json")
    changed = [name for name in wanted if wanted[name] != stored.get(name)]
    if not changed:
        return False
    if wanted["welcome"] and not stored["welcome"]:
        await _keep(tx, state.id, welcomed_at=now)  # who is there already is not new
    await _keep(tx, state.id, policy=json_safe(wanted))
    if policy.read_only:
        await tx.run(_UNSEND, id=state.id, why=Refusal.READ_ONLY)
    fact = GroupConfigured(
        actor=by,
        at=now,
        before={name: stored.get(name) for name in changed},
        after={name: wanted[name] for name in changed},
        **state.about(),
    )
    await event_log.append(tx, fact)
    return True


async def note_welcomed(tx: Transaction, conversation_id: int, *, at: datetime) -> None:
    """Everybody who came up to now was greeted, in a group that this transaction has locked."""
    await _keep(tx, conversation_id, welcomed_at=at)


async def set_consent(
    tx: Transaction, conversation_id: int, contact_id: int, consent: Consent, *, by: Actor, now: datetime
) -> bool:
    """Keep what a member allows, for what they write from now on. False when it is so already. Raises NotFound."""
    state = await _lock_group(tx, conversation_id)
    member = await participants.participant(tx, state.id, contact_id)
    if member is None:
        raise NotFound("There is no such member.")
    if member.consent == consent:
        return False
    await tx.run(
        "update participant set consent = %(consent)s where conversation_id = %(id)s and contact_id = %(contact)s",
        consent=consent,
        id=state.id,
        contact=contact_id,
    )
    fact = GroupConsentChanged(
        actor=by,
        at=now,
        member_id=contact_id,
        consent=consent.value,
        previous=member.consent,
        **state.about(),
    )
    await event_log.append(tx, fact)
    return True


async def _lock_group(tx: Transaction, conversation_id: int) -> ConversationState:
    state = await transitions.lock(tx, conversation_id)
    if not state.is_group:
        raise NotFound("There is no such group.")
    return state


async def _keep(tx: Transaction, conversation_id: int, **values: Any) -> None:
    """Write columns of the group's row, which is made where there is none."""
    names = list(values)
    columns, given = ", ".join(names), ", ".join(f"%({name})s" for name in names)
    changes = ", ".join(f"{name} = excluded.{name}" for name in names)
    await tx.run(
        f"insert into group_chat (workspace_id, conversation_id, {columns}) values (%(workspace)s, %(id)s, {given}) "
        f"on conflict (workspace_id, conversation_id) do update set {changes}",
        workspace=tx.workspace_id,
        id=conversation_id,
        **values,
    )


# ----------------------------------------------------------------------------------------------- the vendor tells


async def threads_of(tx: Transaction, inbox_id: int) -> list[str]:
    """The vendor's names of the groups of an inbox in which we are."""
    return await tx.values(
        "select c.external_id from conversation c left join group_chat g "
        "on g.workspace_id = c.workspace_id and g.conversation_id = c.id "
        "where c.inbox_id = %(inbox)s and c.kind = 'group' and g.left_at is null order by c.id",
        inbox=inbox_id,
    )


async def is_there(tx: Transaction, inbox_id: int, thread: str) -> bool:
    """Whether we know this group, and are in it."""
    return bool(
        await tx.value(
            "select true from conversation c left join group_chat g "
            "on g.workspace_id = c.workspace_id and g.conversation_id = c.id "
            "where c.inbox_id = %(inbox)s and c.external_id = %(thread)s and c.kind = 'group' and g.left_at is null",
            inbox=inbox_id,
            thread=thread,
        )
    )


async def take_in(
    tx: Transaction, inbox: OpenInbox, item: GroupChanged | MembersJoined | MembersLeft, *, now: datetime
) -> None:
    """Keep what the vendor tells of a group. One that was not known begins."""
    match item:
        case GroupChanged():
            await _changed(tx, inbox, item, now=now)
        case MembersJoined():
            await _joined(tx, inbox, item, now=now)
        case MembersLeft():
            await _left(tx, inbox, item, now=now)
        case never:
            assert_never(never)


async def _changed(tx: Transaction, inbox: OpenInbox, item: GroupChanged, *, now: datetime) -> None:
    """What a group is called, and who is in it."""
    state = await _group(tx, inbox, item.thread, now=now)
    if item.name is not None:
        name = clean(item.name).strip()[:LONGEST_SUBJECT]
        if name and name != state.subject:
            state = (await transitions.apply_to(tx, state, RenameGroup(name), actor=SYSTEM, now=now)).state
    if item.members is None:
        return
    chat = await chat_of(tx, state.id)
    joined_at = None if chat.listed_at is None else item.happened_at
    came = await participants.note_present(tx, inbox, state.id, item.members, now=now, joined_at=joined_at)
    there = await participants.contact_ids_of(tx, inbox, [one.external_id for one in item.members], now=now)
    went = await participants.note_only(tx, state.id, there, at=item.happened_at)
    if chat.listed_at is None:
        # Until now nobody knew who was there: that is no coming.
        await _keep(tx, state.id, listed_at=now)
        came, went = [], []
    back = chat.left_at is not None and chat.left_at < item.happened_at
    if back:
        await _keep(tx, state.id, left_at=None)
    if came or back:
        change = NoteMembers(tuple(came), True, ourselves=back)
        state = (await transitions.apply_to(tx, state, change, actor=SYSTEM, now=now)).state
    if went:
        await transitions.apply_to(tx, state, NoteMembers(tuple(went), False), actor=SYSTEM, now=now)


async def _joined(tx: Transaction, inbox: OpenInbox, item: MembersJoined, *, now: datetime) -> None:
    """People came into a group, perhaps our own account."""
    state = await _group(tx, inbox, item.thread, now=now)
    if item.event_id is not None and await is_recorded(tx, state.id, item.event_id):
        return
    came = await participants.note_present(tx, inbox, state.id, item.members, now=now, joined_at=item.happened_at)
    by = await _somebody(tx, inbox, item.inviter, now=now)
    if item.ourselves:
        await _keep(tx, state.id, left_at=None)
    change = NoteMembers(tuple(came), True, by, item.ourselves, item.event_id)
    await transitions.apply_to(tx, state, change, actor=_who(by), now=now)


async def _left(tx: Transaction, inbox: OpenInbox, item: MembersLeft, *, now: datetime) -> None:
    """People left a group, perhaps our own account."""
    state = await _group(tx, inbox, item.thread, now=now)
    if item.event_id is not None and await is_recorded(tx, state.id, item.event_id):
        return
    went = await participants.note_gone(tx, inbox, state.id, item.members, at=item.happened_at)
    by = await _somebody(tx, inbox, item.remover, now=now)
    out = item.ourselves and await _close(tx, state, at=item.happened_at)
    change = NoteMembers(tuple(went), False, by, out, item.event_id)
    await transitions.apply_to(tx, state, change, actor=_who(by), now=now)


async def note_refused(tx: Transaction, state: ConversationState, reason: str, *, now: datetime) -> ConversationState:
    """A vendor did not take a message for this conversation, which is locked. Where that is because our account is not
    in the group any more, nobody had told us: it is out of it from now on."""
    if reason != Refusal.NOT_IN_GROUP or not state.is_group or not await _close(tx, state, at=now):
        return state
    change = NoteMembers((), False, ourselves=True)
    return (await transitions.apply_to(tx, state, change, actor=SYSTEM, now=now)).state


async def note_heard(tx: Transaction, heard: Sequence[tuple[ConversationState, datetime]], *, now: datetime) -> None:
    """Members spoke in these groups, which are locked: so our account is in them, though nobody told us that it is
    back. What was said before it left proves nothing."""
    states = {state.id: state for state, _ in heard}
    back = await tx.values(
        "update group_chat g set left_at = null from unnest(%(ids)s::bigint[], %(times)s::timestamptz[]) h(id, at) "
        "where g.conversation_id = h.id and g.left_at < h.at returning g.conversation_id",
        ids=list(states),
        times=[at for _, at in heard],
    )
    for id_ in sorted(back):
        await transitions.apply_to(tx, states[id_], NoteMembers((), True, ourselves=True), actor=SYSTEM, now=now)


async def _close(tx: Transaction, state: ConversationState, *, at: datetime) -> bool:
    """Nothing is said there any more, nor what waited to be. False when it was so already."""
    if (await chat_of(tx, state.id)).left_at is not None:
        return False
    await _keep(tx, state.id, left_at=at)
    await tx.run(_UNSEND, id=state.id, why=Refusal.NOT_IN_GROUP)
    return True


async def _group(tx: Transaction, inbox: OpenInbox, thread: str, *, now: datetime) -> ConversationState:
    return (await match_or_create(tx, inbox, (), groups=(thread,), now=now))[thread].state


async def _somebody(tx: Transaction, inbox: OpenInbox, external_id: str | None, *, now: datetime) -> int | None:
    if not external_id:
        return None
    return (await participants.contact_ids_of(tx, inbox, [external_id], now=now))[0]


def _who(contact_id: int | None) -> Actor:
    return SYSTEM if contact_id is None else Actor("contact", contact_id)
