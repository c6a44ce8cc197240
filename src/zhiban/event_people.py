"""Facts about our own people: their sign-ins, accounts, presence, teams, and the tokens of their programs."""

from __future__ import annotations

from typing import Literal

from zhiban.event_base import Event


class SignedIn(Event):
    """The agent has a new session: by password (and code, where one is needed), by a provider, or by a link of ours."""

    agent_id: int


class SignInFailed(Event):
    """Somebody gave a wrong password for this agent. Attempts at addresses that nobody has belong to no workspace."""

    agent_id: int


class SignedOut(Event):
    """The agent ended one of their sessions."""

    agent_id: int


class SessionRevoked(Event):
    """A signed-in browser was signed out by somebody else, or by a password change."""

    agent_id: int


class AgentInvited(Event):
    """`inbox_ids` None: they see every inbox."""

    agent_id: int
    role: str
    inbox_ids: tuple[int, ...] | None = None


class JoinLinkCreated(Event):
    """A link by which this agent can choose a password; earlier ones are void."""

    agent_id: int


class AgentJoined(Event):
    """The agent has chosen a password, for the first time or by a new link: earlier sessions have ended."""

    agent_id: int


class AgentChanged(Event):
    """Name, role, inboxes or accounts; values before and after by name."""

    agent_id: int
    before: dict[str, object]
    after: dict[str, object]


class TeamCreated(Event):
    """Some agents share work. `members` are ids of agents."""

    team_id: int
    name: str
    members: tuple[int, ...] = ()


class TeamChanged(Event):
    """Name, members or business hours; values before and after by name."""

    team_id: int
    before: dict[str, object]
    after: dict[str, object]


class TeamRemoved(Event):
    """Nothing can be given to the team any more; what it has becomes nobody's after the commit."""

    team_id: int
    name: str


class AgentDisabled(Event):
    """The agent can sign in no more and has no session; what they had waits for others after the commit."""

    agent_id: int


class AgentEnabled(Event):
    """The agent can sign in again, with the password they had."""

    agent_id: int


class AvailabilityChosen(Event):
    """What an agent wants to be while a desk of theirs is open: online, busy or offline."""

    agent_id: int
    chosen: str
    previous: str


class AgentBecameAvailable(Event):
    """Others see the agent online, who may be given conversations from now on. `previous`: busy or offline."""

    agent_id: int
    previous: str


class AgentBecameBusy(Event):
    """Others see the agent busy: there, but nothing is given to them."""

    agent_id: int
    previous: str


class AgentWentOffline(Event):
    """The agent is gone. `reason`: chosen, silent (no open desk any more), signed_out or disabled."""

    agent_id: int
    previous: str
    reason: str = ""


class NotificationSettingsChanged(Event):
    """An agent chose how to be told: the names of what changed, never the address."""

    agent_id: int
    changed: tuple[Literal["ways", "address", "waiting_minutes"], ...]


class NotifierTested(Event):
    """Somebody let a notice or a mail be sent `to` an address that says that it is a test."""

    to: str


class PasswordChanged(Event):
    """The agent changed their own password; every earlier session has ended."""

    agent_id: int


class SecondFactorEnrolled(Event):
    """From now on the agent is asked for a code of their phone after the password."""

    agent_id: int


class SecondFactorRemoved(Event):
    """By themselves, or by somebody who manages people, for instance because the phone is gone."""

    agent_id: int


class SecondFactorFailed(Event):
    """Somebody who knew the password gave a wrong code."""

    agent_id: int


class RecoveryCodeUsed(Event):
    """The agent signed in with one of the codes kept for a lost phone; it is used up."""

    agent_id: int


class RecoveryCodesCreated(Event):
    """New ones in the place of the old ones."""

    agent_id: int


class WorkspaceRenamed(Event):
    """The organisation is called otherwise."""

    name: str
    previous: str


class SecondFactorRequired(Event):
    """Whether everybody of the workspace needs one."""

    required: bool


class SignInProviderAdded(Event):
    """The workspace trusts somebody else to say who its people are."""

    provider_id: int
    name: str


class SignInProviderChanged(Event):
    """Its settings, by name; never the secret, of which an empty change tells."""

    provider_id: int
    before: dict[str, object]
    after: dict[str, object]


class SignInProviderRemoved(Event):
    """Nobody signs in by it any more."""

    provider_id: int
    name: str


class LoginLinked(Event):
    """An account at a provider signs in this agent from now on."""

    agent_id: int
    provider_id: int


class LoginUnlinked(Event):
    """The account at the provider signs this agent in no more."""

    agent_id: int
    provider_id: int


class ApiTokenCreated(Event):
    """A program may use the API with these scopes, and sees these inboxes. The token itself is in no fact."""

    token_id: int
    name: str
    scopes: tuple[str, ...] = ()
    inbox_ids: tuple[int, ...] | None = None  # None: every inbox


class ApiTokenRevoked(Event):
    """The token opens nothing any more."""

    token_id: int
    name: str
