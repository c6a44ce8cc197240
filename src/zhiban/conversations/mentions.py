"""Who is meant by @name in a note."""

from __future__ import annotations

from collections.abc import Mapping

MOST = 20  # of one note


def mentioned_in(text: str, names: Mapping[int, str]) -> tuple[int, ...]:
    """The agents whose names follow an @ in the text, in the order in which they are written, each once.

    Of several names that fit, the longest is meant, and everybody who bears it. A name in Latin letters ends where no
    letter or digit follows; Chinese is written without blanks.
    """
    folded = text.casefold()
    by_name: dict[str, list[int]] = {}
    for id_, name in names.items():
        if name.strip():
            by_name.setdefault(name.casefold().strip(), []).append(id_)
    longest_first = sorted(by_name, key=len, reverse=True)
    found: dict[int, None] = {}
    at = folded.find("@")
    while at >= 0 and len(found) < MOST:
        name = next((one for one in longest_first if _stands_at(folded, at + 1, one)), "")
        found.update(dict.fromkeys(by_name.get(name, ())))
        at = folded.find("@", at + 1)
    return tuple(found)


def _stands_at(text: str, at: int, name: str) -> bool:
    after = text[at + len(name) : at + len(name) + 1]
    return text.startswith(name, at) and not (name[-1:].isascii() and after.isascii() and after.isalnum())
