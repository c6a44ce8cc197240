"""One request of a signed-in agent at the desk: which list it looks at, and how it is answered."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request
from fastapi.responses import Response

from zhiban.assistant.drafting import DraftAssistant
from zhiban.assistant.inserting import EntrySearch
from zhiban.assistant.suggesting import Suggestion, SuggestionReasons
from zhiban.assistant.translating import Translator, translations
from zhiban.automation.definition import BadDefinition
from zhiban.automation.flow_queries import startable
from zhiban.automation.macros import macros
from zhiban.automation.saved_views import LONGEST_FILTER, list_filters, unsaved_filter
from zhiban.channels.inboxes import access_inbox, inbox_names
from zhiban.conversations import lists, participants, queries, replies
from zhiban.conversations.access import access_conversation
from zhiban.conversations.attributes import conversation_fields
from zhiban.conversations.contact_labels import contact_labels
from zhiban.conversations.draft_files import draft_files
from zhiban.conversations.drafts import drafts
from zhiban.conversations.followers import followers_of
from zhiban.conversations.groups import chat_of
from zhiban.conversations.labels import Label, label_names, labels
from zhiban.conversations.list_models import MOST_ROWS, ROWS, ListView, OwnIds, Queue, RailEntry, Sort, StatusTab
from zhiban.conversations.retention import forgotten_in
from zhiban.conversations.survey_links import SurveyLinks
from zhiban.conversations.surveys import ratings_of
from zhiban.conversations.viewers import viewers_besides
from zhiban.desk import channel_limits, views
from zhiban.desk.checks import chrome_of
from zhiban.desk.group_view import GroupView
from zhiban.desk.labels import WORDS
from zhiban.desk.snooze_menu import snooze_times
from zhiban.desk.ticket_view import STATE_TONES, STATE_WORDS
from zhiban.desk.views import ThreadView
from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.file_store import FileStore
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts
from zhiban.knowledge.kept_replies import articles_of_replies
from zhiban.knowledge.queries import base_by_slug, bases
from zhiban.notifications.queries import mentioned_in, mentioning_notes
from zhiban.notifications.service import read_about
from zhiban.people.auth import Auth, CurrentAgent, auth_of
from zhiban.people.permissions import Access, Permission
from zhiban.people.service import SignedInAgent
from zhiban.people.teams import team_rows, teams_of
from zhiban.ports import ChatModel, Limits
from zhiban.tickets.drafts import open_drafts
from zhiban.tickets.issue_search import IssueFinder
from zhiban.tickets.queries import tickets_about
from zhiban.tickets.repositories import links_of
from zhiban.web.render import Viewer

QUEUES = {queue.value: queue for queue in Queue}
TABS = {tab.value: tab for tab in StatusTab}
SORTS = {sort.value: sort for sort in Sort}

MEMBERS_SHOWN = 200  # of a group, beside its messages
MOST_PLACES = 30  # inboxes, and teams, in the rail
MEMBERS_NAMED = 1000  # whom one who writes may name

LimitsOf = Callable[[str], Limits]
MakeSuggestion = Callable[[int, int], Awaitable[Suggestion | None]]  # workspace and conversation
ExplainSuggestion = Callable[[int, int], Awaitable[SuggestionReasons]]  # the same


@frozen_dataclass
class DeskSettings:
    """What the desk needs to know of the installation: channels' limits, where files lie, who suggests answers."""

    limits_of: LimitsOf
    files: FileStore
    suggest: MakeSuggestion | None = None
    explain: ExplainSuggestion | None = None
    entries: EntrySearch | None = None
    drafting: DraftAssistant | None = None
    naming: ChatModel | None = None  # what puts the title of a ticket better, where there is a model
    similar: IssueFinder | None = None  # which issues a draft may be about
    translator: Translator | None = None
    mails: bool = False  # whether there is a mail server for transcripts
    surveys: SurveyLinks = field(default_factory=lambda: SurveyLinks("", secrets.token_bytes(32)))


@frozen_dataclass
class Toast:
    """A word about what was just done, and how to undo it."""

    words: str
    undo: str | None = None  # what is posted to
    with_: Mapping[str, str] = field(default_factory=dict)  # and what is posted


@frozen_dataclass
class DeskRequest:
    """One request of a signed-in agent at the desk."""

    request: Request
    agent: SignedInAgent
    auth: Auth
    settings: DeskSettings
    queue: Queue
    tab: StatusTab
    label: int | None = None
    view: int | None = None
    sort: Sort = Sort.WAITING
    inbox: int | None = None
    team: int | None = None
    filter: str = ""

    @property
    def viewer(self) -> Viewer:
        return self.auth.viewer(self.request, self.agent)

    @property
    def texts(self) -> Texts:
        return self.viewer.texts

    @property
    def access(self) -> Access:
        """What this agent may see and do."""
        return self.agent.access

    @property
    def address(self) -> str:
        """The list that is looked at, as the query of an address."""
        return self._list().address()

    def _list(self, labels: tuple[Label, ...] = ()) -> ListView:
        """The list that is looked at, without what is in it."""
        return ListView(
            self.queue,
            self.tab,
            label=self.label,
            labels=labels,
            view=self.view,
            sort=self.sort,
            inbox=self.inbox,
            team=self.team,
            filter=self.filter,
        )

    def actor(self) -> Actor:
        return Actor("agent", self.agent.id)

    async def list(self, tx: Transaction, *, limit: int = ROWS, current: int | None = None) -> ListView:
        asked = await self.list_asked(tx)
        shown = await lists.conversation_list(tx, self.access, limit=limit, current=current, **asked)
        inboxes, teams = await self._places(tx, asked["own"].teams)
        shown = replace(shown, filter=self.filter, inboxes=inboxes, teams=teams)
        if self.queue is not Queue.MENTIONED:
            return shown
        notes = await mentioning_notes(tx, self.agent.id, [row.id for row in (*shown.waiting, *shown.rest)])
        return replace(shown, notes={id_: (note.who, note.text) for id_, note in notes.items()})

    async def list_beside(self, tx: Transaction) -> ListView:
        """The same without its rows and numbers, for what is shown of an open conversation alone."""
        return self._list(await labels(tx))

    async def _places(
        self, tx: Transaction, teams: Sequence[int]
    ) -> tuple[tuple[RailEntry, ...], tuple[RailEntry, ...]]:
        """The inboxes and teams that the rail lists: where there is one only, its queue says as much."""
        inboxes = [(one.id, one.name) for one in await inbox_names(tx) if self.access.sees(one.id)]
        own = [(one.id, one.name) for one in await team_rows(tx) if one.id in teams] if len(teams) > 1 else []
        return await self._entries(tx, inboxes, of="inbox_id"), await self._entries(tx, own, of="team_id")

    async def _entries(
        self, tx: Transaction, rows: Sequence[tuple[int, str]], *, of: Literal["inbox_id", "team_id"]
    ) -> tuple[RailEntry, ...]:
        if len(rows) < 2:
            return ()
        shown = rows[:MOST_PLACES]
        counts = await lists.open_in(tx, self.access, [id_ for id_, _ in shown], of=of)
        return tuple(RailEntry(id_, name, counts.get(id_, 0)) for id_, name in shown)

    async def list_asked(self, tx: Transaction) -> dict[str, Any]:
        """Which list is looked at, as `conversations.lists` wants to be asked for it."""
        views, view = await list_filters(tx, self.agent.id), self.view
        if self.filter:
            view = 0
            with suppress(BadDefinition):  # of another version, or by hand: nothing is found
                views = (*views, unsaved_filter(self.filter))
        return {
            "queue": self.queue,
            "tab": self.tab,
            "label": self.label,
            "views": views,
            "view": view,
            "inbox": self.inbox,
            "team": self.team,
            "sort": self.sort,
            "now": self.auth.clock.now(),
            "own": OwnIds(await teams_of(tx, self.agent.id), await mentioned_in(tx, self.agent.id)),
        }

    async def thread(
        self,
        tx: Transaction,
        conversation_id: int,
        *,
        first: int | None = None,
        older_than: int | None = None,
        unread_after: int | None = None,
    ) -> ThreadView:
        """Everything about one conversation. Raises NotFound."""
        now = self.auth.clock.now()
        head = await access_conversation(tx, self.access, conversation_id)
        part = await queries.message_page(tx, conversation_id, first=first, older_than=older_than)
        people = await queries.agent_names(tx, head.inbox_id)
        name = head.name or self.texts("群{tag}" if head.kind == "group" else "联系人{tag}", tag=head.tag)
        members = await self._senders(tx, head, part.rows)
        names = {one.id: one.name for one in people}
        teams = {one.id: one.name for one in await team_rows(tx)}
        chosen = {row.choice for row in part.rows if row.choice}
        labelled = any("added" in row.content for row in part.rows if row.kind == "activity")
        called = await label_names(tx) if labelled else {}
        replies_shown = [row.id for row in part.rows if row.author in ("agent", "servicer")]
        kept = await articles_of_replies(tx, replies_shown)
        heard = [row.id for row in part.rows if row.author == "contact"]
        translated = await translations(tx, heard, self.texts.locale)
        message_views, activities = [], []
        for row in part.rows:
            if row.kind == "activity":
                line = views.activity_view(row, contact=name, names=names, teams=teams, labels=called, members=members)
                if line is not None:
                    activities.append(line)
            else:
                sender = row.sender_contact_id or 0
                message_views.append(
                    views.message_view(
                        row,
                        self._called(members, sender) if head.kind == "group" else name,
                        str(sender) if head.kind == "group" else head.external_id,
                        members=members,
                        chosen=chosen,
                        kept=kept,
                        translated=translated,
                        reader=self.texts.locale,
                    )
                )
        after = await queries.read_until(tx, conversation_id, self.agent.id) if unread_after is None else unread_after
        return ThreadView(
            head=head,
            entries=views.entries(message_views, activities, unread_after=after, zone=self.texts.zone),
            limit=channel_limits.reply_allowance(head, self.settings.limits_of(head.channel), now),
            card=await queries.contact_panel(tx, head, self.access),
            agents=people,
            teams=tuple(teams.items()),
            first_id=part.first_id,
            last_id=part.last_id,
            has_older=part.has_older,
            unread_after=after,
            snoozes=snooze_times(now, self.texts.zone),
            wants_suggestion=self.settings.suggest is not None
            and self.access.may(Permission.ANSWER)
            and head.status == "open"
            and head.waiting_since is not None,
            inserts=self.settings.entries is not None,
            helps_writing=self.settings.drafting is not None,
            translates=self.settings.translator is not None
            and self.settings.translator.translates
            and self.access.may(Permission.ANSWER),
            rewrites=self.settings.drafting is not None and self.settings.drafting.rewrites,
            last_incoming=max((row.id for row in part.rows if row.author == "contact"), default=0),
            drafts=await drafts(tx, conversation_id, self.agent.id),
            files=await draft_files(tx, conversation_id, Actor("agent", self.agent.id)),
            followers=await followers_of(tx, conversation_id),
            ratings=tuple(await ratings_of(tx, head.contact_id, self.access)),
            taken_files=channel_limits.taken_files(self.settings.limits_of(head.channel)),
            macros=await self._macros(tx),
            flows=await self._flows(tx, head),
            fields=tuple(await conversation_fields(tx)),
            attributes=head.attributes,
            contact_labels=await contact_labels(tx, head.contact_id),
            viewers=await viewers_besides(tx, conversation_id, agent_id=self.agent.id, now=now),
            tickets=tuple(await tickets_about(tx, self.access, conversation_id)),
            asked=tuple(await open_drafts(tx, conversation_id, now=now)),
            group=await self._group(tx, head) if head.kind == "group" else None,
            forgotten=None if part.has_older else await forgotten_in(tx, conversation_id),
        )

    def _called(self, members: Mapping[int, str], contact_id: int) -> str:
        """Who said it in a group; a message that we know from another one's quotation alone is of nobody we know."""
        if not contact_id:
            return self.texts("引用的消息")
        return members.get(contact_id, self.texts("成员{id}", id=contact_id))

    async def _senders(
        self, tx: Transaction, head: queries.ThreadHead, rows: Sequence[queries.MessageRow]
    ) -> dict[int, str]:
        """What those are called in their group who wrote these messages, or came and went; nothing elsewhere."""
        if head.kind != "group":
            return {}
        ids = {row.sender_contact_id for row in rows if row.sender_contact_id is not None}
        ids.update(row.quoted.sender_contact_id or 0 for row in rows if row.quoted is not None)
        ids.update(id_ for row in rows for id_ in row.content.get("members") or ())
        return await participants.names_of(tx, head.id, ids)

    async def _group(self, tx: Transaction, head: queries.ThreadHead) -> GroupView:
        people = await participants.participants(tx, head.id, most=MEMBERS_NAMED)
        chat, known = await chat_of(tx, head.id), tuple(await bases(tx))
        return GroupView(
            chat=chat,
            size=await participants.size_of(tx, head.id),
            members=tuple(people[:MEMBERS_SHOWN]),
            names=tuple(dict.fromkeys(one.name for one in people if one.name and one.external_id)),
            mention=self.settings.limits_of(head.channel).mentions,
            may_configure=self.access.may(Permission.MANAGE_INBOXES),
            cards=self.settings.limits_of(head.channel).link is not None,
            hears=self.settings.limits_of(head.channel).hears,
            repositories=tuple(await links_of(tx, head.id)),
            base=next((one.name for one in known if one.id == chat.policy.base_id), None)
            or await self._base(tx, head.inbox_id),
            bases=known,
        )

    async def _base(self, tx: Transaction, inbox_id: int) -> str:
        """What the knowledge base of an inbox in use is called."""
        with suppress(NotFound):
            found = await base_by_slug(tx, (await access_inbox(tx, inbox_id)).base or "default")
            return found.name if found is not None else ""
        return ""

    async def reads(self, tx: Transaction, thread: ThreadView) -> None:
        """The agent has it before them, to its end: nothing of it is unread."""
        await replies.mark_read(tx, thread.head.id, agent_id=self.agent.id, message_id=thread.last_id)
        await read_about(tx, self.agent.id, thread.head.id, now=self.auth.clock.now())

    async def _macros(self, tx: Transaction) -> tuple[tuple[int, str], ...]:
        """Those that this agent may run, by id and name."""
        found = await macros(tx, self.agent.id) if self.access.may(Permission.ANSWER) else []
        return tuple((one.id, one.name) for one in found)

    async def _flows(self, tx: Transaction, head: queries.ThreadHead) -> tuple[tuple[int, str], ...]:
        """Those that this agent may start here, by id and name."""
        if head.kind == "group" or head.status == "resolved" or not self.access.may(Permission.ANSWER):
            return ()
        return tuple((one.id, one.name) for one in await startable(tx))

    async def answer(
        self, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
    ) -> Response:
        told = {"ticket_words": STATE_WORDS, "ticket_tones": STATE_TONES}
        folded = (self.request.cookies.get("folded") or "").split(".")
        shown = {
            "thread": None,
            "toast": None,
            "folded": folded,
            "mails": self.settings.mails,
            **WORDS,
            **told,
            **values,
        }
        chrome = await chrome_of(self.request, self.agent, "desk")
        return self.auth.renderer.answer(template, self.viewer, status=status, headers=headers, chrome=chrome, **shown)

    async def live(
        self,
        conversation_id: int,
        *,
        toast: Toast | None = None,
        first: int | None = None,
        older_than: int | None = None,
        unread_after: int | None = None,
        mail: Mapping[str, Any] | None = None,
    ) -> Response:
        """The open conversation as it is now, part by part, for morphing into the page. Raises NotFound.

        `mail`: what the form for a mail holds, where one was sent.
        """
        async with self.auth.database.page_transaction(self.agent.workspace_id) as tx:
            thread = await self.thread(
                tx, conversation_id, first=first, older_than=older_than, unread_after=unread_after
            )
            shown = await self.list_beside(tx)
        return await self.answer("desk/live_thread.html", list=shown, thread=thread, toast=toast, mail=mail)

    async def next(self, done: int, toast: Toast) -> Response:
        """The next waiting conversation of this queue in place of the one just done with, or the empty desk."""
        async with self.auth.database.page_transaction(self.agent.workspace_id) as tx:
            asked = {key: value for key, value in (await self.list_asked(tx)).items() if key != "tab"}
            following = await lists.next_waiting(tx, self.access, after=done, **asked)
            thread = await self.thread(tx, following) if following is not None else None
            if thread is not None:
                await self.reads(tx, thread)
            # The page without a conversation tells how many others wait.
            shown = await self.list(tx) if thread is None else await self.list_beside(tx)
        where = f"/conversations/{following}" if following is not None else "/"
        return await self.answer(
            "desk/open_thread.html",
            list=shown,
            thread=thread,
            toast=toast,
            headers={"HX-Push-Url": f"{where}?{self.address}"},
        )


async def desk_request(request: Request, agent: CurrentAgent) -> DeskRequest:
    """The request with the list it looks at: in its address, or in the fields of a form, which go first.

    Declared as parameters they would be kept, with a validator each, for every page of the desk.
    """
    given: Mapping[str, object] = request.query_params
    if request.method == "POST":
        given = {**given, **await request.form()}
    return DeskRequest(
        request,
        agent,
        auth_of(request),
        request.app.state.desk,
        QUEUES.get(str(given.get("queue")), Queue.MINE),
        TABS.get(str(given.get("status")), StatusTab.OPEN),
        _number(str(given.get("label", ""))),
        _number(str(given.get("view", ""))),
        SORTS.get(str(given.get("sort")), Sort.WAITING),
        _number(str(given.get("inbox", ""))),
        _number(str(given.get("team", ""))),
        str(given.get("filter") or "")[: LONGEST_FILTER + 1],
    )


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 19 else None


CurrentRequest = Annotated[DeskRequest, Depends(desk_request)]
Limited = Annotated[int, Query(ge=1, le=MOST_ROWS)]
