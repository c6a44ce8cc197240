"""What is read out of a message: its questions, a chosen menu entry, and what would be the opposite of an answer."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.assistant.menu_choice import chosen_by_words
from zhiban.assistant.polarity import is_denied, opposite, other_aspect, undoes
from zhiban.assistant.queries import Chosen
from zhiban.assistant.reading import bare_questions, only_withdraws, questions_in


def lookups(text: str) -> list[tuple[str, ...]]:
    return [question.lookups for question in questions_in(text)]


@pytest.mark.parametrize(
    "text", ["怎么退款", "怎么退款？", "退款", "退货的快递费是你们出还是我出", "how do I get a refund?"]
)
def test_a_short_question_is_looked_up_as_it_stands(text: str) -> None:
    assert lookups(text) == [(text.rstrip("？?"),)]


def test_greetings_and_empty_words_are_dropped() -> None:
    assert lookups("你好，在吗，怎么退款？") == [("怎么退款",)]
    assert lookups("客服您好，打扰一下，请问一下\n怎么退款，谢谢") == [("怎么退款",)]
    assert lookups("不用转人工，怎么退款") == [("怎么退款",)]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("怎么退货？运费谁出？", ["怎么退货", "运费谁出"]),
        ("怎么申请退款，钱多久到账", ["怎么申请退款", "钱多久到账"]),
        ("洗牙多少钱？疼不疼？", ["洗牙多少钱", "疼不疼"]),
        ("什么时候发货\n发票怎么开", ["什么时候发货", "发票怎么开"]),
        ("怎么退货 运费谁出", ["怎么退货", "运费谁出"]),
        ("我的杯子碎了，怎么赔？另外能开发票吗", ["我的杯子碎了，怎么赔", "另外能开发票吗"]),
    ],
)
def test_several_questions_are_told_apart(text: str, asked: list[str]) -> None:
    assert [question.text for question in questions_in(text)] == asked


def test_a_long_message_is_looked_up_by_what_it_asks_and_what_it_tells() -> None:
    (question,) = questions_in(
        "你好，我是你们家的老顾客了，上周在你们店买了一个保温壶送给我妈妈，今天快递送到了，"
        "打开一看壶身上有一道很长的裂纹，包装也压扁了，请问这种情况怎么处理？"
    )
    assert question.lookups == ("包装也压扁了，请问这种情况怎么处理",)
    assert question.parts[0] == "包装也压扁了"
    assert "打开一看壶身上有一道很长的裂纹" in question.parts
    assert len(question.parts) <= 6


@given(st.text(max_size=400))
def test_any_text_is_read(text: str) -> None:
    for question in questions_in(text):
        assert question.text.strip()
        assert question.lookups or question.parts
        assert all(one.strip() for one in (*question.lookups, *question.parts))


@pytest.mark.parametrize("piece", ["吗", "不", "怎么", "，", "？", " 好", "请问", "我想", "a b ", "几"])
def test_repeated_pieces_are_read_in_no_time(piece: str) -> None:
    began = time.thread_time()
    questions_in(piece * 2000)
    assert time.thread_time() - began < 1.5


OFFERED = {
    "a:3": {"id": "a:3", "label": "怎么申请退款？"},
    "a:7": {"id": "a:7", "label": "退款多久到账？"},
    "a:9:12": {"id": "a:9:12", "label": "门店自提：下单时选到店自提…"},
    "person": {"id": "person", "label": "转人工"},
}


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("1", "a:3"), ("１", "a:3"), ("第一个", "a:3"), ("一", "a:3"), ("1.", "a:3"), ("①", "a:3"), ("选2", "a:7"),
        ("我选第二个", "a:7"), ("第2个吧", "a:7"), ("2号", "a:7"), ("二", "a:7"), ("the second one", "a:7"),
        ("第三个", "a:9:12"), ("4", "person"), ("最后一个", "person"), ("no.2", "a:7"), ("就第一个吧", "a:3"),
        ("怎么申请退款", "a:3"), ("退款多久到账？", "a:7"), ("多久到账", "a:7"), ("退款多久到賬", "a:7"),
        ("转人工", "person"), ("门店自提", "a:9:12"),
    ],
)  # fmt: skip
def test_an_entry_may_be_chosen_by_its_number_or_its_words(text: str, chosen: str) -> None:
    assert chosen_by_words(text, OFFERED) == chosen


@pytest.mark.parametrize(
    "text", ["5", "9", "", "退款", "怎么退货", "1个月", "12", "都不是", "一般多久", "第一个怎么用"]
)
def test_other_words_choose_nothing(text: str) -> None:
    assert chosen_by_words(text, OFFERED) is None


def test_without_a_menu_a_number_is_a_number() -> None:
    assert chosen_by_words("1", {}) is None


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [("a:7", Chosen(7)), ("a:7:12", Chosen(7, 12)), ("person", None), ("a:", None), ("a:x", None), (None, None),
     ("a:1" + "0" * 30, None)],
)  # fmt: skip
def test_choices_are_parsed(choice: str | None, chosen: Chosen | None) -> None:
    assert Chosen.parse(choice) == chosen
    assert chosen is None or chosen.id == choice


@pytest.mark.parametrize(
    "text",
    ["不想退款了", "不要发票", "我不需要发票", "我不想办会员", "不用送货上门", "取消预约", "别再给我发短信了",
     "东西不退了", "不换货了", "我不办会员卡", "账号先不注销了", "怎么撤销退款申请", "怎么关掉推送消息",
     "I want to cancel my order", "不用开发票"],
)  # fmt: skip
def test_a_refusal_is_seen(text: str) -> None:
    assert is_denied(text)


@pytest.mark.parametrize(
    "text",
    ["怎么退款", "东西不想要了退款", "券用不了", "登录不了", "收不到验证码", "为什么不能退", "不喜欢想退掉", "要不要钱",
     "没收到货", "保修不", "物流不动了", "有什么区别", "别的颜色有吗", "特别急怎么办",
     "可以不可以开发票", "机器不工作了", "退货要不要运费"],
)  # fmt: skip
def test_a_failure_is_no_refusal(text: str) -> None:
    assert not is_denied(text)


@pytest.mark.parametrize(
    "text",
    ["不用预约了", "算了不退款了", "东西不退了", "我不办会员卡", "不用退了，我留着吧", "算了先不开票了", "先不洗牙了",
     "不拔了，害怕", "不换了，就这样", "账号先不注销了", "别给我取消订单", "退款不弄了，谢谢", "暂时不考虑种牙"],
)  # fmt: skip
def test_who_takes_a_wish_back_asks_nothing(text: str) -> None:
    assert only_withdraws(text)


@pytest.mark.parametrize(
    "text",
    ["取消订单", "不想要这个杯子了，钱怎么要回来", "别再给我发短信了", "不想去驿站取，要送到家", "不想要了想退款",
     "不退了，帮我撤销申请", "不想用了怎么注销", "不喜欢想退掉", "券用不了", "不用预约能看吗", "不要发票可以便宜吗",
     "不用转人工，告诉我怎么申请退款就行", "机器不工作了", "I want to cancel", "怎么撤销退款申请", "特别想取消订单"],
)  # fmt: skip
def test_who_wants_or_asks_something_besides_is_answered(text: str) -> None:
    assert not only_withdraws(text)


def test_the_opposite_is_no_answer() -> None:
    assert opposite("不想退款了", "怎么申请退款？", "我要退款")
    assert not opposite("不想退款了", "怎么撤销退款申请？", "不想退了怎么办")
    assert opposite("不要发票", "怎么开发票？", "我要发票")
    assert opposite("我要退款", "怎么撤销退款申请？", "取消退款")
    assert not opposite("别再给我发短信了", "怎么关掉推送消息？", "别再给我发消息")
    assert not opposite("怎么取消订单", "怎么取消订单？", None)
    assert opposite("订单不取消了", "怎么取消订单？", "取消订单")
    assert opposite("账号先不注销了", "怎么注销账号？", "注销账号")
    assert opposite("别给我取消订单", "怎么取消订单？", "取消订单")
    assert not opposite("能不能取消订单", "怎么取消订单？", "取消订单")


def test_how_to_undo_a_thing_is_not_how_to_do_it() -> None:
    assert undoes("怎么预约", "怎么改约或取消预约？", "取消预约")
    assert not undoes("怎么取消预约", "怎么改约或取消预约？", "取消预约")
    assert not undoes("不想预约了怎么弄", "怎么改约或取消预约？", "取消预约")
    assert not undoes("拍错了怎么办", "怎么取消订单？", "拍错了怎么办")
    assert not undoes("预约要多久", "怎么改约或取消预约？", "取消预约")


def test_another_side_of_the_subject_is_no_answer() -> None:
    assert other_aspect("退款怎么弄", "退款多久到账？", "退款怎么还没到账")
    assert not other_aspect("退款怎么弄", "怎么申请退款？", "如何退款")
    assert not other_aspect("退款几天到", "退款多久到账？", "退款要几天")
    assert other_aspect("洗牙多久一次", "洗牙多少钱？", "洗牙价格")
    assert not other_aspect("退款", "退款多久到账？", None)


@pytest.mark.parametrize(
    "text",
    [
        "还是没解决",
        "转人工",
        "你们什么破机器人",
        "都不是",
        "谢谢",
        "人工人工人工",
        "垃圾客服，我要投诉",
        "有人吗",
        "说了多少遍了没用",
    ],
)
def test_complaints_wishes_and_politeness_hold_no_question(text: str) -> None:
    assert bare_questions(text) == ()


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("没用，我要问的是能不能寄到日本", ("能不能寄到日本",)),
        ("怎么申请退款，转人工", ("怎么申请退款",)),
        ("怎么申请退款转人工", ("怎么申请退款",)),
        ("你们什么破机器人，充一次电能用多久啊", ("充一次电能用多久啊",)),
        ("还是没解决！！退款什么时候到账？转人工", ("退款什么时候到账",)),
        ("找人工问一下怎么退货", ("怎么退货",)),
        ("你听不懂人话吗？我问发票抬头能改吗", ("发票抬头能改吗",)),
        ("能送到火星吗？宇宙飞船卖不卖？", ("能送到火星吗", "宇宙飞船卖不卖")),
        ("can I talk to a human, do you ship overseas?", ("do you ship overseas",)),
        (
            "客服您好，我上个礼拜在你们店里买了一个杯子给我妈妈，她说颜色不太喜欢，我跟她商量了很久，请问怎么申请退款",
            ("怎么申请退款",),
        ),
        ("东西不想要了退款", ("东西不想要了退款",)),
        ("客服几点下班", ("客服几点下班",)),
    ],
)
def test_the_question_stands_alone(text: str, asked: tuple[str, ...]) -> None:
    assert bare_questions(text) == asked
