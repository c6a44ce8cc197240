"""A simulator of a mail server, as strict as those of the open internet: it takes nothing before its turn.

Commands end in CRLF, lines are at most 998 bytes, nobody signs in or writes before the way is encrypted where it is
to be, and letters beyond ASCII are refused, as a server without 8BITMIME refuses them. `script` holds what goes wrong.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Literal

USER, PASSWORD = "desk@qinghe.example", "authorisation-code"
LONGEST_LINE = 998
# After the whole mail: vanish closes without an answer, swallow does and keeps nothing, hang says nothing.
SmtpTrouble = Literal["vanish", "swallow", "hang"] | tuple[str, str]


@dataclass
class _SmtpSession:
    encrypted: bool
    greeted: bool = False
    signed_in: bool = False
    sender: str = ""
    recipients: list[str] = field(default_factory=list)


@dataclass
class SmtpSimulator:
    """The server's state. `tls` says how it encrypts: from the first byte, after STARTTLS, or not at all.

    `script`: what happens at the next DATA, or (command, answer) once at that command, oldest first.
    """

    tls: Literal["tls", "starttls", "none"] = "none"
    context: ssl.SSLContext | None = None
    unknown: set[str] = field(default_factory=set)
    delivered: list[EmailMessage] = field(default_factory=list)
    envelopes: list[tuple[str, list[str]]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    script: deque[SmtpTrouble] = field(default_factory=deque)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """The port on loopback at which it answers until the block ends."""
        secured = self.context if self.tls == "tls" else None
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0, ssl=secured, limit=LONGEST_LINE + 4)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = _SmtpSession(self.tls == "tls")
        await _say(writer, "220 mail.qinghe.example ESMTP")
        try:
            while line := await reader.readuntil(b"\n"):
                if not line.endswith(b"\r\n") or not line.isascii():
                    await _say(writer, "500 5.5.2 Bad line")
                    return
                if not await self._answer(session, line[:-2].decode("ascii"), reader, writer):
                    return
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ssl.SSLError):
            return
        finally:
            writer.close()

    async def _answer(
        self, session: _SmtpSession, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Whether the talk goes on."""
        verb = line.partition(" ")[0].upper()
        self.commands.append(verb)
        if self.script and isinstance(self.script[0], tuple) and self.script[0][0] == verb:
            trouble = self.script.popleft()
            await _say(writer, trouble[1])
            return not trouble[1].startswith("421")
        match verb:
            case "EHLO" if len(line.split()) == 2:
                session.greeted = True
                offers = ["STARTTLS"] if self.tls == "starttls" and not session.encrypted else []
                offers += ["AUTH PLAIN LOGIN"] if session.encrypted or self.tls == "none" else []
                said = ["mail.qinghe.example", *offers, "SIZE 26214400"]
                await _say(writer, *(f"250-{one}" for one in said[:-1]), f"250 {said[-1]}")
            case "STARTTLS" if self.tls == "starttls" and not session.encrypted:
                await _say(writer, "220 2.0.0 Go ahead")
                await writer.start_tls(self.context or ssl.create_default_context())
                session.encrypted, session.greeted = True, False
            case "AUTH" if session.greeted and (session.encrypted or self.tls == "none"):
                session.signed_in = _knows(line)
                await _say(writer, "235 2.7.0 Good" if session.signed_in else "535 5.7.8 Authentication failed")
            case "MAIL" if session.greeted and session.signed_in:
                session.sender = _between(line)
                wrong = session.sender != USER
                await _say(writer, "553 5.7.1 Sender is not who signed in" if wrong else "250 2.1.0 Ok")
            case "MAIL":
                await _say(writer, "530 5.7.0 Sign in first")
            case "RCPT" if session.sender:
                known = _between(line) not in self.unknown
                session.recipients += [_between(line)] if known else []
                await _say(writer, "250 2.1.5 Ok" if known else "550 5.1.1 No such user here")
            case "DATA" if session.recipients:
                return await self._take(session, reader, writer)
            case "QUIT":
                await _say(writer, "221 2.0.0 Bye")
                return False
            case _:
                await _say(writer, "503 5.5.1 Not now")
        return True

    async def _take(self, session: _SmtpSession, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await _say(writer, "354 End with a dot")
        lines = []
        while (line := await reader.readuntil(b"\n")) != b".\r\n":
            if not line.endswith(b"\r\n") or not line.isascii() or len(line) > LONGEST_LINE + 2:
                await _say(writer, "554 5.6.0 This mail is not well made")
                return False
            lines.append(line[1:] if line.startswith(b".") else line)
        trouble = self.script.popleft() if self.script and not isinstance(self.script[0], tuple) else ""
        if trouble != "swallow":
            self.delivered.append(message_from_bytes(b"".join(lines), policy=policy.SMTP))
            self.envelopes.append((session.sender, session.recipients))
        if trouble == "hang":
            await reader.read()
        if trouble:
            return False
        await _say(writer, "250 2.0.0 Queued as 4711")
        return True


async def _say(writer: asyncio.StreamWriter, *lines: str) -> None:
    writer.write("".join(f"{line}\r\n" for line in lines).encode("ascii"))
    await writer.drain()


def _between(line: str) -> str:
    return line.partition("<")[2].partition(">")[0]


def _knows(line: str) -> bool:
    words = line.split()
    if len(words) != 3 or words[1].upper() != "PLAIN":
        return False
    return base64.b64decode(words[2]) == f"\0{USER}\0{PASSWORD}".encode()
