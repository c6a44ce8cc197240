"""What a rule or a macro may do. Each action is a small class: its kind, its fields, what it does, and how it is said.

The union `Action` is the registry, the schema, the validation and the editor's list. `run` calls the verb that people's
buttons call, in the transaction of whatever set the rule off; what goes to somebody outside is a job. It returns what
came of it, and raises Conflict or NotFound, in words, where it cannot be done.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal, get_args

from pydantic import Discriminator, Field

from zhiban.automation.attribute_action import SetAttributeAction
from zhiban.automation.condition_fields import Id, Ids, PriorityNumber
from zhiban.automation.facts import RuleFacts
from zhiban.automation.follow_action import AddFollowersAction
from zhiban.automation.mail_action import MailTranscriptAction
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.texts import Template, filled
from zhiban.automation.webhook_action import CallWebhookAction
from zhiban.automation.wording import RuleWording
from zhiban.conversations import replies, service
from zhiban.conversations.assignment import assign_best
from zhiban.conversations.facts import previous_assignee
from zhiban.conversations.labels import check_labels
from zhiban.conversations.models import Priority
from zhiban.conversations.outbox import key_for
from zhiban.conversations.transitions import Applied
from zhiban.events import Actor, Cause
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.kit.jobs import enqueue
from zhiban.notifications.jobs import to_people
from zhiban.notifications.models import NotificationKind
from zhiban.notifications.notices import rule_notice
from zhiban.notifications.service import NewNotification, notify
from zhiban.people.presence import assignable
from zhiban.people.teams import members_of
from zhiban.ports import Limits

# queued: it leaves after the commit; nobody: no agent who may be given it is there.
Outcome = Literal["done", "unchanged", "queued", "nobody"]


@frozen_dataclass
class ActionContext:
    """For whom, on what, and because of what an action is done."""

    tx: Transaction
    facts: RuleFacts  # as they were when the rule was asked
    limits: Limits  # of the conversation's channel
    actor: Actor
    cause: Cause
    name: str  # of the rule or macro
    reason: str  # what the facts say: rule or macro
    key: str  # of this firing
    run_id: int | None  # of this firing, where it is a rule's
    position: int  # of the action in its rule
    now: datetime

    @property
    def conversation_id(self) -> int:
        return self.facts.state.id


def _outcome(applied: Applied) -> Outcome:
    return "done" if applied.changed else "unchanged"


@rule_part
class AssignAgentAction(RulePart):
    agent: Id
    kind: Literal["assign_agent"] = "assign_agent"

    async def run(self, do: ActionContext) -> Outcome:
        return _outcome(
            await service.assign(
                do.tx, do.conversation_id, to=self.agent, by=do.actor, now=do.now, reason=do.reason, cause=do.cause
            )
        )

    def label(self, words: RuleWording) -> str:
        return words.texts("分配给{who}", who=words.agents((self.agent,)))


@rule_part
class AssignBestAction(RulePart):
    """To the agent whom the inbox's policy would choose now. Where nobody is there it stays as it is and waits."""

    kind: Literal["assign_best"] = "assign_best"

    async def run(self, do: ActionContext) -> Outcome:
        given = await assign_best(do.tx, do.conversation_id, by=do.actor, now=do.now, cause=do.cause)
        if given is None:
            return "nobody"
        return "done" if given != do.facts.state.assignee_id else "unchanged"

    def label(self, words: RuleWording) -> str:
        return words.texts("分配给最合适的在线同事")


@rule_part
class AssignLastAgentAction(RulePart):
    """To the agent who had it last, if they are online. Otherwise it stays as it is."""

    kind: Literal["assign_last_agent"] = "assign_last_agent"

    async def run(self, do: ActionContext) -> Outcome:
        last = await previous_assignee(do.tx, do.conversation_id, other_than=None)
        there = await assignable(do.tx, now=do.now)
        if last not in {agent.id for agent in there if agent.answers(do.facts.state.inbox_id)}:
            return "nobody"
        return _outcome(
            await service.assign(
                do.tx, do.conversation_id, to=last, by=do.actor, now=do.now, reason=do.reason, cause=do.cause
            )
        )

    def label(self, words: RuleWording) -> str:
        return words.texts("分配给上一位处理人（在线时）")


@rule_part
class UnassignAction(RulePart):
    kind: Literal["unassign"] = "unassign"

    async def run(self, do: ActionContext) -> Outcome:
        return _outcome(
            await service.assign(
                do.tx, do.conversation_id, to=None, by=do.actor, now=do.now, reason=do.reason, cause=do.cause
            )
        )

    def label(self, words: RuleWording) -> str:
        return words.texts("取消分配")


@rule_part
class AssignTeamAction(RulePart):
    team: Id
    kind: Literal["assign_team"] = "assign_team"

    async def run(self, do: ActionContext) -> Outcome:
        return _outcome(
            await service.assign_team(do.tx, do.conversation_id, to=self.team, by=do.actor, now=do.now, cause=do.cause)
        )

    def label(self, words: RuleWording) -> str:
        return words.texts("交给小组{team}", team=words.teams((self.team,)))


@rule_part
class RemoveTeamAction(RulePart):
    kind: Literal["remove_team"] = "remove_team"

    async def run(self, do: ActionContext) -> Outcome:
        return _outcome(
            await service.assign_team(do.tx, do.conversation_id, to=None, by=do.actor, now=do.now, cause=do.cause)
        )

    def label(self, words: RuleWording) -> str:
        return words.texts("取消小组")


LabelIds = Annotated[tuple[Id, ...], Field(min_length=1, max_length=50)]


@rule_part
class AddLabelsAction(RulePart):
    labels: LabelIds
    kind: Literal["add_labels"] = "add_labels"

    async def run(self, do: ActionContext) -> Outcome:
        await check_labels(do.tx, self.labels)
        return _outcome(
            await service.change_labels(
                do.tx, do.conversation_id, add=frozenset(self.labels), by=do.actor, now=do.now, cause=do.cause
            )
        )

    def label(self, words: RuleWording) -> str:
        return words.texts("加上标签{labels}", labels=words.labels(self.labels, every=True))


@rule_part
class RemoveLabelsAction(RulePart):
    labels: LabelIds
    kind: Literal["remove_labels"] = "remove_labels"

    async def run(self, do: ActionContext) -> Outcome:
        return _outcome(
            await service.change_labels(
                do.tx, do.conversation_id, remove=frozenset(self.labels), by=do.actor, now=do.now, cause=do.cause
            )
        )

    def label(self, words: RuleWording) -> str:
        return words.texts("去掉标签{labels}", labels=words.labels(self.labels, every=True))


@rule_part
class SetStatusAction(RulePart):
    """Open: people have it; resolved: done. Who hands it to the assistant says so with `hand_off`."""

    status: Literal["open", "resolved"]
    kind: Literal["set_status"] = "set_status"

    async def run(self, do: ActionContext) -> Outcome:
        if self.status == "resolved":
            changed = await service.resolve(
                do.tx, do.conversation_id, by=do.actor, now=do.now, reason=do.reason, cause=do.cause
            )
            return "done" if changed else "unchanged"
        return _outcome(
            await service.open_for_people(
                do.tx, do.conversation_id, actor=do.actor, now=do.now, reason=do.reason, cause=do.cause
            )
        )

    def label(self, words: RuleWording) -> str:
        return words.texts(mark("把会话设为进行中") if self.status == "open" else mark("解决会话"))


@rule_part
class SetPriorityAction(RulePart):
    """With `at_least`, a higher priority stays."""

    priority: PriorityNumber
    at_least: bool = False
    kind: Literal["set_priority"] = "set_priority"

    async def run(self, do: ActionContext) -> Outcome:
        return _outcome(
            await service.set_priority(
                do.tx,
                do.conversation_id,
                priority=Priority(self.priority),
                at_least=self.at_least,
                by=do.actor,
                now=do.now,
                reason=do.reason,
                cause=do.cause,
            )
        )

    def label(self, words: RuleWording) -> str:
        said = mark("把优先级至少提到{priority}") if self.at_least else mark("把优先级设为{priority}")
        return words.texts(said, priority=words.priority(self.priority))


@rule_part
class SnoozeAction(RulePart):
    minutes: Annotated[int, Field(ge=1, le=60 * 24 * 90)]
    kind: Literal["snooze"] = "snooze"

    async def run(self, do: ActionContext) -> Outcome:
        until = do.now + timedelta(minutes=self.minutes)
        return _outcome(
            await service.snooze(do.tx, do.conversation_id, until=until, by=do.actor, now=do.now, cause=do.cause)
        )

    def label(self, words: RuleWording) -> str:
        return words.texts("搁置{span}", span=words.span(self.minutes))


@rule_part
class MuteAction(RulePart):
    """What the contact writes, wherever they write, is kept and calls nobody."""

    kind: Literal["mute"] = "mute"

    async def run(self, do: ActionContext) -> Outcome:
        await service.block(do.tx, do.conversation_id, by=do.actor, now=do.now, cause=do.cause)
        return "unchanged" if do.facts.state.muted else "done"

    def label(self, words: RuleWording) -> str:
        return words.texts("屏蔽对方")


@rule_part
class HandOffAction(RulePart):
    """To people, or back to the assistant. Who has it already keeps it."""

    to: Literal["people", "assistant"] = "people"
    kind: Literal["hand_off"] = "hand_off"

    async def run(self, do: ActionContext) -> Outcome:
        if self.to == "people":
            handed = await service.hand_off(
                do.tx, do.conversation_id, reason=do.reason, actor=do.actor, now=do.now, cause=do.cause
            )
            return "done" if handed else "unchanged"
        return _outcome(
            await service.return_to_assistant(do.tx, do.conversation_id, by=do.actor, now=do.now, cause=do.cause)
        )

    def label(self, words: RuleWording) -> str:
        return words.texts(mark("转交人工") if self.to == "people" else mark("交回值班助手"))


@rule_part
class SendMessageAction(RulePart):
    text: Template
    kind: Literal["send_message"] = "send_message"

    async def run(self, do: ActionContext) -> Outcome:
        if do.actor.kind == "agent" and do.actor.id is not None:
            await replies.reply(
                do.tx,
                do.conversation_id,
                text=filled(self.text, do.facts),
                by=do.actor.id,
                client_key=f"{do.key}-{do.position}",
                limits=do.limits,
                now=do.now,
                cause=do.cause,
            )
            return "queued"
        await replies.send_as_rule(
            do.tx,
            do.conversation_id,
            text=filled(self.text, do.facts),
            by=do.actor,
            key=key_for("rule", do.tx.workspace_id, do.key, do.position),
            limits=do.limits,
            now=do.now,
            cause=do.cause,
        )
        return "queued"

    def label(self, words: RuleWording) -> str:
        return words.texts("发消息{text}", text=words.quoted((self.text,)))


@rule_part
class AddNoteAction(RulePart):
    text: Template
    kind: Literal["add_note"] = "add_note"

    async def run(self, do: ActionContext) -> Outcome:
        text = filled(self.text, do.facts)
        await replies.add_note(do.tx, do.conversation_id, text=text, by=do.actor, now=do.now, cause=do.cause)
        return "done"

    def label(self, words: RuleWording) -> str:
        return words.texts("写备注{text}", text=words.quoted((self.text,)))


@rule_part
class NotifyAction(RulePart):
    """Tells whoever is told of handoffs in this inbox: the addresses of installation and inbox, and cards."""

    text: Template
    kind: Literal["notify"] = "notify"

    async def run(self, do: ActionContext) -> Outcome:
        name = do.facts.contact.name
        title, text = rule_notice(rule=do.name, contact_name=name, text=filled(self.text, do.facts))
        key = f"{do.key}-{do.position}"
        await enqueue(do.tx, to_people(do.conversation_id, key=key, title=title, text=text))
        return "queued"

    def label(self, words: RuleWording) -> str:
        return words.texts("通知同事{text}", text=words.quoted((self.text,)))


@rule_part
class NotifyAgentsAction(RulePart):
    """Tells single colleagues, in the ways that each of them chose; who does not see the inbox is not told."""

    text: Template
    to: Literal["assignee", "team", "agents", "teams"] = "assignee"
    agents: Ids = ()
    teams: Ids = ()
    kind: Literal["notify_agents"] = "notify_agents"

    def __post_init__(self) -> None:
        if (self.to == "agents" and not self.agents) or (self.to == "teams" and not self.teams):
            raise ValueError(mark("It does not say whom to tell."))

    async def run(self, do: ActionContext) -> Outcome:
        told = await notify(
            do.tx,
            NewNotification(
                kind=NotificationKind.RULE,
                # A macro may run twice under no key.
                key=f"{do.key}-{do.conversation_id}-{do.position}" + ("" if do.run_id else f"-{do.now.isoformat()}"),
                conversation_id=do.conversation_id,
                inbox_id=do.facts.state.inbox_id,
                actor=do.actor,
                text=filled(self.text, do.facts),
            ),
            await self._whom(do),
            now=do.now,
        )
        return "done" if told else "nobody"

    async def _whom(self, do: ActionContext) -> list[int]:
        state = do.facts.state
        match self.to:
            case "assignee":
                return [] if state.assignee_id is None else [state.assignee_id]
            case "team":
                return await members_of(do.tx, [] if state.team_id is None else [state.team_id])
            case "agents":
                return list(self.agents)
            case "teams":
                return await members_of(do.tx, self.teams)

    def label(self, words: RuleWording) -> str:
        match self.to:
            case "assignee":
                who = words.texts("处理人")
            case "team":
                who = words.texts("会话的小组")
            case "agents":
                who = words.every(words.agents((one,)) for one in self.agents)
            case "teams":
                who = words.every(words.teams((one,)) for one in self.teams)
        return words.texts("提醒{who}{text}", who=words.inside(who), text=words.quoted((self.text,)))


@rule_part
class AssignMeAction(RulePart):
    """To whoever runs the macro. Rules have nobody who could be meant."""

    kind: Literal["assign_me"] = "assign_me"

    async def run(self, do: ActionContext) -> Outcome:
        if do.actor.kind != "agent" or do.actor.id is None:
            raise Conflict("Nobody runs this by hand, so there is nobody to give it to.")
        return _outcome(await service.take(do.tx, do.conversation_id, by=do.actor.id, now=do.now, cause=do.cause))

    def label(self, words: RuleWording) -> str:
        return words.texts("分配给自己")


@rule_part
class StopAction(RulePart):
    """Neither the actions after this one nor the rules after this rule are done for what has happened."""

    kind: Literal["stop"] = "stop"

    async def run(self, do: ActionContext) -> Outcome:  # noqa: ARG002 - the engine stops
        return "done"

    def label(self, words: RuleWording) -> str:
        return words.texts("不再看后面的规则")


SharedAction = (
    AssignAgentAction
    | AssignBestAction
    | AssignLastAgentAction
    | UnassignAction
    | AssignTeamAction
    | RemoveTeamAction
    | AddLabelsAction
    | RemoveLabelsAction
    | SetStatusAction
    | SetPriorityAction
    | SetAttributeAction
    | SnoozeAction
    | MuteAction
    | HandOffAction
    | SendMessageAction
    | AddNoteAction
    | NotifyAction
    | NotifyAgentsAction
    | AddFollowersAction
    | MailTranscriptAction
)
AnyAction = SharedAction | CallWebhookAction | StopAction
Action = Annotated[AnyAction, Discriminator("kind")]
AnyMacroAction = AssignMeAction | SharedAction
MacroAction = Annotated[AnyMacroAction, Discriminator("kind")]
ACTIONS: dict[str, type[AnyAction]] = {one.__dataclass_fields__["kind"].default: one for one in get_args(AnyAction)}
MACRO_ACTIONS: dict[str, type[AnyMacroAction]] = {
    one.__dataclass_fields__["kind"].default: one for one in get_args(AnyMacroAction)
}
