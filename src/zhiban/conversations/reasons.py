"""Why a conversation changed hands or status: the stable words that events carry, and what people read for them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from zhiban.kit.i18n import mark


class Reason(StrEnum):
    """Every reason word there is. A test compares this list with what the code says."""

    # the assistant gave it to people
    ASKED = "asked"  # the contact wanted a person
    WORD = "word"  # of the inbox's policy
    UPSET = "upset"
    REPEATED_FAILURE = "repeated_failure"
    NOTHING_FOUND = "nothing_found"
    CANNOT_READ = "cannot_read"
    ABOUT_ORDER = "about_order"
    ALLOWANCE = "allowance"
    NO_ANSWER = "no_answer"
    REPLY_FAILED = "reply_failed"
    ERROR = "error"
    URGENT = "urgent"  # raises the priority of what is handed over
    # it came to people, or ended, by itself
    LATE = "late"  # the message came too late for the assistant
    WROTE_AGAIN = "wrote_again"
    ASSISTANT_OFF = "assistant_off"
    NATIVE = "native"  # people took it, or ended it, in the vendor's own client
    SNOOZE_OVER = "snooze_over"
    IDLE = "idle"  # nobody wrote for the time of the policy
    MUTED = "muted"
    AGENT_DISABLED = "agent_disabled"
    AGENT_OFFLINE = "agent_offline"
    ACCESS_CHANGED = "access_changed"
    # a policy chose the agent
    BALANCED = "balanced"
    ROUND_ROBIN = "round_robin"
    # an agent did it, or it follows from what they did
    TAKEN = "taken"
    REPLIED = "replied"
    REOPENED = "reopened"
    RETURNED = "returned"
    AGENT = "agent"  # resolved by hand
    RULE = "rule"  # the line names the rule
    FLOW = "flow"  # it has asked, or came to no end
    MACRO = "macro"  # the line above names the macro
    UNDO = "undo"


# What the line in the thread, or the one beside it, says already.
UNSAID = frozenset(
    {
        Reason.TAKEN,
        Reason.REPLIED,
        Reason.REOPENED,
        Reason.RETURNED,
        Reason.AGENT,
        Reason.RULE,
        Reason.MACRO,
        Reason.UNDO,
        Reason.URGENT,
    }
)

# What a notice says, beside which no line stands that names it.
_HANDED_OVER: Mapping[str, str] = {
    Reason.RULE: mark("规则转来的"),
    Reason.MACRO: mark("宏转来的"),
}

REASON_LABELS: Mapping[str, str] = {
    Reason.ASKED: mark("对方要求人工"),
    Reason.WORD: mark("说到了要转人工的词"),
    Reason.UPSET: mark("对方不满意"),
    Reason.REPEATED_FAILURE: mark("连续没有答上"),
    Reason.NOTHING_FOUND: mark("知识里没有答案"),
    Reason.CANNOT_READ: mark("助手看不懂这类消息"),
    Reason.ABOUT_ORDER: mark("问的是自己的订单"),
    Reason.ALLOWANCE: mark("只剩一条可发"),
    Reason.NO_ANSWER: mark("没有写出可靠的回答"),
    Reason.FLOW: mark("流程转来的"),
    Reason.REPLY_FAILED: mark("回复没有送达"),
    Reason.ERROR: mark("助手出错"),
    Reason.LATE: mark("消息到得太晚"),
    Reason.WROTE_AGAIN: mark("对方又来消息"),
    Reason.ASSISTANT_OFF: mark("助手已关闭"),
    Reason.NATIVE: mark("同事在平台的客户端里接待"),
    Reason.SNOOZE_OVER: mark("搁置的时间到了"),
    Reason.IDLE: mark("长时间没有新消息"),
    Reason.MUTED: mark("对方已被屏蔽"),
    Reason.AGENT_DISABLED: mark("这位同事已停用"),
    Reason.AGENT_OFFLINE: mark("这位同事离线了，对方还在等"),
    Reason.ACCESS_CHANGED: mark("这位同事不再负责这个收件箱"),
    Reason.BALANCED: mark("在线且手上最少"),
    Reason.ROUND_ROBIN: mark("在线且轮到"),
}


def handoff_words(reason: str) -> str:
    """Why somebody waits for a person, as a translatable text for whoever has no thread before them; "" if unknown."""
    return _HANDED_OVER.get(reason) or REASON_LABELS.get(reason, "")
