"""Mail over a real wire: what arrives, what is refused, and what nobody knows."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from zhiban.integrations.smtp import SmtpConfig, SmtpMailer
from zhiban.kit.errors import Conflict
from zhiban.ports import ConnectionBroken, TryLater
from zhiban.ports.mail import Mail, MailRefused, mail_address
from zhiban.testing.smtp import PASSWORD, USER, SmtpSimulator

MAIL = Mail("transcript-1-1", "zhou@example.com", "会话记录 #12", "第一行\n.点开头\n" + "长" * 2000, "<p>第一行</p>")


def mailer(port: int, **more: object) -> SmtpMailer:
    given = {"security": "none", "user": USER, "password": SecretStr(PASSWORD), "sender": USER, "seconds": 2.0, **more}
    return SmtpMailer(SmtpConfig(host="127.0.0.1", port=port, **given))


def certificate(folder: Path) -> tuple[ssl.SSLContext, str]:
    """Of a server at 127.0.0.1, and the file of who believes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])
    at = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(secret + public)
    (folder / "public.pem").write_bytes(public)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return context, str(folder / "public.pem")


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_mail_arrives_whole_over_an_encrypted_way(tmp_path: Path, security: str) -> None:
    context, trust = certificate(tmp_path)
    server = SmtpSimulator(tls=security, context=context)
    async with server.serving() as port:
        await mailer(port, security=security, trust=trust).send(MAIL)
        with pytest.raises(ConnectionBroken):
            await mailer(port, security=security).send(MAIL)
    (mail,) = server.delivered
    assert server.envelopes == [(USER, ["zhou@example.com"])]
    assert (mail["subject"], mail["to"], mail["auto-submitted"]) == (MAIL.subject, MAIL.to, "auto-generated")
    assert mail["message-id"] == "<transcript-1-1@qinghe.example>"
    text, page = mail.iter_parts()
    assert text.get_content().replace("\r\n", "\n").strip() == MAIL.text
    assert page.get_content_type() == "text/html"
    assert page.get_content().strip() == MAIL.html


async def test_a_server_that_should_encrypt_and_does_not_gets_no_password() -> None:
    server = SmtpSimulator()
    async with server.serving() as port:
        with pytest.raises(ConnectionBroken):
            await mailer(port, security="starttls").send(MAIL)
    assert "AUTH" not in server.commands
    assert server.delivered == []


async def test_refusals_are_told_apart() -> None:
    server = SmtpSimulator(unknown={MAIL.to})
    async with server.serving() as port:
        with pytest.raises(MailRefused, match="No such user here"):
            await mailer(port).send(MAIL)
        with pytest.raises(ConnectionBroken, match="SMTP_PASSWORD"):
            await mailer(port, password=SecretStr("wrong")).send(MAIL)
        with pytest.raises(MailRefused):
            await mailer(port, sender="other@qinghe.example").send(MAIL)
        server.unknown.clear()
        server.script.append(("RCPT", "451 4.7.1 Greylisted, come back later"))
        with pytest.raises(TryLater) as put_off:
            await mailer(port).send(MAIL)
        assert not put_off.value.unknown
        server.script.append(("DATA", "421 4.3.2 Shutting down"))
        with pytest.raises(TryLater) as closing:
            await mailer(port).send(MAIL)
        assert not closing.value.unknown
    assert server.delivered == []
    with pytest.raises(TryLater) as nobody:
        await mailer(port).send(MAIL)
    assert not nobody.value.unknown


@pytest.mark.parametrize("trouble", ["vanish", "swallow", "hang"])
async def test_silence_after_the_whole_mail_was_given_is_not_known(trouble: str) -> None:
    server = SmtpSimulator()
    server.script.append(trouble)
    async with server.serving() as port:
        with pytest.raises(TryLater) as silent:
            await mailer(port, seconds=0.5).send(MAIL)
    assert silent.value.unknown


@pytest.mark.parametrize(
    "typed",
    [
        "zhou@example.com\nBcc: all@example.com",
        "zhou@example.com\r\nRCPT TO:<x@example.com>",
        "a@example.com,b@example.com",
        "周 <zhou@example.com>",
        "<zhou@example.com>",
        "zhou@example",
        "zhou@@example.com",
        ".zhou@example.com",
        "zhou@-example.com",
        "zhou@example.com\x00",
        "a" * 65 + "@example.com",
        "zhou@" + "a" * 250 + ".com",
        "",
    ],
)
def test_what_is_no_single_address_is_refused(typed: str) -> None:
    with pytest.raises(Conflict):
        mail_address(typed)


def test_addresses_are_taken_as_people_write_them() -> None:
    assert mail_address(" zhou.yu+desk@mail.example.com ") == "zhou.yu+desk@mail.example.com"
    assert mail_address("zhou@例子.中国") == "zhou@xn--fsqu00a.xn--fiqs8s"


async def test_words_in_the_head_stay_on_their_line() -> None:
    server = SmtpSimulator()
    async with server.serving() as port:
        await mailer(port).send(Mail("k", MAIL.to, "一行\r\nBcc: all@example.com", "x\n", "<p>x</p>"))
        await mailer(port).send(Mail("k", MAIL.to, "店\u2028名\x85\u2029完", "x\n", "<p>x</p>"))
    mail, other = server.delivered
    assert mail["bcc"] is None
    assert other["subject"] == "店 名 完"
    assert mail["subject"] == "一行 Bcc: all@example.com"


async def test_what_fails_before_a_server_is_asked_is_told_as_such(tmp_path: Path) -> None:
    for trust in (tmp_path / "missing.pem", Path(__file__)):
        with pytest.raises(ConnectionBroken, match="SMTP_TRUST"):
            await mailer(9, security="tls", trust=str(trust)).send(MAIL)
    with pytest.raises(MailRefused):
        await mailer(9).send(Mail("k", MAIL.to, "x", "\ud800", "<p>x</p>"))
