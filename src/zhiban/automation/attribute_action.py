"""What a rule or a macro may fill in of a conversation. Part of `actions`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zhiban.automation.action_context import ActionContext, ActionOutcome
from zhiban.automation.condition_fields import Name
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.wording import RuleWording
from zhiban.conversations.attributes import set_attributes
from zhiban.kit.i18n import mark


@rule_part
class SetAttributeAction(RulePart):
    """Fills in one field of the conversation; without a value it takes away what stood there."""

    name: Name
    value: Annotated[str, Field(max_length=500)] = ""
    kind: Literal["set_attribute"] = "set_attribute"

    async def run(self, do: ActionContext) -> ActionOutcome:
        values = {self.name: self.value}
        applied = await set_attributes(do.tx, do.conversation_id, values, by=do.actor, now=do.now, cause=do.cause)
        return "done" if applied.changed else "unchanged"

    def label(self, words: RuleWording) -> str:
        said = mark("把会话的“{name}”填为{value}") if self.value else mark("清空会话的“{name}”")
        return words.texts(said, name=words.conversation_field(self.name), value=words.quoted((self.value,)))
