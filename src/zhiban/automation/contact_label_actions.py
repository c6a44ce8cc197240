"""Labels that a rule or a macro puts on the contact of a conversation. Part of `actions`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zhiban.automation.action_context import ActionContext, ActionOutcome
from zhiban.automation.condition_fields import DatabaseId
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.wording import RuleWording
from zhiban.conversations.contact_labels import label_contact_of

LabelIds = Annotated[tuple[DatabaseId, ...], Field(min_length=1, max_length=50)]


@rule_part
class AddContactLabelsAction(RulePart):
    labels: LabelIds
    kind: Literal["add_contact_labels"] = "add_contact_labels"

    async def run(self, do: ActionContext) -> ActionOutcome:
        changed = await label_contact_of(
            do.tx, do.conversation_id, add=self.labels, by=do.actor, now=do.now, cause=do.cause
        )
        return "done" if changed else "unchanged"

    def label(self, words: RuleWording) -> str:
        return words.texts("给联系人加上标签{labels}", labels=words.labels(self.labels, every=True))


@rule_part
class RemoveContactLabelsAction(RulePart):
    labels: LabelIds
    kind: Literal["remove_contact_labels"] = "remove_contact_labels"

    async def run(self, do: ActionContext) -> ActionOutcome:
        changed = await label_contact_of(
            do.tx, do.conversation_id, remove=self.labels, by=do.actor, now=do.now, cause=do.cause
        )
        return "done" if changed else "unchanged"

    def label(self, words: RuleWording) -> str:
        return words.texts("去掉联系人的标签{labels}", labels=words.labels(self.labels, every=True))
