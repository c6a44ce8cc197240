"""Which colleagues type where, and that others came or went: looked up for everybody of a process, told at a pace."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence, Set
from datetime import timedelta

from zhiban.conversations.access import changed_conversations
from zhiban.conversations.drafts import Typist, typists
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.frozen_dataclass import frozen_dataclass

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.1
PACE_SECONDS = 2.0  # between two notices of one colleague in one conversation; browsers save a draft as often
TYPES_FOR = timedelta(seconds=6)  # after the last words; browsers show it as long


@frozen_dataclass
class TypingNotice:
    """Everybody who types in a conversation now; nobody, when the last one has stopped."""

    conversation_id: int
    inbox_id: int
    typists: tuple[Typist, ...]
    viewing: bool = False  # whether somebody opened or left it

    def frame(self, agent_id: int) -> str:
        """The server-sent event for this agent, who knows what they do themselves."""
        others = [{"name": one.name, "mode": one.mode} for one in self.typists if one.agent_id != agent_id]
        viewing = {"viewing": True} if self.viewing else {}
        data = json.dumps({"conversation": self.conversation_id, "typing": others, **viewing})
        return f"event: typing\ndata: {data}\n\n"


class _LastTold:
    """What was told of one conversation."""

    def __init__(self) -> None:
        self.shown: set[int] = set()  # agents
        self.at: dict[int, float] = {}  # when somebody was told of an agent last, by the loop's clock

    def is_news(self, typing: set[int], at: float) -> bool:
        """Whether to tell it: who has stopped at once, who types (on) at a pace."""
        return bool(self.shown - typing) or any(at - self.at.get(one, -PACE_SECONDS) >= PACE_SECONDS for one in typing)

    def told(self, typing: set[int], at: float) -> None:
        self.shown = typing
        self.at |= dict.fromkeys(typing, at)


class TypingNotices:
    """Looks up who types where drafts changed, and hands on what is news."""

    def __init__(self, database: Database, clock: Clock, tell: Callable[[int, TypingNotice], None]) -> None:
        self._database = database
        self._clock = clock
        self._tell = tell
        self._changed: dict[int, set[int]] = {}  # conversations to look at, by workspace
        self._viewed: dict[int, set[int]] = {}  # of those, where somebody came or went
        self._looking: dict[int, asyncio.Task[None]] = {}
        self._told: dict[tuple[int, int], _LastTold] = {}  # by workspace and conversation

    def draft_changed(self, workspace_id: int, conversation_id: int) -> None:
        self._changed.setdefault(workspace_id, set()).add(conversation_id)
        if workspace_id not in self._looking:
            self._looking[workspace_id] = asyncio.create_task(self._look(workspace_id), name="who types")

    def viewers_changed(self, workspace_id: int, conversation_id: int) -> None:
        self._viewed.setdefault(workspace_id, set()).add(conversation_id)
        self.draft_changed(workspace_id, conversation_id)

    def close(self) -> None:
        for task in self._looking.values():
            task.cancel()

    async def _look(self, workspace_id: int) -> None:
        try:
            while workspace_id in self._changed:
                await asyncio.sleep(GATHER_SECONDS)
                ids, viewed = sorted(self._changed.pop(workspace_id)), self._viewed.pop(workspace_id, set())
                for notice in await self._notices(workspace_id, ids, viewed):
                    self._tell(workspace_id, notice)
        except Exception:  # whatever it is: the next words bring the next notice
            log.exception("Who types in workspace %s cannot be told.", workspace_id)
            self._changed.pop(workspace_id, None)
            self._viewed.pop(workspace_id, None)
        finally:
            del self._looking[workspace_id]

    async def _notices(self, workspace_id: int, ids: Sequence[int], viewed: Set[int]) -> list[TypingNotice]:
        async with self._database.transaction(workspace_id) as tx:
            found = await typists(tx, ids, since=self._clock.now() - TYPES_FOR)
            places = await changed_conversations(tx, ids)
        at = asyncio.get_running_loop().time()
        old = at - TYPES_FOR.total_seconds()
        self._told = {key: told for key, told in self._told.items() if max(told.at.values(), default=0.0) > old}
        notices = []
        for place in places:
            here = tuple(one for one in found if one.conversation_id == place.id)
            told, typing = self._told.setdefault((workspace_id, place.id), _LastTold()), {one.agent_id for one in here}
            if told.is_news(typing, at) or place.id in viewed:
                told.told(typing, at)
                notices.append(TypingNotice(place.id, place.inbox_id, here, place.id in viewed))
        return notices
