"""Issues and comments at GitHub, each once: what an attempt before may have written is found by its hidden mark."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from zhiban.integrations.forges.refusals import Moved
from zhiban.integrations.forges.writing import outcome
from zhiban.integrations.github import hooks, parts
from zhiban.integrations.github.checks import GitHubChecks
from zhiban.integrations.github.client import GitHubClient
from zhiban.integrations.github.config import NAME, GitHubConfig
from zhiban.integrations.github.member_binding import MemberBinding
from zhiban.kit.clock import Clock
from zhiban.kit.http import Http
from zhiban.ports import (
    Acknowledgement,
    Breakers,
    Challenge,
    CheckResult,
    CommentDraft,
    DeviceCode,
    Issue,
    IssueChange,
    IssueComment,
    IssueDraft,
    MemberGrant,
    OpenedIssue,
    Reaction,
    Repository,
    TokenStore,
    TrackerNews,
    TrackerRefused,
    VerifiedWebhook,
    Webhook,
    WebhookOutcome,
)

LIMIT: Final = 65_536  # characters of a text; GitHub refuses more
LONGEST_TITLE: Final = 256
APART: Final = timedelta(minutes=5)  # by how much clocks may differ
LOOKED_AT: Final = 10  # pages of a hundred issues that are looked through for a mark


_REACTIONS: Final[Mapping[Reaction, str]] = {
    "up": "+1",
    "down": "-1",
    **{name: name for name in ("laugh", "hooray", "confused", "heart", "rocket", "eyes")},
}


class GitHubTracker:
    """Tracker, TakesReactions, ListsComments, BindsMembers, and RedeliversWebhooks where we are an app."""

    name = NAME

    def __init__(
        self, http: Http, clock: Clock, config: GitHubConfig, tokens: TokenStore, breakers: Breakers, account: str = ""
    ) -> None:
        self._config = config
        self._clock = clock
        self._client = GitHubClient(http, clock, config, tokens, breakers, account)
        self._binding = MemberBinding(http, config, self._client)
        self._parts = (http, clock, tokens, breakers)
        self._login = ""

    # ------------------------------------------------------------------------------------------------- what comes in

    def authenticate(self, webhook: Webhook) -> VerifiedWebhook | Challenge:
        return hooks.verified(self._config.secrets(webhook.received_at), webhook)

    def acknowledge(self, outcome: WebhookOutcome, *, status: int, reason: str = "") -> Acknowledgement:  # noqa: ARG002
        """GitHub looks at the status only; 202 is what it calls right."""
        return Acknowledgement(202 if outcome is WebhookOutcome.STORED else status)

    def read(self, body: str) -> Sequence[TrackerNews]:
        return hooks.read(body, app_id=self._config.app_id if self._config.is_app else "")

    # --------------------------------------------------------------------------------------------------- what goes out

    async def open_issue(self, draft: IssueDraft) -> OpenedIssue:
        body = _within_limits(draft.title, parts.marked(draft.body, draft.key))
        found = await self._opened_before(draft) if draft.tried_at is not None else None
        if found is None:
            wish: dict[str, Any] = {"title": draft.title, "body": body}
            if draft.labels:
                wish["labels"] = list(draft.labels)
            if draft.assignees:
                wish["assignees"] = list(draft.assignees)
            found = await self._open(draft.repository, wish)
        return self._result(draft.repository, found, draft.labels, draft.assignees)

    async def comment(self, draft: CommentDraft) -> IssueComment:
        body = _within_limits("-", parts.marked(draft.body, draft.key))
        found = await self._commented_before(draft) if draft.tried_at is not None else None
        if found is None:
            found = await self._write("POST", draft.repository, f"/issues/{draft.number}/comments", {"body": body})
        return parts.comment(found, app_id=self._config.app_id)

    async def update(self, repository: str, number: int, change: IssueChange) -> OpenedIssue:
        """Labels and assignees go one by one, so that nobody else's are taken away."""
        place = f"/issues/{number}"
        wish: dict[str, Any] = {}
        if change.state is not None:
            wish["state"] = change.state
            wish["state_reason"] = _state_reason(change)
        if change.title is not None:
            wish["title"] = change.title
        if change.body is not None:
            wish["body"] = change.body
        if wish:
            _within_limits(change.title if change.title is not None else "-", change.body or "")
            await self._write("PATCH", repository, place, wish)
        if change.add_labels:
            await self._write("POST", repository, f"{place}/labels", {"labels": list(change.add_labels)})
        for label in change.remove_labels:
            await self._take_away(repository, f"{place}/labels/{quote(label, safe='')}")
        if change.add_assignees:
            await self._write("POST", repository, f"{place}/assignees", {"assignees": list(change.add_assignees)})
        found = await self._get(repository, place)
        return self._result(repository, found, change.add_labels, change.add_assignees)

    async def delete_comment(self, repository: str, number: int, external_id: str) -> None:  # noqa: ARG002
        """By its own number: GitHub counts comments through a whole repository."""
        await self._take_away(repository, f"/issues/comments/{quote(external_id, safe='')}")

    async def react(self, repository: str, number: int, reaction: Reaction, *, comment: str = "") -> str:
        """GitHub keeps one of each kind for an account, and answers with the one that is there."""
        place = self._reactions(number, comment)
        found = await self._write("POST", repository, place, {"content": _REACTIONS[reaction]})
        return str(parts.number(found, "id"))

    async def take_back_reaction(self, repository: str, number: int, external_id: str, *, comment: str = "") -> None:
        await self._take_away(repository, f"{self._reactions(number, comment)}/{quote(external_id, safe='')}")

    @staticmethod
    def _reactions(number: int, comment: str) -> str:
        return f"/issues/comments/{quote(comment, safe='')}/reactions" if comment else f"/issues/{number}/reactions"

    async def _take_away(self, repository: str, place: str) -> None:
        try:
            await self._write("DELETE", repository, place, None)
        except TrackerRefused as error:
            if error.reason not in ("not_found", "gone"):  # somebody else took it away
                raise

    # ------------------------------------------------------------------------------------------- members as themselves

    async def begin_binding(self) -> DeviceCode:
        return await self._binding.begin()

    async def finish_binding(self, code: str, *, interval: float) -> MemberGrant | float:
        return await self._binding.finish(code, interval=interval)

    async def renew_member(self, refresh: str) -> MemberGrant:
        return await self._binding.renew(refresh)

    async def member_name(self, token: str) -> str:
        return await self._binding.name_of(token)

    def as_member(self, token: str, *, login: str) -> GitHubTracker:
        """Our app stays known, by which what the member writes is recognised as written through us."""
        http, clock, tokens, breakers = self._parts
        config = self._config.model_copy(update={"token": SecretStr(token), "private_key": SecretStr("")})
        return GitHubTracker(http, clock, config, tokens, breakers, login)

    # -------------------------------------------------------------------------------------------------- what is there

    async def issue(self, repository: str, number: int) -> Issue:
        return self._issue(repository, await self._get(repository, f"/issues/{number}"))

    async def issues(self, repository: str, *, since: datetime | None = None) -> AsyncIterator[Issue]:
        asked = {"state": "all", "sort": "updated", "direction": "asc"}
        if since is not None:
            asked["since"] = _stamp(since)
        async for page in self._pages(repository, "/issues", asked):
            for found in page:
                yield self._issue(repository, found)

    async def comments(self, repository: str, *, since: datetime) -> AsyncIterator[tuple[int, IssueComment]]:
        """Those on issues and pull requests; the lines of a review are told with it."""
        asked = {"sort": "updated", "direction": "asc", "since": _stamp(since)}
        async for page in self._pages(repository, "/issues/comments", asked):
            for found in page:
                _, _, number = parts.words(found, "issue_url").rpartition("/")
                if number.isdecimal():
                    yield int(number), parts.comment(parts.part(found), app_id=self._config.app_id)

    async def repositories(self) -> AsyncIterator[Repository]:
        """The account's: those for which the app is installed, or those that the token may push to or triage."""
        if self._config.is_app:
            async for page in self._client.pages("/installation/repositories"):
                for found in parts.items(page, "repositories"):
                    yield parts.repository(found)
            return
        async for page in self._client.pages("/user/repos", {"sort": "full_name"}):
            for found in page if isinstance(page, list) else ():
                if parts.words(parts.part(found, "owner"), "login").lower() == self._config.account.lower():
                    yield parts.repository(found)

    async def checks(self) -> AsyncIterator[CheckResult]:
        async for result in GitHubChecks(self._client, self._config, self._clock).run():
            yield result

    async def redeliver(self, *, since: datetime) -> int:
        """Let GitHub repeat what it could not deliver since then: it never does so by itself. Returns how many.

        Only an app sees its deliveries, those of three days.
        """
        if not self._config.is_app:
            return 0
        wanted: dict[str, int] = {}
        async for page in self._client.pages("/app/hook/deliveries", as_app=True):
            entries = [parts.part(one) for one in page] if isinstance(page, list) else []
            for one in entries:
                wanted.setdefault(parts.words(one, "guid"), 0)
                arrived = 200 <= parts.number(one, "status_code") < 300
                if parts.moment(one, "delivered_at") >= since and wanted[parts.words(one, "guid")] >= 0:
                    wanted[parts.words(one, "guid")] = -1 if arrived else parts.number(one, "id")
            if entries and parts.moment(entries[-1], "delivered_at") < since:
                break
        failed = [id_ for id_ in wanted.values() if id_ > 0]
        for id_ in failed:
            await self._client.write("POST", f"/app/hook/deliveries/{id_}/attempts", None, as_app=True)
        return len(failed)

    # ---------------------------------------------------------------------------------------------- what came of before

    async def _opened_before(self, draft: IssueDraft) -> Mapping[str, Any] | None:
        """By the list of issues, not by the search, whose index lags behind."""
        asked = {"state": "all", "sort": "created", "direction": "desc", "creator": await self._who_we_are()}
        asked["since"] = _stamp((draft.tried_at or self._clock.now()) - APART)
        looked = 0
        async for page in self._pages(draft.repository, "/issues", asked):
            for found in page:
                if parts.key_in(parts.words(found, "body")) == draft.key:
                    return parts.part(found)
            looked += 1
            if looked == LOOKED_AT:
                break
        return None

    async def _commented_before(self, draft: CommentDraft) -> Mapping[str, Any] | None:
        asked = {"since": _stamp((draft.tried_at or self._clock.now()) - APART)}
        async for page in self._pages(draft.repository, f"/issues/{draft.number}/comments", asked):
            for found in page:
                if parts.key_in(parts.words(found, "body")) == draft.key:
                    return parts.part(found)
        return None

    async def _who_we_are(self) -> str:
        """The login under which we write."""
        if not self._login:
            if self._config.is_app:
                self._login = f"{parts.words(await self._client.get('/app', as_app=True), 'slug')}[bot]"
            else:
                self._login = parts.words(await self._client.get("/user"), "login")
        return self._login

    # ------------------------------------------------------------------------------------------------------- calling

    async def _get(self, repository: str, place: str) -> Mapping[str, Any]:
        try:
            return parts.part(await self._client.get(f"/repos/{repository}{place}"))
        except Moved as error:
            raise await self._moved(repository, error) from error

    async def _pages(self, repository: str, place: str, asked: Mapping[str, str]) -> AsyncIterator[list[Any]]:
        try:
            async for page in self._client.pages(f"/repos/{repository}{place}", asked):
                yield page if isinstance(page, list) else []
        except Moved as error:
            raise await self._moved(repository, error) from error

    async def _write(
        self, method: Any, repository: str, place: str, body: Mapping[str, Any] | None
    ) -> Mapping[str, Any]:
        try:
            return parts.part(await self._client.write(method, f"/repos/{repository}{place}", body))
        except Moved as error:
            raise await self._moved(repository, error) from error

    async def _open(self, repository: str, wish: dict[str, Any]) -> Mapping[str, Any]:
        """One who cannot be assigned costs GitHub's whole issue: then it is opened first, and people added to it."""
        try:
            return await self._write("POST", repository, "/issues", wish)
        except TrackerRefused as error:
            assignees = wish.pop("assignees", None)
            if assignees is None or error.reason != "invalid" or "assignee" not in error.hint:
                raise
        found = await self._write("POST", repository, "/issues", wish)
        place = f"/issues/{parts.number(found, 'number')}/assignees"
        try:
            return await self._write("POST", repository, place, {"assignees": assignees})
        except TrackerRefused:
            return found  # the issue is there, and names those who were left out

    async def _moved(self, repository: str, error: Moved) -> TrackerRefused:
        """The name that the repository has now: GitHub answers with its number."""
        path = urlsplit(error.location).path
        base = urlsplit(self._config.api_base).path
        pieces = path.removeprefix(base).strip("/").split("/")
        name = ""
        if len(pieces) >= 2 and pieces[0] == "repositories" and pieces[1].isdecimal():
            name = parts.words(await self._client.get(f"/repositories/{pieces[1]}"), "full_name")
        if name and name.lower() != repository.lower():
            return TrackerRefused("moved", code=301, moved_to=name)
        if place := await self._elsewhere(pieces):
            return TrackerRefused("moved", code=301, hint=place)
        return TrackerRefused("not_found", code=301, hint="The repository or issue was moved to a place we do not see.")

    async def _elsewhere(self, pieces: Sequence[str]) -> str:
        """Where a single issue was transferred to, as people write it."""
        if len(pieces) >= 4 and pieces[2] == "issues" and pieces[3].isdecimal():
            found = parts.part(await self._client.get("/" + "/".join(pieces[:4])))
            return parts.words(found, "html_url")
        return ""

    def _issue(self, repository: str, found: Mapping[str, Any]) -> Issue:
        return parts.issue(parts.part(found), repository, app_id=self._config.app_id)

    def _result(
        self, repository: str, found: Mapping[str, Any], labels: Sequence[str], assignees: Sequence[str]
    ) -> OpenedIssue:
        return outcome(self._issue(repository, found), labels, assignees)


def _state_reason(change: IssueChange) -> str:
    if change.state == "open":
        return "reopened"
    return change.reason if change.reason in ("completed", "not_planned", "duplicate") else "completed"


def _stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _within_limits(title: str, body: str) -> str:
    """The body. Raises TrackerRefused for what GitHub would refuse."""
    if not title.strip() or len(title) > LONGEST_TITLE:
        raise TrackerRefused("invalid", hint=f"A title has 1 to {LONGEST_TITLE} characters.")
    if len(body) > LIMIT:
        raise TrackerRefused("invalid", hint=f"A text has at most {LIMIT} characters.")
    return body
