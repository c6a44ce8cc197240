"""Sending mail to people outside."""

from __future__ import annotations

import re
from typing import Protocol

from zhiban.kit.errors import Conflict, ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark

LONGEST_ADDRESS = 254  # RFC 5321, 4.5.3.1.3, without the brackets
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63}")


@frozen_dataclass
class Mail:
    """One mail to one address, as plain text and as a page. `key` is ours and the same however often it is tried."""

    key: str
    to: str
    subject: str
    text: str
    html: str


class MailRefused(ZhibanError):
    """The mail server will never take this mail."""


class Mailer(Protocol):
    """The mail server of the operator. What it took is on its way; whether it arrives is told to nobody."""

    async def send(self, mail: Mail) -> None:
        """Hand the mail to the mail server.

        Raises TryLater (`unknown` where the server may have taken it), MailRefused, or ConnectionBroken (wrong address
        or password of the server).
        """
        ...


def mail_address(typed: str) -> str:
    """An address that can stand in a mail's head as it is. Raises Conflict, also for several or with a name."""
    text = typed.strip()
    local, at, domain = text.rpartition("@")
    if at and not domain.isascii():
        try:
            domain = domain.encode("idna").decode("ascii")
        except UnicodeError:
            domain = ""
    found = f"{local}@{domain}"
    good = len(local) <= 64 and _LOCAL.fullmatch(local) and _DOMAIN.fullmatch(domain)
    if not good or len(found) > LONGEST_ADDRESS:
        raise Conflict(mark("This is no e-mail address."))
    return found
