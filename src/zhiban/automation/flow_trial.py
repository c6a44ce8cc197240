"""Tries a flow without a contact: what it would say to these words, one after the other. Touches nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Literal

from zhiban.assistant.decide import Pending
from zhiban.assistant.person_requests import asks_for_person
from zhiban.automation.flow_definition import FlowDefinition
from zhiban.automation.flow_talk import Ask, AwaitAnswer, Finish, FlowProgress, GivenAnswer, Leave, follow, spoken
from zhiban.automation.texts import filled_with
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.ports import Kind, Limits

PICTURE = "[image]"  # stands for a picture that the contact sends
_LIMITS = Limits(text=2000, menus=True)
_RUN = 0


@frozen_dataclass
class TrialLine:
    """What was said; `options` can be tapped."""

    who: Literal["flow", "contact"]
    text: str
    options: tuple[str, ...] = ()


@frozen_dataclass
class FlowTrial:
    """The dialogue so far. `outcome` is how it ended, empty while it goes on."""

    lines: tuple[TrialLine, ...]
    answers: tuple[GivenAnswer, ...]
    outcome: str = ""


def try_flow(definition: FlowDefinition, said: Sequence[str], *, name: str, today: date) -> FlowTrial:
    """The flow with a contact called `name` who says this; what comes after its end is not heard."""
    progress, lines = FlowProgress(), [_asked(definition, Ask(FlowProgress()), name)]
    for words in said:
        lines.append(TrialLine("contact", words))
        found = follow(
            definition.steps,
            progress,
            [Pending(Kind.IMAGE) if words == PICTURE else Pending(Kind.TEXT, words)],
            run_id=_RUN,
            wants_person=asks_for_person(words),
            today=today,
        )
        progress = found.progress
        match found:
            case Ask():
                lines.append(_asked(definition, found, name))
            case AwaitAnswer():
                pass
            case Finish():
                return FlowTrial(tuple(lines), progress.answers, "finished")
            case Leave(outcome=outcome):
                return FlowTrial(tuple(lines), progress.answers, outcome)
    return FlowTrial(tuple(lines), progress.answers)


def _asked(definition: FlowDefinition, asking: Ask, name: str) -> TrialLine:
    place = asking.progress.step
    step = definition.steps[place]
    question = filled_with(step.question, name=name, conversation_id=1)
    said = spoken(step, place, question=question, problem=asking.problem, run_id=_RUN, limits=_LIMITS)
    return TrialLine("flow", said.text, tuple(choice.label for choice in said.choices))
