"""Who is in a group: the contacts in it, by the name and role that they have there.

The rows are kept when people leave: what they said is still theirs, and they may return.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from zhiban.channels.connections import OpenInbox
from zhiban.conversations.group_policy import Consent
from zhiban.conversations.mentions import mentioned_in
from zhiban.conversations.models import ConversationState
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.json_safe import json_safe
from zhiban.kit.text import clean
from zhiban.people.contacts import accounts_of, ensure_contacts, learn_profiles
from zhiban.ports import GroupMember, IncomingMessage, Mention, Profile, SenderRole

LONGEST_NAME = 100

# Who speaks is in the group, whatever was told of them before.
_SPEAK = """
with told as (
  select * from json_to_recordset(%(rows)s::json) as t(conversation bigint, contact bigint, nickname text, ref text)),
kept as (
  insert into participant (workspace_id, conversation_id, contact_id, nickname, external_id)
  select %(workspace)s, conversation, contact, nickname, ref from told order by conversation, contact
  on conflict (workspace_id, conversation_id, contact_id) do update
    set nickname = coalesce(nullif(excluded.nickname, ''), participant.nickname), left_at = null,
      external_id = excluded.external_id,
      role = case when participant.left_at is null then participant.role else 'member' end
    where participant.left_at is not null or excluded.nickname not in ('', participant.nickname)
      or participant.external_id <> excluded.external_id)
select p.conversation_id, p.contact_id, p.consent from participant p
join told t on t.conversation = p.conversation_id and t.contact = p.contact_id
where p.conversation_id = any(%(ids)s::bigint[]) and p.consent <> 'all'"""

_LIST = """
with told as (
  select * from json_to_recordset(%(rows)s::json)
    as t(contact bigint, nickname text, role text, ref text, joined timestamptz)),
known as (select contact_id, left_at from participant where conversation_id = %(id)s),
kept as (
  insert into participant (workspace_id, conversation_id, contact_id, nickname, role, joined_at, external_id)
  select %(workspace)s, %(id)s, contact, nickname, role, coalesce(joined, %(joined)s), ref from told order by contact
  on conflict (workspace_id, conversation_id, contact_id) do update
    set nickname = coalesce(nullif(excluded.nickname, ''), participant.nickname),
      role = excluded.role, left_at = null, external_id = excluded.external_id,
      joined_at = case when participant.left_at is null then participant.joined_at else excluded.joined_at end
    where participant.left_at is not null or participant.role <> excluded.role
      or participant.external_id <> excluded.external_id or excluded.nickname not in ('', participant.nickname))
select t.contact from told t left join known k on k.contact_id = t.contact
where k.contact_id is null or k.left_at is not null order by 1"""

_LEAVE = """
update participant set left_at = %(at)s
where conversation_id = %(id)s and left_at is null and contact_id = any(%(contacts)s::bigint[]) returning contact_id"""

_LEAVE_OTHERS = """
update participant set left_at = %(at)s
where conversation_id = %(id)s and left_at is null and contact_id <> all(%(contacts)s::bigint[])
returning contact_id"""

_MEMBERS = """
select g.contact_id, coalesce(nullif(g.nickname, ''), nullif(p.name, ''), '') as name, g.nickname, g.role, g.joined_at,
  g.left_at, g.consent, g.external_id
from participant g join contact p on p.workspace_id = g.workspace_id and p.id = g.contact_id
where g.conversation_id = %(id)s"""


@frozen_dataclass
class Participant:
    """A contact in a group. `name` is what they are called there, empty where nobody knows it."""

    contact_id: int
    name: str
    nickname: str
    role: str
    joined_at: datetime | None
    left_at: datetime | None
    consent: str
    external_id: str  # what the vendor calls them


@frozen_dataclass
class Speaker:
    """Who wrote a message in a group. `blocked`: they are to call nobody."""

    contact_id: int
    blocked: bool
    consent: Consent


async def speakers(
    tx: Transaction,
    inbox: OpenInbox,
    messages: Sequence[IncomingMessage],
    states: Mapping[str, ConversationState],
    *,
    now: datetime,
) -> dict[tuple[str, str], Speaker]:
    """Who wrote these messages of groups, by thread and the vendor's id; they are in their groups from now on."""
    said = [one for one in messages if one.group and one.role is SenderRole.CONTACT]
    if not said:
        return {}
    names = {one.sender: clean(one.sender_name)[:LONGEST_NAME] for one in said}
    contacts = await _contacts(tx, inbox, names, now=now)
    pairs = dict.fromkeys((one.thread, one.sender) for one in said)
    rows = await tx.rows(
        _SPEAK,
        workspace=tx.workspace_id,
        ids=sorted({states[thread].id for thread, _ in pairs}),
        rows=json_safe(
            [
                {
                    "conversation": states[thread].id,
                    "contact": contacts[sender][0],
                    "nickname": names[sender],
                    "ref": sender,
                }
                for thread, sender in pairs
            ]
        ),
    )
    consents = {(conversation, contact): Consent(consent) for conversation, contact, consent in rows}
    return {
        (thread, sender): Speaker(
            contacts[sender][0],
            contacts[sender][1],
            consents.get((states[thread].id, contacts[sender][0]), Consent.ALL),
        )
        for thread, sender in pairs
    }


async def _contacts(
    tx: Transaction, inbox: OpenInbox, names: Mapping[str, str], *, now: datetime
) -> dict[str, tuple[int, bool]]:
    """Contact and whether they are blocked, by the vendor's id. Newcomers are called what the group calls them."""
    kind, account = inbox.connection.vendor.namespace(inbox.kind)
    found = await ensure_contacts(tx, kind, account, list(names), now=now)
    new = [Profile(id_, names[id_]) for id_, contact in found.items() if contact.is_new and names[id_]]
    if new:
        await learn_profiles(tx, kind, account, new, now=now)
    return {id_: (contact.id, contact.blocked) for id_, contact in found.items()}


async def note_present(
    tx: Transaction,
    inbox: OpenInbox,
    conversation_id: int,
    members: Sequence[GroupMember],
    *,
    now: datetime,
    joined_at: datetime | None,
) -> list[int]:
    """These people are in the group. Returns the contacts of those who were not known to be, ascending.

    `joined_at`: when those came of whom the vendor does not say it, None where nobody knows.
    """
    by_id = {one.external_id: one for one in members}
    if not by_id:
        return []
    called = {id_: clean(one.name or one.nickname)[:LONGEST_NAME] for id_, one in by_id.items()}
    contacts = await _contacts(tx, inbox, called, now=now)
    pictures = [
        Profile(id_, called[id_], avatar_url=clean(one.avatar_url)[:2000])
        for id_, one in by_id.items()
        if one.avatar_url
    ]
    if pictures:
        kind, account = inbox.connection.vendor.namespace(inbox.kind)
        await learn_profiles(tx, kind, account, pictures, now=now)
    rows = {
        contacts[id_][0]: {
            "contact": contacts[id_][0],
            "nickname": clean(one.nickname or one.name)[:LONGEST_NAME],
            "role": one.role,
            "ref": id_,
            "joined": one.joined_at,
        }
        for id_, one in by_id.items()
    }
    return await tx.values(
        _LIST, workspace=tx.workspace_id, id=conversation_id, rows=json_safe(list(rows.values())), joined=joined_at
    )


async def note_gone(
    tx: Transaction, inbox: OpenInbox, conversation_id: int, external_ids: Collection[str], *, at: datetime
) -> list[int]:
    """These people are in the group no more. Returns the contacts of those who were, ascending."""
    if not external_ids:
        return []
    kind, account = inbox.connection.vendor.namespace(inbox.kind)
    contacts = await ensure_contacts(tx, kind, account, list(external_ids), now=at)
    ids = [one.id for one in contacts.values()]
    return sorted(await tx.values(_LEAVE, id=conversation_id, at=at, contacts=ids))


async def note_only(tx: Transaction, conversation_id: int, contact_ids: Sequence[int], *, at: datetime) -> list[int]:
    """Nobody but these is in the group. Returns the contacts of those who were, ascending."""
    return sorted(await tx.values(_LEAVE_OTHERS, id=conversation_id, at=at, contacts=list(contact_ids)))


async def contact_ids_of(
    tx: Transaction, inbox: OpenInbox, external_ids: Collection[str], *, now: datetime
) -> list[int]:
    """The contacts of these people, made where they are new."""
    kind, account = inbox.connection.vendor.namespace(inbox.kind)
    found = await ensure_contacts(tx, kind, account, list(external_ids), now=now)
    return sorted({one.id for one in found.values()})


async def participants(
    tx: Transaction, conversation_id: int, *, gone: bool = False, most: int = 1000
) -> list[Participant]:
    """Who is in the group, its owner and admins first; with `gone` also who was."""
    return await tx.objects(
        Participant,
        _MEMBERS
        + ("" if gone else " and g.left_at is null")
        + " order by g.left_at is not null, array_position(array['owner', 'admin', 'member'], g.role), "
        "name = '', name, g.contact_id limit %(most)s",
        id=conversation_id,
        most=most,
    )


async def joined_since(tx: Transaction, conversation_id: int, moment: datetime | None) -> list[Participant]:
    """Who came into the group after a moment and is still there, in the order in which they came."""
    return await tx.objects(
        Participant,
        _MEMBERS + " and g.left_at is null and g.joined_at > coalesce(%(moment)s, '-infinity'::timestamptz) "
        "order by g.joined_at, g.contact_id limit 1000",
        id=conversation_id,
        moment=moment,
    )


async def participant(tx: Transaction, conversation_id: int, contact_id: int) -> Participant | None:
    """One who is or was in the group."""
    return await tx.object(
        Participant, _MEMBERS + " and g.contact_id = %(contact)s", id=conversation_id, contact=contact_id
    )


async def external_ids_of(tx: Transaction, inbox: OpenInbox, contact_ids: Sequence[int]) -> dict[int, str]:
    """What the vendor calls these contacts, by contact; those whom it does not know are left out."""
    kind, account = inbox.connection.vendor.namespace(inbox.kind)
    return await accounts_of(tx, kind, account, contact_ids)


@frozen_dataclass
class GroupSize:
    """How many are in a group, and how many of them asked not to be quoted or kept."""

    members: int
    unquoted: int


async def size_of(tx: Transaction, conversation_id: int) -> GroupSize:
    row = await tx.row(
        "select count(*), count(*) filter (where consent <> 'all') from participant "
        "where conversation_id = %(id)s and left_at is null",
        id=conversation_id,
    )
    return GroupSize(*(row or (0, 0)))


async def names_of(tx: Transaction, conversation_id: int, contact_ids: Collection[int]) -> dict[int, str]:
    """What these contacts are called in the group, those who left it, too; without those whom nobody can name."""
    rows = await tx.objects(
        Participant,
        _MEMBERS + " and g.contact_id = any(%(contacts)s::bigint[])",
        id=conversation_id,
        contacts=sorted(contact_ids),
    )
    return {row.contact_id: row.name for row in rows if row.name}


async def named_in(tx: Transaction, conversation_id: int, text: str) -> tuple[tuple[Mention, ...], str]:
    """The members whom a text names with @, and the text without those that stand before everything else: the channel
    puts the names there itself."""
    if "@" not in text:
        return (), text
    known = {one.contact_id: one for one in await participants(tx, conversation_id) if one.name and one.external_id}
    named = mentioned_in(text, {id_: one.name for id_, one in known.items()})
    mentions = tuple(Mention(known[id_].external_id, known[id_].name) for id_ in named)
    rest = text.lstrip()
    while (name := next((one.name for one in mentions if rest.startswith(f"@{one.name}")), None)) is not None:
        rest = rest.removeprefix(f"@{name}").lstrip()
    return mentions, rest if mentions and rest else text
