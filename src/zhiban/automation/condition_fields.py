"""What conditions share: the types of their fields, and how they are said."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from pydantic import Field

from zhiban.automation.operators import plain
from zhiban.automation.wording import RuleWording
from zhiban.kit.i18n import mark

MOST = 200  # entries of one list
MOST_DAYS = 100_000.0  # before now: what lies further back is no date any more

StatusName = Literal["pending", "open", "snoozed", "resolved"]
DatabaseId = Annotated[int, Field(gt=0, lt=1 << 63)]
Ids = Annotated[tuple[DatabaseId, ...], Field(max_length=MOST)]
Statuses = Annotated[tuple[StatusName, ...], Field(max_length=4)]
PriorityNumber = Annotated[int, Field(ge=0, le=4)]
Word = Annotated[str, Field(min_length=1, max_length=500)]
WordList = Annotated[tuple[Word, ...], Field(max_length=MOST)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Language = Literal["zh", "latin", "ja", "ko", "other"]
MessageKind = Literal[
    "text", "image", "voice", "video", "file", "location", "link", "card", "miniprogram", "menu", "note"
]
MessageAuthor = Literal["contact", "assistant", "agent", "servicer", "rule", "flow", "api"]

IS_LABELS = {"any_of": mark("{what}是{value}"), "none_of": mark("{what}不是{value}"),
       "present": mark("有{what}"), "not_present": mark("没有{what}")}  # fmt: skip
OPERATOR_LABELS = {
    "equal": mark("{what}是{value}"), "not_equal": mark("{what}不是{value}"),
    "contains": mark("{what}包含{value}"), "not_contains": mark("{what}不包含{value}"),
    "starts_with": mark("{what}以{value}开头"), "matches": mark("{what}符合{value}"),
    "present": mark("有{what}"), "not_present": mark("没有{what}"),
    "greater": mark("{what}大于{value}"), "less": mark("{what}小于{value}"),
    "days_before": mark("{what}早于{value}天前"),
    "at_least": mark("{what}不低于{value}"), "at_most": mark("{what}不高于{value}"),
}  # fmt: skip
CHANGE_LABELS = (
    mark("{what}有变化"), mark("{what}变为{to}"), mark("{what}不再是{past}"), mark("{what}由{past}变为{to}"),
)  # fmt: skip
MESSAGE_KINDS = {
    "text": mark("文字"), "image": mark("图片"), "voice": mark("语音"), "video": mark("视频"), "file": mark("文件"),
    "location": mark("位置"), "link": mark("链接"), "card": mark("名片"), "miniprogram": mark("小程序"),
    "menu": mark("菜单"), "note": mark("备注"),
}  # fmt: skip
AUTHORS = {
    "contact": mark("联系人"), "assistant": mark("值班助手"), "agent": mark("客服"),
    "servicer": mark("平台客户端里的同事"), "rule": mark("规则"), "flow": mark("流程"),
    "api": mark("接口"),
}  # fmt: skip
LANGUAGES = {
    "zh": mark("中文"), "latin": mark("英文等"), "ja": mark("日文"), "ko": mark("韩文"), "other": mark("其他语言"),
}  # fmt: skip


def said_of(words: RuleWording, table: Mapping[str, str], operator: str, what: str, value: str = "") -> str:
    return words.texts(table[operator], what=words.texts(what), value=value)


def changed_of(words: RuleWording, what: str, past: str, to: str) -> str:
    return words.texts(CHANGE_LABELS[bool(to) + 2 * bool(past)], what=words.texts(what), past=past, to=to)


def value_of(words: RuleWording, operator: str, what: str, values: tuple[str, ...]) -> str:
    said = values[0] if operator in ("greater", "less", "days_before") and values else words.quoted(values)
    return words.texts(OPERATOR_LABELS[operator], what=what, value=said)


Bind = Callable[[object], str]  # takes a value for a statement and answers the name under which SQL has it


def choice_sql(operator: str, column: str, wanted: tuple[int, ...], bind: Bind) -> str:
    """SQL for what `choice_holds` says of a column that holds one id or nothing."""
    match operator:
        case "present":
            return f"{column} is not null"
        case "not_present":
            return f"{column} is null"
        case "any_of":
            return f"{column} = any({bind(list(wanted))}::bigint[])"
        case _:
            return f"({column} is null or {column} <> all({bind(list(wanted))}::bigint[]))"


# A value as `operators.plain` compares it; whether it is a number or a day, which nothing has to cast to be told.
_PLAIN = "lower(btrim(normalize({value}, NFKC)))"
_IS_NUMBER = r"(length({value}) < 40 and {value} ~ '^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{{1,2}})?\s*$')"
_IS_DAY = r"{value} ~ '^\d{{4}}-\d\d-\d\d$'"
_MOMENT = """to_char({moment} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') collate "C\""""


def value_sql(operator: str, value: str, wanted: tuple[str, ...], bind: Bind, *, plain_value: str = "") -> str:
    """SQL for what `value_holds` says of one text; what cannot be compared is not found.

    `plain_value`: where the text stands as it is compared, if that is kept.
    """
    plain_value = plain_value or _PLAIN.format(value=value)
    match operator:
        case "present":
            return f"coalesce({value}, '') <> ''"
        case "not_present":
            return f"coalesce({value}, '') = ''"
        case "equal" | "not_equal":
            found = f"coalesce({plain_value} = any({bind([plain(one) for one in wanted])}::text[]), false)"
        case "contains" | "not_contains":
            found = _any(f"position({{}} in {plain_value}) > 0", wanted, bind)
        case "starts_with":
            found = _any(f"starts_with({plain_value}, {{}})", wanted, bind)
        case "days_before":
            moment = f"(%(now)s::timestamptz - {bind(float(wanted[0]))}::float8 * interval '1 day')"
            earlier = f"{value} || 'T00:00:00.000000' < {_MOMENT.format(moment=moment)}"
            return f"coalesce({_IS_DAY.format(value=value)} and {earlier}, false)"
        case _:
            compared = f"({value})::float8 {NUMBER_SIGNS[operator]} {bind(float(wanted[0]))}::float8"
            return f"case when {_IS_NUMBER.format(value=value)} then {compared} else false end"
    return f"not {found}" if operator.startswith("not_") else found


def _any(holds: str, wanted: tuple[str, ...], bind: Bind) -> str:
    """SQL for whether `holds` does of one of these texts: one by one, which costs a third of reading them as rows."""
    each = (holds.format(f"{bind(plain(one))}::text") for one in wanted)
    return f"coalesce({' or '.join(each)}, false)"


NUMBER_SIGNS = {"equal": "=", "not_equal": "<>", "greater": ">", "less": "<", "at_least": ">=", "at_most": "<="}


def one_or_none(value: int | None) -> tuple[int, ...]:
    return () if value is None else (value,)


def fits(wanted: tuple[object, ...], actual: object) -> bool:
    return not wanted or actual in wanted


def check_wanted(operator: str, wanted: tuple[object, ...]) -> None:
    """Raises ValueError where nothing is named that something could be compared with, or no number that fits."""
    if operator in ("present", "not_present"):
        return
    if not wanted:
        raise ValueError(mark("It does not say with what to compare."))
    if operator in ("greater", "less", "days_before"):
        try:
            number = float(str(wanted[0]))
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or (operator == "days_before" and abs(number) > MOST_DAYS):
            raise ValueError(mark("Only numbers can be compared like that."))
