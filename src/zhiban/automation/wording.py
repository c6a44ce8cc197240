"""Says a rule in words: the names behind its ids, and how lists are joined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field

from zhiban.conversations.action_files import ActionFile
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts, mark

STATUS_LABELS = {
    "pending": mark("助手接待"),
    "open": mark("进行中"),
    "snoozed": mark("搁置"),
    "resolved": mark("已解决"),
}
PRIORITY_LABELS = (mark("无"), mark("低"), mark("普通"), mark("高"), mark("紧急"))

CONTACT_FIELD_LABELS = {
    "phone": mark("电话"),
    "email": mark("邮箱"),
    "company": mark("公司"),
    "notes": mark("备忘"),
}


@frozen_dataclass
class Names:
    """What people call the rows that a rule names by id."""

    agents: Mapping[int, str] = field(default_factory=dict)
    teams: Mapping[int, str] = field(default_factory=dict)
    labels: Mapping[int, str] = field(default_factory=dict)
    inboxes: Mapping[int, str] = field(default_factory=dict)
    channels: Mapping[str, str] = field(default_factory=dict)
    macros: Mapping[int, str] = field(default_factory=dict)
    rules: Mapping[int, str] = field(default_factory=dict)
    files: Mapping[int, ActionFile] = field(default_factory=dict)  # that rules and macros send
    flows: Mapping[int, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)  # where a flow may keep an answer
    contact_fields: tuple[str, ...] | None = None  # what there is to ask of contacts; None: nobody has looked
    conversation_fields: tuple[str, ...] | None = None


@frozen_dataclass
class RuleWording:
    """The words for one reader."""

    texts: Texts
    names: Names = Names()

    def agents(self, ids: Iterable[int]) -> str:
        return self.either(self._called(self.names.agents, one) for one in ids)

    def teams(self, ids: Iterable[int]) -> str:
        return self.either(self._called(self.names.teams, one) for one in ids)

    def flow(self, id_: int) -> str:
        return self.quoted((self._called(self.names.flows, id_),))

    def labels(self, ids: Iterable[int], *, every: bool = False) -> str:
        called = [self._called(self.names.labels, one) for one in ids]
        return self.every(called) if every else self.either(called)

    def files(self, ids: Iterable[int]) -> str:
        called = {id_: one.filename for id_, one in self.names.files.items()}
        return self.every(self.texts("“{text}”", text=self._called(called, one)) for one in ids)

    def inboxes(self, ids: Iterable[int]) -> str:
        return self.either(self._called(self.names.inboxes, one) for one in ids)

    def channels(self, kinds: Iterable[str]) -> str:
        return self.either(self.texts(self.names.channels.get(one, one)) for one in kinds)

    def contact_field(self, name: str) -> str:
        """What a field of contacts is called here; one that is not there says so."""
        called = self.texts(CONTACT_FIELD_LABELS[name]) if name in CONTACT_FIELD_LABELS else name
        return self._there(called, name, self.names.contact_fields)

    def conversation_field(self, name: str) -> str:
        """What a field of conversations is called; one that is not there says so."""
        return self._there(name, name, self.names.conversation_fields)

    def _there(self, called: str, name: str, known: tuple[str, ...] | None) -> str:
        return called if known is None or name in known else self.texts("{name}（没有这一项）", name=called)

    def statuses(self, statuses: Iterable[str]) -> str:
        return self.either(self.texts(STATUS_LABELS[one]) for one in statuses)

    def priority(self, priority: int) -> str:
        return self.texts(PRIORITY_LABELS[priority])

    def span(self, minutes: float) -> str:
        """10分钟, 2小时, 3天: as people would say it."""
        for unit, name in ((60 * 24, mark("{n}天")), (60, mark("{n}小时"))):
            if minutes >= unit and minutes % unit == 0:
                return self.texts(name, n=f"{minutes / unit:g}")
        return self.texts("{n}分钟", n=f"{minutes:g}")

    def quoted(self, values: Iterable[str]) -> str:
        return self.either(self.texts("“{text}”", text=one) for one in values)

    def inside(self, text: str) -> str:
        """As it is written within a sentence: buttons and statuses begin with a capital letter in English."""
        return text[:1].lower() + text[1:] if self.texts.locale == "en" else text

    def either(self, parts: Iterable[str]) -> str:
        """A或B"""
        return self.texts("或").join(parts)

    def every(self, parts: Iterable[str]) -> str:
        """A和B"""
        return self.texts("和").join(parts)

    def _called(self, names: Mapping[int, str], id_: int) -> str:
        return names.get(id_) or self.texts("已删除的一项")


# What becomes of an entry of a file that is taken over.
OUTCOME_WORDS = {"added": mark("新建"), "changed": mark("更新"), "same": mark("不变"), "refused": mark("做不了")}
