"""WeCom's error codes, sorted by what helps: waiting, an operator, or nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from zhiban.integrations.wecom.values import number
from zhiban.kit.http import redact
from zhiban.kit.i18n import mark
from zhiban.kit.text import clean, cut_bytes
from zhiban.ports import ConnectionBroken, Refusal, SendRefused, TryLater

TOKEN_CODES = frozenset({40014, 42001})
BUSY_CODES = frozenset({-1, 45033})
TOO_OFTEN = 45009
BAD_PULL_TOKEN = 95007
NOT_SENDING = 95018  # a person has the session, it is in the pool, it is over, or 48 hours have passed
NOT_OPENED_CODES = frozenset({48001, 48002})  # the app is not among those that may use this part of the API
MEDIA_TOO_BIG = 830002

_BROKEN: Mapping[int, str] = {
    40001: mark("The app's secret is not valid: it was reset, belongs to another app, or the app is disabled"),
    40013: mark("The corp id is not valid"),
    40056: mark("The agent id is not valid"),
    40091: mark("The secret belongs to another corp"),
    41001: mark("The access token did not reach WeCom; check the proxy"),
    48001: mark("The app may not use this API: it is not among the apps that may call it"),
    48002: mark("The app may not use this API: it is not among the apps that may call it"),
    48004: mark("The authorisation is not valid any more"),
    48006: mark("The authorisation was withdrawn because it was not used"),
    50003: mark("The app is disabled in WeCom"),
    301002: mark("The agent id does not belong to this secret"),
    60011: mark("The object is outside the app's visible range"),
    60020: mark("This server's address is not among the app's trusted addresses"),
    60021: mark("The object is outside the app's visible range"),
    60030: mark("Servicers of the account are outside the app's visible range"),
    60251: mark("The open_kfid is missing"),
    60252: mark("The open_kfid is not valid"),
    701008: mark("The corp has no interop licence"),
    701099: mark("The corp has no interop licence"),
    93000: mark("The robot's key is wrong, or the robot was removed from the group"),
    93004: mark("The robot is disabled"),
    93008: mark("The robot is not in the group"),
    95000: mark("The open_kfid is not valid"),
    95004: mark("The customer-service account was deleted or belongs to another corp"),
    95011: mark("Customer service is used inside WeCom, but the secret is of the standalone product"),
    95012: mark("Customer service is the standalone product, but the secret is of WeCom"),
    95015: mark("The account has its exclusive native service switched on"),
    95017: mark("The account is not assigned to the API"),
    95023: mark("The account is assigned to a provider's app"),
    95032: mark("The component's permission for chat records was withdrawn"),
}

_REFUSED: Mapping[int, tuple[Refusal, str]] = {
    40004: (Refusal.BAD_MESSAGE, "The file is of another type than it is sent as"),
    40006: (Refusal.BAD_MESSAGE, "The file is empty or too large"),
    40007: (Refusal.BAD_MESSAGE, "The media id is not valid or older than three days"),
    40058: (Refusal.BAD_MESSAGE, "WeCom refuses a parameter"),
    40063: (Refusal.BAD_MESSAGE, "WeCom misses a parameter"),
    40068: (Refusal.BAD_MESSAGE, "The tag does not exist"),
    40096: (Refusal.UNKNOWN_CONTACT, "The contact's id belongs to another app or corp"),
    40201: (Refusal.BLOCKED, "WeCom's content check stopped the message"),
    41050: (Refusal.CODE_EXPIRED, "The welcome code was used or is older than 20 seconds"),
    41051: (Refusal.CODE_EXPIRED, "The contact is already talking or was welcomed"),
    41053: (Refusal.BLOCKED, "The contact has not agreed to archiving"),
    60111: (Refusal.UNKNOWN_CONTACT, "The member does not exist"),
    40050: (Refusal.UNKNOWN_CONTACT, "There is no such group any more"),
    81017: (Refusal.MISCONFIGURED, "The app sees more than a thousand members: its visible range is too wide"),
    81013: (Refusal.UNKNOWN_CONTACT, "None of the recipients can be reached by the app"),
    84061: (Refusal.UNKNOWN_CONTACT, "The member and the contact are not connected"),
    95001: (Refusal.ALLOWANCE_USED, "Five messages were sent since the contact's last one"),
    95002: (Refusal.WINDOW_CLOSED, "The contact's last message is more than 48 hours old"),
    95003: (Refusal.MISCONFIGURED, "The reception quota of an unverified corp is used up"),
    95008: (Refusal.BAD_MESSAGE, "The menu has too many entries"),
    95009: (Refusal.BAD_MESSAGE, "The menu has an entry of an unknown type"),
    95013: (Refusal.SESSION_ENDED, "The session has ended"),
    95014: (Refusal.MISCONFIGURED, "The member is no servicer of the account, or never activated WeCom"),
    95016: (Refusal.MOVE_REFUSED, "The session cannot be moved there"),
    95018: (Refusal.HUMAN_ACTIVE, "The session is with a person, in the pool, or over"),
    95019: (Refusal.MISCONFIGURED, "The servicer is not receiving"),
    95021: (Refusal.MISCONFIGURED, "The member or group is not configured for upgrades"),
    95022: (Refusal.BAD_MESSAGE, "The location is not valid"),
    95030: (Refusal.BAD_MESSAGE, "The component forbids this kind of message"),
    95031: (Refusal.WINDOW_CLOSED, "The contact has not written within 48 hours"),
}

_LATER: Mapping[int, float] = {-1: 1.0, 45033: 2.0, 41063: 30.0, 41094: 3600.0, 41096: 1.0, 45029: 1.0}

_ANY_PARAMETER = frozenset({40058, 40063})

_FROM_IP = re.compile(r"from ip:\s*([0-9a-fA-F.:]+)")
_HINT = re.compile(r"hint:\s*\[([^\]]{1,80})\]")


def errcode(answer: Mapping[str, Any]) -> int:
    """The code; absent means success, something unintelligible counts as busy."""
    value = answer.get("errcode", 0)
    found = number(value)
    return -1 if found is None else found


def is_explained(code: int) -> bool:
    """Whether WeCom says somewhere what the code means."""
    return code in _BROKEN or code in _REFUSED or code in _LATER or code in TOKEN_CODES or code == TOO_OFTEN


def may_mean_repeat(code: int) -> bool:
    """Whether a refusal with this code could be about the msgid: its code is explained nowhere, or by nothing more
    than "a parameter"."""
    return code != 0 and (code in _ANY_PARAMETER or not is_explained(code))


def error_for(code: int, message: str) -> SendRefused | TryLater | ConnectionBroken:
    """The error to raise for a code. The vendor's words are shortened and stripped of secrets."""
    words = cut_bytes(redact(clean(message)), 300)
    if code in _LATER:
        return TryLater(f"WeCom is busy ({code}): {words}", after=_LATER[code], unknown=code == -1, code=code)
    if code == TOO_OFTEN:
        return TryLater(f"WeCom limits how often this is called ({code}).", after=blocked_for(message), code=code)
    if code in TOKEN_CODES:
        return TryLater(f"WeCom refuses a fresh access token ({code}).", after=60.0, code=code)
    if code == 60020:
        found = _FROM_IP.search(message)
        address = found[1].rstrip(".") if found else "unknown"
        return ConnectionBroken(
            _BROKEN[code], code=code, hint=mark(f"Add {address} there; it takes effect after about a minute.")
        )
    if code in _BROKEN:
        hint = _HINT.search(message)
        return ConnectionBroken(_BROKEN[code], code=code, hint=f"WeCom's reference: {hint[1]}." if hint else "")
    refusal, meaning = _REFUSED.get(code, (Refusal.BAD_MESSAGE, f"WeCom says: {words}"))
    return SendRefused(refusal, code=code, hint=f"{meaning}.")


def blocked_for(message: str) -> float:
    """How many seconds 45009 blocks a class of calls: its window, read from the words, else a minute."""
    lowered = message.lower()
    for word, seconds in (("month", 30 * 86400.0), ("day", 86400.0), ("hour", 3600.0)):
        if word in lowered:
            return seconds
    return 60.0
