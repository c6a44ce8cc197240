"""What a rule or a macro may send by mail: the conversation. Part of `actions`."""

from __future__ import annotations

from typing import Literal

from zhiban.automation.action_context import ActionContext, ActionOutcome
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.wording import RuleWording
from zhiban.conversations.transcript_mails import contact_address, mail_transcript
from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import mark
from zhiban.people.workspaces import workspace_locale
from zhiban.ports.mail import mail_address


@rule_part
class MailTranscriptAction(RulePart):
    """Sends what was said to the contact, or to an address, after the commit; see `conversations.transcript_mails`."""

    to: Literal["contact", "address"] = "contact"
    address: str = ""
    kind: Literal["mail_transcript"] = "mail_transcript"

    def __post_init__(self) -> None:
        if self.to == "address":
            try:
                mail_address(self.address)
            except Conflict as error:
                raise ValueError(error.sentence) from None

    async def run(self, do: ActionContext) -> ActionOutcome:
        address = self.address if self.to == "address" else await contact_address(do.tx, do.conversation_id)
        if not address:
            raise Conflict(mark("No e-mail address of the contact is known."))
        await mail_transcript(
            do.tx,
            do.conversation_id,
            to=address,
            language=await workspace_locale(do.tx),
            key=_key(do),
            by=do.actor,
            now=do.now,
        )
        return "queued"

    def label(self, words: RuleWording) -> str:
        where = self.address if self.to == "address" else words.texts("联系人的邮箱")
        return words.texts("用邮件把会话记录发到{where}", where=where)


def _key(do: ActionContext) -> str:
    if do.run_id is not None:
        return rule_mail_key(do.run_id, do.position)
    return f"{do.key}-{do.conversation_id}-{do.position}-{do.now.isoformat()}"  # a macro may run twice under no key


def rule_mail_key(run_id: int, position: int) -> str:
    """Under which the action at this place of a rule asked for a mail in this run."""
    return f"rule-{run_id}-{position}"
