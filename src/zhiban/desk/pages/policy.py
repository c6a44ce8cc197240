"""The policy of an inbox: what contacts are told and when, as a form with a preview, checked like a policy file."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from zhiban.channels import configuring, inboxes
from zhiban.channels.business_hours import hours_of
from zhiban.channels.inboxes import InboxConfig
from zhiban.channels.policy import AWAY_TEXT, IDLE_TEXT, Policy, PolicyMistake, Problem, parse_policy
from zhiban.conversations import labels
from zhiban.desk import policy_form
from zhiban.desk.page import known
from zhiban.desk.pages.connections import HERE
from zhiban.desk.policy_form import DAY_LABELS, TARGETS, Typed, known_timezones
from zhiban.desk.policy_preview import SITUATIONS, WELCOME_HINTS, Situation, policy_preview
from zhiban.desk.settings_page import InboxesPage, ManagingInboxes
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, Misconfigured
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.notifications.jobs import NotifierRegistry
from zhiban.people import teams
from zhiban.ports import Limits
from zhiban.ports.channels import Welcomes
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)


@frozen_dataclass
class _Stored:
    """The policy of an inbox as it is now. `seen` names it, so that two who change it at once notice."""

    row: InboxConfig
    policy: Policy
    addresses: list[str]
    seen: str


async def _stored(page: InboxesPage, tx: Transaction, inbox_id: int) -> _Stored:
    """Raises NotFound, SealBroken."""
    row = await inboxes.access_inbox(tx, known(inbox_id))
    addresses = await configuring.notified(tx, page.setup.vault, row.id)
    digest = hashlib.sha256(json.dumps(row.policy, sort_keys=True).encode()).hexdigest()
    return _Stored(row, Policy.model_validate(row.policy), addresses, digest)


async def _check_label(tx: Transaction, policy: Policy, before: Policy) -> None:
    """One that was removed may stay, as it does no harm; chosen anew, it raises PolicyMistake."""
    label = policy.auto_resolve.label
    if label is not None and label != before.auto_resolve.label and not await labels.still_there(tx, [label]):
        raise PolicyMistake([Problem(None, "auto_resolve.label", mark("There is no such label any more."))])


async def _labels(page: InboxesPage, chosen: str) -> list[tuple[str, str]]:
    """The labels to choose from, by number; the chosen one among them, though it was removed."""
    async with page.transaction() as tx:
        there = [(str(one.id), one.name) for one in await labels.labels(tx)]
        gone = (await labels.label_names(tx)).get(int(chosen)) if chosen.isdecimal() and len(chosen) < 19 else None
    if gone and chosen not in dict(there):
        there.append((chosen, page.texts("{name}（已移除，不再加上）", name=gone)))
    return there


async def _typed(page: InboxesPage) -> Typed:
    found: dict[str, list[str]] = defaultdict(list)
    for name, value in await page.form():
        found[name].append(value)
    return found


def _read(page: InboxesPage, typed: Typed, stored: _Stored) -> Policy:
    """The policy that was typed. Raises PolicyMistake."""
    policy = parse_policy(policy_form.values_of(typed, stored.policy, stored.addresses))
    registry: NotifierRegistry = page.request.app.state.notifiers
    policy_form.check_new_addresses(typed, stored.addresses, registry.is_hosted)
    return policy


def _welcomes(page: InboxesPage, row: InboxConfig) -> Welcomes:
    limits: Limits = page.request.app.state.desk.limits_of(row.kind)
    return limits.welcomes


async def _preview(
    page: InboxesPage, row: InboxConfig, policy: Policy | None, typed: Typed | None = None
) -> dict[str, Any]:
    """At the moment, in the situation and for the team that are chosen; None: what was typed says no policy yet."""
    asked = {name: ((typed or {}).get(name) or ("",))[0].strip() for name in ("situation", "at", "of_team")}
    situation: Situation = next((one for one in SITUATIONS if one == asked["situation"]), "first")
    async with page.transaction() as tx:
        there = [one for one in await teams.team_rows(tx) if one.hours is not None]
    team = next((one for one in there if str(one.id) == asked["of_team"]), None)
    shown, chosen = None, ""
    if policy is not None:
        hours, at = hours_of(team.hours if team else None, policy.hours), page.now
        if asked["at"]:
            try:
                at, chosen = _moment(asked["at"], ZoneInfo(hours.timezone)), asked["at"]
            except ValueError:  # nothing that the field of a browser sends
                chosen = ""
        welcomes = _welcomes(page, row)
        shown = policy_preview(policy, situation, hours=hours, at=at, texts=page.texts, welcomes=welcomes)
    return {
        "preview": shown,
        "situation": situation,
        "situations": SITUATIONS,
        "at": chosen,
        "of_teams": [(one.id, one.name) for one in there],
        "of_team": team.id if team else None,
    }


def _moment(written: str, zone: ZoneInfo) -> datetime:
    moment = datetime.strptime(written[:16], "%Y-%m-%dT%H:%M").replace(tzinfo=zone)
    if not 2000 <= moment.year <= 2100:
        raise ValueError(written)
    return moment.astimezone(UTC)


async def _show(
    page: InboxesPage,
    stored: _Stored,
    *,
    typed: Typed | None = None,
    errors: Mapping[str, str] | None = None,
    trouble: str = "",
    saved: bool = False,
) -> Response:
    if typed is None:
        shown, policy = policy_form.of_policy(stored.policy, stored.addresses), stored.policy
    else:
        shown, policy = policy_form.of_typed(typed, stored.addresses), None
    registry: NotifierRegistry = page.request.app.state.notifiers
    return await page.whole(
        "settings/policy.html",
        status=422 if errors or trouble else 200,
        row=stored.row,
        seen=stored.seen,
        shown=shown,
        errors=errors or {},
        trouble=trouble,
        saved=saved,
        days=DAY_LABELS,
        targets=TARGETS,
        zones=known_timezones(),
        labels=await _labels(page, shown["auto_resolve.label"]),
        idle_text=IDLE_TEXT,
        away_text=AWAY_TEXT,
        addresses=page.texts("、").join(f"{one}…" for one in registry.examples),
        welcome_hint=WELCOME_HINTS[_welcomes(page, stored.row)],
        **await _preview(page, stored.row, policy, typed),
    )


@router.get(HERE + "/{inbox_id}/policy")
async def show(page: ManagingInboxes, inbox_id: int, saved: bool = False) -> Response:
    async with page.transaction() as tx:
        stored = await _stored(page, tx, inbox_id)
    return await _show(page, stored, saved=saved)


@router.post(HERE + "/{inbox_id}/policy/preview")
async def preview(page: ManagingInboxes, inbox_id: int) -> Response:
    """What a contact would be told if what is typed were stored."""
    typed = await _typed(page)
    async with page.transaction() as tx:
        stored = await _stored(page, tx, inbox_id)
    errors: Mapping[str, str] = {}
    policy: Policy | None = None
    try:
        policy = _read(page, typed, stored)
    except PolicyMistake as mistake:
        errors = policy_form.beside(mistake.problems, page.texts)
    return page.part(
        "settings/preview.html", row=stored.row, errors=errors, **await _preview(page, stored.row, policy, typed)
    )


def _check_seen(stored: _Stored, typed: Typed) -> None:
    """Raises Conflict."""
    if typed.get("seen") != [stored.seen]:
        raise Conflict("Somebody else has changed this policy meanwhile. What you typed stands here still.")


@router.post(HERE + "/{inbox_id}/policy")
async def save(page: ManagingInboxes, inbox_id: int) -> Response:
    typed = await _typed(page)
    try:
        async with page.transaction() as tx:
            await inboxes.lock_inbox(tx, known(inbox_id))
            stored = await _stored(page, tx, inbox_id)
            _check_seen(stored, typed)
            policy = _read(page, typed, stored)
            await _check_label(tx, policy, stored.policy)
            await configuring.set_policy(
                tx,
                page.setup.vault,
                stored.row.id,
                policy.model_dump(mode="json"),
                by=page.actor,
                now=page.now,
            )
    except PolicyMistake as mistake:
        return await _show(page, stored, typed=typed, errors=policy_form.beside(mistake.problems, page.texts))
    except (Conflict, Misconfigured) as error:
        return await _show(page, stored, typed=typed, trouble=page.words(error))
    return page.back(f"{HERE}/{stored.row.id}/policy", saved="1")
