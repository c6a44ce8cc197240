"""How the assistant of one inbox behaves and when it hands over. `policy_file` reads it from YAML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from zhiban.channels.business_hours import Hours
from zhiban.kit.errors import Misconfigured
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts, mark
from zhiban.kit.text import size_of
from zhiban.ports.notifiers import parse_address

_TEXT_SIZE = 2000  # bytes: a welcome, a notice and a closing text are one message each
SURVEY_TEXT_SIZE = 1000  # bytes: with its choices it is a menu, of which channels take less than of a text
ANSWERS_AFTER = timedelta(minutes=10)


@frozen_dataclass
class Problem:
    """One mistake of a policy file. `field` is a path such as handoff.max_failures, `line` counts from 1."""

    line: int | None
    field: str
    message: str

    def told(self, texts: Texts) -> str:
        """The mistake in the reader's language."""
        if self.line:
            where = texts("第{line}行", line=self.line) + (f" {self.field}" if self.field else "")
        else:
            where = self.field or texts("整个文件")
        return texts("{where}：{mistake}", where=where, mistake=texts.error(self.message))

    def __str__(self) -> str:
        where = f"line {self.line}" if self.line else "the file"
        return f"{where}, {self.field}: {self.message}" if self.field else f"{where}: {self.message}"


class PolicyMistake(Misconfigured):
    """The policy cannot be used. `problems` names each mistake with its line and field."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("The policy has mistakes: " + "; ".join(map(str, self.problems)))


def _one_message(text: str) -> str:
    if size_of(text) > _TEXT_SIZE:
        raise ValueError(mark(f"is {size_of(text)} bytes long; one message holds at most {_TEXT_SIZE}"))
    if any((char < " " and char not in "\n\t") or "\ud800" <= char <= "\udfff" or char == "\x7f" for char in text):
        raise ValueError(mark("has control characters"))
    return text.strip()


def _question(text: str, info: ValidationInfo) -> str:
    # What was stored before there was this bound is still read.
    if info.context is not None and size_of(text) > SURVEY_TEXT_SIZE:
        raise ValueError(mark(f"is {size_of(text)} bytes long; a question has at most {SURVEY_TEXT_SIZE}"))
    return text


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else ([] if value is None else value)


def _word(text: str) -> str:
    text = text.strip()
    if not text:
        raise ValueError(mark("is empty"))
    if len(text) > 50:
        raise ValueError(mark("is longer than 50 characters"))
    return text


def _address(text: str) -> str:
    try:
        parse_address(text)
    except Misconfigured as error:
        raise ValueError(error.sentence) from None
    return text.strip()


def _target(text: str) -> str:
    text = text.strip()
    kind, colon, servicer = text.partition(":")
    if (kind in ("pool", "desk") and not colon) or (kind == "servicer" and servicer.strip()):
        return text
    raise ValueError(mark('must be "pool", "desk" or "servicer:" with a member\'s user id'))


Line = Annotated[str, AfterValidator(_one_message)]
PolicyWords = Annotated[tuple[Annotated[str, AfterValidator(_word)], ...], BeforeValidator(_one_or_many)]
Addresses = Annotated[tuple[Annotated[str, AfterValidator(_address)], ...], BeforeValidator(_one_or_many)]


class _PolicyPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_NEW = {"new": True}  # the context of what somebody has just written, unlike what is stored
SURVEY_TEXT = "这次服务您满意吗？请选一项："
IDLE_TEXT = mark("很久没有收到您的消息，这次咨询就先到这里。需要时随时再发消息给我们。")  # offered, said only if chosen
AWAY_TEXT = mark("现在是非工作时间，您的消息已经收到，我们上班后第一时间回复您。")  # offered, as that of `auto_resolve`
HANDOFF_TEXT = "这个问题我为您转接人工客服，请稍候，客服会尽快回复您。"
HANDOFF_TEXT_WHEN_ASKED = "好的，为您转接人工客服，请稍候，客服会尽快回复您。"


class HandoffPolicy(_PolicyPart):
    """When and how a conversation goes from the assistant to people."""

    words: PolicyWords = Field(
        default=(), description="Words that hand off at once, wherever they stand in a message", max_length=500
    )
    max_failures: int = Field(default=2, ge=1, le=10, description="How often the assistant may fail in a row")
    when_upset: bool = Field(default=True, description="Whether anger and threats hand off at once")
    to: Annotated[str, AfterValidator(_target)] = Field(
        default="desk",
        description='Where the session goes at the vendor: "pool", "servicer:<userid>", or "desk" (stays with us)',
    )
    text: Line = Field(default=HANDOFF_TEXT, description="What the contact is told")
    text_out_of_hours: Line = Field(
        default="这个问题需要人工客服为您处理。现在是非工作时间，您的问题已经记录，客服上班后会第一时间回复您。",
        description="What the contact is told when nobody is there",
    )
    notify: Addresses = Field(default=(), description="Who is told, besides NOTIFICATION_CHANNEL", max_length=20)

    @property
    def text_when_asked(self) -> str:
        """What a contact is told who asked for a person: our own words fit that, an operator's are kept."""
        return HANDOFF_TEXT_WHEN_ASKED if self.text == HANDOFF_TEXT else self.text

    @property
    def servicer(self) -> str | None:
        """The vendor's user id of the person who takes it, when one is named."""
        kind, _, servicer = self.to.partition(":")
        return servicer.strip() if kind == "servicer" else None


class Zones(_PolicyPart):
    """Confidence from which to answer, and from which to suggest; replaces what the base calibrated itself."""

    answer: float = Field(ge=0, le=2)
    suggest: float = Field(ge=0, le=2)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.suggest > self.answer:
            raise ValueError(mark("suggest must not be above answer"))
        return self


class AutoResolve(_PolicyPart):
    """After how many hours without a word a conversation is resolved in which nobody waits for us."""

    answered_hours: float | None = Field(
        default=24, gt=0, le=8760, description="Conversations that the assistant has answered. Null: never"
    )
    open_hours: float | None = Field(
        default=None, gt=0, le=8760, description="Conversations that people have answered. Null: never"
    )
    text: Line = Field(default="", description="Said to the contact then, in place of `closing`. Empty: `closing`")
    label: int | None = Field(
        default=None,
        ge=1,
        le=2**63 - 1,
        description="A label, by its number, that the conversation is given then. Null: none",
    )


class SurveyPolicy(_PolicyPart):
    """Whether contacts are asked how it was, once a person has answered them and the conversation is resolved."""

    ask: bool = Field(default=False, description="on: they are asked, in the chat where they can tap, else by a link")
    text: Annotated[Line, AfterValidator(_question)] = Field(
        default=SURVEY_TEXT, min_length=1, description="The question; the choices follow by themselves"
    )


class AssignmentPolicy(_PolicyPart):
    """To whom open conversations go that nobody has. Agents are given something only while they are online."""

    by: Literal["off", "round_robin", "balanced"] = Field(
        default="off",
        description="off: people take them; round_robin: to each in turn; balanced: to whoever has fewest open",
    )
    first: Literal["longest_waiting", "oldest"] = Field(
        default="longest_waiting", description="Which is given away first: who waits longest, or was created first"
    )
    team: int | None = Field(default=None, ge=1, description="Only to members of this team, by its number")
    most: int | None = Field(
        default=None, ge=1, le=10_000, description="Open conversations of an agent in all inboxes. Null: any number"
    )
    most_here: int | None = Field(
        default=None, ge=1, le=10_000, description="Open conversations of an agent in this inbox. Null: any number"
    )
    fair_limit: int | None = Field(
        default=None, ge=1, le=10_000, description="How many an agent is given within fair_minutes. Null: any number"
    )
    fair_minutes: int = Field(default=60, ge=1, le=1440)
    weight: float = Field(
        default=1.0, gt=0, le=100, description="What one conversation of this inbox counts for where loads are balanced"
    )
    except_labels: Annotated[tuple[int, ...], BeforeValidator(_one_or_many)] = Field(
        default=(), max_length=100, description="What has one of these labels, by number, is left to people"
    )
    offline_minutes: float | None = Field(
        default=2.0,
        ge=0,
        le=1440,
        description="How long an agent is offline before those who wait for them go to others. Null: they stay",
    )


class Policy(_PolicyPart):
    """Everything an operator decides about the assistant of one inbox."""

    assistant: bool = Field(default=True, description="on: the assistant answers; off: everything goes to people")
    welcome: Line = Field(
        default="您好，我是智能助手，请直接说您的问题。需要人工时，回复“转人工”。", description="Empty: none"
    )
    closing: Line = Field(default="", description="Sent when a conversation is resolved. Empty: none")
    away: Line = Field(
        default="",
        description="Said once a day to who writes, outside the hours, in what people have. Empty: nothing",
    )
    handoff: HandoffPolicy = Field(default_factory=HandoffPolicy)
    hours: Hours = Field(default_factory=Hours, description="When people are there. Left out: always")
    assignment: AssignmentPolicy = Field(
        default_factory=AssignmentPolicy, description="To whom open conversations go that nobody has"
    )
    survey: SurveyPolicy = Field(default_factory=SurveyPolicy, description="Asking contacts how it was")
    auto_resolve: AutoResolve = Field(default_factory=AutoResolve, description="What is resolved when nobody goes on")
    zones: Zones | None = Field(default=None, description="Left out: calibrated per knowledge base (advised)")

    @property
    def answers_after(self) -> timedelta:
        """Messages that are older when they reach us are for people, not for the assistant."""
        return ANSWERS_AFTER

    @property
    def resolve_answered(self) -> timedelta | None:
        hours = self.auto_resolve.answered_hours
        return None if hours is None else timedelta(hours=hours)

    @property
    def resolve_idle(self) -> timedelta | None:
        hours = self.auto_resolve.open_hours
        return None if hours is None else timedelta(hours=hours)


def parse_policy(values: object, lines: Mapping[tuple[str, ...], int] = MappingProxyType({})) -> Policy:
    """The policy that fields say, as they stand in a file or a form. `lines` tells where a field stands in its file.

    Raises PolicyMistake with every mistake and its field.
    """
    try:
        return Policy.model_validate(values, context=_NEW)
    except ValidationError as error:
        raise PolicyMistake(problems_of(error, lines)) from None


def assignment_policy(values: Mapping[str, Any]) -> AssignmentPolicy:
    """The part of a policy from single values. Raises PolicyMistake with every mistake and its field."""
    try:
        return AssignmentPolicy.model_validate(values)
    except ValidationError as error:
        raise PolicyMistake(problems_of(error)) from None


_SAYINGS = {
    "extra_forbidden": mark("there is no such field"),
    "missing": mark("is missing"),
    "bool_parsing": mark("must be on or off"),
    "bool_type": mark("must be on or off"),
    "int_parsing": mark("must be a whole number"),
    "float_parsing": mark("must be a number"),
    "string_type": mark("must be a text"),
    "tuple_type": mark("must be a list"),
    "dict_type": mark("must be a list of fields"),
    "model_type": mark("must be a list of fields"),
    "date_from_datetime_parsing": mark("must be a date such as 2026-10-01"),
    "date_parsing": mark("must be a date such as 2026-10-01"),
    "greater_than_equal": mark("must be greater than or equal to {ge}"),
    "less_than_equal": mark("must be less than or equal to {le}"),
    "string_too_short": mark("is empty"),
    "too_long": mark("has more than {max_length} entries"),
}


def problems_of(error: ValidationError, lines: Mapping[tuple[str, ...], int] = MappingProxyType({})) -> list[Problem]:
    """Every mistake in words. `lines` tells where a field stands in its file."""
    problems = []
    for detail in error.errors(include_url=False):
        path = tuple(str(part) for part in detail["loc"] if part != "[key]")
        known = path
        while known and known not in lines:
            known = known[:-1]
        said = _SAYINGS.get(detail["type"])
        message = said.format(**detail.get("ctx", {})) if said else detail["msg"].removeprefix("Value error, ")
        message = message.replace("Input should be", "must be")
        problems.append(Problem(lines.get(known), ".".join(path), message))
    return problems
