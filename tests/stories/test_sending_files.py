"""An agent sends files: through the desk, over the wire, to the contact's phone or the program, each once."""

from __future__ import annotations

from typing import Any

import aiohttp
from tests.recordings import png
from tests.stories.conftest import DeskSession, Shop, until
from tests.stories.test_webhook_channel import XU, connected

from zhiban.people.auth import COOKIE

LI = "wmLIXIAO"
FILM = b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(range(256))
FILES = [
    ("图.png", png(40, 30)),
    ("动图.gif", b"GIF89a" + bytes(20)),
    ("合同 2026.pdf", b"%PDF-1.7 contract"),
]


async def put(desk: DeskSession, conversation: int, name: str, data: bytes) -> str:
    """Put a file beside the reply; returns its number."""
    headers = {"origin": desk.url, "cookie": f"{COOKIE}={desk.token}"}
    address = f"{desk.url}/desk/files/{conversation}"
    async with (
        aiohttp.ClientSession(headers=headers) as client,
        client.post(address, params={"name": name}, data=data) as answer,
    ):
        chip = await answer.text()
        assert answer.status == 200, chip
    return chip.split('data-file="')[1].split('"')[0]


async def replies(desk: DeskSession, conversation: int, text: str, *files: str, key: str = "k") -> int:
    form = aiohttp.FormData([("text", text), ("key", key), *(("files", file) for file in files)])
    return await desk.post(f"/conversations/{conversation}/replies", form)


async def waiting(shop: Shop, thread: str = LI) -> int:
    return int((await shop.becomes("open", thread)).id)


async def test_files_reach_the_phone_once_whatever_happens_on_the_wire(shop: Shop) -> None:
    await shop.says(LI, "转人工")
    conversation, desk = await waiting(shop), await shop.session()
    files = [await put(desk, conversation, name, data) for name, data in FILES]
    before = len(shop.wecom.sent(LI))
    shop.wecom.fail("media/upload", status=503)
    shop.wecom.fail("kf/send_msg", status=502, accept=True)
    assert await replies(desk, conversation, "", *files) == 204
    assert await replies(desk, conversation, "", *files) == 204  # a browser that tried again
    await until(lambda: len(shop.wecom.sent(LI)) >= before + 3)
    await shop.idle()
    sent = shop.wecom.sent(LI)[before:]
    assert [one.msgtype for one in sent] == ["image", "file", "file"]
    kept = [shop.wecom.media.named(one.body[one.msgtype]["media_id"]) for one in sent]
    assert kept == [
        ("图.png", png(40, 30)),
        ("动图.gif", b"GIF89a" + bytes(20)),
        ("合同 2026.pdf", b"%PDF-1.7 contract"),
    ]
    rows = await shop.rows(
        "select state from message where conversation_id = %(id)s and direction = 'out'", id=conversation
    )
    assert {state for (state,) in rows} == {"sent"}


async def test_a_refused_film_is_said_and_sent_again_by_hand(shop: Shop) -> None:
    await shop.says(LI, "转人工")
    conversation, desk = await waiting(shop), await shop.session()
    film = await put(desk, conversation, "开箱.mp4", FILM)
    before = len(shop.wecom.sent(LI))
    shop.wecom.fail("kf/send_msg", errcode=40201)
    await replies(desk, conversation, "请看", film)
    # The words were refused for good; the film goes all the same.
    await until(lambda: len(shop.wecom.sent(LI)) >= before + 1)
    assert shop.wecom.sent(LI)[-1].msgtype == "video"
    failed = await shop.eventually("select id from message where state = 'failed'")
    assert await desk.post(f"/messages/{failed}/again", {}) == 200
    await until(lambda: shop.wecom.sent(LI)[-1].text == "请看")

    shop.wecom.contact_says(LI, "谢谢")  # five more messages may follow
    await shop.eventually("select 1 from conversation where id = %(id)s and replies_used = 0", id=conversation)
    shop.wecom.fail("media/upload", errcode=40006)
    film = await put(desk, conversation, "开箱.mp4", FILM + b"2")
    await replies(desk, conversation, "", film, key="k2")
    failed = await shop.eventually("select id from message where state = 'failed'")
    assert await desk.post(f"/messages/{failed}/again", {}) == 200
    await shop.eventually("select 1 from message where id = %(id)s and state = 'sent'", id=failed)
    assert shop.wecom.media.named(_media_id(shop.wecom.sent(LI)[-1]))[1] == FILM + b"2"


def _media_id(sent: Any) -> str:
    return str(sent.body[sent.msgtype]["media_id"])


async def test_files_reach_a_program_inside_a_call(shop: Shop) -> None:
    async with connected(shop) as crm:
        await crm.program.says(XU, "转人工")
        conversation, desk = await waiting(shop, XU), await shop.session()
        picture = await put(desk, conversation, "杯子.webp", b"RIFF\0\0\0\0WEBPVP8 " + bytes(20))
        crm.program.loses_answers = 1
        assert await replies(desk, conversation, "", picture) == 204
        await shop.eventually("select 1 from message where kind = 'image' and state = 'sent'")
        (message,) = [one.body["message"] for one in crm.program.replies(XU) if one.body["message"].get("files")]
        (file,) = message["files"]
        assert (message["kind"], file["name"], file["content_type"]) == ("image", "杯子.webp", "image/webp")


async def test_an_answer_names_its_question_on_the_phone_and_to_a_program(shop: Shop) -> None:
    async with connected(shop) as crm:
        asked = await crm.program.says(XU, "转人工，能开发票吗")
        conversation, desk = await waiting(shop, XU), await shop.session()
        question = await shop.eventually("select id from message where external_id = %(id)s", id=asked)
        await crm.program.says(XU, "另外多久能到")
        form = {"text": "能开", "key": "k", "reply_to": str(question)}
        assert await desk.post(f"/conversations/{conversation}/replies", form) == 204
        await crm.heard("能开")
        reply = next(one for one in crm.program.replies(XU) if one.text == "能开")
        assert reply.body["message"]["reply_to"] == asked
        answered = await crm.program.says(XU, "好的", reply_to=reply.id)
        mine = "select reply_to_id from message where external_id = %(id)s and reply_to_id is not null"
        assert await shop.eventually(mine, id=answered) == await shop.eventually(
            "select id from message where external_id = %(id)s", id=reply.id
        )

    await shop.says(LI, "转人工，能开发票吗")
    conversation = await waiting(shop)
    ((question,),) = await shop.rows(
        "select id from message where text = '转人工，能开发票吗' and inbox_id = "
        "(select inbox_id from conversation where id = %(id)s)",
        id=conversation,
    )
    shop.wecom.contact_says(LI, "另外怎么退")
    await shop.eventually("select 1 from message where text = '另外怎么退'")
    await desk.post(f"/conversations/{conversation}/replies", {"text": "能开", "key": "k", "reply_to": str(question)})
    await until(lambda: shop.wecom.sent(LI)[-1].text == "「转人工，能开发票吗」\n能开")


async def test_a_rule_sends_a_file_that_was_put_into_its_editor_once_whatever_happens_on_the_wire(shop: Shop) -> None:
    desk = await shop.session()
    headers = {"origin": desk.url, "cookie": f"{COOKIE}={desk.token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as client,
        client.post(f"{desk.url}/desk/action-files", params={"name": "价目.png"}, data=png(40, 30)) as answer,
    ):
        tick = await answer.text()
        assert answer.status == 200, tick
    form = {
        "name": "转人工就发价目",
        "on": "conversation_handed_off",
        "a.0.kind": "send_attachment",
        "a.0.files": tick.split('value="')[1].split('"')[0],
        "a.0.text": "价目在这里",
    }
    assert await desk.post("/rules", form) == 303
    rule = await shop.eventually("select id from rule where name = '转人工就发价目'")
    assert await desk.post(f"/rules/{rule}/on", {}) == 303
    shop.wecom.fail("media/upload", status=503)
    shop.wecom.fail("kf/send_msg", status=502, accept=True)
    shop.wecom.contact_says(LI, "转人工")
    await until(lambda: any(one.msgtype == "image" for one in shop.wecom.sent(LI)))
    await shop.idle()
    sent = shop.wecom.sent(LI)
    assert [one.msgtype for one in sent] == ["text", "text", "image"]
    assert [one.text for one in sent if one.text == "价目在这里"] == ["价目在这里"]
    assert shop.wecom.media.named(sent[-1].body["image"]["media_id"]) == ("价目.png", png(40, 30))
    assert await shop.rows("select outcome from rule_run where rule_id = %(id)s", id=rule) == [("acted",)]
