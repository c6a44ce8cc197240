"""What a rule or a macro may say, and to whom: the contact or colleagues. Part of `actions`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from zhiban.automation.action_context import ActionContext, ActionOutcome
from zhiban.automation.condition_fields import Ids
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.texts import Template, filled
from zhiban.automation.wording import RuleWording
from zhiban.conversations import replies
from zhiban.conversations.draft_files import DraftFile
from zhiban.conversations.outbox import key_for
from zhiban.kit.i18n import mark
from zhiban.kit.jobs import enqueue
from zhiban.notifications.jobs import to_people
from zhiban.notifications.models import NotificationKind
from zhiban.notifications.notices import rule_notice
from zhiban.notifications.service import NewNotification, notify
from zhiban.people.teams import members_of


async def say_to_contact(do: ActionContext, template: str, files: Sequence[DraftFile] = ()) -> ActionOutcome:
    """Send these words and files once: as the agent's own where one acts, else as the rule's or the flow's."""
    text = filled(template, do.facts)
    if do.actor.kind == "agent" and do.actor.id is not None:
        await replies.reply(
            do.tx,
            do.conversation_id,
            text=text,
            attached=files,
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
        text=text,
        files=files,
        by=do.actor,
        key=key_for("rule", do.tx.workspace_id, do.key, do.position),
        limits=do.limits,
        now=do.now,
        cause=do.cause,
    )
    return "queued"


@rule_part
class SendMessageAction(RulePart):
    text: Template
    kind: Literal["send_message"] = "send_message"

    async def run(self, do: ActionContext) -> ActionOutcome:
        return await say_to_contact(do, self.text)

    def label(self, words: RuleWording) -> str:
        return words.texts("发消息{text}", text=words.quoted((self.text,)))


@rule_part
class AddNoteAction(RulePart):
    text: Template
    kind: Literal["add_note"] = "add_note"

    async def run(self, do: ActionContext) -> ActionOutcome:
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

    async def run(self, do: ActionContext) -> ActionOutcome:
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

    async def run(self, do: ActionContext) -> ActionOutcome:
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
