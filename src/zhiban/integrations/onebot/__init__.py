"""QQ groups through a OneBot v11 program that the operator runs. How it is connected is docs/en/how-to/onebot.md."""

from zhiban.integrations.onebot.integration import ONEBOT

__all__ = ["ONEBOT"]
