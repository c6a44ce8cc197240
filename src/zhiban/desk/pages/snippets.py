"""Snippets: what the composer offers behind a slash, and the page where they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import JSONResponse, Response

from zhiban.conversations import snippets
from zhiban.conversations.access import access_conversation
from zhiban.conversations.queries import ThreadHead
from zhiban.conversations.snippet_variables import VARIABLES, filled_parts
from zhiban.desk.page import FormPage
from zhiban.desk.request import CurrentRequest
from zhiban.kit.errors import Conflict
from zhiban.kit.pinyin import initials
from zhiban.people.auth import CurrentAgent
from zhiban.people.ownership import check_may_keep, may_keep
from zhiban.people.permissions import Permission
from zhiban.people.service import SignedInAgent
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/settings/snippets"
NOTHING_TYPED: Mapping[str, Any] = {"id": None, "name": "", "text": "", "shared": "true"}

Name = Annotated[str, Form(max_length=200)]
Text = Annotated[str, Form(max_length=20_000)]


@router.get("/conversations/{conversation_id}/snippets")
async def offered(desk: CurrentRequest, conversation_id: int) -> Response:
    """Every snippet of this agent, filled for this conversation and no other."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        head = await access_conversation(tx, desk.access, conversation_id)
        rows = await snippets.snippets(tx, desk.agent.id)
    now = desk.auth.clock.now()
    values = _values(head, desk.agent, today=desk.texts.date(now, now))
    told = [
        {
            "id": one.id,
            "name": one.name,
            "initials": initials(one.name),
            "own": one.owner_id is not None,
            "parts": [
                {"text": part.text, "variable": desk.texts(VARIABLES[part.variable].label), "missing": part.missing}
                if part.variable
                else {"text": part.text}
                for part in filled_parts(one.text, values, desk.texts)
            ],
        }
        for one in rows
    ]
    return JSONResponse(told, headers={"cache-control": "no-store"})


def _values(head: ThreadHead, agent: SignedInAgent, *, today: str) -> Mapping[str, str]:
    """Only this conversation's; of the contact what they call themselves, never what colleagues call them."""
    return {
        "contact.name": head.contact_name,
        "agent.name": agent.name,
        "team.name": head.team_name or "",
        "inbox.name": head.inbox_name,
        "conversation.number": str(head.id),
        "organisation.name": agent.workspace,
        "today": today,
    }


class _SnippetsPage(FormPage):
    section = "snippets"

    async def show(self, *, status: int = 200, trouble: str = "", **values: Any) -> Response:
        async with self.transaction() as tx:
            rows = await snippets.snippets(tx, self.agent.id)
        return await self.whole(
            "snippets.html",
            status=status,
            shared=[row for row in rows if row.owner_id is None],
            own=[row for row in rows if row.owner_id is not None],
            variables=VARIABLES,
            nothing_typed=NOTHING_TYPED,
            longest=snippets.LONGEST_NAME,
            longest_text=snippets.LONGEST_TEXT,
            shares=may_keep(self.agent, None),
            answers=self.access.may(Permission.ANSWER),
            trouble=trouble,
            **{"typed": NOTHING_TYPED, **values},
        )


@router.get(HERE)
async def show(request: Request, agent: CurrentAgent) -> Response:
    return await _SnippetsPage(request, agent).show()


@router.post(HERE)
async def add(
    request: Request, agent: CurrentAgent, name: Name, text: Text, shared: Annotated[str, Form(max_length=5)] = ""
) -> Response:
    page = _SnippetsPage(request, agent)
    owner_id = None if shared else agent.id
    try:
        check_may_keep(agent, owner_id)
        async with page.transaction() as tx:
            await snippets.add_snippet(tx, name=name, text=text, owner_id=owner_id, by=page.actor, now=page.now)
    except Conflict as error:
        return await page.refused(error, typed={"id": None, "name": name, "text": text, "shared": shared})
    return page.back(HERE)


@router.post(HERE + "/{snippet_id}")
async def change(request: Request, agent: CurrentAgent, snippet_id: int, name: Name, text: Text) -> Response:
    page = _SnippetsPage(request, agent)
    try:
        async with page.transaction() as tx:
            one = await snippets.access_snippet(tx, snippet_id, agent_id=agent.id)
            check_may_keep(agent, one.owner_id)
            await snippets.change_snippet(tx, one, name=name, text=text, by=page.actor, now=page.now)
    except Conflict as error:
        return await page.refused(error, typed={"id": snippet_id, "name": name, "text": text})
    return page.back(HERE)


@router.post(HERE + "/{snippet_id}/remove")
async def remove(request: Request, agent: CurrentAgent, snippet_id: int) -> Response:
    page = _SnippetsPage(request, agent)
    try:
        async with page.transaction() as tx:
            one = await snippets.access_snippet(tx, snippet_id, agent_id=agent.id)
            check_may_keep(agent, one.owner_id)
            await snippets.remove_snippet(tx, one, by=page.actor, now=page.now)
    except Conflict as error:
        return await page.refused(error)
    return page.back(HERE)
