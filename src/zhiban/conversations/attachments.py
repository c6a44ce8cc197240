"""Files of messages as the desk sees them: what they are called, what they are, whether they can be shown or heard."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from zhiban.events import Actor, FileDownloaded
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.file_types import INLINE
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.people.permissions import Access

LARGEST_SHOWN = 40_000_000  # pixels; a browser needs four bytes for each
PLAYBACK_TYPE = "audio/mpeg"

_COLUMNS = (
    "id, message_id, kind, filename, content_type, size, state, failure, sha256, width, height, seconds, "
    "playback_sha256, playback_size, playback_failure"
)


@frozen_dataclass
class Attachment:
    """A file of a message. `failure` and `playback_failure` are English sentences, translated where they are shown."""

    id: int
    message_id: int
    kind: str
    filename: str
    content_type: str | None
    size: int | None  # bytes
    state: Literal["pending", "stored", "failed"]
    failure: str | None = None
    sha256: str | None = None
    width: int | None = None  # pixels, of a picture
    height: int | None = None
    seconds: float | None = None  # how long a voice message lasts
    playback_sha256: str | None = None  # the same words in a format that browsers play
    playback_size: int | None = None
    playback_failure: str | None = None

    @property
    def inline(self) -> bool:
        """Whether a browser may show it inside our page."""
        return self.state == "stored" and self.content_type in INLINE

    @property
    def picture(self) -> bool:
        """Whether it is shown as a picture: a known format of a size that no browser chokes on."""
        return self.inline and (self.content_type or "").startswith("image/") and not self.huge

    @property
    def huge(self) -> bool:
        return self.state == "stored" and (self.width or 0) * (self.height or 0) > LARGEST_SHOWN

    @property
    def film(self) -> bool:
        return self.inline and (self.content_type or "").startswith("video/")

    @property
    def duration(self) -> str:
        """0:07, 1:05: how long a voice message lasts, at least a second. Empty while nobody measured it."""
        if self.seconds is None:
            return ""
        minutes, seconds = divmod(max(1, round(self.seconds)), 60)
        return f"{minutes}:{seconds:02d}"

    @property
    def sound(self) -> Literal["", "original", "playback", "converting", "failed"]:
        """What to play for a voice message: the original where browsers can, otherwise the converted one."""
        if self.kind != "voice" or self.state != "stored":
            return ""
        if self.playback_sha256:
            return "playback"
        if self.playback_failure:
            return "failed"
        if self.seconds is None:
            return "converting"
        return "original"


async def attachments_of(tx: Transaction, message_ids: list[int]) -> dict[int, list[Attachment]]:
    """The files of these messages, in the order in which they were sent."""
    if not message_ids:
        return {}
    found: dict[int, list[Attachment]] = {}
    for one in await tx.objects(
        Attachment,
        f"select {_COLUMNS} from attachment where message_id = any(%(ids)s) order by id",
        ids=message_ids,
    ):
        found.setdefault(one.message_id, []).append(one)
    return found


async def access_attachment(tx: Transaction, access: Access, attachment_id: int) -> Attachment:
    """A stored file of a conversation that the agent sees. Raises NotFound."""
    found = await tx.object(
        Attachment,
        f"select {_COLUMNS} from attachment where id = %(id)s and state = 'stored' and sha256 is not null "
        "and exists (select from message m where m.id = attachment.message_id" + access.condition("m.inbox_id") + ")",
        id=attachment_id,
        **access.params,
    )
    if found is None:
        raise NotFound("There is no such file.")
    return found


async def record_download(tx: Transaction, attachment: Attachment, *, by: int, now: datetime) -> None:
    """Keep that an agent took a contact's file with them."""
    conversation_id = await tx.value("select conversation_id from message where id = %(id)s", id=attachment.message_id)
    await event_log.append(
        tx,
        FileDownloaded(actor=Actor("agent", by), at=now, attachment_id=attachment.id, conversation_id=conversation_id),
    )
