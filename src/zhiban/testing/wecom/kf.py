"""The customer-service half of the platform: accounts, sessions, the message log with its cursors, and sending."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from zhiban.testing.wecom.wire import Call, Complaint, Handler, Json, SimClock, need, ok

RETENTION = 3 * 86400
WINDOW = 48 * 3600
ALLOWANCE = 5
TOKEN_LIFE = 600
TEXT_BYTES = 2048
NEW, ASSISTANT, POOL, HUMAN, ENDED = range(5)
_MOVES = {NEW: {1, 2, 3, 4}, ASSISTANT: {2, 3, 4}, POOL: {3, 4}, HUMAN: {3, 4}, ENDED: set[int]()}
_KEY = re.compile(r"[0-9a-zA-Z_-]{1,32}")
_CURSOR = re.compile(r"c-(\d{1,12})")


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
    last_message_at: float = 0.0
    used: int = 0
    welcomed_at: float = 0.0


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

    def __init__(self, clock: SimClock, ring: Callable[[str, str], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._counter = 0
        self.accounts: dict[str, SimulatedAccount] = {}
        self.names: dict[str, str] = {}
        self.codes: dict[str, Code] = {}
        self.sent: list[KfEntry] = []
        self.sent_to: dict[str, list[KfEntry]] = {}
        self.failing: dict[str, int] = {}  # contact -> fail_type of everything sent there
        self.tokenless_per_minute: int | None = None
        self.duplicate_errcode = 95099  # the platform does not publish its own
        self.page_size = 1000
        self._tokens_from = 0.0
        self._tokenless: list[float] = []
        self.heard: Callable[[KfEntry], None] = lambda _sent: None

    # ------------------------------------------------------------------------------------------ what happens

    def account(self, open_kfid: str) -> SimulatedAccount:
        try:
            return self.accounts[open_kfid]
        except KeyError:
            raise Complaint(95004, "open_kfid not exist") from None

    def session(self, open_kfid: str, contact: str) -> Session:
        return self.account(open_kfid).sessions.setdefault(contact, Session())

    def count_from(self, number: int) -> None:
        """Give out ids after this number: a platform that starts anew must not repeat what it gave out before."""
        self._counter = max(self._counter, number)

    def next_id(self, kind: str = "m") -> str:
        self._counter += 1
        return f"{kind}{self._counter:012x}"

    def append(self, open_kfid: str, entry: Json, *, ring: bool = True) -> str:
        """Put an entry into the account's log and ring. Returns its msgid."""
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
        session = account.sessions.setdefault(contact, Session())
        session.last_message_at = self._clock.now()
        session.used = 0
        if session.state == ENDED:
            session.state, session.servicer = NEW, ""
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

    def handlers(self) -> dict[str, Handler]:
        return {
            "kf/sync_msg": self._sync,
            "kf/send_msg": self._send,
            "kf/send_msg_on_event": self._send_on_event,
            "kf/service_state/get": self._state,
            "kf/service_state/trans": self._trans,
            "kf/account/list": self._accounts,
            "kf/servicer/list": self._servicers,
            "kf/servicer/add": self._add_servicers,
            "kf/servicer/del": self._remove_servicers,
            "kf/customer/batchget": self._customers,
            "kf/add_contact_way": self._link,
        }

    def _sync(self, call: Call) -> Json:
        account = self.account(need(call.body, "open_kfid"))
        self._check_token(call.body.get("token"))
        limit = call.body.get("limit", 1000)
        if not isinstance(limit, int) or not 1 <= limit <= 1000:
            raise Complaint(40058, "invalid Request Parameter, limit")
        start = self._start(account, call.body.get("cursor"))
        end = min(start + min(limit, self.page_size), len(account.log))
        return ok(next_cursor=f"c-{end}", has_more=int(end < len(account.log)), msg_list=account.log[start:end])

    def _start(self, account: SimulatedAccount, cursor: object) -> int:
        oldest = self._clock.now() - RETENTION
        while account.oldest < len(account.times) and account.times[account.oldest] < oldest:
            account.oldest += 1
        if not cursor:
            return account.oldest
        found = _CURSOR.fullmatch(str(cursor))
        if found is None or int(found[1]) > len(account.log):
            raise Complaint(40058, "invalid Request Parameter, cursor")
        return max(int(found[1]), account.oldest)

    def _check_token(self, token: object) -> None:
        now = self._clock.now()
        if not token:
            if self.tokenless_per_minute is None:
                return
            self._tokenless = [at for at in self._tokenless if at > now - 60]
            if len(self._tokenless) >= self.tokenless_per_minute:
                raise Complaint(45009, "api freq out of limit")
            self._tokenless.append(now)
            return
        try:
            issued = int(str(token).removeprefix("ENC").partition("-")[0], 16) / 1000
        except ValueError:
            raise Complaint(95007, "invalid msg token") from None
        if issued < now - TOKEN_LIFE or issued < self._tokens_from:
            raise Complaint(95007, "invalid msg token")

    def _send(self, call: Call) -> Json:
        body = call.body
        account, contact = self.account(need(body, "open_kfid")), need(body, "touser")
        msgid = self._key(account, body)
        session = account.sessions.get(contact)
        if session is None:
            raise Complaint(95018, "send msg session status invalid")
        now = self._clock.now()
        if session.state not in (NEW, ASSISTANT):
            raise Complaint(95018, "send msg session status invalid")
        if now - session.last_message_at > WINDOW:
            raise Complaint(95002, "send msg time limit")
        if session.used >= ALLOWANCE:
            raise Complaint(95001, "send msg count limit")
        message = _message(body)
        session.used += 1
        account.keys.add(msgid)
        self._deliver(account.open_kfid, contact, msgid, message, "message")
        return ok(msgid=msgid)

    def _send_on_event(self, call: Call) -> Json:
        body = call.body
        code = self.codes.get(need(body, "code"))
        now = self._clock.now()
        if code is None or code.used or code.until < now:
            raise Complaint(40058, "invalid Request Parameter, invalid code or code expired")
        account = self.account(code.open_kfid)
        msgid = self._key(account, body)
        if code.state is not None and account.sessions[code.contact].state != code.state:
            raise Complaint(95018, "send msg session status invalid")
        if body.get("msgtype") not in (("text", "msgmenu") if code.menus else ("text",)):
            raise Complaint(40058, "invalid Request Parameter, msgtype")
        message = _message(body)
        code.used = True
        account.keys.add(msgid)
        account.sessions.setdefault(code.contact, Session()).welcomed_at = now
        self._deliver(code.open_kfid, code.contact, msgid, message, "event")
        return ok(msgid=msgid)

    def _key(self, account: SimulatedAccount, body: Json) -> str:
        if "msgid" not in body:
            return self.next_id("sys")
        msgid = body["msgid"]
        if not isinstance(msgid, str) or not _KEY.fullmatch(msgid):
            raise Complaint(40058, "invalid Request Parameter, msgid")
        if msgid in account.keys:
            raise Complaint(self.duplicate_errcode, "duplicate msgid")
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
        session = self.session(need(call.body, "open_kfid"), need(call.body, "external_userid"))
        return ok(service_state=session.state, servicer_userid=session.servicer)

    def _trans(self, call: Call) -> Json:
        account, contact = self.account(need(call.body, "open_kfid")), need(call.body, "external_userid")
        to = call.body.get("service_state")
        session = account.sessions.setdefault(contact, Session())
        if not isinstance(to, int) or not 0 <= to <= 4:
            raise Complaint(40058, "invalid Request Parameter, service_state")
        if session.state == ENDED:
            raise Complaint(95013, "session is end")
        if to not in _MOVES[session.state]:
            raise Complaint(95016, "service state trans not allowed")
        servicer = ""
        if to == HUMAN:
            servicer = need(call.body, "servicer_userid")
            if servicer not in account.servicers:
                raise Complaint(95014, "user is not servicer")
            if account.servicers[servicer]:
                raise Complaint(95019, "servicer status stop")
        first = to != session.state
        session.state, session.servicer = to, servicer
        if not first or to == ASSISTANT:
            return ok()
        life = 20.0 if to == ENDED else float(WINDOW)
        return ok(msg_code=self.code(account.open_kfid, contact, life=life, state=to, menus=to == ENDED))

    def _accounts(self, call: Call) -> Json:
        offset, limit = call.body.get("offset", 0), call.body.get("limit", 100)
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
        account = self.account(call.query.get("open_kfid", ""))
        return ok(servicer_list=[{"userid": user, "status": status} for user, status in account.servicers.items()])

    def _add_servicers(self, call: Call) -> Json:
        account = self.account(need(call.body, "open_kfid"))
        users = call.body.get("userid_list", [])
        for user in users:
            account.servicers.setdefault(user, 0)
        return ok(result_list=[{"userid": user, "errcode": 0, "errmsg": "success"} for user in users])

    def _remove_servicers(self, call: Call) -> Json:
        account = self.account(need(call.body, "open_kfid"))
        users = call.body.get("userid_list", [])
        for user in users:
            account.servicers.pop(user, None)
        return ok(result_list=[{"userid": user, "errcode": 0, "errmsg": "success"} for user in users])

    def _customers(self, call: Call) -> Json:
        wanted = call.body.get("external_userid_list")
        if not isinstance(wanted, list) or not 1 <= len(wanted) <= 100:
            raise Complaint(40058, "invalid Request Parameter, external_userid_list")
        recent = self._clock.now() - WINDOW
        known = [
            contact
            for contact in wanted
            if any(
                (session := account.sessions.get(contact)) and session.last_message_at > recent
                for account in self.accounts.values()
            )
        ]
        return ok(
            customer_list=[
                {
                    "external_userid": contact,
                    "nickname": self.names.get(contact, f"客户{contact[-4:]}"),
                    "avatar": f"http://wx.qlogo.cn/mmhead/{contact}/0",
                    "gender": 0,
                }
                for contact in known
            ],
            invalid_external_userid=[contact for contact in wanted if contact not in known],
        )

    def _link(self, call: Call) -> Json:
        account = self.account(need(call.body, "open_kfid"))
        scene = call.body.get("scene", "")
        if not isinstance(scene, str) or not re.fullmatch(r"[0-9a-zA-Z_-]{0,32}", scene):
            raise Complaint(40058, "invalid Request Parameter, scene")
        return ok(url=f"https://work.weixin.qq.com/kf/kfc{account.open_kfid[-12:]}?enc_scene=ENC{scene}")


def _message(body: Json) -> Json:
    """The message as the contact's client shows it: too long texts are cut without a word."""
    msgtype = body.get("msgtype")
    inner = body.get(msgtype) if isinstance(msgtype, str) else None
    if not isinstance(msgtype, str) or not isinstance(inner, dict):
        raise Complaint(40058, "invalid Request Parameter, msgtype")
    if msgtype == "text":
        content = inner.get("content")
        if not isinstance(content, str) or not content:
            raise Complaint(40063, "some parameters are empty, text.content")
        inner = {"content": content.encode()[:TEXT_BYTES].decode("utf-8", "ignore")}
    elif msgtype == "msgmenu":
        _check_menu(inner)
    return {"msgtype": msgtype, msgtype: inner}


def _check_menu(menu: Json) -> None:
    entries = menu.get("list", [])
    if len(entries) > 50 or sum(entry.get("type") != "text" for entry in entries) > 10:
        raise Complaint(95008, "msg menu item count limit")
    for entry in entries:
        if entry.get("type") not in ("click", "view", "miniprogram", "text"):
            raise Complaint(95009, "invalid msg menu item type")
        if entry["type"] == "click" and not 1 <= len(str(entry["click"].get("content", "")).encode()) <= 128:
            raise Complaint(40058, "invalid Request Parameter, click.content")
