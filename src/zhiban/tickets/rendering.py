"""A ticket as the text of an issue: masked, neutral, and in as many bodies as the tracker needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from zhiban.assistant.normalising import visible
from zhiban.conversations.published_files import PublishedFile
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts, mark
from zhiban.kit.text import graphemes, split_text
from zhiban.tickets.frozen import FrozenLine, size_words
from zhiban.tickets.masking import Secret, hide, whole_secrets
from zhiban.tickets.neutralising import neutral, neutral_line, neutral_title, neutral_words

BUDGET = 60_000  # characters of one body; trackers take 65,536
LONGEST_TITLE = 120  # graphemes
_PIECE = 4_000  # characters before they are made neutral, which may make eight of one
_QUOTED = 300
_SAYING_SO = 100  # characters kept for saying that there was more
_TITLE_CODE_POINTS = 250  # GitHub refuses more than 256

NO_FILES: Mapping[int, Sequence[PublishedFile]] = {}

_HIDDEN: Mapping[Secret, str] = {
    Secret.MOBILE: mark("手机号已隐去"),
    Secret.ID_CARD: mark("证件号已隐去"),
    Secret.BANK_CARD: mark("卡号已隐去"),
    Secret.EMAIL: mark("邮箱已隐去"),
    Secret.TOKEN: mark("密钥已隐去"),
    Secret.PASSWORD: mark("密码已隐去"),
    Secret.ACCOUNT: mark("账号已隐去"),
}


class Signature(StrEnum):
    """How speakers are named outside: by their names, by what the group calls them, or not at all."""

    REAL = "real"
    ALIAS = "alias"
    ANONYMOUS = "anonymous"


@frozen_dataclass
class Heading:
    """What stands above the messages: the summary, what the requester added, and where all of it comes from."""

    summary: str = ""
    note: str = ""
    source: str = ""
    requester: str = ""


def hidden(text: str, texts: Texts) -> str:
    """The text with its secrets named instead of shown."""
    return hide(visible(text), {kind: f"[{texts(words)}]" for kind, words in _HIDDEN.items()})


def title_of(title: str, texts: Texts) -> str:
    """The title as it may leave: masked, on one line, of at most 120 graphemes, referring to nobody."""
    return neutral_title(shortened_title(hidden(title, texts)))[:_TITLE_CODE_POINTS]


def shortened_title(title: str) -> str:
    """One line of at most 120 graphemes; no secret is cut through, which would show its beginning."""
    title = " ".join(title.split())
    seen = list(graphemes(title))
    if len(seen) <= LONGEST_TITLE:
        return title
    return whole_secrets(title, sum(map(len, seen[: LONGEST_TITLE - 1]))) + "…"


def speaker_names(lines: Sequence[FrozenLine], signature: Signature, texts: Texts) -> dict[str, str]:
    """What each speaker is called; of two with one name the second gets a number."""
    names: dict[str, str] = {}
    for line in lines:
        if line.speaker in names:
            continue
        match signature:
            case Signature.REAL:
                name = line.name or line.alias
            case Signature.ALIAS:
                name = line.alias
            case Signature.ANONYMOUS:
                name = ""
        name = name or texts("成员{n}", n=len(names) + 1)
        taken = set(names.values())
        names[line.speaker] = name if name not in taken else f"{name} ({len(names) + 1})"
    return names


def bodies(
    lines: Sequence[FrozenLine],
    heading: Heading,
    *,
    signature: Signature,
    texts: Texts,
    files: Mapping[int, Sequence[PublishedFile]] = NO_FILES,
    budget: int = BUDGET,
) -> tuple[str, ...]:
    """The text of the issue, and what of it goes into comments, in order; each within the budget.

    `files`: what everybody may read of each message.
    """
    entries = [entry for entry in (_heading(heading, texts),) if entry]
    names = speaker_names(lines, signature, texts)
    for line in lines:
        entries += _entries(line, names, lines, files.get(line.message_id, ()), signature=signature, texts=texts)
    packed: list[str] = []
    for entry in entries:
        if packed and len(packed[-1]) + 2 + len(entry) <= budget:
            packed[-1] += f"\n\n{entry}"
        else:
            packed.append(entry)
    return tuple(packed) or (texts("没有内容"),)


def comment_body(text: str, texts: Texts) -> str:
    """Words of one of ours or of a member, as a comment: masked, neutral, and saying so where they are too many."""
    written = ""
    for piece in split_text(hidden(text, texts), _PIECE, size=len):
        more = neutral(piece)
        if len(written) + len(more) > BUDGET - _SAYING_SO:
            return f"{written}\n\n{texts('（后面的内容太长，没有写上）')}"
        written += more
    return written


def _heading(heading: Heading, texts: Texts) -> str:
    parts = [neutral(hidden(part, texts)) for part in (heading.summary, heading.note) if part.strip()]
    where = [heading.source and neutral_line(hidden(heading.source, texts))]
    if heading.requester:
        where.append(texts("由{name}提出", name=neutral_line(hidden(heading.requester, texts))))
    said = " · ".join(filter(None, where))
    return "\n\n".join((*parts, *((f"*{said}*",) if said else ())))


def _entries(
    line: FrozenLine,
    names: Mapping[str, str],
    lines: Sequence[FrozenLine],
    files: Sequence[PublishedFile],
    *,
    signature: Signature,
    texts: Texts,
) -> list[str]:
    """One message, with its files; a very long one in several."""
    head = f"**{neutral_line(hidden(names[line.speaker], texts)) or '-'}** {texts.stamp(line.sent_at)}"
    if line.recalled:
        return [f"{head}\n\n{texts('这条消息已撤回')}"]
    if line.quoted:
        head += f"\n\n{_quotation(line, names, lines, signature=signature, texts=texts)}"
    pieces = split_text(hidden(line.text, texts), _PIECE, size=len)
    shown = file_links(files, texts)
    return [f"{head}\n\n{neutral(pieces[0])}", *(neutral(piece) for piece in pieces[1:]), *((shown,) if shown else ())]


def file_links(files: Sequence[PublishedFile], texts: Texts) -> str:
    """Pictures to be seen and files to be had, each under an address of ours; empty where nothing is published."""
    return "\n".join(_file_link(one, texts) for one in files if one.state == "published")


def _file_link(file: PublishedFile, texts: Texts) -> str:
    """What a sender called a picture says nothing to whoever cannot see it, so that it is called by what it is."""
    if file.kind == "picture":
        return f"![{texts('图片')}]({file.address})"
    name = neutral_words(hidden(file.name, texts)) or texts("文件")
    return f"[{name}]({file.address})" + (f" {size_words(file.size)}" if file.size else "")


def _quotation(
    line: FrozenLine, names: Mapping[str, str], lines: Sequence[FrozenLine], *, signature: Signature, texts: Texts
) -> str:
    """What a message answers. Who said that is only named as far as the signature allows."""
    called = {each.name: names[each.speaker] for each in lines} | {each.alias: names[each.speaker] for each in lines}
    name = called.get(line.quoted_name) or (line.quoted_name if signature is Signature.REAL else "")
    words = " ".join(line.quoted.split())
    said = hidden(f"{name}: {words}" if name else words, texts)
    return "> " + neutral_line(said[:_QUOTED])
