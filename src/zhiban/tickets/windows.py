"""Which messages a command means, as ids that nothing said later can shift."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from zhiban.kit.frozen_dataclass import frozen_dataclass

MOST = 50  # messages of one ticket
SEGMENT_GAP = timedelta(minutes=10)  # a longer silence ends what was talked about
LONGEST_MINUTES = 24 * 60

# Who writes what a ticket may quote. Our own programs are left out.
_SPEAKERS = frozenset(("contact", "agent", "servicer"))
_NO_WORDS = frozenset(("activity", "note", "move"))


@frozen_dataclass
class Segment:
    """What was talked about just now: back to the last silence of more than ten minutes."""


@frozen_dataclass
class LastMessages:
    count: int


@frozen_dataclass
class LastMinutes:
    minutes: int


@frozen_dataclass
class LastOf:
    """The last messages of one speaker; without a count those of the segment."""

    speaker: str
    count: int | None = None


@frozen_dataclass
class FromSpeaker:
    """Everything since the last message of this speaker."""

    speaker: str


@frozen_dataclass
class Between:
    """Everything since the last message with these words, up to the one with those, if they are given."""

    first: str
    last: str = ""


@frozen_dataclass
class QuotedMessage:
    """The message that the command answers."""


@frozen_dataclass
class FromQuoted:
    """Everything since the message that the command answers."""


@frozen_dataclass
class UnclearCount:
    """A number that is none for us: 0, below it, a fraction, 五五."""

    written: str


Window = (
    Segment | LastMessages | LastMinutes | LastOf | FromSpeaker | Between | QuotedMessage | FromQuoted | UnclearCount
)


@frozen_dataclass
class Said:
    """A message before the command. `names`: all that its sender is called; `aside`: a command or an answer to one."""

    id: int
    author: str
    sender_id: int | None
    names: tuple[str, ...]
    kind: str
    text: str
    sent_at: datetime
    recalled: bool = False
    aside: bool = False
    opted_out: bool = False

    @property
    def eligible(self) -> bool:
        return (
            self.author in _SPEAKERS
            and self.kind not in _NO_WORDS
            and not (self.recalled or self.aside or self.opted_out)
        )


@frozen_dataclass
class ChosenMessages:
    """The messages, in their order. `wanted`: how many were asked for, when there were fewer; `cut`: the oldest left
    out because there were more than a ticket takes."""

    ids: tuple[int, ...]
    wanted: int | None = None
    cut: bool = False


class Unclear(StrEnum):
    NOTHING = "nothing"  # nobody said anything that can be taken
    COUNT = "count"  # not a number from 1 to MOST
    TOO_MANY = "too_many"
    SPEAKER = "speaker"  # nobody of that name spoke lately
    WORDS = "words"  # nobody said that lately
    QUOTE = "quote"  # the command answers no message that we know


@frozen_dataclass
class WindowQuestion:
    """Why nothing is chosen, to be asked back. `about`: the number, name or words in question."""

    why: Unclear
    about: str = ""


def choose(
    window: Window, said: Sequence[Said], *, at: datetime, quoted_id: int | None = None
) -> ChosenMessages | WindowQuestion:
    """The messages that `window` means among those said before the command, which was written `at`; oldest first."""
    known: dict[int, Said] = {}
    for one in said:
        known.setdefault(one.id, one)
    eligible = sorted((one for one in known.values() if one.eligible), key=lambda one: one.id)
    if not eligible and not isinstance(window, UnclearCount):
        return WindowQuestion(Unclear.NOTHING)
    match window:
        case UnclearCount(written=written):
            return WindowQuestion(Unclear.COUNT, written)
        case LastMessages(count=count):
            return _last(eligible, count)
        case LastMinutes(minutes=minutes):
            return _since(eligible, at, minutes)
        case LastOf(speaker=speaker, count=count):
            return _of_speaker(eligible, speaker, count)
        case FromSpeaker(speaker=speaker):
            theirs = _called(eligible, speaker)
            return _from(eligible, theirs[-1]) if theirs else WindowQuestion(Unclear.SPEAKER, speaker)
        case Between(first=first, last=last):
            return _between(eligible, first, last)
        case QuotedMessage() | FromQuoted():
            quoted = next((one for one in eligible if one.id == quoted_id), None)
            if quoted is None:
                return WindowQuestion(Unclear.QUOTE)
            return ChosenMessages((quoted.id,)) if isinstance(window, QuotedMessage) else _from(eligible, quoted)
        case Segment():
            return _newest(_segment(eligible))


def _last(eligible: Sequence[Said], count: int) -> ChosenMessages | WindowQuestion:
    if not 1 <= count <= MOST:
        return WindowQuestion(Unclear.COUNT, str(count))
    taken = eligible[-count:]
    return ChosenMessages(_ids(taken), wanted=count if len(taken) < count else None)


def _since(eligible: Sequence[Said], at: datetime, minutes: int) -> ChosenMessages | WindowQuestion:
    if not 1 <= minutes <= LONGEST_MINUTES:
        return WindowQuestion(Unclear.COUNT, str(minutes))
    taken = [one for one in eligible if one.sent_at >= at - timedelta(minutes=minutes)]
    return _newest(taken) if taken else WindowQuestion(Unclear.NOTHING)


def _of_speaker(eligible: Sequence[Said], speaker: str, count: int | None) -> ChosenMessages | WindowQuestion:
    theirs = _called(eligible, speaker)
    if not theirs:
        return WindowQuestion(Unclear.SPEAKER, speaker)
    if count is not None:
        return _last(theirs, count)
    lately = {one.id for one in _segment(eligible)}
    return _newest([one for one in theirs if one.id in lately] or theirs[-1:])


def _between(eligible: Sequence[Said], first: str, last: str) -> ChosenMessages | WindowQuestion:
    begins = _saying(eligible, first)
    if begins is None:
        return WindowQuestion(Unclear.WORDS, first)
    if not last:
        return _from(eligible, begins)
    ends = _saying([one for one in eligible if one.id >= begins.id], last)
    if ends is None:
        return WindowQuestion(Unclear.WORDS, last)
    return _all([one for one in eligible if begins.id <= one.id <= ends.id])


def _from(eligible: Sequence[Said], first: Said) -> ChosenMessages | WindowQuestion:
    return _all([one for one in eligible if one.id >= first.id])


def _all(taken: Sequence[Said]) -> ChosenMessages | WindowQuestion:
    """A beginning that somebody named is not cut away unasked."""
    return ChosenMessages(_ids(taken)) if len(taken) <= MOST else WindowQuestion(Unclear.TOO_MANY, str(len(taken)))


def _newest(taken: Sequence[Said]) -> ChosenMessages:
    return ChosenMessages(_ids(taken[-MOST:]), cut=len(taken) > MOST)


def _segment(eligible: Sequence[Said]) -> Sequence[Said]:
    start = len(eligible) - 1
    while start > 0 and eligible[start].sent_at - eligible[start - 1].sent_at <= SEGMENT_GAP:
        start -= 1
    return eligible[start:]


def _called(eligible: Sequence[Said], speaker: str) -> list[Said]:
    """What a speaker of this name said; of a part of a name only when it fits one speaker."""
    wanted = _folded(speaker)
    exact = [one for one in eligible if wanted in map(_folded, one.names)]
    if exact or not wanted:
        return exact
    partly = [one for one in eligible if any(wanted in _folded(name) for name in one.names)]
    return partly if len({(one.author, one.sender_id, one.names) for one in partly}) == 1 else []


def _saying(eligible: Sequence[Said], words: str) -> Said | None:
    wanted = _folded(words)
    return next((one for one in reversed(eligible) if wanted and wanted in _folded(one.text)), None)


def _folded(text: str) -> str:
    return "".join(text.casefold().split())


def _ids(taken: Sequence[Said]) -> tuple[int, ...]:
    return tuple(one.id for one in taken)
