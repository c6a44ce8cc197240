"""Whom a workspace trusts to say who its people are, and which of their accounts belongs to whom.

An identity provider proves one of its own accounts. That account is an agent's when it was linked, when its verified
address is theirs and the provider may link by address, or when it may join. All of it is decided within the workspace
whose provider it is: what another workspace trusts proves nothing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit

from zhiban.events import (
    SYSTEM,
    Actor,
    AgentInvited,
    AgentJoined,
    LoginLinked,
    LoginUnlinked,
    SignInProviderAdded,
    SignInProviderChanged,
    SignInProviderRemoved,
)
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound, ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.kit.vault import Vault
from zhiban.people.agents import agent_with_account, limits
from zhiban.people.models import Role
from zhiban.people.ownership import clean_name
from zhiban.people.service import NewSession, add_agent, session_after_password
from zhiban.people.throttle import account_name
from zhiban.people.workspaces import workspace_locale
from zhiban.ports.identity import Identity, IdentityServer

MOST = 10
LONGEST_NAME = 40
MOST_DOMAINS = 20
JOIN_ROLES = (Role.AGENT, Role.READ_ONLY)  # nobody joins by themselves and manages something


class ProviderKind(StrEnum):
    OIDC = "oidc"
    MEMBERS = "members"  # a vendor's members, who have accounts there that are entered under the team


class UnknownLogin(ZhibanError):
    """The account is genuine, and nobody here has it."""


@frozen_dataclass
class ProviderRow:
    """A provider. `joins_as`: what strangers with an address of `domains` become; None: nobody joins.

    `joins_inboxes`: the inboxes that they see then; None: every one.
    `connection_id`: the vendor's connection whose members sign in; None for identity providers.
    """

    id: int
    kind: str
    name: str
    issuer: str
    client_id: str
    links_by_email: bool
    joins_as: str | None
    joins_inboxes: list[int] | None
    domains: list[str]
    connection_id: int | None
    vendor: str | None


@frozen_dataclass
class ProviderSettings:
    """What is entered of an identity provider; an empty secret keeps the one that is there."""

    name: str
    issuer: str
    client_id: str
    client_secret: str = ""
    links_by_email: bool = False
    joins_as: Role | None = None
    domains: tuple[str, ...] = ()
    joins_inboxes: tuple[int, ...] | None = ()


_PROVIDERS = """
select p.id, p.kind, p.name, p.issuer, p.client_id, p.links_by_email, p.joins_as, p.joins_inboxes, p.domains,
  p.connection_id, p.vendor
from sign_in_provider p where p.removed_at is null"""


async def providers(tx: Transaction) -> list[ProviderRow]:
    """Every provider of the workspace, by name."""
    return await tx.objects(ProviderRow, _PROVIDERS + " order by p.name, p.id")


async def access_provider(tx: Transaction, provider_id: int) -> ProviderRow:
    """One of this workspace. Raises NotFound."""
    found = await tx.object(ProviderRow, _PROVIDERS + " and p.id = %(id)s", id=provider_id)
    if found is None:
        raise NotFound("There is no such way to sign in.")
    return found


async def signs_in_through(tx: Transaction, connection_id: int) -> bool:
    """Whether members sign in through this connection of a vendor: whoever changes it says who somebody is."""
    sql = "select 1 from sign_in_provider where connection_id = %(id)s and removed_at is null limit 1"
    return await tx.value(sql, id=connection_id) is not None


def _place(workspace_id: int, provider_id: int) -> str:
    return f"sign_in_provider/{workspace_id}/{provider_id}/secret"


async def server_of(tx: Transaction, vault: Vault, provider: ProviderRow) -> IdentityServer:
    """What is needed to ask it. Raises SealBroken."""
    sealed = await tx.value("select secret from sign_in_provider where id = %(id)s", id=provider.id)
    secret = vault.open(sealed, bound_to=_place(tx.workspace_id, provider.id))["client_secret"] if sealed else ""
    return IdentityServer(provider.issuer, provider.client_id, secret)


# --------------------------------------------------------------------------------------------------------- settings


async def add_provider(
    tx: Transaction, vault: Vault, given: ProviderSettings, *, by: Actor = SYSTEM, now: datetime
) -> int:
    """A new identity provider. Returns its id. Raises Conflict, NotFound (an inbox)."""
    given = _checked(given)
    if not given.client_secret:
        raise Conflict("An identity provider gives out a client secret; enter it.")
    await _check_room(tx)
    id_: int = await tx.value(
        "insert into sign_in_provider (workspace_id, kind, name, created_at) "
        "values (%(workspace)s, 'oidc', %(name)s, %(now)s) returning id",
        workspace=tx.workspace_id,
        name=given.name,
        now=now,
    )
    await _write(tx, vault, id_, given)
    await event_log.append(tx, SignInProviderAdded(actor=by, at=now, provider_id=id_, name=given.name))
    return id_


async def add_members(
    tx: Transaction, *, connection_id: int, vendor: str, name: str, by: Actor = SYSTEM, now: datetime
) -> int:
    """Let members of a vendor sign in through its connection. Returns the provider's id. Raises Conflict."""
    await _check_room(tx)
    id_: int | None = await tx.value(
        "insert into sign_in_provider (workspace_id, kind, name, connection_id, vendor, created_at) "
        "values (%(workspace)s, 'members', %(name)s, %(connection)s, %(vendor)s, %(now)s) "
        "on conflict do nothing returning id",
        workspace=tx.workspace_id,
        name=clean_name(name, longest=LONGEST_NAME),
        connection=connection_id,
        vendor=vendor,
        now=now,
    )
    if id_ is None:
        raise Conflict("Members of this connection sign in already.")
    await event_log.append(tx, SignInProviderAdded(actor=by, at=now, provider_id=id_, name=name))
    return id_


async def change_provider(
    tx: Transaction, vault: Vault, provider: ProviderRow, given: ProviderSettings, *, by: Actor, now: datetime
) -> None:
    """Change an identity provider. Another issuer or client forgets whose account is whose.

    Raises Conflict, NotFound (an inbox).
    """
    if provider.kind != ProviderKind.OIDC:
        raise Conflict("There is nothing to change about it; remove it instead.")
    given = _checked(given)
    moved = (given.issuer, given.client_id) != (provider.issuer, provider.client_id)
    if moved and not given.client_secret:
        raise Conflict("Another issuer or client has another secret; enter it.")
    if moved:
        await tx.run("delete from agent_login where provider_id = %(id)s", id=provider.id)
    await _write(tx, vault, provider.id, given)
    after = await access_provider(tx, provider.id)
    names = ("name", "issuer", "client_id", "links_by_email", "joins_as", "joins_inboxes", "domains")
    changed = [one for one in names if getattr(provider, one) != getattr(after, one)]
    if changed or given.client_secret:
        await event_log.append(
            tx,
            SignInProviderChanged(
                actor=by,
                at=now,
                provider_id=provider.id,
                before={one: getattr(provider, one) for one in changed},
                after={one: getattr(after, one) for one in changed},
            ),
        )


async def remove_provider(tx: Transaction, provider: ProviderRow, *, by: Actor, now: datetime) -> None:
    """Nobody signs in by it any more; sessions go on."""
    await tx.run(
        "update sign_in_provider set removed_at = %(now)s, secret = null where id = %(id)s", now=now, id=provider.id
    )
    await tx.run("delete from agent_login where provider_id = %(id)s", id=provider.id)
    removed = SignInProviderRemoved(actor=by, at=now, provider_id=provider.id, name=provider.name)
    await event_log.append(tx, removed)


async def _check_room(tx: Transaction) -> None:
    if len(await providers(tx)) >= MOST:
        raise Conflict(mark(f"There are {MOST} ways to sign in already; remove some first."))


async def _write(tx: Transaction, vault: Vault, provider_id: int, given: ProviderSettings) -> None:
    sealed = (
        vault.seal({"client_secret": given.client_secret}, bound_to=_place(tx.workspace_id, provider_id))
        if given.client_secret
        else None
    )
    await tx.run(
        "update sign_in_provider set name = %(name)s, issuer = %(issuer)s, client_id = %(client)s, "
        "secret = coalesce(%(secret)s, secret), links_by_email = %(links)s, joins_as = %(joins)s, "
        "joins_inboxes = %(inboxes)s, domains = %(domains)s where id = %(id)s",
        id=provider_id,
        name=given.name,
        issuer=given.issuer,
        client=given.client_id,
        secret=sealed,
        links=given.links_by_email,
        joins=given.joins_as,
        inboxes=await limits(tx, given.joins_as or Role.AGENT, given.joins_inboxes),
        domains=list(given.domains),
    )


def _checked(given: ProviderSettings) -> ProviderSettings:
    issuer = given.issuer.strip()
    try:
        parts = urlsplit(issuer)
        whole = parts.scheme in ("https", "http") and bool(parts.hostname) and not (parts.query or parts.fragment)
    except ValueError:
        whole, parts = False, urlsplit("")
    if not whole or parts.username or parts.password or len(issuer) > 500:
        raise Conflict("The issuer is an address such as https://login.example.com.")
    if not given.client_id.strip():
        raise Conflict("An identity provider gives out a client id; enter it.")
    domains = tuple(dict.fromkeys(one.strip().lower().lstrip("@") for one in given.domains if one.strip()))
    if len(domains) > MOST_DOMAINS or any("." not in one or "@" in one or len(one) > 253 for one in domains):
        raise Conflict("Domains are written as example.com.")
    if given.joins_as is not None and given.joins_as not in JOIN_ROLES:
        raise Conflict("Nobody joins by themselves in this role.")
    if given.joins_as is not None and not domains:
        raise Conflict("Say whose addresses may join: a public provider would let in everybody.")
    return ProviderSettings(
        name=clean_name(given.name, longest=LONGEST_NAME),
        issuer=issuer,
        client_id=given.client_id.strip(),
        client_secret=given.client_secret.strip(),
        links_by_email=given.links_by_email,
        joins_as=given.joins_as,
        domains=domains,
        joins_inboxes=given.joins_inboxes,
    )


# ------------------------------------------------------------------------------------------------------- signing in


async def sign_in_by(
    tx: Transaction, provider: ProviderRow, identity: Identity, *, now: datetime, hint: str = ""
) -> NewSession:
    """A session for whoever has this account. Who has a second factor is asked for it, as after a password.

    Raises UnknownLogin.
    """
    agent_id = await _agent_of(tx, provider, identity, now=now)
    if agent_id is None or not await tx.value(
        "select 1 from agent where id = %(id)s and disabled_at is null", id=agent_id
    ):
        raise UnknownLogin("Nobody here has this account. Ask whoever manages people, or sign in with a password.")
    return await session_after_password(tx, agent_id=agent_id, now=now, hint=hint)


async def _agent_of(tx: Transaction, provider: ProviderRow, identity: Identity, *, now: datetime) -> int | None:
    if provider.kind == ProviderKind.MEMBERS:
        return await agent_with_account(tx, provider.vendor or "", identity.subject)
    linked: int | None = await tx.value(
        "select agent_id from agent_login where provider_id = %(provider)s and subject = %(subject)s",
        provider=provider.id,
        subject=identity.subject,
    )
    if linked is not None or not _address_counts(provider, identity):
        return linked
    address = account_name(identity.email)
    known: int | None = await tx.value("select id from agent where email = %(email)s", email=address)
    if known is not None:
        if not provider.links_by_email:
            return None
    elif provider.joins_as is not None and provider.domains:
        known = await _join(tx, Role(provider.joins_as), provider.joins_inboxes, identity, now=now)
    if known is not None:
        await link(tx, provider, identity.subject, known, now=now)
    return known


def _address_counts(provider: ProviderRow, identity: Identity) -> bool:
    """Whether it is verified, and of a domain for which this provider may speak."""
    name, at, domain = account_name(identity.email).rpartition("@")
    if not identity.email_verified or not (name and at and domain):
        return False
    return not provider.domains or domain in provider.domains


async def _join(tx: Transaction, role: Role, inbox_ids: list[int] | None, identity: Identity, *, now: datetime) -> int:
    address = account_name(identity.email)
    printable = "".join(char if char.isprintable() else " " for char in identity.name)
    name = " ".join(printable.split())[:80] or address.partition("@")[0]
    locale = await workspace_locale(tx)
    agent_id = await add_agent(
        tx, email=address, name=name, role=role, password_hash=None, inbox_ids=inbox_ids, locale=locale
    )
    seen = None if inbox_ids is None else tuple(inbox_ids)
    await event_log.append(
        tx,
        AgentInvited(actor=SYSTEM, at=now, agent_id=agent_id, role=str(role), inbox_ids=seen),
        AgentJoined(actor=Actor("agent", agent_id), at=now, agent_id=agent_id),
    )
    return agent_id


async def link(tx: Transaction, provider: ProviderRow, subject: str, agent_id: int, *, now: datetime) -> None:
    """This account signs in this agent from now on. Raises Conflict when it is somebody else's, or they have one."""
    linked = await tx.run(
        "insert into agent_login (workspace_id, provider_id, subject, agent_id, linked_at) "
        "values (%(workspace)s, %(provider)s, %(subject)s, %(agent)s, %(now)s) on conflict do nothing",
        workspace=tx.workspace_id,
        provider=provider.id,
        subject=subject,
        agent=agent_id,
        now=now,
    )
    if linked:
        fact = LoginLinked(actor=Actor("agent", agent_id), at=now, agent_id=agent_id, provider_id=provider.id)
        await event_log.append(tx, fact)
        return
    owner = await tx.value(
        "select agent_id from agent_login where provider_id = %(provider)s and subject = %(subject)s",
        provider=provider.id,
        subject=subject,
    )
    if owner != agent_id:
        raise Conflict("This account belongs to somebody else already, or another one is linked here.")


async def unlink(tx: Transaction, provider_id: int, agent_id: int, *, by: Actor, now: datetime) -> None:
    """The agent does not sign in by it any more. Once more is nothing."""
    gone = await tx.run(
        "delete from agent_login where provider_id = %(provider)s and agent_id = %(agent)s",
        provider=provider_id,
        agent=agent_id,
    )
    if gone:
        await event_log.append(tx, LoginUnlinked(actor=by, at=now, agent_id=agent_id, provider_id=provider_id))


async def linked_providers(tx: Transaction, agent_id: int) -> Sequence[int]:
    """By which providers this agent signs in."""
    return await tx.values("select provider_id from agent_login where agent_id = %(id)s", id=agent_id)


# ------------------------------------------------------------------------------------------------------------- keys


async def check_open(tx: Transaction, vault: Vault) -> None:
    """Raises SealBroken when a secret of this workspace opens with none of the keys."""
    for provider in await providers(tx):
        await server_of(tx, vault, provider)


async def reseal(tx: Transaction, vault: Vault) -> None:
    """Seal all secrets of this workspace with the first key. Raises SealBroken."""
    for id_, sealed in await tx.rows("select id, secret from sign_in_provider where secret is not null for update"):
        if not vault.is_current(sealed):
            await tx.run(
                "update sign_in_provider set secret = %(secret)s where id = %(id)s",
                secret=vault.reseal(sealed, bound_to=_place(tx.workspace_id, id_)),
                id=id_,
            )
