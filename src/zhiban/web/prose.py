"""Plain text that people wrote, as HTML: paragraphs, line breaks, links, code between backticks. Nothing else."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

_PIECE = re.compile(
    r"(?P<code>`[^`\n]{1,200}`)"
    r"|(?P<url>https?://[^\s<>\"'，。；：！？）】》、“”]+[^\s<>\"'，。；：！？）】》、“”.,;:!?)\]])"
    r"|(?P<cite>\[(?P<number>\d{1,2})\])"
)


def line(text: str, *, sources: int = 0) -> Markup:
    """One line. `[1]` becomes a mark when there are that many sources."""
    out = []
    end = 0
    for piece in _PIECE.finditer(text):
        out.append(escape(text[end : piece.start()]))
        end = piece.end()
        whole = piece.group(0)
        if piece["code"]:
            out.append(Markup("<code>{}</code>").format(whole[1:-1]))
        elif piece["url"]:
            link = Markup('<a class="link" href="{0}" target="_blank" rel="noopener noreferrer nofollow">{0}</a>')
            out.append(link.format(whole))
        elif 0 < int(piece["number"]) <= sources:
            out.append(Markup('<span class="cite">{}</span>').format(piece["number"]))
        else:
            out.append(escape(whole))
    out.append(escape(text[end:]))
    return Markup("").join(out)


def prose(text: str, *, sources: int = 0) -> Markup:
    """Paragraphs at empty lines, breaks at the others."""
    paragraphs = [part for part in re.split(r"\n\s*\n", text.strip("\n")) if part.strip()]
    if len(paragraphs) <= 1:
        return _broken(paragraphs[0] if paragraphs else "", sources)
    return Markup("").join(Markup("<p>{}</p>").format(_broken(part, sources)) for part in paragraphs)


def _broken(text: str, sources: int) -> Markup:
    return Markup("<br>").join(line(part, sources=sources) for part in text.strip().split("\n"))
