"""What a rule or a macro may do about who follows a conversation. Part of `actions`."""

from __future__ import annotations

from typing import Literal

from zhiban.automation.action_context import ActionContext, ActionOutcome
from zhiban.automation.condition_fields import Ids
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.wording import RuleWording
from zhiban.conversations.followers import add_followers
from zhiban.kit.i18n import mark


@rule_part
class AddFollowersAction(RulePart):
    """Lets colleagues follow the conversation; who does already, goes on."""

    agents: Ids = ()
    kind: Literal["add_followers"] = "add_followers"

    def __post_init__(self) -> None:
        if not self.agents:
            raise ValueError(mark("It does not say who is to follow."))

    async def run(self, do: ActionContext) -> ActionOutcome:
        added = await add_followers(do.tx, do.conversation_id, self.agents, by=do.actor, now=do.now, cause=do.cause)
        return "done" if added else "unchanged"

    def label(self, words: RuleWording) -> str:
        return words.texts("让{who}关注", who=words.every(words.agents((one,)) for one in self.agents))
