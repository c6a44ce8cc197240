"""Log lines for people or for machines, with secrets blackened in all of them."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

HIDDEN = "***"

_NAMES = (
    r"access_token|suite_access_token|provider_access_token|corpsecret|secret|key|api_?key|token|password|passwd|"
    r"encoding_?aes_?key|aes_?key|[a-z_]*_(?:secret|token|key)|suite_ticket|jsapi_ticket|client_secret"
)
_SECRETS = re.compile(
    rf"""
      (?P<before_parameter>(?<![A-Za-z0-9])(?:{_NAMES})=)(?P<parameter>[^\s&"'<>,;)]+)
    | (?P<before_field>["'](?:{_NAMES}|authorization|x-api-key)["']\s*:\s*["'])(?P<field>[^"']+)
    | (?P<before_header>\b(?:proxy-)?authorization\s*[:=]\s*)(?P<header>(?:(?:bearer|basic|token|bot)\s+)?[^\s"',]+)
    | (?P<before_bearer>\bbearer\s+)(?P<bearer>[A-Za-z0-9._~+/=-]{{8,}})
    | (?P<before_bot>\bbot\d{{5,}}:)(?P<bot>[A-Za-z0-9_-]{{20,}})
    | (?P<before_model_key>\bsk-)(?P<model_key>[A-Za-z0-9_-]{{12,}})
    | (?P<before_password>://[^\s:/@]+:)(?P<password>[^\s@]+)(?=@)
    | (?P<before_aes>(?<![A-Za-z0-9+/_=.-]))(?P<aes>[A-Za-z0-9]{{43}})(?![A-Za-z0-9+/_=-])
    """,
    re.VERBOSE | re.IGNORECASE,
)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}

QUIET = (
    "httpx",
    "aiohttp.access",
    "procrastinate",
    "psycopg.pool",
    "alembic",
    "apprise",
    "uvicorn.access",
    "uvicorn.error",
)


def redact(text: str) -> str:
    """The text without tokens, secrets, keys and passwords; what surrounds them stays readable."""
    return _SECRETS.sub(_hide, text)


def _hide(found: re.Match[str]) -> str:
    return (
        next((before for name, before in found.groupdict().items() if name.startswith("before") and before), "")
        + HIDDEN
    )


class TextFormatter(logging.Formatter):
    """13:57:02 WARNING zhiban.kit.db  The sentence."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s  %(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class JsonFormatter(logging.Formatter):
    """One object a line. What was passed as `extra` becomes fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
            "pid": record.process,
        }
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        for name, value in vars(record).items():
            if name not in _STANDARD:
                line[name] = _plain(name, value)
        return json.dumps(line, ensure_ascii=False, default=str)


def _plain(name: str, value: object) -> object:
    if re.fullmatch(_NAMES, name, re.IGNORECASE):
        return HIDDEN
    if isinstance(value, int | float | bool) or value is None:
        return value
    return redact(str(value))


def configure(
    level: str = "INFO", style: Literal["text", "json"] = "text", stream: TextIO | None = None
) -> logging.Handler:
    """Send all logging to standard error (or `stream`). Calling it again replaces what was set up before."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    for old in [old for old in root.handlers if getattr(old, "of_zhiban", False)]:
        root.removeHandler(old)
    handler.of_zhiban = True  # type: ignore[attr-defined]  # our mark, to find it again
    root.addHandler(handler)
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for name in ("uvicorn", "uvicorn.error"):  # uvicorn brings handlers of its own, which would not redact
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.captureWarnings(True)
    return handler
