"""Which files of a ticket's messages everybody may see at its issue, and that they are prepared for it.

A group chooses whether anything is published at all, and whoever asks for a ticket sees what before they say yes. The
copies are made after the commit (`publishing_jobs`); the issue waits a little for them, and else names them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from zhiban.conversations import published_files
from zhiban.conversations.attachments import Attachment
from zhiban.conversations.group_policy import PublishFiles
from zhiban.conversations.published_files import FileToPublish, PublishedFile, PublishedKind
from zhiban.conversations.spoken import files_of, spoken
from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.kit.jobs import Job, enqueue
from zhiban.kit.pictures import FORMATS

PUBLISH_FILES = Job("publish_files", queue="slow", attempts=5)
PUBLISH_WITH_COMMENT = Job("publish_files_of_comment", queue="slow", attempts=5)
PATIENCE = timedelta(seconds=60)  # for which an issue waits for its pictures

LARGEST_PICTURE = 20 << 20  # bytes, as it was sent
LARGEST_FILE = 10 << 20
MOST_FILES = 20  # of one ticket
MOST_BYTES = 60 << 20  # likewise

_PICTURES = frozenset(type_.mime for type_ in FORMATS)
# What people attach to a report. Nothing that runs when it is opened; no pictures of kinds that we cannot clean, and no
# films, which say where they were taken.
_FILES = frozenset(
    (
        *(".txt", ".log", ".md", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".ini", ".conf"),
        *(".cfg", ".properties", ".patch", ".diff", ".sql", ".har", ".trace", ".pdf", ".docx", ".xlsx", ".pptx"),
        *(".odt", ".ods", ".odp", ".zip", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".tar"),
    )
)


def kind_of(attachment: Attachment) -> PublishedKind | None:
    """What would be made of it; None for what is only named. What has not come yet is taken for what it is called."""
    if attachment.state == "failed":
        return None
    picture = attachment.content_type in _PICTURES if attachment.state == "stored" else attachment.kind == "image"
    if picture:
        return "picture" if (attachment.size or 0) <= LARGEST_PICTURE and not attachment.huge else None
    known = PurePosixPath(attachment.filename).suffix.lower() in _FILES
    shown = (attachment.content_type or "").startswith(("image/", "audio/", "video/"))
    small = (attachment.size or 0) <= LARGEST_FILE
    return "file" if attachment.kind == "file" and known and small and not shown else None


KINDS: Mapping[PublishFiles, tuple[PublishedKind, ...]] = {
    "never": (),
    "pictures": ("picture",),
    "all": ("picture", "file"),
}


def no_longer(before: object, after: object) -> tuple[PublishedKind, ...]:
    """Which kinds a group published by the one choice and publishes no more by the other."""
    known = {str(choice): kinds for choice, kinds in KINDS.items()}
    return tuple(kind for kind in known.get(str(before), ()) if kind not in known.get(str(after), ()))


async def offers(
    tx: Transaction, conversation_id: int, messages: Sequence[int], publishes: PublishFiles
) -> list[FileToPublish]:
    """The files of these messages that may be published, in order, as many as one ticket may have.

    Nothing of what was recalled, or of who does not want to be quoted.
    """
    if publishes == "never":
        return []
    said = await spoken(tx, conversation_id, messages)
    files = await files_of(tx, [one for one in said if one.quotable])
    found: list[FileToPublish] = []
    size = 0
    for message in said:
        for one in files.get(message.id, ()):
            kind = kind_of(one)
            if kind is None or (kind == "file" and publishes != "all"):
                continue
            size += one.size or 0
            if len(found) < MOST_FILES and size <= MOST_BYTES:
                name = one.filename or f"{one.kind}-{one.id}"
                found.append(FileToPublish(conversation_id, message.id, one.id, message.contact_id, kind, name))
    return found


async def begin(
    tx: Transaction, ticket_id: int, wanted: Collection[FileToPublish], *, by: Actor, now: datetime
) -> bool:
    """Let these be prepared for the ticket's issue. False where there is nothing to wait for."""
    if not await published_files.want(tx, list(wanted), ticket_id=ticket_id, by=by, now=now):
        return False
    await enqueue(tx, PUBLISH_FILES.of(key=str(ticket_id), ticket_id=ticket_id))
    return True


async def begin_comment(
    tx: Transaction, call_id: int, wanted: Collection[FileToPublish], *, by: Actor, now: datetime
) -> None:
    """Let these be prepared for the comment that a call writes."""
    await published_files.want(tx, list(wanted), call_id=call_id, by=by, now=now)
    await enqueue(tx, PUBLISH_WITH_COMMENT.of(key=str(call_id), call_id=call_id))


async def published_by_message(tx: Transaction, ticket_id: int) -> dict[int, list[PublishedFile]]:
    """What everybody may read of a ticket."""
    found: dict[int, list[PublishedFile]] = {}
    for one in await published_files.published_for(tx, ticket_id):
        if one.state == "published":
            found.setdefault(one.message_id, []).append(one)
    return found
