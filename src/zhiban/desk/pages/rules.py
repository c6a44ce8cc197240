"""The page about rules: their order and switches, the editor with its sentence, the rehearsal and the runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from zhiban.automation import queries, service
from zhiban.automation.attached_files import file_remarks
from zhiban.automation.definition import BadDefinition, Definition, load_definition
from zhiban.automation.models import RuleRow
from zhiban.automation.rehearsal import rehearse, remarks
from zhiban.automation.rule_webhooks import signing_secret
from zhiban.automation.run_view import run_views
from zhiban.automation.shipped import add_shipped, missing
from zhiban.automation.triggers import TRIGGER_LABELS
from zhiban.automation.wording import STATUS_LABELS, Names, RuleWording
from zhiban.conversations.access import visible
from zhiban.conversations.queries import contact_names
from zhiban.desk import rule_form, rule_labels
from zhiban.desk.editor_page import ACTION_FILES, EditorFiles, EditorPage
from zhiban.desk.rule_form import RuleDraft
from zhiban.events import Actor
from zhiban.kit.errors import Conflict
from zhiban.people.auth import CurrentAgent
from zhiban.people.permissions import Permission
from zhiban.web.render import wants_part
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/rules"
WEEK = timedelta(days=7)
RUNS = 30


class _RulePage(EditorPage):
    section = "rules"

    @property
    def manages(self) -> bool:
        return self.access.may(Permission.MANAGE_RULES)

    def wording(self, names: Names) -> RuleWording:
        return super().wording(replace(names, channels=self.request.app.state.channel_labels))

    def said(self, draft: RuleDraft, words: RuleWording) -> tuple[str, Definition | None]:
        """The rule in a sentence; what is missing, where it is none yet."""
        try:
            definition = load_definition({key: draft[key] for key in rule_form.DEFINITION})
        except BadDefinition as error:
            return rule_form.unfinished(error, self.texts), None
        return definition.label(words), definition

    def editor(
        self, draft: RuleDraft, words: RuleWording, files: EditorFiles, *, rule: RuleRow | None, trouble: str = ""
    ) -> dict[str, Any]:
        said, definition = self.said(draft, words)
        return {
            "rule": rule,
            "draft_at": f"{HERE}/draft" + (f"?id={rule.id}" if rule else ""),
            "draft": draft,
            "said": said,
            "whole": definition is not None,
            "conditions": rule_form.conditions_view(draft, words),
            "actions": rule_form.actions_view(draft, words),
            "triggers": TRIGGER_LABELS,
            "labels": rule_labels,
            "statuses": STATUS_LABELS,
            "manages": self.manages,
            "trouble": trouble,
            "secret": self.secret(draft),
            "files": files,
            "attach_at": ACTION_FILES,
        }

    def secret(self, draft: RuleDraft) -> str:
        """What calls of rules are signed with, for whoever writes one."""
        calls = any(one["kind"] == "call_webhook" for one in draft["actions"])
        return signing_secret(self.auth.vault, self.agent.workspace_id) if calls and self.manages else ""

    async def show(
        self, *, opened: int | None = None, draft: RuleDraft | None = None, trouble: str = "", status: int = 200
    ) -> Response:
        """The whole page, with a rule opened: this one, the draft of a new one, or the first."""
        now = self.now
        async with self.transaction() as tx:
            rows = await queries.rules(tx)
            rule = None
            if opened is not None:
                rule = await queries.access_rule(tx, opened)
            elif draft is None and rows:
                rule = rows[0]
            words = self.wording(await self.names(tx))
            files = await EditorFiles.read(tx, words.names.files.values(), self)
            counts = await queries.run_counts(tx, since=now - WEEK)
            runs = await queries.runs_of(tx, rule.id, limit=RUNS) if rule else []
            seen = await visible(tx, self.access, [run.conversation_id for run in runs if run.conversation_id])
            runs = [run for run in runs if run.conversation_id is None or run.conversation_id in seen]
            called = await contact_names(tx, [run.conversation_id for run in runs if run.conversation_id])
            told = await run_views(tx, runs, words, called)
        shown, broken = draft or rule_form.NEW, ""
        if rule is not None and draft is None:
            try:
                definition = load_definition(rule.definition)
                shown = rule_form.of_rule(rule.name, stops=rule.stops, definition=definition)
            except BadDefinition as error:
                broken = self.texts("这一版读不懂：{why}", why=error.sentence)
                shown = {**rule_form.NEW, "name": rule.name}
        return await self.whole(
            "rules/rules.html",
            status=status,
            rows=rows,
            offered=missing(rows) if self.manages else [],
            counts=counts,
            runs=told,
            rehearsal=None,
            opened=opened is not None or draft is not None,
            **self.editor(shown, words, files, rule=rule, trouble=trouble or broken),
        )

    async def draft(self) -> RuleDraft:
        return rule_form.typed(await self.form())


@router.get(HERE)
async def page(request: Request, agent: CurrentAgent) -> Response:
    return await _RulePage(request, agent).show()


@router.get(HERE + "/new")
async def new(request: Request, agent: CurrentAgent) -> Response:
    return await _RulePage(request, agent).show(draft=rule_form.NEW)


@router.get(HERE + "/{rule_id}")
async def one(request: Request, agent: CurrentAgent, rule_id: int) -> Response:
    return await _RulePage(request, agent).show(opened=rule_id)


@router.post(HERE + "/draft")
async def draft(
    request: Request,
    agent: CurrentAgent,
    do: Annotated[str, Form(max_length=80)] = "",
    id: int | None = None,  # noqa: A002
) -> Response:
    """The editor after a button or a choice of a kind; nothing is stored."""
    page = _RulePage(request, agent)
    found = rule_form.changed(await page.draft(), do)
    if not wants_part(request):
        return await page.show(opened=id, draft=found)
    async with page.transaction() as tx:
        rule = None if id is None else await queries.access_rule(tx, id)
        words = page.wording(await page.names(tx))
        files = await EditorFiles.read(tx, words.names.files.values(), page)
    return page.part("rules/editor.html", **page.editor(found, words, files, rule=rule))


@router.post(HERE + "/preview")
async def preview(request: Request, agent: CurrentAgent) -> Response:
    """The sentence of what is typed."""
    page = _RulePage(request, agent)
    found = await page.draft()
    async with page.transaction() as tx:
        words = page.wording(await page.names(tx))
    said, definition = page.said(found, words)
    return page.part("rules/said.html", said=said, whole=definition is not None)


@router.post(HERE + "/rehearse")
async def rehearsal(request: Request, agent: CurrentAgent, id: int | None = None) -> Response:  # noqa: A002
    """What the rule would have done as it is typed; nothing is stored and nothing done."""
    page = _RulePage(request, agent)
    found = await page.draft()
    async with page.transaction() as tx:
        words = page.wording(await page.names(tx))
        _, definition = page.said(found, words)
        told = None
        if definition is not None:
            told = await rehearse(tx, definition, access=agent.access, now=page.now, rule_id=id)
    said: list[str] = []
    if definition is not None and told is not None:
        limits_of = request.app.state.desk.limits_of
        said = [*remarks(told, page.texts), *file_remarks(definition, told, words.names, limits_of, page.texts)]
    return page.part("rules/rehearsal.html", rehearsal=told, remarks=said)


def _definition(draft: RuleDraft) -> Definition:
    return load_definition({key: draft[key] for key in rule_form.DEFINITION})


@router.post(HERE)
async def create(request: Request, agent: CurrentAgent) -> Response:
    page = _RulePage(request, agent)
    found = await page.draft()
    try:
        agent.access.check(Permission.MANAGE_RULES)
        async with page.transaction() as tx:
            rule_id = await service.add(
                tx,
                name=found["name"],
                definition=_definition(found),
                stops=found["stops"],
                by=page.actor,
                now=page.now,
            )
    except Conflict as error:
        return await page.refused(error, opened=None, draft=found)
    return RedirectResponse(f"{HERE}/{rule_id}", status_code=303)


@router.post(HERE + "/shipped")
async def take_over(request: Request, agent: CurrentAgent, key: Annotated[str, Form(max_length=80)]) -> Response:
    """One of the rules that come with the program, switched on."""
    page = _RulePage(request, agent)
    try:
        agent.access.check(Permission.MANAGE_RULES)
        async with page.transaction() as tx:
            rule_id = await add_shipped(tx, key, page.viewer.texts, by=Actor("agent", agent.id), now=page.now)
    except Conflict as error:
        return await page.refused(error, opened=None)
    return RedirectResponse(f"{HERE}/{rule_id}", status_code=303)


@router.post(HERE + "/{rule_id}")
async def save(request: Request, agent: CurrentAgent, rule_id: int, revision: Annotated[int, Form()]) -> Response:
    page = _RulePage(request, agent)
    found = await page.draft()
    try:
        agent.access.check(Permission.MANAGE_RULES)
        async with page.transaction() as tx:
            await service.change(
                tx,
                rule_id,
                name=found["name"],
                definition=_definition(found),
                stops=found["stops"],
                revision=revision,
                by=page.actor,
                now=page.now,
            )
    except Conflict as error:
        return await page.refused(error, opened=rule_id, draft=found)
    return RedirectResponse(f"{HERE}/{rule_id}", status_code=303)


@router.post(HERE + "/{rule_id}/{verb}")
async def act(request: Request, agent: CurrentAgent, rule_id: int, verb: str) -> Response:
    """Switch it on or off, move it up or down, remove it."""
    page = _RulePage(request, agent)
    by, now = page.actor, page.now
    back = f"{HERE}/{rule_id}"
    try:
        agent.access.check(Permission.MANAGE_RULES)
        async with page.transaction() as tx:
            match verb:
                case "on" | "off":
                    await service.switch(tx, rule_id, on=verb == "on", by=by, now=now)
                case "up" | "down":
                    await service.move(tx, rule_id, up=verb == "up", by=by, now=now)
                case "remove":
                    await service.remove(tx, rule_id, by=by, now=now)
                    back = HERE
                case _:
                    return Response(status_code=404)
    except Conflict as error:
        return await page.refused(error, opened=rule_id)
    return RedirectResponse(back, status_code=303)
