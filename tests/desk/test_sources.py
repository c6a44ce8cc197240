"""Files sent from the browser: read by a job, replaced, refused in words row by row, removed."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Any

import aiohttp
import pytest
from openpyxl import Workbook
from playwright.async_api import expect

from tests.browser import Visit, holds
from tests.desk.conftest import Answer, Client, Site
from tests.desk.test_accessibility import STILL, faults
from tests.desk.test_browser import CONTRAST
from tests.desk.test_knowledge import counted, tries
from zhiban.kit.file_store import PostgresFileStore
from zhiban.knowledge import queries
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.document import MOST_UNPACKED
from zhiban.knowledge.upload_jobs import UploadJobs
from zhiban.knowledge.uploads import ImportRow, imports

TABLE = "问题,答案,相似问题\n怎么退款,点申请退款。,如何退款\n只有问题,,\n,只有答案,\n怎么开发票,=1+1,\n".encode()


async def sends(client: Client, *files: tuple[str, bytes], **headers: str) -> Answer:
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("base", "")
    for name, content in files:
        form.add_field("files", content, filename=name)
    return await client.ask("POST", "/knowledge/uploads", data=form, **headers)  # type: ignore[arg-type]


async def last(site: Site) -> ImportRow:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        return (await imports(tx, await knowledge.base_for(tx)))[0]


async def works(site: Site) -> ImportRow:
    """What a worker does with the last import."""
    seed = site.seed
    job = UploadJobs(seed.database, seed.clock, PostgresFileStore(seed.database, seed.clock))
    await job.import_uploads(seed.workspace_id, (await last(site)).id)
    return await last(site)


async def names(site: Site) -> list[str]:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        return [row.name for row in await queries.sources(tx, await knowledge.base_for(tx))]


def workbook(*rows: tuple[Any, ...]) -> bytes:
    book, out = Workbook(), io.BytesIO()
    for row in rows:
        book.active.append(row)  # type: ignore[union-attr]
    book.save(out)
    return out.getvalue()


def bomb() -> bytes:
    """A workbook that says of itself how large it becomes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("xl/workbook.xml", b"0")
    content = bytearray(out.getvalue())
    size = content.index(b"PK\x01\x02") + 24  # in the archive's directory
    content[size : size + 4] = (MOST_UNPACKED + 1).to_bytes(4, "little")
    return bytes(content)


async def test_a_table_is_read_and_what_was_left_out_is_said_row_by_row(site: Site) -> None:
    lin = await site.signed_in()
    assert (await sends(lin, ("问答.csv", TABLE))).headers["location"] == "/knowledge/sources"
    page = (await lin.get("/knowledge/sources")).text
    assert "排着队" in page
    assert 'hx-trigger="every 1s"' in page
    done = await works(site)
    assert (done.status, done.agent_id) == ("done", site.seed.agents["林晓"])
    page = (await lin.get("/knowledge/imports", hx_request="true")).text
    for words in ("导入完了", "2篇文章", "第3行没有答案：只有问题", "第4行没有问题：只有答案", "林晓"):
        assert words in page
    assert "every 1s" not in page  # nothing goes on
    assert await names(site) == ["uploads/问答.csv"]
    assert "点申请退款。" in await tries(lin, "如何退款")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        told = await tx.rows(
            "select kind, actor_kind from event where kind in ('import_requested', 'sources_imported')"
        )
    assert sorted(told) == [("import_requested", "agent"), ("sources_imported", "agent")]
    exported = await lin.post("/knowledge/export", {"base": "default"})
    assert "怎么开发票,,'=1+1" in exported.text  # no spreadsheet runs it
    assert exported.headers["content-disposition"].startswith("attachment")


async def test_a_file_of_the_same_name_is_replaced_and_asks_before_it_takes_much_away(site: Site) -> None:
    lin = await site.signed_in()
    await sends(lin, ("a.md", "# 手册\n\n## 怎么退款？\n\n点申请退款。\n\n## 怎么开发票？\n\n在订单里点。".encode()))
    await works(site)
    await sends(lin, ("b.txt", "店在南京路。".encode()), ("c.txt", "店在南京路。".encode()))
    assert "内容和另一个文件完全一样" in str(await works(site)) + (await lin.get("/knowledge/sources")).text
    assert await names(site) == ["uploads/a.md", "uploads/b.txt"]  # nothing else went
    less = ("a.md", "# 手册\n\n## 怎么退款？\n\n打电话给我们。".encode())
    await sends(lin, less)
    asking = await works(site)
    assert (asking.status, asking.removal) == ("asking", {"removed": 1, "added": 0, "files": []})
    assert "会删除1篇文章，只新增0篇" in (await lin.get("/knowledge/sources")).text
    assert (await lin.post(f"/knowledge/imports/{asking.id}/cancel")).status == 303
    assert (await lin.post(f"/knowledge/imports/{asking.id}/confirm")).status == 422  # decided already
    assert "点申请退款。" in await tries(lin, "怎么退款")
    await sends(lin, less)
    asking = await works(site)
    assert (await lin.post(f"/knowledge/imports/{asking.id}/confirm")).status == 303
    assert (await works(site)).status == "done"
    assert "更新成1篇文章" in (await lin.get("/knowledge/sources")).text
    assert "打电话给我们。" in await tries(lin, "怎么退款")
    assert (await lin.post(f"/knowledge/imports/{asking.id}/explode")).status == 404
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        gone = await tx.value("select id from source where name = 'uploads/a.md'")
    assert "移除它和来自它的1篇文章" in (await lin.get("/knowledge/sources")).text
    assert (await lin.post(f"/knowledge/sources/{gone}/remove")).status == 303
    assert (await lin.post(f"/knowledge/sources/{gone}/remove")).status == 404
    assert await names(site) == ["uploads/b.txt"]


async def test_hostile_files_are_refused_in_words_and_the_others_go_in(site: Site) -> None:
    lin = await site.signed_in()
    sent = (
        ("../../etc/passwd.csv", TABLE),
        ("run.exe", b"MZ"),
        ("bomb.xlsx", bomb()),
        ("lies.xlsx", b"%PDF-1.4"),
        ("lies.pdf", b"PK\x03\x04"),
        ("empty.md", b""),
        (".md", b"# x"),
        ("<script>alert(1)</script>.md", "# 标题\n\n正文。".encode()),
        (f"{'长' * 300}.txt", b"text"),
        ("公式.xlsx", workbook(("问题", "答案"), ("=cmd|' /C calc'!A0", "<script>alert(2)</script>"))),
    )
    assert (await sends(lin, *sent)).status == 303
    done = await works(site)
    assert done.status == "done"
    assert {one["file"] for one in done.refused} == {"run.exe", ".md"}
    page = (await lin.get("/knowledge/sources")).text
    for words in ("bomb.xlsx", "文件解压后超过256 MB", "文件已损坏，或和扩展名不符", "PDF已损坏", "文件是空的"):
        assert words in page
    assert page.count('data-state="broken"') == 7  # a formula that nobody has reckoned is nothing
    assert "<script>" not in re.sub(r"<script src=[^>]*>", "", page)
    assert all(name.startswith("uploads/") and "/" not in name.removeprefix("uploads/") for name in await names(site))
    assert "uploads/passwd.csv" in await names(site)


async def test_who_may_not_write_sends_nothing(site: Site) -> None:
    chen, before = await site.signed_in("chenmo"), await counted(site)
    for client, headers in ((chen, {}), (await site.signed_in(), {"origin": "https://evil.example"})):
        assert (await sends(client, ("a.csv", TABLE), **headers)).status in (403, 422)
    assert (await sends(site.client(), ("a.csv", TABLE))).status == 303  # to sign in
    after = await counted(site)
    assert {name: after[name] - before[name] for name in ("knowledge_import", "stored_file", "source", "article")} == {
        "knowledge_import": 0,
        "stored_file": 0,
        "source": 0,
        "article": 0,
    }
    lin = await site.signed_in()
    assert "先选文件" in (await sends(lin)).text
    assert "一次最多50个文件" in (await sends(lin, *[(f"{n}.md", b"x") for n in range(51)])).text
    assert (await lin.get("/knowledge/imports")).status == 303  # without scripts


@pytest.mark.browser
async def test_an_owner_drops_a_file_and_sees_it_read(site: Site, enter: Visit) -> None:
    page = await enter("/knowledge/sources", width=390, height=844)
    await page.set_input_files("#send [type=file]", {"name": "问答.csv", "mimeType": "text/csv", "buffer": TABLE})
    await expect(page.locator("#imports")).to_contain_text("排着队")
    await works(site)
    await expect(page.locator("#imports")).to_contain_text("第3行没有答案")
    await page.goto(page.url)
    await expect(page.get_by_role("heading", name="1个文件在用")).to_be_visible()
    assert await faults(page) == []
    for scheme in ("dark", "light"):
        await page.emulate_media(color_scheme=scheme)
        await holds(page, STILL)
        assert await page.evaluate(CONTRAST) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
