"""What a rule or a macro may send beside words: files. Part of `actions`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zhiban.automation.action_context import ActionContext, ActionOutcome
from zhiban.automation.condition_fields import DatabaseId
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.telling_actions import say_to_contact
from zhiban.automation.texts import OptionalTemplate
from zhiban.automation.wording import RuleWording
from zhiban.conversations.action_files import files_to_send
from zhiban.conversations.draft_files import MOST_FILES


@rule_part
class SendAttachmentAction(RulePart):
    """Each file is a message of its own, after the words, if there are any. Where the channel does not take one of
    them, nothing is sent."""

    files: Annotated[tuple[DatabaseId, ...], Field(min_length=1, max_length=MOST_FILES)]
    text: OptionalTemplate = ""
    kind: Literal["send_attachment"] = "send_attachment"

    async def run(self, do: ActionContext) -> ActionOutcome:
        files = await files_to_send(do.tx, tuple(dict.fromkeys(self.files)), do.limits)
        return await say_to_contact(do, self.text, files)

    def label(self, words: RuleWording) -> str:
        files = words.files(self.files)
        if self.text:
            return words.texts("发消息{text}，附上{files}", text=words.quoted((self.text,)), files=files)
        return words.texts("发附件{files}", files=files)
