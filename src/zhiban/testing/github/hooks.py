"""How the simulated GitHub signs its webhooks: with both signatures."""

from __future__ import annotations

import hashlib
import hmac

from zhiban.testing.forge_hooks import HookDelivery, Hooks

__all__ = ["GitHubHooks", "HookDelivery", "headers"]


class GitHubHooks(Hooks):
    def headers(self, delivery: HookDelivery) -> dict[str, str]:
        return headers(delivery)


def headers(delivery: HookDelivery) -> dict[str, str]:
    """The headers of a call, with both signatures, as GitHub sends them."""
    secret = delivery.hook.secret.encode()
    return {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/0123456",
        "X-GitHub-Event": delivery.event,
        "X-GitHub-Delivery": delivery.guid,
        "X-Hub-Signature": "sha1=" + hmac.new(secret, delivery.body, hashlib.sha1).hexdigest(),
        "X-Hub-Signature-256": "sha256=" + hmac.new(secret, delivery.body, hashlib.sha256).hexdigest(),
    }
