"""Answering in slots: where nothing may be said but in answer to a message, and each message opens so many."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

from zhiban.kit.frozen_dataclass import frozen_dataclass


@frozen_dataclass
class TakenSlot:
    """A slot that carries one message of ours, for ever.

    `given`: the vendor has fetched it, or took what we posted. `tried`: we posted it before and do not know what became
    of that. From `until` on the vendor takes nothing there any more.
    """

    key: str
    how: Literal["fetched", "posted"]
    address: str = ""
    given: bool = False
    tried: bool = False
    until: datetime | None = None


class ReplySlots(Protocol):
    """What a vendor may ask of us: the slots of one connection, the same for all processes.

    `message_key` is `Outgoing.key`. Every method raises TryLater when the store does not answer.
    """

    async def take(self, thread: str, message_key: str, text: str, *, answers: str | None = None) -> TakenSlot | None:
        """The slot that carries this message: the one it has, else a free one of its thread; None: there is none.

        Slots of the message that it answers come first, then those that are still fetched, the newest before others.
        """
        ...

    async def given(self, slot: TakenSlot) -> bool:
        """Whether the vendor has fetched it meanwhile."""
        ...

    async def close(self, slot: TakenSlot) -> bool:
        """Nothing is said there any more, and the message has no slot. False when it was given already."""
        ...

    async def trying(self, slot: TakenSlot) -> None:
        """It is posted now."""
        ...

    async def untried(self, slot: TakenSlot) -> None:
        """It was certainly not posted."""
        ...

    async def done(self, slot: TakenSlot) -> None:
        """The vendor took what was posted."""
        ...


@runtime_checkable
class AnswersInSlots(Protocol):
    """A vendor whose messages can only be answered in slots."""

    def use_slots(self, slots: ReplySlots) -> None:
        """From now on these are the slots."""
        ...
