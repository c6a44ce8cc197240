"""QR codes, drawn here: what they hold goes nowhere."""

from __future__ import annotations

from markupsafe import Markup


def qr_code(text: str) -> Markup:
    """The picture, black on white in either theme: what a phone reads surely."""
    import segno  # few pages draw one

    drawn = segno.make(text, error="m", micro=False)
    return Markup(drawn.svg_inline(scale=4, border=4, dark="#000", light="#fff", svgclass=None, lineclass=None))  # noqa: S704
