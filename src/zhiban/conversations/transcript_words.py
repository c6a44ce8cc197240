"""A transcript in words: whose they are, and what stands for what is no text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal

from zhiban.conversations.retention import Forgotten
from zhiban.conversations.transcripts import TranscriptLine
from zhiban.kit.i18n import Texts, mark

KIND_LABELS = {
    "image": mark("图片"),
    "voice": mark("语音"),
    "video": mark("视频"),
    "file": mark("文件"),
    "location": mark("位置"),
    "link": mark("链接"),
    "card": mark("名片"),
    "miniprogram": mark("小程序"),
    "product": mark("商品"),
    "order": mark("订单"),
    "merged": mark("聊天记录"),
    "other": mark("这类消息请到微信里看"),
}

SaidLine = tuple[str, TranscriptLine, tuple[str, ...]]  # whose words, the message, its lines


def said_in(lines: Sequence[TranscriptLine], tag: str, texts: Texts) -> list[SaidLine]:
    """Every message with whose it is and what stands below the name."""
    return [(who_of(one, tag, texts), one, tuple(words_of(one, texts))) for one in lines]


def outside_of_group(
    lines: Sequence[TranscriptLine], signature: Literal["real", "alias", "anonymous"], texts: Texts
) -> list[TranscriptLine]:
    """What may be read outside of the group: nothing of who is not to be quoted, and the others named as is set."""
    names = _outside_names(lines, signature, texts)
    called = {
        f"@{known} ": f"@{names[one.contact_id]} "
        for one in lines
        if one.writer == "contact"
        for known in (one.nickname, one.own_name)
        if known
    }
    mention = re.compile("|".join(map(re.escape, sorted(called, key=len, reverse=True))) or r"(?!)")
    found = []
    for one in lines:
        name = one.name if signature != "anonymous" else ""
        if one.quotable:
            words = mention.sub(lambda match: called[match[0]], one.text.removeprefix(one.above))
            name = names[one.contact_id] if one.writer == "contact" else name
            found.append(replace(one, name=name, text=words, above=""))
    return found


def _outside_names(
    lines: Sequence[TranscriptLine], signature: Literal["real", "alias", "anonymous"], texts: Texts
) -> dict[int | None, str]:
    """What each member is called; of two with one name the second gets a number."""
    names: dict[int | None, str] = {}
    for one in lines:
        if one.writer != "contact" or one.contact_id in names:
            continue
        given = {"real": one.own_name or one.nickname, "alias": one.nickname, "anonymous": ""}[signature]
        name = given or texts("成员{n}", n=len(names) + 1)
        names[one.contact_id] = name if name not in names.values() else f"{name} ({len(names) + 1})"
    return names


def plain_text(title: str, missing: str, said: Sequence[SaidLine], texts: Texts) -> str:
    """The whole as plain text, which ends with a line's end."""
    parts = [title, missing] if missing else [title]
    parts += [f"[{texts.stamp(one.at)}] {who}\n" + "\n".join(words) for who, one, words in said]
    return "\n\n".join(parts) + "\n"


def gone_words(forgotten: Forgotten, texts: Texts, now: datetime) -> str:
    """That earlier messages are gone because their time was over."""
    day = texts.day(forgotten.at, now)
    return texts.n("这里以前的{n}条消息到了保留期限，已经删除（{when}）", forgotten.messages, when=day)


def who_of(line: TranscriptLine, tag: str, texts: Texts) -> str:
    """Whose words they are, as everybody may read it."""
    match line.writer:
        case "contact":
            return line.name or texts("联系人{tag}", tag=tag)
        case "people":
            return line.name or texts("同事")
        case "note":
            return texts("{name}（备注，对方看不到）", name=line.name or texts("规则"))
        case "assistant":
            return texts("值班助手")


def words_of(line: TranscriptLine, texts: Texts) -> Iterator[str]:
    """What stands below the name, line by line."""
    if line.recalled:
        yield texts("（已撤回）")
        return
    yield from line.text.splitlines()
    for number, choice in enumerate(line.choices, 1):
        yield f"{number}. {choice}"
    kind = texts(KIND_LABELS.get(line.kind, line.kind))
    for name in line.files:
        yield f"[{kind}] {name}".rstrip()
    if not (line.text or line.choices or line.files):
        yield f"[{kind}]"
