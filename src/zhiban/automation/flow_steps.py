"""What a flow may ask. Each kind of step is a small class: its question, what counts as an answer, and how it is said.

The union `Step` is the registry, the schema, the validation and the editor's list. `read` is pure: it takes what the
contact said since the question and returns the answer as it is kept, or None where it is none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import date, timedelta
from functools import cache
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Discriminator, Field, TypeAdapter, ValidationError

from zhiban.assistant import numerals
from zhiban.assistant.clauses import folded
from zhiban.assistant.decide import Pending
from zhiban.assistant.intents import is_english
from zhiban.assistant.menu_choice import chosen_by_words
from zhiban.automation.operators import check_pattern, search_pattern
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.texts import check_template
from zhiban.automation.wording import RuleWording
from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import mark
from zhiban.kit.patterns import lazy_pattern
from zhiban.kit.text import clean, size_of
from zhiban.ports import Kind

LONGEST_ANSWER = 1000  # characters that are kept of one
FEWEST_OPTIONS = 2
LONGEST_LABEL = 120  # bytes of an option: what channels take of an entry of a menu
READABLE = (Kind.TEXT, Kind.MENU, Kind.MARKDOWN)
FILES = {
    Kind.IMAGE: ("图片", "picture"),
    Kind.VIDEO: ("视频", "video"),
    Kind.FILE: ("文件", "file"),
    Kind.VOICE: ("语音", "voice message"),
}

QuestionText = Annotated[str, Field(max_length=600), AfterValidator(check_template)]
Retry = Annotated[str, Field(max_length=300)]
AnswerName = Annotated[str, Field(max_length=40)]
Example = Annotated[str, Field(max_length=60)]
# Where the answer is kept besides the note: nowhere, in a field of the conversation, or of the contact.
Save = Annotated[str, Field(max_length=120, pattern=r"^((conversation|contact):.+)?$")]


def _option(text: str) -> str:
    text = " ".join(text.split())
    if not text or size_of(text) > LONGEST_LABEL:
        raise ValueError(mark("An option has 1 to 40 characters."))
    return text


Option = Annotated[str, AfterValidator(_option)]
QuestionOptions = Annotated[tuple[Option, ...], Field(max_length=10)]


def written(said: Sequence[Pending]) -> list[str]:
    """What was written, message by message; those without words are left out."""
    return [text for one in said if one.kind in READABLE and (text := clean(one.text).strip())]


@rule_part
class FlowStep(RulePart):
    """What all steps have in common. `name` is what the answer is called; without one, the question stands for it."""

    question: QuestionText
    name: AnswerName = ""
    optional: bool = False
    save: Save = ""
    retry: Retry = ""

    @property
    def called(self) -> str:
        return self.name or self.question

    @property
    def english(self) -> bool:
        """Whether the contact is spoken to in English: as the question is."""
        return is_english(self.question)

    def read(self, said: Sequence[Pending], *, today: date) -> str | None:
        """The answer among what was said; with several messages the first that is one."""
        texts = (unicodedata.normalize("NFKC", text) for text in written(said))
        return next((found for text in texts if (found := self.found(text, today=today))), None)

    def found(self, text: str, *, today: date) -> str | None:
        """The answer in one text, None where it holds none."""
        raise NotImplementedError

    def hint(self) -> tuple[str, str]:
        """What to say to a contact whose words are no answer, in Chinese and English."""
        raise NotImplementedError

    def problem(self) -> str:
        return self.retry or self.hint()[self.english]

    def asks_for(self, words: RuleWording) -> str:
        """The kind of answer, in words of the page."""
        raise NotImplementedError

    def label(self, words: RuleWording) -> str:
        return words.texts("{name}（{kind}）", name=self.called, kind=words.inside(self.asks_for(words)))


@rule_part
class AskText(FlowStep):
    kind: Literal["text"] = "text"

    def read(self, said: Sequence[Pending], *, today: date) -> str | None:  # noqa: ARG002 - all that was written is one
        return "\n".join(written(said))[:LONGEST_ANSWER] or None

    def hint(self) -> tuple[str, str]:
        return "请用文字回答。", "Please answer in writing."

    def asks_for(self, words: RuleWording) -> str:
        return words.texts("文字")


@rule_part
class AskChoice(FlowStep):
    options: QuestionOptions = ()
    kind: Literal["choice"] = "choice"

    def __post_init__(self) -> None:
        if len(self.options) < FEWEST_OPTIONS:
            raise ValueError(mark("There is nothing to choose from."))
        if len({folded(one) for one in self.options}) < len(self.options):
            raise ValueError(mark("Two options are the same."))

    def found(self, text: str, *, today: date) -> str | None:  # noqa: ARG002
        offered = {one: {"label": one} for one in self.options}
        return chosen_by_words(text, offered)

    def hint(self) -> tuple[str, str]:
        return "请从下面选一个。", "Please choose one of these."

    def asks_for(self, words: RuleWording) -> str:
        return words.texts("选一个：{options}", options=words.either(self.options))


_FIGURES = lazy_pattern(
    r"(?<![A-Za-z\d.])-?(?:\d{1,3}(?:,\d{3}){1,5}(?:\.\d{1,9})?|\d{1,15}(?:\.\d{1,9})?)[万亿]?(?![A-Za-z\d])"
)
_IN_HAN = lazy_pattern(
    rf"(?:要|买|有|共|一共|大概)*(?P<number>[{numerals.HAN}]{{1,12}})[个件只张份位人天次台箱盒套本]?[吧了呢啊。]*"
)


@rule_part
class AskNumber(FlowStep):
    kind: Literal["number"] = "number"

    def found(self, text: str, *, today: date) -> str | None:  # noqa: ARG002
        figures = _FIGURES.findall(text)
        han = _IN_HAN.fullmatch(text) if not figures else None
        said = figures[0] if len(figures) == 1 else han["number"] if han else ""
        value = numerals.value(said.lstrip("-")) if said else None
        return None if value is None else ("-" if said.startswith("-") else "") + f"{value:f}"

    def hint(self) -> tuple[str, str]:
        return "请回复一个数字，例如 2。", "Please reply with a number, such as 2."

    def asks_for(self, words: RuleWording) -> str:
        return words.texts("数字")


_MOBILE = lazy_pattern(r"(?<!\d)(?:\+?0{0,2}86)?(1[3-9]\d{9})(?!\d)")
_LANDLINE = lazy_pattern(r"(?<!\d)(010|02\d|0[3-9]\d{2})-?(\d{7,8})(?!\d)")
_ABROAD = lazy_pattern(r"\+(?!86)[1-9]\d{6,14}(?!\d)")
_BETWEEN_DIGITS = lazy_pattern(r"(?<=\d)[ \-()（）.]{1,2}(?=[\d(（])")


@rule_part
class AskPhone(FlowStep):
    kind: Literal["phone"] = "phone"

    def found(self, text: str, *, today: date) -> str | None:  # noqa: ARG002
        joined = _BETWEEN_DIGITS.sub("", text)
        if mobile := _MOBILE.search(joined):
            return mobile[1]
        if landline := _LANDLINE.search(joined):
            return f"{landline[1]}-{landline[2]}"
        abroad = _ABROAD.search(joined)
        return abroad[0] if abroad else None

    def hint(self) -> tuple[str, str]:
        return (
            "这看起来不是完整的电话号码，请再发一次，例如 13800138000。",
            "That does not look like a whole phone number. Please send it again, such as +44 20 7946 0000.",
        )

    def asks_for(self, words: RuleWording) -> str:
        return words.texts("电话")


_EMAIL = lazy_pattern(r"[A-Za-z0-9._%+\-]{1,64}@(?:[A-Za-z0-9\-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9\-])")


@rule_part
class AskEmail(FlowStep):
    kind: Literal["email"] = "email"

    def found(self, text: str, *, today: date) -> str | None:  # noqa: ARG002
        found = _EMAIL.search(text)
        return found[0] if found else None

    def hint(self) -> tuple[str, str]:
        return (
            "这看起来不是邮箱地址，请再发一次，例如 name@example.com。",
            "That does not look like an e-mail address. Please send it again, such as name@example.com.",
        )

    def asks_for(self, words: RuleWording) -> str:
        return words.texts("邮箱")


_WHOLE_DATE = lazy_pattern(r"(?<!\d)(\d{4})\s?[-/.年]\s?(\d{1,2})\s?[-/.月]\s?(\d{1,2})(?!\d)")
_DAY = lazy_pattern(r"(?<!\d)(\d{1,2})\s?月\s?(\d{1,2})\s?[日号]?(?!\d)")
_NEAR = {"大前天": -3, "前天": -2, "昨天": -1, "今天": 0, "大后天": 3, "后天": 2, "明天": 1, "yesterday": -1,
         "today": 0, "tomorrow": 1}  # fmt: skip
_HALF_A_YEAR = 183


@rule_part
class AskDate(FlowStep):
    """A day: 2026-11-30, 11月30日, 昨天. Without a year it is the nearest such day."""

    kind: Literal["date"] = "date"

    def found(self, text: str, *, today: date) -> str | None:
        if whole := _WHOLE_DATE.search(text):
            return _day(int(whole[1]), int(whole[2]), int(whole[3]))
        if day := _DAY.search(text):
            near = [_day(today.year + n, int(day[1]), int(day[2])) for n in (-1, 0, 1)]
            nearest = min(
                (date.fromisoformat(one) for one in near if one), key=lambda one: abs(one - today), default=None
            )
            return nearest.isoformat() if nearest and abs(nearest - today).days <= 2 * _HALF_A_YEAR else None
        lower = text.lower()
        said = next((days for word, days in _NEAR.items() if word in lower), None)
        return None if said is None else (today + timedelta(days=said)).isoformat()

    def hint(self) -> tuple[str, str]:
        return "请回复一个日期，例如 2026-11-30。", "Please reply with a date, such as 2026-11-30."

    def asks_for(self, words: RuleWording) -> str:
        return words.texts("日期")


def _day(year: int, month: int, day: int) -> str | None:
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return None


@rule_part
class AskCode(FlowStep):
    """An order number or the like, by its pattern. `example` is what the contact is shown of it."""

    pattern: Annotated[str, Field(max_length=200), AfterValidator(check_pattern)] = ""
    example: Example = ""
    kind: Literal["code"] = "code"

    def __post_init__(self) -> None:
        if not self.pattern.strip():
            raise ValueError(mark("It does not say what the number looks like."))

    def found(self, text: str, *, today: date) -> str | None:  # noqa: ARG002
        whole = rf"(?<![A-Za-z0-9])(?:{self.pattern})(?![A-Za-z0-9])"
        try:
            found = search_pattern(whole, text)
        except TimeoutError:
            return None
        return found[0][:LONGEST_ANSWER] if found and found[0] else None

    def hint(self) -> tuple[str, str]:
        if not self.example:
            return "格式好像不对，请核对后再发一次。", "That does not look right. Please check it and send it again."
        return (
            f"格式好像不对，请核对后再发一次，例如 {self.example}。",
            f"That does not look right. Please check it and send it again, such as {self.example}.",
        )

    def asks_for(self, words: RuleWording) -> str:
        if self.example:
            return words.texts("编号，例如{example}", example=self.example)
        return words.texts("编号")


@rule_part
class AskFile(FlowStep):
    """A picture, a video or a file; what is kept is what came, the file itself stands in the thread."""

    kind: Literal["file"] = "file"

    def read(self, said: Sequence[Pending], *, today: date) -> str | None:  # noqa: ARG002
        came = [FILES[one.kind][self.english] for one in said if one.kind in FILES]
        counted = {name: came.count(name) for name in dict.fromkeys(came)}
        return "、".join(f"{name} × {n}" if n > 1 else name for name, n in counted.items()) or None

    def hint(self) -> tuple[str, str]:
        return "请发一张图片或一个文件。", "Please send a picture or a file."

    def asks_for(self, words: RuleWording) -> str:
        return words.texts("图片或文件")


AnyStep = AskText | AskChoice | AskNumber | AskPhone | AskEmail | AskDate | AskCode | AskFile
Step = Annotated[AnyStep, Discriminator("kind")]
STEPS: dict[str, type[AnyStep]] = {one.__dataclass_fields__["kind"].default: one for one in get_args(AnyStep)}


@cache
def _steps() -> TypeAdapter[tuple[Step, ...]]:
    return TypeAdapter(tuple[Step, ...])


def load_steps(values: Sequence[Any]) -> tuple[AnyStep, ...]:
    """The steps that plain values describe. Raises UnreadableSteps where this version knows one of them no more."""
    try:
        return _steps().validate_python(values)
    except ValidationError as error:
        raise UnreadableSteps(mark("This version cannot read what this flow asks.")) from error


class UnreadableSteps(Conflict):
    """What is stored of a flow is none for this version."""
