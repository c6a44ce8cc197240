"""What the pages of rules, macros and views have in common: a list beside an editor in one grammar."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace

from fastapi.responses import Response

from zhiban.automation import queries
from zhiban.automation.attached_files import visible_files
from zhiban.automation.wording import Names, RuleWording
from zhiban.channels.inboxes import inboxes
from zhiban.conversations.action_files import ActionFile
from zhiban.desk import rule_form
from zhiban.desk.page import DeskPage
from zhiban.desk.rule_form import RuleDraft
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass

ACTION_FILES = "/desk/action-files"


@frozen_dataclass
class EditorFile:
    """A file in the editor; `untaken`: the channels in use that do not take it. One that is gone has no size."""

    id: int
    name: str
    size: int
    untaken: tuple[str, ...] = ()

    @property
    def href(self) -> str:
        return f"{ACTION_FILES}/{self.id}"


@frozen_dataclass
class EditorFiles:
    """What the editor shows of the files that actions send."""

    files: Mapping[int, EditorFile]
    gone: str

    @classmethod
    async def read(cls, tx: Transaction, files: Iterable[ActionFile], page: DeskPage) -> EditorFiles:
        state = page.request.app.state
        kinds = dict.fromkeys(row.kind for row in await inboxes(tx) if row.removed_at is None)
        limits = {kind: state.desk.limits_of(kind) for kind in kinds}
        shown = {
            one.id: EditorFile(
                one.id,
                one.filename,
                one.size,
                tuple(
                    page.texts(state.channel_labels.get(kind, kind))
                    for kind, limit in limits.items()
                    if not one.is_taken(limit)
                ),
            )
            for one in files
        }
        return cls(shown, page.texts("已删除的一项"))

    def of(self, file_id: int) -> EditorFile:
        """A file, also one that is not there any more."""
        return self.files.get(file_id) or EditorFile(file_id, self.gone, 0)


class EditorPage(DeskPage):
    """One request for such a page. `show` opens one of the list by its id, the draft of a new one, or the first."""

    @abstractmethod
    async def show(
        self, *, opened: int | None = None, draft: RuleDraft | None = None, trouble: str = "", status: int = 200
    ) -> Response: ...

    async def names(self, tx: Transaction) -> Names:
        """What people call the rows that actions and conditions name; of files, those that are this agent's to see."""
        return replace(await queries.names(tx), files=await visible_files(tx, self.agent.id))

    def wording(self, names: Names) -> RuleWording:
        """How conditions and actions read here."""
        return RuleWording(self.texts, names)

    def words(self, error: ZhibanError) -> str:
        return rule_form.trouble(error, self.texts) if isinstance(error, Conflict) else super().words(error)

    async def refused(self, error: Conflict, *, opened: int | None, draft: RuleDraft | None = None) -> Response:
        """The page again, with what was typed and why it was not stored."""
        return await self.show(opened=opened, draft=draft, trouble=self.words(error), status=422)
