"""zhiban kb gaps: what contacts asked and nothing answered."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from zhiban.assistant.gap_answers import Asker, GapDetail, gap_detail, words_of_person
from zhiban.cli.app import AsJson, Exit, _, command, kb, say, settings, show_json, show_table
from zhiban.cli.runtime import open_app, workspace_of
from zhiban.container import App
from zhiban.desk.labels import GAP_ORIGINS, GAP_STATES
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Misconfigured, NotFound
from zhiban.knowledge import gap_queries, queries, service
from zhiban.knowledge.models import GapStatus
from zhiban.knowledge.queries import DEFAULT_BASE


@command(kb, "gaps", help=_("没有答案的问题：列出、查看、关闭，或写下答案变成常见问题"))
async def gaps(
    show: Annotated[
        int | None, typer.Option("--show", help=_("看这个编号的缺口：各种问法、谁问的、同事怎么答的"))
    ] = None,
    close: Annotated[int | None, typer.Option("--close", help=_("处理这个编号的缺口；不给答案就是忽略"))] = None,
    answer: Annotated[
        str | None, typer.Option("--answer", help=_("答案：存成常见问题，联系人的问法一并收进去"))
    ] = None,
    answer_from: Annotated[
        int | None, typer.Option("--answer-from", help=_("用同事的这条回复（消息编号，见 --show）作答案"))
    ] = None,
    adopt: Annotated[bool, typer.Option("--adopt", help=_("用同事最近一次的回复作答案"))] = False,
    question: Annotated[str | None, typer.Option("--question", help=_("常见问题的标题；不写则用联系人的问法"))] = None,
    base: Annotated[str, typer.Option("--base", help=_("知识库的名字"))] = DEFAULT_BASE,
    as_json: AsJson = False,
) -> Exit | None:
    given = [answer is not None, answer_from is not None, adopt]
    if show is not None and close is not None:
        raise Misconfigured("Give --show or --close, not both.")
    if close is None and (any(given) or question):
        raise Misconfigured("Say which gap is answered: --close with its id.")
    if sum(given) > 1:
        raise Misconfigured("Give one answer: --answer, --answer-from or --adopt.")
    if question and not any(given):
        raise Misconfigured("A question needs an answer: give --answer too.")
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        if show is not None:
            _show(await gap_detail(tx, show), as_json=as_json)
        elif close is None:
            _list(await gap_queries.open_gaps(tx, limit=200), as_json=as_json)
        elif any(given):
            if answer is None:
                answer = (await words_of_person(tx, close, answer_from)).text
            article_id = await _answer(tx, app, close, base, question, answer)
            _tell_closed(close, article_id, answer, as_json=as_json)
        else:
            await _dismiss(tx, app, close)
            _tell_closed(close, None, None, as_json=as_json)
    return None


async def _answer(tx: Transaction, app: App, gap_id: int, slug: str, question: str | None, answer: str) -> int:
    found = await queries.base_by_slug(tx, slug)
    if found is None and slug != DEFAULT_BASE:
        raise NotFound(f"There is no knowledge base named {slug}.")
    base_id = found.id if found else await service.base_for(tx)
    return await service.answer_gap(tx, gap_id, base_id, answer=answer, question=question, now=app.clock.now())


async def _dismiss(tx: Transaction, app: App, gap_id: int) -> None:
    await gap_queries.open_gap(tx, gap_id)
    await service.close_gap(tx, gap_id, GapStatus.DISMISSED, now=app.clock.now())


# ------------------------------------------------------------------------------------------------------------ output


def _tell_closed(gap_id: int, article_id: int | None, answer: str | None, *, as_json: bool) -> None:
    if as_json:
        show_json({"id": gap_id, "article_id": article_id, "answer": answer})
    elif article_id is None:
        say(_("缺口已关闭"))
    else:
        say(_("已收进常见问题，缺口已关闭"))
        say(_("答案：{answer}", answer=answer or ""))


def _list(found: list[gap_queries.GapRow], *, as_json: bool) -> None:
    if as_json:
        show_json([asdict(gap) for gap in found])
    elif not found:
        say(_("没有缺口：问到的都有答案"))
    else:
        columns = {
            "id": _("编号"),
            "times": _("次数"),
            "contacts": _("人数"),
            "last": _("最近"),
            "question": _("联系人问的"),
        }
        show_table(columns, [{**asdict(gap), "last": _.stamp(gap.last_at)} for gap in found])


def _show(found: GapDetail, *, as_json: bool) -> None:
    gap = found.gap
    if as_json:
        show_json(
            {
                **asdict(gap),
                "wordings": [asdict(one) for one in found.wordings],
                "askers": [asdict(one) for one in found.askers],
                "answers": [asdict(one) for one in found.answers],
            }
        )
        return
    say(f"{gap.id}. {gap.question}  [{_(GAP_STATES[gap.status])}]")
    say(
        _(
            "问过{times}次，{contacts}个人；第一次{first}，最近{last}",
            times=gap.times,
            contacts=gap.contacts,
            first=_.stamp(gap.first_at),
            last=_.stamp(gap.last_at),
        )
    )
    if gap.merged_into is not None:
        say(_("已并入缺口{id}", id=gap.merged_into))
    if gap.follows is not None:
        say(_("缺口{id}回答过，又有人问", id=gap.follows))
    say()
    say(_("问法："))
    for wording in found.wordings:
        say(f"  {wording.text}  ×{wording.times}")
    say(_("谁问的："))
    for asker in found.askers:
        say(f"  {_.stamp(asker.asked_at)}  {_who(asker)}  {asker.text}  [{_(GAP_ORIGINS[asker.origin])}]")
        if asker.told:
            say("    " + _("助手答的：{titles}", titles=_("、").join(asker.told)))
    say(_("同事怎么答的：") if found.answers else _("还没有同事回答过"))
    for reply in found.answers:
        say(f"  [{reply.message_id}] {_.stamp(reply.sent_at)}  {reply.agent or _('接待人员')}：{reply.text}")


def _who(asker: Asker) -> str:
    name = asker.contact or _("不知道名字")
    known = f"{name}（{asker.external_id}）" if asker.external_id else name
    return known if asker.conversation_id is None else known + _("，会话{id}", id=asker.conversation_id)
