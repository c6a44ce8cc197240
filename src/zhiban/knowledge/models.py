"""Knowledge bases, where their articles come from, the search index over them, and the questions nothing answered."""

from __future__ import annotations

from enum import StrEnum


class ArticleKind(StrEnum):
    FAQ = "faq"  # a question with its answer
    DOCUMENT = "document"  # a file of text, cut into chunks


class Origin(StrEnum):
    """Where a way of asking came from."""

    QUESTION = "question"  # the article's own
    SIMILAR = "similar"  # written beside it in the source
    AGENT = "agent"  # added by a person in the desk
    CLICK = "click"  # from a contact's click on a suggestion


class GapStatus(StrEnum):
    OPEN = "open"
    ANSWERED = "answered"
    DISMISSED = "dismissed"
    MERGED = "merged"  # its questions are in another gap now


class GapOrigin(StrEnum):
    """What became of a question that is gathered in a gap."""

    NO_ANSWER = "no_answer"  # nothing was found, or no answer could be made of it
    MENU = "menu"  # entries were suggested, and none was taken
    ASKED = "asked"  # the contact asked for a person instead
    COMPLAINT = "complaint"  # the answer did not help
