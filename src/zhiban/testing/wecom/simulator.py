"""WeCom on the wire, for tests, demonstrations and benchmarks: endpoints, callbacks and controls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from zhiban.testing.wecom.bots import SimulatedBot
from zhiban.testing.wecom.callbacks import Callbacks, Target, document
from zhiban.testing.wecom.contacts import CustomerContact
from zhiban.testing.wecom.customer_groups import CustomerGroupChats
from zhiban.testing.wecom.kf import ASSISTANT, ENDED, HUMAN, NEW, WINDOW, CustomerService, KfEntry, SimulatedAccount
from zhiban.testing.wecom.media import LARGEST_FROM_CONTACT, MediaStore
from zhiban.testing.wecom.office import AccessTokens, Office
from zhiban.testing.wecom.robots import Robots
from zhiban.testing.wecom.wire import CallHandler, Fault, Faults, Journal, Json, Quota, SimClock, Staff

CORP_ID = "ww0a1b2c3d4e5f6789"
SECRET = "simulated-app-secret"  # noqa: S105 - opens nothing but the simulator
AGENT_ID = 1000002
OPEN_KFID = "wkSIM0000000001"
TOKEN = "QnA7hJ2vK9xT"  # noqa: S105 - as above
AES_KEY = "kWq3vN8sZ1xC5bM7tR2yL9pJ4hG6fD0aSeUiOwQzXcV"
STAFF = ("chen", "lihua", "omar", "wangwu", "zhaomin")
CALLS_PER_MINUTE = 10_000  # of one endpoint


class WeComSimulator:
    """One corp on the simulated platform. `asgi.application` serves it; these methods are the people using it.

    It is as strict as the platform is known to be, and takes the stricter reading where that is not known. What people
    cannot do there raises RuntimeError here.
    """

    def __init__(self, *, corp_id: str = CORP_ID, secret: str = SECRET, agent_id: int = AGENT_ID) -> None:
        self.corp_id = corp_id
        self.agent_id = agent_id
        self.clock = SimClock()
        self.callbacks = Callbacks(self.clock)
        self.faults = Faults()
        self.journal = Journal()
        self.quota = Quota(self.clock, per_minute=CALLS_PER_MINUTE)
        self.gate = AccessTokens(self.clock, corp_id, {secret: agent_id})
        self.staff = Staff(*STAFF)
        self.media = MediaStore(self.clock)
        self.kf = CustomerService(self.clock, self.staff, self.media, self._ring)
        self.office = Office(self.clock, self.staff, self.media)
        self.robots = Robots(self.clock, self.media)
        self.contacts = CustomerContact(self.clock, self.staff, self.media)
        self.customer_groups = CustomerGroupChats(self.clock, self.staff, self.contacts, self.app_event)
        self.bot = SimulatedBot(self.clock)
        self.trusted_domains: set[str] = set()  # where sign-in may send browsers back to
        self._news: asyncio.Event | None = None
        self.kf.heard = self._heard
        self.add_account(OPEN_KFID, "售后客服")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.callbacks.close()
        await self.bot.close()

    def handlers(self) -> dict[str, CallHandler]:
        """Endpoints that need an access token."""
        parts = (self.kf, self.office, self.media, self.contacts, self.customer_groups)
        return {path: handler for part in parts for path, handler in part.handlers().items()}

    def open_handlers(self) -> dict[str, CallHandler]:
        """Endpoints that need none."""
        return {"gettoken": self.gate.grant, **self.robots.open_handlers(), **self.bot.open_handlers()}

    # ---------------------------------------------------------------------------------------------- setting up

    def configure(self, url: str, *, token: str = TOKEN, aes_key: str = AES_KEY, receive_id: str | None = None) -> None:
        """Send callbacks there from now on, sealed with this token and key."""
        self.callbacks.aim(Target(url, token, aes_key, receive_id or self.corp_id, self.agent_id))

    async def verify(self) -> str:
        """Press "save" on the callback page. Raises RuntimeError when the address does not prove itself."""
        return await self.callbacks.verify()

    def scans(self, address: str, visitor: str) -> str:
        """Somebody scans the code on the sign-in page at this address. Returns where their browser is sent.

        Raises RuntimeError where the page would show an error instead.
        """
        parts = urlsplit(address)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        page = (parts.scheme, parts.netloc, parts.path, asked.get("login_type"))
        if page != ("https", "login.work.weixin.qq.com", "/wwlogin/sso/login", "CorpApp"):
            raise RuntimeError(f"there is no such page: {address}")
        if (asked.get("appid"), asked.get("agentid")) != (self.corp_id, str(self.agent_id)):
            raise RuntimeError("the app does not belong to the corp")
        back = asked.get("redirect_uri", "")
        if urlsplit(back).netloc not in self.trusted_domains:
            raise RuntimeError("redirect_uri is not among the app's trusted domains")
        return f"{back}?{urlencode({'code': self.office.scan(visitor), 'state': asked.get('state', '')})}"

    def add_account(
        self, open_kfid: str, name: str, *, servicers: tuple[str, ...] = (), manage: bool = True
    ) -> SimulatedAccount:
        """A customer-service account, managed by the API unless `manage` is false."""
        account = SimulatedAccount(open_kfid, name, manage, servicers=dict.fromkeys(servicers, 0))
        self.kf.accounts[open_kfid] = account
        return account

    def hire(self, *members: str, visible: bool = True) -> None:
        """Further members of the corp; the app sees them unless `visible` is false."""
        self.staff.members.update(members)
        if not visible:
            self.staff.hidden.update(members)

    def add_robot(self, key: str) -> None:
        """A group gets a robot."""
        self.robots.keys.add(key)

    def give_accounts(self, *, added: tuple[str, ...] = (), removed: tuple[str, ...] = ()) -> None:
        """The console assigns accounts to the app, or takes them away."""
        for open_kfid in (*added, *removed):
            if open_kfid in self.kf.accounts:
                self.kf.accounts[open_kfid].manage_privilege = open_kfid in added
        self.app_event(
            "kf_account_auth_change",
            FromUserName="sys",
            AuthAddOpenKfId=list(added),
            AuthDelOpenKfId=list(removed),
        )

    def reset(self) -> None:
        """Forget messages, faults and the journal; accounts and the callback address stay."""
        for account in self.kf.accounts.values():
            account.log.clear()
            account.times.clear()
            account.sessions.clear()
            account.keys.clear()
            account.oldest = account.served = 0
        for forgotten in (self.kf.sent, self.kf.sent_to, self.kf.codes, self.kf.failing, self.callbacks.log):
            forgotten.clear()
        self.office.messages.clear()
        self.robots.messages.clear()
        self.quota.clear()
        self.faults.clear()
        self.journal.clear()

    # ------------------------------------------------------------------------------------------- what people do

    def contact_says(
        self, contact: str, text: str = "", *, open_kfid: str = OPEN_KFID, kind: str = "text", **content: Any
    ) -> str:
        """A contact writes. Other kinds bring their own content: `kind="image", media_id=…`. Returns the msgid."""
        inner = {"content": text, **content} if kind == "text" else content
        return self.kf.contact_writes(open_kfid, contact, {"msgtype": kind, kind: inner})

    def contact_sends_file(
        self, contact: str, data: bytes, *, kind: str = "image", name: str = "photo.jpg", open_kfid: str = OPEN_KFID
    ) -> str:
        """A contact sends a picture, voice, video or file; of one that is too large only a notice arrives."""
        if len(data) > LARGEST_FROM_CONTACT[kind]:
            return self.contact_says(contact, "[文件过大，无法接收]", open_kfid=open_kfid)
        media_id = self.media.store(data, kind=kind, name=name)
        return self.contact_says(contact, open_kfid=open_kfid, kind=kind, media_id=media_id)

    def contact_taps(self, contact: str, menu_id: str, text: str = "", *, open_kfid: str = OPEN_KFID) -> str:
        """A contact taps an entry of a menu: its label comes as a text."""
        return self.contact_says(contact, text or self._label(contact, menu_id), open_kfid=open_kfid, menu_id=menu_id)

    def contact_enters(
        self,
        contact: str,
        *,
        scene: str = "",
        scene_param: str = "",
        channels: Json | None = None,
        open_kfid: str = OPEN_KFID,
    ) -> str | None:
        """A contact opens the chat through a link, or from a video channel. Returns the welcome code, if one is due."""
        session = self.kf.session(open_kfid, contact)
        fields: Json = {"scene": scene, "scene_param": scene_param}
        if channels:
            fields["wechat_channels"] = channels
        session.entered = dict(fields)
        recent = self.clock.now() - WINDOW
        if session.welcomed_at > recent or session.last_message_at > recent:
            self.kf.event(open_kfid, contact, "enter_session", **fields)
            return None
        code = self.kf.code(open_kfid, contact, life=20.0, state=None, menus=True)
        self.kf.event(open_kfid, contact, "enter_session", welcome_code=code, **fields)
        return code

    def recall(self, contact: str, msgid: str, *, open_kfid: str = OPEN_KFID) -> str:
        """A contact takes a message back."""
        return self.kf.event(open_kfid, contact, "user_recall_msg", recall_msgid=msgid)

    def servicer_says(self, contact: str, text: str, *, servicer: str, open_kfid: str = OPEN_KFID) -> str:
        """A person of ours answers in WeCom's own client; an ended session begins again by that."""
        session = self.kf.session(open_kfid, contact)
        if session.state == ENDED:
            self.servicer_takes(contact, servicer=servicer, open_kfid=open_kfid)
        session.state, session.servicer = HUMAN, servicer
        return self.kf.append(
            open_kfid,
            {
                "open_kfid": open_kfid,
                "external_userid": contact,
                "origin": 5,
                "servicer_userid": servicer,
                "msgtype": "text",
                "text": {"content": text},
            },
        )

    def servicer_takes(self, contact: str, *, servicer: str, open_kfid: str = OPEN_KFID) -> str:
        """A person takes the session, from the pool or from a colleague, or opens an ended one again."""
        session = self.kf.session(open_kfid, contact)
        change = {HUMAN: 2, ENDED: 4}.get(session.state, 1)
        fields: Json = {"change_type": change, "new_servicer_userid": servicer}
        if change in (2, 4):
            fields["old_servicer_userid"] = session.servicer
        if change == 4:
            session.begin(self.clock.now())
        session.state, session.servicer = HUMAN, servicer
        if change == 1:
            fields["msg_code"] = self.kf.code(open_kfid, contact, life=WINDOW, state=HUMAN, menus=False)
        return self.kf.event(open_kfid, contact, "session_status_change", **fields)

    def servicer_ends(self, contact: str, *, open_kfid: str = OPEN_KFID) -> str:
        """A person ends the session that they hold."""
        session = self.kf.session(open_kfid, contact)
        if session.state != HUMAN:
            raise RuntimeError(f"nobody holds the session with {contact}")
        servicer, session.state, session.servicer = session.servicer, ENDED, ""
        code = self.kf.code(open_kfid, contact, life=20.0, state=ENDED, menus=True)
        return self.kf.event(
            open_kfid,
            contact,
            "session_status_change",
            change_type=3,
            old_servicer_userid=servicer,
            msg_code=code,
        )

    def servicer_pauses(self, servicer: str, *, receiving: bool = False, open_kfid: str = OPEN_KFID) -> str:
        """A servicer stops receiving, or begins again. The event numbers it differently from the list."""
        self.kf.account(open_kfid).servicers[servicer] = 0 if receiving else 1
        event: Json = {"event_type": "servicer_status_change", "open_kfid": open_kfid, "servicer_userid": servicer}
        event |= {"status": 1} if receiving else {"status": 2, "stop_type": 0}
        return self.kf.append(open_kfid, {"origin": 4, "msgtype": "event", "event": event})

    def member_says(self, member: str, text: str, **fields: str) -> str:
        """A member of the corp writes to the app."""
        self._must_see(member)
        msgid = str(7459035031717794001 + len(self.callbacks.log))
        self._app_document(member, {"MsgType": "text", "Content": text, "MsgId": msgid, **fields})
        return msgid

    def member_taps(self, member: str, key: str, *, task_id: str) -> str:
        """A member taps a button on a card. Returns the code with which the card may be updated once."""
        code = self.office.tap(member, key, task_id)
        self.app_event(
            "template_card_event",
            FromUserName=member,
            EventKey=key,
            TaskId=task_id,
            CardType="button_interaction",
            ResponseCode=code,
        )
        return code

    def befriend(self, member: str, contact: str, *, state: str = "", half: bool = False) -> str:
        """A contact and a member become friends; with `half` the member has not added back.

        Returns the welcome code, empty when none is due: there was one before, they talk already, or the console
        greets for this member.
        """
        self._must_see(member)
        code = self.contacts.connect(member, contact, state=state, half=half)
        fields = {name: value for name, value in (("State", state), ("WelcomeCode", code)) if value}
        self.app_event(
            "change_external_contact",
            FromUserName="sys",
            ChangeType="add_half_external_contact" if half else "add_external_contact",
            UserID=member,
            ExternalUserID=contact,
            **fields,
        )
        return code

    def friend_says(self, member: str, contact: str) -> None:
        """Friends begin to talk in WeChat, where nobody of us can read along; no welcome is possible any more."""
        self.contacts.begin_chat(member, contact)

    def part(self, member: str, contact: str, *, by_contact: bool = True) -> None:
        """The contact, or the member, ends the friendship."""
        self.contacts.part(member, contact)
        change = "del_follow_user" if by_contact else "del_external_contact"
        self.app_event(
            "change_external_contact", FromUserName="sys", ChangeType=change, UserID=member, ExternalUserID=contact
        )

    def app_event(self, event: str, **fields: str | list[str]) -> None:
        """Any event of the app, sent as a callback."""
        sender = fields.pop("FromUserName", "sys")
        self._app_document(str(sender), {"MsgType": "event", "Event": event, **fields})

    # ------------------------------------------------------------------------------------------------ mishaps

    def fail(self, path: str, **plan: Any) -> Fault:
        """Plan a mishap for an endpoint (`*` for all); the fields are those of `Fault`.

        `accept=True` carries the call out and spoils only the answer. `times=None` lasts until `faults.clear()`.
        """
        fault = Fault(path, **plan)
        self.faults.add(fault)
        return fault

    def fail_deliveries(self, contact: str, fail_type: int | None) -> None:
        """What is sent to the contact is accepted and reported as undeliverable; None ends it."""
        if fail_type is None:
            self.kf.failing.pop(contact, None)
        else:
            self.kf.failing[contact] = fail_type

    def expire_tokens(self, *, forget: bool = False) -> None:
        """Access tokens end early: 42001, or 40014 with `forget`."""
        self.gate.expire_tokens(forget=forget)

    # ----------------------------------------------------------------------------------------------- looking on

    def sent(self, contact: str | None = None) -> list[KfEntry]:
        """What the product sent, in order; to one contact or to all."""
        return list(self.kf.sent if contact is None else self.kf.sent_to.get(contact, ()))

    def state(self, contact: str, *, open_kfid: str = OPEN_KFID) -> int:
        """The session's state: 0 new, 1 assistant, 2 pool, 3 human, 4 ended."""
        return self.kf.session(open_kfid, contact).state

    async def until(self, condition: Callable[[], bool], *, timeout: float = 30.0) -> None:
        """Wait until the condition holds, looking after every message that is sent. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while not condition():
                self._news = self._news or asyncio.Event()
                self._news.clear()
                try:
                    async with asyncio.timeout(0.05):  # conditions may look at more than messages
                        await self._news.wait()
                except TimeoutError:
                    continue

    async def until_sent(self, contact: str, count: int = 1, *, timeout: float = 30.0) -> list[KfEntry]:
        """Wait for so many messages to the contact and return them."""
        await self.until(lambda: len(self.kf.sent_to.get(contact, ())) >= count, timeout=timeout)
        return self.sent(contact)

    # ------------------------------------------------------------------------------------------------- inside

    def _must_see(self, member: str) -> None:
        if not self.staff.sees(member):
            raise RuntimeError(f"the app does not see a member {member}; hire() them")

    def _heard(self, _sent: KfEntry) -> None:
        if self._news is not None:
            self._news.set()

    def _ring(self, open_kfid: str, token: str) -> None:
        self.callbacks.send(
            document(
                {
                    "ToUserName": self.corp_id,
                    "CreateTime": int(self.clock.now()),
                    "MsgType": "event",
                    "Event": "kf_msg_or_event",
                    "Token": token,
                    "OpenKfId": open_kfid,
                }
            )
        )

    def _app_document(self, sender: str, fields: dict[str, Any]) -> None:
        self.callbacks.send(
            document(
                {
                    "ToUserName": self.corp_id,
                    "FromUserName": sender,
                    "CreateTime": int(self.clock.now()),
                    **fields,
                    "AgentID": self.agent_id,
                }
            )
        )

    def _label(self, contact: str, menu_id: str) -> str:
        for sent in reversed(self.kf.sent_to.get(contact, ())):
            for entry in sent.body.get("msgmenu", {}).get("list", ()):
                click = entry.get("click", {})
                if click.get("id") == menu_id:
                    return str(click.get("content", menu_id))
        return menu_id


__all__ = ["AES_KEY", "AGENT_ID", "ASSISTANT", "CORP_ID", "NEW", "OPEN_KFID", "SECRET", "TOKEN", "WeComSimulator"]
