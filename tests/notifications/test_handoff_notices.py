"""What our people are told when somebody waits for them, by the job that tells it."""

from __future__ import annotations

import pytest
from tests.kernel_desk import NOON, open_desk

from zhiban.channels.connections import Connections
from zhiban.conversations import service
from zhiban.conversations.reasons import Reason, handoff_words
from zhiban.events import Actor
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.kit.i18n import Texts
from zhiban.kit.vault import Vault
from zhiban.notifications.jobs import NotificationJobs, NotifierRegistry
from zhiban.testing.notices import NoticeBoard


@pytest.mark.parametrize(
    ("locale", "lines"),
    [
        ("zh", ["wm1 需要人工处理", "原因：规则转来的", "时间：11-20 12:00"]),
        ("en", ["wm1 needs a person", "Reason: a rule handed it over", "Time: 11-20 12:00"]),
    ],
)
async def test_the_notice_of_what_a_rule_handed_over_is_in_the_workspaces_words(
    db: Database, workspace: int, locale: str, lines: list[str]
) -> None:
    desk, board = await open_desk(db, workspace), NoticeBoard()
    registry = NotifierRegistry(["telegram:42"], {"telegram": board}, board, "https://desk.example.test")
    connections = Connections(db, Vault(["a key for tests only"]), SetClock(NOON), None, build=None)  # type: ignore[arg-type]
    jobs = NotificationJobs(db, connections, registry, Texts(), SetClock(NOON))
    async with db.transaction(workspace) as tx:
        await tx.run("update workspace set locale = %(locale)s", locale=locale)
        state = await desk.writes(tx, "wm1", "怎么退款")
        await tx.run("update contact set name = 'wm1'")
        await service.hand_off(tx, state.id, reason="rule", actor=Actor("rule", 7, "转人工"), now=NOON)
        (event_id,) = await tx.values("select id from event where kind = 'conversation_handed_off'")
    await jobs.notify_handoff(workspace, state.id, event_id)
    async with db.transaction(workspace) as tx:
        (recipient,) = await tx.values(
            "select args ->> 'recipient' from jobs.procrastinate_jobs where task_name = 'send_notification'"
        )
    await jobs.send_notification(workspace, state.id, event_id, recipient)
    ((_, notice),) = board.pinned
    assert notice.title == lines[0]
    assert set(lines[1:]) <= set(notice.text.splitlines())


def test_every_reason_for_which_people_are_told_has_words() -> None:
    said = {str(reason) for reason in Reason if handoff_words(reason)}
    assert {"rule", "macro", "flow", "asked", "error", "reply_failed", "wrote_again", "assistant_off"} <= said
    assert handoff_words("a word that nobody knows") == ""
