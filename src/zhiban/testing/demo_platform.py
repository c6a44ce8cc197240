"""What the demonstration is connected to: a simulated WeCom, and the shop's website with the webhook channel."""

from __future__ import annotations

import time
from typing import Any

from starlette.types import ASGIApp

from zhiban.testing.demo_folder import SimulatedKeys
from zhiban.testing.webhook import WebhookProgram
from zhiban.testing.wecom import WeComSimulator, application


class DemoPlatform:
    """Use `simulator` as an async context manager, mount `app`, and call `connect` once we answer at our address."""

    def __init__(self, keys: SimulatedKeys) -> None:
        self.keys = keys
        self.simulator = WeComSimulator(corp_id=keys.corp_id, secret=keys.secret)
        self.simulator.kf.count_from(int(time.time() * 1000))
        self.app: ASGIApp = application(self.simulator)
        self.site = WebhookProgram(keys.site_secret)

    def settings(self, api_base: str) -> dict[str, Any]:
        """What the environment would say to connect us; `api_base` is where `app` answers."""
        named = self.keys.environment(api_base)
        # Settings are given by their own names, which are in lower case unless they have several.
        return {name if name.endswith("AES_KEY") else name.lower(): value for name, value in named.items()}

    def site_settings(self, address: str) -> dict[str, str]:
        """What an operator would fill in to connect the website; `address` is where `site.app` answers."""
        return {
            "source": "site",
            "url": f"{address}/inbox",
            "secret": self.keys.site_secret,
            "allow_private": "true",
        }

    async def connect(self, url: str) -> None:
        """Let the platform call us at `url`, as if an operator had typed the address into its console."""
        self.simulator.configure(f"{url}/wecom/callback", token=self.keys.token, aes_key=self.keys.aes_key)
        await self.simulator.verify()

    async def greet(self) -> None:
        """Somebody asks on the website, whom the assistant answers before the visitor has looked around."""
        once = f"visitor-{time.time_ns()}"  # the numbers of the program begin anew with each start
        message = {"id": once, "text": "积分会过期吗"}
        contact = {"id": "visitor", "name": "白鹭"}
        await self.site.call({"type": "message", "contact": contact, "message": message}, id_=once)
