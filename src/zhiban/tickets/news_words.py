"""What a group is told of its repositories, as plain text: nobody's markup, and nobody's long text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts
from zhiban.ports import LinkCard
from zhiban.tickets.naming import reference

QUOTED = 200  # characters of what somebody wrote
LINES = 5  # of one issue; the others are counted
LISTED = 20  # issues in a list
LONGEST = 4000  # characters of a message


@frozen_dataclass
class GroupNews:
    """Something that a group is to hear, with what it is about. `number` 0: about no issue."""

    id: int
    issue_id: int | None
    repository: str
    number: int
    title: str
    place: str
    kind: str
    name: str
    text: str
    url: str
    listed: bool


_SAID: Mapping[str, Callable[[GroupNews, Texts], str]] = {
    # Whoever did it is not known where we looked instead of being told: then nobody is named.
    "opened": lambda one, texts: texts("{name}新开", name=one.name),
    "closed": lambda one, texts: texts("{name}关闭了", name=one.name) if one.name else texts("关闭了"),
    "not_planned": lambda one, texts: (
        texts("{name}关闭了：不打算做", name=one.name) if one.name else texts("关闭了：不打算做")
    ),
    "merged": lambda one, texts: texts("{name}合并了", name=one.name) if one.name else texts("合并了"),
    "reopened": lambda one, texts: texts("{name}重新打开", name=one.name) if one.name else texts("重新打开了"),
    "missed": lambda one, texts: texts("动静太多，停了一会儿，有{n}条没有逐条说", n=one.text),
    "commented": lambda one, _texts: f"{one.name}：{short(one.text)}",
    "review_approved": lambda one, texts: texts("{name}评审通过", name=one.name),
    "review_changes_requested": lambda one, texts: texts("{name}要求修改：{text}", name=one.name, text=short(one.text)),
    "review_commented": lambda one, texts: texts("{name}评审：{text}", name=one.name, text=short(one.text)),
    "ready": lambda one, texts: texts("{name}：可以评审了", name=one.name),
    "discussion_created": lambda one, texts: texts("{name}发起讨论：{text}", name=one.name, text=short(one.text)),
    "discussion_answered": lambda one, texts: texts("讨论有了答案：{text}", text=short(one.text)),
    "labeled": lambda one, texts: texts("标签：{text}", text=short(one.text)),
    "assigned": lambda one, texts: texts("负责：{text}", text=short(one.text)),
    "failed": lambda one, texts: texts("默认分支上失败了：{text}", text=short(one.text)),
    "starred": lambda one, texts: texts("有{text}颗星了", text=one.text),
    "released": lambda one, texts: texts("{name}发布了{text}", name=one.name, text=short(one.text)),
}


def short(text: str) -> str:
    """One line of what somebody wrote."""
    line = " ".join(text.split())
    return line if len(line) <= QUOTED else line[: QUOTED - 1] + "…"


def issue_words(news: Sequence[GroupNews], texts: Texts) -> str:
    """What happened to one issue, or the one thing that is about none."""
    return "\n".join([_head(news[0]), *_lines(news, texts), news[0].place])[:LONGEST]


def issue_card(news: Sequence[GroupNews], texts: Texts) -> LinkCard:
    """The same as a card. Its title says which issue it is about, by which it is known again when somebody quotes it:
    of a card, many clients repeat nothing else."""
    first, lines = news[0], _lines(news, texts)
    if first.number or not lines:
        return LinkCard(_head(first), "\n".join(lines), first.place)
    return LinkCard(f"{_head(first)} {lines[0]}", "\n".join(lines[1:]), first.place)


def _head(first: GroupNews) -> str:
    if not first.number:
        return first.repository
    return f"{first.repository} {reference(first.number, first.place)} {short(first.title)}"


def _lines(news: Sequence[GroupNews], texts: Texts) -> list[str]:
    said = [one for one in news if one.kind in _SAID and _says(one)]
    lines = [_SAID[one.kind](one, texts) for one in said]
    if marks := sum(one.kind == "review_line" for one in news):
        reviews = [n for n, one in enumerate(said) if one.kind.startswith("review_")]
        if len(reviews) == 1:  # a review and its lines are one line
            lines[reviews[0]] = texts("{line}（评审里的意见：{n}处）", line=lines[reviews[0]], n=marks)
        else:
            lines.append(texts("评审里的意见：{n}处", n=marks))
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], texts("还有{n}条", n=len(lines) - LINES + 1)]
    return lines


def _says(one: GroupNews) -> bool:
    """A review without words of its own is told by its lines."""
    return one.kind != "review_commented" or bool(one.text.strip())


def list_words(news: Sequence[GroupNews], texts: Texts) -> str:
    """Many things in one message: a line for each issue."""
    by_place: dict[str, list[GroupNews]] = {}
    for one in news:
        by_place.setdefault(one.place, []).append(one)
    lines = [
        f"{found[0].repository} {reference(found[0].number, found[0].place)} {short(found[0].title)}（{len(found)}）"
        if found[0].number
        else issue_words(found[:1], texts).replace("\n", " ")
        for found in list(by_place.values())[:LISTED]
    ]
    if len(by_place) > LISTED:
        lines.append(texts("还有{n}条", n=len(by_place) - LISTED))
    return "\n".join([texts("仓库动态"), *lines])[:LONGEST]
