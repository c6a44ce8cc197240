"""Macros: the page where they are written, and letting one act on the conversation that is open."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from zhiban.automation import macros
from zhiban.automation.actions import MACRO_ACTIONS
from zhiban.automation.definition import BadDefinition
from zhiban.automation.macro_definition import load_macro
from zhiban.automation.macros import MacroFailed, MacroRow
from zhiban.automation.wording import RuleWording
from zhiban.conversations.access import access_conversation_to_answer, visible
from zhiban.conversations.queries import contact_names, head
from zhiban.conversations.seen import SeenMessage
from zhiban.desk import rule_form, rule_labels
from zhiban.desk.editor_page import ACTION_FILES, EditorFiles, EditorPage
from zhiban.desk.request import CurrentRequest, Toast
from zhiban.desk.rule_form import RuleDraft
from zhiban.kit.errors import Conflict
from zhiban.people.auth import CurrentAgent
from zhiban.people.ownership import check_may_keep, may_keep
from zhiban.web.render import wants_part
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/settings/macros"
NEW: RuleDraft = {"name": "", "shared": False, "actions": [{"kind": "assign_me"}]}


class _MacroPage(EditorPage):
    section = "macros"

    async def draft(self) -> RuleDraft:
        form = await self.form()
        found = rule_form.typed(form, MACRO_ACTIONS)
        return {"name": found["name"], "actions": found["actions"], "shared": "shared" in dict(form)}

    def said(self, draft: RuleDraft, words: RuleWording) -> dict[str, Any]:
        """The macro in a sentence; what is missing, where it is none yet."""
        try:
            return {"said": load_macro(draft["actions"]).label(words), "whole": True}
        except BadDefinition as error:
            return {"said": rule_form.unfinished(error, self.texts), "whole": False}

    def editor(
        self, draft: RuleDraft, words: RuleWording, files: EditorFiles, *, macro: MacroRow | None, trouble: str = ""
    ) -> dict[str, Any]:
        owner_id = macro.owner_id if macro else self.agent.id
        return {
            "macro": macro,
            "draft_at": f"{HERE}/draft" + (f"?id={macro.id}" if macro else ""),
            "draft": draft,
            "actions": rule_form.actions_view(draft, words, MACRO_ACTIONS),
            "labels": rule_labels,
            "manages": may_keep(self.agent, owner_id),
            "shares": may_keep(self.agent, None),
            "trouble": trouble,
            "files": files,
            "attach_at": ACTION_FILES,
            **self.said(draft, words),
        }

    async def show(
        self, *, opened: int | None = None, draft: RuleDraft | None = None, trouble: str = "", status: int = 200
    ) -> Response:
        """The whole page, with a macro opened: this one, the draft of a new one, or the first."""
        async with self.transaction() as tx:
            rows = await macros.macros(tx, self.agent.id)
            macro = None
            if opened is not None:
                macro = await macros.access_macro(tx, opened, agent_id=self.agent.id)
            elif draft is None and rows:
                macro = rows[0]
            words = self.wording(await self.names(tx))
            files = await EditorFiles.read(tx, words.names.files.values(), self)
            uses = await macros.uses_of(tx, macro.id) if macro else []
            seen = await visible(tx, self.access, [use.conversation_id for use in uses])
            uses = [use for use in uses if use.conversation_id in seen]
            called = await contact_names(tx, [use.conversation_id for use in uses])
        shown = draft or ({"name": macro.name, "shared": False, "actions": macro.actions} if macro else NEW)
        return await self.whole(
            "macros/macros.html",
            status=status,
            rows=rows,
            uses=uses,
            called=called,
            agents=words.names.agents,
            opened=opened is not None or draft is not None,
            **self.editor(shown, words, files, macro=macro, trouble=trouble),
        )


@router.get(HERE)
async def page(request: Request, agent: CurrentAgent) -> Response:
    return await _MacroPage(request, agent).show()


@router.get(HERE + "/new")
async def new(request: Request, agent: CurrentAgent) -> Response:
    return await _MacroPage(request, agent).show(draft={**NEW, "shared": may_keep(agent, None)})


@router.get(HERE + "/{macro_id}")
async def one(request: Request, agent: CurrentAgent, macro_id: int) -> Response:
    return await _MacroPage(request, agent).show(opened=macro_id)


@router.post(HERE + "/draft")
async def draft(
    request: Request,
    agent: CurrentAgent,
    do: Annotated[str, Form(max_length=80)] = "",
    id: int | None = None,  # noqa: A002
) -> Response:
    """The editor after a button or a choice of a kind; nothing is stored."""
    page = _MacroPage(request, agent)
    found = await page.draft()
    rule_form.changed(found, do, MACRO_ACTIONS)
    if not wants_part(request):
        return await page.show(opened=id, draft=found)
    async with page.transaction() as tx:
        macro = None if id is None else await macros.access_macro(tx, id, agent_id=agent.id)
        words = page.wording(await page.names(tx))
        files = await EditorFiles.read(tx, words.names.files.values(), page)
    return page.part("macros/editor.html", **page.editor(found, words, files, macro=macro))


@router.post(HERE + "/preview")
async def preview(request: Request, agent: CurrentAgent) -> Response:
    """The sentence of what is typed."""
    page = _MacroPage(request, agent)
    found = await page.draft()
    async with page.transaction() as tx:
        words = page.wording(await page.names(tx))
    return page.part("rules/said.html", **page.said(found, words))


@router.post(HERE)
async def create(request: Request, agent: CurrentAgent) -> Response:
    page = _MacroPage(request, agent)
    found = await page.draft()
    owner_id = None if found["shared"] else agent.id
    try:
        check_may_keep(agent, owner_id)
        definition = load_macro(found["actions"])
        async with page.transaction() as tx:
            macro_id = await macros.add_macro(
                tx,
                name=found["name"],
                definition=definition,
                owner_id=owner_id,
                by=page.actor,
                now=page.now,
            )
    except Conflict as error:
        return await page.refused(error, opened=None, draft=found)
    return RedirectResponse(f"{HERE}/{macro_id}", status_code=303)


@router.post(HERE + "/{macro_id}")
async def save(request: Request, agent: CurrentAgent, macro_id: int, revision: Annotated[int, Form()]) -> Response:
    page = _MacroPage(request, agent)
    found = await page.draft()
    try:
        async with page.transaction() as tx:
            macro = await macros.access_macro(tx, macro_id, agent_id=agent.id)
            check_may_keep(agent, macro.owner_id)
            await macros.change_macro(
                tx,
                macro,
                name=found["name"],
                definition=load_macro(found["actions"]),
                revision=revision,
                by=page.actor,
                now=page.now,
            )
    except Conflict as error:
        return await page.refused(error, opened=macro_id, draft=found)
    return RedirectResponse(f"{HERE}/{macro_id}", status_code=303)


@router.post(HERE + "/{macro_id}/remove")
async def remove(request: Request, agent: CurrentAgent, macro_id: int) -> Response:
    page = _MacroPage(request, agent)
    by, now = page.actor, page.now
    try:
        async with page.transaction() as tx:
            macro = await macros.access_macro(tx, macro_id, agent_id=agent.id)
            check_may_keep(agent, macro.owner_id)
            await macros.remove_macro(tx, macro, by=by, now=now)
    except Conflict as error:
        return await page.refused(error, opened=macro_id, draft=None)
    return RedirectResponse(HERE, status_code=303)


@router.post("/conversations/{conversation_id}/macros/{macro_id}")
async def run(
    desk: CurrentRequest,
    conversation_id: int,
    macro_id: int,
    key: Annotated[str, Form(max_length=64)],
    seen: Annotated[int | None, Form(ge=0, lt=1 << 63)] = None,
) -> Response:
    """Let it act on the open conversation; where that is resolved then, the next one opens in its place.

    `seen`: the last message read before; nothing is done where the macro resolves what the contact wrote after it.
    """
    agent, texts = desk.agent, desk.texts
    async with desk.auth.database.page_transaction(agent.workspace_id) as tx:
        before = await access_conversation_to_answer(tx, desk.access, conversation_id)
        macro = await macros.access_macro(tx, macro_id, agent_id=agent.id)
        try:
            outcomes = await macros.run_macro(
                tx,
                macro,
                conversation_id,
                agent_id=agent.id,
                limits_of=desk.settings.limits_of,
                key=key,
                now=desk.auth.clock.now(),
                seen=None if seen is None else SeenMessage(seen),
            )
        except MacroFailed as error:
            raise Conflict(
                texts(
                    "没有执行，什么也没有改。第{n}个动作：{why}", n=error.position + 1, why=texts.error(error.sentence)
                )
            ) from None
        after = await head(tx, conversation_id)
    words = texts("已执行宏“{name}”", name=macro.name)
    if "nobody" in (outcomes or ()):
        words += texts("，没有合适的同事在线")
    if after.status == "resolved" and before.status != "resolved":
        undo = f"/conversations/{conversation_id}/undo-resolve"
        return await desk.next(conversation_id, Toast(words + texts("，会话已解决"), undo))
    return await desk.live(conversation_id, toast=Toast(words))
