"""What people write when they want a person, and what only looks like it."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.assistant.clauses import clauses
from zhiban.assistant.intents import (
    REPLIES,
    TALK,
    UNHELPFUL,
    UPSET,
    SmallTalkKind,
    is_upset,
    is_urgent,
    only_complains,
    reply_to,
    says_helpful,
    says_unhelpful,
    small_talk,
)
from zhiban.assistant.person_requests import ASKS, DECLINES, asks_for_person

WANTS_A_PERSON = """
转人工
转人工！
转 人 工
轉人工
转人工客服
请帮我转人工
能不能转人工
可不可以给我转人工
要不要转人工啊，我要转
怎么转人工
怎么转人工客服？
如何联系人工客服
为什么不给我转人工
怎么还不转人工？
你好，转接人工
转接客服
转到客服
转客服
转个真人
人工
人工客服
人工服务
人工客服在吗
客服
客服在吗
客服呢？
在线客服
找客服
联系客服
我要找客服
帮我找个真人
找真人
找个活人来
换个人工
叫你们经理来
叫你们老板出来
我要见你们领导，找你们负责人
有没有人工客服
有人工吗
有没有真人啊
我想和真人聊
跟人工说
我想跟客服沟通
和工作人员直接沟通
不想和机器人说话
不要机器人，我要人工
别用机器人回复我
我要投诉
我要投诉！！！
我想投诉你们
必须投诉你们，我就要投诉
投诉
投诉你们
你们这样我要投诉商家
让人联系我
叫个人来处理
能给我打个电话吗
退款没到账，转人工
需要人工
需要人工服务
ｔａｌｋ　ｔｏ　ａ　ｈｕｍａｎ
I want to talk to a human
Can I speak to someone?
speak with a representative please
transfer me to an agent
connect me with customer service
human agent
I need a real person
live chat
agent
Human please
get me a manager
I want to complain
转人\u200b工
RG
rg
转rg
zrg
rgrg
R G
找你们管事的来
人工人工
人工人工人工！！！
转人工转人工
zhuan rengong
rengong
转人公
转仁工
专人工
找kf
能不能给我找个人来说
叫你们负责人来
别拿机器人糊弄我，叫人来
我不跟机器说话，我要人
来个人行不行
给我整个人工过来
让你们客服联系我
我要跟前台的人说话
能让工作人员跟我说吗
有没有真人可以问
请帮我接通前台人工
怎么还没有人工啊
有没有人管管
没人理我吗
換個真人跟我說
customer service please
real human
I need a person not a bot
""".strip().splitlines()

DOES_NOT = """
怎么转人工智能课程
怎么转人工智能专业？
人工智能课程多少钱
不用转人工
不用转人工了，谢谢
不需要人工
不要转人工
别转人工
别给我转人工
先不转人工
暂时不用人工
无需人工客服
没让你转人工
我没说要转人工
不是要转人工
不要给我转人工，你回答就行
不想转人工
取消转人工
人工客服几点上班
人工客服的电话是多少
客服电话
客服热线多少
客服工作时间
你们客服几点下班
怎么联系客服？
人工费多少钱
人工审核要多久
人工草坪怎么卖
真人秀什么时候播
有真人照片吗
真人试穿效果
怎么投诉卖家？
投诉卖家
投诉电话是多少
投诉多久有结果
我要投诉的话流程是怎么样的
怎么转账
转发到群里
转运费用
客服系统怎么收费
经理端怎么登录
怎么退款
你是机器人吗
你是真人吗
0
机器人怎么接入
请人吃饭可以开发票吗
有人吗
送人可以包装吗
转让会员
找回密码
I don't want to talk to a human
no need to speak to an agent
do you sell human hair
不用人工
不需要人工客服了
先别转人工
先不用人工了谢谢
no need for a human
人工牙冠和真牙有什么区别
有真人试穿的照片吗
送人的礼物能包装吗
找人代付可以吗
没人签收怎么办
不要礼盒包装
纯人工
how to change my travel agent
""".strip().splitlines()


@pytest.mark.parametrize("text", WANTS_A_PERSON)
def test_asks_for_a_person(text: str) -> None:
    assert asks_for_person(text)


@pytest.mark.parametrize("text", DOES_NOT)
def test_does_not_ask_for_a_person(text: str) -> None:
    assert not asks_for_person(text)


def test_zero_counts_only_when_it_was_offered() -> None:
    assert asks_for_person(" ０ ", zero_offered=True)
    assert not asks_for_person("0", zero_offered=False)
    assert not asks_for_person("10", zero_offered=True)


@pytest.mark.parametrize(
    ("text", "talk"),
    [
        ("你好", SmallTalkKind.GREETING),
        ("您好！", SmallTalkKind.GREETING),
        ("你好呀~", SmallTalkKind.GREETING),
        ("Hello", SmallTalkKind.GREETING),
        ("hi there", SmallTalkKind.GREETING),
        ("早上好", SmallTalkKind.GREETING),
        ("客服你好", SmallTalkKind.GREETING),
        ("在吗", SmallTalkKind.PRESENCE),
        ("在么？", SmallTalkKind.PRESENCE),
        ("有人吗", SmallTalkKind.ANYBODY),
        ("有人在吗？", SmallTalkKind.ANYBODY),
        ("有没有人啊", SmallTalkKind.ANYBODY),
        ("人呢？", SmallTalkKind.ANYBODY),
        ("你好，有人吗", SmallTalkKind.ANYBODY),
        ("anyone there?", SmallTalkKind.ANYBODY),
        ("不需要人工", SmallTalkKind.DECLINED),
        ("不用转人工了", SmallTalkKind.DECLINED),
        ("别给我转人工", SmallTalkKind.DECLINED),
        ("先不用人工了谢谢", SmallTalkKind.DECLINED),
        ("no need for a human", SmallTalkKind.DECLINED),
        ("谢谢医生", SmallTalkKind.THANKS),
        ("请问一下", SmallTalkKind.PRESENCE),
        ("你好，在吗", SmallTalkKind.GREETING),
        ("谢谢", SmallTalkKind.THANKS),
        ("好的，谢谢啦", SmallTalkKind.THANKS),
        ("好的谢谢", SmallTalkKind.THANKS),
        ("非常感谢您的帮助", SmallTalkKind.THANKS),
        ("謝謝你", SmallTalkKind.THANKS),
        ("辛苦了", SmallTalkKind.THANKS),
        ("Thank you so much!", SmallTalkKind.THANKS),
        ("再见", SmallTalkKind.GOODBYE),
        ("拜拜", SmallTalkKind.GOODBYE),
        ("没事了", SmallTalkKind.GOODBYE),
        ("没问题了，谢谢", SmallTalkKind.THANKS),
        ("bye bye", SmallTalkKind.GOODBYE),
        ("你是谁", SmallTalkKind.WHO),
        ("你是机器人吗？", SmallTalkKind.WHO),
        ("你是真人还是机器人", SmallTalkKind.WHO),
        ("are you a bot?", SmallTalkKind.WHO),
        ("太棒了", SmallTalkKind.PRAISE),
        ("好的", SmallTalkKind.ACKNOWLEDGED),
        ("嗯嗯", SmallTalkKind.ACKNOWLEDGED),
        ("OK", SmallTalkKind.ACKNOWLEDGED),
        ("知道了", SmallTalkKind.ACKNOWLEDGED),
        ("👍", SmallTalkKind.ACKNOWLEDGED),
        ("[微笑]", SmallTalkKind.ACKNOWLEDGED),
        ("？？", SmallTalkKind.NUDGE),
        ("...", SmallTalkKind.NUDGE),
    ],
)
def test_small_talk(text: str, talk: SmallTalkKind) -> None:
    assert small_talk(text) is talk


@pytest.mark.parametrize(
    "text",
    ["你好，怎么退款", "谢谢，那运费呢", "好的那怎么申请", "在吗，想问下发票", "再见面怎么办", "退款", "你好贵啊",
     "", "  ", "hello world program", "可以退货吗", "在哪里修改地址", "好评返现怎么领", "没问题怎么申请"],
)  # fmt: skip
def test_a_question_is_no_small_talk(text: str) -> None:
    assert small_talk(text) is None


def test_replies_speak_the_language_of_the_contact() -> None:
    assert reply_to(SmallTalkKind.GREETING, "hello") == "Hello! How can I help you?"
    assert reply_to(SmallTalkKind.GREETING, "你好") == "您好！请问有什么可以帮您？"
    assert reply_to(SmallTalkKind.ACKNOWLEDGED, "嗯") == ""
    assert set(REPLIES) == set(SmallTalkKind)


@pytest.mark.parametrize(
    "text",
    [
        "骗子！",
        "什么破店",
        "我要去12315举报",
        "太差劲了",
        "This is a SCAM",
        "你们等着律师函吧",
        "垃圾客服",
        "滚",
        "妈的，又发错",
        "真妈的慢",
        "我他妈等三天了",
    ],
)
def test_upset(text: str) -> None:
    assert is_upset(text)


@pytest.mark.parametrize(
    "text",
    [
        "垃圾袋多少钱",
        "垃圾分类",
        "滚筒洗衣机怎么安装",
        "差评怎么删除",
        "想把差评删了",
        "怎么退款",
        "曝光度怎么看",
        "USB接口",
        "推荐个送妈妈的礼物",
        "我妈的手机收不到验证码",
        "宝妈的会员怎么办",
    ],
)
def test_not_upset(text: str) -> None:
    assert not is_upset(text)


@pytest.mark.parametrize("text", ["急急急", "很急！", "急", "在线等", "请尽快处理", "urgent!!", "need it ASAP"])
def test_urgent(text: str) -> None:
    assert is_urgent(text)


@pytest.mark.parametrize("text", ["急支糖浆怎么喝", "急救包有货吗", "加急费多少", "怎么退款"])
def test_not_urgent(text: str) -> None:
    assert not is_urgent(text)


@pytest.mark.parametrize(
    "text",
    ["没用", "没有用", "还是没解决", "没有解决我的问题", "答非所问", "不是这个", "不是我要的", "你没听懂", "不对",
     "还是不行", "试了还是不行",
     "我问的不是这个", "看不懂", "That's not helpful", "it doesn't work", "你说的不对"],
)  # fmt: skip
def test_unhelpful(text: str) -> None:
    assert says_unhelpful(text)


@pytest.mark.parametrize(
    "text",
    [
        "没用过的优惠券可以退吗",
        "优惠券没用完怎么办",
        "密码不对怎么办",
        "有没有解决方案",
        "没有解决办法吗",
        "尺码不对可以换吗",
        "怎么退款",
        "谢谢，解决了",
    ],
)
def test_not_unhelpful(text: str) -> None:
    assert not says_unhelpful(text)


def read(text: str) -> tuple[object, ...]:
    """Everything that is read of a text."""
    return (
        asks_for_person(text, zero_offered=True),
        small_talk(text),
        is_upset(text),
        is_urgent(text),
        says_unhelpful(text),
        only_complains(text),
    )


def test_who_asks_for_somebody_at_night_is_told_that_nobody_is_there() -> None:
    assert "智能助手" in reply_to(SmallTalkKind.ANYBODY, "有人吗")
    assert "不在线" in reply_to(SmallTalkKind.ANYBODY, "有人吗", people_there=False)
    assert "不在线" not in reply_to(SmallTalkKind.GREETING, "你好", people_there=False)


@given(st.text(max_size=300))
def test_any_text_is_read_without_trouble(text: str) -> None:
    read(text)
    assert all(clause for clause in clauses(text))


WORDS = sorted(
    set(re.findall("[一-鿿]{1,4}|[a-z]{2,8}", " ".join((*ASKS, *DECLINES, *UPSET, *UNHELPFUL, *TALK.values()))))
)


@pytest.mark.parametrize("word", WORDS)
def test_repeated_words_take_no_time(word: str) -> None:
    started = time.thread_time()
    for text in (f"{word * 60}x", f"不{word * 60}x转人工", "转接" * 60 + word):
        read(text)
    assert time.thread_time() - started < 0.5


def test_long_texts_take_no_time() -> None:
    started = time.thread_time()
    for text in ("好" * 100_000, "转" * 100_000, "不要" * 50_000 + "人工", "谢" * 100_000):
        read(text)
    assert time.thread_time() - started < 2


@pytest.mark.parametrize(
    "text",
    [
        "有用",
        "有用的",
        "很有帮助！",
        "嗯，解决了",
        "问题解决了，谢谢",
        "搞定了",
        "就是这个",
        "That helped",
        "it works now",
    ],
)
def test_who_says_that_it_helped(text: str) -> None:
    assert says_helpful(text)
    assert small_talk(text) is not None


@pytest.mark.parametrize(
    "text",
    ["有用吗", "有用么？", "没用", "解决不了", "还没解决", "谢谢", "好的", "怎么解决", "会员有用处吗", "not helpful"],
)
def test_what_is_no_praise(text: str) -> None:
    assert not says_helpful(text)
