"""What the program refuses to an operator, for their own good: strange folders, known keys, open files."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.cli.program import KEYS, running, wecom_settings, zhiban
from zhiban.cli.app import Exit
from zhiban.kit.vault import KEY_FILE
from zhiban.testing.demo_folder import MARK, SimulatedKeys
from zhiban.testing.serving import served
from zhiban.testing.wecom import AES_KEY, AGENT_ID, CORP_ID, SECRET, TOKEN, WeComSimulator
from zhiban.testing.wecom import application as simulated

pytestmark = pytest.mark.process


@pytest.fixture
async def platform() -> AsyncIterator[tuple[WeComSimulator, str]]:
    async with (
        WeComSimulator(corp_id=KEYS.corp_id, secret=KEYS.secret) as simulator,
        served(simulated(simulator)) as url,
    ):
        yield simulator, url


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "faq.csv").write_text("question,answer\n怎么申请退款？,在“我的订单”里申请。\n")
    return tmp_path / "data"


async def test_a_demonstration_is_not_driven_from_elsewhere(demonstrated: Path, data: Path) -> None:
    """Neither under another name, which a stranger's name server may point to us, nor by another site's page."""
    await asyncio.to_thread(shutil.copytree, demonstrated, data, symlinks=True)
    async with running("demo", "--port", "0", data=data) as demo:
        said = await demo.says("/docs")
        app = re.findall(r"http://127\.0\.0\.1:\d+", said)[0]
        keys = SimulatedKeys(**json.loads((data / "demo" / MARK).read_text()))
        assert (data / "demo" / MARK).stat().st_mode & 0o077 == 0
        assert not {keys.corp_id, keys.secret, keys.token, keys.aes_key} & {CORP_ID, SECRET, TOKEN, AES_KEY}
        port = app.rsplit(":", 1)[1]
        async with aiohttp.ClientSession() as session:
            for path in ("/", "/demo/desk", "/demo/phone", "/wecom/callback", "/demo/wecom/control/reset", "/static/x"):
                for host in (f"evil.example:{port}", "evil.example", "127.0.0.1", f"127.0.0.1.evil.example:{port}"):
                    async with session.get(app + path, headers={"host": host}, allow_redirects=False) as answer:
                        assert (answer.status, "set-cookie" in answer.headers) == (421, False), (path, host)
            for site in ("cross-site", "same-site"):
                headers = {"sec-fetch-site": site}
                async with session.get(f"{app}/demo/desk", headers=headers, allow_redirects=False) as answer:
                    assert (answer.status, "set-cookie" in answer.headers) == (403, False)
                said_there = {"who": "wmDEMO_zhouyuan_0001", "text": "x"}
                async with session.post(f"{app}/demo/phone/say", data=said_there, headers=headers) as answer:
                    assert answer.status == 403
            for path in (
                "/demo/wecom/control/reset",
                "/demo/wecom/cgi-bin/gettoken",
                "/control/reset",
                "/demo/notices",
            ):
                async with session.post(app + path, json={}) as answer:
                    assert answer.status == 404, path
            async with session.get(f"http://localhost:{port}/demo/desk", allow_redirects=False) as answer:
                assert answer.status == 303


async def test_a_demonstration_keeps_out_of_an_installation_and_the_other_way_round(
    copied: Path, demonstrated: Path
) -> None:
    data = copied
    data.rename(data.parent / "parked")
    data.mkdir()
    (data.parent / "parked").rename(data / "demo")
    refused = await zhiban("demo", "--port", "0", data=data)
    assert (refused.code, "demo" in refused.err) == (Exit.USAGE, True)
    assert not (data / "demo" / MARK).exists()

    for command in (("serve", "--port", "0"), ("work",)):
        refused = await zhiban(*command, data=demonstrated / "demo")
        assert (refused.code, "zhiban demo" in refused.err) == (Exit.USAGE, True), refused.err


def _connecting(url: str, *, token: str) -> tuple[str, ...]:
    """The command that connects the simulated app."""
    app = ("--corp-id", KEYS.corp_id, "--agent-id", str(AGENT_ID), "--secret", KEYS.secret)
    keys = ("--token", token, "--encoding-aes-key", KEYS.aes_key)
    return ("inbox", "add", "wecom", *app, *keys, "--api-base", f"{url}/cgi-bin", "--json")


async def test_nobody_serves_with_keys_that_everybody_knows(data: Path, platform: tuple[WeComSimulator, str]) -> None:
    known = {"WECOM_AGENT_SECRET": SECRET, "WECOM_TOKEN": TOKEN, "WECOM_ENCODING_AES_KEY": AES_KEY}
    for name, value in known.items():
        given = {**wecom_settings("http://127.0.0.1:9"), name: value}
        refused = await zhiban("serve", "--port", "0", data=data, **given)
        assert (refused.code, "模拟器" in refused.err) == (Exit.USAGE, True), refused.err
        assert value not in refused.err
    assert not data.exists()
    done = await zhiban(*_connecting(platform[1], token=TOKEN), data=data)
    assert done.code == 0, done.err
    refused = await zhiban("serve", "--port", "0", data=data)
    assert (refused.code, TOKEN in refused.err) == (Exit.USAGE, False), refused.err


async def test_what_we_write_is_for_us_alone(data: Path) -> None:
    assert (await zhiban("kb", "import", "faq.csv", data=data)).code == 0
    assert (await zhiban("backup", data=data)).code == 0
    for path in (data, *data.rglob("*")):
        if not path.is_symlink() and "programs-" not in str(path):  # a copy of PostgreSQL that another user runs
            readable = path.stat().st_mode & (0o066 if path.is_dir() else 0o077)
            assert readable == 0, path


async def test_serving_a_network_without_encryption_is_said(copied: Path) -> None:
    for more, warned in (({}, True), ({"ZHIBAN_URL": "https://desk.example.test"}, False)):
        async with running("serve", "--host", "0.0.0.0", "--port", "0", data=copied, **more) as service:
            said = await service.says("/setup/")
            assert ("没有加密" in said) is warned
            assert await service.stop() == 0


async def test_a_key_is_changed_and_old_backups_still_open(copied: Path, platform: tuple[WeComSimulator, str]) -> None:
    """Rotate, restore what the old key sealed into a place that has a key of its own, and rotate there again."""
    data = copied
    added = await zhiban(*_connecting(platform[1], token=KEYS.token), data=data)
    assert added.code == 0, added.err
    first = (data / KEY_FILE).read_text()
    archive = data.parent / "before.tar.gz"
    assert (await zhiban("backup", str(archive), data=data)).code == 0

    rotated = await zhiban("rotate-key", "--json", data=data)
    assert (rotated.code, rotated.json) == (0, {"resealed": 1}), rotated.err
    second = (data / KEY_FILE).read_text()
    assert first.strip() not in second
    assert (data / KEY_FILE).stat().st_mode & 0o077 == 0
    assert (await zhiban("inbox", "check", data=data)).code == 0
    unopened = await zhiban("inbox", "check", data=data, ZHIBAN_SECRET_KEY=first.strip())
    assert unopened.code != 0

    other = data.parent / "other"
    other.mkdir()
    (other / KEY_FILE).write_text(second)
    assert (await zhiban("restore", str(archive), data=other)).code == 0
    assert (other / KEY_FILE).read_text().strip().split(",") == [first.strip(), second.strip()]
    assert (await zhiban("inbox", "check", data=other)).code == 0
    assert (await zhiban("rotate-key", "--json", data=other)).json == {"resealed": 1}
    assert len((other / KEY_FILE).read_text().strip().split(",")) == 1
    assert (await zhiban("inbox", "check", data=other)).code == 0


async def test_a_key_from_the_environment_is_changed_by_writing_the_new_one_first(data: Path) -> None:
    alone = await zhiban("rotate-key", data=data, ZHIBAN_SECRET_KEY="the only key there is")
    assert (alone.code, "ZHIBAN_SECRET_KEY" in alone.err) == (Exit.USAGE, True)
    both = await zhiban(
        "rotate-key", "--json", data=data, ZHIBAN_SECRET_KEY="the new key of mine,the only key there is"
    )
    assert (both.code, both.json) == (0, {"resealed": 0}), both.err
