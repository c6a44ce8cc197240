"""The page where messages, notes and contacts are looked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from zhiban.automation.queries import names
from zhiban.conversations import message_search
from zhiban.conversations.contact_labels import labels_shown_of
from zhiban.conversations.labelled_contacts import labelled_contacts
from zhiban.conversations.labels import labels
from zhiban.conversations.message_search import ContactHit, SearchPage
from zhiban.desk import found
from zhiban.desk.checks import chrome_of
from zhiban.desk.found import ContactView, SearchForm
from zhiban.desk.labels import WORDS
from zhiban.kit import word_search
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts
from zhiban.people.auth import CurrentAgent, auth_of
from zhiban.people.permissions import Access
from zhiban.web.render import wants_part

router = APIRouter(include_in_schema=False)

CONTACTS = 8  # shown above the messages
LABELLED = 25  # of those who bear a label, on one page

Word = Annotated[str, Query(max_length=40)]


@frozen_dataclass
class _DeskHits:
    page: SearchPage
    contacts: tuple[ContactView, ...] = ()
    contacts_before: int | None = None


@router.get("/search")
async def search(
    request: Request,
    agent: CurrentAgent,
    q: Annotated[str, Query(max_length=1000)] = "",
    inbox: Word = "",
    by: Word = "",
    since: Word = "",
    until: Word = "",
    notes: Word = "with",
    conversation: Word = "",
    label: Word = "",
    before: Annotated[int | None, Query(ge=1, lt=2**62)] = None,
) -> Response:
    """The page, or, for htmx, the part that `before` begins."""
    auth = auth_of(request)
    viewer = auth.viewer(request, agent)
    form = SearchForm(q, inbox, by, since, until, notes, conversation, label)
    part = wants_part(request) and before is not None
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        result = await _find(tx, form, viewer.texts, agent.access, now=auth.clock.now(), before=before)
        named = None if part else await names(tx)
        all_labels = await labels(tx)
    asked = word_search.query(q)
    return auth.renderer.answer(
        "search/hits.html" if part else "search/search.html",
        viewer,
        chrome=await chrome_of(request, agent, "search"),
        form=form,
        asked=asked,
        page=result.page,
        contacts=result.contacts,
        contacts_before=result.contacts_before,
        labels=all_labels,
        first=before is None,
        named=named,
        sees=agent.access.sees,
        excerpt=found.excerpt,
        wrote=found.wrote,
        address=lambda **more: urlencode({**dict(form.fields()), **more}),
        **WORDS,
    )


async def _find(
    tx: Transaction, form: SearchForm, texts: Texts, access: Access, *, now: datetime, before: int | None
) -> _DeskHits:
    asked, narrowed = word_search.query(form.q), form.filter(texts.zone)
    if form.label_id is not None:
        bearing = await labelled_contacts(tx, access, form.label_id, asked, most=LABELLED, before=before)
        return _DeskHits(SearchPage(), await _views(tx, bearing.hits, asked), bearing.before)
    page = await message_search.search(tx, asked, access=access, now=now, narrowed=narrowed, before=before)
    if before is not None or form.narrowed:
        return _DeskHits(page)
    contacts = await message_search.search_contacts(tx, asked, access=access, most=CONTACTS)
    return _DeskHits(page, await _views(tx, contacts, asked))


async def _views(tx: Transaction, hits: Sequence[ContactHit], asked: word_search.Query) -> tuple[ContactView, ...]:
    """The contacts with their labels."""
    borne = await labels_shown_of(tx, [one.contact.id for one in hits])
    return tuple(found.contact_view(one, asked, borne.get(one.contact.id, ())) for one in hits)
