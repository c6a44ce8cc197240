"""Groups over the webhook channel: what a body says of them, and whom a reply names."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import SecretStr
from tests.integrations.test_webhook import KEY, NOW, read

from zhiban.integrations.webhook.channel import WebhookChannel, WebhookConfig
from zhiban.kit.clock import SystemClock
from zhiban.kit.http import Http
from zhiban.ports import (
    GroupChanged,
    GroupMember,
    IncomingMessage,
    Kind,
    MembersJoined,
    MembersLeft,
    Mention,
    Outgoing,
    SenderRole,
)
from zhiban.testing.serving import served
from zhiban.testing.webhook import SECRET, WebhookProgram


def test_what_is_said_in_a_group_has_a_group_and_a_sender() -> None:
    at = datetime.fromtimestamp(1763605800, UTC)
    group, message = read("group__message")
    assert group == GroupChanged("g-77", NOW, "青禾用户群")
    assert message == IncomingMessage(
        "m-7",
        "g-77",
        "u-1001",
        SenderRole.CONTACT,
        Kind.TEXT,
        "@值班 部署在哪里看日志？",
        at,
        reply_to="m-6",
        group=True,
        sender_name="李晓",
        mentions=("u-1002",),
        mentions_us=True,
    )


def test_who_is_in_a_group_and_who_comes_and_goes() -> None:
    at = datetime.fromtimestamp(1763605800, UTC)
    li = GroupMember("u-1001", "李晓", "晓晓", "owner", "https://crm.example/1.png")
    assert read("group__members") == [GroupChanged("g-77", at, "青禾用户群", (li, GroupMember("u-1002")), "c-1")]
    assert read("group__joined") == [
        MembersJoined("g-77", (GroupMember("u-1003", "王磊"),), at, "u-1001", event_id="c-1")
    ]
    assert read("group__left") == [MembersLeft("g-77", ("u-1003",), at, ourselves=True, event_id="c-1")]


async def test_a_reply_names_members_of_its_group() -> None:
    program, named = WebhookProgram(), (Mention("u-1001", "晓晓"),)
    async with served(program.app) as url, Http() as http:
        config = WebhookConfig(source="crm", url=f"{url}/inbox", secret=SecretStr(SECRET), allow_private=True)
        channel = WebhookChannel(http, config, SystemClock())
        await channel.send(Outgoing(KEY, "g-77", Kind.TEXT, "在文档第三章。", mentions=named, reply_to="m-7"))
    (heard,) = program.replies("g-77")
    assert heard.body["message"]["mentions"] == [{"id": "u-1001", "name": "晓晓"}]
    assert (heard.text, heard.body["message"]["reply_to"]) == ("在文档第三章。", "m-7")
