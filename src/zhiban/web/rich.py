"""Text with marks as HTML: what `kit.rich_text` reads of it and nothing else; no HTML of others, no pictures."""

from __future__ import annotations

from typing import assert_never

from markupsafe import Markup, escape

from zhiban.kit import rich_text
from zhiban.kit.rich_text import CodeBlock, Emphasis, Inline, InlineCode, Link, Listing, Paragraph, RichBlock, Strong

_NOTHING = Markup("")


def rich(source: str) -> Markup:
    """The blocks of a text that its writer formatted."""
    return _NOTHING.join(map(_block, rich_text.blocks(source)))


def _block(block: RichBlock) -> Markup:
    match block:
        case Paragraph(lines=lines):
            return Markup("<p>{}</p>").format(Markup("<br>").join(map(_words, lines)))
        case Listing(ordered=True, items=items):
            # Numbers as they were written, as in the words without marks.
            numbered = ((item.mark[:-1], _words(item.words)) for item in items)
            return Markup("<ol>{}</ol>").format(
                _NOTHING.join(Markup('<li value="{}">{}</li>').format(number, words) for number, words in numbered)
            )
        case Listing(items=items):
            return Markup("<ul>{}</ul>").format(
                _NOTHING.join(Markup("<li>{}</li>").format(_words(item.words)) for item in items)
            )
        case CodeBlock(text=text):
            return Markup("<pre><code>{}</code></pre>").format(text)
        case never:
            assert_never(never)


def _words(words: tuple[Inline, ...]) -> Markup:
    return _NOTHING.join(map(_word, words))


def _word(word: Inline) -> Markup:
    match word:
        case str():
            return escape(word)
        case InlineCode(text=text):
            return Markup("<code>{}</code>").format(text)
        case Link(text=text, url=url):
            link = Markup('<a class="link" href="{}" target="_blank" rel="noopener noreferrer nofollow">{}</a>')
            return link.format(url, text)
        case Strong(inside=inside):
            return Markup("<strong>{}</strong>").format(_words(inside))
        case Emphasis(inside=inside):
            return Markup("<em>{}</em>").format(_words(inside))
        case never:
            assert_never(never)
