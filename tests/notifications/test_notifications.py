"""What single agents are told: of what concerns them, once, by the ways they chose, and nothing that is not theirs."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from tests.kernel_desk import NOON, Desk, open_desk

from zhiban.bootstrap import limits_of, reactions
from zhiban.channels.connection_health import mark_broken, mark_mended
from zhiban.channels.connections import Connections
from zhiban.channels.gateways import LOGGED_OUT
from zhiban.conversations import replies, service
from zhiban.conversations.ingest import ingest
from zhiban.conversations.mentions import mentioned_in
from zhiban.events import SYSTEM, Actor, ConversationAssigned
from zhiban.kit import event_log
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import Texts
from zhiban.kit.vault import Vault
from zhiban.notifications import handlers, preferences, queries
from zhiban.notifications import service as notifications
from zhiban.notifications.jobs import NotifierRegistry
from zhiban.notifications.models import DEFAULT_WAYS, NotificationKind, Way
from zhiban.notifications.personal import PersonalJobs, check_personal
from zhiban.notifications.watching import watch_connections
from zhiban.notifications.wording import line_of, title_of
from zhiban.people.models import Role
from zhiban.people.permissions import Access
from zhiban.ports import GroupChanged, Incoming, IncomingMessage, Kind, MembersJoined, MembersLeft, SenderRole, TryLater
from zhiban.testing.notices import NoticeBoard
from zhiban.workers.maintenance import Maintenance

MINUTE = timedelta(minutes=1)
OFF = dict.fromkeys(NotificationKind, ())


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    return await open_desk(db, workspace)


async def told(tx: Transaction, agent_id: int, inbox_ids: tuple[int, ...] | None = None) -> list[str]:
    rows = await queries.notifications(tx, Access(agent_id, Role.AGENT, inbox_ids))
    return [one.kind for one in reversed(rows)]


async def test_an_agent_hears_of_what_others_give_them_and_not_of_their_own_doing(desk: Desk) -> None:
    lin, chen = Actor("agent", desk.lin), Actor("agent", desk.chen)
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")  # 林晓 takes it herself
        assert await told(tx, desk.lin) == []
        await service.assign(tx, state.id, to=desk.chen, by=lin, now=NOON)
        await service.assign(tx, state.id, to=desk.lin, by=lin, now=NOON)
        await service.assign(tx, state.id, to=desk.chen, by=Actor("rule", 7, "派给陈默"), now=NOON)
        await service.assign(tx, state.id, to=None, by=chen, now=NOON)
        assert (await told(tx, desk.lin), await told(tx, desk.chen)) == ([], ["assigned", "assigned"])
        latest, first = await queries.notifications(tx, Access(desk.chen, Role.AGENT))
        assert (first.who, first.contact, latest.actor_ref) == ("林晓", first.contact, "派给陈默")


async def test_the_same_fact_tells_once(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        tx.reactions = None
        fact = ConversationAssigned(actor=SYSTEM, at=NOON, to_agent_id=desk.chen, **state.about())
        await event_log.append(tx, fact)
        for _ in range(2):
            await handlers.tell_assignee(tx, fact)
        assert await told(tx, desk.chen) == ["assigned"]


def test_who_is_meant_by_a_name_in_a_note() -> None:
    names = {1: "林晓", 2: "林晓晓", 3: "Chen", 4: "Chen Mo", 5: "陈默", 6: "陈默", 7: " "}
    for text, meant in (
        ("@林晓你看下", (1,)),
        ("@林晓晓你看下@陈默", (2, 5, 6)),
        ("问@chen mo，和 @CHEN.", (4, 3)),
        ("@Chenille 不是她", ()),
        ("发到 a@陈默.cn", (5, 6)),
        ("林晓 @ @@林晓 @林晓", (1,)),
        ("", ()),
    ):
        assert mentioned_in(text, names) == meant, text


async def test_a_mention_reaches_those_who_see_the_inbox_and_not_its_writer(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        note = {"by": Actor("agent", desk.lin), "now": NOON}
        await replies.add_note(tx, state.id, text="@陈默 @林晓 帮忙看看", **note)
        await replies.add_note(tx, state.id, text="没有人", **note)
        # Whoever was named follows from then on, and hears of the next note as well.
        assert (await told(tx, desk.lin), await told(tx, desk.chen)) == ([], ["mentioned", "followed"])
        _, row = await queries.notifications(tx, Access(desk.chen, Role.AGENT))
        assert row.text == "@陈默 @林晓 帮忙看看"
        await tx.run("update agent set inbox_ids = '{}' where id = %(id)s", id=desk.chen)
        await replies.add_note(tx, state.id, text="@陈默 再看看", **note)
        # Neither told of it, nor shown what was told before.
        assert await tx.value("select count(*) from notification") == 2
        assert await told(tx, desk.chen, ()) == []
        assert await queries.count_unread(tx, Access(desk.chen, Role.AGENT, ())) == 0
        assert (await queries.news(tx, Access(desk.chen, Role.AGENT, ()), after=0, since=NOON - MINUTE)).rows == ()


async def test_a_program_that_mentions_somebody_is_called_by_its_name(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        orders = Actor("api", 4711, "订单系统")
        await replies.add_note(tx, state.id, text="@陈默 已退款", by=orders, now=NOON)
        await replies.add_note(tx, state.id, text="又退了一次", by=orders, now=NOON)
        _, *rows = await queries.notifications(tx, Access(desk.chen, Role.AGENT))
        assert [one.who for one in rows] == ["订单系统"] * len(rows)
        assert [one.who for one in (await queries.mentioning_notes(tx, desk.chen, [state.id])).values()] == ["订单系统"]


async def test_a_contact_who_waits_too_long_is_told_of_once_for_each_wait(desk: Desk) -> None:
    clock = SetClock(NOON)
    maintenance = Maintenance(desk.database, limits_of, clock)
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        await preferences.choose(tx, desk.lin, ways=DEFAULT_WAYS, address="", waiting_minutes=3, now=NOON)
    clock.advance(2.9 * MINUTE)
    await maintenance.run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert await told(tx, desk.lin) == []
        await desk.writes(tx, "wm1", "在吗", at=clock.now())  # who asks again has waited since the first time
    clock.advance(0.2 * MINUTE)
    for _ in range(2):
        await maintenance.run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert (await told(tx, desk.lin), await told(tx, desk.chen)) == (["waiting"], [])
        limits = desk.inbox.channel.limits
        await replies.reply(tx, state.id, text="在的", by=desk.lin, limits=limits, now=clock.now())
    clock.advance(60 * MINUTE)
    await maintenance.run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert await told(tx, desk.lin) == ["waiting"]
        await desk.writes(tx, "wm1", "还有", at=clock.now())
    clock.advance(4 * MINUTE)
    await maintenance.run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert await told(tx, desk.lin) == ["waiting", "waiting"]


async def test_a_kind_that_is_switched_off_is_not_told(desk: Desk) -> None:
    lin = Actor("agent", desk.lin)
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        only = {**OFF, NotificationKind.ASSIGNED: [Way.SOUND]}
        await preferences.choose(tx, desk.chen, ways=only, address="", waiting_minutes=1, now=NOON)
        await service.assign(tx, state.id, to=desk.chen, by=lin, now=NOON)
        await replies.add_note(tx, state.id, text="@陈默", by=lin, now=NOON)
        await notifications.notify_waiting(tx, now=NOON + 2 * MINUTE)
        # It sounds, and stands on no page.
        assert await told(tx, desk.chen) == []
        (row,) = (await queries.news(tx, Access(desk.chen, Role.AGENT), after=0, since=NOON - MINUTE)).rows
        assert (row.kind, row.ways) == ("assigned", ["sound"])
        personal = {**OFF, NotificationKind.RULE: [Way.PERSONAL]}
        with pytest.raises(Conflict, match="how you are reached"):
            await preferences.choose(tx, desk.chen, ways=personal, address="", waiting_minutes=1, now=NOON)


async def test_looking_at_a_conversation_reads_what_was_told_of_it(desk: Desk) -> None:
    lin = Actor("agent", desk.lin)
    chen = Access(desk.chen, Role.AGENT)
    async with desk.database.transaction(desk.workspace_id) as tx:
        for who in ("wm1", "wm2", "wm3"):
            state = await desk.handed_over(tx, who)
            await service.assign(tx, state.id, to=desk.chen, by=lin, now=NOON)
        await notifications.read_about(tx, desk.chen, state.id, now=NOON)
        await notifications.read_about(tx, desk.lin, (await desk.state(tx, "wm1")).id, now=NOON)  # another's reading
        assert await queries.count_unread(tx, chen) == 2
        latest, *_ = await queries.notifications(tx, chen)
        await notifications.set_read(tx, desk.chen, latest.id, read=False, now=NOON)
        assert await queries.count_unread(tx, chen) == 3
        await notifications.read_all(tx, desk.chen, until=latest.id - 1, now=NOON)  # what came meanwhile stays
        assert [one.id for one in await queries.notifications(tx, chen, unread=True)] == [latest.id]


async def test_what_is_old_or_too_much_is_forgotten(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "MOST_KEPT", 2)
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        for to in (desk.chen, desk.lin) * 3:
            await service.assign(tx, state.id, to=to, by=SYSTEM, now=NOON)
        assert await notifications.forget_old(tx, now=NOON) == 2
        assert (await told(tx, desk.lin), await told(tx, desk.chen)) == (["assigned"] * 2, ["assigned"] * 2)
        assert await notifications.forget_old(tx, now=NOON + notifications.KEPT + MINUTE) == 4


async def test_what_is_read_is_forgotten_first_and_no_wait_is_told_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "MOST_KEPT", 2)
    now = NOON + 30 * MINUTE
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")  # 林晓 has it, and it waits
        assert await notifications.notify_waiting(tx, now=now) == 1
        for _ in range(3):
            await service.assign(tx, state.id, to=desk.chen, by=SYSTEM, now=now)
            await service.assign(tx, state.id, to=desk.lin, by=SYSTEM, now=now)
        *_, unread, _ = [one.id for one in reversed(await queries.notifications(tx, Access(desk.lin, Role.AGENT)))]
        await notifications.read_about(tx, desk.lin, state.id, now=now)
        await notifications.set_read(tx, desk.lin, unread, read=False, now=now)
        await notifications.forget_old(tx, now=now)
        rows = await queries.notifications(tx, Access(desk.lin, Role.AGENT))
        assert ([one.id for one in rows if not one.read_at], len(rows)) == ([unread], 3)
        assert await notifications.notify_waiting(tx, now=now) == 0


async def test_what_was_committed_late_is_told_all_the_same(desk: Desk) -> None:
    lin, chen = Actor("agent", desk.lin), Access(desk.chen, Role.AGENT)
    async with desk.database.transaction(desk.workspace_id) as tx:
        states = [await desk.handed_over(tx, who) for who in ("wm1", "wm2")]
    async with desk.database.transaction(desk.workspace_id) as slow:
        await service.assign(slow, states[0].id, to=desk.chen, by=lin, now=NOON)  # its id is given out
        async with desk.database.transaction(desk.workspace_id) as quick:
            await replies.add_note(quick, states[1].id, text="@陈默", by=lin, now=NOON)
        async with desk.database.transaction(desk.workspace_id) as tx:
            seen = await queries.news(tx, chen, after=0, since=NOON - MINUTE)
        assert [one.kind for one in seen.rows] == ["mentioned"]
    async with desk.database.transaction(desk.workspace_id) as tx:
        news = await queries.news(tx, chen, after=seen.latest, since=NOON - MINUTE)
        assert (news.latest, [one.kind for one in news.rows]) == (seen.latest, ["assigned", "mentioned"])
        assert (await queries.news(tx, chen, after=seen.latest, since=NOON)).rows == ()  # long ago


async def test_who_is_not_at_the_desk_is_reached_elsewhere_and_who_is_there_not(desk: Desk) -> None:
    board, clock = NoticeBoard(), SetClock(NOON)
    registry = NotifierRegistry((), {"telegram": board}, board, "https://desk.example.test")
    connections = Connections(desk.database, Vault(["a key for tests only"]), clock, None, build=None)  # type: ignore[arg-type]
    jobs = PersonalJobs(desk.database, connections, registry, clock)
    chosen = {**DEFAULT_WAYS, NotificationKind.ASSIGNED: [Way.PERSONAL]}
    async with desk.database.transaction(desk.workspace_id) as tx:
        await preferences.choose(tx, desk.chen, ways=chosen, address="telegram:42", waiting_minutes=9, now=NOON)
        for who in ("wm1", "wm2", "wm3"):
            state = await desk.handed_over(tx, who)
            await service.assign(tx, state.id, to=desk.chen, by=Actor("agent", desk.lin), now=NOON)
        await notifications.read_about(tx, desk.chen, state.id, now=NOON)  # the last one was seen
        ids = await tx.values(
            "select (args ->> 'notification_id')::bigint from jobs.procrastinate_jobs where task_name = 'tell_agent' "
            "and scheduled_at = %(at)s order by id",
            at=NOON + notifications.PERSONAL_WAITS,
        )
    first, second, seen = ids
    for id_ in (first, first, seen):
        await jobs.tell_agent(desk.workspace_id, id_)
    ((address, notice),) = board.pinned
    assert (address, notice.title) == ("telegram:42", "林晓把联系人的会话分给您")
    assert str(notice.url).startswith("https://desk.example.test/conversations/")
    async with desk.database.transaction(desk.workspace_id) as tx:  # switched off before it went out
        await preferences.choose(tx, desk.chen, ways=DEFAULT_WAYS, address="telegram:42", waiting_minutes=9, now=NOON)
    await jobs.tell_agent(desk.workspace_id, second)
    async with desk.database.transaction(desk.workspace_id) as tx:
        await preferences.choose(tx, desk.chen, ways=chosen, address="member:wecom", waiting_minutes=9, now=NOON)
    await jobs.tell_agent(desk.workspace_id, second)  # nobody but the agent can mend that
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert "no account there" in (await preferences.settings_of(tx, desk.chen)).trouble
        await preferences.choose(tx, desk.chen, ways=chosen, address="telegram:43", waiting_minutes=9, now=NOON)
        assert (await preferences.settings_of(tx, desk.chen)).trouble == ""
    board.closed.add("telegram:43")
    await jobs.tell_agent(desk.workspace_id, second)
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert "leads to nobody" in (await preferences.settings_of(tx, desk.chen)).trouble
    board.script.append(TryLater("busy", after=1))
    with pytest.raises(TryLater):  # that is worth another attempt
        await jobs.tell_agent(desk.workspace_id, second)
    async with desk.database.transaction(desk.workspace_id) as tx:
        await tx.run("update agent set inbox_ids = '{}' where id = %(id)s", id=desk.chen)
    await jobs.tell_agent(desk.workspace_id, second)
    assert len(board.pinned) == 1


@pytest.mark.parametrize(
    "address",
    [
        "telegram:abc",
        "telegram:",
        "json://localhost/x",
        "mailto://u:p@h",
        "member:dingtalk",
        "telegram:1 2",
        "telegram:-100",
    ],
)
def test_a_personal_address_leads_where_we_know(address: str) -> None:
    with pytest.raises(Conflict):
        check_personal(address, {"wecom": "lin"})
    assert check_personal("member:wecom", {"wecom": "lin"}) == "member:wecom"


def test_facts_that_concern_nobody_cost_nothing() -> None:
    """Nothing of ours listens to what arrives from contacts."""
    listening = {
        kind.kind()
        for kind, handlers_ in reactions().handlers.items()
        if {handlers.tell_assignee, handlers.tell_mentioned} & set(handlers_)
    }
    assert listening == {"conversation_assigned", "note_added"}


async def test_whoever_runs_this_hears_of_a_connection_that_fell_silent(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        await tx.run("update agent set role = 'owner' where id = %(id)s", id=desk.lin)
        id_ = await tx.value(
            "update connection set name = 'wx-1', verified_at = %(now)s, created_at = %(now)s returning id", now=NOON
        )
        owner, agent = Access(desk.lin, Role.OWNER), Access(desk.chen, Role.AGENT)

        async def watched(after: timedelta) -> list[str]:
            await watch_connections(tx, now=NOON + after)
            assert await queries.notifications(tx, agent) == []
            rows = reversed(await queries.notifications(tx, owner))
            texts = Texts("zh")
            return [f"{title_of(one, texts)}：{line_of(one, texts)} {one.path}" for one in rows]

        await mark_broken(tx, id_, LOGGED_OUT, now=NOON)
        assert await watched(timedelta(minutes=2)) == []  # it may mend itself
        lost = f"wx-1断了：网关的微信账号没有登录。 /settings/connections/{id_}"
        for minutes in (4, 5, 60):
            assert await watched(timedelta(minutes=minutes)) == [lost]
        await mark_mended(tx, id_, now=NOON + timedelta(hours=2))
        # Nothing refuses us, and nobody is there.
        await tx.run(
            "insert into gateway_state (workspace_id, connection_id, state, reason, since) values "
            "(%(w)s, %(id)s, 'connecting', '', %(at)s)",
            w=desk.workspace_id,
            id=id_,
            at=NOON + timedelta(hours=3),
        )
        assert len(await watched(timedelta(hours=3, minutes=4))) == 1
        assert (await watched(timedelta(hours=3, minutes=6)))[1].startswith("wx-1断了：现在没有消息进来。")
        await tx.run("update connection set paused_at = now()")
        await mark_broken(tx, id_, LOGGED_OUT, now=NOON + timedelta(hours=4))
        assert len(await watched(timedelta(hours=5))) == 2  # whoever paused it knows
        # Whoever does not run it any more is not told of it any more, nor is it counted.
        former = Access(desk.lin, Role.SUPERVISOR)
        assert (await queries.notifications(tx, former), await queries.count_unread(tx, former)) == ([], 0)
        assert (await queries.news(tx, former, after=0, since=NOON)).rows == ()
        assert await queries.count_unread(tx, owner) == 2


async def test_whoever_runs_this_hears_that_we_are_out_of_a_group(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        await tx.run("update agent set role = 'owner' where id = %(id)s", id=desk.lin)
        owner, agent = Access(desk.lin, Role.OWNER), Access(desk.chen, Role.AGENT)

        async def told_of(*items: Incoming, now: datetime = NOON) -> None:
            await ingest(tx, desk.inbox, items, now=now, process_id=1)

        said = IncomingMessage("g1", "g-1", "zhou", SenderRole.CONTACT, Kind.TEXT, "早", NOON, group=True)
        await told_of(GroupChanged("g-1", NOON, "青禾用户群"), said, GroupChanged("g-2", NOON, "只看得到的群"))
        await told_of(MembersLeft("g-1", ("zhou",), NOON, "zhou"))
        assert await queries.notifications(tx, owner) == []
        for _ in range(2):
            await told_of(*(MembersLeft(thread, (), NOON, ourselves=True) for thread in ("g-1", "g-2")))
        (one,) = await queries.notifications(tx, owner)
        state = await desk.state(tx, "g-1")
        assert title_of(one, Texts("zh")) == "我们的账号不在青禾用户群里了"
        assert line_of(one, Texts("zh")) == "不再往那里发消息；有人再邀请这个账号就恢复。"
        assert one.path == f"/conversations/{state.id}"
        assert await queries.notifications(tx, agent) == []
        # Who puts us out and invites us all day is told of once an hour.
        for minutes in (1, 2, 3, 61):
            at = NOON + minutes * MINUTE
            back_and_out = MembersJoined("g-1", (), at, ourselves=True), MembersLeft("g-1", (), at, ourselves=True)
            await told_of(*back_and_out, now=at)
        assert len(await queries.notifications(tx, owner)) == 2
