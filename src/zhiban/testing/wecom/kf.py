"""The customer-service half of the platform: accounts, sessions, the message log with its cursors, and sending."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from zhiban.testing.wecom.media import MediaStore
from zhiban.testing.wecom.outgoing import as_shown
from zhiban.testing.wecom.wire import Call, CallHandler, Complaint, Json, Quota, SimClock, Staff, bad, need, ok

RETENTION = 3 * 86400
WINDOW = 48 * 3600
ALLOWANCE = 5
TOKEN_LIFE = 600
NEW, ASSISTANT, POOL, HUMAN, ENDED = range(5)
# What is documented. From 0, 1 and 2 some platforms also let a session be ended; see `CustomerService.moves`.
_MOVES = {NEW: {ASSISTANT, POOL, HUMAN}, ASSISTANT: {POOL, HUMAN}, POOL: {HUMAN}, HUMAN: {HUMAN, ENDED}}
_KEY = re.compile(r"[0-9a-zA-Z_-]{1,32}")
_CURSOR = re.compile(r"c-(\d{1,12})")
_SCENE = re.compile(r"[0-9a-zA-Z_-]{0,32}")


@dataclass(slots=True)
class KfEntry:
    """A message that the product sent to a contact, as it arrived there."""

    order: int
    at: float
    open_kfid: str
    contact: str
    msgid: str
    msgtype: str
    body: Json
    via: str  # "message" or "event"

    @property
    def text(self) -> str:
        """Text of texts, or the line above a menu."""
        inner = self.body.get(self.msgtype) or {}
        return str(inner.get("content", inner.get("head_content", "")))


@dataclass(slots=True)
class Session:
    state: int = ENDED
    servicer: str = ""
    started_at: float = 0.0
    last_message_at: float = 0.0
    used: int = 0
    welcomed_at: float = 0.0
    entered: Json = field(default_factory=dict)  # where they came from, as batchget tells it

    def begin(self, now: float) -> None:
        self.state, self.servicer, self.started_at = NEW, "", now


@dataclass(slots=True)
class SimulatedAccount:
    open_kfid: str
    name: str
    manage_privilege: bool = True
    native_servicer: str = ""  # set: native reception takes every session at once, as a misconfigured account does
    servicers: dict[str, int] = field(default_factory=dict)  # userid -> 0 receiving, 1 stopped
    log: list[Json] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    oldest: int = 0
    served: int = 0  # how many entries of the log anybody has read
    sessions: dict[str, Session] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Code:
    open_kfid: str
    contact: str
    until: float
    state: int | None
    menus: bool
    used: bool = False


class CustomerService:
    """State and endpoints of 微信客服."""

    def __init__(self, clock: SimClock, staff: Staff, media: MediaStore, ring: Callable[[str, str], None]) -> None:
        self._clock = clock
        self._staff = staff
        self._media = media
        self._ring = ring
        self._counter = 0
        self.accounts: dict[str, SimulatedAccount] = {}
        self.names: dict[str, str] = {}
        self.codes: dict[str, Code] = {}
        self.sent: list[KfEntry] = []
        self.sent_to: dict[str, list[KfEntry]] = {}
        self.failing: dict[str, int] = {}  # contact -> fail_type of everything sent there
        self.moves = {state: set(targets) for state, targets in _MOVES.items()}
        self.tokenless = Quota(clock, per_minute=1)  # for each account; the platform only says "strict"
        self.duplicate = (95099, "request refused")  # neither its code nor its words are published
        self.late_errcode = 95018  # after 48 hours; 95002 is possible as well
        self.reception_quota: int | None = None  # how many sessions people of an unverified corp may take
        self.tells_unionid = True  # a WeChat account of the same owner is bound to the corp
        self.page_size = 1000
        self.shuffles_pages = True  # whether what stands at a page's border may change places
        self._tokens_from = 0.0
        self.heard: Callable[[KfEntry], None] = lambda _sent: None

    # ------------------------------------------------------------------------------------------ what happens

    def account(self, open_kfid: str) -> SimulatedAccount:
        try:
            return self.accounts[open_kfid]
        except KeyError:
            raise Complaint(95004, "open_kfid not exist") from None

    def session(self, open_kfid: str, contact: str) -> Session:
        """The contact's session; one that began more than 48 hours ago is over."""
        session = self.account(open_kfid).sessions.setdefault(contact, Session())
        if session.state != ENDED and self._clock.now() - session.started_at > WINDOW:
            session.state, session.servicer = ENDED, ""
        return session

    def count_from(self, number: int) -> None:
        """Give out ids after this number: a platform that starts anew must not repeat what it gave out before."""
        self._counter = max(self._counter, number)

    def next_id(self, kind: str = "m") -> str:
        self._counter += 1
        return f"{kind}{self._counter:012x}"

    def append(self, open_kfid: str, entry: Json, *, ring: bool = True) -> str:
        """Put an entry into the account's log and call back. Returns its msgid."""
        account = self.account(open_kfid)
        now = self._clock.now()
        entry.setdefault("msgid", self.next_id())
        entry.setdefault("send_time", int(now))
        account.log.append(entry)
        account.times.append(now)
        if ring:
            self._ring(open_kfid, self.fresh_token())
        return str(entry["msgid"])

    def contact_writes(self, open_kfid: str, contact: str, entry: Json, *, ring: bool = True) -> str:
        """A message of the contact: opens the session and the allowance."""
        account = self.account(open_kfid)
        session = self.session(open_kfid, contact)
        session.last_message_at = self._clock.now()
        session.used = 0
        if session.state == ENDED:
            session.begin(self._clock.now())
        if account.native_servicer and session.state == NEW:
            session.state, session.servicer = HUMAN, account.native_servicer
        return self.append(
            open_kfid, {"open_kfid": open_kfid, "external_userid": contact, "origin": 3, **entry}, ring=ring
        )

    def event(self, open_kfid: str, contact: str, event_type: str, **fields: Any) -> str:
        """An event about a contact."""
        event = {"event_type": event_type, "open_kfid": open_kfid, "external_userid": contact, **fields}
        return self.append(open_kfid, {"origin": 4, "msgtype": "event", "event": event})

    def code(self, open_kfid: str, contact: str, *, life: float, state: int | None, menus: bool) -> str:
        code = self.next_id("code")
        self.codes[code] = Code(open_kfid, contact, self._clock.now() + life, state, menus)
        return code

    def fresh_token(self) -> str:
        self._counter += 1
        return f"ENC{int(self._clock.now() * 1000):x}-{self._counter:x}"

    def expire_tokens(self) -> None:
        """Every doorbell token given out so far is refused from now on."""
        self._tokens_from = self._clock.now()

    # ---------------------------------------------------------------------------------------------- endpoints

    def handlers(self) -> dict[str, CallHandler]:
        return {
            "kf/sync_msg": self._sync,
            "kf/send_msg": self._send,
            "kf/send_msg_on_event": self._send_on_event,
            "kf/service_state/get": self._state,
            "kf/service_state/trans": self._trans,
            "kf/account/list": self._accounts,
            "kf/servicer/list": self._servicers,
            "kf/servicer/add": lambda call: self._change_servicers(call, add=True),
            "kf/servicer/del": lambda call: self._change_servicers(call, add=False),
            "kf/customer/batchget": self._customers,
            "kf/add_contact_way": self._link,
        }

    def _managed(self, body_or_query: Any) -> SimulatedAccount:
        """The account of a call, if this app may work with it. Raises Complaint."""
        account = self.account(need(body_or_query, "open_kfid"))
        if not account.manage_privilege:
            raise Complaint(95017, "api switch is off")
        if not all(self._staff.sees(servicer) for servicer in account.servicers):
            raise Complaint(60030, "servicer out of app visible range")
        return account

    def _sync(self, call: Call) -> Json:
        account = self._managed(call.body)
        self._check_token(account, call.body.get("token"))
        limit = call.body.get("limit", 1000)
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 1000:
            raise bad("limit")
        if call.body.get("voice_format", 0) not in (0, 1):
            raise bad("voice_format")
        start = self._start(account, call.body.get("cursor"))
        end = min(start + min(limit, self.page_size), len(account.log))
        if self.shuffles_pages and account.served < end < len(account.log):
            # Within a page the oldest comes first; across pages nothing is promised.
            account.log[end - 1 : end + 1] = reversed(account.log[end - 1 : end + 1])
            account.times[end - 1 : end + 1] = reversed(account.times[end - 1 : end + 1])
        account.served = max(account.served, end)
        return ok(next_cursor=f"c-{end}", has_more=int(end < len(account.log)), msg_list=account.log[start:end])

    def _start(self, account: SimulatedAccount, cursor: object) -> int:
        oldest = self._clock.now() - RETENTION
        while account.oldest < len(account.times) and account.times[account.oldest] < oldest:
            account.oldest += 1
        if not cursor:
            return account.oldest
        found = _CURSOR.fullmatch(str(cursor))
        if found is None or int(found[1]) > len(account.log):
            raise bad("cursor")
        return max(int(found[1]), account.oldest)

    def _check_token(self, account: SimulatedAccount, token: object) -> None:
        if not token:
            self.tokenless.spend(account.open_kfid)
            return
        try:
            issued = int(str(token).removeprefix("ENC").partition("-")[0], 16) / 1000
        except ValueError:
            raise Complaint(95007, "invalid msg token") from None
        if issued < self._clock.now() - TOKEN_LIFE or issued < self._tokens_from:
            raise Complaint(95007, "invalid msg token")

    def _send(self, call: Call) -> Json:
        body = call.body
        account, contact = self._managed(body), need(body, "touser")
        msgid = self._key(account, body)
        if not any(contact in known.sessions for known in self.accounts.values()):
            raise Complaint(40096, "invalid external userid")
        session = self.session(account.open_kfid, contact)
        now = self._clock.now()
        if now - session.last_message_at > WINDOW:
            raise Complaint(self.late_errcode, "send msg time limit")
        if session.state not in (NEW, ASSISTANT):
            raise Complaint(95018, "send msg session status invalid")
        if session.used >= ALLOWANCE:
            raise Complaint(95001, "send msg count limit")
        message = as_shown(body, self._media)
        session.used += 1
        account.keys.add(msgid)
        self._deliver(account.open_kfid, contact, msgid, message, "message")
        return ok(msgid=msgid)

    def _send_on_event(self, call: Call) -> Json:
        body = call.body
        code = self.codes.get(need(body, "code"))
        now = self._clock.now()
        if code is None or code.used or code.until < now:
            raise bad("invalid code or code expired")
        account = self._managed({"open_kfid": code.open_kfid})
        msgid = self._key(account, body)
        session = self.session(code.open_kfid, code.contact)
        if code.state is not None and session.state != code.state:
            raise Complaint(95018, "send msg session status invalid")
        if body.get("msgtype") not in (("text", "msgmenu") if code.menus else ("text",)):
            raise bad("msgtype")
        message = as_shown(body, self._media, on_event=True)
        code.used = True
        account.keys.add(msgid)
        if code.state is None:
            session.welcomed_at = now
        self._deliver(code.open_kfid, code.contact, msgid, message, "event")
        return ok(msgid=msgid)

    def _key(self, account: SimulatedAccount, body: Json) -> str:
        if "msgid" not in body:
            return self.next_id("sys")
        msgid = body["msgid"]
        if not isinstance(msgid, str) or not _KEY.fullmatch(msgid):
            raise bad("msgid")
        if msgid in account.keys:
            raise Complaint(*self.duplicate)
        return msgid

    def _deliver(self, open_kfid: str, contact: str, msgid: str, message: Json, via: str) -> None:
        sent = KfEntry(
            len(self.sent), self._clock.now(), open_kfid, contact, msgid, str(message["msgtype"]), message, via
        )
        self.sent.append(sent)
        self.sent_to.setdefault(contact, []).append(sent)
        if contact in self.failing:
            self.event(open_kfid, contact, "msg_send_fail", fail_msgid=msgid, fail_type=self.failing[contact])
        self.heard(sent)

    def _state(self, call: Call) -> Json:
        account = self._managed(call.body)
        session = self.session(account.open_kfid, need(call.body, "external_userid"))
        servicer = {"servicer_userid": session.servicer} if session.state == HUMAN else {}
        return ok(service_state=session.state, **servicer)

    def _trans(self, call: Call) -> Json:
        account, contact = self._managed(call.body), need(call.body, "external_userid")
        to = call.body.get("service_state")
        session = self.session(account.open_kfid, contact)
        if isinstance(to, bool) or not isinstance(to, int) or not 0 <= to <= 4:
            raise bad("service_state")
        if session.state == ENDED:
            raise Complaint(95013, "session is end")
        if to not in self.moves[session.state]:
            raise Complaint(95016, "service state trans not allowed")
        servicer = self._servicer(account, call.body) if to == HUMAN else ""
        first = to != session.state
        session.state, session.servicer = to, servicer
        if not first or to == ASSISTANT:
            return ok()
        life = 20.0 if to == ENDED else float(WINDOW)
        return ok(msg_code=self.code(account.open_kfid, contact, life=life, state=to, menus=to == ENDED))

    def _servicer(self, account: SimulatedAccount, body: Json) -> str:
        """The servicer who is to take a session. Raises Complaint when they cannot."""
        servicer = need(body, "servicer_userid")
        if servicer not in account.servicers:
            raise Complaint(95014, "user is not servicer")
        if account.servicers[servicer]:
            raise Complaint(95019, "servicer status stop")
        taken = sum(session.state == HUMAN for one in self.accounts.values() for session in one.sessions.values())
        if self.reception_quota is not None and taken >= self.reception_quota:
            raise Complaint(95003, "reception quota used up")
        return servicer

    def _accounts(self, call: Call) -> Json:
        offset, limit = call.body.get("offset", 0), call.body.get("limit", 100)
        if not isinstance(offset, int) or offset < 0 or not isinstance(limit, int) or not 1 <= limit <= 100:
            raise bad("offset or limit")
        listed = [
            {
                "open_kfid": account.open_kfid,
                "name": account.name,
                "avatar": "https://wework.qpic.cn/wwpic/sim/0",
                "manage_privilege": account.manage_privilege,
            }
            for account in self.accounts.values()
        ]
        return ok(account_list=listed[offset : offset + limit])

    def _servicers(self, call: Call) -> Json:
        account = self._managed(call.query)
        return ok(
            servicer_list=[
                {"userid": user, "status": status, **({"stop_type": 0} if status else {})}
                for user, status in account.servicers.items()
            ]
        )

    def _change_servicers(self, call: Call, *, add: bool) -> Json:
        account = self._managed(call.body)
        users, departments = call.body.get("userid_list", []), call.body.get("department_id_list", [])
        if not users and not departments:
            raise bad("userid_list and department_id_list are both empty")
        if len(users) > 100 or len(departments) > (20 if add else 100):
            raise bad("userid_list or department_id_list too long")
        return ok(result_list=[self._change_servicer(account, user, add=add) for user in users])

    def _change_servicer(self, account: SimulatedAccount, user: str, *, add: bool) -> Json:
        try:
            self._staff.check(user)
        except Complaint as complaint:
            return {"userid": user, "errcode": complaint.code, "errmsg": complaint.message}
        ignored = (user in account.servicers) is add
        if add:
            account.servicers.setdefault(user, 0)
        else:
            account.servicers.pop(user, None)
        return {"userid": user, "errcode": 0, "errmsg": "ignored" if ignored else "success"}

    def _customers(self, call: Call) -> Json:
        wanted = call.body.get("external_userid_list")
        if not isinstance(wanted, list) or not 1 <= len(wanted) <= 100:
            raise bad("external_userid_list")
        context = call.body.get("need_enter_session_context", 0)
        if context not in (0, 1):
            raise bad("need_enter_session_context")
        known = {contact: entry for contact in wanted if (entry := self._customer(contact, bool(context)))}
        return ok(
            customer_list=list(known.values()),
            invalid_external_userid=[contact for contact in wanted if contact not in known],
        )

    def _customer(self, contact: str, context: bool) -> Json | None:
        """What is told about somebody who was active within 48 hours."""
        recent = self._clock.now() - WINDOW
        sessions = [found for account in self.accounts.values() if (found := account.sessions.get(contact))]
        if not any(session.last_message_at > recent for session in sessions):
            return None
        entered = next((session.entered for session in sessions if session.entered), None)
        return {
            "external_userid": contact,
            "nickname": self.names.get(contact, f"客户{contact[-4:]}"),
            "avatar": f"http://wx.qlogo.cn/mmhead/{contact}/0",
            "gender": 0,
            **({"unionid": f"ounion_{contact}"} if self.tells_unionid else {}),
            **({"enter_session_context": entered} if context and entered else {}),
        }

    def _link(self, call: Call) -> Json:
        account = self._managed(call.body)
        scene = call.body.get("scene", "")
        if not isinstance(scene, str) or not _SCENE.fullmatch(scene):
            raise bad("scene")
        return ok(url=f"https://work.weixin.qq.com/kf/kfc{account.open_kfid[-12:]}?enc_scene=ENC{scene}")
