"""Commands that are put together from the grammar itself: what is parsed is what was meant when it was written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from zhiban.tickets.command import TicketCommand, parse
from zhiban.tickets.command_options import NO_OPTIONS, Options
from zhiban.tickets.windows import (
    Between,
    FromQuoted,
    FromSpeaker,
    LastMessages,
    LastMinutes,
    LastOf,
    QuotedMessage,
    Segment,
    Window,
)

TRADITIONAL = str.maketrans(
    "条个开单转实体议题标签类优级说备这从张录记讨论话东问题内聊现对处发给负责紧给过两",
    "條個開單轉實體議題標籤類優級說備這從張錄記討論話東問題內聊現對處發給負責緊給過兩",
)
DIGITS = "零一二三四五六七八九"
FORMAL = {"一": "壹", "二": "贰", "三": "叁", "四": "肆", "五": "伍", "六": "陆", "七": "柒", "八": "捌", "九": "玖"}
FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")


def in_words(n: int) -> str:
    tens, ones = divmod(n, 10)
    head = "" if tens == 0 else "十" if tens == 1 else f"{DIGITS[tens]}十"
    return head + (DIGITS[ones] if ones else "")


def spellings(n: int) -> list[str]:
    """In which ways people write a number from 1 to 59."""
    words = in_words(n)
    found = [str(n), str(n).translate(FULL_WIDTH), words]
    if n < 10:
        found.append(FORMAL[words])
    if 20 < n < 30:
        found.append("廿" + DIGITS[n - 20])
    if n == 2:
        found += ["两", "俩"]
    if n == 3:
        found.append("仨")
    return found


WORD = st.text(st.sampled_from("丢数据主库切换后位点会跳日志导出失败abz"), min_size=2, max_size=8)
NAME = st.sampled_from(["张三", "老杨", "陆知行", "Alice", "小明_2", "王大锤"])
WHERE = st.sampled_from(["以上", "上面", "前面", "刚才", "之前", "最近", "最后", "前"])
NOUN = st.sampled_from(["", "消息", "的消息", "对话", "聊天记录", "内容"])
POLITE = st.sampled_from(["", "请", "帮我", "麻烦", "把", "请把", "帮我将", "麻烦帮我把"])
DO = st.sampled_from(
    [("开", "工单"), ("建个", "工单"), ("提个", "bug"), ("转成", "issue"), ("创建一个", "需求"), ("生成", "任务"),
     ("新建", "ticket"), ("整理成一条", "反馈"), ("提交", "缺陷")]
)  # fmt: skip
NUMBER = st.integers(1, 59).flatmap(lambda n: st.tuples(st.just(n), st.sampled_from(spellings(n))))
BLANK = st.sampled_from(["", " "])


@st.composite
def counted(draw: st.DrawFn) -> tuple[str, Window]:
    (n, spelt), blank = draw(NUMBER), draw(BLANK)
    measure = draw(st.sampled_from(["条", "句", "段"]))
    return f"{draw(WHERE)}{blank}{spelt}{blank}{measure}{draw(NOUN)}", LastMessages(n)


@st.composite
def timed(draw: st.DrawFn) -> tuple[str, Window]:
    n, spelt = draw(NUMBER)
    unit, minutes = draw(st.sampled_from([("分钟", 1), ("小时", 60), ("个小时", 60)]))
    within = draw(st.sampled_from(["", "内", "以内", "之内"]))
    return f"{draw(st.sampled_from(['最近', '过去', '刚才']))}{spelt}{unit}{within}{draw(NOUN)}", LastMinutes(
        n * minutes
    )


@st.composite
def of_somebody(draw: st.DrawFn) -> tuple[str, Window]:
    name, (n, spelt) = draw(NAME), draw(NUMBER)
    says = draw(st.sampled_from(["的", "说的", "发的"]))
    return draw(
        st.sampled_from(
            [
                (f"{name}{says}以上{spelt}条", LastOf(name, n)),
                (f"{name}{says}{spelt}条", LastOf(name, n)),
                (f"{name}{says}以上消息", LastOf(name)),
                (f"从{name}那条开始", FromSpeaker(name)),
                (f"从 @{name} 的那条消息开始", FromSpeaker(name)),
            ]
        )
    )


@st.composite
def by_words(draw: st.DrawFn) -> tuple[str, Window]:
    first, last = draw(WORD), draw(WORD)
    opens, closes = draw(st.sampled_from(["“”", "「」", "『』", '""']))
    begins = f"从{opens}{first}{closes}开始"
    return draw(
        st.sampled_from([(begins, Between(first, "")), (f"{begins}到{opens}{last}{closes}", Between(first, last))])
    )


FIXED: list[tuple[str, Window]] = [
    ("以上", Segment()), ("这些", Segment()), ("上面几条", Segment()), ("以上的所有消息", Segment()),
    ("这条", QuotedMessage()), ("这条消息", QuotedMessage()), ("从这条开始", FromQuoted()),
]  # fmt: skip
WINDOW = st.one_of(counted(), timed(), of_somebody(), by_words(), st.sampled_from(FIXED))


@st.composite
def options(draw: st.DrawFn) -> tuple[str, Options]:
    """What follows the command, each on its own and in any order; what is loose comes right behind the command."""
    found, meant, colon = [], NO_OPTIONS, draw(st.sampled_from(["：", ":"]))
    wanted = draw(
        st.lists(st.sampled_from(["title", "labels", "repository", "assignee", "priority", "leave_out"]), unique=True)
    )
    for key in wanted:
        value: Any = draw(WORD)
        match key:
            case "title":
                found.append(f"标题{colon}{value}")
            case "labels":
                value = tuple(draw(st.lists(WORD, min_size=1, max_size=3, unique=True)))
                found.append(f"{draw(st.sampled_from(['标签', '类型']))}{colon}{'、'.join(value)}")
            case "repository":
                value = draw(st.sampled_from(["qinghe/sync", "acme/shop.js", "a/b"]))
                found.append(f"到 {value}")
            case "assignee":
                value = draw(NAME)
                found.append(f"指派 @{value}")
            case "priority":
                word, value = draw(st.sampled_from([("紧急", 4), ("高", 3), ("中", 2), ("低", 1)]))
                found.append(f"优先级{colon}{word}")
            case "leave_out":
                place = draw(st.integers(1, 9))
                word, value = draw(
                    st.sampled_from(
                        [(f"去掉第{place}条", (place,)), (f"除了第{place}、{place + 1}条", (place, place + 1)),
                         ("最后一条不要", (0,)), (f"不要第{in_words(place)}条", (place,))]
                    )
                )  # fmt: skip
                found.append(word)
        meant = replace(meant, **{key: value})
    if draw(st.booleans()):
        note = draw(WORD)
        found.append(f"说明{colon}{note}")
        meant = replace(meant, note=note)
    separator = draw(st.sampled_from(["，", "\n", "； "]))
    return "".join(f"{separator}{one}" for one in found), meant


@st.composite
def commands(draw: st.DrawFn) -> tuple[str, TicketCommand]:
    (window, meant), (verb, subject), (behind, wanted) = draw(WINDOW), draw(DO), draw(options())
    turned = isinstance(meant, LastMessages) and draw(st.booleans())
    between = draw(st.sampled_from(["", "，", " "]))
    if turned:
        text = f"{draw(POLITE)}{verb}{subject}，用{window}"
    else:
        text = f"{draw(POLITE)}{window}{between}{verb}{subject}{draw(st.sampled_from(['', '吧', '，谢谢']))}"
    text += behind
    command = TicketCommand(meant, subject, wanted)
    return (text.translate(TRADITIONAL), _traditional(command)) if draw(st.booleans()) else (text, command)


def _traditional(command: TicketCommand) -> TicketCommand:
    """The same with what people wrote in their own letters."""

    def words(one: Any) -> Any:
        if isinstance(one, str):
            return one.translate(TRADITIONAL)
        return tuple(words(each) for each in one) if isinstance(one, tuple) else one

    def fields(one: Any) -> Any:
        return replace(one, **{name: words(getattr(one, name)) for name in one.__dataclass_fields__})

    return replace(command, window=fields(command.window), options=fields(command.options))


@settings(max_examples=100)
@given(commands())
def test_what_was_written_by_the_grammar_is_read_as_it_was_meant(made: tuple[str, TicketCommand]) -> None:
    text, meant = made
    assert parse(text, addressed=False, quoting=True) == meant, text


# What is told with a number that counts no messages, in front of a command and behind it.
OTHER = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "v", "#", "第", "端口", "连着"]),
    st.integers(0, 99_999) | st.decimals(0, 99, places=1),
    st.sampled_from(["", "次", "条记录丢了", "条说得对", "个人都遇到", "分钟前开始", "点以后", "%", "版崩了"]),
)
BEHIND = st.sampled_from(["", "，标题：", "，说明：", "\n说明："])


@given(NUMBER, OTHER, st.sampled_from(["，", "。", "\n", "！"]), BEHIND, OTHER)
def test_a_command_takes_its_own_number_and_none_of_those_around_it(
    number: tuple[int, str], before: str, stop: str, behind: str, other: str
) -> None:
    count, spelt = number
    text = f"{before}{stop}以上{spelt}条开工单{behind + other if behind else ''}"
    command = parse(text, addressed=False)
    assert command is not None, text
    assert command.window == LastMessages(count), text
