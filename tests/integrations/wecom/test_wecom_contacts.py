"""客户联系: welcomes, tags, remarks, links, and reading it all again."""

from __future__ import annotations

import pytest

from zhiban.integrations.wecom.api import WeComApi
from zhiban.integrations.wecom.contacts import CustomerContacts
from zhiban.ports import ConnectionBroken, Refusal, SendRefused
from zhiban.testing.wecom import WeComSimulator


@pytest.fixture
def contacts(api: WeComApi, clock: list[float]) -> CustomerContacts:
    async def sleep(seconds: float) -> None:
        clock[0] += seconds

    return CustomerContacts(api, monotonic=lambda: clock[0], sleep=sleep)


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


async def test_a_new_contact_is_welcomed_once(contacts: CustomerContacts, sim: WeComSimulator) -> None:
    code = sim.befriend("chen", "wmLIN")
    await contacts.welcome(code, "您好，我是小助手")
    assert sim.contacts.welcomes[code].sent == {"text": {"content": "您好，我是小助手"}}
    with pytest.raises(SendRefused) as caught:
        await contacts.welcome(code, "again")
    assert (caught.value.refusal, caught.value.code) == (Refusal.CODE_EXPIRED, 41051)


async def test_a_welcome_that_is_too_late(contacts: CustomerContacts, sim: WeComSimulator) -> None:
    code = sim.befriend("chen", "wmLIN")
    sim.clock.advance(21)
    with pytest.raises(SendRefused) as caught:
        await contacts.welcome(code, "您好")
    assert caught.value.code == 41050
    with pytest.raises(SendRefused):
        await contacts.welcome(code, "您好", left=0)


async def test_another_app_is_sending_right_now(
    contacts: CustomerContacts, sim: WeComSimulator, clock: list[float]
) -> None:
    code = sim.befriend("chen", "wmLIN")
    sim.fail("externalcontact/send_welcome_msg", errcode=41096, times=3)
    await contacts.welcome(code, "您好")
    assert clock[0] == 3
    sim.fail("externalcontact/send_welcome_msg", errcode=41096, times=None)
    with pytest.raises(SendRefused) as caught:
        await contacts.welcome(code, "您好", left=5)
    assert caught.value.refusal is Refusal.CODE_EXPIRED
    assert clock[0] <= 9


async def test_a_welcome_is_cut_to_what_fits(contacts: CustomerContacts, sim: WeComSimulator) -> None:
    code = sim.befriend("chen", "wmLIN")
    link = {"msgtype": "link", "link": {"title": "指南", "url": "https://e.test"}}
    await contacts.welcome(code, "字" * 3000, attachments=[link])
    sent = sim.contacts.welcomes[code].sent
    assert sent is not None
    assert len(sent["text"]["content"].encode()) <= 4000
    assert sent["attachments"] == [link]


async def test_tags_are_found_or_made(contacts: CustomerContacts, sim: WeComSimulator) -> None:
    first = await contacts.tag_ids("意向", ["高", "低"])
    again = await contacts.tag_ids("意向", ["高", "中", "高"])
    assert set(first) == {"高", "低"}
    assert again["高"] == first["高"]
    other = await contacts.tag_ids("来源", ["高"])
    assert other["高"] != first["高"]
    assert sim.journal.counts["externalcontact/add_corp_tag"] == 3


async def test_somebody_else_made_the_tag_meanwhile(contacts: CustomerContacts, sim: WeComSimulator) -> None:
    made = await contacts.tag_ids("意向", ["高"])
    sim.fail("externalcontact/get_corp_tag_list", body=b'{"errcode":0,"tag_group":[]}')
    assert await contacts.tag_ids("意向", ["高"]) == made


async def test_marks_and_remarks(contacts: CustomerContacts, sim: WeComSimulator) -> None:
    sim.befriend("chen", "wmLIN", state="poster7")
    tags = await contacts.tag_ids("意向", ["高", "低"])
    await contacts.mark("chen", "wmLIN", add=[tags["高"]])
    await contacts.mark("chen", "wmLIN", add=[tags["低"]], remove=[tags["高"]])
    await contacts.mark("chen", "wmLIN")
    await contacts.remark("chen", "wmLIN", remark="林" * 30, description="常客", mobiles=["13800000000"])
    await contacts.remark("chen", "wmLIN", mobiles=[])
    await contacts.remark("chen", "wmLIN")
    (relation,) = await contacts.contact("wmLIN")
    assert (relation.member, relation.state, relation.tags) == ("chen", "poster7", (tags["低"],))
    assert relation.remark == "林" * 20
    assert sim.contacts.follows["chen", "wmLIN"].mobiles == []
    with pytest.raises(SendRefused) as caught:
        await contacts.mark("omar", "wmLIN", add=[tags["高"]])
    assert caught.value.refusal is Refusal.UNKNOWN_CONTACT


async def test_half_a_friend_cannot_be_marked(contacts: CustomerContacts, sim: WeComSimulator) -> None:
    sim.befriend("chen", "wmLIN", half=True)
    tags = await contacts.tag_ids("意向", ["高"])
    for attempt in (contacts.mark("chen", "wmLIN", add=[tags["高"]]), contacts.remark("chen", "wmLIN", remark="林")):
        with pytest.raises(SendRefused) as caught:
            await attempt
        assert caught.value.refusal is Refusal.UNKNOWN_CONTACT
    sim.befriend("chen", "wmLIN")
    await contacts.mark("chen", "wmLIN", add=[tags["高"]])


async def test_members_outside_the_apps_sight(contacts: CustomerContacts, sim: WeComSimulator) -> None:
    sim.befriend("chen", "wmLIN")
    sim.staff.hidden.add("chen")
    with pytest.raises(ConnectionBroken) as caught:
        await contacts.remark("chen", "wmLIN", remark="林")
    assert caught.value.code == 60011
    assert await contacts.members() == []


async def test_links_accept_contacts_unasked(contacts: CustomerContacts, sim: WeComSimulator) -> None:
    way = await contacts.add_contact_way(["chen", "omar"], state="poster7", remark="海报")
    assert way.qr_code_url.startswith("https://")
    assert sim.contacts.ways[way.config_id]["skip_verify"] is True
    assert sim.contacts.ways[way.config_id]["type"] == 2
    await contacts.remove_contact_way(way.config_id)
    assert not sim.contacts.ways


async def test_hostile_57_everything_can_be_read_again(contacts: CustomerContacts, sim: WeComSimulator) -> None:
    for count in range(250):
        sim.befriend("chen", f"wm{count:04d}")
    sim.befriend("omar", "wm0000")
    assert await contacts.members() == ["chen", "omar"]
    relations = [relation async for relation in contacts.follows(["chen", "omar"])]
    assert len(relations) == 251
    assert {relation.member for relation in relations} == {"chen", "omar"}
    sim.part("chen", "wm0001")
    assert len([relation async for relation in contacts.follows(["chen"])]) == 249


@pytest.mark.parametrize("body", [b'{"external_contact_list":[{}],"next_cursor":"same"}', b"{}"])
async def test_hostile_65_a_reading_that_never_ends(
    contacts: CustomerContacts, sim: WeComSimulator, body: bytes
) -> None:
    sim.fail("externalcontact/batch/get_by_user", body=body, times=None)
    assert [relation async for relation in contacts.follows(["chen"])] == []
    assert sim.journal.counts["externalcontact/batch/get_by_user"] <= 2


async def test_one_member_without_contacts_ends_no_batch(contacts: CustomerContacts, sim: WeComSimulator) -> None:
    sim.hire(*(f"member{number}" for number in range(8)))
    for number in range(8):
        sim.befriend(f"member{number}", f"wm{number}")
    sim.fail("externalcontact/batch/get_by_user", errcode=84061, times=1)
    found = [relation.member async for relation in contacts.follows([f"member{number}" for number in range(8)])]
    assert sorted(found) == [f"member{number}" for number in range(8)]
    sim.fail("externalcontact/batch/get_by_user", errcode=84061, times=None)
    assert [relation async for relation in contacts.follows(["member0", "member1"])] == []


async def test_an_app_without_the_permission(contacts: CustomerContacts, sim: WeComSimulator) -> None:
    sim.fail("externalcontact/get_follow_user_list", errcode=48002)
    with pytest.raises(ConnectionBroken, match="not among the apps"):
        await contacts.members()
