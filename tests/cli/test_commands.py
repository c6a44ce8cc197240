"""An operator at the terminal: from an empty folder to an answering service, with real processes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.cli.program import KEYS, running, wecom_settings, zhiban
from zhiban.cli.app import Exit
from zhiban.testing.serving import served
from zhiban.testing.webhook import WebhookProgram
from zhiban.testing.wecom import AGENT_ID, OPEN_KFID, WeComSimulator
from zhiban.testing.wecom import application as simulated

pytestmark = pytest.mark.process

FAQ = """question,similar_questions,answer,category
怎么申请退款？,"如何退款
我要退款",在“我的订单”里点“申请售后”。,售后
可以开发票吗？,能开发票吗,可以，在订单详情里申请。,发票
"""


@pytest.fixture
async def platform() -> AsyncIterator[tuple[WeComSimulator, str]]:
    async with (
        WeComSimulator(corp_id=KEYS.corp_id, secret=KEYS.secret) as simulator,
        served(simulated(simulator)) as url,
    ):
        yield simulator, url


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "faq.csv").write_text(FAQ)
    return tmp_path / "data"


async def test_colleagues_come_and_go(kept: Path) -> None:
    added = await zhiban(
        "agent", "add", "Gu@qinghe.example", "--name", "顾云", "--account", "wecom:gu", "--json", data=kept
    )
    assert added.code == 0, added.err
    assert added.json["email"] == "gu@qinghe.example"
    assert re.fullmatch(r"/join/\d+\..{40,}", added.json["link"])
    again = await zhiban("agent", "add", "gu@qinghe.example", "--name", "顾云", data=kept)
    assert (again.code, "已" in again.err) == (Exit.MISSING, True)
    assert (await zhiban("agent", "add", "x@qinghe.example", "--name", "x", "--role", "boss", data=kept)).code == 2
    (row,) = (await zhiban("agent", "list", "--json", data=kept)).json
    assert (row["name"], row["role"], row["accounts"], row["joined"]) == ("顾云", "agent", {"wecom": "gu"}, False)

    fresh = await zhiban("agent", "link", "gu@qinghe.example", data=kept, ZHIBAN_URL="https://desk.qinghe.example")
    assert re.search(r"https://desk\.qinghe\.example/join/\d+\.", fresh.out)
    assert (await zhiban("agent", "set", "gu@qinghe.example", data=kept)).code == Exit.USAGE
    changed = await zhiban(
        "agent", "set", "gu@qinghe.example", "--role", "admin", "--account", "wecom:", "--json", data=kept
    )
    assert (changed.json["role"], changed.json["accounts"]) == ("admin", {})
    assert "已停用" in (await zhiban("agent", "disable", "gu@qinghe.example", data=kept)).out
    assert (await zhiban("agent", "link", "gu@qinghe.example", data=kept)).code == Exit.MISSING
    assert "顾云：管理员" in (await zhiban("agent", "enable", "gu@qinghe.example", data=kept)).out
    assert (await zhiban("agent", "disable", "nobody@qinghe.example", data=kept)).code == Exit.MISSING
    made = await zhiban("team", "add", "售后", "--member", "gu@qinghe.example", "--json", data=kept)
    assert (made.json["name"], made.json["members"]) == ("售后", ["gu@qinghe.example"])
    assert (await zhiban("team", "add", "售后", data=kept)).code == Exit.MISSING
    assert "售前：还没有成员" in (await zhiban("team", "set", "售后", "--name", "售前", "--member", "-", data=kept)).out
    assert (await zhiban("team", "set", "售前", data=kept)).code == Exit.USAGE
    assert "售前" in (await zhiban("team", "list", data=kept)).out
    file = kept.parent / "hours.yaml"
    file.write_text("hours:\n  weekly:\n    mon: ['09:00-18:00']\n", "utf-8")
    assert "没有自己的工作时间" in (await zhiban("team", "hours", "售前", data=kept)).out
    shown = (await zhiban("team", "hours", "售前", str(file), data=kept)).out
    assert "09:00-18:00" in shown
    file.write_text(shown, "utf-8")  # what is shown is a file again
    told = (await zhiban("team", "hours", "售前", str(file), "--json", data=kept)).json
    assert told["hours"]["weekly"] == {"mon": ["09:00-18:00"]}
    for wrong in ("hours:\n  weekly:\n    mon: ['9-18']\n", "welcome: x\n", ""):
        file.write_text(wrong, "utf-8")
        assert (await zhiban("team", "hours", "售前", str(file), data=kept)).code == Exit.USAGE, wrong
    assert "没有自己的工作时间" in (await zhiban("team", "hours", "售前", "--none", data=kept)).out
    assert "售前" in (await zhiban("team", "remove", str(made.json["id"]), data=kept)).out
    assert (await zhiban("team", "remove", "售前", data=kept)).code == Exit.MISSING
    assert (await zhiban("team", "list", "--json", data=kept)).json == []
    assert "顾云" in (await zhiban("agent", "list", data=kept)).out


async def test_reports_are_counted_anew(kept: Path) -> None:
    assert "还没有算过" in (await zhiban("reports", "status", data=kept)).out
    assert "重新计算" in (await zhiban("reports", "rebuild", data=kept)).out
    assert (await zhiban("reports", "status", "--json", data=kept)).json["until"] is None


async def test_what_is_kept_how_long_is_set_and_carried_out(kept: Path) -> None:
    assert "存好了" in (await zhiban("retention", "set", "messages=365", "events=forever", data=kept)).out
    for wrong, code in (("messages=3", Exit.MISSING), ("messages", Exit.USAGE), ("deliveries=forever", Exit.USAGE)):
        assert (await zhiban("retention", "set", wrong, data=kept)).code == code, wrong
    shown = (await zhiban("retention", "run", "--json", data=kept)).json  # without --yes it only looks
    assert (shown["days"]["messages"], shown["days"]["deliveries"], shown["would_delete"]["messages"]) == (365, 4, 0)
    assert "没有要删除的" in (await zhiban("retention", "run", "--yes", data=kept)).out


async def test_snippets_travel_as_a_file(kept: Path) -> None:
    file = kept.parent / "snippets.csv"
    file.write_text("name,text\n发票,{{contact.name}}您好\n稍候,请稍候\n", "utf-8")
    assert "新建2条，更新0条" in (await zhiban("snippets", "import", str(file), data=kept)).out
    added = await zhiban("snippets", "add", "电话", "{{contact.phone}}", data=kept)
    assert (added.code, "没有变量" in added.err) == (Exit.MISSING, True)
    assert "已移除：稍候" in (await zhiban("snippets", "remove", "稍候", data=kept)).out
    assert (await zhiban("snippets", "export", data=kept)).out == "- name: 发票\n  text: '{{contact.name}}您好'\n"


async def files_travel_with_rules(kept: Path, file: Path) -> None:
    """They lie beside the file, called by their digests; without them the rules are refused."""
    content = b"%PDF-1.4 \xe4\xbb\xb7\xe7\x9b\xae"
    digest = hashlib.sha256(content).hexdigest()
    told = "- name: 发价目\n  when: [conversation_opened]\n  then:\n  - kind: send_attachment\n    files:\n"
    file.write_text(f"{told}    - name: ../../价目.exe\n      sha256: {digest}\n", "utf-8")
    missing = await zhiban("rules", "import", str(file), data=kept)
    assert (missing.code, "../../价目.exe" in missing.err) == (Exit.MISSING, True)
    folder = file.with_name("rules.yaml.files")
    folder.mkdir(exist_ok=True)
    (folder / digest).write_bytes(content + b" ")
    assert "不是导出的那个文件" in (await zhiban("rules", "import", str(file), data=kept)).err
    (folder / digest).write_bytes(content)
    assert "没有错误" in (await zhiban("rules", "import", str(file), "--check", data=kept)).out
    (folder / digest).rename(folder / "elsewhere")
    assert (await zhiban("rules", "import", str(file), data=kept)).code == Exit.MISSING  # a check keeps nothing
    (folder / "elsewhere").rename(folder / digest)
    assert "新建1条" in (await zhiban("rules", "import", str(file), data=kept)).out
    (folder / digest).unlink()
    assert "新建0条，更新0条" in (await zhiban("rules", "import", str(file), data=kept)).out  # it is here by now
    away = kept.parent / "away.yaml"
    assert "away.yaml.files" in (await zhiban("rules", "export", str(away), data=kept)).out
    assert (away.with_name("away.yaml.files") / digest).read_bytes() == content
    assert f"name: 价目.exe\n      sha256: {digest}" in away.read_text("utf-8")
    shown = await zhiban("rules", "export", data=kept)
    assert (digest in shown.out, "没有写出来" in shown.err) == (True, True)
    rehearsed = await zhiban("rules", "rehearse", "发价目", data=kept)
    assert "会发：“价目.exe”（15 B）。" in rehearsed.out


async def test_rules_are_listed_switched_rehearsed_and_travel_as_a_file(kept: Path) -> None:
    listed = await zhiban("rules", "list", "--json", data=kept)
    assert next((row["shipped"], row["enabled"]) for row in listed.json) == ("unassign_on_resolve", True)
    assert listed.json[0]["said"] == "当会话变为已解决时，如果有处理人，就取消分配"
    assert (await zhiban("rules", "off", "解决后取消分配", data=kept)).code == 0
    assert (await zhiban("rules", "on", "没有这条", data=kept)).code == 4
    rehearsed = await zhiban("rules", "rehearse", "解决后取消分配", "--json", data=kept)
    assert (rehearsed.json["conversations"], rehearsed.json["fired"]) == (0, 0)
    rehearsed = await zhiban("rules", "rehearse", "agent_offline", data=kept)
    assert "日志里还没有人这样上线或离线过。" in rehearsed.out
    file = kept.parent / "rules.yaml"
    assert (await zhiban("rules", "export", str(file), data=kept)).code == 0
    assert "name: 解决后取消分配\n  enabled: false" in file.read_text("utf-8")
    file.write_text(file.read_text("utf-8").replace("enabled: false", "enabled: true", 1), "utf-8")
    assert "更新1条" in (await zhiban("rules", "import", str(file), data=kept)).out
    assert (await zhiban("rules", "list", "--json", data=kept)).json[0]["enabled"]
    await files_travel_with_rules(kept, file)
    file.write_text("- name: 坏的\n", "utf-8")
    broken = await zhiban("rules", "import", str(file), "--check", data=kept)
    assert (broken.code, "actions: " in broken.err) == (4, True)


async def test_flows_travel_as_a_file_and_are_switched(kept: Path) -> None:
    file = kept.parent / "flows.yaml"
    file.write_text(
        "- name: 退换登记\n  ask:\n  - kind: phone\n    question: 手机号是多少？\n  then:\n  - kind: hand_off\n",
        "utf-8",
    )
    assert "没有错误：新建1" in (await zhiban("flows", "import", str(file), "--check", data=kept)).out
    assert (await zhiban("flows", "list", "--json", data=kept)).json == []
    assert "新建1个，更新0个" in (await zhiban("flows", "import", str(file), data=kept)).out
    assert (await zhiban("flows", "on", "退换登记", data=kept)).code == 0
    (row,) = (await zhiban("flows", "list", "--json", data=kept)).json
    assert (row["enabled"], "依次问手机号是多少？（电话），然后转交人工" in row["said"]) == (True, True)
    assert "enabled: true" in (await zhiban("flows", "export", data=kept)).out
    assert (await zhiban("flows", "off", "没有这个", data=kept)).code == 4
    file.write_text("- name: 坏的\n  ask: []\n", "utf-8")
    broken = await zhiban("flows", "import", str(file), data=kept)
    assert (broken.code, "steps: " in broken.err) == (4, True)


async def test_an_app_is_connected_checked_and_told_how_to_behave(
    kept: Path, platform: tuple[WeComSimulator, str]
) -> None:
    simulator, url = platform
    simulator.add_account("wkSIM0000000002", "售前客服")
    credentials = (
        "--corp-id",
        KEYS.corp_id,
        "--agent-id",
        str(AGENT_ID),
        "--token",
        KEYS.token,
        "--encoding-aes-key",
        KEYS.aes_key,
    )
    connect = ("inbox", "add", "wecom", *credentials, "--api-base", f"{url}/cgi-bin", "--json")
    assert (await zhiban("inbox", "add", data=kept)).code == Exit.USAGE
    assert "--secret" in (await zhiban(*connect, data=kept)).err
    added = await zhiban(*connect, "--secret", KEYS.secret, data=kept)
    assert added.code == 0, added.err
    assert {one["name"] for one in added.json["accounts"]} == {"售后客服", "售前客服"}
    assert added.json["callback"].startswith("/wecom/callback/")

    listed = await zhiban("inbox", "list", "--json", data=kept)
    assert {row["name"] for row in listed.json} >= {"售后客服", "售前客服"}
    assert (await zhiban("inbox", "check", data=kept)).code == 0

    policy = kept.parent / "policy.yaml"
    policy.write_text("welcome: 您好\nhandoff:\n  max_failures: 0\n")
    wrong = await zhiban("inbox", "apply", "policy.yaml", "--inbox", "售后客服", data=kept)
    assert wrong.code == Exit.USAGE
    assert "第3行 handoff.max_failures：要大于或等于 1" in wrong.err
    policy.write_text("welcome: 您好\nhandoff:\n  max_failures: 3\n")
    assert (await zhiban("inbox", "apply", "policy.yaml", data=kept)).code == Exit.MISSING
    right = await zhiban("inbox", "apply", "policy.yaml", "--inbox", "售后客服", "--json", data=kept)
    assert right.json == {"inbox": "售后客服", "changed": True}
    again = await zhiban("inbox", "apply", "policy.yaml", "--inbox", OPEN_KFID, "--json", data=kept)
    assert again.json["changed"] is False
    policy.write_text("auto_resolve:\n  open_hours: 24\n  text: 先到这里\n  label: 7\n")
    missing = await zhiban("inbox", "apply", "policy.yaml", "--inbox", OPEN_KFID, data=kept)
    assert (missing.code, "没有编号为7的标签" in missing.err) == (Exit.MISSING, True)

    way = await zhiban("wecom", "contact-way", "--member", "chen", "--state", "海报", "--json", data=kept)
    assert way.code == 0, way.err
    assert way.json["skip_verify"] is True
    assert way.json["qr_code"]

    shown = await zhiban("wecom", "contacts", "--json", data=kept)
    assert (shown.json["welcome"], "您好" in shown.json["default_welcome"]) == (None, True)
    said = await zhiban("wecom", "contacts", "--welcome", "", "--remark", "{name}·{source}", data=kept)
    assert said.code == 0, said.err
    assert "（不发）" in said.out
    assert "{name}·{source}" in said.out
    poster = await zhiban("wecom", "contacts", "--source", "海报", "--welcome", "从海报来的您好", "--json", data=kept)
    assert poster.json["welcome_by_source"] == {"海报": "从海报来的您好"}
    assert (await zhiban("wecom", "contacts", "--forget", "--json", data=kept)).json["welcome"] is None
    assert (await zhiban("wecom", "contacts", "--welcome", "长" * 2000, data=kept)).code == Exit.USAGE

    ways = await zhiban("wecom", "contact-ways", "--json", data=kept)
    assert [(one["id"], one["state"], one["members"]) for one in ways.json] == [
        (way.json["config_id"], "海报", ["chen"])
    ]
    assert (await zhiban("wecom", "contact-ways", "--remove", way.json["config_id"], "--json", data=kept)).json == []
    assert not simulator.contacts.ways
    link = await zhiban("wecom", "link", "--inbox", "售后客服", "--scene", "poster", "--json", data=kept)
    assert "enc_scene" in link.json["url"], link.err

    refused = await zhiban(*connect, "--secret", "wrong", data=kept)
    assert refused.code == Exit.FAILED
    assert refused.json["broken"]


async def test_a_program_is_connected_paused_and_removed(kept: Path) -> None:
    program = WebhookProgram()
    async with served(program.app) as url:
        values = kept.parent / "crm.json"
        values.write_text(json.dumps({"source": "crm", "url": f"{url}/inbox", "allow_private": "true"}))
        added = await zhiban("inbox", "add", "webhook", "--values", "crm.json", "--json", data=kept)
        assert added.code == 0, added.err
        program.secret = added.json["secrets"]["secret"]
        assert re.fullmatch(r"/hooks/[0-9a-f]{20}", added.json["callback"])
        again = await zhiban("inbox", "add", "webhook", "--values", "crm.json", "--json", data=kept)
        assert (again.json["secrets"], again.json["connection"]) == ({}, added.json["connection"])
        strange = await zhiban("inbox", "add", "webhook", "--source", "crm", "--url", "ftp://crm", data=kept)
        assert (strange.code, "url" in strange.err) == (Exit.USAGE, True)
        assert (await zhiban("inbox", "check", data=kept)).code == 0
        assert [one.body["type"] for one in program.heard] == ["ping"]

        states = {"pause": "已暂停", "resume": "正常"}
        for verb, state in states.items():
            assert (await zhiban("inbox", verb, "crm", data=kept)).code == 0
            (row,) = (await zhiban("inbox", "list", "--json", data=kept)).json
            assert row["state"] == state
        assert (await zhiban("inbox", "remove", "crm", data=kept)).code != 0  # nobody there to confirm it
        removed = await zhiban("inbox", "remove", "crm", "--yes", data=kept)
        assert "凭据已删除" in removed.out, removed.err
        (row,) = (await zhiban("inbox", "list", "--json", data=kept)).json
        assert (row["state"], row["callback"]) == ("已移除", "")
        assert (await zhiban("inbox", "check", "--json", data=kept)).json == []


async def test_the_doctor_names_what_is_wrong_and_its_cure(copied: Path, platform: tuple[WeComSimulator, str]) -> None:
    data, (simulator, url) = copied, platform
    told = {"NOTIFICATION_CHANNEL": "wecom-robot:abc", **wecom_settings(url)}
    healthy = await zhiban("doctor", "--json", data=data, **told)
    assert healthy.code == 0, healthy.out + healthy.err
    levels = {finding["check"]: finding["level"] for finding in healthy.json["findings"]}
    assert (
        levels["数据库"] == levels["pgvector"] == levels["企业微信"] == levels["行级安全"] == levels["文件存储"] == "ok"
    )
    assert levels["事实日志"] == "ok"
    assert levels["回调"] == "warn"

    simulator.fail("*", errcode=60020, errmsg="not allow to access from your ip, from ip: 203.0.113.9", times=None)
    sick = await zhiban(
        "doctor",
        "--json",
        data=data,
        NOTIFICATION_CHANNEL="telegram",
        LLM_API_KEY="x",
        LLM_API_BASE="http://127.0.0.1:9/v1",
        FILE_STORE="folder:/dev/null",
        **wecom_settings(url),
    )
    assert sick.code == Exit.FAILED
    failed = {finding["check"]: finding for finding in sick.json["findings"] if finding["level"] == "fail"}
    assert set(failed) == {"企业微信", "大模型", "通知", "文件存储"}
    assert "203.0.113.9" in failed["企业微信"]["said"]
    assert "企业可信IP" in failed["企业微信"]["cure"]


async def test_the_service_starts_answers_and_stops_cleanly(data: Path, platform: tuple[WeComSimulator, str]) -> None:
    simulator, url = platform
    assert (await zhiban("kb", "import", "faq.csv", data=data)).code == 0
    async with running("serve", "--port", "0", data=data, **wecom_settings(url)) as service:
        said = await service.says("/setup/")
        address = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert address is not None
        app = address.group()
        async with aiohttp.ClientSession() as session:
            for path, words in (("/health", "ok"), ("/ready", "ready"), ("/metrics", "zhiban_")):
                async with session.get(app + path) as answer:
                    assert answer.status == 200
                    assert words in await answer.text()
        simulator.configure(f"{app}/wecom/callback", token=KEYS.token, aes_key=KEYS.aes_key)
        await simulator.verify()
        simulator.contact_says("wmXIAOMING", "如何退款？")
        deadline = time.monotonic() + 60
        while not simulator.sent("wmXIAOMING"):
            assert time.monotonic() < deadline, service.said
            await asyncio.sleep(0.02)
        assert "申请售后" in simulator.sent("wmXIAOMING")[0].text

        assert (data / "postgres" / "cluster" / "postmaster.pid").exists()
        assert (await zhiban("kb", "stats", "--json", data=data)).code == 0  # beside the running service
        assert await service.stop(signal.SIGTERM) == 0
        assert not (data / "postgres" / "cluster" / "postmaster.pid").exists()


async def test_contacts_are_answered_while_pages_are_loaded_and_a_server_without_pages_stops(
    kept: Path, platform: tuple[WeComSimulator, str]
) -> None:
    simulator, url = platform
    assert (await zhiban("kb", "import", "faq.csv", data=kept)).code == 0
    gate, name = kept.parent / "gate", "zhiban.web_app"
    start = (  # loading the pages takes until the gate is there, and then goes wrong
        "import sys, time, pathlib\n"
        "from importlib.machinery import ModuleSpec\n"
        "class Slow:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        return ModuleSpec(name, self) if name == {name!r} else None\n"
        "    def create_module(self, spec):\n"
        "        return None\n"
        "    def exec_module(self, module):\n"  # not while it is looked for: that keeps all other imports waiting
        f"        while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.01)\n"
        "        raise ImportError('no pages today')\n"
        "sys.meta_path.insert(0, Slow())\n"
        "from zhiban.cli import main; main()"
    )
    async with running("serve", "--port", "0", data=kept, start=start, **wecom_settings(url)) as service:
        address = re.search(r"http://127\.0\.0\.1:\d+", await service.says("/setup/"))
        assert address is not None
        async with aiohttp.ClientSession() as session, session.get(f"{address.group()}/ready") as answer:
            assert answer.status == 200
        simulator.configure(f"{address.group()}/wecom/callback", token=KEYS.token, aes_key=KEYS.aes_key)
        await simulator.verify()
        simulator.contact_says("wmXIAOMING", "如何退款？")
        deadline = time.monotonic() + 60
        while not simulator.sent("wmXIAOMING"):
            assert time.monotonic() < deadline, service.said
            await asyncio.sleep(0.02)
        gate.touch()
        assert await asyncio.wait_for(service.process.wait(), 60) != 0
        assert "no pages today" in service.said


async def test_a_taken_port_is_said_in_words(data: Path) -> None:
    listener = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    for command in ("serve", "demo"):
        done = await zhiban(command, "--port", str(port), data=data)
        assert done.code == Exit.UNAVAILABLE
        assert str(port) in done.err
        assert "Traceback" not in done.err
    assert not data.exists()
    listener.close()


async def test_the_demo_from_one_command(data: Path) -> None:
    async with running("demo", "--port", "0", data=data) as demo:
        said = await demo.says("/docs")
        assert "示例知识库已导入" in said
        address = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert address is not None
        app = address.group()
        jar, headers = aiohttp.CookieJar(unsafe=True), {"sec-fetch-site": "same-origin"}
        async with aiohttp.ClientSession(headers=headers, cookie_jar=jar) as session:
            async with session.get(f"{app}/demo/phone") as answer:
                page = await answer.text()
                assert answer.status == 200
            who = re.search(r"wmDEMO_\w+", page)
            assert who is not None
            for words, expected in (("怎么申请退款？", "参考："), ("转人工", "客服会尽快回复您")):
                await session.post(f"{app}/demo/phone/say", data={"who": who.group(), "text": words})
                deadline = time.monotonic() + 60
                while expected not in page:
                    assert time.monotonic() < deadline, page
                    await asyncio.sleep(0.05)
                    async with session.get(f"{app}/demo/phone", params={"who": who.group()}) as answer:
                        page = await answer.text()
            # The desk has been in use for two weeks, and whoever waits there can be answered.
            async with session.get(f"{app}/demo/desk", params={"next": "/?queue=unassigned"}) as answer:
                page = await answer.text()
            rows = re.findall(r'data-id="(\d+)"', page)
            assert (answer.status, len(rows), "秦川" in page, "官网咨询" in page) == (200, 4, True, True)
            async with session.get(f"{app}/?queue=assistant") as answer:
                assert "白鹭" in await answer.text()  # who asks on the website at each start
            async with session.get(f"{app}/?queue=all&status=resolved") as answer:
                assert (await answer.text()).count('<li id="row-') >= 20
            async with session.get(f"{app}/tickets?view=board") as answer:
                board = await answer.text()
            assert ("破壁机上门取修" in board, "盖子不能进洗碗机" in board, board.count('class="slip"')) == (
                True,
                True,
                8,
            )
            # Colleagues are there, rules that can be switched on, and a report of the two weeks.
            async with session.get(f"{app}/settings/people") as answer:
                people = await answer.text()
            assert people.count('href="/settings/people/') + people.count('action="/settings/people/') >= 3
            async with session.get(f"{app}/rules") as answer:
                assert "解决后取消分配" in await answer.text()
            report, deadline = "", time.monotonic() + 30
            while "tfoot" not in report or "这段时间什么也没有发生" in report:
                assert time.monotonic() < deadline, report[-3000:]
                await asyncio.sleep(0.1)
                async with session.get(f"{app}/reports", params={"period": "30d"}) as answer:
                    report = await answer.text()
            reply = {"text": "您好，文档发您了", "key": "k1", "queue": "unassigned"}
            async with session.post(
                f"{app}/conversations/{rows[0]}/replies", data=reply, headers={"origin": app}
            ) as answer:
                assert answer.status < 400
            deadline = time.monotonic() + 60
            while "已发出" not in page:
                assert time.monotonic() < deadline, page
                await asyncio.sleep(0.1)
                async with session.get(f"{app}/conversations/{rows[0]}") as answer:
                    page = await answer.text()
        await demo.says("需要人工处理")
        assert "秦川" not in demo.said  # what was long ago is told to nobody
        assert await demo.stop() == 0
    assert not (data / "postgres" / "cluster" / "postmaster.pid").exists()

    async with running("demo", "--port", "0", data=data) as demo:
        said = await demo.says("/docs")
        assert ("示例知识库已导入" not in said, "会话已备好" not in said) == (True, True)
        assert await demo.stop() == 0


async def test_a_worker_beside_a_service_without_workers(copied: Path, platform: tuple[WeComSimulator, str]) -> None:
    data, (simulator, url) = copied, platform
    assert (await zhiban("kb", "import", "faq.csv", data=data)).code == 0
    async with (
        running("serve", "--port", "0", "--no-work", data=data, **wecom_settings(url)) as service,
        running("work", data=data, **wecom_settings(url)) as worker,
    ):
        await worker.says("Zhiban works")
        said = await service.says("/setup/")
        app = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert app is not None
        simulator.configure(f"{app.group()}/wecom/callback", token=KEYS.token, aes_key=KEYS.aes_key)
        simulator.contact_says("wmXIAOMING", "能开发票吗")
        deadline = time.monotonic() + 60
        while not simulator.sent("wmXIAOMING"):
            assert time.monotonic() < deadline, service.said + worker.said
            await asyncio.sleep(0.02)
        assert json.dumps(simulator.sent("wmXIAOMING")[0].body)
        assert await service.stop() == 0
        assert await worker.stop() == 0
