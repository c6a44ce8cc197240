"""群机器人 (消息推送): notices into an internal group through its webhook."""

from __future__ import annotations

import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from yarl import URL

from zhiban.integrations.wecom.config import WECOM_API
from zhiban.integrations.wecom.errors import TOO_OFTEN, errcode, error_for
from zhiban.integrations.wecom.values import text_of
from zhiban.kit.http import Http, MaybeDone, NotJson, Unreachable
from zhiban.kit.text import clean, cut_bytes, size_of
from zhiban.ports import ConnectionBroken, Notice, SendRefused, TryLater

MARKDOWN_BYTES: Final = 4096
TEXT_BYTES: Final = 2048
PER_MINUTE: Final = 20
_WINDOW: Final = 60.0
_REMEMBERED: Final = 1000
_KEY = re.compile(r"[0-9A-Za-z_-]{1,128}")
# WeCom's markdown knows no escapes; wide twins look the same and mean nothing.
_HARMLESS = str.maketrans("<>[]", "＜＞［］")


class GroupRobot:
    """Notifier whose address is a robot's key. At most twenty notices a minute and key; more must wait."""

    def __init__(self, http: Http, base: str = WECOM_API, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._http = http
        self._base = base.rstrip("/")
        self._monotonic = monotonic
        self._times: dict[str, deque[float]] = {}
        self._delivered: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def notify(self, address: str, notice: Notice) -> None:
        """Deliver one notice as markdown. A notice that this process has delivered before is not sent again.

        Raises TryLater (with the seconds until there is room) or ConnectionBroken for a wrong key.
        """
        address = address.strip().removeprefix("wecom-robot:").strip("/ ")
        if not _KEY.fullmatch(address):
            raise ConnectionBroken("The robot's key is not valid", code=93000, hint="It is the part after key= .")
        if (address, notice.key) in self._delivered:
            return
        self._take_turn(address)
        await self._post(address, {"msgtype": "markdown", "markdown": {"content": markdown(notice)}})
        self._delivered[address, notice.key] = None
        while len(self._delivered) > _REMEMBERED:
            self._delivered.popitem(last=False)

    async def say(self, address: str, text: str, *, mention: tuple[str, ...] = ()) -> None:
        """A plain text that may mention members by userid, or everybody with `@all`. Raises as `notify`."""
        self._take_turn(address)
        body = {"content": cut_bytes(text, TEXT_BYTES), "mentioned_list": list(mention)}
        await self._post(address, {"msgtype": "text", "text": body})

    def _take_turn(self, key: str) -> None:
        now = self._monotonic()
        times = self._times.setdefault(key, deque())
        while times and times[0] <= now - _WINDOW:
            times.popleft()
        if len(times) >= PER_MINUTE:
            raise TryLater(
                "The group robot has said twenty things within a minute.",
                after=times[0] + _WINDOW - now,
                code=TOO_OFTEN,
            )
        times.append(now)

    async def _post(self, key: str, body: dict[str, object]) -> None:
        try:
            answer = await self._http.request(
                "POST", URL(f"{self._base}/webhook/send").with_query(key=key), json=body, limit=1 << 16
            )
            found = answer.json()
        except (MaybeDone, NotJson) as error:
            raise TryLater(str(error), after=5.0, unknown=True) from None
        except Unreachable as error:
            raise TryLater(str(error), after=5.0) from None
        if not isinstance(found, dict):
            raise TryLater("The robot's address answered with something else than an object.", after=5.0, unknown=True)
        code = errcode(found)
        if not code:
            return
        refusal = error_for(code, text_of(found, "errmsg"))
        if isinstance(refusal, SendRefused):
            raise ConnectionBroken("The group robot refuses the notice", code=code, hint=refusal.hint)
        raise refusal


def markdown(notice: Notice) -> str:
    """Title in bold, the text as a quotation, the link: at most 4096 bytes, the link always whole.

    Angle and square brackets in what others wrote are widened, so that it mentions nobody and draws no links.
    """
    title = f"**{_escaped(cut_bytes(notice.title, 256))}**"
    link = f"\n[{_address_words(notice.url)}]({notice.url})" if notice.url else ""
    room = MARKDOWN_BYTES - size_of(title) - size_of(link) - 16
    quoted = "\n".join(f"> {line}" for line in _escaped(notice.text).splitlines())
    return f"{title}\n{cut_bytes(quoted, room)}{link}"


def _escaped(text: str) -> str:
    return clean(text).translate(_HARMLESS)


def _address_words(url: str) -> str:
    parsed = URL(url)
    return f"{parsed.host or ''}{parsed.path}"
