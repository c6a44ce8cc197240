"""Which sentences open a ticket, from which messages, with which options; and which only look like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.tickets.command import LONGEST, parse
from zhiban.tickets.command_options import NO_OPTIONS, Options
from zhiban.tickets.counts import count_of
from zhiban.tickets.windows import (
    Between,
    FromQuoted,
    FromSpeaker,
    LastMessages,
    LastMinutes,
    LastOf,
    QuotedMessage,
    Segment,
    UnclearCount,
    Window,
)

FIRES: list[tuple[str, Window]] = [
    ("以上5条开工单", LastMessages(5)),
    ("以上五条开工单", LastMessages(5)),
    ("以上５条开工单", LastMessages(5)),
    ("以上伍条消息开工单", LastMessages(5)),
    ("@值班助手 以上五条开工单", LastMessages(5)),
    ("@值班助手\u2005以上十条创建 Issue", LastMessages(10)),
    ("以上五条开工单 @值班助手", LastMessages(5)),
    ("请把上面的 12 条消息转成工单", LastMessages(12)),
    ("帮我将前十二条聊天记录生成一个 issue", LastMessages(12)),
    ("把刚才二十句对话提个bug", LastMessages(20)),
    ("最近廿条提交需求", LastMessages(20)),
    ("以上廿五条建工单", LastMessages(25)),
    ("上面两条开个工单", LastMessages(2)),
    ("前俩条开个工单吧", LastMessages(2)),
    ("上面仨条新建工单", LastMessages(3)),
    ("以上50条开工单", LastMessages(50)),
    ("以上0条开工单", LastMessages(0)),
    ("以上100条开工单", LastMessages(100)),
    ("以上一百条开工单", LastMessages(100)),
    ("以上-3条开工单", UnclearCount("-3")),
    ("以上2.5条开工单", UnclearCount("2.5")),
    ("以上五五条开工单", UnclearCount("五五")),
    ("v2 崩了，以上5条开工单", LastMessages(5)),
    ("2.3.6 之后连着崩了 3 次。以上5条开工单", LastMessages(5)),
    ("开个工单，用以上4条", LastMessages(4)),
    ("請把以上五條開工單", LastMessages(5)),
    ("將上面三條訊息轉成工單", LastMessages(3)),
    ("陳默的以上兩條開工單", LastOf("陳默", 2)),
    ("勞煩把前邊兩則訊息建立工單", LastMessages(2)),
    ("過去兩個小時的聊天記錄轉成任務", LastMinutes(120)),
    ("麻烦把以上3个问题都提成 bug，谢谢", LastMessages(3)),
    ("能帮我把以上3条开个工单吗？", LastMessages(3)),
    ("以上5条\u200b开工单", LastMessages(5)),
    ("\u200f以上\u20605\ufe0f\u20e3条 \u200d 开工单", LastMessages(5)),
    ("以上5条开工单🙏", LastMessages(5)),
    ("以上5条开个工单吧[抱拳][抱拳]", LastMessages(5)),
    ("以上5条帮我开个工单", LastMessages(5)),
    ("以上 5 条消息，麻烦开个工单，谢谢", LastMessages(5)),
    ("以上开工单", Segment()),
    ("以上创建Issue", Segment()),
    ("上面的对话转成工单", Segment()),
    ("把上面几条开个工单", Segment()),
    ("以上 \u2003 5 \t 条   开   工单", LastMessages(5)),
    ("昨晚切了一次主库，然后就不对了。" * 30 + "以上5条开工单", LastMessages(5)),
    ("刚才的讨论整理成需求", Segment()),
    ("这些提个issue", Segment()),
    ("最近10分钟的消息开工单", LastMinutes(10)),
    ("过去两个小时内的聊天记录转成工单", LastMinutes(120)),
    ("从张三那条开始开工单", FromSpeaker("张三")),
    ("请从 @老杨 的那条开始建个任务", FromSpeaker("老杨")),
    ("从“主库切了一次”开始开工单", Between("主库切了一次")),
    ("从“主库切了一次”开始到“等修”开工单", Between("主库切了一次", "等修")),
    ("从“以上5条开工单”开始开工单", Between("以上5条开工单")),
    ("從「主庫切了」開始到「等修」開工單", Between("主庫切了", "等修")),
    ("张三的以上3条开工单", LastOf("张三", 3)),
    ("把老杨说的3条转成工单", LastOf("老杨", 3)),
    ("陳默的以上三條開工單", LastOf("陳默", 3)),
    ("老杨的以上消息开工单", LastOf("老杨")),
    ("file the last 5 messages as a ticket", LastMessages(5)),
    ("please open an issue from the last 10 minutes", LastMinutes(10)),
    ("create a bug from the above messages", Segment()),
]

SILENT = [
    "",
    "怎么开工单？",
    "怎么把以上5条开工单",
    "如何将以上五条转成工单？",
    "不要开工单",
    "不要把以上5条开工单",
    "别，先别把以上5条开工单",
    "不用 以上5条开工单",
    "以上工单已开",
    "以上5条已经开工单了",
    "以上5条开了工单",
    "以上5条开工单了",
    "以上5条开工单吗？",
    "以上5条要不要开工单",
    "他说“以上5条开工单”",
    "发“以上5条开工单”就行",
    "发送 以上5条开工单 就可以",
    "例如：以上5条开工单",
    "比如 以上5条开工单",
    "您可以这样写：以上5条开工单、最近10分钟开工单",
    "· 以上5条开工单\n· 最近10分钟开工单\n· 张三的以上3条开工单",
    "1. 以上5条开工单\n2. 最近10分钟开工单",
    "以上5条开工单\n最近10分钟开工单",
    "以上5条开工单 没反应",
    "誰把以上5條開工單",
    "沒有 以上5條開工單",
    "怎樣把以上5條開工單",
    "以上5條開工單，機器人沒反應",
    "輸入 以上5條開工單",
    "以上5条开工单，机器人没有反应",
    "「老杨：以上5条开工单」\n- - - - - - - - - - - - - - -\n这个命令怎么用",
    "第5条开工单",
    "以上第5条开工单",
    "5个人开工单",
    "以上5个人都开了会",
    "以上5条",
    "工单 5",
    "已开工单 #12，以上",
    "我昨天提的bug修了吗",
    "这个需求什么时候做",
    "以上内容纯属虚构",
    "明天开会讨论任务",
    "@老杨 以上5条开工单",
    "开个工单",  # not to us, and about no messages
    "这条开工单",  # answers nothing
    "以上5条开工单 张三跟进",
    "以上5条开工单 @老杨",
    "谁把以上5条开工单",
    "为什么张三的以上3条开工单失败",
    "不要张三的以上3条开工单",
    "> 以上5条开工单",
    "```\n以上5条开工单\n```",
    "以上5条开工单🤔",
    "以上5条开工单[疑问]",
    "以上5条请不要开工单",
    "以上5条你看看要不要开工单",
    "`以上5条开工单`",
    "could you tell me how to open a ticket",
    "x" * (LONGEST + 1),
]


def test_what_fires() -> None:
    for text, window in FIRES:
        command = parse(text, addressed="@值班助手" in text)
        assert command is not None, text
        assert command.window == window, text
        assert command.options == NO_OPTIONS or "谢谢" in text, text


def test_what_must_not_fire() -> None:
    assert [text for text in SILENT if parse(text, addressed=False)] == []


def test_what_must_not_fire_when_it_is_written_to_us_either() -> None:
    lacking = ("开个工单", "这条开工单", "@老杨 以上5条开工单", "以上5条开工单 @老杨")
    assert [text for text in SILENT if text not in lacking and parse(text, addressed=True)] == []


def test_without_a_window_it_must_be_written_to_us() -> None:
    written = parse("开个工单", addressed=True)
    assert written is not None
    assert written.window == Segment()
    quoting = parse("开工单", addressed=True, quoting=True)
    assert quoting is not None
    assert quoting.window == QuotedMessage()
    assert parse("开工单", addressed=False, quoting=True) is None


@pytest.mark.parametrize("text", ["这条开工单", "把这条消息转成 issue", "這條開工單"])
def test_a_quoted_message(text: str) -> None:
    command = parse(text, addressed=False, quoting=True)
    assert command is not None
    assert command.window == QuotedMessage()


@pytest.mark.parametrize("text", ["从这条开始开工单", "从这条消息起开工单", "從這條開始開工單"])
def test_from_the_quoted_message(text: str) -> None:
    command = parse(text, addressed=False, quoting=True)
    assert command is not None
    assert command.window == FromQuoted()


def test_what_is_quoted_above_is_not_what_is_said() -> None:
    command = parse("「老杨：丢了两三秒的数据」\n- - - - - - - - - - - -\n以上3条开工单", addressed=False)
    assert command is not None
    assert command.window == LastMessages(3)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("以上5条开工单，标题：主从切换后丢数据", Options(title="主从切换后丢数据")),
        ("以上5条开工单 标题：主从切换 丢数据", Options(title="主从切换 丢数据")),
        ("以上五條開工單，標題：主從切換後丟資料", Options(title="主從切換後丟資料")),
        ("以上5条开工单，标签：缺陷、同步引擎", Options(labels=("缺陷", "同步引擎"))),
        ("以上5条提个bug，类型 缺陷", Options(labels=("缺陷",))),
        ("以上5条开工单，到 qinghe/sync", Options(repository="qinghe/sync")),
        ("以上5条开工单到qinghe/sync", Options(repository="qinghe/sync")),
        ("以上5条到 qinghe/sync 开 issue", Options(repository="qinghe/sync")),
        ("以上5条在qinghe/docs提个issue", Options(repository="qinghe/docs")),
        ("以上5条开工单，到文档仓库", Options(repository="文档")),
        ("以上5条开工单，指派 @陈默", Options(assignee="陈默")),
        ("以上5条开工单，优先级：高", Options(priority=3)),
        ("以上5條開工單，優先級：緊急", Options(priority=4)),
        ("以上5条开工单，说明：客户很急，今天要答复", Options(note="客户很急，今天要答复")),
        ("以上5条开工单，尽快处理，谢谢", Options(note="尽快处理，谢谢")),
        (
            "以上5条开工单，标题：丢数据，标签：缺陷，到 qinghe/sync，指派 @chenmo，说明：见日志",
            Options("丢数据", ("缺陷",), "qinghe/sync", "chenmo", 0, "见日志"),
        ),
        ("以上5条开工单，去掉第3条", Options(leave_out=(3,))),
        ("以上5条开工单，标题：丢数据，除了第2、3条，尽快", Options(title="丢数据，尽快", leave_out=(2, 3))),
        ("以上5條開工單，最後一條不要", Options(leave_out=(0,))),
        ("以上5条开工单，去掉第1条，尽快处理", Options(note="尽快处理", leave_out=(1,))),
        ("以上5条开工单，标题：去掉第3条的确认", Options(title="去掉第3条的确认")),
        ("以上5条开工单\n标题：丢数据\n标签：缺陷", Options(title="丢数据", labels=("缺陷",))),
        ("以上5条开工单，标题：“3 条记录丢了，从 9 点起”", Options(title="3 条记录丢了，从 9 点起")),
    ],
)
def test_options(text: str, options: Options) -> None:
    command = parse(text, addressed=False)
    assert command is not None
    assert command.window == LastMessages(5)
    assert command.options == options


@pytest.mark.parametrize(
    ("written", "count"),
    [("5", 5), ("十", 10), ("十二", 12), ("二十", 20), ("廿三", 23), ("卅", 30), ("两", 2), ("俩", 2), ("仨", 3),
     ("一百零五", 105), ("五五", None), ("-3", None), ("0.5", None), ("零", 0)],
)  # fmt: skip
def test_counts(written: str, count: int | None) -> None:
    assert count_of(written) == count


PIECES = st.sampled_from(
    ["以上", "上面", "5", "五", "十二", "0", "99999999", "-3", "条", "个", "分钟", "小时", "的", "张三", "从", "那条",
     "开始", "到",
    "“", "”",
     "开工单", "提个bug", "转成 issue", "，", "。", " ", "\n", "标题：", "标签：", "到 a/b", "指派 @x", "请",
     "把", "不要", "怎么", "吗",
     "？", "@",
     "v2", "@bot ", "說", "\x00", "\u2005", "最近", "这条", "第"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=300), st.booleans(), st.booleans())
def test_whatever_is_written_it_never_fails_nor_takes_a_number_that_is_no_count(
    text: str, addressed: bool, quoting: bool
) -> None:
    command = parse(text, addressed=addressed, quoting=quoting)
    if command is None:
        return
    folded = "".join(text.split())
    match command.window:
        case LastMessages(count=count):
            spelt = [word for word in ("5", "五", "十二", "0", "99999999") if count_of(word) == count]
            assert any(f"{word}{unit}" in folded for word in spelt for unit in ("条", "个"))
        case LastMinutes(minutes=minutes):
            assert any(unit in folded for unit in ("分钟", "小时"))
            assert minutes in (5, 12, 0, 99999999, 300, 720, 99999999 * 60)
        case _:
            pass
