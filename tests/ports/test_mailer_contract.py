"""What every way to send mail promises, over the simulated wire, however the server encrypts.

There is no twin in memory: a mail server refuses more than anybody would think of, and its simulator starts at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.integrations.test_smtp import certificate
from zhiban.integrations.smtp import SmtpConfig, SmtpMailer
from zhiban.ports import ConnectionBroken, TryLater
from zhiban.ports.mail import Mail, Mailer, MailRefused
from zhiban.testing.smtp import PASSWORD, USER, SmtpSimulator

MAIL = Mail("survey-7", "zhou@example.com", "会话记录 #12", "第一行\n.点开头\n" + "长" * 2000, "<p>第一行</p>")


@dataclass
class Post:
    """A mailer, another that signs in with a wrong password, and the server of both."""

    mailer: Mailer
    stranger: Mailer
    server: SmtpSimulator


@pytest.fixture(params=["none", "starttls", "tls"])
async def post(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Post]:
    context, trust = certificate(tmp_path)
    server = SmtpSimulator(tls=request.param, context=context)
    async with server.serving() as port:

        def mailer(password: str) -> SmtpMailer:
            return SmtpMailer(
                SmtpConfig(
                    host="127.0.0.1",
                    port=port,
                    security=request.param,
                    sender=USER,
                    user=USER,
                    password=SecretStr(password),
                    trust=trust,
                    seconds=2.0,
                )
            )

        yield Post(mailer(PASSWORD), mailer("wrong"), server)


async def test_a_mail_arrives_whole_at_one_address(post: Post) -> None:
    await post.mailer.send(MAIL)
    (mail,) = post.server.delivered
    assert post.server.envelopes == [(USER, [MAIL.to])]
    assert (mail["subject"], mail["to"]) == (MAIL.subject, MAIL.to)
    text, page = mail.iter_parts()
    assert text.get_content().replace("\r\n", "\n").strip() == MAIL.text
    assert page.get_content().strip() == MAIL.html


async def test_a_mail_that_is_sent_again_can_be_told_by_its_key(post: Post) -> None:
    for _ in range(2):
        await post.mailer.send(MAIL)
    first, second = post.server.delivered
    assert first["message-id"] == second["message-id"]
    assert MAIL.key in first["message-id"]


async def test_a_subject_adds_no_head_and_no_address(post: Post) -> None:
    await post.mailer.send(replace(MAIL, subject="你好\r\nBcc: all@example.com\u2028X: y"))
    (mail,) = post.server.delivered
    assert mail["bcc"] is None
    assert post.server.envelopes == [(USER, [MAIL.to])]


async def test_an_address_that_nobody_has_is_refused_for_good(post: Post) -> None:
    post.server.unknown.add(MAIL.to)
    with pytest.raises(MailRefused):
        await post.mailer.send(MAIL)
    assert post.server.delivered == []


async def test_busy_means_later_and_that_nothing_was_taken(post: Post) -> None:
    post.server.script.append(("MAIL", "451 4.3.0 Later"))
    with pytest.raises(TryLater) as caught:
        await post.mailer.send(MAIL)
    assert caught.value.after > 0
    assert not caught.value.unknown
    assert post.server.delivered == []


async def test_an_answer_that_was_lost_leaves_it_open_whether_the_mail_was_taken(post: Post) -> None:
    post.server.script.append("vanish")
    with pytest.raises(TryLater) as caught:
        await post.mailer.send(MAIL)
    assert caught.value.unknown


async def test_a_wrong_password_has_to_be_mended_and_is_not_told(post: Post) -> None:
    with pytest.raises(ConnectionBroken) as caught:
        await post.stranger.send(MAIL)
    assert "wrong" not in caught.value.sentence
    assert post.server.delivered == []
