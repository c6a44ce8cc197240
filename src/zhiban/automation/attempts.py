"""Does one action where a mistake of it must not undo what led to it: of a rule that fires, of a flow that ends."""

from __future__ import annotations

import logging
from typing import Any

import psycopg

from zhiban.automation.action_context import ActionContext
from zhiban.automation.actions import AnyAction
from zhiban.kit.errors import ZhibanError
from zhiban.kit.i18n import mark

log = logging.getLogger(__name__)


async def attempt(action: AnyAction, context: ActionContext) -> dict[str, Any]:
    """What came of it, as it is stored. What cannot be done leaves nothing behind. Raises only what the database must
    be asked again for."""
    told = {"action": action.stored()}
    try:
        async with context.tx.savepoint():
            return {**told, "outcome": await action.run(context)}
    except (psycopg.OperationalError, psycopg.InterfaceError):
        raise
    except psycopg.errors.ForeignKeyViolation:
        return {**told, "outcome": "failed", "error": mark("What this action names is not there any more.")}
    except ZhibanError as error:
        return {**told, "outcome": "failed", "error": error.sentence}
    except Exception:  # it must never undo what a person did
        log.exception("Action %s of %s failed.", action.kind, context.name)
        return {**told, "outcome": "failed", "error": mark("This action failed; the log says more.")}
