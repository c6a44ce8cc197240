"""What a rule or a macro may do about who has a conversation. Part of `actions`."""

from __future__ import annotations

from typing import Literal

from zhiban.automation.action_context import ActionContext, ActionOutcome, outcome_of
from zhiban.automation.condition_fields import DatabaseId
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.wording import RuleWording
from zhiban.conversations import service
from zhiban.conversations.assignment import assign_best
from zhiban.conversations.facts import previous_assignee
from zhiban.kit.errors import Conflict
from zhiban.people.presence import assignable


@rule_part
class AssignAgentAction(RulePart):
    agent: DatabaseId
    kind: Literal["assign_agent"] = "assign_agent"

    async def run(self, do: ActionContext) -> ActionOutcome:
        return outcome_of(
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

    async def run(self, do: ActionContext) -> ActionOutcome:
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

    async def run(self, do: ActionContext) -> ActionOutcome:
        last = await previous_assignee(do.tx, do.conversation_id, other_than=None)
        there = await assignable(do.tx, now=do.now)
        if last not in {agent.id for agent in there if agent.answers(do.facts.state.inbox_id)}:
            return "nobody"
        return outcome_of(
            await service.assign(
                do.tx, do.conversation_id, to=last, by=do.actor, now=do.now, reason=do.reason, cause=do.cause
            )
        )

    def label(self, words: RuleWording) -> str:
        return words.texts("分配给上一位处理人（在线时）")


@rule_part
class UnassignAction(RulePart):
    kind: Literal["unassign"] = "unassign"

    async def run(self, do: ActionContext) -> ActionOutcome:
        return outcome_of(
            await service.assign(
                do.tx, do.conversation_id, to=None, by=do.actor, now=do.now, reason=do.reason, cause=do.cause
            )
        )

    def label(self, words: RuleWording) -> str:
        return words.texts("取消分配")


@rule_part
class AssignTeamAction(RulePart):
    team: DatabaseId
    kind: Literal["assign_team"] = "assign_team"

    async def run(self, do: ActionContext) -> ActionOutcome:
        return outcome_of(
            await service.assign_team(do.tx, do.conversation_id, to=self.team, by=do.actor, now=do.now, cause=do.cause)
        )

    def label(self, words: RuleWording) -> str:
        return words.texts("交给小组{team}", team=words.teams((self.team,)))


@rule_part
class RemoveTeamAction(RulePart):
    kind: Literal["remove_team"] = "remove_team"

    async def run(self, do: ActionContext) -> ActionOutcome:
        return outcome_of(
            await service.assign_team(do.tx, do.conversation_id, to=None, by=do.actor, now=do.now, cause=do.cause)
        )

    def label(self, words: RuleWording) -> str:
        return words.texts("取消小组")


@rule_part
class AssignMeAction(RulePart):
    """To whoever runs the macro. Rules have nobody who could be meant."""

    kind: Literal["assign_me"] = "assign_me"

    async def run(self, do: ActionContext) -> ActionOutcome:
        if do.actor.kind != "agent" or do.actor.id is None:
            raise Conflict("Nobody runs this by hand, so there is nobody to give it to.")
        return outcome_of(await service.take(do.tx, do.conversation_id, by=do.actor.id, now=do.now, cause=do.cause))

    def label(self, words: RuleWording) -> str:
        return words.texts("分配给自己")
