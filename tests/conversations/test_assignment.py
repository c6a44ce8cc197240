"""Policies give open conversations to agents who are there: in order, within limits, each once, whoever else works."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from tests.twin import open_inbox

from zhiban.bootstrap import reactions
from zhiban.channels.configuring import set_policy
from zhiban.channels.connections import OpenInbox
from zhiban.channels.policy import AssignmentPolicy, Policy
from zhiban.conversations import assignment, replies, service
from zhiban.conversations.ingest import ingest
from zhiban.conversations.queries import history
from zhiban.conversations.topics import ASSIGNMENT_DUE
from zhiban.events import ASSISTANT, SYSTEM, Actor, ConversationAssigned
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.kit.vault import Vault
from zhiban.people import presence, teams
from zhiban.people.models import Role
from zhiban.people.presence import SILENT_AFTER, Availability
from zhiban.people.service import add_agent
from zhiban.ports import IncomingMessage, Kind, Limits, NativeState, SenderRole, SessionChanged
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.workers.assigner import Assigner

VAULT = Vault(["a key for tests only"])


# ------------------------------------------------------------------------------------------------------- a workspace


@dataclass
class Floor:
    """An inbox whose conversations are given away, and the people who are there."""

    db: Database
    workspace: int
    clock: SetClock
    inbox: OpenInbox
    assigner: Assigner
    agents: dict[str, int] = field(default_factory=dict)
    conversations: dict[str, int] = field(default_factory=dict)

    async def configure(self, **wanted: Any) -> None:
        policy = Policy(assignment=AssignmentPolicy.model_validate(wanted)).model_dump(mode="json")
        async with self.db.transaction(self.workspace) as tx:
            await set_policy(tx, VAULT, self.inbox.inbox_id, policy, by=SYSTEM, now=self.clock.now())
        await self.settle()

    async def hire(self, *names: str, online: bool = True) -> None:
        for name in names:
            async with self.db.transaction(self.workspace) as tx:
                self.agents[name] = await add_agent(
                    tx, email=f"{name}@b.example", name=name, role=Role.AGENT, password_hash=None
                )
            if online:
                await self.comes(name)

    async def comes(self, name: str) -> None:
        async with self.db.transaction(self.workspace) as tx:
            await presence.beat(tx, self.agents[name], now=self.clock.now())
        await self.settle()

    async def chooses(self, name: str, availability: Availability) -> None:
        async with self.db.transaction(self.workspace) as tx:
            await presence.choose(tx, self.agents[name], availability, now=self.clock.now())
        await self.settle()

    async def writes(self, *contacts: str) -> None:
        for contact in contacts:
            self.clock.advance(timedelta(seconds=1))
            now = self.clock.now()
            message = IncomingMessage(f"{contact}{now}", contact, contact, SenderRole.CONTACT, Kind.TEXT, "在吗", now)
            async with self.db.transaction(self.workspace) as tx:
                await ingest(tx, self.inbox, [message], now=now, process_id=1)
                self.conversations[contact] = await tx.value(
                    "select id from conversation where external_id = %(thread)s", thread=contact
                )

    async def opens(self, *contacts: str) -> None:
        """They write, and the assistant gives them to people."""
        await self.writes(*contacts)
        for contact in contacts:
            async with self.db.transaction(self.workspace) as tx:
                await service.hand_off(
                    tx, self.conversations[contact], reason="asked", actor=ASSISTANT, now=self.clock.now()
                )
        await self.settle()

    async def settle(self) -> None:
        """Until the assigner, which this floor's commits wake, has nothing to do."""
        await self.assigner.idle()

    async def holders(self) -> dict[str, str]:
        """Who has which conversation."""
        names = {id_: name for name, id_ in self.agents.items()}
        async with self.db.transaction(self.workspace) as tx:
            rows = await tx.rows("select external_id, assignee_id from conversation order by id")
        return {thread: names[id_] if id_ else "" for thread, id_ in rows}


@pytest.fixture
async def floor(db: Database, workspace: int, clock: SetClock) -> AsyncIterator[Floor]:
    assigner = Assigner(db, clock)
    db.reactions = reactions()

    def publish(topic: str, workspace_id: int, id_: int) -> None:
        if topic == ASSIGNMENT_DUE:
            assigner.wake(workspace_id, id_)
        if topic == "config":
            assigner.reconfigured(workspace_id, id_)

    db.publish = publish
    yield Floor(db, workspace, clock, await open_inbox(db, workspace), assigner)
    await assigner.close()


async def test_nobody_online_and_the_longest_waiting_is_first_when_somebody_comes(floor: Floor) -> None:
    await floor.configure(by="balanced", most=2)
    await floor.hire("lin", "chen", online=False)
    await floor.opens("a", "b", "c", "d", "e")
    await floor.writes("a", "b")  # who writes again does not move back
    assert set((await floor.holders()).values()) == {""}
    await floor.chooses("chen", Availability.BUSY)
    assert set((await floor.holders()).values()) == {""}
    await floor.comes("lin")
    assert await floor.holders() == {"a": "lin", "b": "lin", "c": "", "d": "", "e": ""}
    await floor.chooses("chen", Availability.ONLINE)
    assert await floor.holders() == {"a": "lin", "b": "lin", "c": "chen", "d": "chen", "e": ""}
    async with floor.db.transaction(floor.workspace) as tx:
        given = [one for one in await history(tx, floor.conversations["a"]) if isinstance(one, ConversationAssigned)]
        line = await tx.value("select content from message where kind = 'activity' and content ->> 'what' = 'assigned'")
    assert [(one.actor, one.cause.kind, one.cause.id, one.reason) for one in given] == [
        (SYSTEM, "policy", floor.inbox.inbox_id, "balanced")
    ]
    assert line == {"what": "assigned", "by": "policy", "to": floor.agents["lin"], "reason": "balanced"}


@pytest.mark.parametrize("freed", ["resolve", "snooze", "un-assign", "return", "to a colleague", "minute"])
async def test_freed_room_is_filled_at_once(floor: Floor, freed: str) -> None:
    await floor.hire("lin")
    await floor.hire("wei", online=False)
    await floor.configure(by="balanced", most=1)
    await floor.opens("a", "b")
    assert await floor.holders() == {"a": "lin", "b": ""}
    lin, now, first = floor.agents["lin"], floor.clock.now(), floor.conversations["a"]
    if freed == "minute":
        floor.db.publish = None  # a word of it is lost
    async with floor.db.transaction(floor.workspace) as tx:
        match freed:
            case "resolve" | "minute":
                await service.resolve(tx, first, by=Actor("agent", lin), now=now)
            case "snooze":
                await service.snooze(tx, first, until=now + timedelta(hours=1), by=Actor("agent", lin), now=now)
            case "un-assign":
                await service.assign(tx, first, to=None, by=Actor("agent", lin), now=now)
            case "return":
                await service.return_to_assistant(tx, first, by=Actor("agent", lin), now=now)
            case _:
                await service.assign(tx, first, to=floor.agents["wei"], by=Actor("agent", lin), now=now)
    if freed == "minute":
        await floor.assigner.run_once()
    await floor.settle()
    assert (await floor.holders())["b"] == "lin"
    if freed == "un-assign":  # what lin gave away does not come back to her, but goes to whoever comes
        async with floor.db.transaction(floor.workspace) as tx:
            await service.resolve(tx, floor.conversations["b"], by=Actor("agent", lin), now=now)
        await floor.settle()
        assert (await floor.holders())["a"] == ""
        await floor.comes("wei")
        assert (await floor.holders())["a"] == "wei"


async def test_where_the_assistant_is_off_whoever_writes_is_given_to_somebody_at_once(floor: Floor) -> None:
    await floor.hire("lin")
    await floor.configure(by="balanced")
    floor.inbox = replace(floor.inbox, settings=Policy(assistant=False))
    await floor.writes("a")
    await floor.settle()
    assert await floor.holders() == {"a": "lin"}


async def test_a_contact_who_returns_is_routed_anew(floor: Floor) -> None:
    await floor.hire("lin", "chen")
    await floor.configure(by="round_robin")
    await floor.opens("a")
    lin = floor.agents["lin"]
    async with floor.db.transaction(floor.workspace) as tx:
        await service.resolve(tx, floor.conversations["a"], by=Actor("agent", lin), now=floor.clock.now())
    assert await floor.holders() == {"a": ""}
    await floor.opens("a")
    assert await floor.holders() == {"a": "chen"}


async def test_who_may_be_given_what(floor: Floor) -> None:
    await floor.hire("lin", "chen", "wei")
    async with floor.db.transaction(floor.workspace) as tx:
        team, other = [
            await teams.create(tx, name=name, members=[floor.agents[member]], now=floor.clock.now())
            for name, member in (("售后", "chen"), ("售前", "wei"))
        ]
        label = await tx.value(
            "insert into label (workspace_id, name) values (%(w)s, '自己处理') returning id", w=floor.workspace
        )
    await floor.opens("labelled", "other team", "at the vendor", "plain")
    async with floor.db.transaction(floor.workspace) as tx:
        ids = floor.conversations
        add = frozenset({label})
        await service.change_labels(tx, ids["labelled"], add=add, by=SYSTEM, now=floor.clock.now())
        await service.assign_team(tx, ids["other team"], to=other, by=SYSTEM, now=floor.clock.now())
        session = SessionChanged("at the vendor", NativeState.HUMAN, floor.clock.now(), "wei", event_id="e1")
        await ingest(tx, floor.inbox, [session], now=floor.clock.now(), process_id=1)
    await floor.configure(by="balanced", team=team, except_labels=[label])
    holders = {"labelled": "", "other team": "wei", "at the vendor": "", "plain": "chen"}
    assert await floor.holders() == holders
    async with floor.db.transaction(floor.workspace) as tx:
        await service.change_labels(tx, ids["labelled"], remove=add, by=SYSTEM, now=floor.clock.now())
        ended = SessionChanged("at the vendor", NativeState.ENDED, floor.clock.now(), event_id="e2")
        await ingest(tx, floor.inbox, [ended], now=floor.clock.now(), process_id=1)
        await service.open_for_people(tx, ids["at the vendor"], actor=SYSTEM, now=floor.clock.now(), reason="asked")
    await floor.settle()
    assert await floor.holders() == {**holders, "labelled": "chen", "at the vendor": "chen"}


async def test_the_oldest_first_and_fairly(floor: Floor) -> None:
    await floor.opens("a", "b", "c", "d")
    async with floor.db.transaction(floor.workspace) as tx:  # b waits longest, a was created first
        boss = await add_agent(tx, email="boss@b.example", name="boss", role=Role.OWNER, password_hash=None)
        floor.agents["boss"] = boss
        await replies.reply(
            tx, floor.conversations["a"], text="在", by=boss, limits=Limits(2000), now=floor.clock.now()
        )
        await service.assign(tx, floor.conversations["a"], to=None, by=SYSTEM, now=floor.clock.now())
    await floor.writes("a")
    await floor.configure(by="balanced", first="oldest", fair_limit=1, fair_minutes=30)
    await floor.hire("lin")
    assert await floor.holders() == {"a": "lin", "b": "", "c": "", "d": ""}
    floor.clock.advance(timedelta(minutes=29))
    await floor.comes("lin")
    await floor.assigner.run_once()
    assert (await floor.holders())["b"] == ""
    floor.clock.advance(timedelta(minutes=2))
    await floor.comes("lin")
    await floor.assigner.run_once()
    assert await floor.holders() == {"a": "lin", "b": "lin", "c": "", "d": ""}


_MANY = """
with made as (
  insert into conversation (workspace_id, inbox_id, external_id, status, team_id, waiting_since)
  select %(w)s, %(inbox)s, %(name)s || n, 'open', %(team)s::bigint, %(since)s::timestamptz - interval '1 day'
  from generate_series(1, 2100) n returning id)
insert into conversation_work (workspace_id, conversation_id) select %(w)s, id from made"""


@pytest.mark.parametrize("stuck", ["of the night shift", "of nobody"])
async def test_those_who_cannot_be_given_do_not_block_those_behind_them(floor: Floor, stuck: str) -> None:
    """More than is looked at in one go stands first in the queue, for people who are not there."""
    async with floor.db.transaction(floor.workspace) as tx:
        day, night = [await teams.create(tx, name=name, now=floor.clock.now()) for name in ("白班", "夜班")]
    await floor.hire("lin")
    await floor.opens("day")
    async with floor.db.transaction(floor.workspace) as tx:
        await teams.change(tx, day, members=[floor.agents["lin"]], now=floor.clock.now())
        await service.assign_team(tx, floor.conversations["day"], to=day, by=SYSTEM, now=floor.clock.now())
        team = night if stuck == "of the night shift" else None
        values = {"w": floor.workspace, "inbox": floor.inbox.inbox_id, "team": team, "since": floor.clock.now()}
        await tx.run(_MANY, name="night", **values)
    await floor.configure(by="balanced", most=2, team=night)
    assert [thread for thread, holder in (await floor.holders()).items() if holder] == ["day"]


async def test_the_best_agent_for_one_conversation(floor: Floor) -> None:
    """What a rule asks for: also where the inbox gives nothing away by itself."""
    await floor.hire("lin", "chen")
    await floor.opens("a", "b", "c")
    by = Actor("rule", 5)
    async with floor.db.transaction(floor.workspace) as tx:
        now = floor.clock.now()
        best = [await assignment.assign_best(tx, floor.conversations[one], by=by, now=now) for one in "ab"]
        again = await assignment.assign_best(tx, floor.conversations["b"], by=by, now=now)
    assert best == [floor.agents["lin"], floor.agents["chen"]]
    assert again == floor.agents["chen"]
    await floor.configure(by="off", most=1)
    async with floor.db.transaction(floor.workspace) as tx:
        assert await assignment.assign_best(tx, floor.conversations["c"], by=by, now=floor.clock.now()) is None
        await service.assign(tx, floor.conversations["c"], to=floor.agents["lin"], by=by, now=floor.clock.now())
        assert await assignment.overload(tx, floor.agents["lin"], floor.inbox.inbox_id) == assignment.Overload(2, 1)
        assert await assignment.overload(tx, floor.agents["chen"], floor.inbox.inbox_id) is None
    assert await floor.holders() == {"a": "lin", "b": "chen", "c": "lin"}


async def test_whoever_waits_for_an_agent_who_left_goes_to_another(floor: Floor) -> None:
    await floor.hire("lin")
    await floor.configure(by="balanced", offline_minutes=2)
    await floor.opens("waits", "was answered")
    lin = floor.agents["lin"]
    async with floor.db.transaction(floor.workspace) as tx:
        await replies.reply(
            tx, floor.conversations["was answered"], text="在", by=lin, limits=Limits(2000), now=floor.clock.now()
        )
    await floor.hire("chen", "wei", online=False)
    await floor.chooses("lin", Availability.OFFLINE)
    for seconds, expected in ((119, "lin"), (1, "")):
        floor.clock.advance(timedelta(seconds=seconds))
        await floor.assigner.run_once()
        assert await floor.holders() == {"waits": expected, "was answered": "lin"}
    await floor.comes("chen")
    assert await floor.holders() == {"waits": "chen", "was answered": "lin"}
    await floor.writes("was answered")  # now they wait, too, for somebody who has long been gone
    await floor.comes("chen")
    await floor.assigner.run_once()
    assert await floor.holders() == {"waits": "chen", "was answered": "chen"}
    floor.clock.advance(SILENT_AFTER + timedelta(seconds=1))
    await floor.comes("wei")
    async with floor.db.transaction(floor.workspace) as tx:
        await presence.sweep(tx, now=floor.clock.now())
        lines = await tx.values(
            "select content from message where kind = 'activity' and content ->> 'reason' = 'agent_offline'"
        )
    assert [(line["what"], line["by"]) for line in lines] == [("assigned", "policy")] * 2
    floor.clock.advance(timedelta(minutes=2))
    await floor.comes("wei")
    await floor.assigner.run_once()
    assert set((await floor.holders()).values()) == {"wei"}


async def test_what_a_person_gives_to_somebody_absent_stays_with_them(floor: Floor) -> None:
    """They saw that the colleague is not there; and whoever taps a card on the way takes it without an open desk."""
    await floor.hire("lin", "chen")
    await floor.configure(by="balanced", offline_minutes=2)
    await floor.opens("had", "given", "taken", "at the vendor")
    await floor.chooses("lin", Availability.OFFLINE)
    await floor.chooses("chen", Availability.OFFLINE)
    now, lin = floor.clock.now(), floor.agents["lin"]
    async with floor.db.transaction(floor.workspace) as tx:
        for contact in ("had", "at the vendor"):
            await service.assign(tx, floor.conversations[contact], to=lin, by=SYSTEM, now=now)
        for contact in ("given", "taken"):
            await service.assign(tx, floor.conversations[contact], to=None, by=SYSTEM, now=now)
        by = Actor("agent", floor.agents["chen"])
        await service.assign(tx, floor.conversations["given"], to=lin, by=by, now=now)
        await service.take(tx, floor.conversations["taken"], by=lin, now=now)
        session = SessionChanged("at the vendor", NativeState.HUMAN, now, "wei", event_id="e1")
        await ingest(tx, floor.inbox, [session], now=now, process_id=1)
    floor.clock.advance(timedelta(minutes=5))
    await floor.assigner.run_once()
    assert await floor.holders() == {"had": "", "given": "lin", "taken": "lin", "at the vendor": "lin"}


async def test_an_inbox_that_assigns_nothing_leaves_everything_as_it_is(floor: Floor) -> None:
    await floor.hire("lin")
    await floor.opens("a")
    async with floor.db.transaction(floor.workspace) as tx:
        await service.assign(tx, floor.conversations["a"], to=floor.agents["lin"], by=SYSTEM, now=floor.clock.now())
    await floor.chooses("lin", Availability.OFFLINE)
    floor.clock.advance(timedelta(hours=9))
    await floor.assigner.run_once()
    assert await floor.holders() == {"a": "lin"}


# ----------------------------------------------------------------------------------------------------- all at once


async def test_200_openings_at_once_and_four_workers(urls: DatabaseUrls, floor: Floor) -> None:
    """Nobody over capacity, nobody given twice, the longest waiting first; what is freed is filled again."""
    await floor.configure(by="balanced", most=6, most_here=5)
    names = [f"agent{n}" for n in range(20)]
    await floor.hire(*names, online=False)
    await floor.writes(*(f"c{n:03}" for n in range(200)))
    order = list(floor.conversations.values())
    async with AsyncExitStack() as stack:
        workers: list[tuple[Database, Assigner]] = []
        for _ in range(4):
            database = await stack.enter_async_context(Database(urls.app, work_size=3, page_size=1))
            assigner = Assigner(database, floor.clock)
            stack.push_async_callback(assigner.close)
            database.reactions = reactions()
            database.publish = lambda topic, workspace, id_, to=assigner: (
                to.wake(workspace, id_) if topic == ASSIGNMENT_DUE else None
            )
            workers.append((database, assigner))

        async def everywhere(act: Any, items: list[Any]) -> None:
            """Each of them at one of the four, all at once, until nobody has anything left to do."""

            async def one(n: int, item: Any) -> None:
                async with workers[n % 4][0].transaction(floor.workspace) as tx:
                    await act(tx, item)

            await asyncio.gather(*(one(n, item) for n, item in enumerate(items)))
            for _, assigner in workers:
                await assigner.idle()

        now = floor.clock.now()
        first, rest = names[:10], names[10:]
        await everywhere(lambda tx, name: presence.beat(tx, floor.agents[name], now=now), first)
        await everywhere(lambda tx, id_: service.hand_off(tx, id_, reason="asked", actor=ASSISTANT, now=now), order)
        await _check(floor, order, given=50)
        await everywhere(lambda tx, name: presence.beat(tx, floor.agents[name], now=now), rest)
        waiting = await _check(floor, order, given=100)
        async with floor.db.transaction(floor.workspace) as tx:
            busy = await tx.values("select id from conversation where assignee_id is not null order by id limit 40")
        done = Actor("agent", floor.agents["agent3"])
        await everywhere(lambda tx, id_: service.resolve(tx, id_, by=done, now=now), busy)
        left = await _check(floor, order, given=100)
    assert left == waiting[40:]


async def _check(floor: Floor, order: list[int], *, given: int) -> list[int]:
    """Who waits still, in order; everything else about the state is as it must be."""
    async with floor.db.transaction(floor.workspace) as tx:
        holding = dict(
            await tx.rows("select id, assignee_id from conversation where status = 'open' and assignee_id is not null")
        )
        times = dict(
            await tx.rows(
                "select conversation_id, count(*) from event where kind = 'conversation_assigned' "
                "and data ->> 'to_agent_id' is not null group by 1"
            )
        )
        waiting = await tx.values(
            "select id from conversation where status = 'open' and assignee_id is null order by waiting_since"
        )
    assert len(holding) == given
    assert set(Counter(holding.values()).values()) == {5}
    assert set(times.values()) == {1}
    if given == 100 and len(waiting) == 100:
        # Those of the second half were given away after all had come: the longest waiting of them.
        late = [id_ for id_ in order if id_ in holding and holding[id_] in list(floor.agents.values())[10:20]]
        assert max(order.index(id_) for id_ in late) < min(order.index(id_) for id_ in waiting)
    return waiting
