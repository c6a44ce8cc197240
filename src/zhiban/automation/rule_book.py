"""The rules of each workspace, read once and kept until somebody changes them."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from zhiban.automation.conditions import needs_agents, needs_contact_labels
from zhiban.automation.definition import BadDefinition, Definition, load_definition
from zhiban.automation.queries import enabled_rules
from zhiban.automation.triggers import TRIGGERING, may_trigger
from zhiban.events import ConversationEvent, RuleAdded, RuleChanged, RuleRemoved
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass

log = logging.getLogger(__name__)

GOOD_FOR_SECONDS = 30.0  # a notice between processes may be lost; then a new rule begins this much later


@frozen_dataclass
class CompiledRule:
    """A rule that works, ready to be asked."""

    id: int
    revision: int
    name: str
    stops: bool
    definition: Definition
    needs_agents: bool = False
    needs_contact_labels: bool = False


@frozen_dataclass
class CompiledRules:
    """All rules of a workspace that work, and those that facts of each kind may set off, in their order."""

    every: tuple[CompiledRule, ...]
    by_kind: dict[type[ConversationEvent], tuple[CompiledRule, ...]]
    waiting: tuple[CompiledRule, ...]  # those that act because time has passed
    until: float


class RuleBook:
    """Knows the rules of each workspace without asking the database for every fact.

    A change made in this process is known at once, one made elsewhere as soon as its notice arrives, and within
    GOOD_FOR_SECONDS in any case. A rule that was changed or switched off is never acted on by who does not know that
    yet: its row is compared when it fires.
    """

    def __init__(self) -> None:
        self._known: dict[int, CompiledRules] = {}
        self._generation = 0

    async def rules(self, tx: Transaction) -> CompiledRules:
        """The rules of this transaction's workspace."""
        known = self._known.get(tx.workspace_id)
        if known is not None and known.until > time.monotonic():
            return known
        generation = self._generation
        compiled = _compiled(await _readable(tx))
        if generation == self._generation:  # otherwise somebody changed them while they were read
            self._known[tx.workspace_id] = compiled
        return compiled

    def forget(self, workspace_id: int, _rule_id: int = 0) -> None:
        """Read this workspace's rules anew before the next fact."""
        self._generation += 1
        self._known.pop(workspace_id, None)

    def forget_all(self) -> None:
        """Notices of changes may have been missed."""
        self._generation += 1
        self._known.clear()

    async def forget_changed(self, tx: Transaction, _event: RuleAdded | RuleChanged | RuleRemoved) -> None:
        """The handler of facts about rules: this transaction knows of it at once, others when it is committed."""
        workspace_id = tx.workspace_id
        self.forget(workspace_id)
        tx.after_commit(lambda: self.forget(workspace_id))


async def _readable(tx: Transaction) -> list[CompiledRule]:
    found = []
    for row in await enabled_rules(tx):
        try:
            definition = load_definition(row.definition)
        except BadDefinition as error:
            log.warning("Rule %s (%s) cannot be read and does nothing: %s", row.id, row.name, error)
            continue
        agents, labels = needs_agents(definition.conditions), needs_contact_labels(definition.conditions)
        found.append(CompiledRule(row.id, row.revision, row.name, row.stops, definition, agents, labels))
    return found


def _compiled(every: Sequence[CompiledRule]) -> CompiledRules:
    by_kind = {
        kind: tuple(rule for rule in every if may_trigger(kind) & set(rule.definition.on)) for kind in TRIGGERING
    }
    return CompiledRules(
        tuple(every),
        {kind: asked for kind, asked in by_kind.items() if asked},
        tuple(rule for rule in every if rule.definition.after is not None),
        time.monotonic() + GOOD_FOR_SECONDS,
    )
