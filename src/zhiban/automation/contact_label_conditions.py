"""What a rule may ask of the labels of a contact, which are read only where one asks."""

from __future__ import annotations

from typing import Literal

from zhiban.automation.change_conditions import LabelsMoved
from zhiban.automation.condition_fields import IS_LABELS, Bind, Ids, check_wanted, said_of
from zhiban.automation.facts import RuleFacts
from zhiban.automation.operators import CannotTell, ChoiceOperator, choice_holds
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.wording import RuleWording
from zhiban.conversations.contact_labels import is_labelled_sql
from zhiban.events import ContactLabelsChanged
from zhiban.kit.i18n import mark


@rule_part
class ContactLabelCondition(RulePart):
    """A group has no contact, and therefore no label of one."""

    operator: ChoiceOperator = "any_of"
    labels: Ids = ()
    kind: Literal["contact_label"] = "contact_label"

    def __post_init__(self) -> None:
        check_wanted(self.operator, self.labels)

    def holds(self, facts: RuleFacts) -> bool:
        if facts.contact_labels is None:
            raise CannotTell("Nobody has looked up the labels of the contact.")
        return choice_holds(self.operator, self.labels, facts.contact_labels)

    def sql(self, bind: Bind) -> str:
        named = self.operator in ("any_of", "none_of")
        found = is_labelled_sql(f"{bind(list(self.labels))}::bigint[]" if named else None)
        return f"not {found}" if self.operator in ("none_of", "not_present") else found

    def seen(self, facts: RuleFacts) -> object:
        return list(facts.contact_labels or ())

    def label(self, words: RuleWording) -> str:
        said = {**IS_LABELS, "any_of": mark("{what}包含{value}"), "none_of": mark("{what}不包含{value}")}
        return said_of(words, said, self.operator, mark("联系人的标签"), words.labels(self.labels))


@rule_part
class ContactLabelChangeCondition(LabelsMoved):
    """One of these labels (no labels: any) has just been put on the contact, or taken off."""

    kind: Literal["contact_label_changed"] = "contact_label_changed"

    fact = ContactLabelsChanged

    def label(self, words: RuleWording) -> str:
        said = mark("给联系人加上了标签{value}") if self.change == "added" else mark("去掉了联系人的标签{value}")
        return words.texts(said, value=words.labels(self.labels))
