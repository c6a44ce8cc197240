"""The policy of an inbox as a form: what contacts are told and when, checked as a policy file is."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from html import unescape
from typing import Any

import pytest

from tests.desk.conftest import Client, Site
from zhiban import bootstrap
from zhiban.channels import configuring, inboxes
from zhiban.channels.policy import Policy, parse_policy
from zhiban.channels.policy_file import load_policy, policy_yaml
from zhiban.conversations import labels
from zhiban.desk import policy_form
from zhiban.desk.policy_preview import policy_preview
from zhiban.events import SYSTEM
from zhiban.kit.i18n import Texts
from zhiban.ports.notifiers import public_name

ROBOT = "wecom-robot:693a91f6-7aaa-4bc4-97a0-0ec2b1f00aaa"
TELEGRAM = "telegram:8518085684"
MAIL = "mailto://user:word@mail.example"
WHOLE = load_policy("""
welcome: 您好
closing: 再见
away: 明天回复
handoff: {words: [投诉], max_failures: 3, when_upset: off, to: "servicer:lisi", text: 好, text_out_of_hours: 下班了}
hours:
  timezone: Asia/Tokyo
  weekly: {mon-fri: ["09:00-12:00", "13:30-18:00"], sat: "22:00-06:00"}
  calendar: CN
  holidays: ["2026-12-31..2027-01-02", "2026-11-11"]
  days: {2026-10-10: "09:00-18:00", 2026-10-11: []}
assignment: {by: balanced, most: 5}
auto_resolve: {answered_hours: 1.5, open_hours: null, text: 先到这里, label: 3}
zones: {answer: 0.82, suggest: 0.55}
survey: {ask: on, text: 怎么样}
""")


def filled(policy: Policy, *addresses: str) -> dict[str, list[str]]:
    """The form as a browser sends it back untouched."""
    found: dict[str, list[str]] = {}
    for name, value in policy_form.of_policy(policy, addresses).items():
        if isinstance(value, str):
            found[name] = [value.replace("\n", "\r\n")]
        elif isinstance(value, bool) and value:
            found[name] = ["on"]
        elif isinstance(value, list):
            found["told"] = [one.name for one in value]
    return found


def test_every_field_of_a_policy_stands_in_the_test_of_the_form() -> None:
    usual, whole = Policy().model_dump(), WHOLE.model_dump()
    assert [name for name in whole if whole[name] == usual[name]] == ["assistant"]  # what is new belongs into WHOLE


@pytest.mark.parametrize("policy", [Policy(), WHOLE], ids=["usual", "everything"])
def test_what_is_sent_back_untouched_is_the_same_policy(policy: Policy) -> None:
    assert parse_policy(policy_form.values_of(filled(policy), policy, ())) == policy
    assert load_policy(policy_yaml(policy)) == policy


MISTAKES = [
    ("welcome", "好" * 700, "一条消息最多"),
    ("survey.text", "好" * 334, "问题最多1000字节"),
    ("handoff.max_failures", "x", "要写整数"),
    ("handoff.max_failures", "11", "10"),
    ("handoff.words", "词" * 51, "50"),
    ("handoff.notify", "telegram", "telegram:"),
    ("handoff.notify", "json://127.0.0.1/latest?method=PUT", "运维"),
    ("handoff.notify", "telegram:1 mailto://user:word@mail.example", "运维"),
    ("handoff.notify", "feishu://a1b2c3d4e5\nntfys://ntfy.example/x", "运维"),
    ("hours.weekly.tue", "9-18", "09:00-18:00"),
    ("hours.timezone", "Asia/Nowhere", "时区"),
    ("hours.holidays", "2026-13-01", "日期"),
    ("hours.days", "2026-10-10 25:00-26:00", "不存在的时间"),
    ("auto_resolve.open_hours", "-1", "0"),
]


async def test_a_mistake_is_said_beside_its_field(site: Site) -> None:
    owner, at = await site.signed_in(), f"/settings/inboxes/{site.seed.inbox.inbox_id}/policy"
    usual = {**await form_of(owner, at), "weekly": "on"}
    for field, value, said in MISTAKES:
        refused = await owner.post(at, {**usual, field: value})
        beside = re.search(rf'id="e-{re.escape(field)}">([^<]+)<', refused.text)
        assert refused.status == 422, field
        assert beside is not None, field
        assert said in unescape(beside[1])
        assert value[:300] in unescape(refused.text)  # what was typed stands there still
        assert said in unescape((await owner.post(f"{at}/preview", {**usual, field: value})).text)
    assert await configured(site) == []


async def form_of(client: Client, at: str) -> dict[str, str]:
    """The fields of the page as a browser would send them."""
    text = (await client.get(at)).text
    form = dict(re.findall(r'<input[^>]*name="([^"]+)" value="([^"]*)" maxlength', text))
    form |= dict.fromkeys(re.findall(r'type="checkbox" name="([^"]+)" value="on" checked', text), "on")
    form |= {
        name: value.lstrip("\n") for name, value in re.findall(r'<textarea[^>]*name="([^"]+)"[^>]*>([^<]*)<', text)
    }
    (seen,) = re.findall(r'name="seen" value="(\w+)"', text)
    return {**{name: unescape(value) for name, value in form.items()}, "handoff.to": "desk", "seen": seen}


async def test_words_for_the_night_are_offered_and_kept(site: Site) -> None:
    owner, at = await site.signed_in(), f"/settings/inboxes/{site.seed.inbox.inbox_id}/policy"
    assert 'data-fill="away" value="现在是非工作时间' in (await owner.get(at)).text
    form = {**await form_of(owner, at), "away": "明天回复", "weekly": "on", "hours.weekly.mon": "09:00-18:00"}
    shown = (await owner.post(f"{at}/preview", {**form, "situation": "away", "at": "2026-11-21T20:10"})).text
    assert "<p data-now>明天回复</p>" in shown
    by_day = (await owner.post(f"{at}/preview", {**form, "situation": "away", "at": "2026-11-23T10:00"})).text
    assert ("明天回复" in by_day, "同事在，什么也不发" in by_day) == (False, True)
    assert (await owner.post(at, form)).status == 303
    assert (await form_of(owner, at))["away"] == "明天回复"
    assert "下班以后的话" in (await owner.get("/settings/audit")).text


async def test_what_is_idle_is_given_a_label_that_is_there(site: Site) -> None:
    owner, at = await site.signed_in(), f"/settings/inboxes/{site.seed.inbox.inbox_id}/policy"
    label = site.seed.labels["授权续费"]
    page = (await owner.get(at)).text
    assert f'<option value="{label}">授权续费</option>' in page
    assert 'data-fill="auto_resolve.text" value="很久没有收到您的消息' in page
    chosen = {**await form_of(owner, at), "auto_resolve.label": str(label), "auto_resolve.text": "先到这里"}
    assert (await owner.post(at, chosen)).status == 303
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        idle = (await inboxes.settings_of(tx, site.seed.inbox.inbox_id)).auto_resolve
        assert (idle.text, idle.label) == ("先到这里", label)
        await labels.remove_label(tx, label, by=SYSTEM, now=site.seed.clock.now())
    page = (await owner.get(at)).text
    assert f'<option value="{label}" selected>授权续费（已移除，不再加上）</option>' in page
    kept = {**await form_of(owner, at), "auto_resolve.label": str(label), "closing": "再见"}
    assert (await owner.post(at, kept)).status == 303  # one that does no harm stops nobody
    for strange, said in (("4711", "这个标签已经不在了"), ("x", "要写整数"), ("9" * 30, "")):
        refused = await owner.post(at, {**await form_of(owner, at), "auto_resolve.label": strange})
        assert refused.status == 422
        assert said in refused.text.split('id="e-auto_resolve.label">')[1].split("<")[0]


async def configured(site: Site) -> list[dict[str, Any]]:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        return await tx.values("select data from event where kind = 'inbox_configured' order by id")


async def test_what_is_published_works_and_is_told_with_before_and_after(site: Site) -> None:
    owner, at = await site.signed_in(), f"/settings/inboxes/{site.seed.inbox.inbox_id}/policy"
    form = {**await form_of(owner, at), "closing": "再见", "weekly": "on", "hours.weekly.mon": "09:00-18:00"}
    assert (await owner.post(at, form)).status == 303
    assert "发布了" in (await owner.get(f"{at}?saved=1")).text
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        kept = await inboxes.settings_of(tx, site.seed.inbox.inbox_id)
    assert (kept.closing, str(kept.hours.of(date(2026, 11, 30))[0])) == ("再见", "09:00-18:00")
    (fact,) = await configured(site)
    assert fact["after"]["closing"] == "再见"
    late = await owner.post(at, {**form, "closing": "拜拜"})  # with what was seen before
    assert (late.status, "刚才有人改过" in late.text, "拜拜" in late.text) == (422, True, True)
    assert (await owner.post(at, await form_of(owner, at))).status == 303  # nothing changed
    assert len(await configured(site)) == 1


async def test_addresses_stay_secret_and_are_kept_or_let_go_by_their_names(site: Site) -> None:
    owner, at = await site.signed_in(), f"/settings/inboxes/{site.seed.inbox.inbox_id}/policy"
    vault = site.app.state.channel_setup.vault

    async def told() -> list[str]:
        async with site.seed.database.transaction(site.seed.workspace_id) as tx:
            return await configuring.notified(tx, vault, site.seed.inbox.inbox_id)

    page = (await owner.get(at)).text
    assert "例如telegram:…、wecom-robot:…、feishu://…、dingtalk://…，一行一个" in page  # as the notifiers are called
    added = {**await form_of(owner, at), "handoff.notify": f"{ROBOT}\n{TELEGRAM}"}
    assert (await owner.post(at, added)).status == 303
    assert await told() == [ROBOT, TELEGRAM]
    page = (await owner.get(at)).text
    assert (ROBOT in page, public_name(ROBOT) in page) == (False, True)
    both = [(name, value) for name, value in (await form_of(owner, at)).items() if name != "told"]
    assert (await owner.post(at, [*both, ("told", public_name(TELEGRAM))])).status == 303
    assert await told() == [TELEGRAM]
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:  # as zhiban inbox apply does
        policy = {"handoff": {"notify": [MAIL]}}
        await configuring.set_policy(tx, vault, site.seed.inbox.inbox_id, policy, by=SYSTEM, now=site.seed.clock.now())
    kept = {**await form_of(owner, at), "told": public_name(MAIL), "handoff.notify": "feishu://a1b2c3d4e5"}
    assert (await owner.post(at, kept)).status == 303
    assert await told() == [MAIL, "feishu://a1b2c3d4e5"]  # what the operator set stays, and is typed again, too
    assert (await owner.post(at, {**await form_of(owner, at), "handoff.notify": MAIL})).status == 303
    assert await told() == [MAIL]
    assert ROBOT not in str(await configured(site))


def told_at(moment: datetime, situation: Any = "handoff", **policy: Any) -> tuple[str, list[str]]:
    meant = parse_policy(policy)
    found = policy_preview(meant, situation, hours=meant.hours, at=moment, texts=Texts())
    return found.moment, [one.text for one in found.bubbles] or [found.nothing]


WEEK = {"weekly": {"mon-fri": "09:00-18:00"}, "calendar": "CN"}
SATURDAY = datetime(2026, 11, 21, 12, 10, tzinfo=UTC)  # 20:10 in Shanghai


def test_the_preview_says_what_is_told_and_when() -> None:
    words = {"text": "请稍候", "text_out_of_hours": "下班了"}
    moment, said = told_at(SATURDAY, hours=WEEK, handoff=words)
    assert (moment, said[-1]) == ("2026-11-21 星期六 20:10：下班了，11-23 09:00回来", "下班了")
    moment, said = told_at(datetime(2026, 11, 20, 2, 0, tzinfo=UTC), hours=WEEK, handoff=words)
    assert (moment, said[-1]) == ("2026-11-20 星期五 10:00：同事在", "请稍候")
    assert told_at(SATURDAY, "first", welcome="")[1] == ["不发欢迎语"]
    assert told_at(SATURDAY, "resolved", closing="再见")[1] == ["再见"]
    asking = {"ask": True, "text": "满意吗？"}
    assert told_at(SATURDAY, "resolved", closing="再见", survey=asking)[1] == ["满意吗？", "再见"]
    assert told_at(SATURDAY, "idle", closing="再见", survey=asking)[1] == ["满意吗？", "再见"]
    idle = {"open_hours": 2, "text": "先到这里"}
    assert told_at(SATURDAY, "idle", closing="再见", survey=asking, auto_resolve=idle)[1] == ["先到这里", "满意吗？"]
    assert told_at(SATURDAY, "idle", auto_resolve={**idle, "text": ""})[1] == ["不说什么"]
    assert told_at(SATURDAY, "idle", auto_resolve={**idle, "answered_hours": None, "open_hours": None})[1] == [
        "从不自动解决"
    ]
    assert told_at(SATURDAY, "away", hours=WEEK, away="明天回复")[1] == ["在吗？", "明天回复"]
    assert told_at(SATURDAY, "away", hours=WEEK)[1] == ["在吗？"]
    assert told_at(SATURDAY, "away", away="明天回复")[1] == ["在吗？"]  # there are no hours: somebody is always there
    never = {"weekly": {}}
    assert told_at(SATURDAY, hours=never)[0].endswith("没有人，往后一年也没有")


def test_a_welcome_is_shown_as_the_channel_lets_it_be_said() -> None:
    policy = parse_policy({"welcome": "您好"})

    def shown(welcomes: Any) -> tuple[list[str], str]:
        found = policy_preview(policy, "first", hours=policy.hours, at=SATURDAY, texts=Texts(), welcomes=welcomes)
        return [one.text for one in found.bubbles], found.nothing

    assert shown("entering") == (["您好"], "")
    assert shown("first_message") == (["在吗？", "您好"], "")
    assert shown("itself") == ([], "机器人说自己的欢迎语")


async def test_the_form_says_when_a_welcome_is_said(site: Site) -> None:
    owner, at = await site.signed_in(), f"/settings/inboxes/{site.seed.inbox.inbox_id}/policy"
    site.app.state.desk = replace(site.app.state.desk, limits_of=bootstrap.limits_of)
    for kind, hint in (
        ("wecom_kf", "空着就不发"),
        ("webhook", "第一次写来时，先说这一句再回答"),
        ("wecom_app", "第一次写来时，先说这一句再回答"),
        ("wecom_bot", "机器人有自己的欢迎语"),
    ):
        async with site.seed.database.transaction(site.seed.workspace_id) as tx:
            await tx.run("update inbox set kind = %(kind)s where id = %(id)s", kind=kind, id=site.seed.inbox.inbox_id)
        page = (await owner.get(at)).text
        assert hint in page, kind
        assert ("机器人说自己的欢迎语" in page) is (kind == "wecom_bot")


def test_holidays_and_weekends_that_are_worked_are_named() -> None:
    policy = parse_policy({"hours": {**WEEK, "holidays": ["2026-10-09"], "days": {"2026-10-11": "10:00-12:00"}}})
    ahead = policy_preview(
        policy, "first", hours=policy.hours, at=datetime(2026, 10, 5, 4, 0, tzinfo=UTC), texts=Texts()
    ).days
    assert [(day.label, day.hours, day.why) for day in ahead] == [
        ("10-05 星期一", "休息", "法定节假日"),
        ("10-06 星期二", "休息", "法定节假日"),
        ("10-07 星期三", "休息", "法定节假日"),
        ("10-08 星期四", "09:00-18:00", ""),
        ("10-09 星期五", "休息", "休息日"),
        ("10-10 星期六", "09:00-18:00", "调休上班"),
        ("10-11 星期日", "10:00-12:00", "单独定的"),
    ]


async def test_the_preview_follows_what_is_typed(site: Site) -> None:
    owner, at = await site.signed_in(), f"/settings/inboxes/{site.seed.inbox.inbox_id}/policy"
    form = {**await form_of(owner, at), "weekly": "on", "hours.weekly.mon": "09:00-18:00", "welcome": "<b>您好</b>"}
    shown = (await owner.post(f"{at}/preview", {**form, "at": "2026-11-21T20:10"})).text
    assert "星期六 20:10：下班了" in shown
    assert "&lt;b&gt;您好&lt;/b&gt;" in shown
    asked = (await owner.post(f"{at}/preview", {**form, "situation": "handoff", "at": "2026-11-23T10:00"})).text
    assert "星期一 10:00：同事在" in asked
    for strange in ({"at": "9999-99-99"}, {"at": "0001-01-01T00:00"}, {"situation": "x"}):
        assert (await owner.post(f"{at}/preview", {**form, **strange})).status == 200
    assert await configured(site) == []
