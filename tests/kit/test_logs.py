"""No log line gives a secret away."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from zhiban.kit import logs

AES_KEY = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    level = root.level
    stream = io.StringIO()
    handler = logs.configure("INFO", "text", stream)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.mark.parametrize(
    ("written", "secret"),
    [
        ("GET https://qyapi.example/cgi-bin/kf/sync_msg?access_token=hYS6hu3-x_Y&debug=1", "hYS6hu3-x_Y"),
        ("gettoken?corpid=ww123&corpsecret=s3cr3t-Value", "s3cr3t-Value"),
        ("POST /cgi-bin/webhook/send?key=693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa", "693a91f6"),
        ("{'Authorization': 'Bearer abc.def-ghi'}", "abc.def"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("authorization=token ghp_abcdefghij", "ghp_abcdefghij"),
        ('{"access_token": "accesstoken000001", "expires_in": 7200}', "accesstoken000001"),
        (f"EncodingAESKey={AES_KEY}", AES_KEY),
        (f"the key {AES_KEY} is wrong", AES_KEY),
        ("https://api.telegram.example/bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/sendMessage", "AAHdqTcv"),
        ("model key sk-abcdefghijklmnop1234", "abcdefghijklmnop"),
        ("postgresql://zhiban:opensesame@db:5432/zhiban", "opensesame"),
        ("WECOM_AGENT_SECRET=abcd", "abcd"),
    ],
)
def test_secrets_are_hidden_and_the_rest_stays(written: str, secret: str) -> None:
    hidden = logs.redact(written)
    assert secret not in hidden
    assert logs.HIDDEN in hidden
    assert logs.redact(hidden) == hidden


@pytest.mark.parametrize(
    "written",
    [
        "conversation 42 of workspace 1 answered in 12 ms",
        "errcode=40001 hint: [1636440000123456789] from ip: 10.0.0.1",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "https://example.com/docs?page=2#keys",
        "客户问：密码是什么？",
        "the turnkey=solution",
    ],
)
def test_innocent_lines_stay_as_they_are(written: str) -> None:
    assert logs.redact(written) == written


def test_the_text_format_redacts_arguments_and_tracebacks(stream: io.StringIO) -> None:
    try:
        int("bad answer from /gettoken?corpsecret=topsecret1")
    except ValueError:
        logging.getLogger("zhiban.somewhere").exception("calling %s", "?access_token=topsecret2")
    said = stream.getvalue()
    assert "topsecret" not in said
    assert "ERROR   zhiban.somewhere  calling ?access_token=***" in said
    assert "ValueError" in said


def test_the_json_format_is_one_object_a_line_with_extra_fields(stream: io.StringIO) -> None:
    logs.configure("INFO", "json", stream)
    logging.getLogger("zhiban.x").warning(
        "问：%s", "key=abc", extra={"conversation": 7, "access_token": "topsecret", "url": "?key=topsecret"}
    )
    line = json.loads(stream.getvalue())
    assert line["message"] == "问：key=***"
    assert (line["level"], line["logger"], line["conversation"]) == ("WARNING", "zhiban.x", 7)
    assert (line["access_token"], line["url"]) == ("***", "?key=***")
    assert line["time"].endswith("+00:00")


def test_configuring_twice_logs_once(stream: io.StringIO) -> None:
    logs.configure("INFO", "text", stream)
    logging.getLogger("zhiban").info("only once")
    assert stream.getvalue().count("only once") == 1
