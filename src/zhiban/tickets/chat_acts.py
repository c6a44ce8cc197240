"""What is done about what somebody said about tickets in a chat, and what they are answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from zhiban.conversations.group_policy import GroupPolicy, PublishFiles
from zhiban.conversations.labels import labels
from zhiban.conversations.models import Priority
from zhiban.conversations.participants import participant
from zhiban.conversations.published_files import FileToPublish
from zhiban.conversations.queries import agent_names
from zhiban.conversations.responder import ConversationSnapshot, PendingMessage
from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts
from zhiban.tickets import confirming, drafts, filing, involving, login_acts, logins, publishing
from zhiban.tickets.binding import carry_out
from zhiban.tickets.card_acts import LOGIN, CardActs, QuotedCard
from zhiban.tickets.card_replies import Replier
from zhiban.tickets.chat_commands import (
    UNDO_LIFE,
    AskedBinding,
    AskedLogin,
    AskedTicket,
    SaidWord,
    TicketTalk,
    sender_of,
    texts_for,
)
from zhiban.tickets.chat_words import Preview, filed_words, joined_words, preview_words, question_words, remarks
from zhiban.tickets.confirming import Confirmation, TicketRequester
from zhiban.tickets.draft_words import Cancel, ChooseFiles, Confirm, JoinTo, LeaveOut, Retitle, Undo
from zhiban.tickets.drafts import Requester, TicketDraft, Wish
from zhiban.tickets.filing import TakenBack
from zhiban.tickets.freezing import still_there
from zhiban.tickets.frozen import FrozenLine
from zhiban.tickets.issue_search import FoundIssue
from zhiban.tickets.issues import issue_called
from zhiban.tickets.models import Ticket, TicketState, TrackerState
from zhiban.tickets.queries import conversations_of, ticket_numbered, tickets_of_issue, tickets_where
from zhiban.tickets.rendering import shortened_title
from zhiban.tickets.repositories import RepositoryRow, access_repository, repositories_of
from zhiban.tickets.titling import Naming
from zhiban.tickets.windows import Unclear, WindowQuestion

DAY = timedelta(days=1)


@frozen_dataclass
class Reply:
    """What is answered; nothing where there is nothing to say. `draft_id`: it shows this draft."""

    text: str
    draft_id: int | None = None


class ChatActs:
    """The acts of one turn, in the transaction that stores it."""

    def __init__(self, tx: Transaction, snapshot: ConversationSnapshot, *, now: datetime, public: bool = False) -> None:
        self._tx = tx
        self._snapshot = snapshot
        self._now = now
        self._public = public
        self._likely: tuple[FoundIssue, ...] = ()

    @property
    def _policy(self) -> GroupPolicy:
        return self._snapshot.group.policy if self._snapshot.group is not None else GroupPolicy()

    async def looked_for(self, talk: TicketTalk, naming: Naming | None) -> tuple[int, str] | None:
        """In which repository issues about the same are to be looked for, and by which text; None: nowhere."""
        if isinstance(talk, AskedTicket):
            if not talk.lines or self._policy.files_at_once:
                return None
            try:
                options = talk.command.options
                repository = await filing.repository_wanted(self._tx, self._snapshot.id, options.repository)
            except NotFound:
                return None
            title = options.title or (naming.title if naming else "")
            return (repository.id, filing.about(title, talk.lines)) if repository is not None else None
        if isinstance(talk, SaidWord) and isinstance(talk.word, Retitle | LeaveOut):
            draft = await self._meant(talk)
            linked = {row.id for row in await repositories_of(self._tx, self._snapshot.id)}
            # Whoever writes here sees nothing of a repository that the group was linked with when the draft was begun.
            if draft is not None and draft.wish.repository_id in linked:
                title = talk.word.title if isinstance(talk.word, Retitle) else draft.wish.title
                return draft.wish.repository_id, filing.about(title, draft.wish.lines)
        return None

    async def act(self, talk: TicketTalk, naming: Naming | None, likely: Sequence[FoundIssue] = ()) -> Reply:
        """Carry one out. `likely`: the issues that it may be about."""
        self._likely = tuple(likely)
        if isinstance(talk, AskedTicket):
            return await self._asked(talk, naming)
        texts = texts_for(talk.message.text)
        if isinstance(talk, QuotedCard):
            # A little picture is of no language: it is answered as most of the group is.
            texts = texts if any(map(str.isalpha, talk.message.text)) else Texts("zh")
            return Reply(
                await CardActs(self._tx, self._snapshot, texts, now=self._now, publishes=self._publishes).act(talk)
            )
        if isinstance(talk, AskedLogin):
            return Reply(await self._login(talk, texts))
        if isinstance(talk, AskedBinding):
            return Reply(await self._bind(talk, texts))
        if isinstance(talk.word, Undo):
            return await self._undo(talk.message, talk.word, texts)
        draft = await self._meant(talk)
        if draft is None:
            return Reply("")
        texts = Texts(draft.locale)
        if not await self._may(talk.message, draft):
            return Reply(texts("这份草稿是{name}发起的，要由对方或群管理来确认。", name=draft.requester.name))
        return await self._word(talk, draft, texts)

    async def shown(self, draft_id: int, message_id: int) -> None:
        """The draft was shown in this message of ours."""
        await drafts.note_preview(self._tx, draft_id, message_id)

    async def _login(self, asked: AskedLogin, texts: Texts) -> str:
        if self._policy.replies == "nobody" and self._policy.files != "bound":
            return texts("这个群没有开放引用卡片来操作议题。")
        message = asked.message
        member = Replier(
            self._snapshot.id,
            message.id,
            sender_of(self._snapshot, message),
            message.sender_ref,
            message.sender_name,
            texts.locale,
        )
        return await login_acts.carry_out(self._tx, member, asked.word, texts, now=self._now)

    async def _bind(self, asked: AskedBinding, texts: Texts) -> str:
        if self._policy.files == "nobody":
            return texts("这个群没有开放用命令开工单。")
        if not await self._is_admin(asked.message):
            return texts("只有群管理可以绑定和解绑仓库。")
        by = self._contact(asked.message)
        return await carry_out(self._tx, self._snapshot.id, asked.word, texts, by=by, now=self._now)

    # ----------------------------------------------------------------------------------------------- a new draft

    async def _asked(self, asked: AskedTicket, naming: Naming | None) -> Reply:
        texts = texts_for(asked.message.text)
        refused = await self._refusal(asked.message, texts)
        if refused:
            return Reply(refused)
        if isinstance(asked.chosen, WindowQuestion):
            return Reply(question_words(asked.chosen, texts))
        lines = await still_there(self._tx, self._snapshot.id, asked.lines)
        if not lines:
            return Reply(question_words(WindowQuestion(Unclear.NOTHING), texts))
        if asked.not_left_out and self._policy.files_at_once:
            return Reply(asked.not_left_out)
        options = asked.command.options
        said = remarks(asked.chosen, texts)
        said += [asked.not_left_out] if asked.not_left_out else []
        repository: RepositoryRow | None = None
        owner_id: int | None = None
        label_ids: tuple[int, ...] = ()
        assignees: tuple[str, ...] = ()
        try:
            repository = await filing.repository_wanted(self._tx, self._snapshot.id, options.repository)
        except NotFound:
            said.append(texts("这个群没有绑定仓库{name}，先记在我们这里。", name=options.repository[:60]))
        if options.assignee:
            owner_id, assignees, remark = await self._people(options.assignee, repository, texts)
            said += [remark] if remark else []
        if options.labels:
            label_ids, unknown = await self._labels(options.labels)
            if unknown:
                said.append(texts("没有这样的标签：{names}", names=texts("、").join(unknown)))
        wish = Wish(
            lines,
            shortened_title(options.title or (naming.title if naming else "")) or texts("来自对话的工单"),
            naming.summary if naming else "",
            options.note,
            Priority(options.priority),
            owner_id,
            label_ids,
            repository.id if repository is not None else None,
            assignees=assignees,
        )
        wish = replace(wish, publish=await self._published(wish, asked.command.options.files))
        draft = await drafts.begin(
            self._tx,
            self._snapshot.id,
            self._requester(asked.message),
            wish,
            message_id=asked.message.id,
            key=f"{self._snapshot.inbox.external_id}:{asked.message.external_id}",
            locale=texts.locale,
            now=self._now,
        )
        if draft is None:
            return Reply("")
        if self._policy.files_at_once:
            return await self._file(draft, self._contact(asked.message), texts)
        return await self._shown(draft, texts, said)

    async def _refusal(self, message: PendingMessage, texts: Texts) -> str:
        """Why this member may open no ticket now; empty where they may."""
        policy, sender = self._policy, sender_of(self._snapshot, message)
        if policy.files == "nobody":
            return texts("这个群没有开放用命令开工单。")
        if policy.files in ("bound", "admins") and not await self._is_admin(message):
            if policy.files == "admins":
                return texts("这个群只有群管理可以开工单。")
            linked = [row.connection_id for row in await repositories_of(self._tx, self._snapshot.id)]
            if not await logins.is_bound(self._tx, sender, linked):
                return texts("这个群要先绑定自己的账号才能开工单：请@我说“绑定账号”。")
        since = self._now - DAY
        if await drafts.filed_since(self._tx, self._snapshot.id, sender, since=since) >= policy.files_per_member:
            return texts("您今天已经开了{n}张工单，请明天再来，或请群管理帮忙。", n=policy.files_per_member)
        if await drafts.filed_since(self._tx, self._snapshot.id, None, since=since) >= policy.files_per_group:
            return texts("这个群今天已经开了{n}张工单，请明天再来。", n=policy.files_per_group)
        return ""

    async def _shown(self, draft: TicketDraft, texts: Texts, said: list[str]) -> Reply:
        wish = draft.wish
        repository = await access_repository(self._tx, wish.repository_id) if wish.repository_id is not None else None
        names = {one.id: one.name for one in await labels(self._tx)}
        owners = {one.id: one.name for one in await agent_names(self._tx, self._snapshot.inbox.inbox_id)}
        preview = Preview(
            draft,
            repository,
            filing.signature_for(repository, self._policy.signature),
            tuple(names[id_] for id_ in wish.labels if id_ in names),
            owners.get(wish.owner_id or 0, ""),
            self._likely,
            tuple(said),
            await self._offered(wish),
            without_address=self._policy.publish_files != "never" and not self._public,
        )
        return Reply(preview_words(preview, texts), draft.id)

    # -------------------------------------------------------------------------------------------- a word to a draft

    async def _meant(self, said: SaidWord) -> TicketDraft | None:
        """The draft that a word is about: the one that it answers, their own, or the only one."""
        waiting = await drafts.open_drafts(self._tx, self._snapshot.id, now=self._now)
        quoted = said.message.reply_to_id
        sender = sender_of(self._snapshot, said.message)
        for draft in waiting:
            if quoted is not None and draft.preview_message_id == quoted:
                return draft
        for draft in waiting:
            if draft.requester.contact_id == sender:
                return draft
        return waiting[0] if len(waiting) == 1 else None

    async def _may(self, message: PendingMessage, draft: TicketDraft) -> bool:
        return draft.requester.contact_id == sender_of(self._snapshot, message) or await self._is_admin(message)

    async def _word(self, said: SaidWord, draft: TicketDraft, texts: Texts) -> Reply:
        by = self._contact(said.message)
        match said.word:
            case Confirm():
                refused = await self._refusal(said.message, texts)
                return Reply(refused) if refused else await self._file(draft, by, texts)
            case Cancel():
                await drafts.end(self._tx, draft, "cancelled", by=by, now=self._now)
                return Reply(texts("已取消，没有开工单。"))
            case Retitle(title=title):
                return await self._shown(await drafts.rewrite(self._tx, draft, title=shortened_title(title)), texts, [])
            case LeaveOut(places=places):
                return await self._leave_out(draft, places, texts)
            case ChooseFiles():
                return await self._choose_files(draft, said.word, texts)
            case JoinTo():
                if refused := await self._refusal(said.message, texts):
                    return Reply(refused)
                return await self._join(draft, said.word, by=by, texts=texts)
            case Undo():
                return Reply("")

    async def _leave_out(self, draft: TicketDraft, places: tuple[int, ...], texts: Texts) -> Reply:
        lines = draft.wish.lines
        gone = {lines[place - 1].message_id for place in places if 0 <= place <= len(lines)}
        wrong = [place for place in places if place > len(lines)]
        if wrong:
            return Reply(texts("草稿里只有{n}条。", n=len(lines)))
        if len(gone) == len(lines):
            return Reply(texts("至少要留一条；不要了请回复2。"))
        naming = confirming.naming_of(draft, [line for line in lines if line.message_id not in gone], texts)
        rewritten = await drafts.rewrite(
            self._tx, draft, title=naming.title, summary=naming.summary, leave_out=sorted(gone)
        )
        return await self._shown(rewritten, texts, [])

    async def _choose_files(self, draft: TicketDraft, word: ChooseFiles, texts: Texts) -> Reply:
        offered = await self._offered(draft.wish)
        meant = {one.attachment_id for one in offered if (word.pictures if one.kind == "picture" else word.files)}
        if word.add and not meant:
            return Reply(texts("这份草稿里没有可以公开的图片和文件，只写名称。"))
        before = set(draft.wish.publish)
        publish = sorted(before | meant if word.add else before - meant)
        return await self._shown(await drafts.rewrite(self._tx, draft, publish=publish), texts, [])

    @property
    def _publishes(self) -> PublishFiles:
        """What of their files everybody may see; nothing where we have no address for everybody."""
        return self._policy.publish_files if self._public else "never"

    async def _offered(self, wish: Wish) -> list[FileToPublish]:
        if wish.repository_id is None:
            return []
        return await publishing.offers(
            self._tx, self._snapshot.id, [line.message_id for line in wish.lines], self._publishes
        )

    async def _published(self, wish: Wish, without: ChooseFiles | None) -> tuple[int, ...]:
        """What of it is published unless somebody says otherwise."""
        without = without or ChooseFiles(pictures=False, files=False)
        offered = await self._offered(wish)
        return tuple(
            one.attachment_id for one in offered if not (without.pictures if one.kind == "picture" else without.files)
        )

    async def _file(self, draft: TicketDraft, by: Actor, texts: Texts) -> Reply:
        """Make the ticket. What was recalled meanwhile is left out."""
        lines = await still_there(self._tx, self._snapshot.id, draft.wish.lines)
        if not lines:
            await drafts.end(self._tx, draft, "cancelled", by=by, now=self._now)
            return Reply(texts("里面的消息都撤回了，没有开工单。"))
        ticket, repository = await confirming.file_draft(self._tx, self._yes(draft, lines, by, texts))
        return Reply(filed_words(ticket, repository, texts))

    def _yes(self, draft: TicketDraft, lines: Sequence[FrozenLine], by: Actor, texts: Texts) -> Confirmation:
        asker = TicketRequester(draft.requester.contact_id, draft.requester.name)
        inbox_id = self._snapshot.inbox.inbox_id
        return Confirmation(
            draft, lines, asker, inbox_id, self._policy.signature, texts, by, self._now, self._publishes
        )

    async def _join(self, draft: TicketDraft, to: JoinTo, *, by: Actor, texts: Texts) -> Reply:
        """Put it to a ticket or issue that exists, as far as this chat has to do with it."""
        lines = await still_there(self._tx, self._snapshot.id, draft.wish.lines)
        repository = None if to.ticket else await self._repository(draft)
        issue = await issue_called(self._tx, repository.id, to.called) if repository is not None else None
        ticket = await (self._ticket_of(issue.id) if issue is not None else self._own_ticket(to.number))
        if not lines or (issue is None and ticket is None):
            return Reply(texts("没有找到可以加的 {n}。", n=to.called))
        yes = self._yes(draft, lines, by, texts)
        ticket = await confirming.join_draft(self._tx, yes, ticket, issue, repository)
        return Reply(joined_words(ticket, texts))

    async def _repository(self, draft: TicketDraft) -> RepositoryRow | None:
        if draft.wish.repository_id is not None:
            return await access_repository(self._tx, draft.wish.repository_id)
        linked = await repositories_of(self._tx, self._snapshot.id)
        return linked[0] if linked else None

    async def _ticket_of(self, issue_id: int) -> Ticket | None:
        """The newest ticket of an issue that this chat has to do with: another group's is that group's."""
        for ticket in await tickets_of_issue(self._tx, issue_id):
            if await self._is_ours(ticket):
                return ticket
        return None

    async def _own_ticket(self, number: int | None) -> Ticket | None:
        """A ticket that this chat has to do with: nobody reaches others by their numbers."""
        ticket = await ticket_numbered(self._tx, number) if number is not None else None
        return ticket if ticket is not None and await self._is_ours(ticket) else None

    async def _is_ours(self, ticket: Ticket) -> bool:
        if ticket.state is TicketState.CANCELLED:
            return False
        return self._snapshot.id in await conversations_of(self._tx, ticket.id)

    # ------------------------------------------------------------------------------------------------------- undo

    async def _undo(self, message: PendingMessage, word: Undo, texts: Texts) -> Reply:
        """Take a ticket back that was filed a moment ago, by its requester or an admin."""
        recent = await tickets_where(
            self._tx,
            "t.conversation_id = %(conversation)s and t.created_at > %(since)s and t.requester_contact_id is not null "
            "order by t.id desc",
            conversation=self._snapshot.id,
            since=self._now - UNDO_LIFE,
        )
        sender = sender_of(self._snapshot, message)
        admin = await self._is_admin(message)
        mine = [
            ticket
            for ticket in recent
            if (ticket.requester_contact_id == sender or (admin and word.number is not None))
            and word.number in (None, ticket.number)
        ]
        if not mine:
            # Said by somebody who opened none, it is most likely about something else.
            return Reply(texts("没有可以撤销的工单。") if word.number is not None else "")
        if word.number is None:
            waiting = await drafts.open_drafts(self._tx, self._snapshot.id, now=self._now)
            if any(one.requester.contact_id == sender and one.created_at > mine[0].created_at for one in waiting):
                said = texts("您还有一份没有确认的草稿，回复2可以取消它。")
                return Reply(said + "\n" + texts("要撤销工单{number}，请回复“撤销{number}”。", number=mine[0].number))
        if mine[0].state is TicketState.CANCELLED:
            # Whoever says it twice means the same ticket, and not the one before it.
            said = texts("工单{number}已经撤销了。", number=mine[0].number)
            standing = [one.number for one in mine if one.state is not TicketState.CANCELLED]
            if standing:
                said += "\n" + texts("要撤销工单{number}，请回复“撤销{number}”。", number=standing[0])
            return Reply(said)
        by, ticket = self._contact(message), mine[0]
        await involving.undo(self._tx, ticket.id, by=by, now=self._now)
        taken = await filing.take_back(self._tx, ticket, texts=texts, by=by, now=self._now)
        said = texts("已撤销工单{number}，里面的原话已清空。", number=ticket.number)
        if taken is TakenBack.ISSUE:
            said += "\n" + texts("建好的议题会关闭并清空，但修改历史在那边还看得到。")
        elif taken is TakenBack.COMMENTS:
            said += "\n" + texts("我们加到议题里的评论会删掉。")
        elif ticket.tracker_state is TrackerState.WAITING:
            said += "\n" + texts("议题还没有建出去，不会再建。")
        return Reply(said)

    # -------------------------------------------------------------------------------------------------- who is who

    def _contact(self, message: PendingMessage) -> Actor:
        return Actor("contact", sender_of(self._snapshot, message))

    def _requester(self, message: PendingMessage) -> Requester:
        name = message.sender_name or self._snapshot.contact_name
        return Requester(sender_of(self._snapshot, message), name, message.sender_ref)

    async def _is_admin(self, message: PendingMessage) -> bool:
        if not self._snapshot.state.is_group:
            return False
        member = await participant(self._tx, self._snapshot.id, sender_of(self._snapshot, message))
        return member is not None and member.role in ("admin", "owner")

    async def _colleague(self, name: str) -> int | None:
        found = await agent_names(self._tx, self._snapshot.inbox.inbox_id)
        called = [one.id for one in found if one.name.casefold() == name.casefold()]
        return called[0] if len(called) == 1 else None

    async def _people(
        self, name: str, repository: RepositoryRow | None, texts: Texts
    ) -> tuple[int | None, tuple[str, ...], str]:
        """The colleague of this name, the logins at the tracker, and what there is to say about it."""
        owner_id = await self._colleague(name)
        assignees: tuple[str, ...] = ()
        if repository is not None:
            assignees = await self._assignees(name, repository, colleague=owner_id is not None)
        if owner_id is None and not assignees:
            said = texts("没有找到{name}：请写同事的名字、绑定了账号的成员，或那边的登录名。", name=name)
            return owner_id, assignees, said
        if repository is not None and not assignees:
            return owner_id, assignees, texts("指派只在我们这里，不会写到仓库。")
        return owner_id, assignees, ""

    async def _assignees(self, name: str, repository: RepositoryRow, *, colleague: bool) -> tuple[str, ...]:
        """The login of a member who bound their account, or what is written like one and is no colleague's name."""
        bound = await logins.bound_by_name(self._tx, repository.connection_id, self._snapshot.id)
        login = bound.get(name.casefold())
        if login is None and not colleague and LOGIN.fullmatch(name):
            login = name
        return (login,) if login is not None else ()

    async def _labels(self, wanted: Sequence[str]) -> tuple[tuple[int, ...], list[str]]:
        """The labels of these names, and the names that are none."""
        known = {label.name.casefold(): label.id for label in await labels(self._tx)}
        found = {known[name.casefold()]: None for name in wanted if name.casefold() in known}
        return tuple(found), [name for name in wanted if name.casefold() not in known]
