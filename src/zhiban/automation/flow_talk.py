"""What a flow makes of what the contact says. Pure: where it stands and the words in, what comes next out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Literal

from zhiban.assistant import intents
from zhiban.assistant.clauses import clauses, folded
from zhiban.assistant.decide import Pending
from zhiban.assistant.intents import SmallTalkKind
from zhiban.automation.flow_steps import LONGEST_LABEL, READABLE, AnyStep, AskChoice, written
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.text import size_of
from zhiban.ports import Choice, Kind, Limits

MOST_TRIES = 3  # answers that were none, before an optional step is passed over and people get the rest
CANCEL = frozenset(
    {"算了", "算了吧", "取消", "取消吧", "不填了", "不弄了", "不用了", "退出", "结束", "cancel", "stop", "quit", "exit",
     "never mind", "nevermind", "forget it"}
)  # fmt: skip
SKIP = frozenset({"跳过", "略过", "跳过吧", "下一个", "不提供", "skip", "skip it", "pass", "next"})
_MENU_TEXT = 1000  # bytes above a menu that every channel takes


@frozen_dataclass
class GivenAnswer:
    """What was answered to the step at this place."""

    step: int
    name: str
    value: str
    save: str = ""


@frozen_dataclass
class FlowProgress:
    """How far a flow has come: the step that was asked, how often its answer was none, and what was answered."""

    step: int = 0
    tries: int = 0
    answers: tuple[GivenAnswer, ...] = ()


@frozen_dataclass
class Ask:
    """Ask the step at which it stands, with what was wrong about the last words, if anything."""

    progress: FlowProgress
    problem: str = ""


@frozen_dataclass
class AwaitAnswer:
    """The contact has only said that they are about to answer."""

    progress: FlowProgress


@frozen_dataclass
class Finish:
    """Everything was asked."""

    progress: FlowProgress


@frozen_dataclass
class Leave:
    """The flow ends before its time. asked: the contact wants a person; failed: no answer could be had."""

    progress: FlowProgress
    outcome: Literal["asked", "cancelled", "failed"]


Next = Ask | AwaitAnswer | Finish | Leave


def choice_id(run_id: int, step: int, option: int) -> str:
    """Under what a tap on an option comes back."""
    return f"f:{run_id}:{step}:{option}"


def follow(
    steps: Sequence[AnyStep],
    progress: FlowProgress,
    said: Sequence[Pending],
    *,
    run_id: int,
    wants_person: bool,
    today: date,
) -> Next:
    """What comes after what the contact said. `wants_person` is about their words, not about what they tapped."""
    step = steps[progress.step]
    answer = _tapped(step, progress.step, said, run_id)
    if answer is None:
        if wants_person:
            return Leave(progress, "asked")
        answer = _named(step, said)
    if answer is None:
        if _says_only(said, CANCEL):
            return Leave(progress, "cancelled")
        if step.optional and _says_only(said, SKIP):
            return _after(steps, progress)
        answer = step.read(said, today=today)
    if answer is not None:
        given = GivenAnswer(progress.step, step.called, answer, step.save)
        return _after(steps, replace(progress, answers=(*progress.answers, given)))
    if _is_about_to_answer(said):
        return AwaitAnswer(progress)
    tries = progress.tries + 1
    if tries < MOST_TRIES:
        return Ask(replace(progress, tries=tries), step.problem())
    return _after(steps, progress) if step.optional else Leave(replace(progress, tries=tries), "failed")


def _after(steps: Sequence[AnyStep], progress: FlowProgress) -> Next:
    passed = replace(progress, step=progress.step + 1, tries=0)
    return Ask(passed) if passed.step < len(steps) else Finish(replace(passed, step=progress.step))


def tapped_here(said: Sequence[Pending], run_id: int) -> frozenset[str]:
    """The ids of this run's own entries that were tapped: their words are ours."""
    return frozenset(one.choice for one in said if one.choice and one.choice.startswith(f"f:{run_id}:"))


def _tapped(step: AnyStep, place: int, said: Sequence[Pending], run_id: int) -> str | None:
    if not isinstance(step, AskChoice):
        return None
    entries = {choice_id(run_id, place, number): option for number, option in enumerate(step.options)}
    return next((entries[one.choice] for one in said if one.choice in entries), None)


def _named(step: AnyStep, said: Sequence[Pending]) -> str | None:
    """The option that was written exactly as it stands: also where it sounds like wanting to stop."""
    if not isinstance(step, AskChoice):
        return None
    options = {folded(option): option for option in step.options}
    return next((options[one] for text in written(said) if (one := folded(text).strip()) in options), None)


def _says_only(said: Sequence[Pending], words: frozenset[str]) -> bool:
    """Whether a message says one of these and nothing else."""
    return any(len(parts := clauses(one.text)) == 1 and parts[0] in words for one in said if one.kind in READABLE)


def _is_about_to_answer(said: Sequence[Pending]) -> bool:
    texts = written(said)
    return bool(texts) and all(
        intents.small_talk(text) is SmallTalkKind.ACKNOWLEDGED and not any(char.isdecimal() for char in text)
        for text in texts
    )


@frozen_dataclass
class Spoken:
    """A question as the contact reads it."""

    text: str
    kind: Kind = Kind.TEXT
    choices: tuple[Choice, ...] = ()


def spoken(step: AnyStep, place: int, *, question: str, problem: str, run_id: int, limits: Limits) -> Spoken:
    """The question, after what was wrong about the last words; options as a menu where the channel has one."""
    text = f"{problem}\n{question}" if problem else question
    if step.optional:
        text += " (Reply “skip” to leave it out.)" if step.english else "（可以回复“跳过”）"
    if not isinstance(step, AskChoice):
        return Spoken(text)
    entries = tuple(Choice(choice_id(run_id, place, number), one) for number, one in enumerate(step.options))
    if limits.menus and size_of(text) <= _MENU_TEXT and all(size_of(one) <= LONGEST_LABEL for one in step.options):
        return Spoken(text, Kind.MENU, entries)
    listed = "\n".join(f"{number}. {option}" for number, option in enumerate(step.options, 1))
    return Spoken(f"{text}\n{listed}\n" + ("Reply with the number." if step.english else "回复序号即可。"))


def summary(name: str, answers: Sequence[GivenAnswer]) -> str:
    """What was answered, line by line, for colleagues."""
    return "\n".join([name, *(f"{one.name}：{one.value}" for one in answers)])
