"""Many conversations of the list at once: what is offered for them, and what is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from fastapi.responses import JSONResponse, Response

from zhiban.automation import macros
from zhiban.automation.macros import MacroFailed
from zhiban.conversations import bulk, lists
from zhiban.conversations.access import visible
from zhiban.conversations.assignment import overload
from zhiban.conversations.bulk import (
    AT_ONCE,
    BulkResult,
    assign_many,
    change_many,
    check_few,
    reopen_many,
    resolve_many,
    stamps_of,
)
from zhiban.conversations.changes import (
    Assign,
    AssignTeam,
    Change,
    ChangeLabels,
    ReturnToAssistant,
    SetPriority,
    Snooze,
)
from zhiban.conversations.labels import access_label, labels
from zhiban.conversations.models import Priority
from zhiban.conversations.seen import SeenActivity, WroteMeanwhile
from zhiban.desk.bulk_undo import BulkUndo, Chunk, undoing
from zhiban.desk.request import CurrentRequest, DeskRequest
from zhiban.desk.snooze_menu import snooze_times, snooze_until
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.people.agents import agent_rows
from zhiban.people.models import Role
from zhiban.people.permissions import Permission
from zhiban.people.teams import access_team, team_rows
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

MOST_BY_MACRO = 200  # each acts in a transaction of its own
REASONS = 3  # that are told of those which were left out


@router.get("/desk/bulk")
async def bar(desk: CurrentRequest) -> Response:
    """What can be done with what is selected."""
    desk.access.check(Permission.ANSWER)
    now = desk.auth.clock.now()
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        people = [one for one in await agent_rows(tx) if one.disabled_at is None and one.role != Role.READ_ONLY]
        offered: dict[str, Any] = {
            "people": [one for one in people if one.id != desk.agent.id],
            "teams": await team_rows(tx),
            "all_labels": await labels(tx),
            "all_macros": await macros.macros(tx, desk.agent.id),
            "snoozes": snooze_times(now, desk.texts.zone),
            "list_tab": desk.tab.value,
        }
    return await desk.answer("desk/bulk.html", **offered)


@router.get("/desk/matching")
async def matching(desk: CurrentRequest) -> Response:
    """The ids of everything in this list, so that what is done is done to what was there when it was selected."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        found = await lists.matching(tx, desk.access, limit=bulk.MOST + 1, **await desk.list_asked(tx))
        seen = await stamps_of(tx, found[: bulk.MOST])
    return JSONResponse({"ids": found[: bulk.MOST], "more": len(found) > bulk.MOST, "seen": seen})


@router.post("/desk/bulk")
async def act(
    desk: CurrentRequest,
    do: Annotated[str, Form(max_length=20)],
    ids: Annotated[str, Form(max_length=20_000)],
    to: Annotated[str, Form(max_length=64)] = "",
    at: Annotated[str, Form(max_length=40)] = "",
    key: Annotated[str, Form(max_length=64)] = "",
    seen: Annotated[str, Form(max_length=40_000)] = "",
    was: Annotated[str, Form(max_length=40_000)] = "",
) -> Response:
    """Do one thing to all that are selected. Tells how many were changed, and why others were not.

    `seen`: for each of them when something happened last, as the list showed it (`id:stamp,…`).

    `at`: a date and time in the workspace's zone to snooze until, in place of one that the menu offers. `was`: what
    they were before (`id:value,…`), where that is undone.
    """
    desk.access.check(Permission.ANSWER)
    chosen = list(dict.fromkeys(int(one) for one in ids.split(",") if one.isdecimal() and len(one) < 19))
    check_few(chosen, MOST_BY_MACRO if do == "macro" else bulk.MOST)
    if do == "macro":
        words, result = await _run_macro(desk, chosen, to, key, _seen(seen))
    else:
        wish = _BulkWish.read(desk, do, to, at, _seen(seen), undo=BulkUndo.parse(do, to, was))
        words, result = await _change(desk, chosen, wish)
    refused = result.refused
    unheard = [id_ for id_, why in refused.items() if why == WroteMeanwhile.SENTENCE]
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        told = await stamps_of(tx, unheard)
    return JSONResponse(
        {
            "words": words.replace("{n}", str(len(result.changed))) + _rest(desk, result, of=len(chosen)),
            "refused": sorted(refused),
            "seen": told,
            "undo": undoing(do, str(desk.agent.id) if to == "me" else to, result),
        }
    )


def _seen(text: str) -> dict[int, SeenActivity]:
    found: dict[int, SeenActivity] = {}
    for one in text.split(","):
        id_, _, stamp = one.partition(":")
        activity = SeenActivity.parse(stamp)
        if id_.isdecimal() and activity is not None:
            found[int(id_)] = activity
    return found


@frozen_dataclass
class _BulkWish:
    """What is to be done to each, the same for all of them however long it takes. `until`: when snoozed ones return."""

    do: str
    to: str
    now: datetime
    until: datetime | None = None
    own_time: bool = False
    seen: Mapping[int, SeenActivity] = field(default_factory=dict)
    undo: BulkUndo | None = None

    @classmethod
    def read(
        cls, desk: DeskRequest, do: str, to: str, at: str, seen: Mapping[int, SeenActivity], *, undo: BulkUndo | None
    ) -> _BulkWish:
        """Raises Conflict when the time to snooze until is none, has passed, or lies too far ahead."""
        now = desk.auth.clock.now()
        if do != "snooze":
            return cls(do, to, now, seen=seen, undo=undo)
        return cls(do, to, now, snooze_until(to, at, now=now, zone=desk.texts.zone), own_time=not to)


def _rest(desk: DeskRequest, result: BulkResult, *, of: int) -> str:
    """What became of those that were not changed: how many were so already, how many were left out, and why."""
    said = desk.texts("，{n}个本来就是这样", n=len(result.unchanged)) if result.unchanged else ""
    refused = result.refused
    if not refused:
        return said
    counted: dict[str, int] = {}
    for sentence in refused.values():
        counted[sentence] = counted.get(sentence, 0) + 1
    most = sorted(counted.items(), key=lambda one: -one[1])[:REASONS]
    why = desk.texts("；").join(
        desk.texts("{why}（{n}个）", why=desk.texts.error(sentence).rstrip("。."), n=n) for sentence, n in most
    )
    return said + desk.texts("。{of}个里有{n}个没有改：{why}", of=of, n=len(refused), why=why)


async def _change(desk: DeskRequest, ids: Sequence[int], wish: _BulkWish) -> tuple[str, BulkResult]:
    """One chunk after the other, each in a transaction of its own."""
    result = BulkResult()
    words, after = "", ""
    for start in range(0, len(ids), AT_ONCE):
        async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
            words, chunk, target = await _chunk_of(desk, tx, wish)
            result = result.joined(await chunk(tx, ids[start : start + AT_ONCE]))
            if target is not None:
                after = await _over(desk, tx, target, result.changed)
    return words + after, result


async def _over(desk: DeskRequest, tx: Transaction, agent_id: int, changed: Sequence[int]) -> str:
    """A warning, where the agent has more in hand now than an inbox's policy would give them."""
    for inbox_id in await bulk.inboxes_of(tx, changed):
        over = await overload(tx, agent_id, inbox_id)
        if over is not None:
            return desk.texts("，超出了上限：手上{open}个，上限{limit}个", open=over.open, limit=over.limit)
    return ""


async def _chunk_of(desk: DeskRequest, tx: Transaction, wish: _BulkWish) -> tuple[str, Chunk, int | None]:
    """The words for what is done, how, and to whom conversations are given. Raises Conflict, NotFound."""
    to, now = wish.to, wish.now
    if wish.do == "assign" and (to == "me" or to.isdecimal()):
        target = desk.agent.id if to == "me" else int(to)
        return desk.texts("已分配{n}个"), lambda tx, ids: assign_many(tx, desk.access, ids, to=target, now=now), target
    if wish.undo is not None:
        return desk.texts("已撤销{n}个"), await wish.undo.chunk(tx, desk.access, now), None
    words, chunk = _of_status(desk, wish) or await _of_description(desk, tx, wish)
    return words, chunk, None


def _changing(desk: DeskRequest, change: Change, now: datetime) -> Chunk:
    return lambda tx, ids: change_many(tx, desk.access, ids, change, now=now)


def _of_status(desk: DeskRequest, wish: _BulkWish) -> tuple[str, Chunk] | None:
    texts, now = desk.texts, wish.now
    match wish.do:
        case "resolve":
            return texts("已解决{n}个"), lambda tx, ids: resolve_many(tx, desk.access, ids, seen=wish.seen, now=now)
        case "reopen":
            return texts("已重新打开{n}个"), lambda tx, ids: reopen_many(tx, desk.access, ids, now=now)
        case "snooze":
            assert wish.until is not None
            words = texts("已搁置{n}个")
            if wish.own_time:
                words = texts("已搁置{n}个，到{when}", when=texts.due(wish.until, now))
            return words, _changing(desk, Snooze(wish.until), now)
    return None


async def _of_description(desk: DeskRequest, tx: Transaction, wish: _BulkWish) -> tuple[str, Chunk]:
    texts, to, now = desk.texts, wish.to, wish.now
    match wish.do, to:
        case "assign", "nobody":
            return texts("已取消分配{n}个"), _changing(desk, Assign(None), now)
        case "assign", "assistant":
            return texts("已交回值班助手{n}个"), _changing(desk, ReturnToAssistant(), now)
        case "team", "none":
            return texts("{n}个不再属于小组"), _changing(desk, AssignTeam(None), now)
        case "team", _ if to.isdecimal():
            await access_team(tx, int(to))
            return texts("已交给小组{n}个"), _changing(desk, AssignTeam(int(to)), now)
        case "label", _ if to.isdecimal():
            label = await access_label(tx, int(to))
            return texts("已给{n}个加上标签"), _changing(desk, ChangeLabels(add=frozenset({label.id})), now)
        case "unlabel", _ if to.isdecimal():
            label = await access_label(tx, int(to))
            return texts("已给{n}个去掉标签"), _changing(desk, ChangeLabels(remove=frozenset({label.id})), now)
        case "priority", _ if to in {str(int(one)) for one in Priority}:
            return texts("已改{n}个的优先级"), _changing(desk, SetPriority(Priority(int(to))), now)
    raise Conflict("There is no such action.")


async def _run_macro(
    desk: DeskRequest, ids: Sequence[int], to: str, key: str, seen: Mapping[int, SeenActivity]
) -> tuple[str, BulkResult]:
    """Let a macro act on each, in a transaction of its own: all of it or nothing, whatever becomes of the others."""
    texts, agent = desk.texts, desk.agent
    async with desk.auth.database.page_transaction(agent.workspace_id) as tx:
        macro = await macros.access_macro(tx, int(to) if to.isdecimal() else 0, agent_id=agent.id)
        visible_ids = await visible(tx, desk.access, ids)
    changed: list[int] = []
    refused = {id_: bulk.GONE for id_ in ids if id_ not in visible_ids}
    for id_ in (one for one in ids if one in visible_ids):
        try:
            async with desk.auth.database.page_transaction(agent.workspace_id) as tx:
                await macros.run_macro(
                    tx,
                    macro,
                    id_,
                    agent_id=agent.id,
                    limits_of=desk.settings.limits_of,
                    key=key,
                    now=desk.auth.clock.now(),
                    seen=seen.get(id_),
                )
        except MacroFailed as error:
            refused[id_] = texts("第{n}个动作：{why}", n=error.position + 1, why=texts.error(error.sentence))
        except (Conflict, NotFound) as error:
            refused[id_] = error.sentence
        else:
            changed.append(id_)
    return texts("已对{n}个执行宏“{name}”", name=macro.name), BulkResult(tuple(changed), (), refused)
