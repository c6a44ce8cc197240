"""Files beside a reply, over HTTP and in a browser: put there, looked at, sent with the words, never lost."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.desk.conftest import Answer, Client, Site, Visit
from tests.desk.test_accessibility import faults
from tests.desk.test_browser import BOX, opened
from tests.recordings import png
from zhiban.people.models import Role

CONTRACT = b"%PDF-1.7 the contract"


async def put(client: Client, conversation: int, data: bytes, name: str, **headers: str) -> Answer:
    return await client.ask("POST", f"/desk/files/{conversation}?name={name}", data=data, **headers)


async def test_a_file_is_put_beside_a_reply_shown_and_sent(site: Site) -> None:
    client, zhou = await site.signed_in(), site.seed.conversations["周予安"]
    chip = (await put(client, zhou, png(40, 30), "图.png")).text
    assert ('<img src="/desk/files/1"' in chip, "图.png" in chip) == (True, True)
    shown = await client.get("/desk/files/1")
    assert (shown.headers["content-type"], shown.headers["x-content-type-options"]) == ("image/png", "nosniff")
    assert "sandbox" in shown.headers["content-security-policy"]
    evil = (await put(client, zhou, b"<script>alert(1)</script>", "<b>.html")).text
    assert ("<img" in evil, "<b>" in evil) == (False, False)
    page = await client.get("/desk/files/2")
    assert page.headers["content-type"] == "application/octet-stream"
    assert page.headers["content-disposition"].startswith("attachment")
    thread = (await client.get(f"/conversations/{zhou}")).text
    assert thread.count('class="clip" data-file=') == 2
    assert "图片 ≤ 1000 B (PNG) · 文件 ≤ 1000 B" in thread

    form = [("text", ""), ("key", "k1"), ("files", "2"), ("files", "1")]
    for _ in range(2):
        assert (await client.post(f"/conversations/{zhou}/replies", form)).status == 204
    thread = (await client.get(f"/conversations/{zhou}")).text
    assert 'class="clip" data-file=' not in thread
    assert thread.count("正在发送") >= 2
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        rows = await tx.rows(
            "select m.kind, a.filename from message m join attachment a on a.message_id = m.id "
            "where m.state = 'queued' order by m.id"
        )
    assert [tuple(row) for row in rows] == [("file", "_b_.html"), ("image", "图.png")]
    assert (await client.get("/desk/files/1")).status == 404


async def test_nobody_sees_or_sends_what_a_colleague_put_beside_a_reply(site: Site) -> None:
    lin, chen, zhou = await site.signed_in(), await site.signed_in("chenmo"), site.seed.conversations["周予安"]
    await put(lin, zhou, CONTRACT, "合同.pdf")
    assert (await chen.get("/desk/files/1")).status == 404
    assert (await chen.post("/desk/files/1/remove")).status == 404
    assert "合同.pdf" not in (await chen.get(f"/conversations/{zhou}")).text
    sent = await chen.post(f"/conversations/{zhou}/replies", {"text": "拿来", "key": "k", "files": "1"})
    assert sent.status == 409
    assert (await lin.post("/desk/files/1/remove")).status == 204
    assert "合同.pdf" not in (await lin.get(f"/conversations/{zhou}")).text


async def test_what_cannot_go_is_refused_in_words(site: Site) -> None:
    client, zhou = await site.signed_in(), site.seed.conversations["周予安"]
    large = await put(client, zhou, bytes(1001), "大.bin", hx_request="true")
    assert (large.status, large.text) == (409, "文件太大：这个渠道最多收1000 B。")
    assert (await put(client, zhou, b"", "空.txt", hx_request="true")).text == "文件是空的。"
    foreign = await put(client, zhou, CONTRACT, "x", origin="https://elsewhere.example")
    assert foreign.status == 403
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        role = Role.READ_ONLY
        await tx.run("update agent set role = %(role)s where id = %(id)s", role=role, id=site.seed.agents["陈默"])
    reader = await site.signed_in("chenmo")
    assert (await put(reader, zhou, CONTRACT, "合同.pdf")).status == 409
    assert "clip-input" not in (await reader.get(f"/conversations/{zhou}")).text


@pytest.mark.browser
async def test_files_are_pasted_dropped_chosen_and_sent(site: Site, enter: Visit) -> None:
    page = await enter()
    await opened(page, "周予安")
    chips = page.locator("#clips .clip[data-file]")
    await page.set_input_files(
        "#clip-input",
        [
            {"name": "合同.pdf", "mimeType": "application/pdf", "buffer": CONTRACT},
            {"name": "大.bin", "mimeType": "application/octet-stream", "buffer": bytes(2000)},
        ],
    )
    await expect(chips).to_have_count(1)
    await expect(page.locator(".toast")).to_contain_text("大.bin太大，这里最多1000 B")
    give = """([kind, bytes, name]) => {
        const held = new DataTransfer();
        held.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
        const how = { bubbles: true, cancelable: true };
        const event = kind === "paste" ? new ClipboardEvent(kind, { clipboardData: held, ...how })
            : new DragEvent(kind, { dataTransfer: held, ...how });
        document.querySelector(kind === "paste" ? "#compose-reply" : "#talk").dispatchEvent(event);
    }"""
    await page.evaluate(give, ["paste", list(png(8, 8)), "image.png"])
    await expect(chips).to_have_count(2)
    await expect(chips.nth(1)).to_contain_text("粘贴的图片")
    await page.evaluate(give, ["dragenter", list(png(9, 9)), "拖来.png"])
    await expect(page.locator(".drop")).to_be_visible()
    await page.evaluate(give, ["drop", list(png(9, 9)), "拖来.png"])
    await expect(page.locator(".drop")).to_be_hidden()
    await expect(chips).to_have_count(3)
    await chips.nth(1).locator("[data-unclip]").click()
    await expect(chips).to_have_count(2)

    await page.reload()
    await page.wait_for_selector("html[data-ready]")
    await expect(chips).to_have_count(2)  # kept with the draft

    await page.route("**/replies", lambda route: route.fulfill(status=409, body="同事刚刚回复了。"))
    await page.fill(BOX, "合同和图")
    await page.keyboard.press("Enter")
    await expect(chips).to_have_count(2)  # what is refused comes back
    await expect(page.locator(BOX)).to_have_value("合同和图")
    await page.unroute("**/replies")
    await page.locator(BOX).press("Enter")
    await expect(page.locator("#messages .msg[data-side=us]").last.locator("img.shot")).to_be_visible()
    await expect(page.locator("#messages")).to_contain_text("合同.pdf")
    await expect(chips).to_have_count(0)
    await expect(page.locator("#sending .msg")).to_have_count(0)


@pytest.mark.browser
async def test_a_reply_answers_a_certain_message(site: Site, enter: Visit) -> None:
    page = await enter()
    await opened(page, "周予安")
    asked = page.locator("#messages .msg:has-text('升级到 2.4 之后')").first
    await asked.hover()
    await asked.locator("[data-quote]").click()
    await expect(page.locator("#quote")).to_contain_text("回复周予安")
    await page.click("[data-unquote]")
    await expect(page.locator("#quote")).to_be_hidden()
    await asked.hover()
    await asked.locator("[data-quote]").click()
    await page.reload()
    await page.wait_for_selector("html[data-ready]")
    await expect(page.locator("#quote")).to_contain_text("升级到 2.4 之后")
    await page.fill(BOX, "这个改好了")
    await page.keyboard.press("Enter")
    answer = page.locator("#messages .msg[data-side=us]").last
    await expect(answer.locator("a.quote")).to_contain_text("周予安")
    await expect(answer.locator(".say")).to_have_text("这个改好了")
    await expect(page.locator("#quote")).to_be_hidden()
    await answer.locator("a.quote").click()
    await expect(asked).to_be_in_viewport()
    await expect(asked).to_be_focused()


@pytest.mark.browser
async def test_how_far_a_file_is_sent_is_seen_and_one_that_breaks_off_is_tried_again(site: Site, enter: Visit) -> None:
    page = await enter()
    await opened(page, "周予安")
    # A slow line: a quarter of it is there, then it breaks off.
    await page.evaluate("""() => {
      const send = XMLHttpRequest.prototype.send;
      XMLHttpRequest.prototype.send = function (body) {
        window.slow = { line: this, go: () => send.call(this, body) };
        const part = { lengthComputable: true, loaded: 1, total: 4 };
        this.upload.dispatchEvent(new ProgressEvent("progress", part));
      };
    }""")
    await page.set_input_files("#clip-input", [{"name": "合同.pdf", "mimeType": "application/pdf", "buffer": CONTRACT}])
    chip = page.locator("#clips .clip")
    await expect(chip.locator("progress")).to_be_visible()
    assert await chip.locator("progress").evaluate("one => one.value / one.max") == 0.25
    assert await faults(page) == []
    await page.evaluate("""() => {
      slow.line.dispatchEvent(new ProgressEvent("error"));
      slow.line.dispatchEvent(new ProgressEvent("loadend"));
    }""")
    await chip.locator("[data-again]").click()
    await expect(chip.locator("progress")).to_be_visible()
    await page.evaluate("slow.go()")
    await expect(page.locator("#clips .clip[data-file]")).to_have_count(1)
    await expect(chip).to_contain_text("合同.pdf")
