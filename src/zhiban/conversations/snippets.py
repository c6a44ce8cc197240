"""Snippets: what agents write again and again, kept for themselves or for all, inserted where they type."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from zhiban.conversations.snippet_variables import check_template
from zhiban.events import Actor, SnippetAdded, SnippetChanged, SnippetRemoved
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.people.ownership import clean_name, in_turn

LONGEST_NAME = 40  # characters
LONGEST_TEXT = 4000  # characters
MOST = 300  # that are shared, and as many of each agent; all of them are sent to whoever types a slash

_COLUMNS = "select id, owner_id, name, text from snippet where removed_at is null"


@frozen_dataclass
class Snippet:
    """`owner_id`: the agent who alone sees it; None: everybody does."""

    id: int
    owner_id: int | None
    name: str
    text: str


@frozen_dataclass
class SnippetInFile:
    """A snippet as a file tells it."""

    name: str
    text: str


async def snippets(tx: Transaction, agent_id: int | None = None) -> list[Snippet]:
    """Those that are everybody's, and those of this agent, by name."""
    return await tx.objects(
        Snippet,
        _COLUMNS + " and (owner_id is null or owner_id = %(agent)s) order by lower(name), owner_id nulls last, id",
        agent=agent_id,
    )


async def snippets_of(tx: Transaction, owner_id: int | None) -> list[Snippet]:
    """Those of one agent alone, or those that are everybody's."""
    return await tx.objects(
        Snippet, _COLUMNS + " and owner_id is not distinct from %(owner)s order by lower(name), id", owner=owner_id
    )


async def access_snippet(tx: Transaction, snippet_id: int, *, agent_id: int | None) -> Snippet:
    """One that this agent sees. Raises NotFound."""
    found = await tx.object(
        Snippet,
        _COLUMNS + " and id = %(id)s and (owner_id is null or owner_id = %(agent)s)",
        id=snippet_id,
        agent=agent_id,
    )
    if found is None:
        raise NotFound("There is no such snippet.")
    return found


async def add_snippet(tx: Transaction, *, name: str, text: str, owner_id: int | None, by: Actor, now: datetime) -> int:
    """A new one, of an agent or of everybody. Returns its id. Raises Conflict."""
    name, text = clean_name(name, longest=LONGEST_NAME), _text(text)
    await in_turn(tx, "snippet")
    there = await snippets_of(tx, owner_id)
    if len(there) >= MOST:
        raise Conflict(mark(f"There are {MOST} snippets already; remove some first."))
    _check_free(there, name)
    snippet_id: int = await tx.value(
        "insert into snippet (workspace_id, owner_id, name, text, changed_at) "
        "values (%(workspace)s, %(owner)s, %(name)s, %(text)s, %(now)s) returning id",
        workspace=tx.workspace_id,
        owner=owner_id,
        name=name,
        text=text,
        now=now,
    )
    await event_log.append(tx, SnippetAdded(actor=by, at=now, snippet_id=snippet_id, name=name, owner_id=owner_id))
    return snippet_id


async def change_snippet(tx: Transaction, snippet: Snippet, *, name: str, text: str, by: Actor, now: datetime) -> bool:
    """Another name or text. False when it is as before. Raises Conflict, and NotFound when it is gone meanwhile."""
    name, text = clean_name(name, longest=LONGEST_NAME), _text(text)
    await in_turn(tx, "snippet")
    there = await snippets_of(tx, snippet.owner_id)
    old = next((one for one in there if one.id == snippet.id), None)
    if old is None:
        raise NotFound("There is no such snippet.")
    known, wanted = {"name": old.name, "text": old.text}, {"name": name, "text": text}
    changed = [key for key, value in wanted.items() if known[key] != value]
    if not changed:
        return False
    _check_free(there, name, besides=old.id)
    await tx.run(
        "update snippet set name = %(name)s, text = %(text)s, changed_at = %(now)s where id = %(id)s",
        id=old.id,
        name=name,
        text=text,
        now=now,
    )
    before: dict[str, object] = {key: known[key] for key in changed}
    after: dict[str, object] = {key: wanted[key] for key in changed}
    await event_log.append(tx, SnippetChanged(actor=by, at=now, snippet_id=old.id, before=before, after=after))
    return True


async def remove_snippet(tx: Transaction, snippet: Snippet, *, by: Actor, now: datetime) -> None:
    """It is offered no more. Once more is nothing."""
    removed = await tx.run(
        "update snippet set removed_at = %(now)s where id = %(id)s and removed_at is null", id=snippet.id, now=now
    )
    if removed:
        await event_log.append(
            tx,
            SnippetRemoved(actor=by, at=now, snippet_id=snippet.id, name=snippet.name, owner_id=snippet.owner_id),
        )


async def adopt_snippets(
    tx: Transaction, wanted: Sequence[SnippetInFile], *, owner_id: int | None, by: Actor, now: datetime
) -> tuple[int, int]:
    """Take over those of a file: of a known name they are changed, the others added; none is removed.

    Returns how many were added and how many changed. Raises Conflict, also where a name stands twice.
    """
    names = [clean_name(one.name, longest=LONGEST_NAME) for one in wanted]
    if len({name.lower() for name in names}) < len(names):
        raise Conflict(mark("Two snippets of the file have the same name."))
    known = {one.name.lower(): one for one in await snippets_of(tx, owner_id)}
    added = changed = 0
    for name, one in zip(names, wanted, strict=True):
        there = known.get(name.lower())
        if there is None:
            await add_snippet(tx, name=name, text=one.text, owner_id=owner_id, by=by, now=now)
            added += 1
        else:
            changed += await change_snippet(tx, there, name=name, text=one.text, by=by, now=now)
    return added, changed


def _text(text: str) -> str:
    text = text.replace("\r\n", "\n").strip()
    if not text:
        raise Conflict(mark("A snippet needs a text."))
    if len(text) > LONGEST_TEXT:
        raise Conflict(mark(f"A snippet's text has at most {LONGEST_TEXT} characters."))
    if "\0" in text:
        raise Conflict(mark("A snippet's text has visible characters only."))
    check_template(text)
    return text


def _check_free(there: Sequence[Snippet], name: str, *, besides: int = 0) -> None:
    if any(one.name.lower() == name.lower() and one.id != besides for one in there):
        raise Conflict(mark(f"There is a snippet {name} already."))
