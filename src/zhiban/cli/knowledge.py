"""zhiban kb: import, search, rebuild, stats, export, remove."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from zhiban.cli.app import AsJson, Exit, _, command, confirmed, err, kb, say, settings, show_json, show_table
from zhiban.cli.runtime import open_app, workspace_of
from zhiban.desk.import_view import STAGES
from zhiban.desk.standing_words import explain
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict, Misconfigured, NotFound
from zhiban.knowledge import gap_queries, queries, retrieval, service, standing
from zhiban.knowledge.importing import ConfirmRemoval, ImportReport, Progress, Removal
from zhiban.knowledge.queries import DEFAULT_BASE, BaseRow
from zhiban.knowledge.retrieval import ConfidenceBand
from zhiban.knowledge.synonyms import groups_of
from zhiban.ports import Embedder

Base = Annotated[str, typer.Option("--base", help=_("知识库的名字"))]
Yes = Annotated[bool, typer.Option("--yes", "-y", help=_("不再询问"))]

EMBED_TIMEOUT = 30.0  # seconds for the vector of a question: the embedder is loaded first, and no contact waits

ZONES = {
    ConfidenceBand.ANSWER: _("回答"),
    ConfidenceBand.SUGGEST: _("列出相近问题"),
    ConfidenceBand.HANDOFF: _("转人工"),
}


async def import_with_progress(
    database: Database,
    workspace_id: int,
    base: str,
    paths: Sequence[Path],
    *,
    now: datetime,
    category: str | None = None,
    refresh: bool = False,
    source: str | None = None,
    confirm: ConfirmRemoval | None = None,
    embedder: Embedder | None = None,
) -> ImportReport:
    """Import with a bar on standard error, which is left out where nobody watches."""
    with Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[chunks]}"),
        TimeRemainingColumn(),
        console=err.whole,
        transient=True,
    ) as bar:
        task = bar.add_task(_("导入"), total=None, chunks="")

        def show(step: Progress) -> None:
            chunks = _("{n}段", n=step.chunks) if step.chunks else ""
            bar.update(task, description=_(STAGES[step.stage]), completed=step.done, total=step.total, chunks=chunks)

        async def ask(removal: Removal) -> bool:
            bar.stop()
            meant = confirm is not None and await confirm(removal)
            bar.start()
            return meant

        return await service.import_paths(
            database,
            workspace_id,
            base,
            paths,
            category=category,
            refresh=refresh,
            source=source,
            confirm=ask,
            embedder=embedder,
            now=now,
            progress=show,
        )


@command(kb, "import", help=_("导入文件或整个文件夹（Markdown、文本、HTML、DOCX、PDF、CSV、XLSX）"))
async def import_(
    paths: Annotated[list[Path], typer.Argument(help=_("文件或文件夹"))],
    category: Annotated[str | None, typer.Option(help=_("给这些内容的分类"))] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help=_("更新改过的文件，删除文件夹里已经没有的文件"))] = False,
    source: Annotated[
        str | None, typer.Option("--source", help=_("来源的名字，同一份资料换了位置时用；默认是文件夹的名字"))
    ] = None,
    base: Base = DEFAULT_BASE,
    yes: Yes = False,
    as_json: AsJson = False,
) -> Exit | None:
    async def meant(removal: Removal) -> bool:
        question = _(
            "这次更新会删除{removed}篇文章，只新增{added}篇。{files}继续吗？",
            removed=removal.removed,
            added=removal.added,
            files=_("已不在的文件：{files}。", files=_few(removal.files)) if removal.files else "",
        )
        return confirmed(question, yes=yes, asking=not as_json)

    async with open_app(settings()) as app:
        report = await import_with_progress(
            app.database,
            await workspace_of(app),
            base,
            paths,
            now=app.clock.now(),
            category=category,
            refresh=refresh,
            source=source,
            confirm=meant,
            embedder=app.embedders.wanted,
        )
    if as_json:
        show_json(asdict(report))
    else:
        _tell(report)
    return Exit.FAILED if report.failed else None


def _tell(report: ImportReport) -> None:
    counts = {
        _("新增"): report.new,
        _("更新"): report.changed,
        _("未变"): report.unchanged,
        _("重复"): report.duplicates,
        _("删除"): report.removed,
    }
    words = _("，").join(_("{what}{n}个文件", what=what, n=len(files)) for what, files in counts.items() if files)
    changes = report.changes
    say(words or _("没有可以导入的文件"))
    say(
        _(
            "文章：新增{added}，更新{changed}，删除{removed}；段落：新增{chunks}；用时{seconds}秒",
            added=changes.articles_added,
            changed=changes.articles_changed,
            removed=changes.articles_removed,
            chunks=changes.chunks_added,
            seconds=f"{report.seconds:.1f}",
        )
    )
    if changes.versions_removed:
        say(
            _(
                "随删除的文章没有了{n}个旧版本：文件里改了问题的写法，就是另一篇文章",
                n=changes.versions_removed,
            )
        )
    if report.outdated:
        say(
            _(
                "{n}个文件改过但没有更新，加上 --refresh 即可更新：{files}",
                n=len(report.outdated),
                files=_few(report.outdated),
            )
        )
    if report.embedding_failed:
        say(_("没有算出向量，先只用文字检索：{reason}", reason=_.error(report.embedding_failed)))
    for file in report.read:
        if file.skipped:
            rows = _("、").join(str(row.number) for row in file.rows) + ("…" if file.skipped > len(file.rows) else "")
            say(_("{file}里{n}行没有问题或没有答案，没有导入：第{rows}行", file=file.file, n=file.skipped, rows=rows))
    for failure in report.failed:
        say(_("没有导入 {file}：{reason}", file=failure.file, reason=_.error(failure.sentence)))


def _few(files: Sequence[str]) -> str:
    return _("、").join(files[:5]) + ("…" if len(files) > 5 else "")


@command(kb, "search", help=_("看一个问题会找到什么、有多大把握、会怎么做"))
async def search(
    question: Annotated[str, typer.Argument(help=_("要问的话"))],
    top_k: Annotated[int, typer.Option("--top-k", min=1, max=20, help=_("显示几段"))] = 3,
    base: Base = DEFAULT_BASE,
    as_json: AsJson = False,
) -> None:
    async with open_app(settings()) as app:
        workspace_id = await workspace_of(app)

        async def chosen(tx: Transaction) -> int:
            return (await _base(tx, base)).id

        found = await retrieval.find(
            lambda: app.database.transaction(workspace_id),
            chosen,
            question,
            embedders=replace(app.embedders, seconds=EMBED_TIMEOUT),
            top_k=top_k,
            threshold=app.settings.kb_similarity_threshold,
        )
    if as_json:
        show_json({**asdict(found), "zone": found.zone.value})
        return
    say(
        _(
            "{zone}（把握{confidence}；{answer}，占比{share}，到{suggest}列出相近问题）",
            zone=ZONES[found.zone],
            confidence=f"{found.confidence:.2f}",
            answer=_("到{n}直接回答", n=f"{found.thresholds.answer_at:.2f}")
            if found.thresholds.answer_at < retrieval.ALL
            else _("相似问法还不够，不凭把握直接回答"),
            share=f"{found.share:.2f}",
            suggest=f"{found.thresholds.suggest_at:.2f}",
        )
    )
    say(_.error(found.why))
    for number, passage in enumerate(found.passages, 1):
        say()
        source = " · ".join(filter(None, (passage.source_name, *passage.heading_path, passage.category)))
        say(f"{number}. {passage.title}  [{passage.score:.2f}]  {source}")
        say(passage.answer or passage.text)


@command(kb, "rebuild", help=_("重建索引并重新校准；服务照常运行"))
async def rebuild(base: Base = DEFAULT_BASE, as_json: AsJson = False) -> None:
    async with open_app(settings()) as app:
        workspace_id = await workspace_of(app)
        async with app.database.transaction(workspace_id) as tx:
            found = await _base(tx, base)
        with Bar(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=err.whole, transient=True
        ) as bar:
            task = bar.add_task(_(STAGES["rebuilding"]), total=found.bodies or None)
            chunks = await service.rebuild(
                app.database, workspace_id, base, told=lambda done: bar.update(task, completed=done)
            )
            bar.update(task, description=_(STAGES["calibrating"]))
            calibration = await service.calibrate(
                app.database, workspace_id, found.id, embedders=app.embedders, now=app.clock.now()
            )
    if as_json:
        show_json({"base": base, "chunks": chunks, "answer_at": calibration.answer_at, "trusted": calibration.trusted})
        return
    say(_("已重建：{n}段", n=chunks))
    if not calibration.trusted:
        say(_("还不直接回答，先列出相近问题。为什么、怎么改：zhiban kb stats"))


@command(kb, "stats", help=_("每个知识库有多少内容、校准得怎样、为什么直接回答或不回答"))
async def stats(as_json: AsJson = False) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        bases = await service.stats(tx)
        advised = [await standing.advice(tx, each) for each in bases]
        folders = await queries.source_folders(tx)
        gaps = await gap_queries.open_gaps(tx, limit=10)
    told = [explain(each, advice, _) for each, advice in zip(bases, advised, strict=True)]
    if as_json:
        listed = [
            {
                **asdict(each),
                "standing": each.standing,
                "advice": {**asdict(advice), "needed": standing.NEEDED},
                "told": " ".join(words),
            }
            for each, advice, words in zip(bases, advised, told, strict=True)
        ]
        show_json({"bases": listed, "sources": [asdict(row) for row in folders], "gaps": [asdict(gap) for gap in gaps]})
        return
    columns = {
        "slug": _("知识库"),
        "sources": _("文件"),
        "articles": _("文章"),
        "phrasings": _("问法"),
        "chunks": _("段落"),
        "vectors": _("向量"),
        "answer_at": _("回答阈值"),
    }
    rows = [{**asdict(each), "vectors": _vectors(each), "answer_at": _answer_at(each.answers_at)} for each in bases]
    show_table(columns, rows)
    for each, words in zip(bases, told, strict=True):
        say(f"{each.slug}: {words[0]}")
        for line in words[1:]:
            say(f"  {line}")


def _vectors(base: service.Stats) -> str:
    if base.next_embedder is None:
        return str(base.vectors)
    return _(
        "{n}（{model}算到{done}/{total}）",
        n=base.vectors,
        model=base.next_embedder,
        done=base.next_vectors,
        total=base.phrasings,
    )


def _answer_at(threshold: float | None) -> str:
    return _("不凭把握直接回答") if threshold is None else f"{threshold:.2f}"


@command(kb, "list", help=_("列出来源：每个导入过的文件夹，它的位置、文件和文章"))
async def list_(as_json: AsJson = False) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        rows = await queries.source_folders(tx)
    if as_json:
        show_json([asdict(row) for row in rows])
        return
    if not rows:
        say(_("还没有导入过：zhiban kb import 文件夹"))
        return
    columns = {
        "base": _("知识库"),
        "name": _("来源"),
        "files": _("文件"),
        "articles": _("文章"),
        "imported": _("最近导入"),
        "path": _("位置"),
    }
    show_table(columns, [{**asdict(row), "imported": _.stamp(row.imported_at)} for row in rows])


@command(kb, "synonyms", help=_("同义词：列出，或用文件替换（一行一组，用逗号或空格隔开）"))
async def synonyms(
    file: Annotated[Path | None, typer.Option("--set", help=_("UTF-8文本文件；空文件表示不要同义词"))] = None,
    base: Base = DEFAULT_BASE,
    as_json: AsJson = False,
) -> None:
    wanted = None if file is None else _groups(file)
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        found = await _base(tx, base)
        if wanted is not None:
            await service.set_synonyms(tx, found.id, wanted)
            found = await _base(tx, base)
    groups = [words.split("\n") for words in found.synonym_words]
    if as_json:
        show_json(groups)
    elif not groups:
        say(_("还没有同义词"))
    else:
        for words in groups:
            say(_("、").join(words))


def _groups(file: Path) -> list[list[str]]:
    """The groups of a file. Raises Misconfigured."""
    try:
        return groups_of(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{file} cannot be read as UTF-8 text.") from error
    except Conflict as error:
        raise Misconfigured(error.sentence) from error


@command(kb, "export", help=_("把常见问题导出成CSV，可以再导入"))
async def export(
    target: Annotated[Path | None, typer.Argument(help=_("CSV文件；不写则输出到屏幕"))] = None,
    base: Base = DEFAULT_BASE,
) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        text = await service.export(tx, (await _base(tx, base)).id, now=app.clock.now())
    if target is None:
        sys.stdout.write(text)
        return
    try:
        target.write_text(text, encoding="utf-8-sig", newline="")  # the mark tells Excel that this is UTF-8
    except OSError as error:
        raise Misconfigured(f"{target} cannot be written: {error.strerror}.") from error
    say(_("已导出：{path}", path=target))


@command(kb, "remove", help=_("删除一个文件的内容，或用 --all 删除整个知识库"))
async def remove(
    source: Annotated[str | None, typer.Argument(help=_("文件在知识库里的名字"))] = None,
    everything: Annotated[bool, typer.Option("--all", help=_("删除整个知识库"))] = False,
    base: Base = DEFAULT_BASE,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    if (source is None) is not everything:
        raise Misconfigured("Name one file, or give --all for the whole knowledge base.")
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        found = await _base(tx, base)
        if source is None:
            question = _("删除知识库{base}的全部内容（{n}段）？不能恢复。", base=base, n=found.bodies)
            if not confirmed(question, yes=yes, asking=not as_json):
                return
            await service.remove_base(tx, found.id, now=app.clock.now())
            removed = {"base": base, "chunks_removed": found.bodies}
        else:
            changes = await service.remove(tx, found.id, source=source, now=app.clock.now())
            removed = {"base": base, "source": source, "chunks_removed": changes.chunks_removed}
    if as_json:
        show_json(removed)
    else:
        say(_("已删除：{n}段", n=removed["chunks_removed"]))


async def _base(tx: Transaction, slug: str) -> BaseRow:
    found = await queries.base_by_slug(tx, slug)
    if found is None:
        raise NotFound(f"There is no knowledge base named {slug}.")
    return found
