"""A page on which you play the contact: a phone with a simulated 微信客服 account, and beside it what happens inside.

Only the demo mounts it. What the phone shows is what the simulated platform holds, so a message that never arrived is
never shown; what happens inside is read from the rows that the product wrote.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import field
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Form, Query, Request
from fastapi.responses import Response

from zhiban.assistant.suggesting import percent
from zhiban.conversations.outgoing_files import FILE_KINDS
from zhiban.conversations.reasons import REASON_LABELS
from zhiban.conversations.topics import CONVERSATION_CHANGED
from zhiban.desk import views
from zhiban.desk.labels import FAILURE_LABELS, WORDS
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.kit.pubsub import PubSub
from zhiban.people.auth import auth_of, set_session_cookie
from zhiban.people.service import open_session
from zhiban.ports import Kind
from zhiban.testing.wecom.simulator import OPEN_KFID, WeComSimulator
from zhiban.web.render import viewer_of
from zhiban.web.routers import add_routes
from zhiban.web.security import own_visit, same_origin

LONG_POLL_SECONDS = 20.0
SETTLE_SECONDS = 0.03
SHOWN = 60

router = APIRouter(include_in_schema=False, dependencies=[Depends(same_origin)])


@frozen_dataclass
class Persona:
    """Somebody you may play."""

    external_id: str
    name: str
    about: str


PERSONAS = (
    Persona("wmDEMO_zhouyuan_0001", "周予安", mark("老顾客，常来问")),
    Persona("wmDEMO_liangxiaoman_02", "梁小满", mark("第一次来")),
    Persona("wmDEMO_shenjianing_003", "沈嘉宁", mark("着急的顾客")),
)
TRIES = ("怎么申请退款？", "那运费呢？", "能开发票吗", "你们支持火星配送吗", "今天天气怎么样", "转人工")


@frozen_dataclass
class Tap:
    id: str
    label: str


@frozen_dataclass
class Chat:
    """One bubble on the phone."""

    id: str
    mine: bool
    at: datetime
    text: str
    kind: str = "text"
    taps: tuple[Tap, ...] = ()
    footer: str = ""
    by: str = "assistant"
    who: str = ""
    who_key: str = "0"  # gives the avatar its colour, the same one as on the desk


@frozen_dataclass
class ShownStep:
    """One thing that happened inside. `ms` counts from the moment the contact pressed send."""

    icon: str
    words: str
    ms: float
    note: str = ""
    tone: str = ""
    values: dict[str, object] = field(default_factory=dict)


@frozen_dataclass
class Inside:
    conversation_id: int | None = None
    status: str = ""
    question: str = ""
    steps: tuple[ShownStep, ...] = ()


_TURN_STEPS = {
    "remember": (mark("想起前面说过的话"), "messages"),
    "look": (mark("先看是不是命令、客套或要人工"), "bolt"),
    "search": (mark("查知识"), "search"),
    "decide": (mark("定下怎么办"), "sparkle"),
    "compose": (mark("写出回答，核对出处"), "edit"),
}
_DECISIONS = {
    "Answer": mark("有把握，直接回答"),
    "Suggest": mark("不太确定，列出最像的几条"),
    "HandOff": mark("转人工"),
    "SmallTalk": mark("客套话，礼貌回应"),
    "AskForText": mark("看不懂这类消息，请对方打字"),
    "AskAgain": mark("没有帮上，请对方换个说法"),
    "NoReply": mark("不用说话"),
}
_EVENTS = {
    "conversation_handed_off": (mark("转给人工"), "users", ""),
    "reply_queued": (mark("存下要发的话"), "db", ""),
    "message_sent": (mark("平台收下，送到手机"), "send", "ok"),
    "message_failed": (mark("没有发出"), "alert", "bad"),
    "conversation_opened": (mark("等同事处理"), "inbox", ""),
    "conversation_assigned": (mark("有同事接手"), "user", ""),
    "conversation_resolved": (mark("会话解决"), "check", "ok"),
    "conversation_reopened": (mark("会话重新打开"), "refresh", ""),
}


@frozen_dataclass
class _PhoneLine:
    """A stored message, as the phone shows it."""

    external_id: str
    direction: str
    author: str
    agent_name: str
    kind: str
    text: str
    content: dict[str, Any]
    sent_at: datetime
    agent_id: int | None


@frozen_dataclass
class _Last:
    """The contact's last message, whose way is told."""

    id: int
    external_id: str
    text: str
    sent_at: datetime
    created_at: datetime


@frozen_dataclass
class _PhoneTurn:
    steps: list[dict[str, Any]]
    started_at: datetime
    decision: str
    confidence: float | None
    citations: list[dict[str, Any]] | None
    reason: str


@frozen_dataclass
class _LoggedFact:
    kind: str
    at: datetime
    reason: str
    agent_name: str | None


class PhoneDemo:
    """The demo's phone. `workspace_id` is the demo's; `tries` are sentences to tap."""

    def __init__(
        self,
        simulator: WeComSimulator,
        database: Database,
        pubsub: PubSub,
        *,
        workspace_id: int,
        tries: Sequence[str] = TRIES,
        open_kfid: str = OPEN_KFID,
    ) -> None:
        self.simulator = simulator
        self.database = database
        self.workspace_id = workspace_id
        self.tries = tuple(tries)
        self.open_kfid = open_kfid
        self._change = asyncio.Event()
        self._closed = False
        pubsub.subscribe(CONVERSATION_CHANGED, self._changed)
        for persona in PERSONAS:
            simulator.kf.names.setdefault(persona.external_id, persona.name)

    def install(self, app: FastAPI) -> None:
        app.state.phone = self
        add_routes(app, router)
        app.state.broker.closers.append(self.close)

    def close(self) -> None:
        """Let every waiting request go, so that the server can stop."""
        self._closed = True
        self._wake()

    def _changed(self, workspace_id: int, _conversation_id: int) -> None:
        if workspace_id == self.workspace_id:
            self._wake()

    def _wake(self) -> None:
        change, self._change = self._change, asyncio.Event()
        change.set()

    def persona(self, external_id: str) -> Persona:
        for persona in PERSONAS:
            if persona.external_id == external_id:
                return persona
        raise NotFound("There is nobody of this name to play.")

    def next_change(self) -> asyncio.Event:
        """Is set at the next change. Take it before looking, so that none falls between looking and waiting."""
        return self._change

    async def wait(self, change: asyncio.Event) -> None:
        """Return after that change, after a while, or at once when the server stops."""
        if self._closed:
            return
        try:
            await asyncio.wait_for(change.wait(), LONG_POLL_SECONDS)
        except TimeoutError:
            return
        await asyncio.sleep(SETTLE_SECONDS)

    # ------------------------------------------------------------------------------------------- the phone

    async def chat(self, persona: Persona) -> list[Chat]:
        """What the phone shows: what was said before this start, then what the platform holds."""
        async with self.database.transaction(self.workspace_id) as tx:
            rows = await tx.objects(
                _PhoneLine,
                "select m.external_id, m.direction, m.author, coalesce(a.name, '') as agent_name, m.kind, m.text, "
                "m.content, m.sent_at, m.agent_id "
                "from message m join conversation c on c.id = m.conversation_id left join agent a on a.id = m.agent_id "
                "where c.external_id = %(who)s and m.direction in ('in', 'out') and m.state in ('handled', 'sent', "
                "'pending') order by m.id desc limit %(limit)s",
                who=persona.external_id,
                limit=SHOWN,
            )
        rows.reverse()
        known = {row.external_id: (row.author, row.agent_name, str(row.agent_id or 0)) for row in rows}
        live = self._live(persona, known)
        seen = {one.id for one in live}
        before = [
            Chat(
                row.external_id,
                row.direction == "in",
                row.sent_at,
                row.text,
                row.kind,
                _taps(row.content),
                row.content.get("footer", ""),
                row.author,
                row.agent_name,
                str(row.agent_id or 0),
            )
            for row in rows
            if row.external_id not in seen
        ]
        return sorted([*before, *live], key=lambda one: one.at)[-SHOWN:]

    def _live(self, persona: Persona, known: dict[str, tuple[str, str, str]]) -> list[Chat]:
        account = self.simulator.kf.accounts[self.open_kfid]
        out = []
        for entry, at in zip(account.log, account.times, strict=True):
            if entry.get("external_userid") == persona.external_id and entry.get("origin") == 3:
                inner = entry.get(entry["msgtype"]) or {}
                out.append(Chat(entry["msgid"], True, _moment(at), str(inner.get("content", "")), entry["msgtype"]))
        for sent in self.simulator.sent(persona.external_id):
            menu = sent.body.get("msgmenu") or {}
            taps = tuple(
                Tap(str(item["click"].get("id", "")), str(item["click"].get("content", "")))
                for item in menu.get("list", ())
                if "click" in item
            )
            by, who, who_key = known.get(sent.msgid, ("assistant", "", "0"))
            footer = str(menu.get("tail_content", ""))
            kind, text = sent.msgtype if sent.msgtype in FILE_KINDS else "text", sent.text
            if kind == Kind.FILE:
                text, _content = self.simulator.media.named(sent.body["file"]["media_id"])
            out.append(Chat(sent.msgid, False, _moment(sent.at), text, kind, taps, footer, by, who, who_key))
        return out

    # ------------------------------------------------------------------------------------------- the inside

    async def inside(self, persona: Persona) -> Inside:
        """Every step that the contact's last message took, with its time."""
        async with self.database.transaction(self.workspace_id) as tx:
            found = await tx.row(
                "select id, status, assignee_id from conversation where external_id = %(who)s order by id desc limit 1",
                who=persona.external_id,
            )
            if found is None:
                return Inside()
            conversation_id, status, assignee_id = found
            last = await tx.object(
                _Last,
                "select id, external_id, text, sent_at, created_at from message "
                "where conversation_id = %(id)s and direction = 'in' and author = 'contact' order by id desc limit 1",
                id=conversation_id,
            )
            if last is None:
                return Inside(conversation_id, status)
            pressed = self._pressed(last.external_id) or last.sent_at
            steps = [ShownStep("message", mark("对方按下发送"), 0.0, note=last.text)]
            steps += await self._stored(tx, pressed, last.created_at)
            turn = await _decided(tx, conversation_id, last.id, pressed)
            if not turn and status in ("open", "snoozed"):
                taken = mark("同事在接待，助手不插话") if assignee_id else mark("等同事接手，助手不插话")
                turn = [ShownStep("users", taken, _ms(last.created_at, pressed))]
            steps += turn
            steps += await _happened(tx, conversation_id, last.id, pressed)
        first, *rest = steps
        return Inside(conversation_id, status, last.text, (first, *sorted(rest, key=lambda step: step.ms)))

    def _pressed(self, msgid: str) -> datetime | None:
        account = self.simulator.kf.accounts[self.open_kfid]
        for entry, at in zip(reversed(account.log), reversed(account.times), strict=True):
            if entry["msgid"] == msgid:
                return _moment(at)
        return None

    async def _stored(self, tx: Transaction, pressed: datetime, stored: datetime) -> list[ShownStep]:
        received_at = await tx.value(
            "select received_at from delivery where received_at >= %(pressed)s - interval '1 second' "
            "and received_at <= %(stored)s order by id desc limit 1",
            pressed=pressed,
            stored=stored,
        )
        steps = []
        if received_at is not None:
            steps.append(ShownStep("lock", mark("回调验明来源，解密，存下原文"), _ms(received_at, pressed)))
        steps.append(ShownStep("download", mark("取回消息，写进会话"), _ms(stored, pressed)))
        return steps


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _ms(at: datetime, start: datetime) -> float:
    return max(0.0, (at - start).total_seconds() * 1000)


def _taps(content: dict[str, Any]) -> tuple[Tap, ...]:
    return tuple(Tap(str(choice.get("id")), str(choice.get("label"))) for choice in content.get("choices") or ())


async def _decided(tx: Transaction, conversation_id: int, message_id: int, pressed: datetime) -> list[ShownStep]:
    """The assistant's own steps, one after another from the moment its turn began."""
    turn = await tx.object(
        _PhoneTurn,
        "select t.steps, t.started_at, t.decision, t.confidence, t.citations, t.reason "
        "from turn t join message m on m.turn_id = t.id where m.id = %(id)s and t.conversation_id = %(conversation)s",
        id=message_id,
        conversation=conversation_id,
    )
    if turn is None:
        return []
    at = _ms(turn.started_at, pressed)
    steps = [ShownStep("sparkle", mark("助手开始想"), at, tone="a")]
    for step in turn.steps:
        at += float(step.get("ms", 0))
        words, icon = _TURN_STEPS.get(str(step.get("name")), ("", ""))
        note, values = "", dict[str, object]()
        if step.get("name") == "search" and turn.confidence is not None:
            words, note = mark("查知识，把握{n}%"), ""
            values["n"] = percent(turn.confidence)
        if step.get("name") == "decide":
            words, note = _DECISIONS.get(turn.decision, words), REASON_LABELS.get(turn.reason, "")
        if step.get("name") == "compose":
            words = words if turn.decision == "Answer" else mark("备好要说的话")
            note = "、".join(f"「{source.title}」" for source in views.sources_of(turn.citations))
        if words:
            steps.append(ShownStep(icon, words, at, note=note, tone="a", values=values))
    return steps


async def _happened(tx: Transaction, conversation_id: int, message_id: int, pressed: datetime) -> list[ShownStep]:
    facts = await tx.objects(
        _LoggedFact,
        "select e.kind, e.at, coalesce(e.data ->> 'reason', '') as reason, a.name as agent_name from event e "
        "left join agent a on e.actor_kind = 'agent' and a.id = e.actor_id "
        "where e.conversation_id = %(id)s and e.kind = any(%(kinds)s) and e.id > coalesce(("
        "select max(id) from event where conversation_id = %(id)s and kind = 'message_received' and message_id = "
        "%(message)s), 0) order by e.id limit 40",
        id=conversation_id,
        message=message_id,
        kinds=list(_EVENTS),
    )
    steps = []
    for fact in facts:
        words, icon, tone = _EVENTS[fact.kind]
        why = REASON_LABELS.get(fact.reason, "") or FAILURE_LABELS.get(fact.reason, "")
        steps.append(ShownStep(icon, words, _ms(fact.at, pressed), note=fact.agent_name or why, tone=tone))
    return steps


def fingerprint(chat: Sequence[Chat], inside: Inside) -> str:
    """Changes when the page would look different."""
    seen = repr([(one.id, one.who) for one in chat]) + repr((inside.status, inside.steps))
    return hashlib.blake2b(seen.encode(), digest_size=8).hexdigest()


# ---------------------------------------------------------------------------------------------------- endpoints


def _demo(request: Request) -> PhoneDemo:
    demo: PhoneDemo = request.app.state.phone
    return demo


async def _answer(request: Request, template: str, persona: Persona, **values: Any) -> Response:
    demo = _demo(request)
    chat, inside = await demo.chat(persona), await demo.inside(persona)
    return auth_of(request).renderer.answer(
        template,
        viewer_of(request),
        persona=persona,
        personas=PERSONAS,
        chat=chat,
        inside=inside,
        tries=demo.tries,
        account=demo.simulator.kf.accounts[demo.open_kfid].name,
        seen=fingerprint(chat, inside),
        **WORDS,
        **values,
    )


@router.get("/demo/phone")
async def phone(request: Request, who: Annotated[str, Query()] = PERSONAS[0].external_id) -> Response:
    return await _answer(request, "phone.html", _demo(request).persona(who))


@router.get("/demo/phone/live")
async def live(request: Request, who: str, seen: str = "") -> Response:
    """Waits until the phone or the inside would look different; 204 when nothing happened for a while."""
    demo = _demo(request)
    persona = demo.persona(who)
    change = demo.next_change()
    if fingerprint(await demo.chat(persona), await demo.inside(persona)) == seen:
        await demo.wait(change)
        if fingerprint(await demo.chat(persona), await demo.inside(persona)) == seen:
            return Response(status_code=204)
    return await _answer(request, "phone_live.html", persona)


@router.post("/demo/phone/say")
async def say(
    request: Request,
    who: Annotated[str, Form()],
    text: Annotated[str, Form(max_length=2000)] = "",
    tap: Annotated[str, Form(max_length=128)] = "",
) -> Response:
    """The contact presses send, or taps an entry of a menu."""
    demo = _demo(request)
    persona = demo.persona(who)
    if tap:
        demo.simulator.contact_taps(persona.external_id, tap, text, open_kfid=demo.open_kfid)
    elif text.strip():
        demo.simulator.contact_says(persona.external_id, text.strip(), open_kfid=demo.open_kfid)
    demo._wake()  # noqa: SLF001 - this endpoint is part of the demo
    return await _answer(request, "phone_live.html", persona)


@router.get("/demo/desk", dependencies=[Depends(own_visit)])
async def desk(request: Request) -> Response:
    """Sign the visitor in as the demo's agent; the demo listens on loopback only."""
    demo = _demo(request)
    auth = auth_of(request)
    async with demo.database.page_transaction(demo.workspace_id) as tx:
        agent_id = await tx.value(
            "select id from agent where disabled_at is null order by role = 'owner' desc, id limit 1"
        )
        if agent_id is None:
            raise NotFound("The demo has no agent yet.")
        token = await open_session(tx, agent_id=agent_id, now=auth.clock.now(), hint="demo")
    return set_session_cookie(request, token, request.query_params.get("next", "/"))
