"""What people do to accounts and data stands in the event log: who, what, when."""

from __future__ import annotations

import re
from typing import Any

from tests.desk.conftest import Site
from tests.desk.seed import PASSWORD
from zhiban.channels.configuring import notified, set_policy
from zhiban.channels.credentials import place_of_secrets, reseal
from zhiban.conversations.attachments import Attachment, record_download
from zhiban.events import Actor
from zhiban.kit.vault import Vault
from zhiban.people import agents, tokens
from zhiban.people.models import Role

NEW = "another long sentence"
OURS = ("signed_in", "sign_in_failed", "signed_out", "session_revoked", "password_changed", "join_link_created")


async def _log(site: Site, *kinds: str) -> list[tuple[str, str, Any, Any]]:
    """Kind, kind and id of the actor, and data of what happened, in order."""
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        return [
            (row[0], row[1], row[2], row[3])
            for row in await tx.rows(
                "select kind, actor_kind, actor_id, data from event where kind = any(%(kinds)s) or kind like 'agent%%' "
                "or kind like 'api_token%%' order by id",
                kinds=[*OURS, *kinds],
            )
        ]


async def test_signing_in_and_out_and_failing_to(site: Site) -> None:
    lin = site.seed.agents["林晓"]
    await site.client().sign_in("linxiao", "guess number one")
    await site.client().sign_in("nobody", "guess number two")
    agent = await site.signed_in()
    await agent.post("/logout")
    assert await _log(site) == [
        ("sign_in_failed", "system", None, {"agent_id": lin}),
        ("signed_in", "agent", lin, {"agent_id": lin}),
        ("signed_out", "agent", lin, {"agent_id": lin}),
    ]


async def test_a_colleague_from_invitation_to_the_end(site: Site) -> None:
    lin = site.seed.agents["林晓"]
    owner = await site.signed_in()
    invited = await owner.post("/settings/people", {"email": "new@qinghe.example", "name": "顾云", "role": "agent"})
    link = re.search(r"/join/[^\"<]+", invited.text)
    assert link is not None
    await site.client().post(link.group(), {"password": NEW})
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        row = await agents.agent_by_email(tx, "new@qinghe.example")
    path = f"/settings/people/{row.id}"
    await owner.post(path, {"name": "顾云", "role": "admin"})
    await owner.post(path, {"name": "顾云", "role": "admin"})  # changes nothing, so nothing happened
    await owner.post(f"{path}/disable")
    await owner.post(f"{path}/enable")
    found = (await _log(site))[1:]
    assert [one[:3] for one in found] == [
        ("agent_invited", "agent", lin),
        ("join_link_created", "agent", lin),
        ("agent_joined", "agent", row.id),
        ("signed_in", "agent", row.id),
        ("agent_changed", "agent", lin),
        ("agent_disabled", "agent", lin),
        ("agent_enabled", "agent", lin),
    ]
    assert found[0][3] == {"agent_id": row.id, "role": "agent"}
    assert found[4][3] == {"agent_id": row.id, "before": {"role": "agent"}, "after": {"role": "admin"}}


async def test_passwords_and_sessions(site: Site) -> None:
    lin = site.seed.agents["林晓"]
    here, _elsewhere, _third = await site.signed_in(), await site.signed_in(), await site.signed_in()
    other = re.search(r"/me/sessions/[0-9a-f]{64}/end", (await here.get("/me")).text)
    assert other is not None
    await here.post(other.group())
    await here.post("/me/sessions/end")
    await here.post("/me/sessions/end")  # nobody is left to be signed out
    await here.post("/me/password", {"current": PASSWORD, "new": NEW})
    assert [one[0] for one in (await _log(site))[3:]] == ["session_revoked", "session_revoked", "password_changed"]
    assert {one[2] for one in await _log(site)} == {lin}


async def test_tokens_and_files(site: Site) -> None:
    seed = site.seed
    async with seed.database.transaction(seed.workspace_id) as tx:
        await tokens.create(tx, "报表", by=seed.agents["林晓"], now=seed.clock.now())
        await tokens.revoke(tx, "报表", now=seed.clock.now())
        message_id, conversation_id = await tx.row("select id, conversation_id from message order by id limit 1") or (
            0,
            0,
        )
        file = Attachment(7, message_id, "file", "合同.pdf", "application/pdf", 3, "stored")
        await record_download(tx, file, by=seed.agents["陈默"], now=seed.clock.now())
        stored = await tx.row("select conversation_id, actor_id, data from event where kind = 'file_downloaded'")
    assert stored == (conversation_id, seed.agents["陈默"], {"attachment_id": 7})
    assert [one[0] for one in await _log(site)] == ["api_token_created", "api_token_revoked"]


async def test_who_is_notified_stands_in_the_log_without_its_key(site: Site) -> None:
    """Nor in the policy's row: the addresses are sealed apart, and open for their own inbox only."""
    seed, actor, vault = site.seed, Actor("agent", site.seed.agents["林晓"]), Vault(["a key for tests only"])
    mail, chat = "mailto://desk:hunter2secret@example.com", "telegram:123456789"
    now = seed.clock.now()
    async with seed.database.transaction(seed.workspace_id) as tx:
        inbox_id = int(await tx.value("select id from inbox order by id limit 1"))
        for address in (mail, chat):
            policy = {"welcome": "您好", "handoff": {"notify": [address]}}
            assert await set_policy(tx, vault, inbox_id, policy, by=actor, now=now)
            assert not await set_policy(tx, vault, inbox_id, policy, by=actor, now=now)
            assert await notified(tx, vault, inbox_id) == [address]
        rows = await tx.rows("select data from event where kind = 'inbox_configured' order by id")
        stored = await tx.rows("select inbox::text from inbox")
        assert [set(row[0]["after"]) for row in rows] == [{"welcome", "handoff"}, {"handoff"}]
        told = rows[1][0]
        assert told["before"]["handoff"]["notify"][0].startswith("mailto:#")
        assert told["after"]["handoff"]["notify"][0].startswith("telegram:#")
        assert not [secret for secret in ("hunter2secret", "123456789") if secret in str(rows) + str(stored)]
        renewed = Vault(["another key for tests", "a key for tests only"])
        public_id = await tx.value("select public_id from connection")
        nothing = vault.seal({}, bound_to=place_of_secrets(tx.workspace_id, public_id))
        await tx.run("update connection set secrets = %(nothing)s", nothing=nothing)
        await reseal(tx, renewed)
        assert await notified(tx, Vault(["another key for tests"]), inbox_id) == [chat]


async def test_nothing_in_the_log_opens_anything(site: Site) -> None:
    """Neither passwords nor tokens, nor the links that choose a password."""
    owner = await site.signed_in()
    invited = await owner.post("/settings/people", {"email": "new@qinghe.example", "name": "顾云", "role": "agent"})
    link = re.search(r"/join/\d+\.([^\"<]+)", invited.text)
    assert link is not None
    await owner.post("/me/password", {"current": PASSWORD, "new": NEW})
    session = next(cookie.value for cookie in owner.cookies if cookie.key == "zhiban_session").partition(".")[2]
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        log = str(await tx.rows("select event::text from event"))
    assert not [secret for secret in (PASSWORD, NEW, link[1], session) if secret in log]
    assert Role.AGENT in log
