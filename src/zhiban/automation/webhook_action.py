"""What a rule may tell other programs. Part of `actions`."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from zhiban.automation.action_context import ActionContext, ActionOutcome
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.rule_webhooks import CALL_WEBHOOK
from zhiban.automation.texts import check_address
from zhiban.automation.wording import RuleWording
from zhiban.kit.errors import Conflict
from zhiban.kit.jobs import enqueue


@rule_part
class CallWebhookAction(RulePart):
    """Tells another program, after the commit; see `automation.rule_webhooks`."""

    url: Annotated[str, Field(min_length=1, max_length=500), AfterValidator(check_address)]
    kind: Literal["call_webhook"] = "call_webhook"

    async def run(self, do: ActionContext) -> ActionOutcome:
        if do.run_id is None:
            raise Conflict("Only rules call other programs.")
        await enqueue(do.tx, CALL_WEBHOOK.of(run_id=do.run_id, position=do.position))
        return "queued"

    def label(self, words: RuleWording) -> str:
        return words.texts("调用{address}", address=urlsplit(self.url).hostname or "")
