"""Every save of an article keeps what it said before; anybody who may edit reads it again and goes back to it."""

from __future__ import annotations

import html
import re
from pathlib import Path

from tests.desk.conftest import Client, Site
from tests.desk.test_keeping import keeps, replied
from tests.desk.test_knowledge import gap_of, written
from zhiban.events import Actor
from zhiban.knowledge import queries
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.versions import versions

ASKED = "能开专票吗"


async def saves(client: Client, article: int, **changed: str) -> None:
    """Change the article in the editor as it stands there."""
    page = (await client.get(f"/knowledge/articles/{article}")).text
    form = {
        "question": ASKED,
        "answer": "能。",
        "seen": re.findall(r'name="seen" value="(\w+)"', page)[0],
        **changed,
    }
    assert (await client.post(f"/knowledge/articles/{article}", form)).status == 303


def changes(page: str) -> list[str]:
    """What the page shows as added and removed."""
    shown = re.findall(r'<(ins|del)><span class="sr">[^<]*</span>(.*?)</\1>', page, re.DOTALL)
    return [("+" if tag == "ins" else "-") + html.unescape(text).strip() for tag, text in shown]


async def test_every_save_keeps_what_was_there_and_any_can_be_restored(site: Site) -> None:
    lin, suhe = await site.signed_in(), site.seed.agents["苏禾"]
    article = (await written(site, 能开专票吗=("能。",)))[ASKED]
    here = f"/knowledge/articles/{article}/versions"
    assert "还没有改过" in (await lin.get(here)).text
    await saves(lin, article, answer="能，当天发到邮箱。", similar="开不开专票\n有专票吗", category="发票")
    await saves(lin, article, answer="能，三天内发到邮箱。", similar="有专票吗", category="发票")
    await saves(lin, article, answer="能，三天内发到邮箱。", similar="有专票吗", category="发票")  # nothing changed
    editor = (await lin.get(f"/knowledge/articles/{article}")).text
    assert "林晓刚刚改过" in editor
    assert "2个旧版本" in editor
    page = (await lin.get(here)).text
    assert changes(page) == ["-当天", "+三天内", "-开不开专票"]  # what the last save changed
    second, first = (int(id_) for id_ in re.findall(r'versions\?version=(\d+)"', page) if id_ != "0")
    assert changes((await lin.get(f"{here}?version={second}")).text) == [
        "+，当天发到邮箱",
        "+开不开专票\n有专票吗",
        "+发票",
    ]
    original = (await lin.get(f"{here}?version={first}")).text
    assert "最早的一版" in original
    assert changes(original) == [f"+{ASKED}", "+能。"]
    assert "命令行" in original
    now = (await lin.get(f"{here}?version={first}&against=now")).text
    assert changes(now) == ["+，三天内发到邮箱", "+有专票吗", "+发票"]
    seen = re.findall(r'name="seen" value="(\w+)"', now)[0]
    back = await lin.post(f"{here}/{first}/restore", {"seen": seen})
    assert back.headers["location"] == f"/knowledge/articles/{article}"
    stale = await lin.post(f"{here}/{second}/restore", {"seen": seen})  # somebody was quicker
    assert (stale.status, "有人改过" in stale.text) == (422, True)
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        row = await queries.article(tx, article)
        assert (row.answer, row.category, row.saved_from) == ("能。", None, "restored")
        assert [one.answer for one in await versions(tx, article, limit=9)] == [
            "能，三天内发到邮箱。",
            "能，当天发到邮箱。",
            "能。",
        ]
        assert suhe not in {one.actor_id for one in await versions(tx, article, limit=9)}
    assert "恢复旧版" in (await lin.get(here)).text
    for none in (f"{here}?version=999", "/knowledge/articles/999/versions"):
        assert (await lin.get(none)).status == 404


async def test_an_import_that_overwrites_keeps_what_people_wrote(site: Site, tmp_path: Path) -> None:
    lin, seed, file = await site.signed_in(), site.seed, tmp_path / "faq.csv"

    async def imported(answer: str) -> int:
        file.write_text(f"question,answer\n{ASKED},{answer}\n")
        await knowledge.import_paths(
            seed.database, seed.workspace_id, "default", [file], refresh=True, now=seed.clock.now()
        )
        async with seed.database.transaction(seed.workspace_id) as tx:
            return int(await tx.value("select id from article where title = %(title)s", title=ASKED))

    article = await imported("能。")
    await saves(lin, article, answer="能，问过财务了。")
    assert await imported("能，普票也行。") == article
    await imported("能，普票也行。")
    page = (await lin.get(f"/knowledge/articles/{article}/versions")).text
    assert "导入" in page
    assert page.count("faq.csv") >= 2
    async with seed.database.transaction(seed.workspace_id) as tx:
        kept = await versions(tx, article, limit=9)
        assert [(one.answer, one.saved_from, one.actor_id) for one in kept] == [
            ("能，问过财务了。", "editor", seed.agents["林晓"]),
            ("能。", "import", None),
        ]


async def test_it_says_where_an_article_came_from(site: Site) -> None:
    lin = await site.signed_in()
    gap, reply = await gap_of(site), await replied(site, "九点到六点。", asked="你们几点上班")
    done = await lin.post(f"/knowledge/gaps/{gap}/answer", {"question": "支持达梦吗", "answer": "支持。"})
    assert done.status == 303
    await keeps(lin, reply)
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        told = dict(await tx.rows("select id, saved_from from article"))
        api = await knowledge.put_faq(
            tx,
            await knowledge.base_for(tx),
            question="能寄到日本吗",
            answer="能",
            by=Actor("api", None, "crm"),
            now=site.seed.clock.now(),
        )
    assert sorted(told.values()) == ["gap", "reply"]
    assert "接口 crm" in (await lin.get(f"/knowledge/articles/{api}")).text
    chen = await site.signed_in("chenmo")
    assert "接口 crm" in (await chen.get(f"/knowledge/articles/{api}")).text
    assert (await chen.get(f"/knowledge/articles/{api}/versions")).status == 409


async def test_what_was_written_is_only_shown(site: Site) -> None:
    lin, article = await site.signed_in(), (await written(site, 能开专票吗=("能。",)))[ASKED]
    await saves(lin, article, answer="<script>alert(1)</script>能 </ins><b>x</b>")
    page = (await lin.get(f"/knowledge/articles/{article}/versions")).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


async def test_going_back_takes_nothing_away_that_people_taught(site: Site) -> None:
    lin, seed = await site.signed_in(), site.seed
    article, taught = (await written(site, 能开专票吗=("能。",)))[ASKED], "专票能不能开"
    await saves(lin, article, similar=taught)
    await saves(lin, article)
    async with seed.database.transaction(seed.workspace_id) as tx:
        (_, second) = [row.id for row in await versions(tx, article, limit=2)]
        newest = (await versions(tx, article, limit=1))[0].id
        await knowledge.teach(tx, article, [taught], now=seed.clock.now())
        for id_ in (newest, second):  # the one that has it written, and the one that has not
            seen = (await queries.article(tx, article)).digest
            await knowledge.restore_version(tx, article, id_, seen=seen, now=seed.clock.now())
            kept = {row.text: row.origin for row in await queries.phrasings(tx, [article])}
            assert kept == {ASKED: "question", taught: "agent"}


async def test_a_version_that_should_not_be_kept_is_removed(site: Site) -> None:
    lin, seed = await site.signed_in(), site.seed
    article = (await written(site, 能开专票吗=("打13800138000。",)))[ASKED]
    await saves(lin, article, answer="能。")
    here = f"/knowledge/articles/{article}/versions"
    async with seed.database.transaction(seed.workspace_id) as tx:
        (old,) = await versions(tx, article, limit=9)
    assert "移除这一版" in (await lin.get(f"{here}?version={old.id}")).text
    for path in (f"{here}/{old.id + 1}/remove", f"/knowledge/articles/{article + 1}/versions/{old.id}/remove"):
        assert (await lin.post(path)).status == 404
    assert (await (await site.signed_in("chenmo")).post(f"{here}/{old.id}/remove")).status in (403, 409, 422)
    assert (await lin.post(f"{here}/{old.id}/remove")).headers["location"] == here
    assert (await lin.get(f"{here}?version={old.id}")).status == 404
    assert "13800138000" not in (await lin.get(here)).text
    assert "移除文章的旧版本" in (await lin.get("/settings/audit?about=article_version_removed")).text
    assert (await lin.post(f"{here}/{old.id}/remove")).status == 404


async def test_an_import_says_which_versions_went(site: Site, tmp_path: Path) -> None:
    seed, file = site.seed, tmp_path / "faq.csv"
    report = None
    for question, answer in ((ASKED, "能。"), (ASKED, "能的。"), ("专票怎么开", "在后台。")):
        file.write_text(f"question,answer\n{question},{answer}\n")
        report = await knowledge.import_paths(
            seed.database, seed.workspace_id, "default", [file], refresh=True, now=seed.clock.now()
        )
    assert report is not None
    assert (report.changes.articles_removed, report.changes.versions_removed) == (1, 1)
