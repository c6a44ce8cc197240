"""What the pages of rules, macros and views have in common: a list beside an editor in one grammar."""

from __future__ import annotations

from abc import abstractmethod

from fastapi.responses import Response

from zhiban.automation.wording import Names, RuleWording
from zhiban.desk import rule_form
from zhiban.desk.page import DeskPage
from zhiban.desk.rule_form import Draft
from zhiban.kit.errors import Conflict, ZhibanError


class EditorPage(DeskPage):
    """One request for such a page. `show` opens one of the list by its id, the draft of a new one, or the first."""

    @abstractmethod
    async def show(
        self, *, opened: int | None = None, draft: Draft | None = None, trouble: str = "", status: int = 200
    ) -> Response: ...

    def wording(self, names: Names) -> RuleWording:
        """How conditions and actions read here."""
        return RuleWording(self.texts, names)

    def words(self, error: ZhibanError) -> str:
        return rule_form.trouble(error, self.texts) if isinstance(error, Conflict) else super().words(error)

    async def refused(self, error: Conflict, *, opened: int | None, draft: Draft | None = None) -> Response:
        """The page again, with what was typed and why it was not stored."""
        return await self.show(opened=opened, draft=draft, trouble=self.words(error), status=422)
