"""A conversation as a file: what is in it, what is not, and that it was taken."""

from __future__ import annotations

from tests.desk.conftest import Site


async def test_a_transcript_holds_what_was_said_and_no_notes_unless_asked(site: Site) -> None:
    seed, agent = site.seed, await site.signed_in()
    zhou = seed.conversations["周予安"]
    async with seed.database.transaction(seed.workspace_id) as tx:
        await seed.says(tx, "周予安", "<script>alert(1)</script>\n=1+1", at=seed.ago(minutes=1))
        gone = await seed.says(tx, "周予安", "说错了的话", at=seed.ago(minutes=1))
        await tx.run("update message set recalled_at = now() where id = %(id)s", id=gone)
        await tx.run("update contact set remark = '难缠' where name = '周予安'")
    text = await agent.get(f"/conversations/{zhou}/transcript")
    assert text.status == 200
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert text.headers["content-disposition"].startswith("attachment;")
    said = text.text
    order = ["401 signature mismatch", "1. 反向代理改写了请求体怎么办", "[图片]", "我是林晓", "=1+1", "（已撤回）"]
    places = [said.index(words) for words in order]
    assert places == sorted(places)
    assert "] 周予安\r\n" in said
    assert "] 林晓\r\n" in said
    for hidden in ("说错了的话", "像是 Nginx", "难缠", "开始处理"):
        assert hidden not in said
    page = await agent.get(f"/conversations/{zhou}/transcript?form=html&notes=true")
    assert page.headers["content-disposition"].startswith("attachment;")
    assert "sandbox" in page.headers["content-security-policy"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "<script>" not in page.text
    assert "林晓（备注，对方看不到）" in page.text
    assert "像是 Nginx" in page.text
    assert (await agent.get(f"/conversations/{zhou}/transcript?form=pdf")).status == 422
    async with seed.database.transaction(seed.workspace_id) as tx:
        taken = await tx.values("select data ->> 'what' from event where kind = 'data_exported' order by id")
    assert taken == [f"conversation {zhou}", f"conversation {zhou} with notes"]
    beside = (await agent.get(f"/conversations/{zhou}")).text
    assert f'href="/conversations/{zhou}/transcript?form=html&amp;notes=true"' in beside
