"""zhiban kb learned: wordings that the base learnt from people, and those that wait to be."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

import typer

from zhiban.cli.app import AsJson, _, command, kb, say, settings, show_json, show_table
from zhiban.cli.runtime import open_app, workspace_of
from zhiban.desk.labels import EVIDENCE_LABELS
from zhiban.events import SYSTEM
from zhiban.kit.errors import Misconfigured, NotFound
from zhiban.knowledge import queries, service
from zhiban.knowledge.learnt import LISTED, EvidenceRow, LearntWording, learnt, learnt_wording
from zhiban.knowledge.models import CandidateStatus

MOST = 500

STATUSES = {
    CandidateStatus.WAITING: _("待确认"),
    CandidateStatus.KNOWN: _("原有问法"),
    CandidateStatus.ACTIVE: _("已学会"),
    CandidateStatus.REJECTED: _("不采用"),
}


class Wanted(StrEnum):
    """Which of them are listed."""

    ACTIVE = "active"
    WAITING = "waiting"
    REJECTED = "rejected"


@command(kb, "learned", help=_("从接待中学来的问法：列出、通过、撤销"))
async def learned(
    approve: Annotated[int | None, typer.Option("--approve", help=_("通过这个编号的问法，以后就直接回答"))] = None,
    undo: Annotated[
        int | None, typer.Option("--undo", "--reject", help=_("撤销或不采用这个编号的问法，以后也不再自动学"))
    ] = None,
    status: Annotated[Wanted | None, typer.Option("--status", help=_("只列出这种状态的"))] = None,
    base: Annotated[str | None, typer.Option("--base", help=_("知识库的名字；不写则列出全部"))] = None,
    as_json: AsJson = False,
) -> None:
    if approve is not None and undo is not None:
        raise Misconfigured("Approve one wording or undo one, not both at once.")
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        now, changed = app.clock.now(), None
        if approve is not None:
            await service.approve_phrasing(tx, approve, by=SYSTEM, now=now)
            changed = await learnt_wording(tx, approve)
        elif undo is not None:
            await service.reject_phrasing(tx, undo, by=SYSTEM, now=now)
            changed = await learnt_wording(tx, undo)
        else:
            base_id = None
            if base is not None:
                found = await queries.base_by_slug(tx, base)
                if found is None:
                    raise NotFound(f"There is no knowledge base named {base}.")
                base_id = found.id
            wanted = LISTED if status is None else (CandidateStatus(status),)
            listed = await learnt(tx, base_id=base_id, statuses=wanted, limit=MOST)
    if changed is not None:
        _tell(changed, as_json=as_json)
    elif as_json:
        show_json([_shown(one) for one in listed])
    elif listed:
        _show(listed)
    else:
        say(_("还没有学到新问法"))


def _tell(changed: LearntWording, *, as_json: bool) -> None:
    if as_json:
        show_json(_shown(changed))
        return
    wording, title = changed.row.text, changed.row.title
    match CandidateStatus(changed.row.status):
        case CandidateStatus.REJECTED:
            say(_("问“{wording}”不再回答“{title}”，也不再自动学", wording=wording, title=title))
        case CandidateStatus.KNOWN:
            say(_("“{title}”本来就有“{wording}”这个问法", wording=wording, title=title))
        case _other:
            say(_("以后问“{wording}”就回答“{title}”", wording=wording, title=title))


def _show(listed: list[LearntWording]) -> None:
    columns = {
        "id": _("编号"),
        "status": _("状态"),
        "text": _("问法"),
        "title": _("常见问题"),
        "said": _("谁说的"),
        "why": _("备注"),
    }
    show_table(
        columns,
        [
            {
                "id": one.row.id,
                "status": STATUSES[CandidateStatus(one.row.status)],
                "text": one.row.text,
                "title": one.row.title,
                "said": "\n".join(map(_voice, one.evidence)),
                "why": _why(one),
            }
            for one in listed
        ],
    )


def _voice(one: EvidenceRow) -> str:
    name = one.name or (_("联系人{id}", id=one.contact_id) if one.agent_id is None else _("同事{id}", id=one.agent_id))
    return f"{name} {_(EVIDENCE_LABELS[one.kind])} {_.stamp(one.at)}"


def _why(one: LearntWording) -> str:
    row, notes = one.row, []
    if row.decided_at is not None:
        who = row.decided_by or _("命令行")
        rejected = row.status == CandidateStatus.REJECTED
        notes.append(_("{who}不采用", who=who) if rejected else _("{who}通过", who=who))
        notes[-1] += f" {_.stamp(row.decided_at)}"
    if row.status == CandidateStatus.WAITING and row.answered_by is not None:
        notes.append(_("现在由“{title}”回答，要同事决定", title=row.answered_by))
    return "\n".join(notes)


def _shown(one: LearntWording) -> dict[str, Any]:
    return {**asdict(one.row), "evidence": [asdict(each) for each in one.evidence]}
