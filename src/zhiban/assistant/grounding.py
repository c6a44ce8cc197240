"""What an answer must not invent: checks that every hard fact in it stands in the passages.

A wrong phone number, price or deadline costs a customer money, and a model that writes fluently invents them fluently.
So both are brought to one form first (`normalising`), each such fact is read out of the answer and of the passages by
the same patterns, and compared. Whatever the passages do not say is named, and the caller does not send the answer.
In doubt a fact counts as invented: what is sent then are an entry's own words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache

from zhiban.assistant.normalising import plain
from zhiban.assistant.numerals import DIGITS, HAN, NUMBER, value
from zhiban.assistant.passages import PassageLike, words_of
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.patterns import lazy_pattern


class StatedFact(StrEnum):
    URL = "url"
    EMAIL = "email"
    PHONE = "phone"
    ACCOUNT = "account"  # WeChat, QQ and the like
    DATE = "date"
    CLOCK = "clock"
    PRICE = "price"
    PERCENT = "percent"
    DISCOUNT = "discount"
    DURATION = "duration"
    NUMBER = "number"
    CITATION = "citation"


@frozen_dataclass
class Ungrounded:
    """A fact of the answer that no passage holds. `surface` is how the answer wrote it."""

    fact: StatedFact
    surface: str


@frozen_dataclass
class _FactMatch:
    fact: StatedFact
    surface: str
    value: str


def check(answer: str, passages: Sequence[PassageLike], *, citations: Sequence[int] = ()) -> list[Ungrounded]:
    """Everything in `answer` that the passages do not hold, and citations (counted from 1) that name none of them."""
    known = {fact for passage in passages for fact in _facts_of_passage(words_of(passage))}
    known |= _also_known(known)
    wrong = [
        Ungrounded(found.fact, found.surface) for found in _facts(answer) if (found.fact, found.value) not in known
    ]
    wrong += [Ungrounded(StatedFact.CITATION, str(number)) for number in citations if not 1 <= number <= len(passages)]
    return list(dict.fromkeys(wrong))


def ways_to_reach(text: str) -> list[str]:
    """The e-mail addresses, telephone numbers and named accounts in it, as they are written there."""
    return [
        found.surface
        for found in _facts(text)
        if found.fact in (StatedFact.EMAIL, StatedFact.PHONE)
        or (found.fact is StatedFact.ACCOUNT and found.surface.lower() != found.value)
    ]


@lru_cache(512)  # the same entries answer most of what is asked
def _facts_of_passage(words: str) -> frozenset[tuple[StatedFact, str]]:
    return frozenset((found.fact, found.value) for found in _facts(words))


def _also_known(known: set[tuple[StatedFact, str]]) -> set[tuple[StatedFact, str]]:
    """What follows from the known: the site of a page, and that a number is a number with or without its unit."""
    more = {(StatedFact.URL, value.partition("/")[0]) for fact, value in known if fact is StatedFact.URL}
    more |= {(StatedFact.NUMBER, value) for fact, value in known if fact in (StatedFact.PHONE, StatedFact.ACCOUNT)}
    more |= {(StatedFact.PHONE, value) for fact, value in known if fact is StatedFact.NUMBER}
    for fact, written in known:
        if fact is StatedFact.DATE and written.count("-") == 2:
            year, _, day = written.partition("-")
            more |= {(StatedFact.DATE, day), (StatedFact.NUMBER, year)}
        if fact in (StatedFact.PRICE, StatedFact.PERCENT, StatedFact.DISCOUNT, StatedFact.DURATION):
            more.add((StatedFact.NUMBER, written.partition(" ")[0]))
    return more


# ------------------------------------------------------------------------------------------- reading facts

_URL_CHAR = r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+;=%|]"
_TLD = (
    "com|cn|net|org|io|co|cc|me|tv|top|xyz|vip|shop|store|site|online|app|dev|info|biz|club|link|live|ltd|group|work"
    "|tech|cloud|fun|pro|ink|wang|edu|gov|hk|tw|mo|us|uk|jp|kr|sg|de|fr|ru|eu|ai|in|test|example|local"
)
_HAN_TLD = (
    "中国|中國|公司|网络|網絡|商城|网址|集团|在线|中文网|我爱你|手机|购物|网店|移动|香港|台湾|世界|时尚|信息|企业|商店|餐厅|娱乐|游戏|健康"
    "|政务|公益|网站"
)
_END = r"(?![A-Za-z0-9])"
_START = r"(?<![A-Za-z0-9])"
_REST = rf"(?::\d{{2,5}})?(?:[/?#]{_URL_CHAR}*)?"

_URL = lazy_pattern(
    rf"[A-Za-z][A-Za-z0-9+.\-]{{1,20}}://{_URL_CHAR}+"
    rf"|{_START}(?:[A-Za-z0-9\-]{{1,63}}\.){{1,6}}(?:[A-Za-z]{{2,24}}|xn--[A-Za-z0-9\-]{{2,59}}){_END}{_REST}"
    rf"|(?<!\w)\w[\w\-]{{0,62}}(?:\.[\w\-]{{1,63}}){{0,3}}\.(?:(?:{_TLD}){_END}|(?:{_HAN_TLD})){_REST}"
    rf"|{_START}\d{{1,3}}(?:\.\d{{1,3}}){{3}}{_END}{_REST}",
    re.IGNORECASE,
)
# What stands before an address in Chinese, which leaves no space.
_BEFORE_HOST = lazy_pattern(
    r"^.*(?:详见|请见|参见|访问|登录|登陆|打开|进入|浏览|查看|官网|网站|网址|域名|地址|搜索|[看到去在是为或和见上的])(?=[^.]*[\w一-鿿][^.]*\.)"
)
_EMAIL = lazy_pattern(r"[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)+")
_ACCOUNT_NAME = r"(@?[A-Za-z][A-Za-z0-9_\-]{4,29}(?<![\-_])|\d{5,12})(?![A-Za-z0-9])"
_ACCOUNT_IS = r"[::号群是为加搜索\s“\"「『【+]"
_ACCOUNT = lazy_pattern(
    r"(?:微信公众|公众|微信|薇信|威信|徽信|维信|v信|企微|加\s?(?:v|微|薇|q|扣|我|好友|客服)|qq|q群|扣扣|企鹅|wechat|weixin|(?<![a-z])vx?"
    r"|(?<![a-z])wx|(?<![a-z])tg|电报|telegram|whatsapp|(?<![a-z])line|skype|抖音|小红书|旺旺|飞机)"
    r"(?:群|号码?|帐号|账号|信|\s|id|[::=]|是|为|加|搜索?|[“\"「『【+])"
    rf"{_ACCOUNT_IS}*{_ACCOUNT_NAME}",
    re.IGNORECASE,
)
# Letters and digits in one word, or an underscore: the name of an account, a code, a model.
_CODE = lazy_pattern(
    r"(?<![A-Za-z0-9_\-])(?=[A-Za-z0-9\-]*[A-Za-z])(?=[A-Za-z_\-]*\d|[A-Za-z0-9\-]*_)[A-Za-z][A-Za-z0-9_\-]{5,29}(?![A-Za-z0-9_\-])"
)
_SEP = r"[ \-.‐–—]?"
_PHONE = lazy_pattern(
    r"(?<![\d.])(?:"
    rf"(?:\(?\+?86\)?{_SEP})?1[3-9]\d{_SEP}\d{{4}}{_SEP}\d{{4}}"
    rf"|(?:\(?\+?86\)?{_SEP})?\(?0\d{{2,3}}\)?{_SEP}\d{{3,4}}{_SEP}\d{{4}}(?:\s?(?:转|ext\.?|-)\s?\d{{1,6}})?"
    rf"|[48]00{_SEP}\d{{3,4}}{_SEP}\d{{3,4}}"
    rf"|\+\d{{1,3}}(?:[ \-.()]{{0,2}}\d){{6,14}}"
    r")(?!\d)",
    re.IGNORECASE,
)
_DATE = lazy_pattern(
    rf"(?:(?P<year>\d{{4}}|[{''.join(DIGITS)}]{{4}})\s?[年/\-.]\s?)?"
    rf"(?P<month>\d{{1,2}}|[{HAN}]{{1,3}})(?P<sep>\s?月\s?|[/\-.])"
    rf"(?P<day>\d{{1,2}}|[{HAN}]{{1,4}})(?P<end>\s?[日号])?(?!\d)"
)
_NOT_A_TIME = r"(?<![下上前后以这那几有早晚快慢差第])"
_PERIOD = "凌晨|清晨|早上|早晨|上午|中午|下午|傍晚|晚上|夜里|夜间|晚间|早|晚"
_CLOCK = lazy_pattern(
    rf"(?:(?P<period>{_PERIOD})\s?|{_NOT_A_TIME})(?:"
    r"(?<![\d:.])(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?::[0-5]\d)?(?!\d)(?:\s?(?P<half>[ap])\.?m\b)?"
    rf"|(?<![\d.])(?P<hour2>[01]?\d|2[0-4]|[{HAN}]{{1,3}})\s?[点时](?P<rest>整|钟|半|一刻|三刻|\d{{1,2}}分?|[{HAN}]{{1,3}}分)?"
    r"|(?<![\d.])(?P<hour3>1[0-2]|0?[1-9])\s?(?P<half3>[ap])\.?m\b)",
    re.IGNORECASE,
)
_CURRENCY = r"(?:¥|￥|\$|€|£|HK\$|US\$|RMB|CNY|USD|HKD|EUR)"
_MONEY_UNIT = r"(?:元|块钱?|圆|美元|美金|港币|港元|欧元|英镑|日元|RMB|CNY|USD|HKD|EUR|yuan|dollars?|毛钱?|角|分钱)"
_PRICE = lazy_pattern(
    rf"(?P<before>{_CURRENCY})\s?(?P<amount>{NUMBER})"
    rf"|(?P<amount2>{NUMBER})\s?(?P<unit>{_MONEY_UNIT})(?![A-Za-z])(?P<tail>\d|[{HAN}])?",
    re.IGNORECASE,
)
_PERCENT = lazy_pattern(rf"(?P<amount>{NUMBER})\s?(?:%|percent\b|个?百分点)|百分之(?P<amount2>{NUMBER})", re.IGNORECASE)
_DISCOUNT = lazy_pattern(rf"(?P<amount>\d(?:\.\d)?|\d\d|[{''.join(DIGITS)}]{{1,2}})\s?折(?!叠|腾|磨|扣率)")
_DURATION_UNIT = (
    r"(?:个?半?(?:工作日|交易日|自然日|小时|钟头|月|季度|星期|礼拜)|个?(?:工作天)|分钟|秒钟?|天|日|周年?|年"
    r"|(?:business|working)\s(?:days?|hours?)|seconds?|minutes?|mins?|hours?|hrs?|days?|weeks?|months?|years?)"
)
_DURATION = lazy_pattern(
    rf"(?<![的每哪有某另{HAN}\d.])(?P<amount>{NUMBER}|半)\s?(?P<unit>{_DURATION_UNIT})(?P<half>半)?(?![A-Za-z])",
    re.IGNORECASE,
)
_RANGE = lazy_pattern(
    rf"(?<![\d\-.])(?P<low>\d+(?:\.\d+)?|[{HAN}]{{1,5}})\s?(?:个?(?:工作日|小时|分钟|天|日|元|块|年|周|%|折|点))?"
    r"\s?(?:-|~|–|—|至|到|或)+\s?"
    rf"(?=(?:{NUMBER})\s?(?P<unit>{_DURATION_UNIT}|{_MONEY_UNIT}|%|折))",
    re.IGNORECASE,
)
_NUMBER = lazy_pattern(r"(?<![A-Za-z\d.])\d+(?:,\d{3})*(?:\.\d+)?(?![\d])")
_COUNTED = lazy_pattern(
    r"\s?(?:次|件|张|位|名|人|倍|岁|台|份|套|积分|分(?!钟)|公里|千米|千克|公斤|斤|米|厘米|[kK]?[gG]|[kK]?[mM]|GB|MB)"
)
_LIST_NUMBER = lazy_pattern(
    r"(?m)^\s*(?:[-*#>]+\s*)?(?:第\s?)?\(?\d{1,2}(?:[.、)]|步)(?!\d)|(?<=[。;；:])\s*\d{1,2}[.、)](?!\d)"
)

_FactParser = Callable[[re.Match[str]], "str | None"]


def _facts(text: str) -> Iterator[_FactMatch]:
    """The facts of a text, each once and under its most telling kind: a phone number is not also a number."""
    left = plain(text)
    for fact, pattern, read in _READERS:
        kept: list[str] = []
        end = 0
        for match in pattern.finditer(left):
            written = read(match)
            if written is None:
                continue
            yield _FactMatch(fact, match.group().strip(), written)
            kept += (left[end : match.start()], " \x00 ")  # a wall, so that neighbours do not grow together
            end = match.end()
        left = "".join((*kept, left[end:]))
        if fact is StatedFact.CLOCK:
            yield from _ranges(left)
            left = _LIST_NUMBER.sub("\n", left)


def _ranges(text: str) -> Iterator[_FactMatch]:
    """The low end of 1-7个工作日, which shares the unit of the high end."""
    for match in _RANGE.finditer(text):
        unit, low = match["unit"], match["low"]
        if unit == "%":
            yield from _one(StatedFact.PERCENT, match, _amount(low))
        elif unit == "折":
            yield from _one(StatedFact.DISCOUNT, match, _amount(low))
        elif re.fullmatch(_MONEY_UNIT, unit, re.IGNORECASE):
            yield from _one(StatedFact.PRICE, match, _money(low, unit))
        else:
            yield from _one(StatedFact.DURATION, match, _span(low, unit, half=False))


def _one(fact: StatedFact, match: re.Match[str], written: str | None) -> Iterator[_FactMatch]:
    if written is not None:
        yield _FactMatch(fact, match.group().strip(), written)


def _url(match: re.Match[str]) -> str | None:
    address = match.group().rstrip(".,;:!?'\"*_~")
    for opening, closing in ("()", "[]"):
        while address.endswith(closing) and address.count(opening) < address.count(closing):
            address = address[:-1].rstrip(".,;:!?'\"*")
    scheme, mark, rest = address.partition("://")
    if not mark:
        rest = address
    elif scheme.lower() not in ("http", "https"):
        return address.lower()
    host, slash, path = rest.partition("/")
    suffix = host.partition(":")[0].rpartition(".")[2]
    if not mark and suffix.istitle() and not re.fullmatch(_TLD, suffix, re.IGNORECASE):
        return None  # a sentence that begins without a space
    host = _BEFORE_HOST.sub("", host)
    return (host.lower().removeprefix("www.") + slash + path).rstrip("/") or None


def _phone(match: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", match.group())
    return digits[2:] if digits.startswith("86") and len(digits) >= 12 else digits


def _date(match: re.Match[str]) -> str | None:
    if "月" not in match["sep"] and not match["year"]:
        return None  # 1-7 is no date
    month, day = value(match["month"]), value(match["day"])
    if month is None or day is None or not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    year = value(match["year"]) if match["year"] else None
    return "-".join(str(int(part)) for part in (year, month, day) if part is not None)


_AFTERNOON = ("下午", "傍晚", "晚上", "晚间", "夜里", "夜间", "晚")


def _clock(match: re.Match[str]) -> str | None:
    written = match["hour"] or match["hour2"] or match["hour3"]
    if match["hour2"] and not (match["rest"] or match["period"] or written.isdecimal()):
        return None  # 两点 may be two remarks
    hour = value(written)
    if hour is None or hour > 24:
        return None
    minutes = int(hour) * 60 + _minutes(match["minute"] or match["rest"] or "")
    late = (match["half"] or match["half3"] or "").lower() == "p" or match["period"] in _AFTERNOON
    if (late and hour < 12) or (match["period"] == "中午" and hour < 3):
        minutes += 12 * 60
    return str(minutes % (24 * 60))


def _minutes(rest: str) -> int:
    if rest in ("", "整", "钟"):
        return 0
    if rest in ("半", "一刻", "三刻"):
        return {"半": 30, "一刻": 15, "三刻": 45}[rest]
    return int(value(rest.rstrip("分")) or 0)


def _amount(written: str | None) -> str | None:
    number = None if written is None else value(written)
    return None if number is None else _exact(number)


def _exact(number: Decimal) -> str:
    return format(number.normalize(), "f")


_CURRENCIES = {
    "$": "usd", "us$": "usd", "usd": "usd", "美元": "usd", "美金": "usd", "dollar": "usd", "dollars": "usd",
    "hk$": "hkd", "hkd": "hkd", "港币": "hkd", "港元": "hkd", "€": "eur", "eur": "eur", "欧元": "eur",
    "£": "gbp", "英镑": "gbp", "日元": "jpy",
}  # fmt: skip


def _money(written: str, unit: str, tail: str | None = None) -> str | None:
    number = value(written)
    if number is None:
        return None
    if unit in ("毛", "毛钱", "角"):
        number /= 10
    elif unit == "分钱":
        number /= 100
    elif tail and unit in ("块", "元") and (more := value(tail)) is not None and more < 10:
        number += more / 10  # 9块9
    return f"{_exact(number)} {_CURRENCIES.get(unit.lower(), 'cny')}"


def _price(match: re.Match[str]) -> str | None:
    if match["before"]:
        return _money(match["amount"], match["before"])
    return _money(match["amount2"], match["unit"], match["tail"])


def _percent(match: re.Match[str]) -> str | None:
    return _amount(match["amount"] or match["amount2"])


def _discount(match: re.Match[str]) -> str | None:
    number = _amount(match["amount"])
    return number[0] + "." + number[1] if number and len(number) == 2 and number.isdecimal() else number


_SECONDS = (
    ("秒", 1), ("second", 1), ("分", 60), ("min", 60), ("小时", 3600), ("钟头", 3600), ("hour", 3600), ("hr", 3600),
    ("天", 86400), ("日", 86400), ("day", 86400), ("周", 604800), ("星期", 604800), ("礼拜", 604800), ("week", 604800),
)  # fmt: skip
_MONTHS = (("季度", 3), ("月", 1), ("month", 1), ("年", 12), ("year", 12))


def _span(written: str, unit: str, *, half: bool) -> str | None:
    number = value(written)
    if number is None:
        return None
    unit = unit.lower()
    if half or "半" in unit:
        number += Decimal("0.5")
    if any(word in unit for word in ("工作", "交易", "business", "working")):
        return f"{_exact(number)} " + ("workhour" if "hour" in unit else "workday")
    for word, months in _MONTHS:
        if word in unit and "周" not in unit:
            return f"{_exact(number * months)} month"
    for word, seconds in _SECONDS:
        if word in unit and "年" not in unit:
            return f"{_exact(number * seconds)} second"
    return f"{_exact(number * 12)} month"  # 周年


def _duration(match: re.Match[str]) -> str | None:
    unit = match["unit"]
    if unit in ("日", "周", "年", "月") and match["amount"] != "半":
        number = value(match["amount"])
        if unit == "月" or (number is not None and number > 1900):
            return None  # 三月 and 2026年 are dates, read as plain numbers
    if match["amount"] == "一" and unit == "天" and match.string[match.end() :].startswith(("天", "比")):
        return None
    return _span(match["amount"], unit, half=bool(match["half"]))


def _number(match: re.Match[str]) -> str | None:
    written = match.group().replace(",", "")
    if len(written) == 1 and not _COUNTED.match(match.string, match.end()):
        return None  # 分2步: single digits without a unit count the answer's own parts
    if written.isdecimal() and len(written) > 4:
        return written  # an order number keeps its leading zeros
    return _amount(written)


def _lower(match: re.Match[str]) -> str:
    return match.group().lower().rstrip(".-")


_READERS: tuple[tuple[StatedFact, re.Pattern[str], _FactParser], ...] = (
    (StatedFact.EMAIL, _EMAIL, _lower),
    (StatedFact.URL, _URL, _url),
    (StatedFact.ACCOUNT, _ACCOUNT, lambda match: match[1].lower()),
    (StatedFact.ACCOUNT, _CODE, _lower),
    (StatedFact.DATE, _DATE, _date),
    (StatedFact.PHONE, _PHONE, _phone),
    (StatedFact.CLOCK, _CLOCK, _clock),
    (StatedFact.PRICE, _PRICE, _price),
    (StatedFact.PERCENT, _PERCENT, _percent),
    (StatedFact.DISCOUNT, _DISCOUNT, _discount),
    (StatedFact.DURATION, _DURATION, _duration),
    (StatedFact.NUMBER, _NUMBER, _number),
)
