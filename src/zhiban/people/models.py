"""The organisation, its people, and the people who write to it."""

from __future__ import annotations

from enum import StrEnum

from zhiban.kit.i18n import mark


class Role(StrEnum):
    """What somebody is in their organisation, the highest first; what each may do is in people/permissions.py."""

    OWNER = "owner"
    ADMIN = "admin"
    SUPERVISOR = "supervisor"
    AGENT = "agent"
    READ_ONLY = "read_only"


ROLE_LABELS = {
    Role.OWNER: mark("负责人"),
    Role.ADMIN: mark("管理员"),
    Role.SUPERVISOR: mark("主管"),
    Role.AGENT: mark("客服"),
    Role.READ_ONLY: mark("只读"),
}
