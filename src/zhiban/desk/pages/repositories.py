"""Which groups hear of which repositories, and how."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import Response
from pydantic import ValidationError

from zhiban.conversations import groups
from zhiban.conversations.access import access_conversation
from zhiban.desk.labels import GROUP_NEWS
from zhiban.desk.page import FormPage, known
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, Misconfigured, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.people.auth import CurrentAgent
from zhiban.people.permissions import Permission
from zhiban.tickets import repositories
from zhiban.tickets.group_news import MESSAGES_A_MINUTE, USUAL_EVENTS, LinkSettings, NewsEvent
from zhiban.tickets.repositories import RepositoryLink
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/settings/repositories"
MOST_NAMES = 500  # of repositories that are proposed
MOST_LABELS = 20
LONGEST_LABEL = 50

EVENTS: dict[NewsEvent, str] = {
    "opened": mark("新开"),
    "closed": mark("关闭、合并"),
    "reopened": mark("又打开"),
    "commented": mark("有人评论"),
    "reviewed": mark("评审"),
    "released": mark("发布"),
    "ready": mark("可以评审"),
    "discussed": mark("讨论"),
    "labeled": mark("改标签"),
    "assigned": mark("改负责人"),
    "failed": mark("默认分支失败"),
    "starred": mark("星数"),
}

Short = Annotated[str, Form(max_length=200)]


@frozen_dataclass
class LinkView:
    """A group and what it hears of. `reached` are the repositories that the pattern names now."""

    link: RepositoryLink
    settings: LinkSettings
    group: str
    reached: tuple[str, ...]


@frozen_dataclass
class LinkForm:
    """What was chosen for a link."""

    mode: str
    bots: bool
    labels: tuple[str, ...]
    events: tuple[str, ...]
    quiet_from: str
    quiet_to: str
    budget: str

    def settings(self) -> dict[str, Any]:
        """What is stored, without what is usual. Raises Conflict."""
        if len(self.labels) > MOST_LABELS or any(len(one) > LONGEST_LABEL for one in self.labels):
            raise Conflict(f"At most {MOST_LABELS} labels of {LONGEST_LABEL} characters can be chosen.")
        if bool(self.quiet_from) != bool(self.quiet_to) or (self.quiet_from and self.quiet_from == self.quiet_to):
            raise Conflict("Quiet hours need a beginning and another end.")
        chosen = {
            "mode": self.mode,
            "bots": self.bots,
            "labels": self.labels,
            "events": () if set(self.events) == USUAL_EVENTS else self.events,
            "quiet": f"{self.quiet_from}-{self.quiet_to}" if self.quiet_from else None,
            "budget": self.budget or MESSAGES_A_MINUTE,
        }
        try:
            found = LinkSettings.model_validate(chosen)
        except ValidationError:
            raise Conflict("One of these settings is none that a link can have.") from None
        return found.model_dump(mode="json", exclude_defaults=True)


async def _chosen(
    request: Request,
    mode: Short = "all",
    bots: Short = "",
    labels: Annotated[str, Form(max_length=2_000)] = "",
    quiet_from: Short = "",
    quiet_to: Short = "",
    budget: Short = "",
) -> LinkForm:
    events = [str(value) for key, value in (await request.form()).multi_items() if key == "event"]
    named = [one.strip() for one in re.split(r"[,，、\n]", labels)]
    return LinkForm(
        mode,
        bool(bots),
        tuple(dict.fromkeys(one for one in named if one)),
        tuple(dict.fromkeys(events)),
        quiet_from,
        quiet_to,
        budget,
    )


Chosen = Annotated[LinkForm, Depends(_chosen)]


class RepositoriesPage(FormPage):
    """One request of somebody who says which groups hear of which repositories."""

    section = "repositories"

    async def show(self, *, status: int = 200, trouble: str = "", **values: Any) -> Response:
        async with self.transaction() as tx:
            named = await groups.group_names(tx)
            rows = await repositories.repositories(tx)
            links = await self._links(tx, dict(named), [row.name for row in rows])
        return await self.whole(
            "settings/repositories.html",
            status=status,
            trouble=trouble,
            links=links,
            groups=[(id_, name or self.texts("群{tag}", tag=id_)) for id_, name in named],
            names=[row.name for row in rows][:MOST_NAMES],
            aliased=[row for row in rows if row.alias],
            any_repository=bool(rows),
            modes=GROUP_NEWS,
            events=EVENTS,
            budget=MESSAGES_A_MINUTE,
            usual=LinkSettings(),
            typed={"group": 0, "pattern": "", "repository": "", "alias": "", **values},
        )

    async def _links(self, tx: Transaction, named: dict[int, str], names: list[str]) -> list[LinkView]:
        return [
            LinkView(
                link,
                LinkSettings.model_validate(link.settings),
                named.get(link.conversation_id) or self.texts("群{tag}", tag=link.conversation_id),
                tuple(name for name in names if link.names(name)),
            )
            for link in await repositories.all_links(tx)
        ]

    async def access_group(self, tx: Transaction, conversation_id: int) -> int:
        """Raises NotFound, also for what is no group."""
        head = await access_conversation(tx, self.access, known(conversation_id))
        if head.kind != "group":
            raise NotFound("There is no such group.")
        return head.id


async def _linking(request: Request, agent: CurrentAgent) -> RepositoriesPage:
    """Raises NotAllowed."""
    agent.access.check(Permission.MANAGE_INBOXES)
    return RepositoriesPage(request, agent)


Linking = Annotated[RepositoriesPage, Depends(_linking)]


@router.get(HERE)
async def overview(page: Linking) -> Response:
    return await page.show()


@router.post(HERE)
async def add(page: Linking, chosen: Chosen, group: Annotated[int, Form()] = 0, pattern: Short = "") -> Response:
    """Let a group hear of what the pattern names. One that does already hears of it in this way from now on."""
    try:
        async with page.transaction() as tx:
            id_ = await page.access_group(tx, group)
            await repositories.link(tx, id_, pattern, settings=chosen.settings(), by=page.actor, now=page.now)
    except (Misconfigured, Conflict, NotFound) as error:
        return await page.refused(error, group=group, pattern=pattern)
    return page.back(HERE)


@router.post(HERE + "/alias")
async def call(page: Linking, repository: Short = "", alias: Short = "") -> Response:
    """What groups may call a repository besides its name; nothing where the alias is empty."""
    try:
        async with page.transaction() as tx:
            await repositories.call(tx, repository, alias, by=page.actor, now=page.now)
    except (Misconfigured, NotFound) as error:
        return await page.refused(error, repository=repository, alias=alias)
    return page.back(HERE)


@router.post(HERE + "/{link_id}")
async def change(page: Linking, link_id: int, chosen: Chosen) -> Response:
    """In which way the group hears of it."""
    async with page.transaction() as tx:
        row = await repositories.access_link(tx, known(link_id))
    try:
        settings = chosen.settings()
    except Conflict as error:
        return await page.refused(error)
    async with page.transaction() as tx:
        await repositories.change_link(tx, row.id, settings, by=page.actor, now=page.now)
    return page.back(HERE)


@router.post(HERE + "/{link_id}/remove")
async def remove(page: Linking, link_id: int) -> Response:
    async with page.transaction() as tx:
        row = await repositories.access_link(tx, known(link_id))
        await repositories.unlink(tx, row.conversation_id, row.pattern, by=page.actor, now=page.now)
    return page.back(HERE)
