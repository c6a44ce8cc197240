"""A conversation as a file: what is in it, what is not, and that it was taken."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from pydantic import SecretStr

from tests.desk.conftest import Client, Site
from zhiban.conversations import replies
from zhiban.events import Actor
from zhiban.integrations.smtp import SmtpConfig, SmtpMailer
from zhiban.kit.settings import load
from zhiban.testing.smtp import PASSWORD, USER, SmtpSimulator


async def test_a_transcript_holds_what_was_said_and_no_notes_unless_asked(site: Site) -> None:
    seed, agent = site.seed, await site.signed_in()
    zhou = seed.conversations["周予安"]
    async with seed.database.transaction(seed.workspace_id) as tx:
        await seed.says(tx, "周予安", "<script>alert(1)</script>\n=1+1", at=seed.ago(minutes=1))
        gone = await seed.says(tx, "周予安", "说错了的话", at=seed.ago(minutes=1))
        await seed.takes_back(tx, "周予安", gone, at=seed.clock.now())
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


async def test_what_a_program_wrote_is_no_rules_and_a_persons_words_are_not_the_assistants(site: Site) -> None:
    seed, agent = site.seed, await site.signed_in()
    zhou, orders = seed.conversations["周予安"], Actor("api", 4711, "订单系统")
    async with seed.database.transaction(seed.workspace_id) as tx:
        now = seed.clock.now()
        await replies.add_note(tx, zhou, text="已退款", by=orders, now=now)
        for key, from_person in (("k1", True), ("k2", False)):
            said: dict[str, Any] = {"limits": seed.limits, "now": now, "from_person": from_person}
            await replies.send_as_program(tx, zhou, text=f"是{from_person}", by=orders, key=key, **said)
    text = (await agent.get(f"/conversations/{zhou}/transcript?notes=true")).text
    assert "] 订单系统（备注，对方看不到）\r\n已退款" in text
    assert "] 同事\r\n是True" in text
    assert "] 值班助手\r\n是False" in text
    assert "备注 · 订单系统" in " ".join((await agent.get("/search?q=已退款")).text.split())


async def test_a_transcript_goes_by_mail_where_a_server_is_set_up(site: Site) -> None:
    seed, agent = site.seed, await site.signed_in()
    zhou = seed.conversations["周予安"]
    address = f"/conversations/{zhou}/transcript/mail"
    form = {"to": "zhou@example.com", "key": "abcdefgh"}
    assert "menu-mail" not in (await agent.get(f"/conversations/{zhou}")).text
    assert (await agent.post(address, form)).status == 409
    site.app.state.desk = replace(site.app.state.desk, mails=True)
    async with seed.database.transaction(seed.workspace_id) as tx:
        await tx.run(
            "update contact set attributes = attributes || '{\"email\": \"zhou@example.com\"}' where name = '周予安'"
        )
    assert f'hx-get="{address}"' in (await agent.get(f"/conversations/{zhou}")).text
    assert 'value="zhou@example.com"' in (await agent.get(address)).text
    assert (await agent.post(address, {**form, "to": "zhou@example.com\nBcc: all@example.com"})).status == 409
    for _ in range(2):
        again = await agent.post(address, form)
        assert again.status == 200
        assert "排队发送" in again.text
    # The open menu gets a new form with the answer: the next mail is another one, and the old form sends no other.
    assert re.search('name="key" value="[^"]{16}"', again.text)
    assert "zhou@example.com · " in again.text
    assert (await agent.post(address, {**form, "to": "other@example.com"})).status == 409
    async with seed.database.transaction(seed.workspace_id) as tx:
        assert await tx.values("select recipient from transcript_mail") == ["zhou@example.com"]
        await tx.run("update transcript_mail set state = 'refused', problem = 'The mail server did not answer.'")
    shown = (await agent.get(address)).text
    assert "没有发出：邮件服务器没有答复。" in shown


async def test_the_settings_send_a_test_mail(site: Site) -> None:
    owner, server = await site.signed_in(), SmtpSimulator()
    assert "没有设置邮件服务器" in (await owner.get("/settings/notifiers")).text
    async with server.serving() as port:
        config = SmtpConfig(
            host="127.0.0.1", port=port, security="none", user=USER, password=SecretStr(PASSWORD), sender=USER
        )
        site.app.state.mailer = SmtpMailer(config)
        setup = site.app.state.channel_setup
        site.app.state.channel_setup = replace(setup, settings=load(env_file=None, smtp_host="mail", smtp_from=USER))
        assert "发一封测试" in (await owner.get("/settings/notifiers")).text
        sent = await owner.post("/settings/notifiers/mail", {"to": "linxiao@example.com"})
        assert (sent.status, server.delivered[0]["to"]) == (200, "linxiao@example.com")
        server.unknown.add("linxiao@example.com")
        refused = await owner.post("/settings/notifiers/mail", {"to": "linxiao@example.com"})
        assert refused.status == 422
        assert "邮件服务器不收：5.1.1 No such user here" in refused.text
        assert (await owner.post("/settings/notifiers/mail", {"to": "<x>"})).status == 422
        assert "林晓 发了测试通知 发往：linxiao@example.com" in await _audited(owner)
        server.unknown.clear()
        for _ in range(10):
            last = await owner.post("/settings/notifiers/mail", {"to": "linxiao@example.com"})
        assert last.status == 422
        assert "每小时最多测试10次" in last.text
    assert len(server.delivered) == 1 + 8


async def _audited(owner: Client) -> str:
    """The log as it is read, without its marks."""
    return " ".join(re.sub(r"<[^>]+>", " ", (await owner.get("/settings/audit?about=inboxes")).text).split())
