"""Passwords that are looked at in no time: what is stored of one says how much work that is."""

from __future__ import annotations

from argon2 import PasswordHasher

_QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def quickly_hashed(password: str) -> str:
    """What may be stored where a test is not about the work of a hash."""
    return _QUICK.hash(password)
