"""A page on which you play the members of a group: a phone that shows what the group reads, over the webhook channel.

Only the demo mounts it. What is said goes out signed as a program of somebody's own would send it; what the phone
shows is what the product stored and sent.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Form, Query, Request
from fastapi.responses import Response

from zhiban.conversations.quotes import own_words
from zhiban.desk.labels import WORDS
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.people.auth import auth_of
from zhiban.testing.phone import SHOWN, Persona, PhoneDemo
from zhiban.testing.sample_picture import cup_with_a_chip
from zhiban.testing.webhook import WebhookProgram
from zhiban.web.render import viewer_of
from zhiban.web.routers import add_routes
from zhiban.web.security import same_origin

GROUP = {"id": "demo-group-1", "name": "青禾用户群"}
ASSISTANT = "@值班助手"
MEMBERS = (
    Persona("demo-member-yang", "老杨", mark("老顾客，话多")),
    Persona("demo-member-lu", "陆知行", mark("常帮别人回答")),
    Persona("demo-member-liang", "梁小满", mark("群主")),
    Persona("demo-member-han", "韩川", mark("刚买了东西")),
    Persona("demo-member-xu", "许言", mark("不爱被引用")),
)
TRIES = (
    f"{ASSISTANT} 怎么申请退款？",
    f"{ASSISTANT} 帮助",
    f"{ASSISTANT} 你们支持火星配送吗",
    "不对",
    "以上三条开工单",
    "确认",
    f"{ASSISTANT} 不要引用我",
)
# What was said before anybody looks: by whom, and how many minutes ago.
SAID = (
    ("demo-member-yang", 52, "昨晚下的单，今天显示已发货，速度可以"),
    ("demo-member-han", 50, "我的快递卡在中转站两天了，有人一样吗"),
    ("demo-member-lu", 49, "我也是，同一个中转站，客服说在催"),
    ("demo-member-han", 47, "杯子到的时候杯口有个小缺口，拍了照"),
    ("demo-member-lu", 46, "这种可以换，上次我也换过"),
    ("demo-member-xu", 21, "新款什么时候补货呀"),
    ("demo-member-liang", 19, "听说下周三"),
)

router = APIRouter(include_in_schema=False, dependencies=[Depends(same_origin)])

_CHAT = """
select m.external_id, m.direction = 'in' as member, m.sender_ref, m.author, coalesce(a.name, '') as agent_name,
  coalesce(nullif(g.nickname, ''), p.name, '') as sender, m.kind, m.text, m.content, m.mentions, m.sent_at,
  coalesce(left(q.text, 60), '') as quoted
from message m join conversation c on c.workspace_id = m.workspace_id and c.id = m.conversation_id
left join agent a on a.workspace_id = m.workspace_id and a.id = m.agent_id
left join contact p on p.workspace_id = m.workspace_id and p.id = m.sender_contact_id
left join participant g on g.workspace_id = m.workspace_id and g.conversation_id = c.id
  and g.contact_id = m.sender_contact_id
left join message q on q.workspace_id = m.workspace_id and q.id = m.reply_to_id
where c.external_id = %(group)s and m.direction in ('in', 'out') and m.state in ('handled', 'sent', 'pending', 'stored')
order by m.id desc limit %(limit)s"""


@frozen_dataclass
class _SaidInGroup:
    external_id: str
    member: bool
    sender_ref: str | None
    author: str
    agent_name: str
    sender: str
    kind: str
    text: str
    content: dict[str, Any]
    mentions: list[dict[str, Any]]
    sent_at: datetime
    quoted: str


@frozen_dataclass
class GroupBubble:
    """One message on the phone; `by` is a member's id, or who of us wrote it."""

    id: str
    by: str
    name: str
    text: str
    at: datetime
    quoted: str = ""
    kind: str = "text"


class GroupPhone:
    """The group of the demo. `program` is the other end of the webhook channel."""

    def __init__(self, program: WebhookProgram, phone: PhoneDemo) -> None:
        self.phone = phone
        self._program = program
        self._numbers = itertools.count(1)
        self._start = time.time_ns()  # the numbers begin anew with each start

    def install(self, app: FastAPI) -> None:
        app.state.group_phone = self
        add_routes(app, router)

    def member(self, external_id: str) -> Persona:
        """Raises NotFound."""
        for one in MEMBERS:
            if one.external_id == external_id:
                return one
        raise NotFound("There is nobody of this name to play.")

    async def furnish(self, now: datetime) -> None:
        """Let the group exist, with what was said before. A later start changes nothing."""
        people = [
            {
                "id": one.external_id,
                "name": one.name,
                "role": "owner" if one.name == "梁小满" else "member",
            }
            for one in MEMBERS
        ]
        await self._call({"type": "group", "group": GROUP, "members": people})
        for number, (who, minutes, text) in enumerate(SAID):
            at = (now - timedelta(minutes=minutes)).timestamp()
            await self._says(self.member(who), text, id_=f"demo-group-{number}", sent_at=at)

    async def says(self, member: Persona, text: str, *, quoting: str = "") -> None:
        """A member writes into the group; `quoting`: the id of the message that they answer."""
        more = {"reply_to": quoting} if quoting else {}
        await self._says(member, text, id_=f"demo-said-{self._start}-{next(self._numbers)}", **more)

    async def shows(self, member: Persona, *, quoting: str = "") -> None:
        """A member sends the photograph of a cup, perhaps in answer to a message."""
        data = base64.b64encode(cup_with_a_chip()).decode()
        file = {"data": data, "name": "cup.png", "content_type": "image/png", "kind": "image"}
        more = {"reply_to": quoting} if quoting else {}
        id_ = f"demo-said-{self._start}-{next(self._numbers)}"
        await self._says(member, "", id_=id_, kind="image", files=[file], **more)

    async def _says(self, member: Persona, text: str, *, id_: str, **more: Any) -> None:
        message = {"id": id_, "text": text, "mentions_us": ASSISTANT in text, **more}
        contact = {"id": member.external_id, "name": member.name}
        await self._call({"type": "message", "group": GROUP, "contact": contact, "message": message})

    async def _call(self, event: dict[str, Any]) -> None:
        await self._program.call(event, id_=f"demo-{time.time_ns()}")

    async def chat(self) -> list[GroupBubble]:
        """What the group reads, oldest first."""
        async with self.phone.database.transaction(self.phone.workspace_id) as tx:
            rows = await tx.objects(_SaidInGroup, _CHAT, group=GROUP["id"], limit=SHOWN)
        return [_bubble(row) for row in reversed(rows)]


def _bubble(row: _SaidInGroup) -> GroupBubble:
    if row.member:
        ref, kind = row.sender_ref or "", row.kind
        return GroupBubble(row.external_id, ref, row.sender, row.text, row.sent_at, row.quoted, kind)
    named = "".join(f"@{one['name']} " for one in row.mentions)
    quoted = own_words(row.quoted, row.content)
    name = row.agent_name or str(mark("值班助手"))
    by = "agent" if row.author == "agent" else "assistant"
    return GroupBubble(row.external_id, by, name, named + row.text, row.sent_at, quoted)


def _fingerprint(chat: Sequence[GroupBubble]) -> str:
    return hashlib.blake2b(repr([one.id for one in chat]).encode(), digest_size=8).hexdigest()


# ---------------------------------------------------------------------------------------------------- endpoints


def _demo(request: Request) -> GroupPhone:
    demo: GroupPhone = request.app.state.group_phone
    return demo


async def _answer(request: Request, template: str, member: Persona, chat: Sequence[GroupBubble]) -> Response:
    return auth_of(request).renderer.answer(
        template,
        viewer_of(request),
        persona=member,
        members=MEMBERS,
        chat=chat,
        tries=TRIES,
        group=GROUP["name"],
        seen=_fingerprint(chat),
        **WORDS,
    )


@router.get("/demo/group")
async def group(request: Request, who: Annotated[str, Query()] = MEMBERS[0].external_id) -> Response:
    demo = _demo(request)
    return await _answer(request, "group_phone.html", demo.member(who), await demo.chat())


@router.get("/demo/group/live")
async def live(request: Request, who: str, seen: str = "") -> Response:
    """Waits until the group has read something new; 204 when nothing happened for a while."""
    demo = _demo(request)
    member = demo.member(who)
    change = demo.phone.next_change()
    if _fingerprint(await demo.chat()) == seen:
        await demo.phone.wait(change)
        if _fingerprint(await demo.chat()) == seen:
            return Response(status_code=204)
    return await _answer(request, "group_live.html", member, await demo.chat())


@router.post("/demo/group/say")
async def say(
    request: Request,
    who: Annotated[str, Form()],
    text: Annotated[str, Form(max_length=2000)] = "",
    quoting: Annotated[str, Form(max_length=200)] = "",
    picture: Annotated[str, Form(max_length=5)] = "",
) -> Response:
    """A member presses send, words or a picture, perhaps in answer to a message."""
    demo = _demo(request)
    member = demo.member(who)
    if picture:
        await demo.shows(member, quoting=quoting)
    elif text.strip():
        await demo.says(member, text.strip(), quoting=quoting)
    return await _answer(request, "group_live.html", member, await demo.chat())
