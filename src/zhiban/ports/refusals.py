"""Why a message does not reach its contact."""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """Why a vendor will not send, or could not deliver what it had taken."""

    WINDOW_CLOSED = "window_closed"
    ALLOWANCE_USED = "allowance_used"
    HUMAN_ACTIVE = "human_active"  # a person holds the session in the vendor's own client
    IN_POOL = "in_pool"  # the session waits there for a person
    SESSION_ENDED = "session_ended"  # it is over until the contact writes again
    MOVE_REFUSED = "move_refused"  # the session cannot go there from where it is
    BLOCKED = "blocked"  # anti-spam or the contact refuses
    REFUSED_BY_CONTACT = "refused_by_contact"
    UNKNOWN_CONTACT = "unknown_contact"
    NOT_IN_GROUP = "not_in_group"  # our account was put out of it, or there is no such group any more
    ACCOUNT_DELETED = "account_deleted"  # our account at the vendor
    APP_CLOSED = "app_closed"
    CORP_NOT_VERIFIED = "corp_not_verified"
    NOBODY_LOGGED_IN = "nobody_logged_in"  # no member of ours ever used the vendor's client
    KIND_FORBIDDEN = "kind_forbidden"
    READ_ONLY = "read_only"  # an operator connected it for reading alone
    SECURITY_RESTRICTION = "security_restriction"
    MISCONFIGURED = "misconfigured"
    BAD_MESSAGE = "bad_message"
    CODE_EXPIRED = "code_expired"
    UNKNOWN = "unknown"  # the vendor names a reason that we do not know
