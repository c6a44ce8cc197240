"""What facts are called in the audit log, and what of each is worth reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zhiban.automation.wording import Names
from zhiban.desk.labels import RETENTION_LABELS
from zhiban.kit.i18n import Texts, mark
from zhiban.people.models import ROLE_LABELS
from zhiban.people.tokens import SCOPE_LABELS

# By what they are about, in the order of the page. What nobody decided (messages, presence, deliveries) is not here:
# the conversation itself shows it.
AUDITED: dict[str, tuple[str, dict[str, str]]] = {
    "people": (
        mark("同事和登录"),
        {
            "signed_in": mark("登录了"),
            "sign_in_failed": mark("密码不对，没有登录"),
            "signed_out": mark("退出了登录"),
            "session_revoked": mark("被退出登录"),
            "password_changed": mark("换了密码"),
            "second_factor_enrolled": mark("启用两步验证"),
            "second_factor_removed": mark("去掉两步验证"),
            "second_factor_failed": mark("验证码不对，没有登录"),
            "recovery_code_used": mark("用恢复码登录"),
            "recovery_codes_created": mark("换了恢复码"),
            "second_factor_required": mark("改了是否要求两步验证"),
            "workspace_renamed": mark("改了组织的名字"),
            "sign_in_provider_added": mark("添加登录方式"),
            "sign_in_provider_changed": mark("修改登录方式"),
            "sign_in_provider_removed": mark("移除登录方式"),
            "login_linked": mark("绑定外部登录"),
            "login_unlinked": mark("解除外部登录"),
            "agent_invited": mark("添加了同事"),
            "join_link_created": mark("生成了设置密码的链接"),
            "agent_joined": mark("设置了密码，加入"),
            "agent_changed": mark("修改同事"),
            "notification_settings_changed": mark("改了怎样收到通知"),
            "agent_disabled": mark("停用同事"),
            "agent_enabled": mark("启用同事"),
            "team_created": mark("添加了小组"),
            "team_changed": mark("修改小组"),
            "team_removed": mark("移除小组"),
        },
    ),
    "inboxes": (
        mark("渠道和收件箱"),
        {
            "connection_added": mark("接入了渠道"),
            "connection_changed": mark("更换凭据或地址"),
            "connection_paused": mark("暂停连接"),
            "connection_resumed": mark("恢复连接"),
            "connection_removed": mark("移除连接"),
            "repository_aliased": mark("改了仓库的别名"),
            "repository_linked": mark("让群听仓库的消息"),
            "repository_unlinked": mark("不再让群听仓库的消息"),
            "connection_broke": mark("连接出了问题"),
            "connection_mended": mark("连接恢复"),
            "contact_reading_stopped": mark("读不到成员的好友"),
            "contact_reading_resumed": mark("又能读到成员的好友"),
            "gateway_changed": mark("网关的账号变了"),
            "gateway_gap_noted": mark("网关有一段时间没人听"),
            "accounts_assigned": mark("平台上的账号变了"),
            "inbox_added": mark("新的收件箱"),
            "inbox_configured": mark("修改收件箱"),
            "inbox_paused": mark("暂停收件箱"),
            "inbox_resumed": mark("恢复收件箱"),
            "inbox_broke": mark("收件箱出了问题"),
            "inbox_mended": mark("收件箱恢复"),
            "inbox_removed": mark("移除收件箱"),
            "api_token_created": mark("生成了令牌"),
            "api_token_revoked": mark("吊销令牌"),
            "notifier_tested": mark("发了测试通知"),
        },
    ),
    "work": (
        mark("规则和工具"),
        {
            "rule_added": mark("添加规则"),
            "rule_changed": mark("修改规则"),
            "rule_removed": mark("移除规则"),
            "macro_added": mark("添加宏"),
            "macro_changed": mark("修改宏"),
            "macro_removed": mark("移除宏"),
            "macro_applied": mark("执行了宏"),
            "flow_added": mark("添加流程"),
            "flow_changed": mark("修改流程"),
            "flow_removed": mark("移除流程"),
            "flow_started": mark("开始了流程"),
            "ticket_reminders_changed": mark("改了工单怎样提醒"),
            "label_added": mark("添加了标签"),
            "label_changed": mark("修改标签"),
            "label_removed": mark("移除标签"),
            "snippet_added": mark("添加了快捷回复"),
            "snippet_changed": mark("修改快捷回复"),
            "snippet_removed": mark("移除快捷回复"),
            "saved_view_added": mark("添加视图"),
            "saved_view_changed": mark("修改视图"),
            "saved_view_removed": mark("移除视图"),
            "contact_field_added": mark("添加资料项"),
            "contact_field_removed": mark("移除资料项"),
            "conversation_field_added": mark("添加会话资料项"),
            "conversation_field_removed": mark("移除会话资料项"),
        },
    ),
    "knowledge": (
        mark("知识"),
        {
            "knowledge_base_added": mark("新建知识库"),
            "article_changed": mark("写或修改文章"),
            "article_version_removed": mark("移除文章的旧版本"),
            "articles_removed": mark("移除文章"),
            "sources_imported": mark("导入文件"),
            "import_requested": mark("上传文件"),
            "import_decided": mark("决定了一次导入"),
            "synonyms_changed": mark("修改同义词"),
            "phrasing_added": mark("添加问法"),
            "phrasing_removed": mark("移除问法"),
            "reply_kept": mark("把回复加入知识库"),
            "phrasing_approved": mark("确认学到的问法"),
            "phrasing_rejected": mark("拒绝学到的问法"),
            "thresholds_moved": mark("调整了多有把握才直接回答"),
            "gap_closed": mark("处理了缺口"),
            "gap_reopened": mark("重新打开缺口"),
            "gap_merged": mark("合并缺口"),
        },
    ),
    "conversations": (
        mark("会话和联系人"),
        {
            "conversation_handed_off": mark("转了人工"),
            "conversation_assigned": mark("分配会话"),
            "conversation_team_assigned": mark("交给了小组"),
            "conversation_resolved": mark("解决了会话"),
            "conversation_resolution_undone": mark("撤销解决"),
            "conversation_reopened": mark("重新打开会话"),
            "conversation_returned": mark("交回了值班助手"),
            "conversation_snoozed": mark("搁置了会话"),
            "conversation_snooze_undone": mark("撤销搁置"),
            "conversation_labels_changed": mark("改会话的标签"),
            "conversation_priority_changed": mark("改会话的优先级"),
            "conversation_attributes_changed": mark("改会话的资料"),
            "conversation_muted": mark("屏蔽了对方"),
            "conversation_unmuted": mark("取消了屏蔽"),
            "group_configured": mark("修改了群设置"),
            "group_answers_silenced": mark("群里说不对，不再这样答"),
            "group_consent_changed": mark("改了群成员的意愿"),
            "contact_edited": mark("修改联系人"),
            "contact_labels_changed": mark("改联系人的标签"),
            "member_blocked": mark("屏蔽了群成员"),
            "member_unblocked": mark("取消屏蔽群成员"),
            "member_labels_changed": mark("改群成员的标签"),
            "contacts_merged": mark("合并联系人"),
        },
    ),
    "data": (
        mark("数据"),
        {
            "file_downloaded": mark("下载文件"),
            "file_published": mark("公开了文件"),
            "file_withdrawn": mark("撤下了公开的文件"),
            "data_exported": mark("导出了数据"),
            "retention_changed": mark("改了数据留多久"),
            "data_forgotten": mark("清理了到期的数据"),
            "clock_doubted": mark("时钟可疑，推迟了清理"),
        },
    ),
}
KINDS: dict[str, str] = {kind: label for _, kinds in AUDITED.values() for kind, label in kinds.items()}
USUAL = ("people", "inboxes", "work", "knowledge", "data")  # conversations are asked for

ACTORS = {
    "assistant": mark("值班助手"),
    "contact": mark("联系人"),
    "servicer": mark("平台客户端里的同事"),
    "rule": mark("规则"),
    "flow": mark("流程"),
    "api": mark("接口"),
    "timer": mark("定时"),
    "system": mark("系统"),
}
_FIELDS = {
    "name": mark("名字"),
    "role": mark("角色"),
    "scopes": mark("权限"),
    "closing": mark("结束语"),
    "welcome": mark("欢迎语"),
    "away": mark("下班以后的话"),
    "handoff": mark("什么时候转人工"),
    "hours": mark("工作时间"),
    "assignment": mark("分配"),
    "auto_resolve": mark("自动解决"),
    "zones": mark("把握的两条线"),
    "assistant": mark("助手回答"),
    "base_id": mark("知识库"),
    "members": mark("成员"),
    "text": mark("内容"),
    "actions": mark("动作"),
    "definition": mark("条件和动作"),
    "conditions": mark("条件"),
    "enabled": mark("启用"),
    "inbox_ids": mark("能看的收件箱"),
    "accounts": mark("平台账号"),
    "color": mark("颜色"),
    "why": mark("原因"),
    "reason": mark("原因"),
    "what": mark("导出了什么"),
    "rows": mark("条数"),
    "required": mark("要求每个人"),
    "changed": mark("改了"),
    "added": mark("加上"),
    "removed": mark("去掉"),
    "count": mark("条数"),
    "slug": mark("名字"),
    "pattern": mark("仓库"),
    "alias": mark("别名"),
    "vendor": mark("渠道"),
    "phrasing": mark("问法"),
    "priority": mark("优先级"),
    "previous": mark("以前"),
    "fields": mark("改了"),
    "until": mark("到"),
    "to": mark("发往"),
    "ways": mark("提醒方式"),
    "address": mark("不在工作台时怎样找到"),
    "waiting_minutes": mark("等多久算太久"),
    "answer_at": mark("按字面直接回答的把握"),
    "answer_at_with_vectors": mark("按意思直接回答的把握"),
    **{f"{name}_days": label for name, label in RETENTION_LABELS.items()},
    **{name: label for name, label in RETENTION_LABELS.items() if name != "deliveries"},
    "deliveries": mark("平台回调的原文"),
    "conversations": mark("会话"),
}
# Ids that are told by name.
_NAMED = {
    "agent_id": "agents",
    "team_id": "teams",
    "inbox_id": "inboxes",
    "to_agent_id": "agents",
    "to_team_id": "teams",
}
_LONGEST = 80  # characters of a value


def who(actor_kind: str, actor_id: int | None, actor_ref: str | None, names: Names, texts: Texts) -> str:
    """Who brought it about."""
    if actor_kind == "agent":
        return names.agents.get(actor_id or 0) or texts("同事{id}", id=actor_id)
    said = texts(ACTORS.get(actor_kind, actor_kind))
    called = {"rule": names.rules, "flow": names.flows}.get(actor_kind, {})
    if actor_id is not None and actor_id in called:
        return f"{said} {called[actor_id]}"
    return f"{said} {actor_ref}" if actor_ref and actor_kind in ("api", "servicer") else said


def about(data: Mapping[str, Any], columns: Mapping[str, int | None], names: Names, texts: Texts) -> str:
    """What it was about: names, and what changed from what to what."""
    parts = [
        called
        for key, value in (*columns.items(), *data.items())
        if key in _NAMED and isinstance(value, int) and (called := _name(names, _NAMED[key], value))
    ]
    before, after = data.get("before"), data.get("after")
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        parts += [
            _changed(key, before.get(key), after.get(key), texts)
            for key in sorted({**before, **after}, key=_rank)
            if (before.get(key) or None) != (after.get(key) or None)
        ]
    parts += [
        texts("{field}：{value}", field=texts(said), value=_value(key, _called(key, data[key], names), texts))
        for key, said in _FIELDS.items()
        if data.get(key) not in (None, "", [], {})
    ]
    return texts("；").join(dict.fromkeys(parts))


def _called(key: str, value: object, names: Names) -> object:
    """The value, inboxes and labels by what they are called; of what else is added and removed, there are no ids."""
    known = {"inbox_ids": names.inboxes, "added": names.labels, "removed": names.labels}.get(key)
    if known is None or not isinstance(value, list):
        return value
    return [known.get(id_, str(id_)) for id_ in value]


def _rank(key: str) -> tuple[int, str]:
    """The order of `_FIELDS`, and by name what is not among them."""
    return (list(_FIELDS).index(key) if key in _FIELDS else len(_FIELDS)), key


def _name(names: Names, kind: str, id_: int) -> str:
    called: Mapping[int, str] = getattr(names, kind)
    return called.get(id_, "")


def _changed(key: str, before: object, after: object, texts: Texts) -> str:
    field = texts(_FIELDS.get(key, key))
    if isinstance(before, Mapping | list) or isinstance(after, Mapping | list):
        inside = _inside(before, after, texts)
        return texts("{field}：{value}", field=field, value=inside) if inside else field
    return texts(
        "{field}：{before} → {after}", field=field, before=_value(key, before, texts), after=_value(key, after, texts)
    )


def _inside(before: object, after: object, texts: Texts) -> str:
    """Which parts of a larger value differ."""
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        return ""
    return texts("、").join(key for key in {**before, **after} if before.get(key) != after.get(key))


def _value(key: str, value: object, texts: Texts) -> str:
    if value is None and key.endswith("_days"):
        return texts("一直")
    if value is None or value == "":
        return texts("（空）")
    if isinstance(value, bool):
        return texts("是") if value else texts("否")
    if key == "role" and value in ROLE_LABELS:
        return texts(ROLE_LABELS[value])  # type: ignore[index]  # a role is a text
    if isinstance(value, list):
        return texts("、").join(_item(key, one, texts) for one in value)[:_LONGEST]
    if key in ("why", "reason"):
        return texts.error(str(value))[:_LONGEST]
    if isinstance(value, float):
        return f"{value:.2f}"
    said_whole = " ".join(str(value).split())
    return said_whole if len(said_whole) <= _LONGEST else said_whole[: _LONGEST - 1] + "…"


def _item(key: str, one: object, texts: Texts) -> str:
    if key == "changed" and isinstance(one, str) and one in _FIELDS:
        return texts(_FIELDS[one])
    return texts(SCOPE_LABELS[one]) if one in SCOPE_LABELS else str(one)  # type: ignore[index]  # a scope is a text
