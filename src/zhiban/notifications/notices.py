"""A word to our own people: where it goes, and what it says."""

from __future__ import annotations

from collections.abc import Sequence

from zhiban.kit.i18n import Texts
from zhiban.kit.text import cut_bytes
from zhiban.ports import Notice

_NAME_SIZE, _QUESTION_SIZE = 90, 900


def handoff_notice(
    texts: Texts,
    *,
    key: str,
    contact_name: str,
    question: str,
    reason: str,
    waiting_since: str,
    url: str | None,
    inbox: str = "",
    contact_id: str = "",
) -> Notice:
    """The notice that somebody waits, in the language of `texts`, as `waiting_since` and `reason` are.

    `contact_id` is the contact's id at the vendor, which tells those of one name apart.
    """
    name = _line(contact_name, _NAME_SIZE) or texts("联系人")
    lines: Sequence[tuple[str, str]] = (
        (texts("联系人"), name),
        (texts("编号"), _line(contact_id, _NAME_SIZE)),
        (texts("所在收件箱"), _line(inbox, _NAME_SIZE)),
        (texts("问题"), _line(question, _QUESTION_SIZE)),
        (texts("原因"), reason),
        (texts("时间"), waiting_since),
    )
    between = "：" if texts.locale == "zh" else ": "
    text = "\n".join(f"{label}{between}{value}" for label, value in lines if value)
    return Notice(key=key, title=texts("{name} 需要人工处理", name=name), text=text, url=url)


def rule_notice(*, rule: str, contact_name: str, text: str) -> tuple[str, str]:
    """Title and text of what a rule tells our people; what a contact is called must not look like lines of ours."""
    name = _line(contact_name, _NAME_SIZE) or "联系人"
    return f"{name}：{_line(rule, _NAME_SIZE)}", cut_bytes(text, _QUESTION_SIZE)


def _line(text: str, size: int) -> str:
    """One line without control characters: what a contact wrote must not look like lines of ours."""
    return cut_bytes(" ".join("".join(char if char.isprintable() else " " for char in text).split()), size)
