"""Rules, flows and snippets as YAML in the browser: taken along, one or all, and a file tried, then taken over."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.datastructures import UploadFile

from zhiban.automation import flow_files, flow_queries, flows, queries, rule_files, service
from zhiban.automation.taking_over import FileEntry, count_of, outcomes_of, refused, try_flows, try_rules, try_snippets
from zhiban.automation.wording import OUTCOME_WORDS, RuleWording
from zhiban.conversations import snippet_files, snippets
from zhiban.desk.page import FormPage
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.kit.yaml_files import LONGEST
from zhiban.people.auth import CurrentAgent
from zhiban.people.ownership import check_may_keep, may_keep
from zhiban.people.permissions import Permission
from zhiban.web.file_response import disposition
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = YAML_FILES = "/settings/yaml"
MOST_BYTES = 4 * LONGEST + 10_000  # of one request


@frozen_dataclass
class YamlWords:
    """What a kind is called on its page. `home`: where they are kept one by one."""

    title: str
    home: str
    hint: str


class _YamlPage(FormPage):
    """One kind of things that stand in a file."""

    kind: ClassVar[str]
    about: ClassVar[YamlWords]

    @abstractmethod
    def check(self) -> None:
        """Raises NotAllowed."""

    @abstractmethod
    async def written(self, tx: Transaction, only: int | None) -> str:
        """All of them, or one. Raises NotFound."""

    @abstractmethod
    async def tried(self, tx: Transaction, text: str) -> list[FileEntry]: ...

    @abstractmethod
    async def take_over(self, tx: Transaction, text: str) -> tuple[int, int]: ...

    @property
    def own(self) -> bool:
        """Whether it is about the agent's own ones."""
        return False

    async def show(
        self,
        *,
        status: int = 200,
        trouble: str = "",
        text: str = "",
        entries: Sequence[FileEntry] = (),
        done: tuple[int, int] | None = None,
        **_values: Any,
    ) -> Response:
        return await self.whole(
            "settings/yaml.html",
            here=self.section,
            status=status,
            about=self.about,
            action=f"{HERE}/{self.kind}" + ("?whose=own" if self.own else ""),
            download=f"{HERE}/{self.kind}/download" + ("?whose=own" if self.own else ""),
            shares=may_keep(self.agent, None),
            own=self.own,
            kind=self.kind,
            trouble=trouble,
            text=text,
            entries=entries,
            counted=count_of(entries),
            refused=refused(entries),
            tried=outcomes_of(entries),
            outcomes=OUTCOME_WORDS,
            done=done,
        )

    async def sent_text(self) -> str:
        """What was typed, or the file that was chosen. Raises Conflict."""
        form = await self.request.form()
        given = form.get("file")
        if isinstance(given, UploadFile) and given.filename:
            raw = await given.read()
            try:
                return raw.decode("utf-8-sig")
            except UnicodeDecodeError:
                raise Conflict(mark("The file is not a UTF-8 text file.")) from None
        return str(form.get("text") or "").replace("\r\n", "\n")

    def told(self, error: Conflict) -> str:
        return self.words(error)

    async def answer(self) -> Response:
        """A file is tried first; what was tried is taken over by the second click, if it still does the same."""
        text = ""
        try:
            self.check()
            text = await self.sent_text()
            form = await self.request.form()
            async with self.transaction() as tx:
                if form.get("do") != "apply":
                    return await self.show(text=text, entries=await self.tried(tx, text))
                seen = str(form.get("tried") or "")
                if seen and seen != outcomes_of(entries := await self.tried(tx, text)):
                    changed = self.texts("这里刚有人改过，读入以后会怎样也变了。再看一遍。")
                    return await self.show(status=409, trouble=changed, text=text, entries=entries)
                done = await self.take_over(tx, text)
        except Conflict as error:
            return await self.refused(error, text=text[:LONGEST])
        return await self.show(done=done)

    async def downloaded(self, only: int | None) -> Response:
        self.check()
        async with self.transaction() as tx:
            text = await self.written(tx, only)
        headers = {"content-disposition": disposition(f"{self.kind}.yaml", inline=False), "cache-control": "no-store"}
        return Response(text, media_type="application/yaml; charset=utf-8", headers=headers)


def _only(rows: Sequence[Any], id_: int | None) -> Sequence[Any]:
    found = [row for row in rows if id_ is None or row.id == id_]
    if id_ is not None and not found:
        raise NotFound("There is no such record.")
    return found


class _RulesFile(_YamlPage):
    section = "rules"
    kind = "rules"
    about = YamlWords(
        mark("规则文件"), "/rules", mark("一条规则是名字、when、if 和 then；同事、小组、标签和收件箱写名字。")
    )

    def check(self) -> None:
        self.access.check(Permission.MANAGE_RULES)

    async def written(self, tx: Transaction, only: int | None) -> str:
        return rule_files.to_yaml(_only(await queries.rules(tx), only), await queries.names(tx))

    async def tried(self, tx: Transaction, text: str) -> list[FileEntry]:
        words = RuleWording(self.texts, await queries.names(tx))
        return await try_rules(tx, text, words, told=self.told, by=self.actor, now=self.now)

    async def take_over(self, tx: Transaction, text: str) -> tuple[int, int]:
        wanted = rule_files.from_yaml(text, await queries.names(tx))
        return await service.adopt(tx, wanted, by=self.actor, now=self.now)


class _FlowsFile(_YamlPage):
    section = "flows"
    kind = "flows"
    about = YamlWords(mark("流程文件"), "/settings/flows", mark("一个流程是名字、要问的事（ask）和最后做的（then）。"))

    def check(self) -> None:
        self.access.check(Permission.MANAGE_RULES)

    async def written(self, tx: Transaction, only: int | None) -> str:
        return flow_files.to_yaml(_only(await flow_queries.flows(tx), only), await queries.names(tx))

    async def tried(self, tx: Transaction, text: str) -> list[FileEntry]:
        words = RuleWording(self.texts, await queries.names(tx))
        return await try_flows(tx, text, words, told=self.told, by=self.actor, now=self.now)

    async def take_over(self, tx: Transaction, text: str) -> tuple[int, int]:
        wanted = flow_files.from_yaml(text, await queries.names(tx))
        return await flows.adopt_flows(tx, wanted, by=self.actor, now=self.now)


class _SnippetsFile(_YamlPage):
    section = "snippets"
    kind = "snippets"
    about = YamlWords(mark("快捷回复文件"), "/settings/snippets", mark("一条快捷回复是名字（name）和内容（text）。"))

    @property
    def own(self) -> bool:
        """Whoever may not change what all share has their own only."""
        return self.request.query_params.get("whose") == "own" or not may_keep(self.agent, None)

    @property
    def owner_id(self) -> int | None:
        return self.agent.id if self.own else None

    def check(self) -> None:
        check_may_keep(self.agent, self.owner_id)

    async def written(self, tx: Transaction, only: int | None) -> str:
        return snippet_files.written(_only(await snippets.snippets_of(tx, self.owner_id), only), as_csv=False)

    async def tried(self, tx: Transaction, text: str) -> list[FileEntry]:
        how: dict[str, Any] = {"owner_id": self.owner_id, "by": self.actor, "now": self.now}
        return await try_snippets(tx, text, as_csv=_is_csv(text), told=self.told, **how)

    async def take_over(self, tx: Transaction, text: str) -> tuple[int, int]:
        wanted = snippet_files.read(text, as_csv=_is_csv(text))
        return await snippets.adopt_snippets(tx, wanted, owner_id=self.owner_id, by=self.actor, now=self.now)


def _is_csv(text: str) -> bool:
    """A list in YAML never begins so."""
    return text.lstrip("\ufeff \n").lower().startswith("name,")


def _install(page: type[_YamlPage]) -> None:
    @router.get(f"{HERE}/{page.kind}")
    async def show(request: Request, agent: CurrentAgent) -> Response:
        asked = page(request, agent)
        asked.check()
        return await asked.show()

    @router.get(f"{HERE}/{page.kind}/download")
    async def download(request: Request, agent: CurrentAgent, id: int | None = None) -> Response:  # noqa: A002
        return await page(request, agent).downloaded(id)

    @router.post(f"{HERE}/{page.kind}")
    async def take(request: Request, agent: CurrentAgent) -> Response:
        return await page(request, agent).answer()


for _kind in (_RulesFile, _FlowsFile, _SnippetsFile):
    _install(_kind)
