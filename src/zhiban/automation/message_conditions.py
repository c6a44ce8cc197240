"""What a rule may ask of the message that was written just now, and of who wrote to us."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zhiban.assistant.intents import is_upset, is_urgent
from zhiban.automation.condition_fields import (
    AUTHORS,
    IS_LABELS,
    LANGUAGES,
    MESSAGE_KINDS,
    Bind,
    Language,
    MessageAuthor,
    MessageKind,
    Name,
    WordList,
    check_wanted,
    said_of,
    value_of,
    value_sql,
)
from zhiban.automation.facts import RuleFacts
from zhiban.automation.operators import (
    TextOperator,
    ValueOperator,
    check_pattern,
    choice_holds,
    language_of,
    text_holds,
    value_holds,
)
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.wording import RuleWording
from zhiban.kit.i18n import mark


@rule_part
class ContactNameCondition(RulePart):
    operator: TextOperator = "contains"
    values: WordList = ()
    kind: Literal["contact_name"] = "contact_name"

    def __post_init__(self) -> None:
        check_wanted(self.operator, self.values)

    def holds(self, facts: RuleFacts) -> bool:
        return text_holds(self.operator, self.values, facts.contact.name)

    def seen(self, facts: RuleFacts) -> object:
        return facts.contact.name

    def label(self, words: RuleWording) -> str:
        return value_of(words, self.operator, words.texts("联系人的名字"), self.values)


@rule_part
class ContactAttributeCondition(RulePart):
    """What the vendor told of the contact or people of ours added: phone, email, version …"""

    name: Name
    operator: ValueOperator = "equal"
    values: WordList = ()
    kind: Literal["contact_attribute"] = "contact_attribute"

    def __post_init__(self) -> None:
        check_wanted(self.operator, self.values)

    def holds(self, facts: RuleFacts) -> bool:
        return value_holds(self.operator, self.values, self.seen(facts), now=facts.now)

    def sql(self, bind: Bind) -> str:
        value = f"(p.attributes ->> {bind(self.name)}::text)"  # `p`: whom the row of a list is with
        return value_sql(self.operator, value, self.values, bind)

    def seen(self, facts: RuleFacts) -> object:
        return (facts.contact.attributes or {}).get(self.name)

    def label(self, words: RuleWording) -> str:
        return value_of(
            words, self.operator, words.texts("联系人的“{name}”", name=words.contact_field(self.name)), self.values
        )


@rule_part
class MessageTextCondition(RulePart):
    operator: TextOperator = "contains"
    values: WordList = ()
    kind: Literal["message_text"] = "message_text"

    def __post_init__(self) -> None:
        check_wanted(self.operator, self.values)
        if self.operator == "matches":
            for one in self.values:
                check_pattern(one)

    def holds(self, facts: RuleFacts) -> bool:
        return facts.message is not None and text_holds(self.operator, self.values, facts.message.text)

    def seen(self, facts: RuleFacts) -> object:
        return facts.message.text[:200] if facts.message else None

    def label(self, words: RuleWording) -> str:
        return value_of(words, self.operator, words.texts("消息"), self.values)


@rule_part
class MessageKindCondition(RulePart):
    kinds: Annotated[tuple[MessageKind, ...], Field(min_length=1, max_length=20)]
    operator: Literal["any_of", "none_of"] = "any_of"
    kind: Literal["message_kind"] = "message_kind"

    def holds(self, facts: RuleFacts) -> bool:
        return facts.message is not None and choice_holds(self.operator, self.kinds, (facts.message.kind,))

    def seen(self, facts: RuleFacts) -> object:
        return facts.message.kind if facts.message else None

    def label(self, words: RuleWording) -> str:
        named = words.either(words.texts(MESSAGE_KINDS[one]) for one in self.kinds)
        return said_of(words, IS_LABELS, self.operator, mark("消息的类型"), named)


@rule_part
class MessageDirectionCondition(RulePart):
    direction: Literal["in", "out", "note"]
    kind: Literal["message_direction"] = "message_direction"

    def holds(self, facts: RuleFacts) -> bool:
        return self.seen(facts) == self.direction

    def seen(self, facts: RuleFacts) -> object:
        if facts.message is None:
            return None
        return "note" if facts.message.direction == "internal" else facts.message.direction

    def label(self, words: RuleWording) -> str:
        said = {"in": mark("消息是对方发来的"), "out": mark("消息是我们发出的"), "note": mark("消息是备注")}
        return words.texts(said[self.direction])


@rule_part
class MessageAuthorCondition(RulePart):
    authors: Annotated[tuple[MessageAuthor, ...], Field(min_length=1, max_length=10)]
    operator: Literal["any_of", "none_of"] = "any_of"
    kind: Literal["message_author"] = "message_author"

    def holds(self, facts: RuleFacts) -> bool:
        return facts.message is not None and choice_holds(self.operator, self.authors, (facts.message.author,))

    def seen(self, facts: RuleFacts) -> object:
        return facts.message.author if facts.message else None

    def label(self, words: RuleWording) -> str:
        named = words.either(words.texts(AUTHORS[one]) for one in self.authors)
        return said_of(words, IS_LABELS, self.operator, mark("发消息的人"), named)


@rule_part
class MessageLanguageCondition(RulePart):
    languages: Annotated[tuple[Language, ...], Field(min_length=1, max_length=5)]
    operator: Literal["any_of", "none_of"] = "any_of"
    kind: Literal["message_language"] = "message_language"

    def holds(self, facts: RuleFacts) -> bool:
        return facts.message is not None and choice_holds(self.operator, self.languages, (self.seen(facts),))

    def seen(self, facts: RuleFacts) -> object:
        return language_of(facts.message.text) if facts.message else None

    def label(self, words: RuleWording) -> str:
        named = words.either(words.texts(LANGUAGES[one]) for one in self.languages)
        return said_of(words, IS_LABELS, self.operator, mark("消息的语言"), named)


@rule_part
class MessageSentimentCondition(RulePart):
    """What the contact's words sound like: angry or dissatisfied, or in a hurry. Ours have none."""

    sentiment: Literal["negative", "urgent"] = "negative"
    kind: Literal["message_sentiment"] = "message_sentiment"

    def holds(self, facts: RuleFacts) -> bool:
        message = facts.message
        if message is None or message.direction != "in":
            return False
        return is_urgent(message.text) if self.sentiment == "urgent" else is_upset(message.text)

    def seen(self, facts: RuleFacts) -> object:
        return facts.message.text[:200] if facts.message else None

    def label(self, words: RuleWording) -> str:
        return words.texts(mark("对方说得很急") if self.sentiment == "urgent" else mark("对方情绪不好"))
