"""Calls to the connected program, and what its answers mean."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from typing import Any, Final

from zhiban.kit.text import clean
from zhiban.ports import ConnectionBroken, Refusal, SendRefused, SocketCalls, TryLater

TIMEOUT: Final = 15.0
SENDING: Final = frozenset(("send_group_msg", "send_private_msg", "upload_group_file", "upload_private_file"))

# The words of failures differ by program and version; the codes of QQ itself are among them.
_RESULT = re.compile(r"\"?result\"?\s*[:=]\s*(-?[0-9]{1,6})")
_MUTED = 120
_SIGNS: Final = (
    (re.compile(r"风控|risk|blocked by server|spam|限制"), Refusal.SECURITY_RESTRICTION),
    (re.compile(r"禁言|muted?\b|shut ?up|banned"), Refusal.BLOCKED),
    (re.compile(r"非好友|不是好友|not (?:your )?friend|拒绝|黑名单"), Refusal.REFUSED_BY_CONTACT),
    (re.compile(r"无法获取用户|no such user"), Refusal.UNKNOWN_CONTACT),
)
_OUT = re.compile(r"不在群|not in (?:the )?group|群不存在|no such group|群(?:已|已经|被)解散|(?:已|被)移出(?:该)?群")
_TIMED_OUT = re.compile(r"time[d ]?-?out|超时")
_TOO_FAST = re.compile(r"频繁|频率|过快|too (?:fast|many|frequent)|rate limit")
_ABSENT = re.compile(r"离线|offline|not (?:online|logged|login)|未登录|掉线")


class OneBotClient:
    """Calls the program of one connection, over `calls`, which a vendor is told after it was made."""

    def __init__(self) -> None:
        self.calls: SocketCalls | None = None

    async def call(
        self,
        action: str,
        *,
        timeout: float = TIMEOUT,
        key: str = "",
        over: SocketCalls | None = None,
        **params: Any,
    ) -> Any:
        """The `data` of the answer. Raises SendRefused, TryLater and ConnectionBroken."""
        calls = over or self.calls
        if calls is None:
            raise TryLater("The program is not connected.", after=2.0)
        echo = key or secrets.token_hex(8)
        frame = json.dumps({"action": action, "params": params, "echo": echo}, ensure_ascii=False)
        answer = await calls.call(echo, frame, timeout=timeout)
        try:
            found = json.loads(answer)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, Mapping):
            raise TryLater("The program answered nonsense.", after=5.0, unknown=True)
        return data_of(action, found)


def data_of(action: str, answer: Mapping[str, Any]) -> Any:
    """What a call brought. Raises SendRefused, TryLater or ConnectionBroken."""
    status, code = answer.get("status"), answer.get("retcode")
    code = code if isinstance(code, int) and not isinstance(code, bool) else None
    # Some say `ok` with a code of failure, and `failed` with the code of what is done later.
    if code == 0 or status == "async" or (code is None and status == "ok"):
        return answer.get("data")
    words = " ".join(
        clean(said)[:1000] for name in ("message", "wording", "msg") if isinstance(said := answer.get(name), str)
    ).lower()
    stated = _RESULT.search(words)
    result = int(stated[1]) if stated else 0
    raise _failure(action, code or 0, result or code or 0, words)


def _failure(action: str, code: int, result: int, words: str) -> SendRefused | TryLater | ConnectionBroken:
    if code in (401, 403, 1401, 1403):
        return ConnectionBroken("The program refuses our calls", code=code, hint="Connect it again with our token.")
    if code in (404, 1404):
        return SendRefused(Refusal.KIND_FORBIDDEN, code=code, hint=f"The program does not know {action}.")
    if result == _MUTED:
        return SendRefused(Refusal.BLOCKED, code=result, hint="The account is muted there.")
    if _TIMED_OUT.search(words):
        # It gave the message to QQ and has not seen it appear, which may still happen: nobody knows.
        return TryLater("The program waited for QQ in vain.", after=5.0, unknown=action in SENDING, code=code)
    if _TOO_FAST.search(words):
        return TryLater("QQ finds that the account says too much at once.", after=30.0, code=result)
    if _ABSENT.search(words):
        return TryLater("The program's account is not logged in.", after=10.0, code=result)
    if _OUT.search(words):
        ours = action in ("send_group_msg", "upload_group_file")  # otherwise somebody else may be meant
        refused = Refusal.NOT_IN_GROUP if ours else Refusal.UNKNOWN_CONTACT
        return SendRefused(refused, code=result, hint="QQ knows no such group of the account.")
    for sign, refusal in _SIGNS:
        if sign.search(words):
            return SendRefused(refusal, code=result, hint="QQ does not let the account do it.")
    if code in (400, 1400):
        return SendRefused(Refusal.BAD_MESSAGE, code=code, hint="The program does not understand the call.")
    return SendRefused(Refusal.UNKNOWN, code=result, hint="The program could not do it.")
