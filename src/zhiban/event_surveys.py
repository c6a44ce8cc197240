"""What contacts are asked about our service, and what they say. Part of `events`.

Both facts are about a cycle that was resolved. `agent_id` is the agent who resolved it (None: a rule, the timer, the
API …), whoever has the conversation by now; what every fact says of it (assignee, team, cycle) is how it is by now.
"""

from __future__ import annotations

from typing import Literal

from zhiban.event_base import ConversationEvent


class SurveyAsked(ConversationEvent):
    """The contact was asked how it was, by a menu in the chat or by a link to a page."""

    survey_id: int
    agent_id: int | None = None
    way: Literal["menu", "link"] = "menu"


class SurveyRated(ConversationEvent):
    """The contact gave 1 (worst) to 5 stars. `previous`: what they had given before, which this replaces."""

    survey_id: int
    rating: int
    resolved_cycle: int
    resolved_team_id: int | None = None  # the team that the conversation had when it was resolved
    previous: int | None = None
    agent_id: int | None = None
    comment: str | None = None
    way: Literal["menu", "page"] = "menu"  # how they said it
