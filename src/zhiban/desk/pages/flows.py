"""Flows: the page where they are written and tried, and starting one in the conversation that is open."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from zhiban.automation import flow_asking, flow_queries, flows, queries
from zhiban.automation.definition import BadDefinition
from zhiban.automation.flow_definition import SILENT_LABELS, FlowDefinition, load_flow
from zhiban.automation.flow_queries import FlowRow
from zhiban.automation.flow_trial import PICTURE, FlowTrial, try_flow
from zhiban.automation.wording import CONTACT_FIELD_LABELS, Names, RuleWording
from zhiban.conversations.access import access_conversation_to_answer, visible
from zhiban.conversations.attributes import conversation_fields
from zhiban.conversations.queries import contact_names
from zhiban.desk import flow_form, rule_labels
from zhiban.desk.editor_page import EditorPage
from zhiban.desk.labels import FLOW_OUTCOMES
from zhiban.desk.request import CurrentRequest, Toast
from zhiban.desk.rule_form import RuleDraft
from zhiban.events import DIRECT, Actor
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, ZhibanError
from zhiban.people.auth import CurrentAgent
from zhiban.people.contact_fields import contact_fields
from zhiban.people.permissions import Permission
from zhiban.web.render import wants_part
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/settings/flows"
RUNS = 20
MOST_SAID = 60  # words of one trial


class _FlowPage(EditorPage):
    section = "flows"

    @property
    def manages(self) -> bool:
        return self.access.may(Permission.MANAGE_RULES)

    def words(self, error: ZhibanError) -> str:
        return flow_form.trouble(error, self.texts) if isinstance(error, Conflict) else super().words(error)

    async def draft(self) -> RuleDraft:
        return flow_form.typed(await self.form())

    async def names(self, tx: Transaction) -> Names:
        """With where an answer may be kept."""
        texts = self.texts
        kept = {"": texts("只写进备注"), "contact:name": texts("联系人的{field}", field=texts("名字"))}
        for key, label in CONTACT_FIELD_LABELS.items():
            kept[f"contact:{key}"] = texts("联系人的{field}", field=texts(label))
        for field in await contact_fields(tx):
            kept[f"contact:{field.name}"] = texts("联系人的{field}", field=field.name)
        for field in await conversation_fields(tx):
            kept[f"conversation:{field.name}"] = texts("会话的{field}", field=field.name)
        return replace(await queries.names(tx), fields=kept)

    def said(self, draft: RuleDraft, words: RuleWording) -> tuple[str, FlowDefinition | None]:
        """The flow in a sentence; what is missing, where it is none yet."""
        try:
            definition = _definition(draft)
        except BadDefinition as error:
            return flow_form.unfinished(error, self.texts), None
        return definition.label(words), definition

    def editor(
        self, draft: RuleDraft, words: RuleWording, *, flow: FlowRow | None, trouble: str = ""
    ) -> dict[str, Any]:
        said, definition = self.said(draft, words)
        return {
            "flow": flow,
            "draft_at": f"{HERE}/draft" + (f"?id={flow.id}" if flow else ""),
            "draft": draft,
            "said": said,
            "whole": definition is not None,
            "steps": flow_form.steps_view(draft, words),
            "actions": flow_form.actions_view(draft, words),
            "labels": rule_labels,
            "silent": SILENT_LABELS,
            "manages": self.manages,
            "trouble": trouble,
        }

    async def show(
        self, *, opened: int | None = None, draft: RuleDraft | None = None, trouble: str = "", status: int = 200
    ) -> Response:
        """The whole page, with a flow opened: this one, the draft of a new one, or the first."""
        async with self.transaction() as tx:
            rows = await flow_queries.flows(tx)
            flow = None
            if opened is not None:
                flow = await flow_queries.access_flow(tx, opened)
            elif draft is None and rows:
                flow = rows[0]
            words = self.wording(await self.names(tx))
            runs = await flow_queries.flow_runs(tx, flow.id, limit=RUNS) if flow else []
            seen = await visible(tx, self.access, [run.conversation_id for run in runs])
            runs = [run for run in runs if run.conversation_id in seen]
            called = await contact_names(tx, [run.conversation_id for run in runs])
        shown, broken = draft or flow_form.NEW, ""
        if flow is not None and draft is None:
            try:
                shown = flow_form.of_flow(flow.name, load_flow(flow.definition))
            except BadDefinition as error:
                broken = self.texts("这一版读不懂：{why}", why=error.sentence)
                shown = {**flow_form.NEW, "name": flow.name}
        return await self.whole(
            "flows/flows.html",
            status=status,
            rows=rows,
            runs=runs,
            called=called,
            outcomes=FLOW_OUTCOMES,
            trial=None,
            unfinished=False,
            opened=opened is not None or draft is not None,
            **self.editor(shown, words, flow=flow, trouble=trouble or broken),
        )


def _definition(draft: RuleDraft) -> FlowDefinition:
    return load_flow({key: draft[key] for key in flow_form.DEFINITION})


@router.get(HERE)
async def page(request: Request, agent: CurrentAgent) -> Response:
    return await _FlowPage(request, agent).show()


@router.get(HERE + "/new")
async def new(request: Request, agent: CurrentAgent) -> Response:
    return await _FlowPage(request, agent).show(draft=flow_form.NEW)


@router.get(HERE + "/{flow_id}")
async def one(request: Request, agent: CurrentAgent, flow_id: int) -> Response:
    return await _FlowPage(request, agent).show(opened=flow_id)


@router.post(HERE + "/draft")
async def draft(
    request: Request,
    agent: CurrentAgent,
    do: Annotated[str, Form(max_length=80)] = "",
    id: int | None = None,  # noqa: A002
) -> Response:
    """The editor after a button or a choice of a kind; nothing is stored."""
    page = _FlowPage(request, agent)
    found = flow_form.changed(await page.draft(), do)
    if not wants_part(request):
        return await page.show(opened=id, draft=found)
    async with page.transaction() as tx:
        flow = None if id is None else await flow_queries.access_flow(tx, id)
        words = page.wording(await page.names(tx))
    return page.part("flows/editor.html", **page.editor(found, words, flow=flow))


@router.post(HERE + "/preview")
async def preview(request: Request, agent: CurrentAgent) -> Response:
    """The sentence of what is typed."""
    page = _FlowPage(request, agent)
    found = await page.draft()
    async with page.transaction() as tx:
        words = page.wording(await page.names(tx))
    said, definition = page.said(found, words)
    return page.part("rules/said.html", said=said, whole=definition is not None)


@router.post(HERE + "/try")
async def try_out(request: Request, agent: CurrentAgent) -> Response:
    """The dialogue with somebody who says what was typed so far; nothing is stored and nothing sent."""
    page = _FlowPage(request, agent)
    form = await page.form()
    said = [value[:1000] for name, value in form if name == "said"]
    now = [value[:1000] for name, value in form if name == "say" and value.strip()]
    _, definition = page.said(flow_form.typed(form), page.wording(Names()))
    trial: FlowTrial | None = None
    if definition is not None:
        today = page.now.astimezone(page.texts.zone).date()
        trial = try_flow(definition, [*said, *now[:1]][-MOST_SAID:], name=page.texts("周予安"), today=today)
    return page.part(
        "flows/trial.html", trial=trial, unfinished=definition is None, picture=PICTURE, outcomes=FLOW_OUTCOMES
    )


@router.post(HERE)
async def create(request: Request, agent: CurrentAgent) -> Response:
    page = _FlowPage(request, agent)
    found = await page.draft()
    try:
        agent.access.check(Permission.MANAGE_RULES)
        async with page.transaction() as tx:
            flow_id = await flows.add_flow(
                tx, name=found["name"], definition=_definition(found), by=page.actor, now=page.now
            )
    except Conflict as error:
        return await page.refused(error, opened=None, draft=found)
    return RedirectResponse(f"{HERE}/{flow_id}", status_code=303)


@router.post(HERE + "/{flow_id}")
async def save(request: Request, agent: CurrentAgent, flow_id: int, revision: Annotated[int, Form()]) -> Response:
    page = _FlowPage(request, agent)
    found = await page.draft()
    try:
        agent.access.check(Permission.MANAGE_RULES)
        async with page.transaction() as tx:
            await flows.change_flow(
                tx,
                flow_id,
                name=found["name"],
                definition=_definition(found),
                revision=revision,
                by=page.actor,
                now=page.now,
            )
    except Conflict as error:
        return await page.refused(error, opened=flow_id, draft=found)
    return RedirectResponse(f"{HERE}/{flow_id}", status_code=303)


@router.post(HERE + "/{flow_id}/{verb}")
async def act(request: Request, agent: CurrentAgent, flow_id: int, verb: str) -> Response:
    """Switch it on or off, or remove it."""
    page = _FlowPage(request, agent)
    by, now = page.actor, page.now
    back = f"{HERE}/{flow_id}"
    try:
        agent.access.check(Permission.MANAGE_RULES)
        async with page.transaction() as tx:
            match verb:
                case "on" | "off":
                    await flows.change_flow(tx, flow_id, enabled=verb == "on", by=by, now=now)
                case "remove":
                    await flows.remove_flow(tx, flow_id, by=by, now=now)
                    back = HERE
                case _:
                    return Response(status_code=404)
    except Conflict as error:
        return await page.refused(error, opened=flow_id)
    return RedirectResponse(back, status_code=303)


@router.post("/conversations/{conversation_id}/flows/{flow_id}")
async def start(desk: CurrentRequest, conversation_id: int, flow_id: int) -> Response:
    """Let it talk with the contact of the open conversation, whom the agent gives out of their hands for that."""
    agent = desk.agent
    async with desk.auth.database.page_transaction(agent.workspace_id) as tx:
        head = await access_conversation_to_answer(tx, desk.access, conversation_id)
        flow = await flow_queries.access_flow(tx, flow_id)
        await flow_asking.start(
            tx,
            flow.id,
            conversation_id,
            by=Actor("agent", agent.id),
            now=desk.auth.clock.now(),
            cause=DIRECT,
            limits=desk.settings.limits_of(head.channel),
        )
    return await desk.live(conversation_id, toast=Toast(desk.texts("已开始流程“{name}”", name=flow.name)))
