"""Issues and comments at Gitea, each once: what an attempt before may have written is found by its hidden mark."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from zhiban.integrations.forges import checks, deliveries, refusals
from zhiban.integrations.forges.parts import JsonPart, items, key_in, marked, names, number, part, words
from zhiban.integrations.forges.refusals import Moved
from zhiban.integrations.forges.writing import Silencer, outcome, titled, within
from zhiban.integrations.gitea import hooks, news, parts
from zhiban.integrations.gitea.client import GiteaClient
from zhiban.integrations.gitea.config import NAME, GiteaConfig
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
    Reaction,
    Repository,
    TrackerNews,
    TrackerRefused,
    VerifiedWebhook,
    Webhook,
    WebhookOutcome,
)

LONGEST: Final = 1_000_000  # characters of a text
LONGEST_TITLE: Final = 255
APART: Final = timedelta(minutes=5)  # by how much clocks may differ

# Pull requests are also named so; other references are broken for every tracker.
SIGNS: Final = lazy_pattern(r"!(?=[0-9])")

_REACTIONS: Final[Mapping[Reaction, str]] = {
    "up": "+1",
    "down": "-1",
    **{name: name for name in ("laugh", "hooray", "confused", "heart", "rocket", "eyes")},
}


class GiteaTracker:
    """Tracker, TakesReactions and ListsComments."""

    name = NAME

    def __init__(self, http: Http, clock: Clock, config: GiteaConfig, breakers: Breakers) -> None:
        self._config = config
        self._clock = clock
        self._client = GiteaClient(http, clock, config, breakers)
        self._silencer = Silencer(SIGNS, config.api_base)
        self._login = ""

    # ------------------------------------------------------------------------------------------------- what comes in

    def authenticate(self, webhook: Webhook) -> VerifiedWebhook | Challenge:
        return hooks.verified(self._config.secrets(webhook.received_at), webhook)

    def acknowledge(self, outcome: WebhookOutcome, *, status: int, reason: str = "") -> Acknowledgement:  # noqa: ARG002
        """Gitea looks at the status only, and never repeats a call by itself."""
        return Acknowledgement(status)

    def read(self, body: str) -> Sequence[TrackerNews]:
        return deliveries.read(body, news.read)

    # --------------------------------------------------------------------------------------------------- what goes out

    async def open_issue(self, draft: IssueDraft) -> OpenedIssue:
        wish: dict[str, Any] = {
            "title": self._silencer.title(titled(draft.title), longest=LONGEST_TITLE),
            "body": within(marked(self._silencer.body(draft.body), draft.key), LONGEST),
        }
        found = await self._opened_before(draft) if draft.tried_at is not None else None
        if found is None:
            if draft.labels:
                wish["labels"] = await self._label_ids(draft.repository, draft.labels)
            if draft.assignees:
                wish["assignees"] = await self._assignable(draft.repository, draft.assignees)
            found = await self._write("POST", draft.repository, "/issues", wish)
        return outcome(parts.issue(found, draft.repository), draft.labels, draft.assignees)

    async def comment(self, draft: CommentDraft) -> IssueComment:
        body = within(marked(self._silencer.body(draft.body), draft.key), LONGEST)
        place = f"/issues/{draft.number}/comments"
        found = await self._commented_before(draft, place) if draft.tried_at is not None else None
        if found is None:
            found = await self._write("POST", draft.repository, place, {"body": body})
        return parts.comment(found)

    async def update(self, repository: str, number: int, change: IssueChange) -> OpenedIssue:
        """Labels go one by one, so that nobody else's are taken away; assignees are a whole list there."""
        place = f"/issues/{number}"
        before = await self._get(repository, place)
        wish: dict[str, Any] = {}
        if change.title is not None:
            wish["title"] = self._silencer.title(titled(change.title), longest=LONGEST_TITLE)
        if change.body is not None:
            wish["body"] = within(self._silencer.body(change.body), LONGEST)
        if change.state is not None and words(before, "state") != change.state:
            wish["state"] = change.state
        if new := await self._assignable(repository, change.add_assignees):
            wish["assignees"] = list(dict.fromkeys([*names(items(before, "assignees"), "login", "username"), *new]))
        if wish:
            await self._write("PATCH", repository, place, wish)
        if added := await self._label_ids(repository, change.add_labels):
            await self._write("POST", repository, f"{place}/labels", {"labels": added})
        for id_ in await self._label_ids(repository, change.remove_labels):
            await self._take_away(repository, f"{place}/labels/{id_}")
        found = await self._get(repository, place)
        return outcome(parts.issue(found, repository), change.add_labels, change.add_assignees)

    async def delete_comment(self, repository: str, number: int, external_id: str) -> None:  # noqa: ARG002
        await self._take_away(repository, f"/issues/comments/{quote(external_id, safe='')}")

    async def react(self, repository: str, number: int, reaction: Reaction, *, comment: str = "") -> str:
        """Gitea keeps one of each kind for an account, which is called by its kind."""
        content = _REACTIONS[reaction]
        await self._write("POST", repository, _reactions(number, comment), {"content": content})
        return content

    async def take_back_reaction(self, repository: str, number: int, external_id: str, *, comment: str = "") -> None:
        await self._take_away(repository, _reactions(number, comment), {"content": external_id})

    async def _take_away(self, repository: str, place: str, body: Mapping[str, Any] | None = None) -> None:
        try:
            await self._write("DELETE", repository, place, body)
        except TrackerRefused as error:
            if error.reason not in ("not_found", "gone"):  # somebody else took it away
                raise

    # -------------------------------------------------------------------------------------------------- what is there

    async def issue(self, repository: str, number: int) -> Issue:
        return parts.issue(await self._get(repository, f"/issues/{number}"), repository)

    async def issues(self, repository: str, *, since: datetime | None = None) -> AsyncIterator[Issue]:
        """Gitea lists the newest first and knows no other order, so they are put in order here."""
        asked = {"state": "all"} | ({"since": _stamp(since)} if since is not None else {})
        found = [parts.issue(part(one), repository) async for one in self._each(repository, "/issues", asked)]
        for issue in sorted({one.number: one for one in found}.values(), key=lambda one: one.updated_at):
            yield issue

    async def comments(self, repository: str, *, since: datetime) -> AsyncIterator[tuple[int, IssueComment]]:
        found: list[tuple[int, IssueComment]] = []
        async for one in self._each(repository, "/issues/comments", {"since": _stamp(since)}):
            about = words(one, "issue_url") or words(one, "pull_request_url")
            _, _, number = about.rpartition("/")
            if number.isdecimal():
                found.append((int(number), parts.comment(part(one))))
        for number_, comment in sorted(found, key=lambda each: each[1].updated_at):
            yield number_, comment

    async def repositories(self) -> AsyncIterator[Repository]:
        """The account's that the token sees. Gitea answers for organisations under another address."""
        account = self._config.account
        try:
            async for one in self._owned(f"/users/{quote(account)}/repos"):
                yield one
        except TrackerRefused as error:
            if error.reason != "not_found":
                raise
            async for one in self._owned(f"/orgs/{quote(account)}/repos"):
                yield one

    async def _owned(self, place: str) -> AsyncIterator[Repository]:
        async for page in self._client.pages(place):
            for found in page if isinstance(page, list) else ():
                if words(part(found, "owner"), "login").lower() == self._config.account.lower():
                    yield parts.repository(part(found))

    async def checks(self) -> AsyncIterator[CheckResult]:
        async for result in checks.checks("Gitea", who=self._who_we_are, repositories=self.repositories):
            yield result

    async def _who_we_are(self) -> str:
        if not self._login:
            self._login = words(await self._client.get("/user"), "login")
        return self._login

    # ---------------------------------------------------------------------------------------------- what came of before

    async def _opened_before(self, draft: IssueDraft) -> JsonPart | None:
        since = _stamp((draft.tried_at or self._clock.now()) - APART)
        asked = {"state": "all", "type": "issues", "created_by": await self._who_we_are(), "since": since}
        async for found in self._each(draft.repository, "/issues", asked):
            if key_in(words(found, "body")) == draft.key:
                return part(found)
        return None

    async def _commented_before(self, draft: CommentDraft, place: str) -> JsonPart | None:
        """All at once: the comments of one issue come on one page."""
        since = _stamp((draft.tried_at or self._clock.now()) - APART)
        found = await self._ask(draft.repository, place, {"since": since})
        for one in found if isinstance(found, list) else ():
            if key_in(words(one, "body")) == draft.key:
                return part(one)
        return None

    async def _label_ids(self, repository: str, wanted: Sequence[str]) -> list[int]:
        """The numbers of these labels of the repository or its organisation; others are left out, and so named."""
        if not wanted:
            return []
        known = {words(one, "name").lower(): number(one, "id") async for one in self._each(repository, "/labels", {})}
        if any(name.lower() not in known for name in wanted):
            owner = quote(repository.partition("/")[0])
            try:
                async for page in self._client.pages(f"/orgs/{owner}/labels"):
                    for one in page if isinstance(page, list) else ():
                        known.setdefault(words(one, "name").lower(), number(one, "id"))
            except TrackerRefused:  # it belongs to a person
                pass
        return [known[name.lower()] for name in wanted if known.get(name.lower())]

    async def _assignable(self, repository: str, wanted: Sequence[str]) -> list[str]:
        """Those who can be assigned: one who cannot would cost the whole issue."""
        if not wanted:
            return []
        found = await self._ask(repository, "/assignees", {})
        there = {name.lower() for name in names(found if isinstance(found, list) else [], "login", "username")}
        return [name for name in wanted if name.lower() in there]

    # ------------------------------------------------------------------------------------------------------- calling

    async def _ask(self, repository: str, place: str, asked: Mapping[str, str]) -> Any:
        try:
            return await self._client.get(f"/repos/{_path(repository)}{place}", asked)
        except Moved as error:
            raise _moved(repository, error) from error
        except TrackerRefused as error:
            raise await self._why(repository, place, error) from error

    async def _get(self, repository: str, place: str) -> JsonPart:
        return part(await self._ask(repository, place, {}))

    async def _each(self, repository: str, place: str, asked: Mapping[str, str]) -> AsyncIterator[Any]:
        try:
            async for page in self._client.pages(f"/repos/{_path(repository)}{place}", asked):
                for found in page if isinstance(page, list) else ():
                    yield found
        except Moved as error:
            raise _moved(repository, error) from error

    async def _write(self, method: Any, repository: str, place: str, body: Mapping[str, Any] | None) -> JsonPart:
        try:
            return part(await self._client.write(method, f"/repos/{_path(repository)}{place}", body))
        except Moved as error:
            raise _moved(repository, error) from error
        except TrackerRefused as error:
            raise await self._why(repository, place, error) from error

    async def _why(self, repository: str, place: str, error: TrackerRefused) -> TrackerRefused:
        """What is behind a refusal that says nothing: a repository without issues, a locked issue."""
        if error.reason not in ("forbidden", "not_found") or error.hint == refusals.ARCHIVED:
            return error
        try:
            found = parts.repository(part(await self._client.get(f"/repos/{_path(repository)}")))
            if not found.issues_enabled:
                return TrackerRefused("issues_disabled", code=error.code, hint=refusals.ISSUES_OFF)
            if error.reason == "forbidden" and place.endswith("/comments"):
                about = await self._client.get(f"/repos/{_path(repository)}{place.removesuffix('/comments')}")
                if isinstance(about, Mapping) and about.get("is_locked") is True:
                    return TrackerRefused("locked", code=error.code, hint=refusals.LOCKED)
        except (TrackerRefused, Moved):
            return error
        return error


def _path(repository: str) -> str:
    return quote(repository, safe="/")


def _moved(repository: str, error: Moved) -> TrackerRefused:
    """Gitea leads to the same call under the name of today."""
    pieces = error.location.partition("/repos/")[2].split("/")
    name = "/".join(pieces[:2])
    if len(pieces) >= 2 and all(pieces[:2]) and name.lower() != repository.lower():
        return TrackerRefused("moved", code=307, moved_to=name)
    return TrackerRefused("not_found", code=307, hint=refusals.NOT_FOUND)


def _reactions(number: int, comment: str) -> str:
    return f"/issues/comments/{quote(comment, safe='')}/reactions" if comment else f"/issues/{number}/reactions"


def _stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
