"""What the desk shows: small values made from rows, and the order in which a thread puts them.

Nothing here asks the database or knows a template. Words are named here (`mark`) and translated where they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal
from zlib import crc32
from zoneinfo import ZoneInfo

from zhiban.assistant.suggesting import Source, percent
from zhiban.conversations.attachments import Attachment
from zhiban.conversations.draft_files import MOST_FILES, DraftFile
from zhiban.conversations.drafts import Drafts, Mode
from zhiban.conversations.followers import FollowerName
from zhiban.conversations.queries import (
    AgentName,
    ContactPanel,
    MessageRow,
    ThreadHead,
)
from zhiban.conversations.quotes import Quoted, own_words
from zhiban.conversations.reasons import REASON_LABELS
from zhiban.conversations.retention import Forgotten
from zhiban.conversations.sending import UNCONFIRMED
from zhiban.conversations.surveys import RatingLine
from zhiban.conversations.viewers import ConversationViewer
from zhiban.desk.channel_limits import ReplyAllowance, TakenFiles
from zhiban.desk.group_view import GroupView
from zhiban.desk.kinds import ContentView, content_view
from zhiban.desk.labels import ACTIVITY_LABELS, FAILURE_LABELS, stars
from zhiban.kit import rich_text
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Locale, mark
from zhiban.kit.languages import is_foreign
from zhiban.people.contact_fields import ContactField
from zhiban.tickets.drafts import TicketDraft
from zhiban.tickets.models import Ticket

NO_IDS: Mapping[int, int] = MappingProxyType({})
NO_MEMBERS: Mapping[int, str] = MappingProxyType({})
NO_WORDS: Mapping[int, str] = MappingProxyType({})
TOGETHER = timedelta(minutes=3)  # messages of one sender this close share one name line


@frozen_dataclass
class ChoiceView:
    number: str
    label: str
    chosen: bool = False


@frozen_dataclass
class ActivityView:
    """A line the product writes into the thread: who did what, in words with the holes {who} {whom} {until} {why}.

    `unsaid`: why the contact was not told, where something was to be said.
    """

    id: int
    at: datetime
    who: str
    words: str
    icon: str
    whom: str = ""
    until: datetime | None = None
    why: str = ""
    labels: tuple[str, ...] = ()
    unsaid: str = ""


@frozen_dataclass
class DateDivider:
    at: datetime
    what: Literal["day"] = "day"


@frozen_dataclass
class UnreadDivider:
    n: int
    what: Literal["unread"] = "unread"


@frozen_dataclass
class ActivityLine:
    activity: ActivityView
    what: Literal["activity"] = "activity"


@frozen_dataclass
class QuoteView:
    """The message that another one answers, in short."""

    id: int
    who: str
    kind: str
    words: str


@frozen_dataclass
class MessageView:
    """A message as shown. `key` names it in the page, before and after the server knew it."""

    key: str
    id: int
    side: Literal["them", "us"]
    by: Literal["contact", "assistant", "agent", "note"]
    who: str
    who_key: str
    at: datetime
    kind: str
    text: str
    state: Literal["", "sending", "failed", "dropped", "recalled"]
    rich: str = ""  # the same with the marks that its writer chose
    failure: str = ""
    unconfirmed: bool = False  # sent, as far as anybody knows
    sent: bool = False
    more: bool = False
    receipt: bool = False
    files: tuple[Attachment, ...] = ()
    content: ContentView | None = None
    sources: tuple[Source, ...] = ()
    choices_shown: tuple[ChoiceView, ...] = ()
    footer: str = ""
    withheld: bool = False  # its writer lets us keep that they wrote, and not what
    sure: int | None = None
    quote: QuoteView | None = None
    article_id: int | None = None  # which the reply became, or taught
    translation: str = ""  # in the reader's language, by a model
    translatable: bool = False  # words of the contact that are not translated yet
    foreign: bool = False  # and likely in another language
    keepable: bool = False  # a person's words, which may become knowledge
    what: Literal["message"] = "message"

    @property
    def unnamed_sources(self) -> tuple[Source, ...]:
        """Sources to list below, when the words themselves do not name them all."""
        named = all(source.title in self.text and source.url is None for source in self.sources)
        return () if named else self.sources


TimelineEntry = DateDivider | UnreadDivider | ActivityLine | MessageView


@frozen_dataclass
class ThreadView:
    head: ThreadHead
    entries: tuple[TimelineEntry, ...]
    limit: ReplyAllowance
    card: ContactPanel
    agents: tuple[AgentName, ...]
    teams: tuple[tuple[int, str], ...]
    first_id: int  # the oldest message shown, so that a refresh shows as much
    last_id: int
    has_older: bool
    unread_after: int  # where the unread line stays until the conversation is left
    snoozes: tuple[tuple[str, str, datetime], ...] = ()
    wants_suggestion: bool = False
    inserts: bool = False
    helps_writing: bool = False  # there is somebody to sum up
    translates: bool = False  # the contact's words into the reader's language
    rewrites: bool = False  # and a model to put words differently
    last_incoming: int = 0
    drafts: Drafts = field(default_factory=Drafts)
    files: tuple[DraftFile, ...] = ()  # beside the reply
    taken_files: tuple[TakenFiles, ...] = ()
    followers: tuple[FollowerName, ...] = ()
    ratings: tuple[RatingLine, ...] = ()  # what the contact said of us last
    macros: tuple[tuple[int, str], ...] = ()
    flows: tuple[tuple[int, str], ...] = ()
    tickets: tuple[Ticket, ...] = ()  # that it has to do with
    asked: tuple[TicketDraft, ...] = ()  # tickets that its people ask for, and that wait for a word
    group: GroupView | None = None
    forgotten: Forgotten | None = None
    fields: tuple[ContactField, ...] = ()  # what can be filled in of the conversation
    attributes: Mapping[str, str] = field(default_factory=dict)  # and what is
    contact_labels: tuple[int, ...] = ()
    viewers: tuple[ConversationViewer, ...] = ()  # the others who have it open

    @property
    def filled_in(self) -> int:
        """Another number when what is filled in, or can be, is something else."""
        return crc32(repr((self.fields, sorted(self.attributes.items()))).encode())

    @property
    def most_files(self) -> int:
        """How many go out with one reply."""
        return MOST_FILES

    @property
    def mode(self) -> Mode:
        """For whom the composer writes at first: a note while the channel lets nothing through."""
        return Mode.NOTE if self.limit.closed else self.drafts.latest


def sources_of(citations: Sequence[dict[str, Any]] | None) -> tuple[Source, ...]:
    """Citations as stored with a turn. An address that is not http is not made a link."""
    out = []
    for citation in citations or ():
        url = str(citation.get("url") or "")
        title = str(citation.get("title") or citation.get("heading") or citation.get("source") or url)
        if title:
            out.append(Source(title, url if url.startswith(("https://", "http://")) else None))
    return tuple(out)


def _choices(row: MessageRow, chosen: Set[str]) -> tuple[ChoiceView, ...]:
    choices = row.content.get("choices") or ()
    return tuple(
        ChoiceView(str(number), str(choice.get("label", "")), str(choice.get("id")) in chosen)
        for number, choice in enumerate(choices, 1)
        if isinstance(choice, dict)
    )


def _state(row: MessageRow) -> Literal["", "sending", "failed", "dropped", "recalled"]:
    if row.recalled_at is not None:
        return "recalled"
    if row.direction == "out":
        match row.state:
            case "queued":
                return "sending"
            case "failed":
                return "failed"
            case "dropped":
                return "dropped"
    return ""


def message_view(
    row: MessageRow,
    contact: str,
    contact_key: str,
    *,
    chosen: Set[str] = frozenset(),
    kept: Mapping[int, int] = NO_IDS,
    translated: Mapping[int, str] = NO_WORDS,
    reader: Locale = "zh",
    members: Mapping[int, str] = NO_MEMBERS,
) -> MessageView:
    """`members` names the contacts of a group, `kept` says in which article a reply is, `translated` what a message
    says in the reader's language."""
    note = row.direction == "internal"
    by: Literal["contact", "assistant", "agent", "note"]
    match row.author:
        case "contact":
            by = "contact"
        case "assistant" | "system" | "tracker" | "flow":
            by = "assistant"
        case _:
            by = "agent"
    nobody = {"rule": mark("规则"), "api": str(row.content.get("program") or mark("接口"))}.get(
        row.author, mark("同事")
    )
    who = {"contact": contact, "assistant": mark("值班助手")}.get(by) or row.agent_name or nobody
    who_key = {"contact": contact_key, "assistant": "assistant"}.get(by) or str(row.agent_id or row.agent_name or "0")
    quoted = row.quoted
    words = _names_before(row) + own_words(row.text, row.content)
    translatable = _heard(row) and row.id not in translated
    return MessageView(
        key=row.client_key or str(row.id),
        id=row.id,
        side="them" if by == "contact" else "us",
        by="note" if note else by,
        who=who,
        who_key=who_key,
        at=row.sent_at,
        kind=row.kind,
        # The desk shows what is answered and the sources in its own way; the phone reads them above and below.
        text=words,
        rich=_rich(row, words),
        withheld=bool(row.content.get("withheld")),
        state=_state(row),
        failure=row.failure or "",
        unconfirmed=row.failure == UNCONFIRMED,
        sent=row.direction == "out" and row.state == "sent",
        files=row.files,
        content=content_view(row.kind, row.content),
        sources=sources_of(row.citations),
        choices_shown=_choices(row, chosen),
        footer=str(row.content.get("footer") or ""),
        article_id=kept.get(row.id),
        keepable=_keepable(row),
        translation=translated.get(row.id, ""),
        translatable=translatable,
        foreign=translatable and is_foreign(row.text, reader),
        quote=None
        if quoted is None
        else QuoteView(
            quoted.id,
            _author(quoted, members.get(quoted.sender_contact_id or 0, contact)),
            quoted.kind,
            quoted.words,
        ),
        sure=None if row.content.get("choices") else percent(row.confidence),  # a menu says itself that it is unsure
    )


def _rich(row: MessageRow, words: str) -> str:
    """What was said with the marks that its writer chose; names before it have none."""
    source = str(row.content.get("rich") or "") if row.direction == "out" else ""
    return source and rich_text.escaped(words.removesuffix(rich_text.plain(source))) + source


def _heard(row: MessageRow) -> bool:
    return (
        row.author == "contact" and row.kind in ("text", "markdown") and row.choice is None and bool(row.text.strip())
    )


def _keepable(row: MessageRow) -> bool:
    by_person = row.author in ("agent", "servicer") and row.direction == "out"
    return by_person and row.kind == "text" and row.state in ("queued", "sent", "stored") and bool(row.text.strip())


def _names_before(row: MessageRow) -> str:
    """Whom a message of ours names, as the group reads it."""
    named = [one["name"] for one in row.mentions if row.direction == "out" and isinstance(one, dict)]
    return "".join(f"@{name} " for name in named)


def _author(of: Quoted, contact: str) -> str:
    ours = dict.fromkeys(("assistant", "system", "flow"), mark("值班助手"))
    who = {"contact": contact, **ours, "rule": mark("规则"), "api": mark("接口")}
    return who.get(of.author) or of.agent_name or mark("同事")


def activity_view(
    row: MessageRow,
    *,
    contact: str,
    names: Mapping[int, str],
    teams: Mapping[int, str],
    labels: Mapping[int, str],
    members: Mapping[int, str] = NO_MEMBERS,
) -> ActivityView | None:
    """The words for an activity as stored; None for one that nobody needs to read.

    `names` are those of agents, by id as those of teams, labels, and the contacts of a group.
    """
    what, by = str(row.content.get("what") or ""), str(row.content.get("by") or "system")
    to = row.content.get("to")
    reason = str(row.content.get("reason") or "")
    if what == "opened" and reason in ("taken", "replied"):
        return None  # the line about the assignee says it
    if what == "assigned":
        what = "unassigned" if to is None else "taken" if to == row.agent_id else "assigned"
    if what == "team_assigned" and to is None:
        what = "team_unassigned"
    added, removed = row.content.get("added") or (), row.content.get("removed") or ()
    if what.endswith("labels_changed") and not (added and removed):
        what = what.replace("changed", "added" if added else "removed")
    if what == "priority_changed":
        what = f"priority_{row.content.get('priority')}"
    unsaid = FAILURE_LABELS.get(str(row.content.get("unsaid") or ""), "")
    if what == "resolved" and unsaid:
        what = "resolved_unsaid"
    words, icon = ACTIVITY_LABELS.get(what, ("", ""))
    if not words:
        return None
    who = {
        "agent": row.agent_name or mark("同事"),
        "servicer": mark("同事"),
        "assistant": mark("值班助手"),
        "contact": contact,
        "timer": mark("到点"),
        "policy": mark("收件箱的策略"),
        "rule": f"「{row.content.get('rule') or ''}」",
        "flow": f"「{row.content.get('rule') or ''}」",
        "api": f"「{row.content.get('rule') or ''}」",
    }.get(by, mark("系统"))
    until = row.content.get("until")
    return ActivityView(
        id=row.id,
        at=row.sent_at,
        who=who,
        words=words,
        icon="sparkle" if by == "assistant" else icon,
        whom=_whom(what, to, names, teams)
        or stars(row.content.get("rating"))
        or _members(row.content, members)
        or str(row.content.get("macro") or row.content.get("name") or ""),
        until=datetime.fromisoformat(until) if isinstance(until, str) else None,
        why=REASON_LABELS.get(reason, "") or str(row.content.get("comment") or ""),
        labels=tuple(labels[id_] for id_ in (*added, *removed) if id_ in labels)
        + tuple(names[id_] for id_ in row.content.get("agents") or () if id_ in names)
        + tuple(map(str, row.content.get("fields") or ())),
        unsaid=unsaid,
    )


def _members(content: Mapping[str, Any], members: Mapping[int, str]) -> str:
    """Those who came or went by name, and of many how many more."""
    ids = content.get("members") or ()
    named = [members[id_] for id_ in ids if members.get(id_)][:3]
    more = int(content.get("n") or 0) - len(named)
    return "、".join(named) + (f" +{more}" if more and named else f"{more}" if more else "")


def _whom(what: str, to: object, names: Mapping[int, str], teams: Mapping[int, str]) -> str:
    return (teams if what == "team_assigned" else names).get(to, "") if isinstance(to, int) else ""


@dataclass(slots=True)
class _TimelineBuilder:
    """Puts bubbles and activities into one column."""

    zone: ZoneInfo
    out: list[TimelineEntry] = field(default_factory=list)
    last: MessageView | None = None
    day: object = None

    def start_day(self, at: datetime) -> None:
        day = at.astimezone(self.zone).date()
        if day != self.day:
            self.day = day
            self.last = None
            self.out.append(DateDivider(at))

    def add(self, item: MessageView | ActivityView) -> None:
        at = item.at
        self.start_day(at)
        if isinstance(item, ActivityView):
            self.last = None
            self.out.append(ActivityLine(item))
            return
        before = self.last
        together = (
            before is not None
            and (before.side, before.by, before.who_key) == (item.side, item.by, item.who_key)
            and item.at - before.at < TOGETHER
            and item.sure is None
        )
        shown = replace(item, more=together)
        self.last = shown
        self.out.append(shown)


def entries(
    message_views: Sequence[MessageView], activities: Sequence[ActivityView], *, unread_after: int, zone: ZoneInfo
) -> tuple[TimelineEntry, ...]:
    """Everything in the order of time, with day rules, the unread line, and one receipt under our last message."""
    order = _TimelineBuilder(zone)
    unread = [one for one in message_views if one.id > unread_after and one.by == "contact"]
    first_unread = unread[0].id if unread and unread_after else 0
    receipt = next((one.id for one in reversed(message_views) if one.side == "us" and one.by != "note"), 0)
    merged: list[MessageView | ActivityView] = sorted([*message_views, *activities], key=lambda item: item.id)
    for item in merged:
        if isinstance(item, MessageView):
            if item.id == first_unread:
                order.start_day(item.at)
                order.last = None
                order.out.append(UnreadDivider(len(unread)))
            item = replace(item, receipt=item.id == receipt)
        order.add(item)
    return tuple(order.out)
