"""What members of a group say to us, and our few words to them. Pure."""

from __future__ import annotations

import re
from enum import StrEnum

from zhiban.assistant import intents
from zhiban.conversations.group_policy import Consent, GroupAnswers, GroupPolicy

LONGEST_QUESTION = 300  # characters; what is longer in a group is no question to a machine

# A name after an @ ends at a blank; WeChat puts one of its own (U+2005) there.
_NAMED = re.compile(r"@[^\s@\u2005]{1,40}[\s\u2005]*")
_HELP = re.compile(
    r"(?:帮助|使用说明|怎么用你?|你(?:能|会|可以)(?:做|干)?(?:什么|些什么|啥)|有什么功能|help|\?|？)[?？。!！]*",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"[?？]|怎么|怎样|咋|如何|为什么|为啥|哪[里儿个些种]|在哪|多少|多久|几[个天次点时]|什么|啥|谁|是否|是不是|能不能|可不可以|可以.{0,20}吗|能.{0,20}吗|有没有"
    r"|吗$|请问|请教|求助|\b(?:how|what|why|where|when|which|who|can|could|does|do|is there|are there|any)\b",
    re.IGNORECASE,
)
_WRONG = re.compile(
    r"(?:你|您|这|机器人|助手)?(?:回?答|说|讲|搞|弄)?(?:的)?(?:不对|错了|有误|错误|不是这样的?)[啊呀吧了哦]*[。.!！~～]*"
)
_NO = r"(?:不要|别|不想|不希望|不同意|不允许|请勿|停止|禁止)(?:让你|你|被|再|继续)*"
_YES = r"(?:可以|允许|同意|恢复|继续|重新)(?:你|再|继续|重新)*"
_KEEP, _QUOTE = r"(?:保存|存储|存|记录|留存|收集)", r"(?:引用|转发|摘录|转载)"
_MINE = r"(?:我|我的|我说的)(?:消息|发言|聊天记录|话|内容)?"


class ConsentWish(StrEnum):
    """What a member says may be kept of what they write."""

    DO_NOT_STORE = "do_not_store"
    DO_NOT_QUOTE = "do_not_quote"
    STORE = "store"
    QUOTE = "quote"


_WISHES = {
    ConsentWish.DO_NOT_STORE: re.compile(
        rf"{_NO}{_KEEP}{_MINE}|(?:do not|don't|stop) (?:store|storing|save|saving|keep|keeping) my messages?",
        re.IGNORECASE,
    ),
    ConsentWish.DO_NOT_QUOTE: re.compile(
        rf"{_NO}{_QUOTE}{_MINE}|(?:do not|don't|stop) (?:quote|quoting) me", re.IGNORECASE
    ),
    ConsentWish.STORE: re.compile(
        rf"{_YES}{_KEEP}{_MINE}了?|you (?:may|can) (?:store|save|keep) my messages?", re.IGNORECASE
    ),
    ConsentWish.QUOTE: re.compile(rf"{_YES}{_QUOTE}{_MINE}了?|you (?:may|can) quote me", re.IGNORECASE),
}


def bare(text: str) -> str:
    """The words without those whom they name with @."""
    return " ".join(_NAMED.sub(" ", text).split())


def wants_help(words: str) -> bool:
    """Whether somebody who names us asks what one can say to us; to name us and say nothing is that, too."""
    return not words or _HELP.fullmatch(words) is not None


def wish(words: str) -> ConsentWish | None:
    """What is wished to be kept, None when this is no such wish."""
    said = words.strip("。.!！~～，, ")
    return next((one for one, pattern in _WISHES.items() if pattern.fullmatch(said)), None)


def consent_after(wished: ConsentWish, before: Consent) -> Consent:
    """What may be kept from now on. Who is not stored is not quoted either."""
    match wished:
        case ConsentWish.DO_NOT_STORE:
            return Consent.UNSTORED
        case ConsentWish.DO_NOT_QUOTE:
            return before if before is Consent.UNSTORED else Consent.UNQUOTED
        case ConsentWish.STORE:
            return Consent.ALL
        case ConsentWish.QUOTE:
            return before if before is Consent.UNSTORED else Consent.ALL


def says_wrong(words: str) -> bool:
    """Whether the words say that an answer was wrong, and nothing else."""
    return _WRONG.fullmatch(words) is not None or intents.only_complains(words)


def asks(words: str) -> bool:
    """Whether the words are put as a question, so that it is worth looking whether we know it."""
    return 4 <= len(words) <= LONGEST_QUESTION and _ASKS.search(words) is not None


# ------------------------------------------------------------------------------------------------------ our words


def help_text(policy: GroupPolicy, *, english: bool, also: tuple[str, ...] = (), overhears: bool = True) -> str:
    """What one can say to us in this group; `also` are further lines, of what others do with commands. `overhears`
    tells whether what does not name us reaches us, too."""
    answers = {
        GroupAnswers.NEVER: (
            "这个群里我不回答问题。",
            "I do not answer questions in this group.",
        ),
        GroupAnswers.MENTIONED: (
            "@我提问：我按知识库回答；没把握的，转给同事。",
            "Name me with @ and ask: I answer from the knowledge base, and pass on what I am not sure of.",
        ),
        GroupAnswers.SURE: (
            "提问：很有把握的我会直接回答；@我的问题都会有回应，没把握的转给同事。",
            "Ask: what I know for certain I answer. Name me with @ and you always hear; what I am unsure of I pass on.",
        ),
    }[policy.answers]
    lines = [answers[english]]
    if policy.answers is not GroupAnswers.NEVER:
        lines.append(
            (
                "我答错了，说“不对”：这个回答不再出现在群里。",
                "If I am wrong, say “wrong”: I will not say that here again.",
            )[english]
        )
    lines += also
    if not overhears:
        lines.append(
            (
                "我只看得到@我的消息，和其中引用的消息：别的话要算上，请@我并引用它。",
                "I see only messages that name me, and what those quote: to count anything else, name me and quote it.",
            )[english]
        )
    lines.append(
        (
            "@我说“不要保存我的消息”或“不要引用我”，我就不留您的话；说“可以保存我的消息”“可以引用我”恢复。",
            "Tell me “don't store my messages” or “don't quote me”; “you may store my messages”, “you may quote me” "
            "undo it.",
        )[english]
    )
    head = ("我是这个群的值班助手。", "I am the assistant on duty in this group.")[english]
    return head + "".join(f"\n· {line}" for line in lines)


def consent_text(consent: Consent, *, english: bool) -> str:
    """What a member reads whose wish is kept from now on."""
    match consent:
        case Consent.ALL:
            return (
                "好的，从现在起照常保存和引用您的消息。",
                "All right: what you write is kept and may be quoted again.",
            )[english]
        case Consent.UNQUOTED:
            return (
                "好的，从现在起不会在别处引用您在这个群里的消息。",
                "All right: from now on, what you write in this group is quoted nowhere.",
            )[english]
        case Consent.UNSTORED:
            return (
                "好的，从现在起不保存您在这个群里的消息内容；直接@我说的话除外，不然我没法回答。",
                "All right: from now on, what you write in this group is not kept, except what you say to me with @.",
            )[english]


def wrong_text(*, english: bool) -> str:
    """What who corrected us reads."""
    return (
        "抱歉，我答错了，已经记下；这个回答不会再出现在群里。",
        "Sorry, I was wrong. It is noted, and I will not say that in this group again.",
    )[english]
