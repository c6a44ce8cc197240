"""客户联系 of the simulated platform: who is connected with whom, tags, remarks, links and welcomes."""

from __future__ import annotations

from dataclasses import dataclass, field

from zhiban.testing.wecom.wire import Call, Complaint, Handler, Json, SimClock, need, ok

WELCOME_LIFE = 20.0


@dataclass(slots=True)
class SimulatedFollow:
    """A member's view of a contact."""

    member: str
    contact: str
    created_at: float
    state: str = ""
    remark: str = ""
    description: str = ""
    mobiles: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Welcome:
    contact: str
    member: str
    until: float
    sent: Json | None = None


class CustomerContact:
    """State and endpoints."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock
        self._counter = 0
        self.members: list[str] = []
        self.names: dict[str, str] = {}
        self.relations: dict[tuple[str, str], SimulatedFollow] = {}
        self.welcomes: dict[str, Welcome] = {}
        self.groups: dict[str, Json] = {}  # tag groups
        self.ways: dict[str, Json] = {}
        self.chats: dict[str, Json] = {}

    def connect(self, member: str, contact: str, *, state: str = "") -> str:
        """Make them friends; returns the welcome code."""
        self.relations[member, contact] = SimulatedFollow(member, contact, self._clock.now(), state)
        if member not in self.members:
            self.members.append(member)
        code = self._id("WCODE")
        self.welcomes[code] = Welcome(contact, member, self._clock.now() + WELCOME_LIFE)
        return code

    def handlers(self) -> dict[str, Handler]:
        return {
            f"externalcontact/{name}": handler
            for name, handler in {
                "get_follow_user_list": lambda _call: ok(follow_user=list(self.members)),
                "list": self._list,
                "get": self._get,
                "batch/get_by_user": self._batch,
                "remark": self._remark,
                "get_corp_tag_list": self._tags,
                "add_corp_tag": self._add_tags,
                "del_corp_tag": self._remove_tags,
                "mark_tag": self._mark,
                "add_contact_way": self._add_way,
                "get_contact_way": self._get_way,
                "list_contact_way": self._list_ways,
                "update_contact_way": self._update_way,
                "del_contact_way": self._remove_way,
                "send_welcome_msg": self._welcome,
                "groupchat/list": self._chats,
                "groupchat/get": self._chat,
            }.items()
        }

    def _id(self, kind: str) -> str:
        self._counter += 1
        return f"{kind}{self._counter:08x}"

    # ------------------------------------------------------------------------------------------------ reading

    def _list(self, call: Call) -> Json:
        found = [contact for member, contact in self.relations if member == call.query.get("userid")]
        if not found:
            raise Complaint(84061, "not external contact")
        return ok(external_userid=found)

    def _get(self, call: Call) -> Json:
        contact = call.query.get("external_userid", "")
        followers = [self._follow(relation) for relation in self.relations.values() if relation.contact == contact]
        if not followers:
            raise Complaint(84061, "not external contact")
        return ok(external_contact=self._profile(contact), follow_user=followers)

    def _batch(self, call: Call) -> Json:
        wanted, limit = call.body.get("userid_list", []), int(call.body.get("limit", 50))
        start = int(call.body.get("cursor") or 0)
        found = [relation for relation in self.relations.values() if relation.member in wanted]
        end = start + limit
        return ok(
            external_contact_list=[
                {
                    "external_contact": self._profile(relation.contact),
                    "follow_info": {**self._follow(relation), "tag_id": relation.tags},
                }
                for relation in found[start:end]
            ],
            next_cursor=str(end) if end < len(found) else "",
        )

    def _profile(self, contact: str) -> Json:
        return {
            "external_userid": contact,
            "name": self.names.get(contact, f"客户{contact[-4:]}"),
            "avatar": f"http://wx.qlogo.cn/mmhead/{contact}/0",
            "type": 1,
            "gender": 0,
        }

    def _follow(self, relation: SimulatedFollow) -> Json:
        names = {tag["id"]: tag["name"] for group in self.groups.values() for tag in group["tag"]}
        return {
            "userid": relation.member,
            "remark": relation.remark,
            "description": relation.description,
            "createtime": int(relation.created_at),
            "tags": [{"tag_id": tag, "tag_name": names.get(tag, ""), "type": 1} for tag in relation.tags],
            "remark_mobiles": relation.mobiles,
            "state": relation.state,
            "add_way": 1,
        }

    def _chats(self, call: Call) -> Json:
        if "limit" not in call.body:
            raise Complaint(40058, "invalid Request Parameter, limit")
        return ok(group_chat_list=[{"chat_id": chat, "status": 0} for chat in self.chats])

    def _chat(self, call: Call) -> Json:
        chat = self.chats.get(need(call.body, "chat_id"))
        if chat is None:
            raise Complaint(40050, "invalid chat_id")
        return ok(group_chat=chat)

    # ------------------------------------------------------------------------------------------------ writing

    def _relation(self, body: Json) -> SimulatedFollow:
        found = self.relations.get((need(body, "userid"), need(body, "external_userid")))
        if found is None:
            raise Complaint(84061, "not external contact")
        return found

    def _remark(self, call: Call) -> Json:
        relation = self._relation(call.body)
        if not set(call.body) - {"userid", "external_userid"}:
            raise Complaint(40058, "invalid Request Parameter, all empty")
        if len(str(call.body.get("remark", ""))) > 20:
            raise Complaint(40058, "invalid Request Parameter, remark too long")
        relation.remark = call.body.get("remark", relation.remark)
        relation.description = call.body.get("description", relation.description)
        relation.mobiles = [mobile for mobile in call.body.get("remark_mobiles", relation.mobiles) if mobile]
        return ok()

    def _tags(self, call: Call) -> Json:
        groups, tags = set(call.body.get("group_id") or ()), set(call.body.get("tag_id") or ())
        found = [
            group
            for group in self.groups.values()
            if (not groups and not tags)
            or group["group_id"] in groups
            or any(tag["id"] in tags for tag in group["tag"])
        ]
        return ok(tag_group=found)

    def _add_tags(self, call: Call) -> Json:
        body = call.body
        wanted = body.get("tag")
        if not isinstance(wanted, list) or not wanted:
            raise Complaint(40058, "invalid Request Parameter, tag")
        group = self._tag_group(body)
        present = {tag["name"] for tag in group["tag"]}
        if all(entry["name"] in present for entry in wanted):
            raise Complaint(40071, "tag name exist")
        made = [
            {"id": self._id("et"), "name": entry["name"], "create_time": int(self._clock.now()), "order": 0}
            for entry in {entry["name"]: entry for entry in wanted}.values()
            if entry["name"] not in present
        ]
        group["tag"].extend(made)
        return ok(tag_group={**group, "tag": made})

    def _tag_group(self, body: Json) -> Json:
        if body.get("group_id"):
            if body["group_id"] not in self.groups:
                raise Complaint(40068, "invalid tagid")
            return self.groups[body["group_id"]]
        name = need(body, "group_name")
        for group in self.groups.values():
            if group["group_name"] == name:
                return group
        group = {"group_id": self._id("etg"), "group_name": name, "order": 0, "tag": []}
        self.groups[group["group_id"]] = group
        return group

    def _remove_tags(self, call: Call) -> Json:
        tags, groups = set(call.body.get("tag_id") or ()), set(call.body.get("group_id") or ())
        for group_id, group in list(self.groups.items()):
            group["tag"] = [tag for tag in group["tag"] if tag["id"] not in tags]
            if group_id in groups or not group["tag"]:
                del self.groups[group_id]
        return ok()

    def _mark(self, call: Call) -> Json:
        relation = self._relation(call.body)
        add, remove = call.body.get("add_tag") or [], call.body.get("remove_tag") or []
        if not add and not remove:
            raise Complaint(40058, "invalid Request Parameter, add_tag and remove_tag empty")
        known = {tag["id"] for group in self.groups.values() for tag in group["tag"]}
        if not known.issuperset(add):
            raise Complaint(40068, "invalid tagid")
        relation.tags = [tag for tag in relation.tags if tag not in remove]
        relation.tags.extend(tag for tag in add if tag not in relation.tags)
        return ok()

    def _add_way(self, call: Call) -> Json:
        body = call.body
        if body.get("type") not in (1, 2) or body.get("scene") not in (1, 2):
            raise Complaint(41037, "invalid contact way type or scene")
        if body["type"] == 1 and len(body.get("user", [])) != 1:
            raise Complaint(41039, "single contact way needs one user")
        config_id = self._id("way")
        self.ways[config_id] = {"config_id": config_id, "skip_verify": True, **body}
        return ok(config_id=config_id, qr_code=f"https://wework.qpic.cn/wwpic/{config_id}/0")

    def _way(self, body: Json) -> Json:
        found = self.ways.get(need(body, "config_id"))
        if found is None:
            raise Complaint(41044, "invalid config_id")
        return found

    def _get_way(self, call: Call) -> Json:
        return ok(contact_way=self._way(call.body))

    def _list_ways(self, _call: Call) -> Json:
        return ok(contact_way=[{"config_id": config_id} for config_id in self.ways])

    def _update_way(self, call: Call) -> Json:
        self._way(call.body).update(call.body)
        return ok()

    def _remove_way(self, call: Call) -> Json:
        del self.ways[self._way(call.body)["config_id"]]
        return ok()

    def _welcome(self, call: Call) -> Json:
        body = call.body
        welcome = self.welcomes.get(need(body, "welcome_code"))
        if welcome is None or welcome.until < self._clock.now():
            raise Complaint(41050, "invalid welcome code")
        if welcome.sent is not None:
            raise Complaint(41051, "external user has started chatting")
        attachments = body.get("attachments", [])
        if "text" not in body and not attachments:
            raise Complaint(40058, "invalid Request Parameter, text and attachments empty")
        if len(attachments) > 9:
            raise Complaint(41064, "too many attachments")
        welcome.sent = {name: value for name, value in body.items() if name != "welcome_code"}
        return ok()
