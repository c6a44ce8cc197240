"""What would have been decided lately if the base had been as it is now, or run in another way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from zhiban.assistant import finding
from zhiban.assistant.finding import Found
from zhiban.assistant.reading import questions_in
from zhiban.assistant.searching import Searcher
from zhiban.channels import inboxes
from zhiban.channels.policy import Policy
from zhiban.kit.db import Transactions
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge import queries
from zhiban.knowledge.evaluation import Configuration
from zhiban.knowledge.followups import is_follow_up
from zhiban.knowledge.queries import DEFAULT_BASE
from zhiban.knowledge.retrieval import ConfidenceBand
from zhiban.knowledge.vectors import Embedders
from zhiban.people.permissions import Access

MOST_REPLAYED = 500  # questions, the newest
MOST_CHANGED = 50  # that are listed
_DECIDED = {"Answer": ConfidenceBand.ANSWER, "Suggest": ConfidenceBand.SUGGEST, "HandOff": ConfidenceBand.HANDOFF}

# A person asked for, and what was only politeness, no base decides.
_RECENT = """
select t.question, t.decision, t.citations, c.inbox_id, t.finished_at as at from turn t
join conversation c on c.workspace_id = t.workspace_id and c.id = t.conversation_id
where t.finished_at >= %(since)s and t.zone is not null and t.decision in ('Answer', 'Suggest', 'HandOff')
  and t.reason not in ('asked', 'word', 'upset', 'cannot_read', 'about_order', 'allowance')
order by t.id desc limit %(limit)s"""


@frozen_dataclass
class DecidedTurn:
    """What was decided about a question."""

    question: str
    decision: str
    citations: list[dict[str, Any]]
    inbox_id: int
    at: datetime

    @property
    def zone(self) -> ConfidenceBand:
        return _DECIDED[self.decision]

    @property
    def article_id(self) -> int | None:
        """The entry that was given as the answer."""
        cited = self.citations if self.decision == "Answer" else []
        return int(cited[0]["article_id"]) if cited else None


@frozen_dataclass
class ChangedDecision:
    """A question that would be treated in another way now. `before` and `now` are titles, empty where none answers."""

    question: str
    at: datetime
    zone_before: str
    zone_now: str
    before: str
    now: str


@frozen_dataclass
class Replay:
    """`skipped` leaned on what was said before them, and mean nothing alone."""

    asked: int
    skipped: int
    changed: int
    changes: list[ChangedDecision]


async def replay(
    transaction: Transactions,
    configuration: Configuration,
    installed: Embedders,
    *,
    since: datetime,
    threshold: float | None = None,
    most: int = MOST_REPLAYED,
    access: Access | None = None,
) -> Replay:
    """Ask again what contacts asked since then in the inboxes that the base serves, by each inbox's policy, and compare
    with what was decided. Of these inboxes, those that `access` sees; None: all. Raises NotFound."""
    searcher = Searcher(configuration.embedders(installed), top_k=3, threshold=configuration.threshold or threshold)
    async with transaction() as tx:
        base = await queries.base_by_slug(tx, configuration.base)
        if base is None:
            raise NotFound(f"There is no knowledge base named {configuration.base}.")
        recent = await tx.objects(DecidedTurn, _RECENT, since=since, limit=most)
        listed = await inboxes.inboxes(tx)
        titles = await queries.titles(tx, [turn.article_id for turn in recent if turn.article_id is not None])
    policies = {inbox.id: Policy.model_validate(inbox.policy) for inbox in listed}
    served = {inbox.id for inbox in listed if (inbox.base or DEFAULT_BASE) == configuration.serving}
    if access is not None:
        served = {inbox_id for inbox_id in served if access.sees(inbox_id)}
    asked = list(_once(turn for turn in recent if turn.inbox_id in served))
    alone = [turn for turn in asked if not is_follow_up(turn.question)]
    changes = []
    for turn in alone:
        found = await _ask(transaction, searcher, base.id, turn.question, policies[turn.inbox_id])
        zone = found.zone if found is not None else ConfidenceBand.HANDOFF
        first = found.result.passages[0] if found is not None and found.result.passages else None
        answered = first if zone is ConfidenceBand.ANSWER else None
        same = answered is None or turn.article_id is None or answered.article_id == turn.article_id
        if zone is not turn.zone or not same:
            before = titles.get(turn.article_id or 0, "")
            now = answered.title if answered is not None else ""
            changes.append(ChangedDecision(turn.question, turn.at, str(turn.zone), str(zone), before, now))
    return Replay(len(alone), len(asked) - len(alone), len(changes), changes[:MOST_CHANGED])


def _once(turns: Iterator[DecidedTurn]) -> Iterator[DecidedTurn]:
    """Each question with what was last decided about it."""
    seen: set[str] = set()
    for turn in turns:
        if turn.question.strip() and turn.question not in seen:
            seen.add(turn.question)
            yield turn


async def _ask(
    transaction: Transactions, searcher: Searcher, base_id: int, question: str, policy: Policy
) -> Found | None:
    plans = finding.plan(questions_in(question)[:1], None)
    return (await searcher.search(transaction, base_id, plans, policy))[0] if plans else None
