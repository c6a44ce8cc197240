"""What to do about what a contact wrote. Pure: facts in, one decision out, nothing touched.

`decide_without_search` decides what needs no search (a person asked for, politeness, a picture); `decide` adds it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

from zhiban.assistant import intents
from zhiban.assistant.intents import SmallTalkKind
from zhiban.assistant.person_requests import asks_for_person
from zhiban.channels.policy import Policy
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge.retrieval import ConfidenceBand
from zhiban.ports import Kind

PERSON_CHOICE = "person"  # id of the menu entry that asks for a person


class HandOffReason(StrEnum):
    ASKED = "asked"  # the contact asked for a person
    WORD = "word"  # a word of the inbox's policy
    UPSET = "upset"
    REPEATED_FAILURE = "repeated_failure"
    NOTHING_FOUND = "nothing_found"
    CANNOT_READ = "cannot_read"  # pictures and the like, again
    ABOUT_ORDER = "about_order"  # an order of the contact's own, which knowledge cannot know
    ALLOWANCE = "allowance"  # only the message for the handoff is left
    NO_ANSWER = "no_answer"  # found something, and no answer could be made of it
    FLOW = "flow"  # a flow came to no end


class NoReplyReason(StrEnum):
    ASSISTANT_OFF = "assistant_off"
    WINDOW_CLOSED = "window_closed"
    ALLOWANCE_USED = "allowance_used"
    NOTHING_SAID = "nothing_said"
    ACKNOWLEDGED = "acknowledged"  # 好的 wants no answer


@frozen_dataclass
class Answer:
    """Write an answer from the passages, which are good enough."""


@frozen_dataclass
class Suggest:
    """Ask which of the best passages was meant."""


@frozen_dataclass
class HandOff:
    """Give the conversation to people. `notice` is what the contact is told; empty: nothing may be sent."""

    reason: HandOffReason
    notice: str
    urgent: bool = False


@frozen_dataclass
class SmallTalk:
    """Answer politeness with politeness."""

    reply: str
    talk: SmallTalkKind


@frozen_dataclass
class AskForText:
    """Tell the contact that this kind of message is not understood, and what helps. Counts as a failure."""

    reply: str
    kind: Kind


@frozen_dataclass
class AskAgain:
    """The last answer did not help; ask for other words. Counts as a failure."""

    reply: str


@frozen_dataclass
class NoReply:
    """Say nothing."""

    reason: NoReplyReason


TurnDecision = Answer | Suggest | HandOff | SmallTalk | AskForText | AskAgain | NoReply


@frozen_dataclass
class Pending:
    """One message that waits for us. `choice` is the id of a menu entry that was tapped."""

    kind: Kind
    text: str = ""
    choice: str | None = None


@frozen_dataclass
class Facts:
    """Everything the decision depends on. `zone` is None until a search was made.

    `failures` counts in a row up to now; `allowance` is how many messages the channel still allows, None without limit.
    """

    pending: tuple[Pending, ...]
    policy: Policy
    zone: ConfidenceBand | None = None
    failures: int = 0
    allowance: int | None = None
    window_open: bool = True
    people_there: bool = True
    person_offered: bool = False  # we have said that 0 leads to a person
    suggestions: int = 0  # how many passages could be suggested

    @property
    def has_room(self) -> bool:
        """Whether something may be said and one message is still left for a handoff."""
        return self.allowance is None or self.allowance > 1


def question_of(pending: tuple[Pending, ...]) -> str:
    """What the contact asks, in one text: the lines that are no small talk, or all of them when all are."""
    lines = [message.text.strip() for message in pending if message.kind in _READABLE and message.text.strip()]
    asking = [line for line in lines if intents.small_talk(line) is None]
    return "\n".join(asking or lines)


def decide(facts: Facts) -> TurnDecision:
    """The decision after a search. Without a zone nothing was found."""
    return decide_without_search(facts) or _by_zone(facts)


def decide_without_search(facts: Facts) -> TurnDecision | None:
    """The decision that needs no search, or None when a search is needed."""
    return _must_stay_quiet(facts) or to_people(facts) or _decide_by_wording(facts)


# ------------------------------------------------------------------------------------------- step by step


def _must_stay_quiet(facts: Facts) -> NoReply | None:
    if not facts.policy.assistant:
        return NoReply(NoReplyReason.ASSISTANT_OFF)
    if not facts.window_open:
        return NoReply(NoReplyReason.WINDOW_CLOSED)
    if not any(message.text.strip() or message.kind not in _READABLE or message.choice for message in facts.pending):
        return NoReply(NoReplyReason.NOTHING_SAID)
    return None


def to_people(facts: Facts) -> HandOff | None:
    """Whether what was said is for people, whatever else it says: they are asked for, or by what the policy says."""
    texts = [message.text for message in facts.pending if message.kind in _READABLE]
    if any(message.choice == PERSON_CHOICE for message in facts.pending):
        return hand_off(facts, HandOffReason.ASKED)
    if any(asks_for_person(text, zero_offered=facts.person_offered) for text in texts):
        return hand_off(facts, HandOffReason.ASKED)
    spoken = "\n".join(texts).casefold()
    if any(word.casefold() in spoken for word in facts.policy.handoff.words):
        return hand_off(facts, HandOffReason.WORD)
    if facts.policy.handoff.when_upset and any(intents.is_upset(text) for text in texts):
        return hand_off(facts, HandOffReason.UPSET)
    if any(message.kind is Kind.ORDER for message in facts.pending):
        return hand_off(facts, HandOffReason.ABOUT_ORDER)
    return None


def _decide_by_wording(facts: Facts) -> TurnDecision | None:
    """Politeness, complaints about the last answer, and messages that are no text."""
    question = question_of(facts.pending)
    if any(message.choice for message in facts.pending):
        return None  # a tapped entry is as good as a question
    if question and intents.says_unhelpful(question):
        return _complained(facts, question)
    if question and intents.small_talk(question) is None:
        return None
    silent = next((message for message in reversed(facts.pending) if message.kind not in _READABLE), None)
    if silent is not None:
        return _failed_again(facts, AskForText(ask_for_text(silent.kind), silent.kind))
    talk = intents.small_talk(question)
    if talk is None:
        return None
    reply = intents.reply_to(talk, question, people_there=facts.people_there)
    if not reply:
        return NoReply(NoReplyReason.ACKNOWLEDGED)
    return SmallTalk(reply, talk) if facts.has_room else NoReply(NoReplyReason.ALLOWANCE_USED)


def _complained(facts: Facts, question: str) -> TurnDecision | None:
    """A complaint alone gets another try; one with a new question is answered while patience lasts."""
    decision = _failed_again(facts, AskAgain(_say(_AGAIN, question)))
    return None if isinstance(decision, AskAgain) and not intents.only_complains(question) else decision


def _failed_again(facts: Facts, milder: AskAgain | AskForText) -> TurnDecision:
    """Ask once more while the policy's patience lasts, then give it to people."""
    if facts.failures + 1 >= facts.policy.handoff.max_failures:
        asked = isinstance(milder, AskAgain)
        return hand_off(facts, HandOffReason.REPEATED_FAILURE if asked else HandOffReason.CANNOT_READ)
    return milder if facts.has_room else hand_off(facts, HandOffReason.ALLOWANCE)


def _by_zone(facts: Facts) -> TurnDecision:
    if not facts.has_room:
        return hand_off(facts, HandOffReason.ALLOWANCE)
    match facts.zone:
        case ConfidenceBand.ANSWER:
            return Answer()
        case ConfidenceBand.SUGGEST if facts.suggestions and facts.failures + 1 < facts.policy.handoff.max_failures:
            return Suggest()
        case ConfidenceBand.SUGGEST:
            reason = HandOffReason.REPEATED_FAILURE if facts.failures else HandOffReason.NOTHING_FOUND
            return hand_off(facts, reason)
        case ConfidenceBand.HANDOFF | None:
            return hand_off(facts, HandOffReason.NOTHING_FOUND)
        case _:
            assert_never(facts.zone)


def hand_off(facts: Facts, reason: HandOffReason) -> HandOff:
    """The handoff with the words that fit the hour; without words when the channel allows no message any more."""
    policy = facts.policy.handoff
    text = policy.text_when_asked if reason is HandOffReason.ASKED else policy.text
    notice = text if facts.people_there else policy.text_out_of_hours
    if facts.allowance is not None and facts.allowance < 1:
        notice = ""
    urgent = any(intents.is_urgent(message.text) or intents.is_upset(message.text) for message in facts.pending)
    return HandOff(reason, notice, urgent)


# ------------------------------------------------------------------------------------------------- words

_READABLE = frozenset((Kind.TEXT, Kind.MENU, Kind.MARKDOWN))

_AGAIN = (
    "抱歉，刚才的回答没有帮到您。请换个说法再说一次，或回复“转人工”联系人工客服。",
    "Sorry, that did not help. Please ask in other words, or reply “human” to reach a person.",
)


def _say(words: tuple[str, str], like: str) -> str:
    return words[1] if intents.is_english(like) else words[0]


_NOT_TEXT = "我暂时只看得懂文字，请用文字描述一下您的问题；需要人工，请回复“转人工”。"
ASK_FOR_TEXT: dict[Kind, str] = {
    Kind.IMAGE: "图片已收到。我暂时看不懂图片，请用文字描述一下您的问题；需要人工查看，请回复“转人工”。",
    Kind.VOICE: "语音已收到。我暂时听不懂语音，请把问题打成文字发给我；不方便打字，请回复“转人工”。",
    Kind.VIDEO: "视频已收到。我暂时看不懂视频，请用文字描述一下您的问题；需要人工查看，请回复“转人工”。",
    Kind.FILE: "文件已收到。我暂时不能打开文件，请用文字说明您的问题；需要人工查看，请回复“转人工”。",
    Kind.LOCATION: "位置已收到。请问您想了解什么，例如附近门店还是配送范围？",
    Kind.LINK: "链接已收到。我不能打开链接，请用文字说明您想问的内容。",
    Kind.CARD: "名片已收到。请问有什么可以帮您？",
    Kind.MINIPROGRAM: "小程序已收到。我不能打开小程序，请用文字说明您想问的内容。",
    Kind.PRODUCT: "商品已收到。请问您想了解这件商品的什么，例如尺码、发货还是售后？",
    Kind.ORDER: "订单已收到，我为您联系人工客服查看。",
    Kind.MERGED: "聊天记录已收到。我暂时看不了合并转发的记录，请把您的问题用文字发给我。",
}


def ask_for_text(kind: Kind) -> str:
    """The reply to a message that the assistant cannot read, fitting its kind."""
    return ASK_FOR_TEXT.get(kind, _NOT_TEXT)
