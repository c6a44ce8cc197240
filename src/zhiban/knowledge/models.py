"""Knowledge bases, where their articles come from, the search index over them, and the questions nothing answered."""

from __future__ import annotations

from enum import StrEnum


class ArticleKind(StrEnum):
    FAQ = "faq"  # a question with its answer
    DOCUMENT = "document"  # a file of text, cut into chunks


class SavedFrom(StrEnum):
    """What made an article say what it says."""

    EDITOR = "editor"  # somebody wrote it: at the desk, or through the API
    IMPORT = "import"  # its file
    GAP = "gap"  # written to answer what contacts asked in vain
    REPLY = "reply"  # what an agent replied in a conversation
    RESTORED = "restored"  # an earlier version


class Origin(StrEnum):
    """Where a way of asking came from."""

    QUESTION = "question"  # the article's own
    SIMILAR = "similar"  # written beside it in the source
    AGENT = "agent"  # added by a person in the desk
    CLICK = "click"  # contacts agreed that this entry answers it


LEARNT = (Origin.AGENT, Origin.CLICK)  # from what people did, not from who wrote the article


class EvidenceKind(StrEnum):
    """How somebody said whether an entry answers a wording."""

    TAP = "tap"  # a contact chose it of our suggestions
    HELPFUL = "helpful"  # a contact praised the answer
    UNHELPFUL = "unhelpful"  # a contact said that the answer did not help; the only kind that speaks against
    ADOPTED = "adopted"  # an agent sent what the assistant had suggested
    CONFIRMED = "confirmed"  # an agent said: this is the answer

    @property
    def supports(self) -> bool:
        return self is not EvidenceKind.UNHELPFUL


class CandidateStatus(StrEnum):
    """How far a wording has come on its way to be a phrasing of an article."""

    WAITING = "waiting"  # for more voices, or for a colleague
    KNOWN = "known"  # nothing to learn: the article has this wording of its own
    ACTIVE = "active"  # learnt: contacts who ask like this get the article
    REJECTED = "rejected"  # a colleague does not want it; only a colleague can approve it again


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
