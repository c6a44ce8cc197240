"""What a rule, a macro or the end of a flow may do. Each action is a small class: its kind, its fields, what it does,
and how it is said.

The union `Action` is the registry, the schema, the validation and the editor's list. `run` calls the verb that people's
buttons call, in the transaction of whatever set the rule off; what goes to somebody outside is a job. It returns what
came of it, and raises Conflict or NotFound, in words, where it cannot be done.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, get_args

from pydantic import Discriminator, Field

from zhiban.automation.action_context import ActionContext, ActionOutcome, outcome_of
from zhiban.automation.assignment_actions import (
    AssignAgentAction,
    AssignBestAction,
    AssignLastAgentAction,
    AssignMeAction,
    AssignTeamAction,
    RemoveTeamAction,
    UnassignAction,
)
from zhiban.automation.attachment_action import SendAttachmentAction
from zhiban.automation.attribute_action import SetAttributeAction
from zhiban.automation.condition_fields import PriorityNumber
from zhiban.automation.contact_label_actions import AddContactLabelsAction, LabelIds, RemoveContactLabelsAction
from zhiban.automation.flow_action import StartFlowAction
from zhiban.automation.follow_action import AddFollowersAction
from zhiban.automation.mail_action import MailTranscriptAction
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.telling_actions import (
    AddNoteAction,
    NotifyAction,
    NotifyAgentsAction,
    SendMessageAction,
)
from zhiban.automation.ticket_action import OpenTicketAction
from zhiban.automation.webhook_action import CallWebhookAction
from zhiban.automation.wording import RuleWording
from zhiban.conversations import service
from zhiban.conversations.labels import check_labels
from zhiban.conversations.models import Priority
from zhiban.kit.i18n import mark


@rule_part
class AddLabelsAction(RulePart):
    labels: LabelIds
    kind: Literal["add_labels"] = "add_labels"

    async def run(self, do: ActionContext) -> ActionOutcome:
        await check_labels(do.tx, self.labels)
        return outcome_of(
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

    async def run(self, do: ActionContext) -> ActionOutcome:
        return outcome_of(
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

    async def run(self, do: ActionContext) -> ActionOutcome:
        if self.status == "resolved":
            changed = await service.resolve(
                do.tx, do.conversation_id, by=do.actor, now=do.now, reason=do.reason, cause=do.cause
            )
            return "done" if changed else "unchanged"
        return outcome_of(
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

    async def run(self, do: ActionContext) -> ActionOutcome:
        return outcome_of(
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

    async def run(self, do: ActionContext) -> ActionOutcome:
        until = do.now + timedelta(minutes=self.minutes)
        return outcome_of(
            await service.snooze(do.tx, do.conversation_id, until=until, by=do.actor, now=do.now, cause=do.cause)
        )

    def label(self, words: RuleWording) -> str:
        return words.texts("搁置{span}", span=words.span(self.minutes))


@rule_part
class MuteAction(RulePart):
    """What the contact writes, wherever they write, is kept and calls nobody."""

    kind: Literal["mute"] = "mute"

    async def run(self, do: ActionContext) -> ActionOutcome:
        await service.block(do.tx, do.conversation_id, by=do.actor, now=do.now, cause=do.cause)
        return "unchanged" if do.facts.state.muted else "done"

    def label(self, words: RuleWording) -> str:
        return words.texts("屏蔽对方")


@rule_part
class HandOffAction(RulePart):
    """To people, or back to the assistant. Who has it already keeps it."""

    to: Literal["people", "assistant"] = "people"
    kind: Literal["hand_off"] = "hand_off"

    async def run(self, do: ActionContext) -> ActionOutcome:
        if self.to == "people":
            handed = await service.hand_off(
                do.tx, do.conversation_id, reason=do.reason, actor=do.actor, now=do.now, cause=do.cause
            )
            return "done" if handed else "unchanged"
        return outcome_of(
            await service.return_to_assistant(do.tx, do.conversation_id, by=do.actor, now=do.now, cause=do.cause)
        )

    def label(self, words: RuleWording) -> str:
        return words.texts(mark("转交人工") if self.to == "people" else mark("交回值班助手"))


@rule_part
class StopAction(RulePart):
    """Neither the actions after this one nor the rules after this rule are done for what has happened."""

    kind: Literal["stop"] = "stop"

    async def run(self, do: ActionContext) -> ActionOutcome:  # noqa: ARG002 - the engine stops
        return "done"

    def label(self, words: RuleWording) -> str:
        return words.texts("不再看后面的规则")


AnyFlowAction = (
    AssignAgentAction
    | AssignBestAction
    | AssignLastAgentAction
    | UnassignAction
    | AssignTeamAction
    | RemoveTeamAction
    | AddLabelsAction
    | RemoveLabelsAction
    | AddContactLabelsAction
    | RemoveContactLabelsAction
    | SetStatusAction
    | SetPriorityAction
    | SetAttributeAction
    | SnoozeAction
    | MuteAction
    | HandOffAction
    | SendMessageAction
    | SendAttachmentAction
    | AddNoteAction
    | NotifyAction
    | NotifyAgentsAction
    | AddFollowersAction
    | MailTranscriptAction
    | OpenTicketAction
)
# What a flow does at its end; that it starts no flow itself keeps contacts from being asked for ever.
FlowAction = Annotated[AnyFlowAction, Discriminator("kind")]
SharedAction = AnyFlowAction | StartFlowAction
AnyAction = SharedAction | CallWebhookAction | StopAction
Action = Annotated[AnyAction, Discriminator("kind")]
AnyMacroAction = AssignMeAction | SharedAction
MacroAction = Annotated[AnyMacroAction, Discriminator("kind")]
ACTIONS: dict[str, type[AnyAction]] = {one.__dataclass_fields__["kind"].default: one for one in get_args(AnyAction)}
MACRO_ACTIONS: dict[str, type[AnyMacroAction]] = {
    one.__dataclass_fields__["kind"].default: one for one in get_args(AnyMacroAction)
}
FLOW_ACTIONS: dict[str, type[AnyFlowAction]] = {
    one.__dataclass_fields__["kind"].default: one for one in get_args(AnyFlowAction)
}
