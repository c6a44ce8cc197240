"""Files that rules and macros send: uploaded in the editor, kept with it, looked at, refused in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser import Visit
from tests.desk.conftest import Answer, Client, Site
from tests.desk.test_accessibility import faults
from tests.desk.test_browser import CONTRAST
from zhiban.automation import queries
from zhiban.conversations.draft_files import LARGEST

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 8 + (4).to_bytes(4, "big") + (3).to_bytes(4, "big")


async def upload(client: Client, name: str, data: bytes, *, field: str = "a.0.files") -> Answer:
    return await client.ask("POST", f"/desk/action-files?name={name}&field={field}", data=data)


def number(answer: Answer) -> str:
    assert answer.status == 200, answer.text
    return re.findall(r'name="a\.\d+\.files" value="(\d+)" checked', answer.text)[0]


async def test_a_file_is_kept_with_its_rule_and_shown_to_whoever_sees_rules(site: Site) -> None:
    owner, chen = await site.signed_in(), await site.signed_in("chenmo")
    kept = await upload(owner, "<b>价目.png", PNG)
    id_ = number(kept)
    assert "_b_价目.png" in kept.text
    assert (await chen.get(f"/desk/action-files/{id_}")).status == 404  # nobody's business yet
    form = {"name": "发价目", "on": "conversation_opened", "a.0.kind": "send_attachment", "a.0.files": id_}
    shown = (await owner.post("/rules/preview", form)).text
    assert "发附件“_b_价目.png”" in shown
    rehearsed = (await owner.post("/rules/rehearse", form)).text
    assert "会发：" in rehearsed
    saved = await owner.post("/rules", form)
    assert saved.status == 303
    page = (await owner.get(saved.headers["location"])).text
    assert f'name="a.0.files" value="{id_}" checked' in page
    assert "data-attach" not in (await chen.get(saved.headers["location"])).text  # who may not change it adds nothing
    picture = await chen.get(f"/desk/action-files/{id_}")
    assert (picture.status, picture.headers["content-type"]) == (200, "image/png")
    assert "sandbox" in picture.headers["content-security-policy"]
    # Unticked, it is out of the rule.
    revision = re.findall(r'name="revision" value="(\d+)"', page)[0]
    without = {key: value for key, value in form.items() if key != "a.0.files"}
    refused = await owner.post(saved.headers["location"], {**without, "revision": revision})
    assert (refused.status, "第1个动作还没有填好" in refused.text) == (422, True)


async def test_what_is_no_file_of_ours_is_refused_in_words(site: Site) -> None:
    owner, chen = await site.signed_in(), await site.signed_in("chenmo")
    empty = await upload(owner, "leer.txt", b"")
    assert (empty.status, "文件是空的" in empty.text) == (409, True)
    assert (await upload(owner, "x.txt", b"1", field="a.0.text")).status == 422
    large = await upload(owner, "x.bin", b"\0" * (LARGEST + 1))
    assert (large.status, "30 MB" in large.text) == (409, True)
    id_ = number(await upload(owner, "x.txt", b"1"))
    stolen = {"name": "借用", "a.0.kind": "send_attachment", "a.0.files": id_}
    refused = await chen.post("/settings/macros", stolen)
    assert (refused.status, "不在了" in refused.text) == (422, True)
    peeked = await chen.post("/rules/preview", {"on": "message_created", **stolen})
    assert ("x.txt" in peeked.text, "已删除的一项" in peeked.text) == (False, True)  # nor what it is called
    for strange in ("4711", "x", str(2**70)):
        draft = await owner.post("/rules/draft", {"name": "x", "a.0.kind": "send_attachment", "a.0.files": strange})
        assert draft.status == 200
        assert (await owner.post("/rules", {**stolen, "on": "message_created", "a.0.files": strange})).status == 422
    page = await upload(owner, "page.html", b"<script>alert(1)</script>")
    shown = await owner.get(f"/desk/action-files/{number(page)}")
    assert shown.headers["content-disposition"].startswith("attachment")


async def test_a_channel_that_does_not_take_it_is_named_in_the_editor(site: Site) -> None:
    owner = await site.signed_in()
    kept = await upload(owner, "film.bin", b"\0" * (21 << 20))
    assert "收不了" in kept.text  # 微信客服 takes 20 MB at most
    assert "收不了" not in (await upload(owner, "note.txt", b"12345")).text


@pytest.mark.browser
@pytest.mark.parametrize(
    ("where", "width", "dark"),
    [("/rules/new", 390, True), ("/settings/macros/new", 1440, False)],
    ids=["rule", "macro"],
)
async def test_by_mouse_a_file_is_chosen_seen_in_the_sentence_and_saved(
    site: Site, enter: Visit, tmp_path: Path, where: str, width: int, dark: bool
) -> None:
    chosen = tmp_path / "价目表.txt"
    chosen.write_bytes(b"1 2 3 4 5")
    page = await enter(width=width, height=844, dark=dark)
    await page.goto(site.url + where)
    await page.locator("input.name").fill("发价目")
    await page.locator("select[name='a.0.kind']").select_option("send_attachment")
    await page.locator("input[data-attach]").set_input_files(chosen)
    await expect(page.locator("input[name='a.0.files']")).to_be_checked()
    await expect(page.locator("#said")).to_contain_text("价目表.txt")
    assert await faults(page) == []
    assert await page.evaluate(CONTRAST) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if where.startswith("/rules"):
        await page.locator("input[name=on][value=conversation_opened]").check()
    await page.get_by_role("button", name="保存").click()
    await page.wait_for_url(re.compile(r"/\d+$"))
    await expect(page.locator("input[name='a.0.files']")).to_be_checked()
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        assert [one.filename for one in (await queries.names(tx)).files.values()] == ["价目表.txt"]
