"""What a search shows: the part of a text that matters, with the words marked that were looked for. Nothing touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from zhiban.conversations.labels import Label
from zhiban.conversations.message_search import ContactHit, FoundConversation, Hit, SearchFilter
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.word_search import Query

BEFORE, SHOWN = 40, 180  # characters before the first mark, and in all

TextPart = tuple[str, bool]  # a piece of text, and whether it is what was looked for


def parts(text: str, spans: Sequence[tuple[int, int]]) -> tuple[TextPart, ...]:
    """The text in pieces, none of them empty."""
    found: list[TextPart] = []
    end = 0
    for start, stop in spans:
        found += [(text[end:start], False), (text[start:stop], True)]
        end = stop
    return tuple(one for one in (*found, (text[end:], False)) if one[0])


def excerpt(text: str, query: Query) -> tuple[TextPart, ...]:
    """About 180 characters around the first place that was looked for, in pieces; cut ends have an ellipsis."""
    spans = query.spans(text)
    first = spans[0][0] if spans else 0
    start = 0 if first <= BEFORE or len(text) <= SHOWN else first - BEFORE
    stop = min(len(text), start + SHOWN)
    inside = [(max(one, start) - start, min(two, stop) - start) for one, two in spans if one < stop and two > start]
    shown = parts(" ".join(text[start:stop].split("\n")), inside)
    return (*((("…", False),) if start else ()), *shown, *((("…", False),) if stop < len(text) else ()))


@frozen_dataclass
class ContactView:
    """A contact that was found: what they are called, and what else holds the words."""

    id: int
    name: tuple[TextPart, ...]
    key: str
    called: str
    also: tuple[tuple[TextPart, ...], ...]
    blocked: bool
    conversations: tuple[FoundConversation, ...]
    labels: tuple[Label, ...] = ()


def contact_view(hit: ContactHit, query: Query, labels: Sequence[Label] = ()) -> ContactView:
    contact = hit.contact
    called = contact.remark or contact.name
    others = [text for text in contact.texts if text != called and query.spans(text)]
    return ContactView(
        id=contact.id,
        name=parts(called, query.spans(called)),
        key=contact.external_ids[0] if contact.external_ids else str(contact.id),
        called=called,
        also=tuple(parts(text, query.spans(text)) for text in others[:3]),
        blocked=contact.blocked,
        conversations=hit.conversations,
        labels=tuple(labels),
    )


def wrote(hit: Hit) -> str:
    """Whose words they are: contact, assistant, people or note."""
    if hit.direction == "internal":
        return "note"
    return {"contact": "contact", "agent": "people", "servicer": "people"}.get(hit.author, "assistant")


@frozen_dataclass
class SearchForm:
    """What stands in the fields of the page, as it was typed."""

    q: str = ""
    inbox: str = ""
    by: str = ""
    since: str = ""
    until: str = ""
    notes: str = "with"
    conversation: str = ""
    label: str = ""

    def fields(self) -> Iterator[tuple[str, str]]:
        """Those that say something."""
        for name in ("q", "inbox", "by", "since", "until", "notes", "conversation", "label"):
            value = str(getattr(self, name))
            if value and not (name == "notes" and value == "with"):
                yield name, value

    @property
    def narrowed(self) -> bool:
        return any(name != "q" for name, _ in self.fields())

    @property
    def label_id(self) -> int | None:
        """The label that contacts are looked for by."""
        return _number(self.label)

    def filter(self, zone: ZoneInfo) -> SearchFilter:
        """What the fields mean; what is no number and no date is left out."""
        agent = self.by.removeprefix("agent-")
        since, until = _day(self.since), _day(self.until)
        return SearchFilter(
            inbox_id=_number(self.inbox),
            conversation_id=_number(self.conversation),
            agent_id=_number(agent) if self.by.startswith("agent-") else None,
            writer=self.by if self.by in ("contact", "assistant", "people") else "",
            notes=self.notes if self.notes in ("with", "without", "only") else "with",
            since=datetime.combine(since, time(), zone) if since else None,
            until=datetime.combine(until + timedelta(days=1), time(), zone) if until else None,
        )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
