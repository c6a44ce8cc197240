"""Asking contacts how it was, once for each cycle that a person answered, and keeping what they say.

A rating belongs to the agent who resolved the cycle, whatever becomes of the conversation. A contact may change it for
a day; it counts once all the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from zhiban.channels.policy import SURVEY_TEXT_SIZE
from zhiban.conversations import transitions
from zhiban.conversations.changes import NoteRating, NoteSurvey
from zhiban.conversations.models import Author, ConversationState
from zhiban.conversations.outbox import allowance_of, enqueue, key_for
from zhiban.conversations.survey_links import SurveyLinks
from zhiban.conversations.threads import MatchedConversation
from zhiban.events import SYSTEM, Actor, ConversationResolved
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Gone, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts, mark
from zhiban.kit.text import clean, cut_bytes
from zhiban.people.permissions import Access
from zhiban.ports import Choice, IncomingMessage, Kind, Limits, SenderRole

OPEN_FOR = timedelta(days=7)  # how long a contact may answer
CHANGE_FOR = timedelta(days=1)  # how long they may think better of it
LONGEST_COMMENT = 1000  # characters
MOST_CHANGES = 10  # how often an answer is kept, the first one included: each of them is a fact for ever

RATING_LABELS: Mapping[int, str] = {
    5: mark("非常满意"),
    4: mark("满意"),
    3: mark("一般"),
    2: mark("不满意"),
    1: mark("很不满意"),
}

_CHOICE = re.compile(r"csat_([0-9]{1,18})_([1-5])", re.ASCII)
_SURVEY = """
select id, conversation_id, inbox_id, cycle, agent_id, team_id, asked_at, rating, comment, rated_at, changes
from survey where id = %(id)s"""


class SurveyClosed(Gone):
    """It is too late to rate or to change a rating, or it was changed too often."""


@frozen_dataclass
class Survey:
    """One question to a contact, and what they said."""

    id: int
    conversation_id: int
    inbox_id: int
    cycle: int
    agent_id: int | None
    team_id: int | None
    asked_at: datetime
    rating: int | None
    comment: str
    rated_at: datetime | None
    changes: int

    @property
    def until(self) -> datetime:
        """Until when the contact may say something."""
        return self.asked_at + OPEN_FOR if self.rated_at is None else self.rated_at + CHANGE_FOR

    def closed(self, now: datetime) -> bool:
        """Whether nothing more is taken: it is too late, or was changed too often."""
        return now >= self.until or self.changes >= MOST_CHANGES


@frozen_dataclass
class RatingLine:
    """What a contact said, for those who look at them: about which conversation, and who had resolved it."""

    conversation_id: int
    rating: int
    comment: str
    rated_at: datetime
    agent_name: str | None


async def survey_of(tx: Transaction, survey_id: int) -> Survey:
    """Raises NotFound."""
    found = await tx.object(Survey, _SURVEY, id=survey_id)
    if found is None:
        raise NotFound("There is no such survey.")
    return found


async def ratings_of(tx: Transaction, contact_id: int | None, access: Access, *, limit: int = 3) -> list[RatingLine]:
    """What a contact said last, in the inboxes that `access` sees, the newest first."""
    return await tx.objects(
        RatingLine,
        "select s.conversation_id, s.rating, s.comment, coalesce(s.changed_at, s.rated_at) as rated_at, "
        "a.name as agent_name from conversation c "
        "join survey s on s.workspace_id = c.workspace_id and s.conversation_id = c.id and s.rating is not null "
        "left join agent a on a.workspace_id = s.workspace_id and a.id = s.agent_id "
        f"where c.contact_id = %(contact)s{access.condition('c.inbox_id')} order by rated_at desc limit %(limit)s",
        contact=contact_id,
        limit=limit,
        **access.params,
    )


async def ask(
    tx: Transaction,
    state: ConversationState,
    resolved: ConversationResolved,
    *,
    text: str,
    limits: Limits,
    texts: Texts,
    links: SurveyLinks,
    now: datetime,
) -> ConversationState:
    """Ask about the cycle that was resolved, for a conversation that this transaction has locked.

    Not when no person answered in it, when it was asked about before, or when the channel lets nothing through now.
    Where contacts cannot tap an entry of a menu, a link to our page is sent, if anybody said what our address is.
    """
    way: Literal["menu", "link"] = "menu" if limits.menus else "link"
    if state.first_reply_at is None or allowance_of(state, limits.reply_window).closed(now):
        return state
    if way == "link" and not links.usable:
        return state
    agent_id = resolved.actor.id if resolved.actor.kind == "agent" else None
    survey_id = await tx.value(
        "insert into survey (workspace_id, conversation_id, inbox_id, cycle, agent_id, team_id, asked_at) "
        "values (%(workspace)s, %(conversation)s, %(inbox)s, %(cycle)s, %(agent)s, %(team)s, %(now)s) "
        "on conflict (workspace_id, conversation_id, cycle) do nothing returning id",
        workspace=tx.workspace_id,
        conversation=state.id,
        inbox=state.inbox_id,
        cycle=state.cycle,
        agent=agent_id,
        team=resolved.team_id,
        now=now,
    )
    if survey_id is None:
        return state
    noted = NoteSurvey(survey_id, agent_id, way)
    state = (await transitions.apply_to(tx, state, noted, actor=SYSTEM, now=now)).state
    key = key_for("survey", tx.workspace_id, survey_id)
    if way == "link":
        link = links.to(tx.workspace_id, survey_id, until=now + OPEN_FOR)
        return await _say(tx, state, survey_id, text, below=f"\n{link}", key=key, limits=limits, now=now)
    choices = tuple(Choice(f"csat_{survey_id}_{rating}", texts(words)) for rating, words in RATING_LABELS.items())
    question = cut_bytes(text, SURVEY_TEXT_SIZE)  # one that was stored before there was this bound
    return await _say(tx, state, survey_id, question, key=key, limits=limits, now=now, choices=choices)


async def thank(
    tx: Transaction, survey_id: int, *, limits: Limits, texts: Texts, links: SurveyLinks, now: datetime
) -> None:
    """Thank who tapped a rating, and tell them where they can say more. Once, and only while the channel lets us."""
    survey = await survey_of(tx, survey_id)
    state = await transitions.lock(tx, survey.conversation_id)
    if allowance_of(state, limits.reply_window).closed(now):
        return
    below = ""
    if links.usable:
        link = links.to(tx.workspace_id, survey_id, until=survey.until)
        below = "\n" + texts("想多说几句：{link}", link=link)
    key = key_for("survey thanks", tx.workspace_id, survey_id)
    await _say(tx, state, survey_id, texts("谢谢您的评价！"), below=below, key=key, limits=limits, now=now)


async def _say(
    tx: Transaction,
    state: ConversationState,
    survey_id: int,
    text: str,
    *,
    key: str,
    limits: Limits,
    now: datetime,
    choices: Sequence[Choice] = (),
    below: str = "",
) -> ConversationState:
    """`below` is the link, which is for the contact alone: the desk does not show it."""
    queued = await enqueue(
        tx,
        state,
        author=Author.SYSTEM,
        actor=SYSTEM,
        text=text + below,
        key=key,
        limits=limits,
        now=now,
        kind=Kind.MENU if choices else Kind.TEXT,
        choices=choices,
        content={"survey": survey_id, "below": below},
        most=1,
    )
    return queued.state


# ---------------------------------------------------------------------------------------------- what contacts say


@frozen_dataclass
class TappedRating:
    survey_id: int
    rating: int


async def tapped_ratings(
    tx: Transaction, messages: Sequence[IncomingMessage], matched: Mapping[str, MatchedConversation]
) -> dict[str, TappedRating]:
    """Which of these messages are taps on a survey of their own conversation, by the vendor's id."""
    taps = {
        message.external_id: (TappedRating(int(found[1]), int(found[2])), matched[message.thread].state.id)
        for message in messages
        if message.role is SenderRole.CONTACT and message.choice and (found := _CHOICE.fullmatch(message.choice))
    }
    if not taps:
        return {}
    rows = await tx.rows(
        "select id, conversation_id from survey where id = any(%(ids)s::bigint[])",
        ids=[tap.survey_id for tap, _ in taps.values()],
    )
    known = {tuple(row) for row in rows}
    return {id_: tap for id_, (tap, conversation) in taps.items() if (tap.survey_id, conversation) in known}


async def rate_tapped(tx: Transaction, taps: Sequence[TappedRating], *, now: datetime) -> None:
    """Keep what was tapped, in this order; what comes too late changes nothing."""
    for tap in taps:
        try:
            await rate(tx, tap.survey_id, rating=tap.rating, way="menu", now=now)
        except SurveyClosed:
            continue


async def rate(
    tx: Transaction,
    survey_id: int,
    *,
    rating: int,
    way: Literal["menu", "page"],
    now: datetime,
    comment: str | None = None,
) -> bool:
    """Keep a rating of 1 to 5, in place of an earlier one. `comment` None leaves what was said before.

    False when nothing changes. Raises SurveyClosed, NotFound.
    """
    conversation_id = (await survey_of(tx, survey_id)).conversation_id
    state = await transitions.lock(tx, conversation_id)
    survey = await survey_of(tx, survey_id)  # whoever rates holds the conversation's lock
    if survey.closed(now):
        raise SurveyClosed("This survey is closed.")
    said = survey.comment if comment is None else clean(comment).strip()[:LONGEST_COMMENT]
    if (survey.rating, survey.comment) == (rating, said):
        return False
    await tx.run(
        "update survey set rating = %(rating)s, comment = %(comment)s, rated_at = coalesce(rated_at, %(now)s), "
        "changed_at = case when rated_at is not null then %(now)s::timestamptz end, changes = changes + 1 "
        "where id = %(id)s",
        rating=rating,
        comment=said,
        now=now,
        id=survey_id,
    )
    change = NoteRating(
        survey_id, survey.cycle, survey.agent_id, survey.team_id, rating, survey.rating, said or None, way
    )
    await transitions.apply_to(tx, state, change, actor=Actor("contact", state.contact_id), now=now)
    return True
