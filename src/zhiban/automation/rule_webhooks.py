"""Calls of rules to other programs: after the commit, signed, to the open internet, a few times at most.

The call is signed by the rules of Standard Webhooks; its id stays the same however often it is repeated. What became
of it stands with the action in the rule's run. The key is the workspace's and follows from the installation's.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from zhiban.automation.models import RunOutcome
from zhiban.automation.queries import access_run, names
from zhiban.automation.queries import rules as all_rules
from zhiban.conversations.facts import conversation_facts
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import NotFound, Unavailable
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.http import AddressRefused, Http, encoded
from zhiban.kit.i18n import mark
from zhiban.kit.jobs import Job
from zhiban.kit.json_safe import json_safe
from zhiban.kit.vault import Vault

MOST_CALLS = 8
SECONDS = 10.0  # from the first byte of a call to the last of its answer
ANSWER_LIMIT = 64 << 10  # bytes of an answer, which nobody reads
MESSAGE_SIZE = 4000  # characters of the message that are passed on

CALL_WEBHOOK = Job("call_webhook", queue="calls", attempts=MOST_CALLS + 4, wait=10.0, longest=600.0)

# key, id of the call, moment, body -> headers
Sign = Callable[..., Mapping[str, str]]


class WebhookUnanswered(Unavailable):
    """The other program did not take the call, and may take it later."""


def signing_key(vault: Vault, workspace_id: int) -> bytes:
    """What the calls of a workspace's rules are signed with. Changes with the installation's key."""
    return vault.derive(f"rule webhooks of {workspace_id}")


def signing_secret(vault: Vault, workspace_id: int) -> str:
    """The same as whoever receives the calls types it in."""
    return "whsec_" + base64.b64encode(signing_key(vault, workspace_id)).decode()


@frozen_dataclass
class WebhookSetup:
    """How calls are signed, which hosts in private networks an operator allows, and where our desk is."""

    sign: Sign
    private_hosts: Sequence[str] = ()
    url: str = ""

    def may_be_private(self, address: str) -> bool:
        return (urlsplit(address).hostname or "") in self.private_hosts


class RuleWebhooks:
    """Makes the calls."""

    def __init__(self, database: Database, http: Http, vault: Vault, clock: Clock, setup: WebhookSetup) -> None:
        self._database = database
        self._http = http
        self._vault = vault
        self._clock = clock
        self._setup = setup

    async def call(self, workspace_id: int, run_id: int, position: int) -> None:
        """Make one call, unless it was made. Raises WebhookUnanswered where it is worth another attempt."""
        async with self._database.transaction(workspace_id) as tx:
            try:
                run = await access_run(tx, run_id)
            except NotFound:
                return
            told = run.actions[position]
            if told["outcome"] not in ("queued", "waiting"):
                return
            content = await _content(tx, run_id, url=self._setup.url)
        calls = int(told.get("calls", 0)) + 1
        refused, again = await self._send(
            workspace_id, told["action"]["url"], f"rule-{workspace_id}-{run_id}-{position}", content
        )
        lost = bool(refused) and (not again or calls >= MOST_CALLS)
        outcome = "failed" if lost else "waiting" if refused else "delivered"
        async with self._database.transaction(workspace_id) as tx:
            await _record(tx, run_id, position, outcome=outcome, calls=calls, error=refused, now=self._clock.now())
        if outcome == "waiting":
            raise WebhookUnanswered(refused)

    async def _send(self, workspace_id: int, address: str, id_: str, content: object) -> tuple[str, bool]:
        """Why it was not taken, empty when it was; and whether it may be taken later."""
        body = encoded(content)
        key = signing_key(self._vault, workspace_id)
        signed = self._setup.sign(key, id_=id_, at=self._clock.now(), body=body)
        try:
            async with asyncio.timeout(SECONDS):  # whoever answers byte by byte is never silent for long
                answer = await self._http.post_public(
                    address,
                    data=body,
                    headers={"Content-Type": "application/json", **signed},
                    timeout=SECONDS,
                    limit=ANSWER_LIMIT,
                    allow_private=self._setup.may_be_private(address),
                )
        except AddressRefused:
            return mark("The address leads into a private network, where rules do not call."), False
        except (Unavailable, TimeoutError):
            return mark("The other program did not answer."), True
        if 200 <= answer.status < 300:
            return "", False
        again = answer.status in (408, 409, 425, 429) or answer.status >= 500
        return mark(f"The other program answered {answer.status}."), again


_RECORD = """
update rule_run set actions = jsonb_set(actions, array[%(position)s::text],
    (actions -> %(position)s::int) - 'error' || %(told)s::jsonb),
  outcome = case when %(lost)s then %(failed)s else outcome end
where id = %(id)s"""


async def _record(
    tx: Transaction, run_id: int, position: int, *, outcome: str, calls: int, error: str, now: datetime
) -> None:
    told = {"outcome": outcome, "calls": calls, "at": now, **({"error": error} if error else {})}
    await tx.run(
        _RECORD,
        id=run_id,
        position=position,
        told=json_safe(told),
        lost=outcome == "failed",
        failed=RunOutcome.FAILED,
    )


async def _content(tx: Transaction, run_id: int, *, url: str) -> dict[str, Any]:
    """What is told: the rule, why it acted, and the conversation as it is now, with names."""
    run = await access_run(tx, run_id)
    called = await names(tx)
    rule = next((one.name for one in await all_rules(tx) if one.id == run.rule_id), "")
    found = (
        await conversation_facts(tx, run.conversation_id, run.facts.get("message"))
        if run.conversation_id is not None
        else None
    )
    told: dict[str, Any] = {
        "type": "rule.acted",
        "run": run.id,
        "at": run.at.isoformat(),
        "trigger": run.trigger,
        "rule": {"id": run.rule_id, "name": rule},
    }
    if found is None:
        return told
    state = found.state
    told["conversation"] = {
        "id": state.id,
        "url": f"{url}/conversations/{state.id}" if url else None,
        "status": state.status.value,
        "priority": int(state.priority),
        "inbox": called.inboxes.get(state.inbox_id),
        "channel": found.channel,
        "assignee": called.agents.get(state.assignee_id or 0),
        "team": called.teams.get(state.team_id or 0),
        "labels": [called.labels[one] for one in state.labels if one in called.labels],
        "waiting_since": state.waiting_since.isoformat() if state.waiting_since else None,
    }
    told["contact"] = {"id": state.contact_id, "name": found.contact.name}
    if found.message is not None:
        message = found.message
        told["message"] = {
            "id": message.id,
            "direction": message.direction,
            "author": message.author,
            "kind": message.kind,
            "text": message.text[:MESSAGE_SIZE],
        }
    return told
