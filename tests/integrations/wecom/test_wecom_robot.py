"""Notices into a group by its robot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.integrations.wecom.robot import GroupRobot, markdown
from zhiban.kit.http import Http
from zhiban.ports import ConnectionBroken, Notice, TryLater
from zhiban.testing.wecom import WeComSimulator

KEY = "693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa"


def notice(key: str = "n1", text: str = "小林在等", url: str | None = "https://desk.example.test/c/1") -> Notice:
    return Notice(key, "客户请求人工", text, url)


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def robot(http: Http, base: str, sim: WeComSimulator, clock: list[float]) -> GroupRobot:
    sim.add_robot(KEY)
    sim.add_robot("another-robot")
    return GroupRobot(http, base, monotonic=lambda: clock[0])


async def test_a_notice_arrives_once(robot: GroupRobot, sim: WeComSimulator) -> None:
    await robot.notify(KEY, notice())
    await robot.notify(KEY, notice())
    (message,) = sim.robots.messages
    assert message.key == KEY
    assert message.body["content"] == (
        "**客户请求人工**\n> 小林在等\n[desk.example.test/c/1](https://desk.example.test/c/1)"
    )


async def test_the_twenty_first_of_a_minute_waits(robot: GroupRobot, sim: WeComSimulator, clock: list[float]) -> None:
    for count in range(20):
        await robot.notify(KEY, notice(f"n{count}"))
        clock[0] += 1
    with pytest.raises(TryLater) as caught:
        await robot.notify(KEY, notice("n20"))
    assert caught.value.after == 40
    await robot.notify("another-robot", notice("n20"))
    sim.clock.advance(61)
    clock[0] += 40
    await robot.notify(KEY, notice("n20"))
    assert len(sim.robots.messages) == 22


async def test_the_platforms_own_limit_is_heeded(robot: GroupRobot, sim: WeComSimulator) -> None:
    sim.robots.quota.per_minute = 0
    with pytest.raises(TryLater) as caught:
        await robot.notify(KEY, notice())
    assert caught.value.after == 60


@pytest.mark.parametrize("key", ["", "a b", "x&y=z", "键"])
async def test_an_impossible_key(robot: GroupRobot, sim: WeComSimulator, key: str) -> None:
    with pytest.raises(ConnectionBroken):
        await robot.notify(key, notice())
    assert not sim.journal.counts


async def test_a_robot_that_was_removed(robot: GroupRobot, sim: WeComSimulator) -> None:
    sim.robots.keys = {"other"}
    with pytest.raises(ConnectionBroken) as caught:
        await robot.notify(KEY, notice())
    assert caught.value.code == 93000
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "mishap", [{"status": 502}, {"body": b"<html>"}, {"body": b"[]"}, {"drop": True}, {"errcode": -1}]
)
async def test_mishaps_are_tried_later_and_then_delivered(
    robot: GroupRobot, sim: WeComSimulator, mishap: dict[str, object]
) -> None:
    sim.fail("webhook/send", **mishap)
    with pytest.raises(TryLater):
        await robot.notify(KEY, notice())
    await robot.notify(KEY, notice())
    assert len(sim.robots.messages) == 1


async def test_a_refused_notice(robot: GroupRobot, sim: WeComSimulator) -> None:
    sim.fail("webhook/send", errcode=40058)
    with pytest.raises(ConnectionBroken):
        await robot.notify(KEY, notice())


async def test_a_word_that_mentions_people(robot: GroupRobot, sim: WeComSimulator) -> None:
    await robot.say(KEY, "库存告警", mention=("chen", "@all"))
    assert sim.robots.messages[0].body == {"content": "库存告警", "mentioned_list": ["chen", "@all"]}


async def test_nobody_listens(http: Http) -> None:
    with pytest.raises(TryLater) as caught:
        await GroupRobot(http, "http://127.0.0.1:9").notify(KEY, notice())
    assert not caught.value.unknown


def test_hostile_49_50_what_contacts_write_mentions_nobody() -> None:
    made = markdown(notice(text="<@all> [点我](https://evil.test) <font color=red>\n# 大标题"))
    assert "<" not in made
    assert made.count("](") == 1
    assert "\n> # 大标题" in made


@given(st.text(max_size=3000), st.text(max_size=500))
def test_any_notice_fits(text: str, title: str) -> None:
    made = markdown(Notice("k", title, text * 3, "https://desk.example.test/c/1"))
    assert len(made.encode("utf-8", "replace")) <= 4096
    assert made.endswith("(https://desk.example.test/c/1)")
