"""WeChat groups through a Wechaty gateway that the operator runs. How it is connected is docs/en/how-to/wechaty.md."""

from zhiban.integrations.wechaty.integration import WECHATY

__all__ = ["WECHATY"]
