"""Any program as a channel: signed JSON in, signed JSON out. Its protocol is docs/en/how-to/webhook-channel.md."""

from zhiban.integrations.webhook.integration import WEBHOOK

__all__ = ["WEBHOOK"]
