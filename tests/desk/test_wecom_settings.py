"""WeCom in the settings: a wrong secret, 客户联系 with its texts and QR codes, links that open the chat."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.desk.conftest import Client, Site
from zhiban.channels import configuring, inboxes
from zhiban.testing.serving import served
from zhiban.testing.wecom import asgi
from zhiban.testing.wecom.simulator import AES_KEY, CORP_ID, SECRET, STAFF, TOKEN, WeComSimulator


@asynccontextmanager
async def connected(site: Site) -> AsyncIterator[tuple[Client, WeComSimulator, str]]:
    """The owner with WeCom connected and its accounts found. The last is the address of the connection's page."""
    wecom, owner = WeComSimulator(), await site.signed_in()
    async with wecom, served(asgi.application(wecom)) as url:
        given = {"corp_id": CORP_ID, "secret": SECRET, "token": TOKEN, "encoding_aes_key": AES_KEY}
        at = await site.operator_connects("wecom", **given, api_base=f"{url}/cgi-bin")
        assert (await owner.post(f"{at}/check")).status == 303
        yield owner, wecom, at


async def texts(site: Site) -> Any:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        (row,) = [one for one in await inboxes.connections(tx) if one.vendor == "wecom"]
    return configuring.contact_texts(row)


async def test_new_friends_are_told_what_was_decided(site: Site) -> None:
    async with connected(site) as (owner, _wecom, at):
        assert "很高兴认识您" in (await owner.get(f"{at}/contacts")).text  # the default
        assert (await owner.post(f"{at}/contacts", {"welcome": "您好", "remark": "{name}·新客"})).status == 303
        poster = {"welcome": "海报来的朋友", "source": "海报7"}
        assert (await owner.post(f"{at}/contacts", poster)).status == 303
        found = await texts(site)
        assert (found.welcome, found.remark, found.welcome_by_source) == (
            "您好",
            "{name}·新客",
            {"海报7": "海报来的朋友"},
        )
        refused = await owner.post(f"{at}/contacts", {"welcome": "好" * 1400})
        assert (refused.status, "4000" in refused.text) == (422, True)
        assert (await owner.post(f"{at}/contacts", {"forget": "on"})).status == 303
        assert (await texts(site)).welcome is None
        for _twice in range(2):
            assert (await owner.post(f"{at}/contacts", {"forget": "on", "source": "海报7"})).status == 303
        assert (await texts(site)).welcome_by_source == {}
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        kept = await tx.values("select data -> 'changed' from event where kind = 'connection_changed'")
    assert kept == [["contact_texts"]] * 4


async def test_qr_codes_are_made_kept_and_withdrawn(site: Site) -> None:
    async with connected(site) as (owner, wecom, at):
        form = {"members": f"{STAFF[0]}，{STAFF[1]}", "state": "海报7", "remark": "春季"}
        assert (await owner.post(f"{at}/contacts/ways", form)).status == 303
        ((id_, way),) = wecom.contacts.ways.items()
        assert (way["user"], way["state"], way["skip_verify"]) == ([STAFF[0], STAFF[1]], "海报7", True)
        page = (await owner.get(f"{at}/contacts")).text
        assert ("海报7" in page, "春季" in page, f"/wwpic/{id_}/0" in page) == (True, True, True)
        nobody = await owner.post(f"{at}/contacts/ways", {**form, "members": "nobody"})
        assert (nobody.status, 'value="nobody"' in nobody.text) == (422, True)
        assert (await owner.post(f"{at}/contacts/ways", {"members": " "})).status == 422
        assert (await owner.post(f"{at}/contacts/ways/remove", {"way": "another"})).status == 404
        assert (await owner.post(f"{at}/contacts/ways/remove", {"way": id_})).status == 303
        assert wecom.contacts.ways == {}
        assert id_ not in (await owner.get(f"{at}/contacts")).text


async def test_a_link_opens_the_chat(site: Site) -> None:
    async with connected(site) as (owner, wecom, at):
        (inbox,) = set(re.findall(r"/settings/inboxes/\d+", (await owner.get(at)).text))
        made = await owner.post(f"{inbox}/link", {"scene": "poster7"})
        found = re.search(r'id="chat-link" value="([^"]+)"', made.text)
        assert (made.status, "<svg" in made.text) == (200, True)
        assert found is not None
        assert found[1].startswith("https://")
        wecom.fail("kf/add_contact_way", errcode=60020, errmsg="not allow to access from your ip", times=1)
        refused = await owner.post(f"{inbox}/link")
        assert (refused.status, "可信IP" in refused.text) == (422, True)
    assert (await owner.post(f"/settings/inboxes/{site.seed.inbox.inbox_id}/link")).status == 404


async def test_a_wrong_secret_is_the_first_step_however_often_it_is_asked_until_it_is_corrected(site: Site) -> None:
    wecom, owner = WeComSimulator(), await site.signed_in()
    async with wecom, served(asgi.application(wecom)) as url:
        at = await site.operator_connects("wecom", corp_id=CORP_ID, secret="nonsense", api_base=f"{url}/cgi-bin")
        for _twice in range(2):
            asked = (await owner.post(f"{at}/check", hx_request="true")).text
            assert re.search(r'data-state="failed" id="step-values"', asked)
            assert "40001" in asked
            assert 'id="again"' not in asked  # whoever asks too often with a wrong secret is banned
            assert len(re.findall(r'data-state="todo"', asked)) == 3
        assert (await owner.post(at, {"v.secret": SECRET})).status == 303
        passed = (await owner.post(f"{at}/check", hx_request="true")).text
        assert re.search(r'data-state="done" id="step-accounts"', passed)
        wecom.kf.accounts.clear()  # nothing is given to the app any more
        waits = (await owner.post(f"{at}/check", hx_request="true")).text
        assert re.search(r'data-state="doing" id="step-accounts"', waits)
        assert 'id="again"' in waits  # it goes on by itself
