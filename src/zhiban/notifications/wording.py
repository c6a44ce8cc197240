"""How a notification is said."""

from __future__ import annotations

from zhiban.kit.i18n import Texts
from zhiban.notifications.models import NotificationKind, NotificationRow


def title_of(told: NotificationRow, texts: Texts) -> str:
    """What happened, in one line."""
    contact = told.contact or texts("联系人")
    match NotificationKind(told.kind):
        case NotificationKind.ASSIGNED if told.who:
            return texts("{who}把{contact}的会话分给您", who=told.who, contact=contact)
        case NotificationKind.ASSIGNED:
            return texts("{contact}的会话分给您", contact=contact)
        case NotificationKind.MENTIONED:
            return texts("{who}在{contact}的备注里提到您", who=told.who or texts("同事"), contact=contact)
        case NotificationKind.WAITING | NotificationKind.UNASSIGNED as kind:
            mine = kind is NotificationKind.WAITING
            return (
                texts("{contact}等太久了", contact=contact)
                if mine
                else texts("{contact}在等，还没有人接", contact=contact)
            )
        case NotificationKind.FOLLOWED if told.actor_kind == "contact":
            return texts("您关注的{contact}又说话了", contact=contact)
        case NotificationKind.FOLLOWED if told.text:
            return texts("{who}在您关注的{contact}那里写了备注", who=told.who or texts("规则"), contact=contact)
        case NotificationKind.FOLLOWED:
            return texts("您关注的{contact}的会话解决了", contact=contact)
        case NotificationKind.RULE:
            return texts("{contact}：{rule}", contact=contact, rule=told.actor_ref or told.who or texts("规则"))
        case NotificationKind.TRACKER:
            return texts("一条议题和群之间来回太多，先停了一刻钟")
        case NotificationKind.TICKET:
            return _about_ticket(told, texts)
        case NotificationKind.CONNECTION:
            return _about_connection(told, texts)


def _about_ticket(told: NotificationRow, texts: Texts) -> str:
    who = told.who or told.actor_ref or texts("有人")
    match told.key.split("-")[1]:
        case "opened":
            return texts("有一张新工单")
        case "owner":
            return texts("{who}把一张工单交给您", who=who)
        case "comment":
            return texts("{who}在工单里说了话", who=who)
        case "late":
            return texts("工单超过期限了")
        case "due":
            return texts("工单快到期了")
        case "daily":
            return texts("您今天的工单")
        case _:
            return texts("这张工单还没有人回应")


def _about_connection(told: NotificationRow, texts: Texts) -> str:
    if told.conversation_id is not None:
        return texts("我们的账号不在{group}里了", group=told.contact or texts("一个群"))
    name, _ = _connection(told)
    if told.key.startswith("tracker-hooks"):
        return texts("{name}有变化，却没有通知我们", name=name)
    return texts("{name}断了", name=name)


def _connection(told: NotificationRow) -> tuple[str, str]:
    """What it is called, and what is wrong with it."""
    name, _, why = told.text.partition("\n")
    return name, why


def line_of(told: NotificationRow, texts: Texts) -> str:
    """What more there is to say: the words of a note or of a rule, what is wrong, the inbox otherwise."""
    if told.kind == NotificationKind.CONNECTION and told.conversation_id is not None:
        return texts("不再往那里发消息；有人再邀请这个账号就恢复。")
    if told.kind == NotificationKind.CONNECTION:
        return texts.error(_connection(told)[1]) or texts("现在没有消息进来。")
    if told.text:
        return " ".join(told.text.split())
    if told.kind == NotificationKind.ASSIGNED and told.actor_kind == "rule" and told.actor_ref:
        return texts("由规则“{name}”引起", name=told.actor_ref)
    return told.inbox
