"""客户联系 of the simulated platform: who is connected with whom, tags, remarks, links and welcomes."""

from __future__ import annotations

from dataclasses import dataclass, field

from zhiban.testing.wecom.media import MediaStore
from zhiban.testing.wecom.wire import (
    Call,
    CallHandler,
    Complaint,
    Json,
    Raw,
    SimClock,
    Staff,
    bad,
    fits,
    need,
    ok,
    short,
    web_address,
)

WELCOME_LIFE = 20.0
WELCOME_BYTES = 4000
MOST_TAGS = 10_000
MOST_WAY_MEMBERS = 100


@dataclass(slots=True)
class SimulatedFollow:
    """A member's view of a contact."""

    member: str
    contact: str
    created_at: float
    state: str = ""
    half: bool = False  # the contact added the member, who has not added them back
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
    talking: bool = False  # one of them has written already


class CustomerContact:
    """State and endpoints."""

    def __init__(self, clock: SimClock, staff: Staff, media: MediaStore) -> None:
        self._clock = clock
        self._staff = staff
        self._media = media
        self._counter = 0
        self.callable = True  # whether the app stands under 可调用接口的应用 of 客户联系
        self.tells_unionid = True  # a WeChat account of the same owner is bound to the corp
        self.native_welcome: set[str] = set()  # members for whom the console has a welcome of its own
        self.names: dict[str, str] = {}
        self.follows: dict[tuple[str, str], SimulatedFollow] = {}
        self.welcomes: dict[str, Welcome] = {}
        self.groups: dict[str, Json] = {}  # tag groups
        self.ways: dict[str, Json] = {}

    @property
    def members(self) -> list[str]:
        """The members who have this feature and whom the app may see, in the order of their first contact."""
        return [member for member in dict.fromkeys(one for one, _ in self.follows) if self._staff.sees(member)]

    def connect(self, member: str, contact: str, *, state: str = "", half: bool = False) -> str:
        """Make them friends, or half friends; returns the welcome code, empty where none is due."""
        before = self.follows.get((member, contact))
        known = before is not None and (half or not before.half)
        if before is None:
            self.follows[member, contact] = SimulatedFollow(member, contact, self._clock.now(), state, half)
        else:
            before.half = before.half and half
        over = any(welcome.sent is not None or welcome.talking for welcome in self._welcomes_of(member, contact))
        if known or over or member in self.native_welcome:
            return ""
        code = self._id("WCODE")
        self.welcomes[code] = Welcome(contact, member, self._clock.now() + WELCOME_LIFE)
        return code

    def begin_chat(self, member: str, contact: str) -> None:
        """One of the friends writes: no welcome is possible from then on."""
        for welcome in self._welcomes_of(member, contact):
            welcome.talking = True

    def part(self, member: str, contact: str) -> None:
        """They are friends no more; if they become so again, that is a new beginning."""
        self.follows.pop((member, contact), None)
        for code, welcome in list(self.welcomes.items()):
            if (welcome.member, welcome.contact) == (member, contact):
                del self.welcomes[code]

    def _welcomes_of(self, member: str, contact: str) -> list[Welcome]:
        return [one for one in self.welcomes.values() if (one.member, one.contact) == (member, contact)]

    def handlers(self) -> dict[str, CallHandler]:
        return {
            f"externalcontact/{name}": self.allowed(handler)
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
            }.items()
        }

    def allowed(self, handler: CallHandler) -> CallHandler:
        def checked(call: Call) -> Json | Raw:
            if not self.callable:
                raise Complaint(48002, "api forbidden")
            return handler(call)

        return checked

    def _id(self, kind: str) -> str:
        self._counter += 1
        return f"{kind}{self._counter:08x}"

    # ------------------------------------------------------------------------------------------------ reading

    def _list(self, call: Call) -> Json:
        member = need(call.query, "userid")
        self._staff.check(member)
        found = [relation.contact for relation in self._whole() if relation.member == member]
        if not found:
            raise Complaint(84061, "not external contact")
        return ok(external_userid=found)

    def _get(self, call: Call) -> Json:
        contact = need(call.query, "external_userid")
        followers = [self._follow(relation) for relation in self._whole() if relation.contact == contact]
        if not followers:
            raise Complaint(84061, "not external contact")
        return ok(external_contact=self._profile(contact), follow_user=followers)

    def _batch(self, call: Call) -> Json:
        wanted, limit = call.body.get("userid_list"), call.body.get("limit", 50)
        if not isinstance(wanted, list) or not 1 <= len(wanted) <= 100:
            raise bad("userid_list")
        if not isinstance(limit, int) or not 1 <= limit <= 100:
            raise bad("limit")
        for member in wanted:
            self._staff.check(member)
        cursor = str(call.body.get("cursor") or 0)
        found = [relation for relation in self._whole() if relation.member in wanted]
        if not cursor.isdecimal():
            raise bad("cursor")
        if not found:
            raise Complaint(84061, "not external contact")
        start, end = int(cursor), int(cursor) + limit
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

    def _whole(self) -> list[SimulatedFollow]:
        """Friendships of members whom the app may see. Half ones are not told of."""
        return [one for one in self.follows.values() if not one.half and self._staff.sees(one.member)]

    def _profile(self, contact: str) -> Json:
        return {
            "external_userid": contact,
            "name": self.names.get(contact, f"客户{contact[-4:]}"),
            "avatar": f"http://wx.qlogo.cn/mmhead/{contact}/0",
            "type": 1,
            "gender": 0,
            **({"unionid": f"ounion_{contact}"} if self.tells_unionid else {}),
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

    # ------------------------------------------------------------------------------------------------ writing

    def _relation(self, body: Json) -> SimulatedFollow:
        """The friendship that a call means. Raises Complaint; half friends cannot be marked yet."""
        member, contact = need(body, "userid"), need(body, "external_userid")
        self._staff.check(member)
        found = self.follows.get((member, contact))
        if found is None or found.half:
            raise Complaint(84061, "not external contact")
        return found

    def _remark(self, call: Call) -> Json:
        body = call.body
        relation = self._relation(body)
        if not set(body) - {"userid", "external_userid"}:
            raise bad("all empty")
        short(body.get("remark", ""), 20, "remark")
        short(body.get("description", ""), 150, "description")
        short(body.get("remark_company", ""), 20, "remark_company")
        if "remark_pic_mediaid" in body:
            self._media.check(body["remark_pic_mediaid"], "image")
        relation.remark = body.get("remark", relation.remark)
        relation.description = body.get("description", relation.description)
        relation.mobiles = [mobile for mobile in body.get("remark_mobiles", relation.mobiles) if mobile]
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
            raise bad("tag")
        for entry in wanted:
            short(need(entry, "name"), 30, "tag.name")
        if sum(len(known["tag"]) for known in self.groups.values()) + len(wanted) > MOST_TAGS:
            raise bad("too many tags")
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
        name = short(need(body, "group_name"), 30, "group_name")
        for group in self.groups.values():
            if group["group_name"] == name:
                return group
        group = {"group_id": self._id("etg"), "group_name": name, "order": 0, "tag": []}
        self.groups[group["group_id"]] = group
        return group

    def _remove_tags(self, call: Call) -> Json:
        tags, groups = set(call.body.get("tag_id") or ()), set(call.body.get("group_id") or ())
        if not tags and not groups:
            raise bad("tag_id and group_id are both empty")
        for group_id, group in self.groups.items():
            touched = group_id in groups or any(tag["id"] in tags for tag in group["tag"])
            if touched and not group.get("by_app", True):
                raise Complaint(48002, "api forbidden")  # an app changes only what it made itself
        for group_id, group in list(self.groups.items()):
            group["tag"] = [tag for tag in group["tag"] if tag["id"] not in tags]
            if group_id in groups or not group["tag"]:
                del self.groups[group_id]
        return ok()

    def _mark(self, call: Call) -> Json:
        relation = self._relation(call.body)
        add, remove = call.body.get("add_tag") or [], call.body.get("remove_tag") or []
        if not add and not remove:
            raise bad("add_tag and remove_tag are both empty")
        known = {tag["id"] for group in self.groups.values() for tag in group["tag"]}
        if not known.issuperset([*add, *remove]):
            raise Complaint(40068, "invalid tagid")
        relation.tags = [tag for tag in relation.tags if tag not in remove]
        relation.tags.extend(tag for tag in add if tag not in relation.tags)
        return ok()

    def _add_way(self, call: Call) -> Json:
        body = call.body
        kind, scene, users = body.get("type"), body.get("scene"), body.get("user") or []
        if kind not in (1, 2):
            raise Complaint(41037, "invalid contact way type")
        if scene not in (1, 2):
            raise Complaint(41038, "invalid contact way scene")
        if len(users) > MOST_WAY_MEMBERS or not (users or body.get("party")):
            raise Complaint(41039, "invalid contact way user")
        if kind == 1 and len(users) != 1:
            raise Complaint(41039, "single contact way needs one user")
        for user in users:
            self._staff.check(user)
        short(body.get("remark", ""), 30, "remark")
        short(body.get("state", ""), 30, "state")
        config_id = self._id("way")
        self.ways[config_id] = {"config_id": config_id, "skip_verify": True, **body}
        code = {"qr_code": f"https://wework.qpic.cn/wwpic/{config_id}/0"} if scene == 2 else {}
        return ok(config_id=config_id, **code)

    def _way(self, body: Json) -> Json:
        found = self.ways.get(need(body, "config_id"))
        if found is None:
            raise Complaint(41044, "invalid config_id")
        return found

    def _get_way(self, call: Call) -> Json:
        return ok(contact_way=self._way(call.body))

    def _list_ways(self, call: Call) -> Json:
        limit = call.body.get("limit", 100)
        if not isinstance(limit, int) or not 1 <= limit <= 1000:
            raise bad("limit")
        return ok(contact_way=[{"config_id": config_id} for config_id in self.ways])

    def _update_way(self, call: Call) -> Json:
        self._way(call.body).update(call.body)
        return ok()

    def _remove_way(self, call: Call) -> Json:
        del self.ways[self._way(call.body)["config_id"]]
        return ok()

    def _welcome(self, call: Call) -> Json:
        body = call.body
        code = body.get("welcome_code")
        if not code:
            raise Complaint(41049, "missing welcome code")
        welcome = self.welcomes.get(code)
        if welcome is None or welcome.until < self._clock.now():
            raise Complaint(41050, "invalid welcome code")
        if welcome.sent is not None or welcome.talking:
            raise Complaint(41051, "external user has started chatting")
        attachments = body.get("attachments", [])
        if "text" not in body and not attachments:
            raise bad("text and attachments are both empty")
        if "text" in body:
            fits(body["text"].get("content"), WELCOME_BYTES, "text.content", least=1)
        if len(attachments) > 9:
            raise Complaint(41064, "too many attachments")
        for attachment in attachments:
            self._check_attachment(attachment)
        welcome.sent = {name: value for name, value in body.items() if name != "welcome_code"}
        return ok()

    def _check_attachment(self, attachment: Json) -> None:
        kind = attachment.get("msgtype")
        inner = attachment.get(kind) if isinstance(kind, str) else None
        if kind not in ("image", "link", "miniprogram", "video", "file") or not isinstance(inner, dict):
            raise Complaint(41065, "invalid attachment type")
        match kind:
            case "link":
                fits(inner.get("title"), 128, "link.title", least=1)
                fits(inner.get("desc", ""), 512, "link.desc")
                web_address(inner.get("url"), "link.url")
            case "miniprogram":
                fits(inner.get("title"), 64, "miniprogram.title", least=1)
                self._media.check(inner.get("pic_media_id"), "image")
            case "image" if inner.get("pic_url"):
                web_address(inner["pic_url"], "image.pic_url")
            case _:
                self._media.check(inner.get("media_id"), str(kind))
