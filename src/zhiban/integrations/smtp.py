"""Mail through the operator's own mail server. Its client is loaded with the first mail."""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, SecretStr

from zhiban.kit.i18n import mark
from zhiban.ports import ConnectionBroken, TryLater
from zhiban.ports.mail import Mail, MailRefused

if TYPE_CHECKING:
    import aiosmtplib

PORTS = {"starttls": 587, "tls": 465, "none": 25}
SECONDS = 30.0  # that a mail server may be silent
WHOLE = 120.0  # seconds for one mail, however slowly the server talks
_QUIET = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")  # whatever ends a line for anybody


class SmtpConfig(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True)

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    sender: str
    user: str = ""
    password: SecretStr = SecretStr("")
    trust: str = ""  # file with certificates to believe beside those of the machine
    seconds: float = SECONDS


class SmtpMailer:
    """Sends mails, one connection for each."""

    def __init__(self, config: SmtpConfig) -> None:
        self._config = config

    async def send(self, mail: Mail) -> None:
        """Hand one mail over. Raises as `ports.mail.Mailer` says."""
        import aiosmtplib  # with the first mail: most processes send none

        config = self._config
        try:
            content = _written(mail, config.sender)
        except ValueError as error:
            raise MailRefused(f"The mail cannot be written: {_QUIET.sub(' ', str(error))[:200]}.") from None
        client = aiosmtplib.SMTP(
            hostname=config.host,
            port=config.port,
            username=config.user or None,
            password=config.password.get_secret_value() or None,
            local_hostname=config.sender.rpartition("@")[2],
            timeout=config.seconds,
            use_tls=config.security == "tls",
            start_tls=config.security == "starttls",
            tls_context=None if config.security == "none" else _trusting(config.trust),
        )
        given = False  # whether the server may have the whole mail
        try:
            async with asyncio.timeout(WHOLE):
                await client.connect()
                await client.mail(config.sender)
                await client.rcpt(mail.to)
                given = True
                await client.data(content)
        except aiosmtplib.SMTPResponseException as error:
            raise _refusal(error) from None
        except (OSError, TimeoutError) as error:
            if any(isinstance(one, ssl.SSLError) for one in (error, error.__cause__)):
                raise ConnectionBroken(
                    "The way to the mail server is not safe", code=0, hint=mark("Check SMTP_HOST and SMTP_SECURITY.")
                ) from None
            raise TryLater("The mail server did not answer.", after=30, unknown=given) from None
        except aiosmtplib.SMTPException:
            raise ConnectionBroken(
                "The mail server lacks what is asked of it", code=0, hint=mark("Check SMTP_SECURITY and SMTP_USER.")
            ) from None
        finally:
            client.close()


def _trusting(trust: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if trust:
        try:
            context.load_verify_locations(trust)
        except OSError as error:  # ssl.SSLError is one
            raise ConnectionBroken(
                f"The certificates in SMTP_TRUST cannot be read: {error}", code=0, hint=mark("Check SMTP_TRUST.")
            ) from None
    return context


def _written(mail: Mail, sender: str) -> bytes:
    """The mail as it goes over the wire: plain text and a page, both in letters that every server takes."""
    from email.message import EmailMessage
    from email.policy import SMTP
    from email.utils import format_datetime, localtime

    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = mail.to
    message["Subject"] = _QUIET.sub(" ", mail.subject).strip()
    message["Date"] = format_datetime(localtime())
    message["Message-ID"] = f"<{mail.key}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text, cte="base64")
    message.add_alternative(mail.html, subtype="html", cte="base64")
    return message.as_bytes()


def _refusal(error: aiosmtplib.SMTPResponseException) -> TryLater | MailRefused | ConnectionBroken:
    said = _QUIET.sub(" ", error.message)[:200].strip()
    if error.code in (530, 534, 535, 538):
        return ConnectionBroken(
            f"The mail server: {said}", code=error.code, hint=mark("Check SMTP_USER and SMTP_PASSWORD.")
        )
    if 500 <= error.code < 600:
        return MailRefused(f"The mail server refused it: {said} ({error.code}).")
    return TryLater(f"The mail server put it off: {said} ({error.code}).", after=60, code=error.code)
