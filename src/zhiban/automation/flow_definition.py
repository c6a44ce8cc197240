"""What a flow is made of: what it asks, what is done at the end; and how that is read, stored and said."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from zhiban.automation.actions import FlowAction
from zhiban.automation.definition import bad_definition, check_texts
from zhiban.automation.flow_steps import Step
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.wording import RuleWording
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark

WhenSilent = Literal["finish", "people", "assistant"]
WhenCancelled = Literal["people", "assistant"]
SILENT_LABELS = {
    "finish": mark("照答到的收尾"),
    "people": mark("转交人工"),
    "assistant": mark("留给值班助手"),
}


@rule_part
class FlowDefinition(RulePart):
    """Asks `steps` in their order, then `actions` are done.

    A contact who is silent for `minutes` is asked no more: then the end comes as `when_silent` says; one who does not
    want to go on gets what `when_cancelled` says. Who asks for a person gets one, whatever stands here.
    """

    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=20)]
    actions: Annotated[tuple[FlowAction, ...], Field(max_length=20)] = ()
    minutes: Annotated[int, Field(ge=1, le=60 * 24 * 7)] = 60
    when_silent: WhenSilent = "finish"
    when_cancelled: WhenCancelled = "people"

    def to_json(self) -> str:
        return _adapter().dump_json(self).decode()

    def plain(self) -> dict[str, Any]:
        """As plain values, for files and forms."""
        found: dict[str, Any] = _adapter().dump_python(self, mode="json")
        return found

    def label(self, words: RuleWording) -> str:
        """In one sentence: `依次问手机号（电话）、订单号（编号），然后转交人工`."""
        texts = words.texts
        asked = texts("、").join(one.label(words) for one in self.steps)
        done = texts("，再").join(words.inside(one.label(words)) for one in self.actions)
        said = (
            texts("依次问{asked}，然后{done}", asked=asked, done=done) if done else texts("依次问{asked}", asked=asked)
        )
        silent = words.inside(texts(SILENT_LABELS[self.when_silent]))
        return texts(
            "{said}；对方超过{span}没有回复，就{silent}", said=said, span=words.span(self.minutes), silent=silent
        )


@frozen_dataclass
class FlowInFile:
    """A flow as a file tells it."""

    name: str
    enabled: bool
    definition: FlowDefinition


@cache
def _adapter() -> TypeAdapter[FlowDefinition]:
    return TypeAdapter(FlowDefinition)


def load_flow(values: Mapping[str, Any]) -> FlowDefinition:
    """The flow that plain values describe. Raises BadDefinition."""
    try:
        found = _adapter().validate_python(values)
    except ValidationError as error:
        raise bad_definition(error) from None
    check_texts(values)
    return found
