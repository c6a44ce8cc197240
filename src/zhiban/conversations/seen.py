"""What an agent had before them who says that a conversation is done: words that came since are not resolved away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from zhiban.conversations.models import ConversationState, Status
from zhiban.conversations.queries import wrote_since
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@frozen_dataclass
class SeenMessage:
    """The last message that was read in the open conversation."""

    id: int


@frozen_dataclass
class SeenActivity:
    """When something happened last, as the row in the list showed it."""

    at: datetime

    @classmethod
    def parse(cls, stamp: str) -> SeenActivity | None:
        """What `stamp_of` made; None: it is nothing of the kind."""
        if not (stamp.isdecimal() and len(stamp) < 18):
            return None
        return cls(_EPOCH + timedelta(microseconds=int(stamp)))


Seen = SeenMessage | SeenActivity


class WroteMeanwhile(Conflict):
    """The contact wrote after what the agent has read."""

    SENTENCE = mark("The contact has just written again. Read it, then do it once more if that is still right.")

    def __init__(self) -> None:
        super().__init__(self.SENTENCE)


def stamp_of(at: datetime) -> int:
    """A moment in microseconds, for a page to hand back."""
    return (at - _EPOCH) // timedelta(microseconds=1)


async def check_heard(tx: Transaction, state: ConversationState, seen: Seen | None) -> None:
    """Raises WroteMeanwhile where the contact waits with words that were not seen. `state` is that of a locked one.

    What is resolved, a group, and who is blocked wait for nobody. None: whoever asks has nothing before them.
    """
    if state.status is Status.RESOLVED or state.waiting_since is None or state.muted or state.is_group:
        return
    match seen:
        case SeenMessage(id=last):
            unseen = await wrote_since(tx, state.id, last)
        case SeenActivity(at=at):
            unseen = state.last_activity_at is not None and state.last_activity_at > at
        case None:
            unseen = False
    if unseen:
        raise WroteMeanwhile
