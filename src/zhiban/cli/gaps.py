"""zhiban kb gaps: what contacts asked and nothing answered."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from zhiban.cli.app import AsJson, _, command, kb, say, settings, show_json, show_table
from zhiban.cli.runtime import open_app, workspace_of
from zhiban.container import App
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Misconfigured, NotFound
from zhiban.knowledge import gap_queries, queries, service
from zhiban.knowledge.models import GapStatus
from zhiban.knowledge.queries import DEFAULT_BASE


@command(kb, "gaps", help=_("没有答案的问题：列出、关闭，或写下答案变成常见问题"))
async def gaps(
    close: Annotated[int | None, typer.Option("--close", help=_("处理这个编号的缺口"))] = None,
    answer: Annotated[
        str | None, typer.Option("--answer", help=_("答案：存成常见问题，联系人的问法一并收进去"))
    ] = None,
    question: Annotated[str | None, typer.Option("--question", help=_("常见问题的标题；不写则用联系人的问法"))] = None,
    base: Annotated[str, typer.Option("--base", help=_("知识库的名字"))] = DEFAULT_BASE,
    as_json: AsJson = False,
) -> None:
    if close is None and (answer or question):
        raise Misconfigured("Say which gap is answered: --close with its id.")
    if question and not answer:
        raise Misconfigured("A question needs an answer: give --answer too.")
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        if close is None:
            listed = [asdict(gap) for gap in await gap_queries.open_gaps(tx, limit=200)]
        else:
            article_id = await _close(tx, app, close, base, question, answer)
    if close is not None:
        if as_json:
            show_json({"id": close, "article_id": article_id})
        else:
            say(_("已收进常见问题，缺口已关闭") if article_id else _("缺口已关闭"))
    elif as_json:
        show_json(listed)
    elif listed:
        show_table({"id": _("编号"), "times": _("次数"), "contacts": _("人数"), "question": _("联系人问的")}, listed)
    else:
        say(_("没有缺口：问到的都有答案"))


async def _close(
    tx: Transaction, app: App, gap_id: int, slug: str, question: str | None, answer: str | None
) -> int | None:
    """Close the gap, with an FAQ article when there is an answer. Returns the article's id. Raises NotFound."""
    if answer:
        base_id = await _base_id(tx, slug)
        return await service.answer_gap(tx, gap_id, base_id, answer=answer, question=question, now=app.clock.now())
    await gap_queries.open_gap(tx, gap_id)
    await service.close_gap(tx, gap_id, GapStatus.DISMISSED, now=app.clock.now())
    return None


async def _base_id(tx: Transaction, slug: str) -> int:
    found = await queries.base_by_slug(tx, slug)
    if found is None and slug != DEFAULT_BASE:
        raise NotFound(f"There is no knowledge base named {slug}.")
    return found.id if found else await service.base_for(tx)
