"""How accounts let an app of the simulated GitHub write for them: by a code that they type in at its site."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

if TYPE_CHECKING:
    from zhiban.testing.forge import Account, Json
    from zhiban.testing.github.simulator import AppIdentity, GitHubSimulator

INTERVAL = 5
CODE_SECONDS = 900
TOKEN_SECONDS = 8 * 3600
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass
class Device:
    """A code that waits to be typed in. Whoever asks before the interval is over has to wait longer each time."""

    app: AppIdentity
    code: str
    typed: str
    expires_at: datetime
    interval: int = INTERVAL
    asked_at: datetime | None = None
    state: Literal["pending", "authorized", "denied", "used"] = "pending"
    account: Account | None = None


class DeviceFlow:
    """The two endpoints, what is waiting there, and what people do at the site."""

    def __init__(self, github: GitHubSimulator) -> None:
        self._github = github
        self.devices: dict[str, Device] = {}
        self.refreshing: dict[str, tuple[AppIdentity, Account]] = {}

    def authorizes(self, typed: str, login: str) -> None:
        """Somebody who is signed in types the code in and agrees."""
        self._typed(typed, "authorized").account = self._github.account(login)

    def denies(self, typed: str) -> None:
        self._typed(typed, "denied")

    def revokes(self, login: str) -> None:
        """Somebody takes back what they agreed to: no token of theirs works any more."""
        grants = self._github.grants
        for token in [one for one, grant in grants.items() if grant.member and grant.account.login == login]:
            del grants[token]
        self.refreshing = {key: kept for key, kept in self.refreshing.items() if kept[1].login != login}

    def _typed(self, typed: str, state: Literal["authorized", "denied"]) -> Device:
        device = next(one for one in self.devices.values() if one.typed == typed)
        if device.state != "pending" or device.expires_at <= self._github.now():
            raise ValueError("this code is of no use any more")
        device.state = state
        return device

    # ---------------------------------------------------------------------------------------------------- endpoints

    async def code(self, request: Request) -> Response:
        app = self._app(await _values(request))
        if app is None:
            return _answer(request, {"error": "Not Found"}, 404)
        if not app.device_flow:
            return _answer(request, {"error": "device_flow_disabled"})
        typed = f"{secrets.token_hex(2)}-{secrets.token_hex(2)}".upper()
        device = Device(app, secrets.token_hex(20), typed, self._github.now() + timedelta(seconds=CODE_SECONDS))
        self.devices[device.code] = device
        said = {
            "device_code": device.code,
            "user_code": typed,
            "verification_uri": f"{self._github.base}/login/device",
            "expires_in": CODE_SECONDS,
            "interval": INTERVAL,
        }
        return _answer(request, said)

    async def token(self, request: Request) -> Response:
        asked = await _values(request)
        app = self._app(asked)
        if app is None:
            return _answer(request, {"error": "incorrect_client_credentials"})
        if asked.get("grant_type") == "refresh_token":
            kept = self.refreshing.pop(asked.get("refresh_token", ""), None)
            if kept is None or kept[0] is not app:
                return _answer(request, {"error": "bad_refresh_token"})
            self.revokes(kept[1].login)  # the token before is void, too
            return _answer(request, self._grant(app, kept[1]))
        if asked.get("grant_type") != DEVICE_GRANT:
            return _answer(request, {"error": "unsupported_grant_type"})
        return _answer(request, self._look(app, asked.get("device_code", "")))

    def _look(self, app: AppIdentity, code: str) -> Json:
        device, now = self.devices.get(code), self._github.now()
        if device is None or device.app is not app or device.state == "used":
            return {"error": "incorrect_device_code"}
        if device.expires_at <= now:
            return {"error": "expired_token"}
        asked_at, device.asked_at = device.asked_at, now
        if asked_at is not None and now - asked_at < timedelta(seconds=device.interval):
            device.interval += INTERVAL
            return {"error": "slow_down", "interval": device.interval}
        if device.state == "denied":
            return {"error": "access_denied"}
        if device.state == "pending" or device.account is None:
            return {"error": "authorization_pending"}
        device.state = "used"
        return self._grant(app, device.account)

    def _grant(self, app: AppIdentity, account: Account) -> Json:
        token, refresh = f"ghu_{secrets.token_hex(18)}", f"ghr_{secrets.token_hex(38)}"
        self._github.member_token(app, account, token, seconds=TOKEN_SECONDS)
        self.refreshing[refresh] = (app, account)
        return {
            "access_token": token,
            "expires_in": TOKEN_SECONDS,
            "refresh_token": refresh,
            "refresh_token_expires_in": 15_897_600,
            "token_type": "bearer",
            "scope": "",
        }

    def _app(self, asked: dict[str, str]) -> AppIdentity | None:
        apps = self._github.apps.values()
        return next((one for one in apps if one.json()["client_id"] == asked.get("client_id")), None)


async def _values(request: Request) -> dict[str, str]:
    body = await request.body()
    if request.headers.get("content-type", "").startswith("application/json"):
        found = json.loads(body or b"{}")
        return {str(name): str(value) for name, value in found.items()}
    return {name: values[0] for name, values in parse_qs(body.decode()).items()}


def _answer(request: Request, said: Json, status: int = 200) -> Response:
    """As a form, unless JSON is asked for; refusals come as 200."""
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse(said, status)
    return Response(urlencode(said), status, media_type="application/x-www-form-urlencoded")
