"""客户群 of the simulated platform: lists with cursors, members with versions, and nothing that anybody says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from zhiban.testing.wecom.contacts import CustomerContact
from zhiban.testing.wecom.wire import (
    Call,
    CallHandler,
    Complaint,
    Json,
    SimClock,
    Staff,
    bad,
    fits,
    need,
    ok,
    web_address,
)

MOST_VISIBLE = 1000  # members whose groups one list may hold without naming owners
TEMPLATES = 100
TEMPLATE_BYTES = 3000
_PARTS = ("image", "link", "miniprogram", "file", "video")
Ring = Callable[..., None]


@dataclass(slots=True)
class SimulatedGroup:
    chat_id: str
    name: str
    owner: str
    created: float
    notice: str = ""
    members: dict[str, Json] = field(default_factory=dict)
    admins: set[str] = field(default_factory=set)
    version: int = 1


class CustomerGroupChats:
    """State, endpoints, and what people do in the client. Each change is announced as the platform announces it."""

    def __init__(self, clock: SimClock, staff: Staff, contacts: CustomerContact, ring: Ring) -> None:
        self._clock = clock
        self._staff = staff
        self._contacts = contacts
        self._ring = ring
        self.chats: dict[str, SimulatedGroup] = {}
        self.templates: dict[str, Json] = {}
        self.visible: int | None = None  # how many members the app sees, where there are more than are named
        self._count = 0

    def handlers(self) -> dict[str, CallHandler]:
        return {
            f"externalcontact/{name}": self._contacts.allowed(handler)
            for name, handler in {
                "groupchat/list": self._list,
                "groupchat/get": self._get,
                "group_welcome_template/add": self._add,
                "group_welcome_template/edit": self._edit,
                "group_welcome_template/get": self._template,
                "group_welcome_template/del": self._remove,
            }.items()
        }

    # ------------------------------------------------------------------------------------------------ what people do

    def create(self, name: str, owner: str, *customers: str) -> str:
        """A member opens a group with customers. Returns its chat_id."""
        self._staff.check(owner)
        self._count += 1
        chat = SimulatedGroup(f"wrCHAT{self._count:04d}", name, owner, self._clock.now())
        self.chats[chat.chat_id] = chat
        for member in (owner, *customers):
            self._enter(chat, member)
        self._announce(chat.chat_id, "create")
        return chat.chat_id

    def join(self, chat_id: str, *members: str) -> None:
        chat = self.chats[chat_id]
        for member in members:
            self._enter(chat, member)
        self._update(chat, "add_member", JoinScene=3, members=members)

    def leave(self, chat_id: str, *members: str, removed: bool = False) -> None:
        chat = self.chats[chat_id]
        for member in members:
            chat.members.pop(member, None)
        self._update(chat, "del_member", QuitScene=int(removed), members=members)

    def rename(self, chat_id: str, name: str) -> None:
        self.chats[chat_id].name = name
        self._update(self.chats[chat_id], "change_name")

    def hand_over(self, chat_id: str, owner: str) -> None:
        self._staff.check(owner)
        chat = self.chats[chat_id]
        self._enter(chat, owner)
        chat.owner = owner
        self._update(chat, "change_owner")

    def dismiss(self, chat_id: str) -> None:
        del self.chats[chat_id]
        self._announce(chat_id, "dismiss")

    def _enter(self, chat: SimulatedGroup, member: str) -> None:
        colleague = member in self._staff.members
        name = self._contacts.names.get(member, member)
        chat.members.setdefault(
            member,
            {
                "userid": member,
                "type": 1 if colleague else 2,
                "join_time": int(self._clock.now()),
                "join_scene": 3,
                "group_nickname": "",
                "name": name,
            },
        )

    def _update(self, chat: SimulatedGroup, detail: str, *, members: tuple[str, ...] = (), **fields: int) -> None:
        before, chat.version = chat.version, chat.version + 1
        lists: Json = {"MemChangeCnt": len(members), "MemChangeList": members} if members else {}
        self._announce(
            chat.chat_id,
            "update",
            UpdateDetail=detail,
            LastMemVer=f"v{before}",
            CurMemVer=f"v{chat.version}",
            **lists,
            **fields,
        )

    def _announce(self, chat_id: str, change: str, **fields: object) -> None:
        self._ring("change_external_chat", FromUserName="sys", ChatId=chat_id, ChangeType=change, **fields)

    # ------------------------------------------------------------------------------------------------------ endpoints

    def _list(self, call: Call) -> Json:
        body = call.body
        limit, cursor = body.get("limit"), body.get("cursor", "")
        if type(limit) is not int or not 1 <= limit <= 1000:
            raise bad("limit")
        if body.get("status_filter", 0) not in (0, 1, 2, 3):
            raise bad("status_filter")
        owners = (body.get("owner_filter") or {}).get("userid_list") or []
        if len(owners) > 100:
            raise bad("owner_filter.userid_list")
        for owner in owners:
            self._staff.check(owner)
        if not owners and (self.visible or len(self._staff.members)) > MOST_VISIBLE:
            raise Complaint(81017, "data exceed limit, use owner_filter")
        found = [
            chat.chat_id
            for chat in self.chats.values()
            if self._staff.sees(chat.owner) and (not owners or chat.owner in owners)
        ]
        start = 0
        if cursor:
            kind, _, number = cursor.partition("-")
            if kind != "cur" or not number.isdecimal():
                raise bad("cursor")
            start = int(number)
        page = found[start : start + limit]
        more = {"next_cursor": f"cur-{start + limit}"} if start + limit < len(found) else {}
        return ok(group_chat_list=[{"chat_id": chat, "status": 0} for chat in page], **more)

    def _get(self, call: Call) -> Json:
        chat = self.chats.get(need(call.body, "chat_id"))
        if chat is None:
            raise Complaint(40050, "invalid chat_id")
        if not self._staff.sees(chat.owner):
            raise Complaint(60011, "no privilege to access/modify contact/party/agent")
        named = call.body.get("need_name") == 1
        members = [
            {key: value for key, value in one.items() if named or key != "name"} for one in chat.members.values()
        ]
        return ok(
            group_chat={
                "chat_id": chat.chat_id,
                "name": chat.name,
                "owner": chat.owner,
                "create_time": int(chat.created),
                "notice": chat.notice,
                "member_list": members,
                "admin_list": [{"userid": admin} for admin in sorted(chat.admins)],
                "member_version": f"v{chat.version}",
            }
        )

    def _add(self, call: Call) -> Json:
        self._check(call.body)
        if len(self.templates) >= TEMPLATES:
            raise Complaint(41055, "group welcome template exceed limit")
        self._count += 1
        template_id = f"msgWELCOME{self._count:04d}"
        self.templates[template_id] = dict(call.body)
        return ok(template_id=template_id)

    def _edit(self, call: Call) -> Json:
        self._check(call.body)
        self._known(call).update(call.body)
        return ok()

    def _template(self, call: Call) -> Json:
        return ok(**self._known(call))

    def _remove(self, call: Call) -> Json:
        self._known(call)
        del self.templates[call.body["template_id"]]
        return ok()

    def _known(self, call: Call) -> Json:
        found = self.templates.get(need(call.body, "template_id"))
        if found is None:
            raise Complaint(41056, "invalid template_id")
        return found

    @staticmethod
    def _check(body: Json) -> None:
        if "text" not in body and not any(part in body for part in _PARTS):
            raise bad("text and attachments are all empty")
        if "text" in body:
            fits(body["text"].get("content"), TEMPLATE_BYTES, "text.content", least=1)
        if "link" in body:
            fits(body["link"].get("title"), 128, "link.title", least=1)
            web_address(body["link"].get("url"), "link.url")
        if body.get("notify", 1) not in (0, 1):
            raise bad("notify")
