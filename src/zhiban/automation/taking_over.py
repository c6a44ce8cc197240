"""What a file of rules, flows or snippets would change, entry by entry: it is taken over, and that taken back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal, TypeVar

from zhiban.automation import flow_files, flows, rule_files, service
from zhiban.automation.definition import RuleInFile
from zhiban.automation.flow_definition import FlowInFile
from zhiban.automation.wording import Names, RuleWording
from zhiban.conversations import snippet_files, snippets
from zhiban.conversations.snippets import SnippetInFile
from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark

T = TypeVar("T")
RefusalWords = Callable[[Conflict], str]  # a refusal in the reader's language


@frozen_dataclass
class FileEntry:
    """One entry of a file. `said`: what it does, in words; `trouble`: why it is refused."""

    name: str
    outcome: Literal["added", "changed", "same", "refused"]
    said: str = ""
    trouble: str = ""


class _RolledBack(Exception):
    """What was tried is undone."""


def outcomes_of(entries: Sequence[FileEntry]) -> str:
    """All outcomes in a word, to be compared with those of a later look."""
    return "".join(one.outcome[0] for one in entries)


def refused(entries: Sequence[FileEntry]) -> bool:
    """Whether anything stands in the way of the file as a whole."""
    return any(one.outcome == "refused" for one in entries)


async def try_rules(
    tx: Transaction, text: str, words: RuleWording, *, told: RefusalWords, by: Actor, now: datetime
) -> list[FileEntry]:
    """What the rules of this YAML would change; nothing is. Raises Conflict where it holds none, or too many."""

    async def take(wanted: Sequence[RuleInFile]) -> tuple[int, int]:
        return await service.adopt(tx, wanted, by=by, now=now)

    entries = _at_most(service.MOST_RULES, rule_files.entries(text))
    return await _try(tx, entries, rule_files.read_rule, take, words, told)


async def try_flows(
    tx: Transaction, text: str, words: RuleWording, *, told: RefusalWords, by: Actor, now: datetime
) -> list[FileEntry]:
    """What the flows of this YAML would change; nothing is. Raises Conflict where it holds none, or too many."""

    async def take(wanted: Sequence[FlowInFile]) -> tuple[int, int]:
        return await flows.adopt_flows(tx, wanted, by=by, now=now)

    entries = _at_most(flows.MOST, flow_files.entries(text))
    return await _try(tx, entries, flow_files.read_flow, take, words, told)


async def try_snippets(
    tx: Transaction, text: str, *, as_csv: bool, owner_id: int | None, told: RefusalWords, by: Actor, now: datetime
) -> list[FileEntry]:
    """What the snippets of this file would change; nothing is. Raises Conflict where it holds none, or too many."""
    found = _at_most(snippets.MOST, snippet_files.read(text, as_csv=as_csv))

    async def take(wanted: Sequence[SnippetInFile]) -> tuple[int, int]:
        return await snippets.adopt_snippets(tx, wanted, owner_id=owner_id, by=by, now=now)

    entries = [await _outcome(tx, one.name, one, take, one.text, told) for one in found]
    return [*entries, *(await _together(tx, found, take, told) if not refused(entries) else ())]


def _at_most(most: int, entries: list[T]) -> list[T]:
    """Each is tried by itself: of more than there can be nothing comes but waiting. Raises Conflict."""
    if len(entries) > most:
        raise Conflict(mark(f"Such a file has at most {most} entries."))
    return entries


async def _try(
    tx: Transaction,
    entries: Sequence[dict[str, Any]],
    read: Callable[[dict[str, Any], Names], Any],
    take: Callable[[Sequence[Any]], Awaitable[tuple[int, int]]],
    words: RuleWording,
    told: RefusalWords,
) -> list[FileEntry]:
    found, read_all = [], []
    for one in entries:
        name = str(one.get("name") or "")
        try:
            parsed = read(one, words.names)
        except Conflict as error:
            found.append(FileEntry(name, "refused", trouble=told(error)))
            continue
        read_all.append(parsed)
        found.append(await _outcome(tx, name, parsed, take, parsed.definition.label(words), told))
    return [*found, *(await _together(tx, read_all, take, told) if not refused(found) else ())]


async def _outcome(
    tx: Transaction,
    name: str,
    one: T,
    take: Callable[[Sequence[T]], Awaitable[tuple[int, int]]],
    said: str,
    told: RefusalWords,
) -> FileEntry:
    try:
        added, changed = await _tried(tx, [one], take)
    except Conflict as error:
        return FileEntry(name, "refused", said, told(error))
    return FileEntry(name, "added" if added else "changed" if changed else "same", said)


async def _together(
    tx: Transaction, found: Sequence[T], take: Callable[[Sequence[T]], Awaitable[tuple[int, int]]], told: RefusalWords
) -> list[FileEntry]:
    """What stands in the way of all of them together: a name that stands twice, too many."""
    try:
        await _tried(tx, found, take)
    except Conflict as error:
        return [FileEntry("", "refused", trouble=told(error))]
    return []


async def _tried(
    tx: Transaction, wanted: Sequence[T], take: Callable[[Sequence[T]], Awaitable[tuple[int, int]]]
) -> tuple[int, int]:
    counted = (0, 0)
    with suppress(_RolledBack):
        async with tx.savepoint():
            counted = await take(wanted)
            raise _RolledBack
    return counted


def count_of(entries: Sequence[FileEntry]) -> Mapping[str, int]:
    """How many of each outcome."""
    return {outcome: sum(one.outcome == outcome for one in entries) for outcome in ("added", "changed", "same")}
