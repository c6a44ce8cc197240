"""Issues and comments at GitLab, each once: what an attempt before may have written is found by its hidden mark."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from zhiban.integrations.forges import checks, deliveries, refusals
from zhiban.integrations.forges.parts import CHANGES, JsonPart, items, key_in, marked, number, part, second, words
from zhiban.integrations.forges.refusals import Moved
from zhiban.integrations.forges.writing import Silencer, outcome, titled, within
from zhiban.integrations.gitlab import hooks, news, parts
from zhiban.integrations.gitlab.client import GitLabClient
from zhiban.integrations.gitlab.config import NAME, GitLabConfig
from zhiban.kit.clock import Clock
from zhiban.kit.http import Http
from zhiban.kit.patterns import lazy_pattern
from zhiban.ports import (
    Acknowledgement,
    Breakers,
    Challenge,
    CheckResult,
    CommentDraft,
    ConnectionBroken,
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

LONGEST: Final = 1_000_000  # characters of a comment; a description may have 1,048,576
LONGEST_TITLE: Final = 255
APART: Final = timedelta(minutes=5)  # by how much clocks may differ
LOOKED_AT: Final = 10  # pages of a hundred that are looked through for a mark

# Behind these begin references to merge requests, labels, milestones, snippets, epics, alerts, iterations, wiki pages
# and whatever is named in brackets. Those to people and issues are broken for every tracker.
# https://docs.gitlab.com/user/markdown/#gitlab-specific-references
SIGNS: Final = lazy_pattern(
    r"!(?=[0-9])|~(?=[\"\w])|%(?=[\"\w])|\$(?=[0-9])|(?:&amp;|&)(?=[0-9])|\^(?=alert)|\*(?=iteration:)"
    r"|\[(?=\\?\[|[A-Za-z_\\]{2,30}:)|GL-(?=[0-9])",
)


# https://docs.gitlab.com/api/emoji_reactions/: names as GitLab knows them, without colons.
_REACTIONS: Final[Mapping[Reaction, str]] = {
    "up": "thumbsup",
    "down": "thumbsdown",
    "laugh": "laughing",
    "hooray": "tada",
    **{name: name for name in ("confused", "heart", "rocket", "eyes")},
}


class GitLabTracker:
    """Tracker, TakesReactions and ListsComments."""

    name = NAME

    def __init__(self, http: Http, clock: Clock, config: GitLabConfig, breakers: Breakers) -> None:
        self._config = config
        self._clock = clock
        self._client = GitLabClient(http, clock, config, breakers)
        self._silencer = Silencer(SIGNS, config.api_base)

    # ------------------------------------------------------------------------------------------------- what comes in

    def authenticate(self, webhook: Webhook) -> VerifiedWebhook | Challenge:
        return hooks.verified(self._config.secrets(webhook.received_at), webhook)

    def acknowledge(self, outcome: WebhookOutcome, *, status: int, reason: str = "") -> Acknowledgement:  # noqa: ARG002
        """GitLab looks at the status only, and switches a hook off that fails again and again."""
        return Acknowledgement(status)

    def read(self, body: str) -> Sequence[TrackerNews]:
        return deliveries.read(body, news.read)

    # --------------------------------------------------------------------------------------------------- what goes out

    async def open_issue(self, draft: IssueDraft) -> OpenedIssue:
        wish: dict[str, Any] = {
            "title": self._silencer.title(titled(draft.title), longest=LONGEST_TITLE),
            "description": within(marked(self._silencer.body(draft.body), draft.key), LONGEST),
        }
        found = await self._opened_before(draft) if draft.tried_at is not None else None
        if found is None:
            if labels := _labels(draft.labels):
                wish["labels"] = labels
            if people := await self._ids(draft.assignees):
                wish["assignee_ids"] = people
            found = await self._write("POST", draft.repository, "/issues", wish)
        return outcome(parts.issue(found, draft.repository), draft.labels, draft.assignees)

    async def comment(self, draft: CommentDraft) -> IssueComment:
        body = within(marked(self._silencer.body(draft.body), draft.key), LONGEST)
        place = _place(draft.number)
        about = await self._get(draft.repository, place)
        found = await self._commented_before(draft) if draft.tried_at is not None else None
        if found is None:
            found = await self._write("POST", draft.repository, f"{place}/notes", {"body": body})
        return parts.comment(found, words(about, "web_url"))

    async def update(self, repository: str, number: int, change: IssueChange) -> OpenedIssue:
        """All in one call. Assignees are a whole list there, so those who are it already are named again."""
        place = _place(number)
        wish: dict[str, Any] = {}
        if change.title is not None:
            wish["title"] = self._silencer.title(titled(change.title), longest=LONGEST_TITLE)
        if change.body is not None:
            wish["description"] = within(self._silencer.body(change.body), LONGEST)
        if added := _labels(change.add_labels):
            wish["add_labels"] = added
        if removed := _labels(change.remove_labels):
            wish["remove_labels"] = removed
        before = await self._get(repository, place)
        closed = words(before, "state") in ("closed", "merged")
        if change.state is not None and closed != (change.state == "closed"):
            wish["state_event"] = "close" if change.state == "closed" else "reopen"
        if new := await self._ids(change.add_assignees):
            there = [parts_id for one in items(before, "assignees") if (parts_id := _id(one))]
            wish["assignee_ids"] = list(dict.fromkeys([*there, *new]))
        found = await self._write("PUT", repository, place, wish) if wish else before
        return outcome(self._issue(repository, number, found), change.add_labels, change.add_assignees)

    async def delete_comment(self, repository: str, number: int, external_id: str) -> None:
        await self._take_away(repository, f"{_place(number)}/notes/{quote(external_id, safe='')}")

    async def react(self, repository: str, number: int, reaction: Reaction, *, comment: str = "") -> str:
        """GitLab keeps one of each kind for an account, and says of a second one that it is not there."""
        place, name = _awards(number, comment), _REACTIONS[reaction]
        try:
            return str(_id(await self._write("POST", repository, place, {"name": name})))
        except TrackerRefused as error:
            if error.reason != "not_found" or (there := await self._awarded(repository, place, name)) is None:
                raise
            return there

    async def take_back_reaction(self, repository: str, number: int, external_id: str, *, comment: str = "") -> None:
        place = f"{_awards(number, comment)}/{quote(external_id, safe='')}"
        try:
            await self._take_away(repository, place)
        except ConnectionBroken as error:
            if error.code != 401:
                raise
            # Said of another account's as well, where our token is as good as ever.
            await self._who_we_are()
            raise TrackerRefused("forbidden", code=401, hint=refusals.FORBIDDEN) from error

    async def _awarded(self, repository: str, place: str, name: str) -> str | None:
        """Our own reaction of this name, by its id. Raises TrackerRefused where there is nothing to react to."""
        me = await self._who_we_are()
        async for page in self._pages(repository, place, {}):
            for found in page:
                if words(found, "name") == name and words(part(found, "user"), "username") == me:
                    return str(_id(found))
        return None

    async def _take_away(self, repository: str, place: str) -> None:
        try:
            await self._write("DELETE", repository, place, None)
        except TrackerRefused as error:
            if error.reason not in ("not_found", "gone"):  # somebody else took it away
                raise

    # -------------------------------------------------------------------------------------------------- what is there

    async def issue(self, repository: str, number: int) -> Issue:
        return self._issue(repository, number, await self._get(repository, _place(number)))

    async def issues(self, repository: str, *, since: datetime | None = None) -> AsyncIterator[Issue]:
        """Confidential ones among them: what is known here may have become so without a word."""
        asked = {"scope": "all", "order_by": "updated_at", "sort": "asc"}
        if since is not None:
            asked["updated_after"] = _stamp(since)
        async for page in self._pages(repository, "/issues", asked):
            for found in page:
                yield parts.issue(part(found), repository)

    async def comments(self, repository: str, *, since: datetime) -> AsyncIterator[tuple[int, IssueComment]]:
        """GitLab tells those of one issue at a time: whatever changed since is looked through, as a comment changes it.

        The lines of a review are told with it; what is confidential or internal is not told.
        """
        found: list[tuple[int, IssueComment]] = []
        for kind, apart in (("/issues", 0), ("/merge_requests", CHANGES)):
            asked = {"scope": "all", "order_by": "updated_at", "sort": "asc", "updated_after": _stamp(since)}
            try:
                async for page in self._pages(repository, kind, asked):
                    for about in page:
                        if number(about, "user_notes_count") and not parts.is_confidential(part(about)):
                            place, url = _place(number(about, "iid") + apart), words(about, "web_url")
                            told = await self._comments_of(repository, place, url, since=since)
                            found += [(number(about, "iid") + apart, one) for one in told]
            except TrackerRefused as error:
                # Who may not see the code of a project, or whose project has none, has no merge requests there.
                if not apart or error.reason not in ("forbidden", "not_found"):
                    raise
        for one in sorted(found, key=lambda each: each[1].updated_at):
            yield one

    async def _comments_of(self, repository: str, place: str, url: str, *, since: datetime) -> list[IssueComment]:
        told: list[IssueComment] = []
        asked = {"order_by": "updated_at", "sort": "desc", "activity_filter": "only_comments"}
        async for page in self._pages(repository, f"{place}/notes", asked):
            for found in page:
                comment = parts.comment(part(found), url)
                if comment.updated_at < since:
                    return told
                if not parts.is_aside(part(found)):
                    told.append(comment)
        return told

    async def repositories(self) -> AsyncIterator[Repository]:
        """The account's, and those in the groups below it, in which the token is a member."""
        account = self._config.account.lower()
        asked = {"membership": "true", "order_by": "id", "sort": "asc"}
        async for page in self._client.pages("/projects", asked):
            for found in page if isinstance(page, list) else ():
                name = words(found, "path_with_namespace").lower()
                if name == account or name.startswith(f"{account}/"):
                    yield parts.repository(part(found))

    async def checks(self) -> AsyncIterator[CheckResult]:
        async for result in checks.checks("GitLab", who=self._who_we_are, repositories=self.repositories):
            yield result

    async def _who_we_are(self) -> str:
        return words(await self._client.get("/user"), "username")

    # ---------------------------------------------------------------------------------------------- what came of before

    async def _opened_before(self, draft: IssueDraft) -> JsonPart | None:
        """By the list of what we created, not by the search, whose index lags behind."""
        since = _stamp((draft.tried_at or self._clock.now()) - APART)
        asked = {"scope": "created_by_me", "order_by": "created_at", "sort": "desc", "created_after": since}
        looked = 0
        async for page in self._pages(draft.repository, "/issues", asked):
            for found in page:
                if key_in(words(found, "description")) == draft.key:
                    return part(found)
            looked += 1
            if looked == LOOKED_AT:
                break
        return None

    async def _commented_before(self, draft: CommentDraft) -> JsonPart | None:
        since = (draft.tried_at or self._clock.now()) - APART
        asked = {"order_by": "created_at", "sort": "desc", "activity_filter": "only_comments"}
        async for page in self._pages(draft.repository, f"{_place(draft.number)}/notes", asked):
            for found in page:
                if key_in(words(found, "body")) == draft.key:
                    return part(found)
                if second(found, "created_at") < since:
                    return None
        return None

    async def _ids(self, logins: Sequence[str]) -> list[int]:
        """The numbers of these people; who is not there is left out, and so named as dropped."""
        found: list[int] = []
        for login in logins:
            answer = await self._client.get("/users", {"username": login})
            found += [_id(one) for one in answer if _id(one)] if isinstance(answer, list) else []
        return found

    # ------------------------------------------------------------------------------------------------------- calling

    async def _get(self, repository: str, place: str) -> JsonPart:
        try:
            return part(await self._client.get(_project(repository) + place))
        except Moved as error:
            raise await self._moved(repository) from error

    async def _pages(self, repository: str, place: str, asked: Mapping[str, str]) -> AsyncIterator[list[Any]]:
        try:
            async for page in self._client.pages(_project(repository) + place, asked):
                yield page if isinstance(page, list) else []
        except Moved as error:
            raise await self._moved(repository) from error

    async def _write(self, method: Any, repository: str, place: str, body: Mapping[str, Any] | None) -> JsonPart:
        try:
            return part(await self._client.write(method, _project(repository) + place, body))
        except Moved as error:
            raise await self._moved(repository) from error
        except TrackerRefused as error:
            raise await self._why(repository, place, error) from error

    async def _moved(self, repository: str) -> TrackerRefused:
        """The name that the project has now: GitLab answers with its number, for reading only."""
        try:
            await self._client.get(_project(repository))
        except Moved as error:
            id_ = error.location.partition("/projects/")[2].partition("?")[0]
            if id_.isdecimal():
                name = words(await self._client.get(f"/projects/{id_}"), "path_with_namespace")
                if name and name.lower() != repository.lower():
                    return TrackerRefused("moved", code=302, moved_to=name)
        return TrackerRefused("not_found", code=302, hint=refusals.NOT_FOUND)

    async def _why(self, repository: str, place: str, error: TrackerRefused) -> TrackerRefused:
        """What is behind a refusal that says nothing: a project without issues, an archived one, a locked issue."""
        if error.reason not in ("forbidden", "not_found"):
            return error
        try:
            project = parts.repository(part(await self._client.get(_project(repository))))
            if not project.issues_enabled and place.startswith("/issues"):
                return TrackerRefused("issues_disabled", code=error.code, hint=refusals.ISSUES_OFF)
            if project.archived:
                return TrackerRefused("forbidden", code=error.code, hint=refusals.ARCHIVED)
            if error.reason == "forbidden" and place.endswith("/notes"):
                about = await self._client.get(_project(repository) + place.removesuffix("/notes"))
                if isinstance(about, Mapping) and about.get("discussion_locked") is True:
                    return TrackerRefused("locked", code=error.code, hint=refusals.LOCKED)
        except (TrackerRefused, Moved):
            return error
        return error

    @staticmethod
    def _issue(repository: str, number: int, found: JsonPart) -> Issue:
        return parts.issue(found, repository, is_change=number > CHANGES)


def _project(repository: str) -> str:
    return f"/projects/{quote(repository, safe='')}"


def _place(number: int) -> str:
    return f"/merge_requests/{number - CHANGES}" if number > CHANGES else f"/issues/{number}"


def _awards(number: int, comment: str) -> str:
    note = f"/notes/{quote(comment, safe='')}" if comment else ""
    return f"{_place(number)}{note}/award_emoji"


def _id(found: object) -> int:
    return number(found, "id")


def _labels(named: Sequence[str]) -> str:
    """GitLab takes them in one text; a name with a comma would be two, and is dropped."""
    return ",".join(one for one in named if "," not in one)


def _stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
