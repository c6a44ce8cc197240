"""What is kept of contacts: what all know (phone, e-mail, company, notes), and what an organisation adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from zhiban.events import Actor, ContactFieldAdded, ContactFieldRemoved
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.kit.text import clean
from zhiban.people.ownership import clean_name, in_turn

LONGEST, LONGEST_NOTES, LONGEST_NAME = 500, 5_000, 40
MOST, MOST_CHOICES = 50, 50
YES = "yes"
_MOST_DIGITS = 15  # before the point


class FieldKind(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    LIST = "list"
    CHECKBOX = "checkbox"


@frozen_dataclass
class ContactField:
    """One thing to fill in. Its value stands in `contact.attributes` under its name, as text."""

    name: str
    kind: FieldKind
    choices: tuple[str, ...] = ()
    id: int = 0
    long: bool = False

    def value(self, typed: str) -> str:
        """What is stored of what was typed, empty for nothing. Raises Conflict where it is no such value."""
        text = clean(typed).strip()
        if not text:
            return ""
        if len(text) > (LONGEST_NOTES if self.long else LONGEST):
            raise Conflict(mark(f"What stands under {self.name} is too long."))
        match self.kind:
            case FieldKind.NUMBER:
                number = _plain(text)
                return _refused(self.name, text) if number is None else number
            case FieldKind.DATE:
                try:
                    return date.fromisoformat(text).isoformat()
                except ValueError:
                    return _refused(self.name, text)
            case FieldKind.LIST:
                return text if text in self.choices else _refused(self.name, text)
            case FieldKind.CHECKBOX:
                return YES if text == YES else _refused(self.name, text)
            case FieldKind.TEXT:
                return text


def _plain(text: str) -> str | None:
    """A number as digits, every one that was typed but zeros that say nothing. None: no number, or one too long."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or number.adjusted() >= _MOST_DIGITS or exponent < -LONGEST:
        return None
    if not number:
        return "0"
    digits = f"{number:f}"
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _refused(name: str, text: str) -> str:
    raise Conflict(mark(f"{text} is no value for {name}."))


STANDARD = (
    ContactField("phone", FieldKind.TEXT),
    ContactField("email", FieldKind.TEXT),
    ContactField("company", FieldKind.TEXT),
    ContactField("notes", FieldKind.TEXT, long=True),
)
_TAKEN = frozenset(field.name for field in STANDARD)


@frozen_dataclass
class _FieldRow:
    id: int
    name: str
    kind: str
    choices: list[str]


async def names_borne(tx: Transaction) -> list[str]:
    """What vendors and people told of the 5,000 latest contacts, by name."""
    return await tx.values(
        "select distinct key from (select attributes from contact order by id desc limit 5000) latest, "
        "jsonb_object_keys(latest.attributes) key order by key"
    )


async def contact_fields(tx: Transaction) -> list[ContactField]:
    """What the organisation added, in the order in which it did."""
    rows = await tx.objects(
        _FieldRow, "select id, name, kind, choices from contact_field where removed_at is null order by id"
    )
    return [ContactField(row.name, FieldKind(row.kind), tuple(row.choices), row.id) for row in rows]


async def ticked(tx: Transaction, values: Mapping[str, object]) -> frozenset[str]:
    """Names whose value is a tick: of boxes, and of fields that are offered no more; "yes" elsewhere is a word."""
    names = {key for key, value in values.items() if value == YES}
    if not names:
        return frozenset()
    worded = {one.name for one in (*STANDARD, *await contact_fields(tx)) if one.kind is not FieldKind.CHECKBOX}
    return frozenset(names - worded)


def new_field(
    name: str, kind: str, choices: Sequence[str], *, known: Sequence[ContactField], taken: frozenset[str] = _TAKEN
) -> ContactField:
    """A field that may be added to those which are known. Raises Conflict where its name is taken, or no choices."""
    name = clean_name(name, longest=LONGEST_NAME)
    if kind not in set(FieldKind):
        raise Conflict(mark("Choose what kind of value it holds."))
    offered = list(dict.fromkeys(text for one in choices if (text := clean(one).strip())))
    if kind == FieldKind.LIST and not 1 <= len(offered) <= MOST_CHOICES:
        raise Conflict(mark(f"A list offers between 1 and {MOST_CHOICES} values, one in a line."))
    if any(len(one) > LONGEST for one in offered):
        raise Conflict(mark(f"What stands under {name} is too long."))
    if len(known) >= MOST:
        raise Conflict(mark(f"There are {MOST} of them already."))
    if name.lower() in {one.name.lower() for one in known} | taken:
        raise Conflict(mark(f"There is {name} already."))
    return ContactField(name, FieldKind(kind), tuple(offered) if kind == FieldKind.LIST else ())


async def add_contact_field(
    tx: Transaction, *, name: str, kind: str, choices: Sequence[str] = (), by: Actor, now: datetime
) -> int:
    """Raises Conflict where the name is taken or there is nothing to choose from."""
    await in_turn(tx, "contact fields")
    made = new_field(name, kind, choices, known=await contact_fields(tx))
    id_ = int(
        await tx.value(
            "insert into contact_field (workspace_id, name, kind, choices, created_at) "
            "values (%(workspace)s, %(name)s, %(kind)s, %(choices)s, %(now)s) returning id",
            workspace=tx.workspace_id,
            name=made.name,
            kind=made.kind,
            choices=list(made.choices),
            now=now,
        )
    )
    await event_log.append(tx, ContactFieldAdded(actor=by, at=now, field_id=id_, name=made.name, field_kind=kind))
    return id_


async def remove_contact_field(tx: Transaction, field_id: int, *, by: Actor, now: datetime) -> None:
    """It is no longer offered; what was filled in stays with the contacts. Raises NotFound."""
    removed = await tx.run(
        "update contact_field set removed_at = %(now)s where id = %(id)s and removed_at is null", id=field_id, now=now
    )
    if not removed:
        raise NotFound("There is no such field.")
    await event_log.append(tx, ContactFieldRemoved(actor=by, at=now, field_id=field_id))
