"""What a rule or a macro may promise: a ticket of the conversation. Part of `actions`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from zhiban.automation.action_context import ActionContext, ActionOutcome
from zhiban.automation.condition_fields import Ids, PriorityNumber
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.texts import check_template, filled
from zhiban.automation.wording import RuleWording
from zhiban.conversations.groups import chat_of
from zhiban.conversations.models import Priority
from zhiban.conversations.spoken import spoken_before, subject_of
from zhiban.kit.db import Transaction
from zhiban.kit.i18n import Texts, mark
from zhiban.tickets import filing, naming_later, service
from zhiban.tickets.freezing import LOOKED_AT, freeze, may_pick, unusable
from zhiban.tickets.frozen import FrozenLine
from zhiban.tickets.models import NewTicket
from zhiban.tickets.queries import unfinished_with_key
from zhiban.tickets.repositories import repositories_of
from zhiban.tickets.titling import extracted
from zhiban.tickets.windows import MOST

Title = Annotated[str, Field(max_length=300), AfterValidator(lambda text: check_template(text) if text else text)]
_NEWEST = 2**62


@rule_part
class OpenTicketAction(RulePart):
    """Opens a ticket with what was said last. While one that this rule opened here is unfinished, no second one.

    Without a title it is called by the messages, and better after the commit where there is a model. `issue` "linked":
    in the repository that the group is linked with.
    """

    title: Title = ""
    messages: Annotated[int, Field(ge=0, le=MOST)] = 10
    owner: Literal["nobody", "assignee"] = "nobody"
    priority: PriorityNumber = 0
    labels: Ids = ()
    days: Annotated[int, Field(ge=0, le=365)] = 0
    issue: Literal["none", "linked"] = "none"
    kind: Literal["open_ticket"] = "open_ticket"

    async def run(self, do: ActionContext) -> ActionOutcome:
        state, texts = do.facts.state, Texts("zh")
        # What tells of a ticket is no reason for another one.
        if do.facts.event is not None and do.facts.event.actor.kind == "tracker":
            return "unchanged"
        series = f"rule-{do.actor.id}-{state.id}-"
        if do.run_id is not None and await unfinished_with_key(do.tx, series):
            return "unchanged"
        lines = await self._lines(do, texts)
        title = filled(self.title, do.facts)
        asked = next((line for line in lines if line.contact_id is not None), None)
        ticket = await service.open_ticket(
            do.tx,
            NewTicket(
                title or (extracted(lines, texts).title if lines else do.name),
                lines,
                priority=Priority(self.priority),
                owner_id=state.assignee_id if self.owner == "assignee" else None,
                due_at=do.now + timedelta(days=self.days) if self.days else None,
                labels=self.labels,
                conversation_id=state.id,
                inbox_id=state.inbox_id,
                requester_contact_id=asked.contact_id if asked is not None else state.contact_id,
                requester=(asked.alias or asked.name) if asked is not None else do.facts.contact.own_name,
                signature=(await chat_of(do.tx, state.id)).policy.signature if state.is_group else "alias",
                repository_id=await self._repository(do.tx, state.id),
            ),
            key=f"{series}{do.run_id}-{do.position}"
            if do.run_id is not None
            else f"macro-{do.key}-{state.id}-{do.position}-{do.now.isoformat()}",
            by=do.actor,
            now=do.now,
            cause=do.cause,
        )
        source = await subject_of(do.tx, state.id)
        named_later = not title and bool(lines)
        not_before = do.now + naming_later.PATIENCE if named_later else None
        await filing.file(do.tx, ticket, source=source, texts=texts, by=do.actor, now=do.now, not_before=not_before)
        if named_later:
            await naming_later.ask(do.tx, ticket)
        return "done"

    async def _lines(self, do: ActionContext, texts: Texts) -> list[FrozenLine]:
        if not self.messages:
            return []
        state = do.facts.state
        said = await spoken_before(do.tx, state.id, _NEWEST, limit=LOOKED_AT)
        kept = [one for one in said if may_pick(one) and unusable(one, group=state.is_group) is None]
        return await freeze(do.tx, state.id, kept[-self.messages :], texts)

    async def _repository(self, tx: Transaction, conversation_id: int) -> int | None:
        if self.issue == "none":
            return None
        return next((row.id for row in await repositories_of(tx, conversation_id) if not row.archived), None)

    def label(self, words: RuleWording) -> str:
        texts = words.texts
        parts = [texts("开工单{title}", title=words.quoted((self.title,))) if self.title else texts("开工单")]
        if self.messages:
            parts.append(texts("带上最近{n}条消息", n=self.messages))
        if self.owner == "assignee":
            parts.append(texts("由处理人负责"))
        if self.priority:
            parts.append(texts("优先级{priority}", priority=words.inside(words.priority(self.priority))))
        if self.labels:
            parts.append(texts("标签{labels}", labels=words.labels(self.labels, every=True)))
        if self.days:
            parts.append(texts("期限{span}", span=words.span(self.days * 24 * 60)))
        if self.issue == "linked":
            parts.append(texts(mark("建到群绑定的仓库")))
        return texts("、").join(parts)
