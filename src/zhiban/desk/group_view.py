"""What is shown of a group beside its messages."""

from __future__ import annotations

from typing import Literal

from zhiban.conversations.groups import GroupChat
from zhiban.conversations.participants import GroupSize, Participant
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge.queries import BaseRow
from zhiban.tickets.repositories import RepositoryLink


@frozen_dataclass
class GroupView:
    """A group, with how many are in it. `names` are its members, for who writes @."""

    chat: GroupChat
    size: GroupSize
    members: tuple[Participant, ...]
    names: tuple[str, ...]
    mention: bool = False  # whether members whom we name are told
    may_configure: bool = False
    cards: bool = False  # whether the channel has cards with a link
    hears: Literal["all", "addressed", "nothing"] = "all"  # what of its talk reaches us
    repositories: tuple[RepositoryLink, ...] = ()  # that it is linked with, the oldest first
    base: str = ""  # from which it is answered
    bases: tuple[BaseRow, ...] = ()  # from which one may be chosen
