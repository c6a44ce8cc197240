"""Who saved an article, in words."""

from __future__ import annotations

from collections.abc import Mapping

from zhiban.kit.i18n import Texts


def saver(
    actor_kind: str | None, actor_id: int | None, actor_ref: str | None, names: Mapping[int, str], texts: Texts
) -> str:
    """The agent's name, or by what way it came; empty where nobody wrote it down."""
    match actor_kind:
        case None:
            return ""
        case "agent":
            return names.get(actor_id or 0) or texts("同事{id}", id=actor_id)
        case "api":
            return f"{texts('接口')} {actor_ref}" if actor_ref else texts("接口")
        case _:
            return texts("命令行")
