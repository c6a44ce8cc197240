"""Issues and comments at Gitee, each once: what an attempt before may have written is found by its hidden mark."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from zhiban.integrations.forges import checks, deliveries, refusals
from zhiban.integrations.forges.client import JsonBody
from zhiban.integrations.forges.parts import CHANGES, JsonPart, items, key_in, marked, names, part, words
from zhiban.integrations.forges.refusals import Moved
from zhiban.integrations.forges.writing import Silencer, outcome, titled, within
from zhiban.integrations.gitee import hooks, news, parts
from zhiban.integrations.gitee.client import GiteeClient
from zhiban.integrations.gitee.config import NAME, GiteeConfig
from zhiban.kit.clock import Clock
from zhiban.kit.http import Http
from zhiban.kit.patterns import lazy_pattern
from zhiban.ports import (
    Acknowledgement,
    Breakers,
    Challenge,
    CheckResult,
    CommentDraft,
    Issue,
    IssueChange,
    IssueComment,
    IssueDraft,
    OpenedIssue,
    Repository,
    TrackerNews,
    TrackerRefused,
    VerifiedWebhook,
    Webhook,
    WebhookOutcome,
)

LONGEST: Final = 65_536  # characters of a text; Gitee states no limit
LONGEST_TITLE: Final = 191
LABEL: Final = range(2, 21)  # characters of a label's name
APART: Final = timedelta(minutes=5)  # by how much clocks may differ

# Pull requests are named !12, issues #I2YRAH; other references are broken for every tracker.
SIGNS: Final = lazy_pattern(r"!(?=[0-9])|#(?=[Ii][0-9A-Za-z])")


class GiteeTracker:
    """Tracker, ListsComments and ConfirmsNews."""

    name = NAME

    def __init__(self, http: Http, clock: Clock, config: GiteeConfig, breakers: Breakers) -> None:
        self._config = config
        self._clock = clock
        self._client = GiteeClient(http, clock, config, breakers)
        self._silencer = Silencer(SIGNS, config.api_base)
        self._login = ""

    # ------------------------------------------------------------------------------------------------- what comes in

    def authenticate(self, webhook: Webhook) -> VerifiedWebhook | Challenge:
        return hooks.verified(self._config.secrets(webhook.received_at), webhook)

    def acknowledge(self, outcome: WebhookOutcome, *, status: int, reason: str = "") -> Acknowledgement:  # noqa: ARG002
        return Acknowledgement(status)

    def read(self, body: str) -> Sequence[TrackerNews]:
        """Of this account only: a hook that is tried out tells of a repository of Gitee's own."""
        return [one for one in deliveries.read(body, news.read) if self._is_ours(one.repository.name)]

    async def confirmed(self, news_: Sequence[TrackerNews]) -> Sequence[TrackerNews]:
        """No hook says whether an issue is private, and nothing in it is signed: so issues are asked for."""
        told: list[TrackerNews] = []
        for one in news_:
            found = await self._confirmed(one)
            if found is not None:
                told.append(found)
        return told

    async def _confirmed(self, told: TrackerNews) -> TrackerNews | None:
        if told.issue is None or told.issue.is_change or (told.kind, told.action) == ("issue", "deleted"):
            return told
        name, number = told.issue.repository, told.issue.number
        try:
            found = await self._ask(name, f"/issues/{parts.ident_of(number)}", {})
            if parts.is_hidden(part(found)):
                return news.gone(told)
            issue = parts.issue(part(found), name)
            if told.comment is None or told.action == "deleted":
                return replace(told, issue=issue, key=issue.key if told.key else "")
            place = f"/issues/comments/{quote(told.comment.external_id, safe='')}"
            comment = parts.comment(part(await self._ask(name, place, {})), issue.url)
        except TrackerRefused:  # taken away since, or not for us: nothing is told, and nothing forgotten
            return None
        actor = replace(told.actor, ours=bool(comment.key))
        return replace(told, issue=issue, comment=comment, key=comment.key, actor=actor)

    def _is_ours(self, repository: str) -> bool:
        return repository.partition("/")[0].lower() == self._config.account.lower()

    # --------------------------------------------------------------------------------------------------- what goes out

    async def open_issue(self, draft: IssueDraft) -> OpenedIssue:
        wish: dict[str, Any] = {
            "title": self._silencer.title(titled(draft.title), longest=LONGEST_TITLE),
            "body": within(marked(self._silencer.body(draft.body), draft.key), LONGEST),
        }
        found = await self._opened_before(draft) if draft.tried_at is not None else None
        if found is None:
            if labels := await self._known_labels(draft.repository, draft.labels):
                wish["labels"] = ",".join(labels)
            wish |= _responsible(await self._members(draft.repository, draft.assignees), {})
            found = await self._write("POST", draft.repository, "/issues", wish)
        return outcome(parts.issue(found, draft.repository), draft.labels, draft.assignees)

    async def comment(self, draft: CommentDraft) -> IssueComment:
        body = within(marked(self._silencer.body(draft.body), draft.key), LONGEST)
        place = _place(draft.number)
        found = await self._commented_before(draft, f"{place}/comments") if draft.tried_at is not None else None
        if found is None:
            found = await self._write("POST", draft.repository, f"{place}/comments", {"body": body})
        return parts.comment(found, self._address(draft.repository, place))

    async def update(self, repository: str, number: int, change: IssueChange) -> OpenedIssue:
        """Labels go one by one, so that nobody else's are taken away; collaborators are a whole list there."""
        place = _place(number)
        before = await self._shown(repository, number)
        wish: dict[str, Any] = {}
        if change.title is not None:
            wish["title"] = self._silencer.title(titled(change.title), longest=LONGEST_TITLE)
        if change.body is not None:
            wish["body"] = within(self._silencer.body(change.body), LONGEST)
        if change.state is not None and self._read(before, repository, number).state != change.state:
            wish["state"] = change.state
        if change.add_assignees and number < CHANGES:
            wish |= _responsible(await self._members(repository, change.add_assignees), before)
        if wish:
            # What is changed without a title loses the one that it has.
            await self._write("PATCH", repository, place, {"title": words(before, "title"), **wish})
        if added := await self._known_labels(repository, change.add_labels):
            await self._write("POST", repository, f"{place}/labels", added)
        for name in change.remove_labels:
            await self._take_away(repository, f"{place}/labels/{quote(name, safe='')}")
        found = await self._shown(repository, number)
        return outcome(self._read(found, repository, number), change.add_labels, change.add_assignees)

    async def delete_comment(self, repository: str, number: int, external_id: str) -> None:
        kind = "pulls" if number > CHANGES else "issues"
        await self._take_away(repository, f"/{kind}/comments/{quote(external_id, safe='')}")

    async def _take_away(self, repository: str, place: str) -> None:
        try:
            await self._write("DELETE", repository, place, None)
        except TrackerRefused as error:
            if error.reason not in ("not_found", "gone"):  # somebody else took it away
                raise

    # -------------------------------------------------------------------------------------------------- what is there

    async def issue(self, repository: str, number: int) -> Issue:
        return self._read(await self._shown(repository, number), repository, number)

    async def issues(self, repository: str, *, since: datetime | None = None) -> AsyncIterator[Issue]:
        asked = {"state": "all", "sort": "updated", "direction": "asc"}
        asked |= {"since": _stamp(since)} if since is not None else {}
        async for found in self._each(repository, "/issues", asked):
            issue = parts.issue(part(found), repository)
            if issue.number and not parts.is_hidden(part(found)):
                yield issue

    async def comments(self, repository: str, *, since: datetime) -> AsyncIterator[tuple[int, IssueComment]]:
        """Each issue is looked at once: what a comment tells of it is not whether it is private."""
        seen: dict[int, Issue | None] = {}
        asked = {"sort": "updated", "direction": "asc", "since": _stamp(since)}
        async for found in self._each(repository, "/issues/comments", asked):
            number = parts.number_of(words(part(part(found), "target", "issue"), "number"))
            if number and number not in seen:
                seen[number] = await self._visible(repository, number)
            about = seen.get(number)
            if about is not None:
                yield number, parts.comment(part(found), about.url)

    async def _visible(self, repository: str, number: int) -> Issue | None:
        try:
            return await self.issue(repository, number)
        except TrackerRefused:
            return None

    async def repositories(self) -> AsyncIterator[Repository]:
        """The account's: those that the token's owner takes part in, and those that everybody sees."""
        seen: set[str] = set()
        for place in ("/user/repos", *(f"/{kind}/{quote(self._config.account)}/repos" for kind in ("users", "orgs"))):
            try:
                async for page in self._client.pages(place):
                    for found in page if isinstance(page, list) else ():
                        one = parts.repository(part(found))
                        if self._is_ours(one.name) and one.external_id not in seen:
                            seen.add(one.external_id)
                            yield one
            except TrackerRefused as error:
                if error.reason != "not_found":  # a person is no organisation
                    raise

    async def checks(self) -> AsyncIterator[CheckResult]:
        async for result in checks.checks("Gitee", who=self._who_we_are, repositories=self.repositories):
            yield result

    async def _who_we_are(self) -> str:
        if not self._login:
            self._login = words(await self._client.get("/user"), "login")
        return self._login

    # ---------------------------------------------------------------------------------------------- what came of before

    async def _opened_before(self, draft: IssueDraft) -> JsonPart | None:
        since = _stamp((draft.tried_at or self._clock.now()) - APART)
        asked = {"state": "all", "creator": await self._who_we_are(), "since": since}
        asked |= {"sort": "created", "direction": "desc"}
        async for found in self._each(draft.repository, "/issues", asked):
            if key_in(words(found, "body")) == draft.key:
                return part(found)
        return None

    async def _commented_before(self, draft: CommentDraft, place: str) -> JsonPart | None:
        asked = {} if draft.number > CHANGES else {"since": _stamp((draft.tried_at or self._clock.now()) - APART)}
        async for found in self._each(draft.repository, place, asked):
            if key_in(words(found, "body")) == draft.key:
                return part(found)
        return None

    async def _known_labels(self, repository: str, wanted: Sequence[str]) -> list[str]:
        """Those that the repository has, in its own spelling: others are dropped there without a word."""
        possible = [name for name in wanted if len(name) in LABEL and "," not in name]
        if not possible:
            return []
        found = await self._ask(repository, "/labels", {})
        there = {name.lower(): name for name in names(found if isinstance(found, list) else [], "name")}
        return [there[name.lower()] for name in possible if name.lower() in there]

    async def _members(self, repository: str, wanted: Sequence[str]) -> list[str]:
        """Those who can be asked to do something: one who cannot might cost the whole issue."""
        place = f"/repos/{_path(repository)}/collaborators"
        return [login for login in wanted if await self._client.is_there(f"{place}/{quote(login, safe='')}")]

    # ------------------------------------------------------------------------------------------------------- calling

    async def _shown(self, repository: str, number: int) -> JsonPart:
        """Raises TrackerRefused also for a private issue, of which nobody hears here."""
        found = part(await self._ask(repository, _place(number), {}))
        if number < CHANGES and parts.is_hidden(found):
            raise TrackerRefused("not_found", code=404, hint=refusals.NOT_FOUND)
        return found

    @staticmethod
    def _read(found: JsonPart, repository: str, number: int) -> Issue:
        return parts.change(found, repository) if number > CHANGES else parts.issue(found, repository)

    async def _ask(self, repository: str, place: str, asked: Mapping[str, str]) -> Any:
        try:
            return await self._client.get(f"/repos/{_path(repository)}{place}", asked)
        except Moved as error:
            raise _moved(repository, error) from error

    async def _each(self, repository: str, place: str, asked: Mapping[str, str]) -> AsyncIterator[Any]:
        try:
            async for page in self._client.pages(f"/repos/{_path(repository)}{place}", asked):
                for found in page if isinstance(page, list) else ():
                    yield found
        except Moved as error:
            raise _moved(repository, error) from error

    async def _write(self, method: Any, repository: str, place: str, body: JsonBody) -> JsonPart:
        """Issues themselves are written at their owner's address, which is told the repository."""
        where = f"/repos/{_path(repository)}{place}"
        if isinstance(body, Mapping) and place.startswith("/issues") and not place.endswith("/comments"):
            owner, _, name = repository.partition("/")
            where, body = f"/repos/{quote(owner)}{place}", {"repo": name, **body}
        try:
            return part(await self._client.write(method, where, body))
        except Moved as error:
            raise _moved(repository, error) from error
        except TrackerRefused as error:
            raise await self._why(repository, place, error) from error

    async def _why(self, repository: str, place: str, error: TrackerRefused) -> TrackerRefused:
        """What is behind a refusal: no scope for issues and no repository are told in the same words."""
        if error.reason not in ("forbidden", "not_found"):
            return error
        try:
            found = parts.repository(part(await self._client.get(f"/repos/{_path(repository)}")))
            if not found.issues_enabled:
                return TrackerRefused("issues_disabled", code=error.code, hint=refusals.ISSUES_OFF)
            if place.endswith("/comments"):
                await self._client.get(f"/repos/{_path(repository)}{place.removesuffix('/comments')}")
            elif place.startswith("/issues/comments/") or "/labels/" in place:
                return error
        except (TrackerRefused, Moved):
            return error
        return TrackerRefused("forbidden", code=error.code, hint=refusals.FORBIDDEN)

    def _address(self, repository: str, place: str) -> str:
        return f"{self._config.api_base.partition('/api/')[0]}/{repository}{place}"


def _path(repository: str) -> str:
    return quote(repository, safe="/")


def _place(number: int) -> str:
    return f"/pulls/{number - CHANGES}" if number > CHANGES else f"/issues/{parts.ident_of(number)}"


def _responsible(wanted: Sequence[str], before: JsonPart) -> dict[str, str]:
    """One is responsible, whoever comes later helps; nobody who is there already is moved."""
    first = parts.user(part(before, "assignee")).login
    helping = [parts.user(part(one)).login for one in items(before, "collaborators")]
    new = [login for login in wanted if login.lower() not in {one.lower() for one in (first, *helping)}]
    wish: dict[str, str] = {}
    if new and not first:
        wish["assignee"] = new.pop(0)
    if new:
        wish["collaborators"] = ",".join([*helping, *new])
    return wish


def _moved(repository: str, error: Moved) -> TrackerRefused:
    pieces = error.location.partition("/repos/")[2].split("/")
    name = "/".join(pieces[:2])
    if len(pieces) >= 2 and all(pieces[:2]) and name.lower() != repository.lower():
        return TrackerRefused("moved", code=301, moved_to=name)
    return TrackerRefused("not_found", code=301, hint=refusals.NOT_FOUND)


def _stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
