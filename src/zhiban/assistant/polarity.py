"""Whether an entry is about something else than what is asked, although it shares its words.

It may tell the opposite – 不想退款了 must not be told how to get a refund – or another side of the subject: who asks
how to do a thing does not ask how long it takes.
"""

from __future__ import annotations

from zhiban.assistant.clauses import clauses
from zhiban.assistant.rewrite import subject_of
from zhiban.kit.patterns import lazy_pattern

# A wish that is denied, with what it is about, up to where another wish begins.
_UNWANTED = lazy_pattern(
    r"(?:不想要?|不要|不用|不需要|不必|无需|不打算|不准备|用不着|甭|别|不愿意?|懒得|免了|先不)(?:再|给我|帮我|去|来|给|办|做|弄|搞)*"
    r"(?P<what>[^的了]{1,12}?)(?=了|的|吧|啦|$|想|要|怎么|咋|如何|可以|能|行)"
)
# Only what contacts do themselves: 机器不工作了 gives nothing up.
_ACTS = "退|换|买|订|约|预约|办|开|改|做|送|修|取消|注销|申请|续|洗|拔|补|种|装|充|学|报名|参加|分期|弄|搞|考虑"
_GIVEN_UP = lazy_pattern(
    rf"(?<!怎么)(?<!为什么)(?<![还咋])不(?:想|用|要|需要)?(?:{_ACTS})[一-鿿]{{0,3}}了(?:吧|啦|谢谢)?$"
    rf"|^[我俺咱]?(?:先|就|暂时|也)*不(?:{_ACTS})(?![到出上动来起成])[一-鿿]{{1,5}}$"
)
_UNDONE = lazy_pattern(
    r"取消|撤销|撤回|撤掉|关闭|关掉|关了|注销|销户|退订|停止|停用|解绑|解除|删除|删掉|屏蔽|收回|作废"
    r"|\b(?:cancel|undo|withdraw|unsubscribe|stop|delete|close|disable)\w*\b"
)
_KEPT = lazy_pattern(
    r"(?:(?<![还能要会])不(?:要|想|用|打算)?|(?<!特)别|甭)(?:再|给我|帮我|把)*(?:取消|撤销|撤回|关闭|注销|退订|停用|解绑|解除|删除)"
)
_FORBIDS = lazy_pattern(r"别|甭")
_NO_WISH = lazy_pattern(
    r"不(?:要)?(?:紧|钱)|不要(?:了|么|吗)?$|不(?:用|要)钱|别(?:的|人)|特别|差别|区别|类别|级别|分别|个别|告别|识别|性别"
)
_A_NOT_A = lazy_pattern(r"(能|可以|可|要|会|是|行|需要|需|用|想|有|让|给)不(?:\1|以)")
# What an ordinary question wants to come about.
_WANTED = lazy_pattern(
    r"申请|开通|打开|开启|绑定|注册|订阅|我?想要?|我?要|怎么办|\b(?:get|apply|open|enable|want|subscribe)\b"
)


def is_denied(text: str) -> bool:
    """Whether the text wants something not to be: it refuses, gives up, cancels or undoes."""
    return any(_denies(clause) for clause in clauses(text))


def _denies(clause: str) -> bool:
    return bool(_UNDONE.search(clause)) or _refuses(clause)


def _refuses(clause: str) -> bool:
    plain = _NO_WISH.sub("", _A_NOT_A.sub(r"\1", clause))
    unwanted = (found["what"] for found in _UNWANTED.finditer(plain))
    return any(subject_of(what) and what not in ("要", "买") for what in unwanted) or bool(_GIVEN_UP.search(plain))


def withdraws(clause: str) -> bool:
    """Whether the clause takes a wish of the contact's own back, as 不用预约了 does, or wants what is to stay.

    别再发短信了 and 取消订单 are wishes."""
    if _KEPT.search(clause):
        return True
    return _refuses(clause) and not _FORBIDS.search(clause) and not _UNDONE.search(clause)


def wishes(clause: str) -> bool:
    """Whether the clause wants something to come about, or something to be undone."""
    rest = _UNWANTED.sub("", _KEPT.sub("", clause))
    return bool(_UNDONE.search(rest) or _WANTED.search(rest))


def opposite(question: str, title: str, phrasing: str | None) -> bool:
    """Whether an entry of this title, found by this phrasing, tells the opposite of what the question wants."""
    denied = is_denied(question)
    entry = is_denied(title) or (phrasing is not None and is_denied(phrasing))
    if any(_KEPT.search(clause) for clause in clauses(question)):
        return is_denied(title)  # 订单不取消了 is not told how to cancel
    if denied:
        return not entry
    return is_denied(title) and not _UNDONE.search("".join(clauses(question))) and bool(_WANTED.search(question))


# The sides of a subject that exclude each other. 怎么还没 asks for none of them.
_ASPECTS = {
    "how": lazy_pattern(
        r"(?:怎么|怎样|如何|咋)(?!还|没|不|这|那|才|就|都|又|会|样|回事|了|算|收|卖)|流程|步骤|\bhow (?:do|can|to)\b"
    ),
    "long": lazy_pattern(r"多久|多长时间|几天|几号|几个月|几年|什么时候|啥时候|啥时|何时|周期|\bhow long\b|\bwhen\b"),
    "price": lazy_pattern(r"多少钱|价格|价钱|贵不贵|怎么收费|怎么卖|收费|花多少|什么价|\bhow much\b"),
    "place": lazy_pattern(r"在哪里?$|地址|什么位置|怎么走|\bwhere is\b"),
}


def other_aspect(question: str, title: str, phrasing: str | None) -> bool:
    """Whether the entry is about another side of its subject than the one question that is asked."""
    asked, told = aspects_of(question), aspects_of(title)
    return len(asked) == 1 and bool(told) and not asked & (told | aspects_of(phrasing or ""))


def undoes(question: str, title: str, phrasing: str | None) -> bool:
    """Whether an entry tells how to undo what the question asks how to do: 怎么预约 is not 怎么取消预约."""
    told = _UNDONE.search(title) and (phrasing is None or _UNDONE.search(phrasing))
    return bool(told) and "how" in aspects_of(question) and not is_denied(question)


def aspects_of(text: str) -> set[str]:
    """Which sides of its subject a text asks for."""
    together = "".join(clauses(text))
    return {name for name, pattern in _ASPECTS.items() if pattern.search(together)}
