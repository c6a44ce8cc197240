"""Slots for answers where nobody shares them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from zhiban.kit.clock import Clock
from zhiban.ports import IncomingMessage, ReplySlot, TakenSlot


@dataclass(slots=True)
class _HeldSlot:
    slot: ReplySlot
    thread: str
    message: str
    taken: TakenSlot
    message_key: str | None = None
    text: str | None = None
    closed: bool = False


class MemorySlots:
    """`ReplySlots` for one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[str, _HeldSlot] = {}

    def open(self, messages: Sequence[IncomingMessage]) -> None:
        """Let these messages be answered."""
        for message in messages:
            for slot in message.slots:
                taken = TakenSlot(slot.key, slot.how, slot.address, until=slot.until)
                self._held.setdefault(slot.key, _HeldSlot(slot, message.thread, message.external_id, taken))

    async def fetch(self, key: str) -> str | None:
        """What the vendor is given that asks for this slot."""
        held = self._held.get(key)
        if held is None or held.text is None:
            return None
        held.taken = replace(held.taken, given=True)
        return held.text

    def forget(self, key: str) -> None:
        """Its time has long been over."""
        del self._held[key]

    async def take(self, thread: str, message_key: str, text: str, *, answers: str | None = None) -> TakenSlot | None:
        now = self._clock.now()
        mine = [one for one in self._held.values() if one.message_key == message_key and not one.closed]
        if mine:
            return mine[0].taken
        free = [
            one
            for one in reversed(self._held.values())
            if one.thread == thread and one.message_key is None and not one.closed and one.slot.until > now
        ]
        if not free:
            return None
        found = min(free, key=lambda one: (one.message != answers, one.slot.how))
        found.message_key = message_key
        found.text = text if found.slot.how == "fetched" else None
        return found.taken

    async def given(self, slot: TakenSlot) -> bool:
        return slot.key in self._held and self._held[slot.key].taken.given

    async def close(self, slot: TakenSlot) -> bool:
        held = self._held[slot.key]
        if held.taken.given:
            return False
        held.closed, held.message_key, held.text = True, None, held.slot.otherwise
        return True

    async def trying(self, slot: TakenSlot) -> None:
        self._held[slot.key].taken = replace(slot, tried=True)

    async def untried(self, slot: TakenSlot) -> None:
        self._held[slot.key].taken = replace(slot, tried=False)

    async def done(self, slot: TakenSlot) -> None:
        self._held[slot.key].taken = replace(slot, given=True)
