"""The sentence that opens a ticket: “以上5条开工单，标题：…”.

It must be somebody's own clause and the whole of it. A question how to do it, a refusal, a report that it was done, a
quotation and our own help are none. The number is the one before 条 or 分钟 and no other in the sentence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.patterns import lazy_pattern
from zhiban.tickets import windows
from zhiban.tickets.command_options import NO_OPTIONS, REPOSITORY, Options, read_options
from zhiban.tickets.counts import COUNT, count_of
from zhiban.tickets.draft_words import PICTURE
from zhiban.tickets.squeezing import Squeezed, squeezed

LONGEST = 2000  # characters; nobody writes a longer command

_QUOTED_SPAN = lazy_pattern(
    r"“[^”\n]{0,300}+”|‘[^’\n]{0,300}+’|「[^」\n]{0,300}+」|『[^』\n]{0,300}+』|《[^》\n]{0,300}+》"
    r"|\"[^\"\n]{0,300}+\"|```[^`]{0,1500}+```|`[^`\n]{0,300}+`"
)
# How some clients write what a message answers: its words, a line of dashes, the answer.
_QUOTED_ABOVE = lazy_pattern(r"\A「.{1,1500}?」\n(?:[-—] ?){5,}+\n", re.DOTALL)
_MENTION = lazy_pattern(r"\A(?:@[^\s@]{1,40}\s)++")
_MENTION_BEHIND = lazy_pattern(r"(?<![派给人到:：])\s@[^\s@]{1,40}\Z")

_B = r"[ \u2005]?"  # a blank, of which there is never more than one
_POLITE = (
    r"(?P<polite>(?:麻烦|劳烦|烦请|请|帮我|帮忙|帮|给我|替我|把|将|就|你"
    r"|能不能|可不可以|可以|能|小助手|助手|那| ){0,6})"
)
_WHERE = r"(?:以上|上面|上述|上边|前面|前边|刚才|刚刚|之前|最近|前|上)"
_MEASURE = r"(?:条|句|个|段|则)"
_NOUN = r"(?:的?(?:所有|全部)?(?:消息|讯息|对话|聊天记录|聊天内容|聊天|讨论|内容|记录|信息|话|东西|问题))?"
_START = r"(?:开始|起|往下|往后|以后|之后|以来)"
_FIRST = r"[“\"「『‘](?P<first>[^”\"」』’\n]{1,80})[”\"」』’]"
_LAST = r"[“\"「『‘](?P<last>[^”\"」』’\n]{1,80})[”\"」』’]"
_IT = r"(?:这条|那条|这句|那句)?(?:消息)?"
_NAME = rf"(?!{_WHERE})@?(?P<name>[^\s，,。；;：:“”\"「」从把将第]{{1,20}}?){_B}"
_OBJECT = r"(?P<object>工单|issues?|tickets?|bugs?|需求|任务|议题|缺陷|反馈)"
_VERB = (
    r"(?:创建|新建|建立|提交|生成|整理成|汇总成|转换成|转换为|转成|转为|记成|记为|做成|建成|开成|提成|发起|登记|录入"
    r"|开|建|提|转|立|报|记)(?:成|为|到)?"
)
_ONE = r"(?:一?(?:个|条|张|份|单|下))?"
_PLACE = rf"(?:(?:到|在|给|往|去){_B}(?P<place>{REPOSITORY})(?:里面|仓库|里|上|下)?)?"
_HOW = rf"(?:(?:都|再|来|去|一起|全部|帮我|帮忙|帮|麻烦|劳烦|请|给我|替我|你|小助手|助手){_B}){{0,4}}"
_DO = rf"{_PLACE}{_B}{_HOW}{_VERB}{_ONE}{_B}{_OBJECT}"
_N = rf"(?P<count>{COUNT}){_B}"
_COUNTED = rf"(?:{_WHERE}|这|那|最后){_B}的?{_B}{_N}{_MEASURE}{_NOUN}"
_BEFORE = r"(?:最近|刚才|刚刚|过去|前|近|之前|以上|上面)?的?"
_SAYS = r"(?:的|说的|发的)"
_WITHOUT_COUNT = (
    rf"(?:(?:{_WHERE}的?|这|那)(?:几|好几|多){_MEASURE}|这些|这段|这里的?|{_WHERE}的?(?:所有|全部|整段|这些|些|这段)?)"
)

# The first that fits is taken.
_WINDOWS = {
    "count": _COUNTED,
    "minutes": rf"{_BEFORE}{_B}{_N}个?(?P<unit>分钟|小时)(?:以内|之内|内|里)?{_NOUN}",
    "between": rf"从{_B}{_FIRST}{_IT}{_START}?(?:到|至|[，,])+{_B}{_LAST}{_IT}(?:为止|结束)?{_NOUN}",
    "from_words": rf"从{_B}{_FIRST}{_IT}{_START}{_NOUN}",
    "from_quoted": rf"从(?:这|那|该|本|引用的)一?(?:条|句|里|儿)?(?:消息)?{_START}{_NOUN}",
    "quoted": rf"(?:这|该|本|引用的?)一?(?:条|句|个){_NOUN}",
    "segment": rf"{_WITHOUT_COUNT}{_NOUN}",
    "from_speaker": rf"从{_B}{_NAME}{_SAYS}?(?:那|这)一?(?:条|句)(?:消息|话)?{_START}?{_NOUN}",
    "speaker_count": rf"{_NAME}{_SAYS}{_WHERE}?的?{_B}{_N}{_MEASURE}{_NOUN}",
    "speaker": rf"{_NAME}{_SAYS}{_WHERE}的?{_NOUN}",
}

_TAIL = (
    rf"(?P<tail>(?:{PICTURE}|一下|吧|呗|哈|啊|呀|哦|嘛|吗|么|谢谢|多谢|辛苦了?|好吗|可以吗|行吗|\s|[。.！!~～?？])*)"
)
_END = r"(?=$|[，,；;:：]|(?<=[ \t])|到[A-Za-z0-9])"
_CLAUSE = r"(?:^|(?<=[，,。；;！!？?\n…~ \t]))"


def _pattern(sentence: str) -> re.Pattern[str]:
    return lazy_pattern(rf"{_CLAUSE}{_POLITE}{sentence}{_TAIL}{_END}", re.IGNORECASE | re.MULTILINE)


_PATTERNS = {
    **{name: _pattern(rf"{window}{_B}[，,]?{_B}{_DO}") for name, window in _WINDOWS.items()},
    # The other way round: 开个工单，用以上5条
    "after": _pattern(rf"{_PLACE}{_B}{_VERB}{_ONE}{_B}{_OBJECT}{_B}[，,]?{_B}(?:用|取|包含|就)?{_COUNTED}"),
    "bare": _pattern(_DO),
}
# What every command has: only what stands around it is read more closely.
_CORE = lazy_pattern(rf"{_VERB}{_ONE}{_B}{_OBJECT}", re.IGNORECASE)
_BEFORE_CORE = 200  # characters of the longest sentence, its names and quoted words included
_BEHIND_CORE = 60
_MOST_CORES = 3  # in one message; more of them explain something
_ENGLISH = lazy_pattern(
    r"\A(?:(?:please|pls|can you|could you) )*(?:(?:open|create|file|make) (?:an? |the )?(?P<a>ticket|issue|bug)"
    r" (?:from|with|of|for|out of) (?:the )?(?:last|above|previous|past)(?: (?P<m>[0-9]{1,9}))?"
    r" (?P<unit>message|minute)s?"
    r"|(?:open|create|file|make|turn) (?:the )?(?:last|above|previous)(?: (?P<n>[0-9]{1,9}))? messages? (?:as|into)"
    r" an? (?P<b>ticket|issue|bug))(?: please)?[.! ]*(?=\Z|[,;\n])",
    re.IGNORECASE,
)

# What stands right before a command when it is only spoken of.
_SPOKEN_OF = lazy_pattern(
    r"(?:比如|例如|发送|发|输入|回复|说|命令|例子|示例|格式|用法|怎么|怎样|如何|不要|别|不用|无需|不必|不能|没有|没|是否|为什么|为啥|谁|什么"
    r"|试试|就是|叫|打|写|喊|[0-9]+[.、)）]|[·•*\-–—>])[ \t]*\Z"
)
_NO_NAME = lazy_pattern(r"怎么|怎样|如何|不要|别|不用|无需|不必|不能|是否|是不是|为什么|什么|哪|谁|已经|没")


@frozen_dataclass
class TicketCommand:
    """What somebody wants to be filed. `subject`: what they call it (工单, bug …)."""

    window: windows.Window
    subject: str = "工单"
    options: Options = NO_OPTIONS


@frozen_dataclass
class _Match:
    """`name` is the kind of window; `plain` what was found, `own` the same in its own letters."""

    name: str
    found: re.Match[str]
    said: Squeezed

    def plain(self, group: str) -> str:
        return self.found.groupdict().get(group) or ""

    def own(self, group: str) -> str:
        return self.said.own(*self.found.span(group)).strip() if self.plain(group) else ""


def parse(text: str, *, addressed: bool, quoting: bool = False) -> TicketCommand | None:
    """The command that this message is, or None.

    `addressed`: it is written to us (with @ in a group, or in a direct chat). Without that, a text that names somebody
    else with @ is none, nor is one that says nothing about which messages. `quoting`: it answers another message.
    """
    if len(text) > LONGEST:
        return None
    said = squeezed(text)
    if above := _QUOTED_ABOVE.match(said.plain):
        said = said.part(above.end())
    if said.plain.startswith("@") and not addressed:
        return None
    if addressed and (mention := _MENTION.match(said.plain)):
        said = said.part(mention.end())
    if addressed and (mention := _MENTION_BEHIND.search(said.plain, max(0, len(said.plain) - 42))):
        said = said.part(0, mention.start())
    match = _the_command(said)
    if match is None:
        return _english(said)
    if (match.name == "bare" and not addressed) or (match.name == "quoted" and not (addressed or quoting)):
        return None
    tail = match.plain("tail")
    options = read_options(*said.rest(match.found.end() - len(tail) + len(tail.rstrip(" \u2005"))))
    if options is None:
        return None
    if (place := match.own("place")) and not options.repository:
        options = options.at(place)
    window = _window(match)
    if match.name == "bare" and quoting:
        window = windows.QuotedMessage()
    return TicketCommand(window, match.plain("object").casefold(), options)


def _the_command(said: Squeezed) -> _Match | None:
    """The only command in the text; several are an explanation."""
    cores = [core.span() for core in islice(_CORE.finditer(said.plain), _MOST_CORES + 1)]
    if not 1 <= len(cores) <= _MOST_CORES:
        return None
    spans = [span.span() for span in _QUOTED_SPAN.finditer(said.plain)]
    ends: dict[int, _Match] = {}
    for name, pattern in _PATTERNS.items():
        for start, end in _around(cores, len(said.plain)):
            for found in pattern.finditer(said.plain, start, end):
                match = _Match(name, found, said)
                if found.end() == end < len(said.plain):
                    continue  # it may go on
                if not any(begin < found.end("object") <= stop for begin, stop in spans) and _meant(said.plain, match):
                    ends.setdefault(found.end("object"), match)
    return next(iter(ends.values())) if len(ends) == 1 else None


def _around(cores: Sequence[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """The parts of a text in which the commands of these cores stand, none of which overlaps another."""
    parts: list[tuple[int, int]] = []
    for core, behind in cores:
        start, end = max(0, core - _BEFORE_CORE), min(length, behind + _BEHIND_CORE)
        if parts and start <= parts[-1][1]:
            parts[-1] = parts[-1][0], end
        else:
            parts.append((start, end))
    return parts


def _meant(plain: str, match: _Match) -> bool:
    """Not asked, refused, told of or shown as an example."""
    if _SPOKEN_OF.search(plain[: match.found.start()]) or _NO_NAME.search(match.plain("name")):
        return False
    asking = any(mark in match.plain("tail") for mark in "吗么?？")
    return not asking or bool(match.plain("polite").strip())


def _window(match: _Match) -> windows.Window:
    count = count_of(match.plain("count")) if match.plain("count") else None
    match match.name:
        case "count" | "minutes" | "speaker_count" | "after" if count is None:
            return windows.UnclearCount(match.own("count"))
        case "count" | "after":
            return windows.LastMessages(count or 0)
        case "minutes":
            return windows.LastMinutes((count or 0) * (60 if match.plain("unit") == "小时" else 1))
        case "between" | "from_words":
            return windows.Between(match.own("first"), match.own("last"))
        case "from_quoted":
            return windows.FromQuoted()
        case "quoted":
            return windows.QuotedMessage()
        case "from_speaker":
            return windows.FromSpeaker(match.own("name"))
        case "speaker_count" | "speaker":
            return windows.LastOf(match.own("name"), count)
        case _:
            return windows.Segment()


def _english(said: Squeezed) -> TicketCommand | None:
    found = _ENGLISH.match(said.plain)
    if found is None:
        return None
    written, _ = said.rest(found.end())
    options = read_options(written, written)
    if options is None:
        return None
    count = found["m"] or found["n"]
    window: windows.Window = windows.LastMessages(int(count)) if count else windows.Segment()
    if count and (found["unit"] or "").lower() == "minute":
        window = windows.LastMinutes(int(count))
    return TicketCommand(window, (found["a"] or found["b"]).lower(), options)
