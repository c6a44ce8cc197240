"""What somebody says who quotes a message about an issue: 关闭, 重开, 标签 x, 指派 @x, a little picture, or words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.patterns import lazy_pattern
from zhiban.ports import Reaction
from zhiban.tickets.draft_words import PICTURE, without_mentions
from zhiban.tickets.naming import NUMBER

LONGEST = 4000  # characters; whoever has more to say writes it there
MOST_LABELS = 5
MOST_ASSIGNEES = 5


@frozen_dataclass
class CloseIssue:
    """`planned` is false where it is said that nobody will do it."""

    planned: bool = True


@frozen_dataclass
class ReopenIssue:
    pass


@frozen_dataclass
class LabelIssue:
    """`add` is false where these are to be taken away."""

    names: tuple[str, ...]
    add: bool = True


@frozen_dataclass
class AssignIssue:
    """By what they are called in the group, or by their logins; without @."""

    names: tuple[str, ...]


@frozen_dataclass
class React:
    reaction: Reaction


@frozen_dataclass
class UnknownPicture:
    """A little picture that trackers have no reaction for."""


@frozen_dataclass
class SayAtIssue:
    """Anything else, as it was written, without our own name in front."""

    text: str


CardWord = CloseIssue | ReopenIssue | LabelIssue | AssignIssue | React | UnknownPicture | SayAtIssue
Verb = Literal["comment", "close", "reopen", "label", "assign", "react"]

# Which of several issues is meant, before the words.
NUMBERED = re.compile(rf"\A\s*([#!])\s?({NUMBER})(?![0-9A-Za-z])[\s:：,，]*", re.IGNORECASE)

_END = rf"(?:[。.!！~ ]|{PICTURE})*"
_CLOSE = lazy_pattern(
    rf"(?:关闭|關閉|关掉|關掉|close) ?(?:议题|議題|它|issue)?"
    rf"(?:[，,：: ]*(?P<unplanned>不做了?|不打算做了?|不修了?|not[ _]planned|won'?t ?fix))?{_END}",
    re.IGNORECASE,
)
_REOPEN = lazy_pattern(
    rf"(?:重开|重開|重新打开|重新打開|再打开|再打開|reopen) ?(?:议题|議題|它|issue)?{_END}", re.IGNORECASE
)
_LABEL = lazy_pattern(
    r"(?P<verb>加标签|加標籤|打标签|打標籤|标签|標籤|去标签|去掉标签|删标签|去標籤|去掉標籤|labels?|unlabel)"
    r"(?:[:：]\s*| +)(?P<names>[^\n]{1,100})",
    re.IGNORECASE,
)
_ASSIGN = lazy_pattern(
    r"(?:指派给?|指派給?|分配给|分配給|交给|交給|assign(?: to)?)[:： ]*(?P<names>[^\n]{1,100})", re.IGNORECASE
)
_NAMES = re.compile(r"[、,，\s\u2005]+")
_NAME_BEFORE = re.compile(r"\A(?:@[^\s@\u2005]{1,40}[\s\u2005]+)++")
_NAME_BEHIND = re.compile(r"[ \u2005]@[^\s@\u2005]{1,40}\Z")

_PICTURES: Final[Mapping[str, Reaction]] = {
    **dict.fromkeys(("👍", "[强]", "[强壮]", "[OK]", "👌", "+1", "[ThumbsUp]"), "up"),
    **dict.fromkeys(("👎", "[弱]", "-1", "[ThumbsDown]"), "down"),
    **dict.fromkeys(("😄", "😀", "😁", "😂", "🤣", "😆", "[呲牙]", "[大笑]", "[破涕为笑]"), "laugh"),
    **dict.fromkeys(("🎉", "👏", "🥳", "[庆祝]", "[鼓掌]", "[烟花]"), "hooray"),
    **dict.fromkeys(("😕", "🤔", "😟", "[疑问]", "[困惑]"), "confused"),
    **dict.fromkeys(("❤", "♥", "💗", "💖", "🧡", "[爱心]", "[心]"), "heart"),
    **dict.fromkeys(("🚀", "[火箭]"), "rocket"),
    **dict.fromkeys(("👀", "[看看]"), "eyes"),
}
_JOINERS = dict.fromkeys((0xFE0F, 0x200D, *range(0x1F3FB, 0x1F400)))  # how a picture is drawn, not which it is
_PICTURE = lazy_pattern(
    "(?:[\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]{1,4}|\\[[\u3400-\u9fffA-Za-z]{1,6}\\])"
)


def parse_card_word(text: str) -> CardWord | None:
    """What this asks for, None where it says nothing or too much."""
    said = without_mentions(text)
    picture = "".join(said.split()).translate(_JOINERS)
    if picture in _PICTURES:
        return React(_PICTURES[picture])
    if _PICTURE.fullmatch(picture):
        # the same picture several times is meant once
        return React(_PICTURES[picture[0]]) if len({*picture}) == 1 and picture[0] in _PICTURES else UnknownPicture()
    if len(text) > LONGEST:
        return None
    if found := _CLOSE.fullmatch(said):
        return CloseIssue(planned=not found["unplanned"])
    if _REOPEN.fullmatch(said):
        return ReopenIssue()
    if found := _LABEL.fullmatch(said):
        names = tuple(dict.fromkeys(name[:50] for name in _NAMES.split(found["names"].strip("。")) if name))
        if 0 < len(names) <= MOST_LABELS:
            return LabelIssue(names, add=found["verb"][0] not in "去删uU")
    # Whom it is given to stands at the end, where a name is otherwise taken for ours.
    if found := _ASSIGN.fullmatch(" ".join(_NAME_BEFORE.sub("", text.strip()).split())):
        names = tuple(dict.fromkeys(name.lstrip("@")[:60] for name in _NAMES.split(found["names"]) if name.strip("@")))
        if 0 < len(names) <= MOST_ASSIGNEES:
            return AssignIssue(names)
    words = _NAME_BEHIND.sub("", _NAME_BEFORE.sub("", text.strip())).strip()
    return SayAtIssue(words) if words else None


def without_number(text: str) -> str:
    """The words behind the number of an issue, or the text as it is."""
    return NUMBERED.sub("", text, count=1)


def verb_of(word: CardWord) -> Verb | None:
    match word:
        case SayAtIssue():
            return "comment"
        case CloseIssue():
            return "close"
        case ReopenIssue():
            return "reopen"
        case LabelIssue():
            return "label"
        case AssignIssue():
            return "assign"
        case React():
            return "react"
        case UnknownPicture():
            return None
