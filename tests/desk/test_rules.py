"""Rules in the browser: everything goes in through the form, and what it says is what happens."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser import Visit
from tests.desk.conftest import Fields, Site
from tests.desk.test_accessibility import faults
from tests.desk.test_browser import CONTRAST
from zhiban.automation import queries
from zhiban.automation.actions import ACTIONS, MACRO_ACTIONS
from zhiban.automation.conditions import CONDITIONS
from zhiban.automation.definition import Definition, load_definition
from zhiban.automation.saved_views import VIEW_CONDITIONS
from zhiban.automation.shipped import SHIPPED
from zhiban.automation.wording import Names, RuleWording
from zhiban.desk import rule_form, rule_labels
from zhiban.kit.i18n import Texts

FORM: Fields = [
    ("name", "紧急的给最合适的人"),
    ("on", "conversation_resolved"),
    ("on", "message_created"),
    ("c.match", "all"),
    ("c.0.kind", "priority"),
    ("c.0.operator", "at_least"),
    ("c.0.priority", "3"),
    ("c.1.match", "any"),
    ("c.1.0.kind", "message_text"),
    ("c.1.0.operator", "contains"),
    ("c.1.0.values", "退款， 退货"),
    ("c.1.1.kind", "assignee"),
    ("c.1.1.operator", "present"),
    ("a.0.kind", "unassign"),
    ("a.1.kind", "send_message"),
    ("a.1.text", "{{contact.name}}您好"),
]
SAID = (
    "当会话变为已解决或有新消息时，如果优先级不低于高，且（消息包含“退款”或“退货”，或有处理人），"
    "就取消分配，再发消息“{{contact.name}}您好”"
)


def test_every_condition_and_action_has_a_name_and_a_form() -> None:
    assert set(rule_labels.CONDITION_LABELS) == set(CONDITIONS)
    assert set(rule_labels.ACTION_LABELS) == set(ACTIONS)
    assert (
        set(rule_labels.MACRO_ACTION_LABELS) == set(MACRO_ACTIONS) == {*ACTIONS, "assign_me"} - {"stop", "call_webhook"}
    )
    assert set(rule_labels.VIEW_CONDITION_LABELS) == set(VIEW_CONDITIONS)
    words = RuleWording(Texts(), Names({7: "林晓"}, {5: "售后"}, {11: "退款"}, {2: "官网"}, {"memory": "内存"}))
    for kind in CONDITIONS:
        draft = {**rule_form.NEW, "conditions": {"kind": "group", "conditions": [{"kind": kind}]}}
        (part,) = rule_form.conditions_view(draft, words).parts
        assert part.fields
        for field in part.fields:
            assert field.look in ("select", "picks", "number", "text")
            # A choice that nobody named would be shown by its code.
            assert not [label for value, label, _ in field.options if label == value != "memory" and value.isalpha()]
    for kind in ACTIONS:
        rule_form.actions_view({**rule_form.NEW, "actions": [{"kind": kind}]}, words)


def test_a_rule_comes_out_of_the_form_as_it_went_in() -> None:
    """Whatever is shown of a rule and sent back unchanged is the same rule."""
    definition = load_definition(
        {
            "on": ["conversation_updated"],
            "conditions": {
                "match": "any",
                "conditions": [
                    {"kind": "status_changed", "past": ["resolved"], "to": ["pending", "open"]},
                    {"kind": "priority_changed", "direction": "up", "to": [3, 4]},
                    {"kind": "business_hours", "inside": False},
                    {"kind": "message_text", "operator": "matches", "values": ["a,b|c"]},
                    {"kind": "waiting", "minutes": 2.5},
                    {"kind": "group", "match": "any", "conditions": [{"kind": "label", "labels": [11]}]},
                ],
            },
            "actions": [
                {"kind": "set_priority", "priority": 3, "at_least": True},
                {"kind": "assign_agent", "agent": 7},
            ],
        }
    )
    words = RuleWording(Texts(), Names({7: "林晓"}, {}, {11: "退款"}))
    draft = rule_form.of_rule("规则", stops=True, definition=definition)
    sent = [("name", "规则"), ("stops", "true"), ("on", "conversation_updated")]

    def send(part: rule_form.PartView) -> None:
        if part.kind == "group":
            sent.append((f"{part.path}.match", part.match))
            for one in part.parts:
                send(one)
            return
        sent.append((f"{part.path}.kind", part.kind))
        for field in part.fields:
            chosen = [value for value, _, ticked in field.options if ticked] if field.options else [field.value]
            sent.extend((f"{part.path}.{field.name}", value) for value in chosen)

    send(rule_form.conditions_view(draft, words))
    for action in rule_form.actions_view(draft, words):
        send(action)
    back = rule_form.typed(sent)
    assert (back["name"], back["stops"]) == ("规则", True)
    found = load_definition({key: back[key] for key in ("on", "conditions", "actions")})
    assert found.plain() == definition.plain()


async def test_a_rule_is_written_previewed_saved_switched_moved_and_removed(site: Site) -> None:
    lin = await site.signed_in()
    assert "还没有规则" in (await lin.get("/rules")).text or "从上到下" in (await lin.get("/rules")).text
    assert SAID in (await lin.post("/rules/preview", FORM)).text
    made = await lin.post("/rules", FORM)
    assert made.status == 303
    here = made.headers["location"]
    page = (await lin.get(here)).text
    assert SAID in page
    assert "已停用" in page
    assert (await lin.post(f"{here}/on")).status == 303
    revision = re.findall(r'name="revision" value="(\d+)"', (await lin.get(here)).text)[0]
    saved = await lin.post(here, [*FORM, ("revision", revision), ("stops", "true")])
    assert saved.status == 303
    stale = await lin.post(here, [*FORM, ("revision", revision)])
    assert (stale.status, "刚被别人改过" in stale.text) == (422, True)
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        rule = next(one for one in await queries.rules(tx) if f"/rules/{one.id}" == here)
    assert (rule.enabled, rule.stops, rule.changed_by) == (True, True, site.seed.agents["林晓"])
    for verb in ("up", "down", "off"):
        assert (await lin.post(f"{here}/{verb}")).status == 303
    assert (await lin.post(f"{here}/explode")).status == 404
    assert (await lin.post(f"{here}/remove")).headers["location"] == "/rules"
    assert (await lin.get(here)).status == 404
    assert (await lin.get("/rules/999")).status == 404


async def test_a_rule_may_wait(site: Site) -> None:
    lin = await site.signed_in()
    waits: Fields = [("name", "久等"), ("t.what", "no_reply_from_us"), ("t.minutes", "10"), ("a.0.kind", "assign_best")]
    assert "当超过10分钟没有回复对方时，分配给最合适的在线同事" in (await lin.post("/rules/preview", waits)).text
    page = (await lin.get((await lin.post("/rules", waits)).headers["location"])).text
    assert 'name="t.minutes" value="10"' in page
    for minutes in ("", "x", "-3"):
        unfinished = [(name, minutes if name == "t.minutes" else value) for name, value in waits]
        assert "还没写要过多久" in (await lin.post("/rules", unfinished)).text
    assert (await lin.post("/rules/rehearse", waits)).status == 200
    gone = [(name, "assignee_offline" if name == "t.what" else value) for name, value in waits]
    assert "日志里还没有人这样上线或离线过。" in (await lin.post("/rules/rehearse", gone)).text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ([("name", "x"), ("a.0.kind", "unassign")], "先选什么时候"),
        ([("name", "x"), ("on", "message_created")], "还没有动作"),
        ([("name", "x"), ("on", "message_created"), ("a.0.kind", "assign_agent")], "第1个动作还没有填好"),
        ([("name", "x"), ("on", "message_created"), ("a.0.kind", "add_note"), ("a.0.text", "{{x}}")], "没有x这个变量"),
        ([("name", " "), ("on", "message_created"), ("a.0.kind", "unassign")], "规则要有名字"),
        (
            [("name", "x"), ("on", "message_created"), ("c.0.kind", "message_text"), ("a.0.kind", "unassign")],
            "有条件还没有填好：没有写要比较什么",
        ),
    ],
)
async def test_what_is_not_finished_is_said_and_what_was_typed_stays(site: Site, fields: Fields, said: str) -> None:
    lin = await site.signed_in()
    refused = await lin.post("/rules", fields)
    assert refused.status == 422
    assert said in refused.text


async def test_a_draft_grows_and_shrinks_without_being_stored(site: Site) -> None:
    lin = await site.signed_in()
    before = (await lin.get("/rules")).text.count('class="rl"')
    grown = await lin.post("/rules/draft", [*FORM, ("do", "add-condition:c.1")], hx_request="true")
    assert 'name="c.1.2.kind"' in grown.text
    assert "<html" not in grown.text
    shrunk = await lin.post("/rules/draft", [*FORM, ("do", "remove:c.1")], hx_request="true")
    assert 'name="c.1.match"' not in shrunk.text
    grouped = await lin.post("/rules/draft", [*FORM, ("do", "add-group:c")], hx_request="true")
    assert 'name="c.2.match"' in grouped.text
    acted = await lin.post("/rules/draft", [*FORM, ("do", "add-action:a")])  # without scripts: the whole page
    assert 'name="a.2.kind"' in acted.text
    assert "<html" in acted.text
    for wish in ("remove:c.9", "remove:x", "add-group:c.0", "add-condition:c.7.7", "", "remove:"):
        assert (await lin.post("/rules/draft", [*FORM, ("do", wish)], hx_request="true")).status == 200
    assert (await lin.get("/rules")).text.count('class="rl"') == before


async def test_a_shipped_rule_that_is_missing_is_one_click_away(site: Site) -> None:
    """For a workspace that is older than the rule, and for one that had removed it."""
    client = await site.signed_in()
    assert [key for key in (one.key for one in SHIPPED) if f'value="{key}"' in (await client.get("/rules")).text] == [
        "unassign_on_resolve",
        "returning_contact",
        "agent_offline",
        "urgent_words",
        "negative_sentiment",
    ]
    assert (await client.post("/rules/shipped", {"key": "agent_offline"})).status == 303
    assert (await client.post("/rules/shipped", {"key": "agent_offline"})).status == 422  # twice
    assert (await client.post("/rules/shipped", {"key": "nothing"})).status == 404
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        (again,) = [one for one in await queries.rules(tx) if one.shipped == "agent_offline"]
    assert again.enabled
    page = (await client.get(f"/rules/{again.id}")).text
    assert "当处理人离线超过2分钟而对方在等时，取消分配，再分配给最合适的在线同事" in page
    assert 'value="agent_offline"' not in page
    await client.post(f"/rules/{again.id}/remove")
    assert 'value="agent_offline"' in (await client.get("/rules")).text


async def test_who_writes_a_call_sees_what_it_is_signed_with(site: Site) -> None:
    form: Fields = {
        "name": "告诉别人",
        "on": "message_created",
        "a.0.kind": "call_webhook",
        "a.0.url": "https://a.example/x",
    }
    owner, agent = await site.signed_in(), await site.signed_in("chenmo")
    page = (await owner.post("/rules/draft", form, hx_request="true")).text
    assert "whsec_" in page
    assert "调用a.example" in page
    assert "whsec_" not in (await agent.post("/rules/draft", form, hx_request="true")).text


async def test_who_may_not_change_rules_may_read_them(site: Site) -> None:
    lin, chen = await site.signed_in(), await site.signed_in("chenmo")
    here = (await lin.post("/rules", FORM)).headers["location"]
    page = (await chen.get(here)).text
    assert SAID in page
    assert "只有负责人、管理员和看全部收件箱的主管可以修改规则" in page
    assert "保存" not in page
    for path, data in (
        ("/rules", FORM),
        (here, [*FORM, ("revision", "1")]),
        (f"{here}/on", []),
        (f"{here}/remove", []),
    ):
        refused = await chen.post(path, data)
        assert (refused.status, "只有负责人、管理员" in refused.text) == (422, True), path
    assert (await site.client().get("/rules")).headers["location"].startswith("/login")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        assert [one.enabled for one in await queries.rules(tx) if f"/rules/{one.id}" == here] == [False]


@pytest.mark.browser
@pytest.mark.parametrize(("width", "dark"), [(1440, False), (390, True)], ids=["wide light", "narrow dark"])
async def test_a_supervisor_writes_the_first_rule(site: Site, enter: Visit, width: int, dark: bool) -> None:
    page = await enter(width=width, height=844, dark=dark)
    await page.goto(site.url + "/rules/new")
    await expect(page.locator("#said")).to_contain_text("当会话变为已解决时，取消分配")
    await page.get_by_role("button", name="加条件", exact=True).click()
    await page.select_option('[name="c.0.kind"]', "priority")
    await page.select_option('[name="c.0.priority"]', "4")
    await expect(page.locator("#said")).to_contain_text("当会话变为已解决时，如果优先级是紧急，就取消分配")
    await page.get_by_role("button", name="演练").click()
    await expect(page.locator("#rehearsal .reh")).to_be_attached()
    await page.fill(".name", "紧急的解决后取消分配")
    assert await faults(page) == []
    assert await page.evaluate(CONTRAST) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.press(".name", "Enter")
    await page.wait_for_url(re.compile(r"/rules/\d+$"))
    if width < 760:
        await page.get_by_role("link", name="返回规则列表").click()
    switch = page.get_by_role("switch", name="启用紧急的解决后取消分配")
    await expect(switch).to_have_attribute("aria-checked", "false")
    await switch.click()
    await page.wait_for_load_state()
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        rule = next(one for one in await queries.rules(tx) if one.name == "紧急的解决后取消分配")
    assert rule.enabled
    definition: Definition = load_definition(rule.definition)
    assert [one.kind for one in definition.conditions.conditions] == ["priority"]


@pytest.mark.browser
async def test_the_choices_of_an_english_editor_stay_on_a_phone(site: Site, enter: Visit) -> None:
    assert (await (await site.signed_in()).post("/preferences", {"locale": "en"})).status == 303
    page = await enter(width=390, height=844)
    await page.goto(site.url + "/rules/new")
    box = await page.locator('[name="t.what"]').bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 390
