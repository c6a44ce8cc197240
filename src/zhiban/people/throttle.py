"""The login throttle: an attempt is reserved in PostgreSQL before a password is looked at.

So neither parallel requests nor several processes get more guesses than one after another. Three things are counted:

* the account, for browsers that never signed in to it: eight attempts in ten minutes;
* the device, for a browser that has signed in to this account before and carries our signed cookie: eight as well.
  Strangers cannot use its share up, so nobody is locked out of their own browser by somebody else's guessing;
* the network address of strangers, against one password tried on many accounts: forty attempts. It is left out when
  the address is that of a proxy which nobody told us to trust, because then it is everybody's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import secrets
from datetime import datetime, timedelta

from zhiban.kit.db import NO_WORKSPACE, Database
from zhiban.kit.errors import ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass

WINDOW = timedelta(minutes=10)
PER_ACCOUNT = 8
PER_DEVICE = 8
PER_ADDRESS = 40
SWEPT = 20  # old rows thrown away with each attempt
_NONCE = 16  # bytes
_SIGNATURE = 32


class TooManyAttempts(ZhibanError):
    """Somebody guesses."""


@frozen_dataclass
class LoginAttempt:
    """Who wants to sign in, as far as we can tell before the password. `device`: the account's cookie was genuine.

    `step`: passwords and codes are counted apart.
    """

    account: str
    device: bytes | None
    network: str | None
    step: str = ""

    def limits(self) -> dict[bytes, int]:
        """What this attempt counts towards, and how far that may grow. Keys are digests: no address is stored."""
        if self.device is not None:
            return {_key(self.step + "device", self.account, self.device.hex()): PER_DEVICE}
        found = {_key(self.step + "account", self.account): PER_ACCOUNT}
        if self.network is not None:
            found[_key(self.step + "network", self.network)] = PER_ADDRESS
        return found

    @property
    def own(self) -> bytes:
        """The counter that a right password clears; the network's is shared with others and stays."""
        return next(iter(self.limits()))


def _key(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).digest()


def account_name(email: str) -> str:
    """One account, however its address is written."""
    return email.strip().lower()


def network_of(address: str | None) -> str | None:
    """The address for the throttle: a whole /64 of IPv6, which one household or machine owns. None when unknown."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return str(ipaddress.ip_network((found, 64), strict=False) if found.version == 6 else found)


class LoginThrottle:
    """Counts attempts for all processes. `secret` signs the cookies of known devices."""

    def __init__(self, database: Database, secret: bytes) -> None:
        self._database = database
        self._secret = secret

    def attempt(self, email: str, *, cookie: str = "", network: str | None = None, step: str = "") -> LoginAttempt:
        account = account_name(email)
        return LoginAttempt(account, self._device(account, cookie), network, step)

    async def reserve(self, attempt: LoginAttempt, *, now: datetime) -> None:
        """Count an attempt before it is made. Raises TooManyAttempts."""
        limits = attempt.limits()
        async with self._database.page_transaction(NO_WORKSPACE) as tx:
            # In the order of the keys, so that attempts which share two counters never wait for each other in a ring.
            rows = await tx.rows(
                "insert into login_attempt as held (key, started_at, attempts) "
                "select key, %(now)s, 1 from unnest(%(keys)s::bytea[]) as key order by key "
                "on conflict (key) do update set "
                "attempts = case when held.started_at <= %(old)s then 1 else held.attempts + 1 end, "
                "started_at = case when held.started_at <= %(old)s then excluded.started_at else held.started_at end "
                "returning key, attempts",
                now=now,
                old=now - WINDOW,
                keys=list(limits),
            )
            await tx.run(
                "delete from login_attempt where key in (select key from login_attempt where started_at <= %(old)s "
                "limit %(swept)s for update skip locked)",
                old=now - WINDOW,
                swept=SWEPT,
            )
        if any(attempts > limits[bytes(key)] for key, attempts in rows):
            raise TooManyAttempts("Too many attempts. Wait ten minutes, then try again.")

    async def succeeded(self, attempt: LoginAttempt) -> None:
        """Forget what its owner mistyped before."""
        async with self._database.page_transaction(NO_WORKSPACE) as tx:
            await tx.run("delete from login_attempt where key = %(key)s", key=attempt.own)

    # ------------------------------------------------------------------------------------------- known devices

    def cookie_for(self, email: str) -> str:
        """What a browser that signed in to this account keeps, to be known again."""
        nonce = secrets.token_bytes(_NONCE)
        return base64.urlsafe_b64encode(nonce + self._signature(account_name(email), nonce)).decode()

    def _device(self, account: str, cookie: str) -> bytes | None:
        try:
            found = base64.urlsafe_b64decode(cookie.encode("ascii", "replace"))
        except (binascii.Error, ValueError):
            return None
        nonce, signature = found[:_NONCE], found[_NONCE:]
        genuine = len(signature) == _SIGNATURE and hmac.compare_digest(signature, self._signature(account, nonce))
        return nonce if genuine else None

    def _signature(self, account: str, nonce: bytes) -> bytes:
        return hmac.digest(self._secret, b"device\0" + account.encode("utf-8", "replace") + b"\0" + nonce, "sha256")
