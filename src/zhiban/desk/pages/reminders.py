"""How our people are reminded of tickets: in which hours, how early, and where the list of the day is told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import ValidationError

from zhiban.channels.policy import PolicyMistake, parse_policy
from zhiban.conversations.access import access_conversation
from zhiban.conversations.groups import group_names
from zhiban.desk import policy_form
from zhiban.desk.page import DeskPage
from zhiban.desk.policy_form import DAY_LABELS, Typed, known_timezones
from zhiban.desk.policy_preview import hours_preview
from zhiban.desk.ticket_form import number_of
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.i18n import mark
from zhiban.people.auth import CurrentAgent
from zhiban.people.permissions import Permission
from zhiban.tickets.reminders import Reminders, reminders_of, set_reminders
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/settings/reminders"
NO_GROUP = mark("This conversation is no group.")
NUMBERS = ("due_hours", "unanswered_hours")


class RemindersPage(DeskPage):
    section = "reminders"

    async def typed(self) -> Typed:
        found: dict[str, list[str]] = defaultdict(list)
        for name, value in await self.form():
            found[name].append(value)
        return found

    async def show(
        self,
        shown: Mapping[str, Any] | None = None,
        *,
        errors: Mapping[str, str] | None = None,
        trouble: str = "",
        saved: bool = False,
    ) -> Response:
        async with self.transaction() as tx:
            chosen = await reminders_of(tx)
            groups = await group_names(tx)
        broken = bool(errors or trouble)
        return await self.whole(
            "settings/reminders.html",
            status=422 if broken else 200,
            shown=shown or of_reminders(chosen),
            groups=groups,
            days=DAY_LABELS,
            zones=known_timezones(),
            errors=errors or {},
            trouble=trouble,
            saved=saved,
            preview=None if broken else hours_preview(chosen.hours, at=self.now, texts=self.texts),
        )


def of_reminders(chosen: Reminders) -> dict[str, Any]:
    """As the form shows them."""
    return {
        "daily": chosen.daily,
        "group": chosen.group,
        "due_hours": chosen.due_hours,
        "unanswered_hours": chosen.unanswered_hours,
        **policy_form.of_hours(chosen.hours),
    }


async def _managing(request: Request, agent: CurrentAgent) -> RemindersPage:
    """Raises NotAllowed."""
    agent.access.check(Permission.MANAGE_INBOXES)
    return RemindersPage(request, agent)


ManagingReminders = Annotated[RemindersPage, Depends(_managing)]


@router.get(HERE)
async def show(page: ManagingReminders, saved: bool = False) -> Response:
    return await page.show(saved=saved)


@router.post(HERE)
async def save(page: ManagingReminders) -> Response:
    typed = await page.typed()
    last = {name: values[-1].strip() for name, values in typed.items() if values}
    group = last.get("group", "")
    shown: dict[str, Any] = {"daily": "daily" in typed, "group": number_of(group)}
    shown |= {name: last.get(name, "") for name in NUMBERS}
    for name, usual in policy_form.of_hours(Reminders().hours).items():
        shown[name] = name in typed if isinstance(usual, bool) else last.get(name, "")
    if group and not shown["group"]:
        return await page.show(shown, trouble=page.words(Conflict(NO_GROUP)))
    try:
        hours = parse_policy({"hours": policy_form.hours_values(typed)}).hours
        values = {name: shown[name] for name in ("daily", "group", *NUMBERS)}
        wanted = Reminders.model_validate({**values, "hours": hours})
        async with page.transaction() as tx:
            await _check_group(tx, page, wanted.group)
            await set_reminders(tx, wanted, by=page.actor, now=page.now)
    except PolicyMistake as mistake:
        return await page.show(shown, errors=policy_form.beside(mistake.problems, page.texts))
    except ValidationError:
        return await page.show(shown, trouble=page.texts("小时数不对：到期前1到336，没有回应1到144。"))
    except (Conflict, NotFound) as error:
        return await page.show(shown, trouble=page.words(error))
    return page.back(HERE, saved="1")


async def _check_group(tx: Transaction, page: RemindersPage, group: int | None) -> None:
    """Raises NotFound, Conflict."""
    if group is not None and (await access_conversation(tx, page.access, group)).kind != "group":
        raise Conflict(NO_GROUP)
