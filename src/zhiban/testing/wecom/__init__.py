"""A wire-level simulator of WeCom: `WeComSimulator` is the platform, `application` serves it."""

from zhiban.testing.wecom.asgi import application
from zhiban.testing.wecom.simulator import AES_KEY, AGENT_ID, CORP_ID, OPEN_KFID, SECRET, TOKEN, WeComSimulator

__all__ = ["AES_KEY", "AGENT_ID", "CORP_ID", "OPEN_KFID", "SECRET", "TOKEN", "WeComSimulator", "application"]
