"""What an answer may not invent."""

from __future__ import annotations

import json
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.assistant.answering import readable
from zhiban.assistant.grounding import StatedFact, check
from zhiban.assistant.passages import PlainPassage

RETURNS = PlainPassage(
    title="退货流程",
    text=(
        "签收7天内可申请退货，商家会在48小时内处理，审核通过后1-7个工作日到账。运费10元，会员打9.5折，手续费1%。"
        "客服热线：400-820-8820，手机 138 0013 8000，座机 (021)5888-1234。邮箱 help@shop.example.com，"
        "网址 https://www.shop.example.com/help/returns?id=7 。微信号：zhiban_kefu，每天9:00-21:30在线，晚上8点半截单。"
        "活动截止2026年12月31日，单号 2026112100042 仅作示例。每单限购3件，满1,299元包邮，最高1.5万元。"
    ),
    heading_path=("售后",),
)


@pytest.mark.parametrize(
    "answer",
    [
        "签收七天内可以退货。",
        "签收 ７ 天内可以退货，商家两天内处理。",
        "请在48小时内处理，审核后1到7个工作日到账。",
        "最快1个工作日，最慢七个工作日。",
        "运费十元，即￥10.00。",
        "会员95折，手续费百分之一。",
        "请拨打4008208820或+86 13800138000，座机021-58881234。",
        "请写信到 HELP@shop.example.com。",
        "见 https://shop.example.com/help/returns?id=7。",
        "见 shop.example.com 的帮助页面",
        "加微信 zhiban_kefu 联系我们",
        "服务时间 9:00到21:30，20:30截单。",
        "上午9点到晚上9点半。",
        "截止12月31日，2026年12月31日前有效。",
        "满1299元包邮，最高15000元。",
        "每单最多3件。",
        "1. 打开订单\n2. 点击“申请退货”\n3. 等待审核",
        "分3步：①打开订单②申请③寄回",
        "祝您有美好的一天！",
        "请注意以下2点。",
        "一般来说可以的，有一点需要注意。",
    ],
)
def test_what_the_passage_says_in_other_words_passes(answer: str) -> None:
    assert check(answer, [RETURNS]) == []


@pytest.mark.parametrize(
    ("answer", "fact"),
    [
        ("签收15天内可以退货。", StatedFact.DURATION),
        ("签收十五天内可以退货。", StatedFact.DURATION),
        ("7个小时内处理。", StatedFact.DURATION),
        ("7个月内处理。", StatedFact.DURATION),
        ("48个工作日到账。", StatedFact.DURATION),
        ("半小时内回复您。", StatedFact.DURATION),
        ("运费12元。", StatedFact.PRICE),
        ("运费十二块钱。", StatedFact.PRICE),
        ("仅需$10。", StatedFact.PRICE),
        ("九块九包邮", StatedFact.PRICE),
        ("会员打8折。", StatedFact.DISCOUNT),
        ("手续费5%。", StatedFact.PERCENT),
        ("手续费百分之五。", StatedFact.PERCENT),
        ("请拨打400-820-8821。", StatedFact.PHONE),
        ("请拨打 139 0013 8000。", StatedFact.PHONE),
        ("请拨打一三九零零一三八零零零", StatedFact.PHONE),
        ("请拨打 010-58881234。", StatedFact.PHONE),
        ("请写信到 boss@shop.example.com", StatedFact.EMAIL),
        ("见 https://shop.example.com/pay", StatedFact.URL),
        ("见 evil.com/help", StatedFact.URL),
        ("见https：//ｅｖｉｌ．com/a", StatedFact.URL),
        ("打开 weixin://dl/business", StatedFact.URL),
        ("见 10.0.0.8/admin", StatedFact.URL),
        ("加微信：zhiban_kefu2", StatedFact.ACCOUNT),
        ("QQ群 123456789", StatedFact.ACCOUNT),
        ("营业到22:00。", StatedFact.CLOCK),
        ("晚上十点截止。", StatedFact.CLOCK),
        ("截止11月30日。", StatedFact.DATE),
        ("单号 2026112100043 可查。", StatedFact.NUMBER),
        ("每单最多5件。", StatedFact.NUMBER),
        ("拨打12315。", StatedFact.NUMBER),
        ("版本 3.14 起支持。", StatedFact.NUMBER),
    ],
)
def test_what_the_passage_does_not_say_is_named(answer: str, fact: StatedFact) -> None:
    assert [wrong.fact for wrong in check(answer, [RETURNS])] == [fact]


def test_zero_width_characters_hide_nothing() -> None:
    assert [wrong.fact for wrong in check("签收1\u200b5天内", [RETURNS])] == [StatedFact.DURATION]


def test_citations_must_name_a_given_passage() -> None:
    wrong = check("可以退货。", [RETURNS], citations=[1, 2, 0])
    assert [(item.fact, item.surface) for item in wrong] == [(StatedFact.CITATION, "2"), (StatedFact.CITATION, "0")]


def test_a_full_width_comma_does_not_join_two_numbers() -> None:
    passage = PlainPassage("", "运费分两档：100，200元。")
    assert check("运费200元", [passage]) == []
    assert [wrong.fact for wrong in check("运费100200元", [passage])] == [StatedFact.PRICE]


WRITING = st.text(
    alphabet=st.one_of(
        st.sampled_from("0123456789一二三十百千万两半零点元块天日年月周个小时分钟工作%折.:-/@,，。:：转微信号https"),
        st.characters(),
    ),
    max_size=80,
)


@given(text=WRITING)
def test_quoting_a_passage_is_always_grounded(text: str) -> None:
    assert check(text, [PlainPassage("标题", text)]) == []


@given(text=WRITING, more=WRITING)
def test_more_passages_never_make_an_answer_worse(text: str, more: str) -> None:
    few, many = check(text, [RETURNS]), check(text, [RETURNS, PlainPassage("", more)])
    assert set(many) <= set(few)


@given(number=st.integers(min_value=10**6, max_value=10**18))
def test_an_invented_long_number_never_passes(number: int) -> None:
    assert check(f"您的单号是{number}号", [RETURNS]) or str(number) in ("2026112100042", "4008208820", "13800138000")


@given(days=st.integers(min_value=2, max_value=400).filter(lambda days: days not in (7, 2)))
def test_an_invented_deadline_never_passes(days: int) -> None:
    assert check(f"签收{days}天内可退", [RETURNS])


@pytest.mark.parametrize(
    "piece", ["1", "a.", "1-", "a@", "微信", "一", "半个", "13", "-", "上午", "https://", "0 ", "1,", "％"]
)
def test_repeated_pieces_take_no_time(piece: str) -> None:
    started = time.thread_time()
    check(piece * 700, [PlainPassage("", piece * 1500)])
    assert time.thread_time() - started < 1.5


MORE = PlainPassage(
    "More",
    "运费10-20元，返利5%-8%，会员8至9折，1到2个季度，保修二周年，约一个半小时或三刻钟，单价3毛5，每次50分钱，"
    "$5 off, 20 dollars,"
    "(see https://shop.example.com/a_(b)) (or https://shop.example.com/c), [x](https://shop.example.com/d)。"
    "Open 9:00 am to 5:30 pm, 3 business days, 2 hours, 6 months, 1 year, 10 minutes, 2 weeks. 中午1点，早上八点一刻，"
    "两个半月，3礼拜，2钟头，45秒，2026-12-01到2026/12/31，weixin://dl/chat，会员满1年，10点20分，三点整，三刻",
)


@pytest.mark.parametrize(
    "answer",
    [
        "运费10元到20元",
        "返利5%，8%",
        "8折到9折",
        "三个月",
        "六个月",
        "1季度",
        "2年质保",
        "一个半小时",
        "90分钟",
        "0.3元",
        "0.5元",
        "5美元",
        "20美金",
        "https://shop.example.com/a_(b)",
        "见（https://shop.example.com/c）",
        "https://shop.example.com/d",
        "上午9点",
        "下午5点半",
        "17:30",
        "9am",
        "5:30 p.m.",
        "3个工作日",
        "120分钟",
        "半年",
        "12个月",
        "600秒",
        "14天",
        "13:00",
        "8:15",
        "2.5个月",
        "21天",
        "2小时",
        "12月1日",
        "十二月三十一号",
        "weixin://dl/chat",
        "10:20",
        "3点钟",
    ],
)
def test_ranges_units_and_foreign_words(answer: str) -> None:
    assert check(answer, [MORE]) == []


@pytest.mark.parametrize(
    ("answer", "fact"),
    [
        ("运费30到40元", StatedFact.PRICE),
        ("返利6%到7%", StatedFact.PERCENT),
        ("5至6折", StatedFact.DISCOUNT),
        ("4到5个工作日", StatedFact.DURATION),
        ("5 weeks", StatedFact.DURATION),
        ("8pm", StatedFact.CLOCK),
        ("100港币", StatedFact.PRICE),
        ("3块5", StatedFact.PRICE),
        ("five元", None),
        ("5个百分点以上的10%", StatedFact.PERCENT),
        ("2026-11-11", StatedFact.DATE),
        ("99 hours", StatedFact.DURATION),
    ],
)
def test_invented_ranges_and_units(answer: str, fact: StatedFact | None) -> None:
    numbers = {StatedFact.NUMBER, None}  # the low end of a range is also a number
    assert {wrong.fact for wrong in check(answer, [MORE])} - numbers == {fact} - numbers


@pytest.mark.parametrize(
    "answer",
    [
        # internationalised and bare domains
        "请到 商店.中国 办理",
        "请到青禾.公司办理",
        "见 evil.zone",
        "见 evil.online/pay",
        "见 xn--fiq228c.xn--fiqs8s",
        "见 evil.co.nz",
        "打开evil.page看看",
        "请访问坏店.com",
        "evil。com",
        "evil｡com",
        "登录 evil点com",
        "登录evil 点 com",
        "evil dot com",
        "evil [.] com",
        "evil . com",
        "еvil.com",
        "ｅｖｉｌ．ｃｏｍ",
        "ev\u200bil.com",
        # addresses
        "refund at evil dot com",
        "refund(at)evil.com",
        "refund [at] evil [dot] com",
        "refund艾特evil点com",
        "refund＠evil.com",
        # numbers, spaced and decorated
        "请拨打 1 3 9 0 0 1 3 8 0 0 0",
        "1-3-9-0-0-1-3-8-0-0-0",
        "139 00 13 80 00",
        "139.0013.8000",
        "1️⃣3️⃣9️⃣0️⃣0️⃣1️⃣3️⃣8️⃣0️⃣0️⃣0️⃣",
        "①③⑨⓪⓪①③⑧⓪⓪⓪",
        "❶❸❾⓿⓿❶❸❽⓿⓿⓿",
        "1\ufe0f3\ufe0f9\ufe0f00138000",
        "𝟏𝟑𝟗𝟎𝟎𝟏𝟑𝟖𝟎𝟎𝟎",
        "१३९००१३८०००",
        "一 三 九 零 零 一 三 八 零 零 零",
        "一三九〇〇一三八〇〇〇",
        "1三9零零1三8零0零",
        "139OO138OOO",
        "l39OOl38OOO",
        "1\u03363\u03369\u033600138000",
        "签收①⑤天内可退",
        "签收1\u20605天内可退",
        "签收⑧天内可退",
        "签收 1 5 天内可退",
        # accounts
        "加V：abc12345",
        "加v abcdefg",
        "加微abc12345",
        "➕V信 abc12345",
        "薇❤：abc12345",
        "vx:abcdefg",
        "加我 abc_12345",
        "客服号 kefu_2026",
        "扣扣 123456789",
        "TG @evilshop",
        "搜 abc12345 加好友",
        "V：abcdefg",
        # a changed year
        "活动截止2027年12月31日",
        "活动截止 2025-12-31",
        "有效期到2027年",
        "活动截止二〇二七年十二月三十一日",
    ],
)
def test_inventions_in_disguise_are_named(answer: str) -> None:
    assert check(answer, [RETURNS]) != []


@pytest.mark.parametrize(
    "answer",
    [
        "热线 400 820 8820",
        "400.820.8820",
        "4 0 0 8 2 0 8 8 2 0",
        "热线四零零八二零八八二零",
        "手机138-0013-8000",
        "1 3 8 0 0 1 3 8 0 0 0",
        "help at shop.example.com",
        "请写信到help@shop.example.com。",
        "请访问shop.example.com，谢谢",
        "官网shop.example.com",
        "微信 zhiban_kefu",
        "加微信zhiban_kefu",
        "①签收后⑦天内②申请",
        "截止2026年12月31日",
        "截止12月31日",
        "2026年有效",
        "二〇二六年十二月三十一日截止",
        "签收⑦天内",
        "Please write to HELP@shop.example.com. Then wait.",
    ],
)
def test_what_the_passage_says_in_disguise_passes(answer: str) -> None:
    assert check(answer, [RETURNS]) == []


def _sample() -> list[PlainPassage]:
    """Every entry of the sample base and of the benchmark's shop, and every section of the sample's document."""
    root = Path(__file__).parents[2]
    found = []
    for path in sorted((root / "src/zhiban/testing/sample").glob("*.md")):
        for part in path.read_text(encoding="utf-8").split("\n## ")[1:]:
            title, _, body = part.partition("\n")
            found.append(PlainPassage(title, "", body.strip()))
    for line in (root / "bench/faq_shop/corpus.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        found.append(PlainPassage(entry["text"], "", entry["answer"]))
    return found


SAMPLE = _sample()


def test_nothing_legitimate_is_refused() -> None:
    assert len(SAMPLE) > 130
    for passage in SAMPLE:
        told = readable(passage.answer or "")
        for answer in (
            told,
            f"您好！{told}\n祝您生活愉快。",
            unicodedata.normalize("NFKC", told),
            told.replace("，", ", ").replace("。", ". "),
            "\n".join(f"{number}. {part}" for number, part in enumerate(filter(None, told.split("。")), 1)),
        ):
            assert check(answer, [passage]) == [], answer


def test_the_facts_of_another_entry_are_an_invention() -> None:
    """Whatever of one entry's facts the other does not have is named."""
    refused = sum(bool(check(readable(one.answer or ""), [SAMPLE[-1]])) for one in SAMPLE[:-1])
    assert refused > len(SAMPLE) / 3
