"""Saved views: the page where their conditions are written, in the editor of rules."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from zhiban.automation import queries, saved_views
from zhiban.automation.definition import BadDefinition
from zhiban.automation.saved_views import VIEW_CONDITIONS, SavedView, load_view
from zhiban.automation.wording import RuleWording
from zhiban.conversations.list_models import Queue, StatusTab
from zhiban.conversations.lists import conversation_list
from zhiban.desk import rule_form, rule_labels
from zhiban.desk.editor_page import EditorPage
from zhiban.desk.rule_form import RuleDraft
from zhiban.kit.errors import Conflict
from zhiban.people.auth import CurrentAgent
from zhiban.people.ownership import check_may_keep, may_keep
from zhiban.web.render import wants_part
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/settings/views"
FIRST: RuleDraft = {"kind": "waiting", "minutes": "10"}
NEW: RuleDraft = {"name": "", "shared": False, "conditions": {"kind": "group", "conditions": [FIRST]}}
SHOWN = 12  # conversations that the page lists of a view


class _ViewPage(EditorPage):
    section = "views"

    async def draft(self) -> RuleDraft:
        form = await self.form()
        found = rule_form.typed(form, conditions=VIEW_CONDITIONS)
        said = dict(form)
        return {
            "name": found["name"],
            "conditions": found["conditions"],
            "shared": "shared" in said,
            "looks": "look" in said,
        }

    def said(self, draft: RuleDraft, words: RuleWording) -> dict[str, Any]:
        """The view in a sentence; what is missing, where it is none yet."""
        try:
            given = load_view(draft["conditions"]).label(words)
            return {"said": self.texts("列出这样的会话：{given}", given=given), "whole": True}
        except BadDefinition as error:
            return {"said": rule_form.unfinished(error, self.texts), "whole": False}

    def editor(
        self, draft: RuleDraft, words: RuleWording, *, view: SavedView | None, trouble: str = ""
    ) -> dict[str, Any]:
        return {
            "view": view,
            "draft_at": f"{HERE}/draft" + (f"?id={view.id}" if view else ""),
            "draft": draft,
            "looks": draft.get("looks", False),  # whether it is to be looked at rather than saved
            "conditions": rule_form.conditions_view(draft, words, VIEW_CONDITIONS),
            "labels": rule_labels,
            "manages": may_keep(self.agent, view.owner_id if view else self.agent.id),
            "shares": may_keep(self.agent, None),
            "trouble": trouble,
            **self.said(draft, words),
        }

    async def show(
        self, *, opened: int | None = None, draft: RuleDraft | None = None, trouble: str = "", status: int = 200
    ) -> Response:
        """The whole page, with a view opened: this one, the draft of a new one, or the first."""
        async with self.transaction() as tx:
            rows = await saved_views.saved_views(tx, self.agent.id)
            view = None
            if opened is not None:
                view = await saved_views.access_view(tx, opened, agent_id=self.agent.id)
            elif draft is None and rows:
                view = rows[0]
            words = self.wording(await queries.names(tx))
            listed = None
            if view is not None:
                listed = await conversation_list(
                    tx,
                    self.access,
                    queue=Queue.ALL,
                    tab=StatusTab.OPEN,
                    limit=SHOWN,
                    views=await saved_views.list_filters(tx, self.agent.id),
                    view=view.id,
                    now=self.now,
                )
        kept = {"name": view.name, "shared": False, "conditions": view.conditions} if view else NEW
        return await self.whole(
            "views/views.html",
            status=status,
            rows=rows,
            listed=listed,
            may=may_keep(self.agent, self.agent.id),
            opened=opened is not None or draft is not None,
            **self.editor(draft or kept, words, view=view, trouble=trouble),
        )


@router.get(HERE)
async def page(request: Request, agent: CurrentAgent) -> Response:
    return await _ViewPage(request, agent).show()


@router.get(HERE + "/new")
async def new(request: Request, agent: CurrentAgent) -> Response:
    """A new one, perhaps to look at only, or of what a list is filtered by that nobody saved."""
    found = {**NEW, "looks": "look" in request.query_params}
    with suppress(BadDefinition):
        if given := request.query_params.get("filter"):
            conditions = saved_views.read_filter(given)
            load_view(conditions)
            found = {**NEW, "looks": True, "conditions": {"kind": "group", **conditions}}
    return await _ViewPage(request, agent).show(draft=found)


@router.post(HERE + "/filter")
async def look(request: Request, agent: CurrentAgent) -> Response:
    """The list of what is typed, which nobody saves."""
    page = _ViewPage(request, agent)
    found = await page.draft()
    try:
        told = saved_views.written_filter(load_view(found["conditions"]))
    except Conflict as error:
        return await page.refused(error, opened=None, draft=found)
    return page.back("/", queue=Queue.ALL.value, filter=told)


@router.get(HERE + "/{view_id}")
async def one(request: Request, agent: CurrentAgent, view_id: int) -> Response:
    return await _ViewPage(request, agent).show(opened=view_id)


@router.post(HERE + "/draft")
async def draft(
    request: Request,
    agent: CurrentAgent,
    do: Annotated[str, Form(max_length=80)] = "",
    id: int | None = None,  # noqa: A002
) -> Response:
    """The editor after a button or a choice of a kind; nothing is stored."""
    page = _ViewPage(request, agent)
    found = await page.draft()
    rule_form.changed({**found, "actions": []}, do, condition=FIRST)
    if not wants_part(request):
        return await page.show(opened=id, draft=found)
    async with page.transaction() as tx:
        view = None if id is None else await saved_views.access_view(tx, id, agent_id=agent.id)
        words = page.wording(await queries.names(tx))
    return page.part("views/editor.html", **page.editor(found, words, view=view))


@router.post(HERE + "/preview")
async def preview(request: Request, agent: CurrentAgent) -> Response:
    """The sentence of what is typed."""
    page = _ViewPage(request, agent)
    found = await page.draft()
    async with page.transaction() as tx:
        words = page.wording(await queries.names(tx))
    return page.part("rules/said.html", **page.said(found, words))


@router.post(HERE)
async def create(request: Request, agent: CurrentAgent) -> Response:
    page = _ViewPage(request, agent)
    found = await page.draft()
    owner_id = None if found["shared"] else agent.id
    by, now = page.actor, page.now
    try:
        check_may_keep(agent, owner_id)
        conditions = load_view(found["conditions"])
        async with page.transaction() as tx:
            view_id = await saved_views.add_view(
                tx, name=found["name"], conditions=conditions, owner_id=owner_id, by=by, now=now
            )
    except Conflict as error:
        return await page.refused(error, opened=None, draft=found)
    return RedirectResponse(f"{HERE}/{view_id}", status_code=303)


@router.post(HERE + "/{view_id}")
async def save(request: Request, agent: CurrentAgent, view_id: int) -> Response:
    page = _ViewPage(request, agent)
    found = await page.draft()
    by, now = page.actor, page.now
    try:
        async with page.transaction() as tx:
            view = await saved_views.access_view(tx, view_id, agent_id=agent.id)
            check_may_keep(agent, view.owner_id)
            conditions = load_view(found["conditions"])
            await saved_views.change_view(tx, view, name=found["name"], conditions=conditions, by=by, now=now)
    except Conflict as error:
        return await page.refused(error, opened=view_id, draft=found)
    return RedirectResponse(f"{HERE}/{view_id}", status_code=303)


@router.post(HERE + "/{view_id}/remove")
async def remove(request: Request, agent: CurrentAgent, view_id: int) -> Response:
    page = _ViewPage(request, agent)
    by, now = page.actor, page.now
    try:
        async with page.transaction() as tx:
            view = await saved_views.access_view(tx, view_id, agent_id=agent.id)
            check_may_keep(agent, view.owner_id)
            await saved_views.remove_view(tx, view, by=by, now=now)
    except Conflict as error:
        return await page.refused(error, opened=view_id, draft=None)
    return RedirectResponse(HERE, status_code=303)
