"""What a rule may ask of the conversation as it is now."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zhiban.automation.condition_fields import (
    IS_LABELS,
    NUMBER_SIGNS,
    OPERATOR_LABELS,
    Bind,
    Ids,
    Name,
    PriorityNumber,
    Statuses,
    WordList,
    check_wanted,
    choice_sql,
    one_or_none,
    said_of,
    value_of,
    value_sql,
)
from zhiban.automation.facts import RuleFacts
from zhiban.automation.operators import (
    ChoiceOperator,
    NumberOperator,
    ValueOperator,
    choice_holds,
    number_holds,
    value_holds,
)
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.wording import RuleWording
from zhiban.channels.inboxes import inboxes_of_kinds_sql
from zhiban.kit.i18n import mark


@rule_part
class StatusCondition(RulePart):
    statuses: Statuses
    operator: Literal["any_of", "none_of"] = "any_of"
    kind: Literal["status"] = "status"

    def __post_init__(self) -> None:
        check_wanted(self.operator, self.statuses)

    def holds(self, facts: RuleFacts) -> bool:
        return choice_holds(self.operator, self.statuses, (facts.state.status.value,))

    def seen(self, facts: RuleFacts) -> object:
        return facts.state.status.value

    def label(self, words: RuleWording) -> str:
        return said_of(words, IS_LABELS, self.operator, mark("会话状态"), words.statuses(self.statuses))


@rule_part
class AssigneeCondition(RulePart):
    operator: ChoiceOperator = "present"
    agents: Ids = ()
    kind: Literal["assignee"] = "assignee"

    def __post_init__(self) -> None:
        check_wanted(self.operator, self.agents)

    def holds(self, facts: RuleFacts) -> bool:
        return choice_holds(self.operator, self.agents, one_or_none(facts.state.assignee_id))

    def sql(self, bind: Bind) -> str:
        return choice_sql(self.operator, "c.assignee_id", self.agents, bind)

    def seen(self, facts: RuleFacts) -> object:
        return facts.state.assignee_id

    def label(self, words: RuleWording) -> str:
        return said_of(words, IS_LABELS, self.operator, mark("处理人"), words.agents(self.agents))


@rule_part
class TeamCondition(RulePart):
    operator: ChoiceOperator = "present"
    teams: Ids = ()
    kind: Literal["team"] = "team"

    def __post_init__(self) -> None:
        check_wanted(self.operator, self.teams)

    def holds(self, facts: RuleFacts) -> bool:
        return choice_holds(self.operator, self.teams, one_or_none(facts.state.team_id))

    def sql(self, bind: Bind) -> str:
        return choice_sql(self.operator, "c.team_id", self.teams, bind)

    def seen(self, facts: RuleFacts) -> object:
        return facts.state.team_id

    def label(self, words: RuleWording) -> str:
        return said_of(words, IS_LABELS, self.operator, mark("小组"), words.teams(self.teams))


@rule_part
class InboxCondition(RulePart):
    inboxes: Ids
    operator: Literal["any_of", "none_of"] = "any_of"
    kind: Literal["inbox"] = "inbox"

    def __post_init__(self) -> None:
        check_wanted(self.operator, self.inboxes)

    def holds(self, facts: RuleFacts) -> bool:
        return choice_holds(self.operator, self.inboxes, (facts.state.inbox_id,))

    def sql(self, bind: Bind) -> str:
        return choice_sql(self.operator, "c.inbox_id", self.inboxes, bind)

    def seen(self, facts: RuleFacts) -> object:
        return facts.state.inbox_id

    def label(self, words: RuleWording) -> str:
        return said_of(words, IS_LABELS, self.operator, mark("收件箱"), words.inboxes(self.inboxes))


@rule_part
class ChannelCondition(RulePart):
    channels: WordList
    operator: Literal["any_of", "none_of"] = "any_of"
    kind: Literal["channel"] = "channel"

    def __post_init__(self) -> None:
        check_wanted(self.operator, self.channels)

    def holds(self, facts: RuleFacts) -> bool:
        return choice_holds(self.operator, self.channels, (facts.conversation.channel,))

    def seen(self, facts: RuleFacts) -> object:
        return facts.conversation.channel

    def sql(self, bind: Bind) -> str:
        found = "c.inbox_id in " + inboxes_of_kinds_sql(f"{bind(list(self.channels))}::text[]")
        return f"not {found}" if self.operator == "none_of" else found

    def label(self, words: RuleWording) -> str:
        return said_of(words, IS_LABELS, self.operator, mark("渠道"), words.channels(self.channels))


@rule_part
class LabelCondition(RulePart):
    operator: ChoiceOperator = "any_of"
    labels: Ids = ()
    kind: Literal["label"] = "label"

    def __post_init__(self) -> None:
        check_wanted(self.operator, self.labels)

    def holds(self, facts: RuleFacts) -> bool:
        return choice_holds(self.operator, self.labels, facts.state.labels)

    def sql(self, bind: Bind) -> str:
        if self.operator in ("present", "not_present"):
            return "c.labels <> '{}'" if self.operator == "present" else "c.labels = '{}'"
        shared = f"c.labels && {bind(list(self.labels))}::bigint[]"
        return shared if self.operator == "any_of" else f"not {shared}"

    def seen(self, facts: RuleFacts) -> object:
        return list(facts.state.labels)

    def label(self, words: RuleWording) -> str:
        said = {**IS_LABELS, "any_of": mark("{what}包含{value}"), "none_of": mark("{what}不包含{value}")}
        return said_of(words, said, self.operator, mark("会话的标签"), words.labels(self.labels))


@rule_part
class PriorityCondition(RulePart):
    priority: PriorityNumber
    operator: NumberOperator = "equal"
    kind: Literal["priority"] = "priority"

    def holds(self, facts: RuleFacts) -> bool:
        return number_holds(self.operator, self.priority, facts.state.priority)

    def sql(self, bind: Bind) -> str:
        return f"c.priority {NUMBER_SIGNS[self.operator]} {bind(self.priority)}"

    def seen(self, facts: RuleFacts) -> object:
        return int(facts.state.priority)

    def label(self, words: RuleWording) -> str:
        return said_of(words, OPERATOR_LABELS, self.operator, mark("优先级"), words.priority(self.priority))


@rule_part
class WaitingCondition(RulePart):
    """How long the contact has waited for a reply; who does not wait fulfils none of these."""

    minutes: Annotated[float, Field(ge=0, le=100_000)]
    operator: NumberOperator = "at_least"
    kind: Literal["waiting"] = "waiting"

    def holds(self, facts: RuleFacts) -> bool:
        waited = facts.minutes_waited
        return waited is not None and number_holds(self.operator, self.minutes, waited)

    def sql(self, bind: Bind) -> str:
        # Who waits for longer has waited since an earlier moment.
        since = f"%(now)s::timestamptz - {bind(self.minutes)}::float8 * interval '1 minute'"
        return f"coalesce({since} {NUMBER_SIGNS[self.operator]} c.waiting_since, false)"

    def seen(self, facts: RuleFacts) -> object:
        waited = facts.minutes_waited
        return None if waited is None else round(waited, 1)

    def label(self, words: RuleWording) -> str:
        return said_of(words, OPERATOR_LABELS, self.operator, mark("等待分钟数"), f"{self.minutes:g}")


@rule_part
class ReturningCondition(RulePart):
    """The contact came back after the conversation had been resolved."""

    returning: bool = True
    kind: Literal["returning"] = "returning"

    def holds(self, facts: RuleFacts) -> bool:
        return (facts.state.cycle > 1) is self.returning

    def sql(self, bind: Bind) -> str:  # noqa: ARG002 - nothing to bind
        return "c.cycle > 1" if self.returning else "c.cycle <= 1"

    def seen(self, facts: RuleFacts) -> object:
        return facts.state.cycle

    def label(self, words: RuleWording) -> str:
        return words.texts(mark("对方是再次来访") if self.returning else mark("对方是第一次来访"))


@rule_part
class BusinessHoursCondition(RulePart):
    inside: bool = True
    kind: Literal["business_hours"] = "business_hours"

    def holds(self, facts: RuleFacts) -> bool:
        return facts.in_business_hours is self.inside

    def seen(self, facts: RuleFacts) -> object:
        return facts.in_business_hours

    def label(self, words: RuleWording) -> str:
        return words.texts(mark("在营业时间内") if self.inside else mark("不在营业时间"))


@rule_part
class AttributeCondition(RulePart):
    """A custom attribute of the conversation."""

    name: Name
    operator: ValueOperator = "equal"
    values: WordList = ()
    kind: Literal["attribute"] = "attribute"

    def __post_init__(self) -> None:
        check_wanted(self.operator, self.values)

    def holds(self, facts: RuleFacts) -> bool:
        return value_holds(self.operator, self.values, facts.conversation.attributes.get(self.name), now=facts.now)

    def sql(self, bind: Bind) -> str:
        return value_sql(self.operator, f"c.attributes ->> {bind(self.name)}::text", self.values, bind)

    def seen(self, facts: RuleFacts) -> object:
        return facts.conversation.attributes.get(self.name)

    def label(self, words: RuleWording) -> str:
        return value_of(
            words, self.operator, words.texts("会话的“{name}”", name=words.conversation_field(self.name)), self.values
        )
