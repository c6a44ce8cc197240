"""How a rule or a macro starts a flow. Part of `actions`."""

from __future__ import annotations

from typing import Literal

from zhiban.automation import flow_asking
from zhiban.automation.action_context import ActionContext, ActionOutcome
from zhiban.automation.condition_fields import DatabaseId
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.wording import RuleWording
from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import mark


@rule_part
class StartFlowAction(RulePart):
    """Lets a flow talk with the contact. One that is running goes on undisturbed."""

    flow: DatabaseId
    kind: Literal["start_flow"] = "start_flow"

    async def run(self, do: ActionContext) -> ActionOutcome:
        by_hand = do.actor.kind == "agent"
        if do.facts.state.flow_run_id is not None and not by_hand:
            return "unchanged"
        led_here = do.facts.event.cause if do.facts.event is not None else None
        if led_here is not None and (led_here.kind, led_here.id) == ("flow", self.flow):
            raise Conflict(mark("What led here is this flow itself; it does not start itself again."))
        await flow_asking.start(
            do.tx, self.flow, do.conversation_id, by=do.actor, now=do.now, cause=do.cause, limits=do.limits
        )
        return "queued"

    def label(self, words: RuleWording) -> str:
        return words.texts("开始流程{flow}", flow=words.flow(self.flow))
