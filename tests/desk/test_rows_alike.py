"""Rows that many desks show alike are drawn once; what is one agent's own, or not for all to see, stays theirs."""

from __future__ import annotations

import re

from tests.desk.conftest import Site
from zhiban.kit.i18n import DEFAULT_ZONE, Texts
from zhiban.web.render import LOCALE_COOKIE

ALL = "/desk/list?queue=all&status=open&live=true"
ROWS = re.compile(r'<li id="row-(\d+)">.*?</li>', re.DOTALL)


def rows_of(page: str) -> dict[int, str]:
    return {int(found[1]): found[0] for found in ROWS.finditer(page)}


async def test_the_same_rows_are_drawn_once_for_colleagues(site: Site) -> None:
    lin, suhe = await site.signed_in("linxiao"), await site.signed_in("suhe")
    environment = site.app.state.auth.renderer._environment(Texts("zh", DEFAULT_ZONE))
    drawn = environment.get_template("desk/row.html").module.conv
    hers = rows_of((await lin.get(ALL)).text)
    before = drawn.cache_info()
    theirs = rows_of((await suhe.get(ALL)).text)
    after = drawn.cache_info()
    alike = sum(hers[id_] == row for id_, row in theirs.items())
    assert alike > 3
    assert after.hits - before.hits >= alike - 1  # a minute may have passed for one of them


async def test_what_is_ones_own_is_drawn_for_oneself(site: Site) -> None:
    lin, chen = await site.signed_in("linxiao"), await site.signed_in("chenmo")
    zhou = site.seed.conversations["周予安"]
    await lin.post(f"/conversations/{zhou}/draft", {"text": "只有我知道的话"})
    for _ in range(2):
        hers, his = rows_of((await lin.get(ALL)).text)[zhou], rows_of((await chen.get(ALL)).text)[zhou]
        assert "只有我知道的话" in hers
        assert "只有我知道的话" not in his
    message = "select max(id) from message where conversation_id = %(id)s"
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        last = await tx.value(message, id=zhou)
        await tx.run("delete from read_mark where conversation_id = %(id)s", id=zhou)
    await lin.post(f"/conversations/{zhou}/read", {"message_id": str(last)})
    for _ in range(2):
        assert "data-unread" not in rows_of((await lin.get(ALL)).text)[zhou]
        assert "data-unread" in rows_of((await chen.get(ALL)).text)[zhou]


async def test_rights_inboxes_and_languages_are_told_apart(site: Site) -> None:
    lin, chen = await site.signed_in("linxiao"), await site.signed_in("chenmo")
    zhou = site.seed.conversations["周予安"]
    changed = "update agent set role = 'read_only', inbox_ids = %(inboxes)s::bigint[] where id = %(id)s"
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run(changed, inboxes=None, id=site.seed.agents["陈默"])
    for _ in range(2):
        assert 'type="checkbox"' in rows_of((await lin.get(ALL)).text)[zhou]
        assert 'type="checkbox"' not in rows_of((await chen.get(ALL)).text)[zhou]
    english = await site.signed_in("linxiao")
    english.cookies.update_cookies({LOCALE_COOKIE: "en"})
    for _ in range(2):
        assert 'aria-label="选择周予安"' in rows_of((await lin.get(ALL)).text)[zhou]
        assert 'aria-label="选择周予安"' not in rows_of((await english.get(ALL)).text)[zhou]
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run(changed, inboxes=[], id=site.seed.agents["陈默"])
    assert zhou in rows_of((await lin.get(ALL)).text)
    assert not rows_of((await chen.get(ALL)).text)


async def test_a_row_follows_what_changes_in_it_and_the_time(site: Site) -> None:
    lin = await site.signed_in("linxiao")
    zhou = site.seed.conversations["周予安"]
    seen = [rows_of((await lin.get(ALL)).text)[zhou]]
    for change in (
        "update contact set remark = '周总' where id = (select contact_id from conversation where id = %(id)s)",
        "update conversation set waiting_since = now() - interval '11 minutes' where id = %(id)s",
        "update conversation set waiting_since = now() - interval '31 minutes' where id = %(id)s",
        "update conversation set priority = 4 where id = %(id)s",
        "update inbox set name = '换了名字' where id = (select inbox_id from conversation where id = %(id)s)",
    ):
        async with site.seed.database.transaction(site.seed.workspace_id) as tx:
            await tx.run(change, id=zhou)
        seen.append(rows_of((await lin.get(ALL)).text)[zhou])
    assert len(set(seen)) == len(seen)
    assert 'data-sla="soon"' in seen[2]
    assert 'data-sla="late"' in seen[3]
    assert "prio" in seen[4]
