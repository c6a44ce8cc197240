"""An import in words: how far it is, what was read, what was refused and why, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts, mark
from zhiban.knowledge.converters import SUFFIXES
from zhiban.knowledge.uploads import ImportRow

SENDABLE = sorted(SUFFIXES)
STAGES = {
    "reading": mark("读取"),
    "storing": mark("写入"),
    "rebuilding": mark("重建索引"),
    "embedding": mark("计算向量"),
    "calibrating": mark("校准"),
}
LACKS = {"question": mark("第{row}行没有问题：{text}"), "answer": mark("第{row}行没有答案：{text}")}

ICONS = {"done": "check", "broken": "alert", "waiting": "file"}


@frozen_dataclass
class FileView:
    """What became of one file. `state` is done, broken or waiting, as the design calls them."""

    name: str
    state: str
    said: str
    rows: tuple[str, ...] = ()

    @property
    def icon(self) -> str:
        return ICONS[self.state]


@frozen_dataclass
class ImportView:
    """One import. `asks` is what it would take away, in words; `share` how far it is, in percent."""

    id: int
    active: bool
    heading: str
    who: str
    at: datetime
    files: tuple[FileView, ...]
    stage: str = ""
    done: int = 0
    total: int = 0
    asks: str = ""
    failure: str = ""
    lost: str = ""


def import_view(row: ImportRow, agents: Mapping[int, str], texts: Texts) -> ImportView:
    progress = row.progress or {}
    removal = row.removal or {}
    refused = [FileView(one["file"], "broken", texts.error(one["sentence"])) for one in row.refused]
    return ImportView(
        id=row.id,
        active=row.active,
        heading=texts(_HEADINGS[row.status]),
        who=agents.get(row.agent_id or 0, ""),
        at=row.created_at,
        files=(*_files(row, texts), *refused),
        stage=texts(STAGES[progress["stage"]]) if progress else "",
        done=int(progress.get("done", 0)),
        total=int(progress.get("total", 0)),
        asks=texts(
            "这次更新会删除{removed}篇文章，只新增{added}篇。",
            removed=removal["removed"],
            added=removal["added"],
        )
        if row.status == "asking"
        else "",
        failure=texts.error(row.failure) if row.failure else "",
        lost=_lost(row, texts),
    )


def _lost(row: ImportRow, texts: Texts) -> str:
    """Which earlier versions went with articles that the files no longer have."""
    versions = row.report["changes"].get("versions_removed", 0) if row.report is not None else 0
    if not versions:
        return ""
    return texts("随删除的文章没有了{n}个旧版本：文件里改了问题的写法，就是另一篇文章", n=versions)


_HEADINGS = {
    "waiting": mark("排着队"),
    "running": mark("正在导入"),
    "asking": mark("等您决定"),
    "done": mark("导入完了"),
    "failed": mark("没有导入"),
    "cancelled": mark("没有改动"),
}


def _files(row: ImportRow, texts: Texts) -> list[FileView]:
    """Each file that was kept, by what the report says of it."""
    report = row.report
    if report is None:
        return [FileView(file["name"], "waiting", "") for file in row.files]
    read = {bare(one["file"]): one for one in report["read"]}
    broken = {bare(one["file"]): texts.error(one["sentence"]) for one in report["failed"]}
    same = {bare(name): texts("没有变化") for name in report["unchanged"]}
    same |= {bare(name): texts("内容和另一个文件完全一样，没有再收") for name in report["duplicates"]}
    replaced = {bare(name) for name in report["changed"]}
    found = []
    for file in row.files:
        name = file["name"]
        if name in read:
            one = read[name]
            said = texts.n("{n}篇文章", one["articles"])
            said = texts("更新成{said}", said=said) if name in replaced else said
            rows = [texts(LACKS[each["lacks"]], row=each["number"], text=each["text"]) for each in one["rows"]]
            if one["skipped"] > len(rows):
                rows.append(texts("还有{n}行也没有导入", n=one["skipped"] - len(rows)))
            found.append(FileView(name, "done", said, tuple(rows)))
        elif name in broken:
            found.append(FileView(name, "broken", broken[name]))
        else:
            found.append(FileView(name, "done", same.get(name, "")))
    return found


def bare(name: str) -> str:
    """A file's name without the source that it belongs to."""
    return name.rpartition("/")[2]
