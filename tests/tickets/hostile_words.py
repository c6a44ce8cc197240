"""Reads whatever is made to be slow, as a program of its own: whoever waits for it sets the limit."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import product

from zhiban.kit.i18n import Texts
from zhiban.kit.patterns import compile_patterns
from zhiban.tickets import command, masking
from zhiban.tickets.draft_words import LONGEST as LONGEST_WORD
from zhiban.tickets.draft_words import parse_word
from zhiban.tickets.frozen import FrozenLine
from zhiban.tickets.neutralising import neutral, neutral_line
from zhiban.tickets.rendering import Heading, Signature, bodies, title_of
from zhiban.tickets.titling import extracted

ZH = Texts("zh")
BLANKS = [" ", "\t", "\n", "\r\n", "\u2005", "\u3000", "\u2003", "\u200b", " \n"]
SIZE = 1900
COMMANDS = [
    "以上", "的", "5", "五", "条", "消息", "开", "一个", "工单", "开工单",
    "建个 issue", "请", "帮我", "能不能", "那 ", "张三", "从", "“", "”", "「", "」",
    "「a」\n", "-", "—", "到", "a/b", "在a/b", "，", "：", "标题：",
    "@", "@a ", "x", "吗", "。", "最近", "分钟", "这条", "把 ", "1个 ", "从“a",
    "说的", "开始", "please ", "open ", "open an issue from ", "last 5 messages ",
    "以上5条", "以上5条 开工单", "張三的以上", "？",
]  # fmt: skip
SECRETS = [
    "1", "138 ", "1 3 8 ", "一", "一 ", "+86", "(", "密码", "密码：",
    "密码 ", "密码改成", "password ", "pwd=", "token", "QQ", "QQ群 ",
    "微信", "微信号：", "wechat ", "wxid_", "a@", "a@b.", "a.",
    "@", "sk-", "ghp_", "-eyJ", "eyJaaaaaaaa.", "Bearer ", "a:b", "://", "://a:b",
    "-----BEGIN PRIVATE KEY-----", "-----END ", "X", "4111", "-", ".", "是", "改为", "：\n", "\"",
]  # fmt: skip
MARKUP = [
    "http://",
    "https://a.example/",
    "))",
    "&",
    "[",
    "]",
    "<",
    "#1",
    "github.",
    "www.",
    "`",
    "嗯",
    "哦",
    "@a",
    "+1",
    "?",
]
WORDS = [
    "改标题",
    "标题：",
    "title",
    "去掉第",
    "去掉",
    "1、",
    "条",
    "加到 ",
    "#",
    "工单",
    "撤销",
    "确认",
    "1",
    "。",
    "@a ",
    "最后",
    "十",
]


def repeated(tokens: list[str], size: int = SIZE, end: str = "x工单") -> Iterator[str]:
    """Each token as often as it fits, each behind and before each other's, and blanks of every kind between."""
    for token in (*tokens, *BLANKS):
        yield (token * size)[:size] + end
        yield end + (token * size)[:size]
    for (n, one), (m, other) in product(enumerate((*tokens, *BLANKS)), repeat=2):
        if (n + 2 * m) % 3 == 0:  # enough of them
            yield ((one + other) * size)[:size] + end
    for one, blank in product(tokens, BLANKS):
        yield one + blank * size + end
        yield (one + blank * 7) * (size // (len(one) + 7)) + end


def commands() -> Iterator[str]:
    yield from repeated(COMMANDS, end="x开工单")
    for blank in BLANKS:
        yield "以上5条" + blank * (SIZE // len(blank)) + "工单"
        yield "以上5条" + blank * (SIZE // len(blank)) + "开工单"
        yield "以上5条开工单" + blank * (SIZE // len(blank)) + "x"
        yield blank.join(["以上", "5", "条", "开", "工单", "，", "标题："] * 200)[:SIZE]
    for token in COMMANDS:
        yield (token * SIZE)[:600] + "开工单" + (token * SIZE)[:600] + "开工单" + (token * SIZE)[:600] + "开工单"


def all_about(text: str) -> None:
    """A message on its whole way into an issue."""
    line = FrozenLine(1, "a", text[:60], "", datetime(2026, 11, 27, tzinfo=UTC), text, "", text[:500])
    bodies([line], Heading(), signature=Signature.ALIAS, texts=ZH)
    extracted([line], ZH)
    title_of(text, ZH)


def neutralised(text: str) -> None:
    neutral(text)
    neutral_line(text)


BATTERIES: dict[str, tuple[Callable[[str], object], Callable[[], Iterator[str]]]] = {
    "command": (lambda text: command.parse(text[: command.LONGEST], addressed=True), commands),
    "masking": (masking.find, lambda: repeated(SECRETS)),
    "words": (lambda text: parse_word(text[:LONGEST_WORD]), lambda: repeated(WORDS, LONGEST_WORD - 3, "条x")),
    "neutral": (neutralised, lambda: repeated(MARKUP, 400)),
    "whole way": (all_about, lambda: ((token * 4000)[:4000] + "x" for token in (*MARKUP, *SECRETS, *BLANKS))),
}


def main() -> None:
    """Fails when one of them takes a second of the processor; the kernel ends what never ends."""
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
    compile_patterns()
    for name, (read, texts) in BATTERIES.items():
        for text in texts():
            began = time.process_time()
            read(text)
            took = time.process_time() - began
            if took > 1:
                sys.exit(f"{name}: {took:.1f} s for {text[:50]!r} … {text[-20:]!r}")


if __name__ == "__main__":
    main()
