"""绑定账号, 解绑账号: a member says that they want to write at the tracker under their own account, or no more."""

from __future__ import annotations

import re

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.patterns import lazy_pattern
from zhiban.tickets.draft_words import without_mentions

LONGEST = 60
# A single word in Latin letters is taken for what the tracker is called; with a slash it would be a repository.
_WHAT = r"(?:我的)?[ ]?(?:账号|帐号|帳號|登录|登錄|account|login|[A-Za-z]{2,20})(?:账号|帐号|帳號| account)?"
_SAID = lazy_pattern(
    rf"(?:(?P<bind>绑定|綁定|bind)|解绑|解綁|解除绑定|解除綁定|unbind)(?: my)?[:： ]?{_WHAT}[。.!！ ]*",
    re.IGNORECASE | re.ASCII,
)


@frozen_dataclass
class LoginWord:
    """`bind` is false where they want to be bound no more."""

    bind: bool


def parse_login_word(text: str) -> LoginWord | None:
    """What this says about the member's own account, None where it is said about something else."""
    if len(text) > LONGEST:
        return None
    found = _SAID.fullmatch(without_mentions(text))
    return LoginWord(bind=bool(found["bind"])) if found else None
