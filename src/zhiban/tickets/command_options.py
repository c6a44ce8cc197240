"""What may follow the command: 标题：…, 标签：…, 到 owner/repo, 指派 @x, 优先级：高, 说明：…, 去掉第3条."""

from __future__ import annotations

import re
from dataclasses import replace

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.patterns import lazy_pattern
from zhiban.tickets.draft_words import FILES_LEFT_OUT, LEAVE_OUT, ChooseFiles, files_left_out, left_out
from zhiban.tickets.masking import whole_secrets
from zhiban.tickets.squeezing import simple

# With a word character where its end is, so that what follows in Chinese is not taken for a part of it.
REPOSITORY = r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{0,99}[A-Za-z0-9_-]"
LONGEST_TITLE = 200
LONGEST_NOTE = 500
MOST_LABELS = 10
_LONGEST_ASIDE = 60  # characters of loose words behind a command that still count as a note

_PRIORITIES = {
    "紧急": 4, "最高": 4, "urgent": 4, "高": 3, "high": 3, "中": 2, "普通": 2, "一般": 2, "normal": 2, "低": 1,
    "low": 1,
}  # fmt: skip

_WORD = r"[^\s，,。；;：:]{1,40}(?:仓库)?(?:[\s，,。；;]|$)"
_KEY = (
    r"(?:(?P<title>标题|题目|title)[ ]*[:：]?|(?P<labels>标签|类型|分类|labels?|types?)[ ]*[:：]?"
    r"|(?P<note>说明|备注|描述|补充|note)[ ]*[:：]|(?P<priority>优先级|priority)[ ]*[:：]?"
    r"|(?P<assignee>指派给?|分配给|负责人|交给|assign(?:ee| to)?)[ ]*[:：]?"
    rf"|(?P<repository>仓库|repo)[ ]*[:：]?|(?P<at>提到|发到|转到|到|至)[ ]*(?={REPOSITORY}|{_WORD}))"
)
_SEPARATOR = r"[\s，,。；;]"
_OPTION = lazy_pattern(rf"(?:^|(?<={_SEPARATOR})){_KEY}[ \t]*", re.IGNORECASE)
# A clause of its own: what stands in a title or behind a colon is a part of that.
_LEFT_OUT = lazy_pattern(rf"(?:^|(?<=[，,。；;\n]))[ \t]*{LEAVE_OUT}[ \t]*(?:[，,。；;!！~～\n]|$)", re.IGNORECASE)
_LIST = re.compile(r"[、,，/\s]+")
_FILES_OUT = lazy_pattern(
    rf"(?:^|(?<=[，,。；;\n]))[ \t]*{FILES_LEFT_OUT}[ \t]*(?:[，,。；;!！~～\n]|$)", re.IGNORECASE
)
# Loose words that explain, ask or report rather than add something.
_NO_NOTE = lazy_pattern(
    r"就|会|即可|可以|怎么|如何|[吗么?？]|才|的话|失败|没反应|没有|不行|不对|已|命令|机器人|助手|是不是|不要|别"
)
_COURTESY = lazy_pattern(
    r"(?:谢谢|多谢|感谢|辛苦|拜托|麻烦|你|您|各位|大家|了|啦|啊|thanks?|thank you|thx|please|[\s，,。!！~～])+",
    re.IGNORECASE,
)


@frozen_dataclass
class Options:
    """`repository`: owner/name or an alias, `assignee`: a name or login without @, `priority`: 1 low … 4 urgent,
    `leave_out`: the places of messages that do not belong to it, counted from 1; 0 is the last one,
    `files`: which of their files nobody outside is to see."""

    title: str = ""
    labels: tuple[str, ...] = ()
    repository: str = ""
    assignee: str = ""
    priority: int = 0
    note: str = ""
    leave_out: tuple[int, ...] = ()
    files: ChooseFiles | None = None

    def at(self, repository: str) -> Options:
        return replace(self, repository=repository)


NO_OPTIONS = Options()


def read_options(written: str, plain: str) -> Options | None:
    """The options in what follows a command, None where it says something else. `plain`: the same in simple letters,
    character by character."""
    options = NO_OPTIONS
    while clause := _LEFT_OUT.search(plain):
        places = left_out(clause)
        if places is None:
            return None
        options = replace(options, leave_out=(*options.leave_out, *places.places))
        written, plain = (text[: clause.start()] + text[clause.end() :] for text in (written, plain))
    while clause := _FILES_OUT.search(plain):
        before, found_now = options.files or ChooseFiles(pictures=False, files=False), files_left_out(clause)
        both = ChooseFiles(before.pictures or found_now.pictures, before.files or found_now.files)
        options = replace(options, files=both)
        written, plain = (text[: clause.start()] + text[clause.end() :] for text in (written, plain))
    found = list(_OPTION.finditer(plain))
    loose = written[: found[0].start()] if found else written
    for place, match in enumerate(found):
        end = found[place + 1].start() if place + 1 < len(found) else len(written)
        options = _with(options, match.lastgroup or "", _value(written[match.end() : end]))
    aside = loose.strip(" \t\u2005，,。；;：:！!~～\n")
    if not aside or _COURTESY.fullmatch(simple(aside)):
        return options
    if len(aside) > _LONGEST_ASIDE or loose[:1] in " \t" or _NO_NOTE.search(simple(aside)):
        return None
    return replace(options, note=whole_secrets("\n".join(filter(None, (aside, options.note))), LONGEST_NOTE))


def _value(text: str) -> str:
    text = text.strip(" \t\u2005，,；;\n")
    return text[1:-1].strip() if len(text) > 1 and (text[0] + text[-1]) in ("“”", "「」", '""', "《》") else text


def _with(options: Options, key: str, value: str) -> Options:
    first = value.split()[0] if value.split() else ""
    match key:
        case "title":
            return replace(options, title=whole_secrets(" ".join(value.split()), LONGEST_TITLE))
        case "note":
            return replace(options, note=whole_secrets(value, LONGEST_NOTE))
        case "labels":
            labels = dict.fromkeys((*options.labels, *(part.strip("#。") for part in _LIST.split(value))))
            return replace(options, labels=tuple(label[:50] for label in labels if label)[:MOST_LABELS])
        case "priority":
            return replace(options, priority=_PRIORITIES.get(simple(value).casefold().strip("。"), 0))
        case "assignee":
            return replace(options, assignee=first.lstrip("@").rstrip("。.")[:60])
        case _:
            return replace(options, repository=first.strip("#。").removesuffix("仓库")[:140])
