"""Access tokens and messages of an app to members, with their cards, on the simulated platform."""

from __future__ import annotations

import hashlib
import json
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from zhiban.testing.wecom.media import MediaStore
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
    short,
    web_address,
)

_TASK = re.compile(r"[0-9A-Za-z_@-]{1,128}")
_INTERACTIVE = {"button_interaction", "vote_interaction", "multiple_interaction"}
_CARD_KINDS = _INTERACTIVE | {"text_notice", "news_notice"}
CARD_LIFE = 72 * 3600
SCAN_LIFE = 300
RECALL_LIFE = 24 * 3600
TEXT_BYTES = 2048
LONGEST_INTERVAL = 4 * 3600


@dataclass(slots=True)
class AppMessage:
    """A message of the app to members; `members` are those whom it reached."""

    order: int
    at: float
    members: list[str]
    msgtype: str
    body: Json
    msgid: str


@dataclass(slots=True)
class SentCard:
    """A card, as each member sees their copy now."""

    task_id: str
    body: Json
    copies: dict[str, Json] = field(default_factory=dict)
    updates: list[Json] = field(default_factory=list)

    def has_button(self, member: str, key: str) -> bool:
        buttons = self.copies.get(member, {}).get("button_list", ())
        return any(button.get("key") == key for button in buttons)


class AccessTokens:
    """gettoken, and whether a call's token counts."""

    def __init__(self, clock: SimClock, corp_id: str, apps: dict[str, int]) -> None:
        self._clock = clock
        self.corp_id = corp_id
        self.apps = apps  # secret -> agent id
        self.life: Any = 7200
        self.granted = 0
        self.wrong_per_hour = 2000
        self._wrong: deque[float] = deque()
        self._tokens: dict[str, tuple[float, int]] = {}

    def grant(self, call: Call) -> Json:
        now = self._clock.now()
        while self._wrong and self._wrong[0] <= now - 3600:
            self._wrong.popleft()
        if len(self._wrong) >= self.wrong_per_hour:
            raise Complaint(45009, "api freq out of limit, hour limit")
        if call.query.get("corpid") != self.corp_id:
            raise Complaint(40013, "invalid corpid")
        secret = call.query.get("corpsecret", "")
        if secret not in self.apps:
            self._wrong.append(now)
            raise Complaint(40001, "invalid credential")
        self.granted += 1
        token = hashlib.sha256(f"{secret}{self.granted}".encode()).hexdigest() + f"-{self.granted}"
        seconds = self.life if isinstance(self.life, int | float) else 7200
        self._tokens[token] = (now + seconds, self.apps[secret])
        return ok(access_token=token, expires_in=self.life)

    def check(self, token: str) -> int:
        """The agent id that the token belongs to."""
        found = self._tokens.get(token)
        if not token:
            raise Complaint(41001, "access_token missing")
        if found is None:
            raise Complaint(40014, "invalid access_token")
        if found[0] < self._clock.now():
            raise Complaint(42001, "access_token expired")
        return found[1]

    def expire_tokens(self, *, forget: bool = False) -> None:
        """Make every token too old (42001), or unknown (40014) with `forget`."""
        if forget:
            self._tokens.clear()
        else:
            self._tokens = {token: (0.0, agent) for token, (_, agent) in self._tokens.items()}


class Office:
    """What the app sends to members."""

    def __init__(self, clock: SimClock, staff: Staff, media: MediaStore) -> None:
        self._clock = clock
        self._staff = staff
        self._media = media
        self._counter = 0
        self.messages: list[AppMessage] = []
        self.cards: dict[str, SentCard] = {}
        self.codes: dict[str, tuple[str, float]] = {}  # response code -> task, end of life
        self.scans: dict[str, tuple[str, float]] = {}  # code -> who scanned, end of life
        self.per_minute = 30  # what a member gets of one app; the rest is dropped without a word
        self._reached: dict[str, deque[float]] = {}
        self._recent: dict[str, tuple[float, str]] = {}

    def handlers(self) -> dict[str, CallHandler]:
        return {
            "message/send": self._send,
            "message/update_template_card": self._update_card,
            "message/recall": self._recall,
            "auth/getuserinfo": self._signed_in,
            "get_api_domain_ip": lambda _call: ok(ip_list=["127.0.0.1"]),
            "getcallbackip": lambda _call: ok(ip_list=["127.0.0.*"]),
        }

    def scan(self, visitor: str) -> str:
        """Somebody scans the code of the sign-in page with their phone. Returns the code that the browser brings."""
        self._counter += 1
        code = hashlib.sha256(f"scan {visitor} {self._counter}".encode()).hexdigest()
        self.scans[code] = (visitor, self._clock.now() + SCAN_LIFE)
        return code

    def _signed_in(self, call: Call) -> Json:
        visitor, until = self.scans.pop(call.query.get("code", ""), ("", 0.0))
        if not visitor or until < self._clock.now():
            raise Complaint(40029, "invalid code")
        if visitor not in self._staff.members:
            return ok(openid=f"o{visitor}")
        self._staff.check(visitor)
        return ok(userid=visitor)

    def tap(self, member: str, key: str, task_id: str) -> str:
        """The code that a tap on a card brings. Raises RuntimeError where the member sees no such button."""
        card = self.cards.get(task_id)
        if card is None or not card.has_button(member, key):
            raise RuntimeError(f"{member} sees no button {key} on the card {task_id}")
        return self.response_code(task_id)

    def response_code(self, task_id: str) -> str:
        self._counter += 1
        code = f"RC{self._counter:08x}"
        self.codes[code] = (task_id, self._clock.now() + CARD_LIFE)
        return code

    # ------------------------------------------------------------------------------------------------- sending

    def _send(self, call: Call) -> Json:
        body = call.body
        if body.get("agentid") != call.agent_id:
            raise Complaint(301002, "not allow operate another agent with this accesstoken")
        wanted, unknown = self._recipients(body)
        answer = ok(invaliduser="|".join(unknown).lower(), invalidparty="", invalidtag="", unlicenseduser="")
        repeated = self._repeated(body)
        if repeated is not None:
            return {**answer, "msgid": repeated}
        msgtype = need(body, "msgtype")
        message = self._message(msgtype, body.get(msgtype))
        self._counter += 1
        msgid = f"msg{self._counter:08x}"
        if msgtype == "template_card" and message.get("task_id"):
            self.cards[message["task_id"]] = SentCard(message["task_id"], message)
            answer["response_code"] = self.response_code(message["task_id"])
        self._remember(body, msgid)
        self._deliver(wanted, msgtype, message, msgid)
        return {**answer, "msgid": msgid}

    def _recipients(self, body: Json) -> tuple[list[str], list[str]]:
        """Those whom the app can reach, and those it cannot. Raises Complaint when there is nobody."""
        named = [user for user in str(body.get("touser", "")).split("|") if user]
        if not (named or body.get("toparty") or body.get("totag")):
            raise bad("touser, toparty and totag are all empty")
        if len(named) > 1000:
            raise bad("touser")
        if named == ["@all"]:
            return sorted(user for user in self._staff.members if self._staff.sees(user)), []
        unknown = [user for user in named if not self._staff.sees(user)]
        if named and len(unknown) == len(named):
            raise Complaint(81013, "user & party & tag all invalid")
        return [user for user in named if user not in unknown], unknown

    def _message(self, msgtype: str, inner: object) -> Json:
        """The message as members see it. Raises Complaint."""
        if not isinstance(inner, dict):
            raise bad(f"missing {msgtype}")
        match msgtype:
            case "text" | "markdown":
                content = inner.get("content")
                if not isinstance(content, str) or not content:
                    raise Complaint(40063, "some parameters are empty")
                return {**inner, "content": content.encode()[:TEXT_BYTES].decode("utf-8", "ignore")}
            case "image" | "voice" | "video" | "file":
                self._media.check(inner.get("media_id"), msgtype)
            case "textcard":
                short(inner.get("title"), 128, "title")
                short(inner.get("description"), 512, "description")
                web_address(inner.get("url"), "url")
                short(inner.get("btntxt", ""), 4, "btntxt")
            case "news" | "mpnews":
                articles = inner.get("articles")
                if not isinstance(articles, list) or not 1 <= len(articles) <= 8:
                    raise bad("articles")
            case "template_card":
                self._check_card(inner)
            case "miniprogram_notice":
                need(inner, "appid")
            case _:
                raise bad("msgtype")
        return inner

    def _repeated(self, body: Json) -> str | None:
        """The id under which the same request was carried out, when the sender asks to be checked."""
        if not body.get("enable_duplicate_check"):
            return None
        interval = body.get("duplicate_check_interval", 1800)
        if not isinstance(interval, int) or not 0 < interval <= LONGEST_INTERVAL:
            raise bad("duplicate_check_interval")
        until, msgid = self._recent.get(_fingerprint(body), (0.0, ""))
        return msgid if until > self._clock.now() else None

    def _remember(self, body: Json, msgid: str) -> None:
        """A request counts as carried out only from here on: one that was refused may be sent again, mended or not."""
        if body.get("enable_duplicate_check"):
            until = self._clock.now() + float(body.get("duplicate_check_interval", 1800))
            self._recent[_fingerprint(body)] = (until, msgid)

    def _deliver(self, wanted: list[str], msgtype: str, message: Json, msgid: str) -> None:
        now = self._clock.now()
        reached = []
        for user in wanted:
            times = self._reached.setdefault(user, deque())
            while times and times[0] <= now - 60:
                times.popleft()
            if len(times) < self.per_minute:
                times.append(now)
                reached.append(user)
        if not reached:
            return
        self.messages.append(AppMessage(len(self.messages), now, reached, msgtype, message, msgid))
        if msgtype == "template_card" and (card := self.cards.get(message.get("task_id", ""))):
            card.copies = dict.fromkeys(reached, message)

    # --------------------------------------------------------------------------------------------------- cards

    def _check_card(self, card: Json) -> None:
        kind, task = card.get("card_type"), card.get("task_id", "")
        if kind not in _CARD_KINDS:
            raise bad("card_type")
        if (kind in _INTERACTIVE or "action_menu" in card or task) and not _TASK.fullmatch(str(task)):
            raise bad("task_id")
        if task in self.cards:
            raise Complaint(43012, "task_id existed")
        if kind in ("text_notice", "news_notice") and not isinstance(card.get("card_action"), dict):
            raise bad("card_action")
        if not (card.get("main_title") or {}).get("title") and (
            kind == "news_notice" or not card.get("sub_title_text")
        ):
            raise bad("main_title.title and sub_title_text are both empty")
        if len(card.get("horizontal_content_list", ())) > 6 or len(card.get("jump_list", ())) > 3:
            raise bad("list too long")
        if (card.get("card_action") or {}).get("type") == 1:
            web_address(card["card_action"].get("url"), "card_action.url")
        if kind == "button_interaction":
            _check_buttons(card.get("button_list"))

    def _update_card(self, call: Call) -> Json:
        body = call.body
        if body.get("agentid") != call.agent_id:
            raise Complaint(301002, "not allow operate another agent with this accesstoken")
        code = need(body, "response_code")
        task, until = self.codes.get(code, ("", 0.0))
        if until < self._clock.now():
            raise Complaint(42045, "invalid response_code")
        named = body.get("userids") or []
        if not (body.get("atall") or named or body.get("partyids") or body.get("tagids")):
            raise bad("userids, partyids, tagids and atall are all empty")
        replaced = isinstance(body.get("template_card"), dict)
        change: Json = (body["template_card"] if replaced else body.get("button")) or {}
        if not replaced and not change.get("replace_name"):
            raise bad("button or template_card")
        del self.codes[code]
        card = self.cards[task]
        for member in list(card.copies) if body.get("atall") else [user for user in named if user in card.copies]:
            # A replaced button is a word from then on; nobody can tap it again.
            card.copies[member] = {**card.body, "button_list": []} if not replaced else change
        card.updates.append(change)
        return ok(invaliduser=[user for user in named if user not in card.copies])

    def _recall(self, call: Call) -> Json:
        msgid = need(call.body, "msgid")
        found = next((message for message in self.messages if message.msgid == msgid), None)
        if found is None or found.at < self._clock.now() - RECALL_LIFE:
            raise bad("msgid")
        self.messages.remove(found)
        return ok()


def _check_buttons(buttons: object) -> None:
    if not isinstance(buttons, list) or not 1 <= len(buttons) <= 6:
        raise bad("button_list")
    for button in buttons:
        need(button, "text")
        if button.get("type", 0) == 1:
            web_address(button.get("url"), "button.url")
        else:
            fits(button.get("key"), 1024, "button.key", least=1)


def _fingerprint(body: Json) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
