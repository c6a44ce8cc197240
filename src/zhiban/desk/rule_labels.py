"""What the editor of rules calls conditions, actions, their fields and choices."""

from __future__ import annotations

from collections.abc import Mapping

from zhiban.automation.condition_fields import AUTHORS, LANGUAGES, MESSAGE_KINDS
from zhiban.automation.delays import SKIPPED_LABELS
from zhiban.automation.wording import STATUS_LABELS
from zhiban.kit.i18n import mark
from zhiban.people.presence import AVAILABILITY_LABELS

CONDITION_LABELS: Mapping[str, str] = {
    "status": mark("会话状态"),
    "assignee": mark("处理人"),
    "team": mark("小组"),
    "label": mark("标签"),
    "priority": mark("优先级"),
    "waiting": mark("等待分钟数"),
    "returning": mark("是否再次来访"),
    "inbox": mark("收件箱"),
    "channel": mark("渠道"),
    "business_hours": mark("营业时间"),
    "attribute": mark("会话资料"),
    "message_text": mark("消息的内容"),
    "message_kind": mark("消息的类型"),
    "message_direction": mark("消息的方向"),
    "message_author": mark("发消息的人"),
    "message_language": mark("消息的语言"),
    "message_sentiment": mark("对方的语气"),
    "contact_name": mark("联系人的名字"),
    "contact_attribute": mark("联系人的属性"),
    "contact_label": mark("联系人的标签"),
    "assignee_availability": mark("处理人的状态"),
    "previous_assignee_availability": mark("上一位处理人的状态"),
    "assignee_open_count": mark("处理人手上的会话数"),
    "agents_online": mark("在线的同事人数"),
    "status_changed": mark("状态刚刚变了"),
    "assignee_changed": mark("处理人刚刚变了"),
    "team_changed": mark("小组刚刚变了"),
    "label_changed": mark("标签刚刚变了"),
    "priority_changed": mark("优先级刚刚变了"),
    "contact_label_changed": mark("联系人的标签刚刚变了"),
}
ACTION_LABELS: Mapping[str, str] = {
    "assign_best": mark("分配给最合适的在线同事"),
    "assign_last_agent": mark("分配给上一位处理人"),
    "assign_agent": mark("分配给某位同事"),
    "unassign": mark("取消分配"),
    "assign_team": mark("交给小组"),
    "remove_team": mark("取消小组"),
    "add_labels": mark("加上标签"),
    "remove_labels": mark("去掉标签"),
    "add_contact_labels": mark("给联系人加上标签"),
    "remove_contact_labels": mark("去掉联系人的标签"),
    "set_priority": mark("设置优先级"),
    "set_attribute": mark("填会话资料"),
    "set_status": mark("改状态"),
    "snooze": mark("搁置"),
    "mute": mark("屏蔽对方"),
    "hand_off": mark("转交"),
    "send_message": mark("发消息"),
    "send_attachment": mark("发附件"),
    "add_note": mark("写备注"),
    "notify": mark("通知同事"),
    "notify_agents": mark("提醒某些同事"),
    "add_followers": mark("让同事关注"),
    "mail_transcript": mark("用邮件发会话记录"),
    "open_ticket": mark("开工单"),
    "start_flow": mark("开始流程"),
    "call_webhook": mark("调用另一个程序"),
    "stop": mark("不再看后面的规则"),
}
VIEW_CONDITION_LABELS: Mapping[str, str] = {
    "assigned_to_me": mark("由我处理"),
    **{
        kind: CONDITION_LABELS[kind]
        for kind in (
            "assignee",
            "team",
            "label",
            "contact_label",
            "priority",
            "waiting",
            "returning",
            "inbox",
            "channel",
            "attribute",
            "contact_name",
            "contact_attribute",
        )
    },
}
MACRO_ACTION_LABELS: Mapping[str, str] = {
    "assign_me": mark("分配给自己"),
    **{kind: label for kind, label in ACTION_LABELS.items() if kind not in ("stop", "call_webhook")},
}
FLOW_ACTION_LABELS: Mapping[str, str] = {
    kind: label for kind, label in ACTION_LABELS.items() if kind not in ("stop", "call_webhook", "start_flow")
}
STEP_LABELS: Mapping[str, str] = {
    "text": mark("文字"),
    "choice": mark("选一个"),
    "number": mark("数字"),
    "phone": mark("电话"),
    "email": mark("邮箱"),
    "date": mark("日期"),
    "code": mark("编号"),
    "file": mark("图片或文件"),
}
OPERATOR_NAMES: Mapping[str, str] = {
    "any_of": mark("是这些"),
    "none_of": mark("不是这些"),
    "present": mark("有"),
    "not_present": mark("没有"),
    "equal": mark("等于"),
    "not_equal": mark("不等于"),
    "contains": mark("包含"),
    "not_contains": mark("不包含"),
    "starts_with": mark("开头是"),
    "matches": mark("符合模式"),
    "greater": mark("大于"),
    "less": mark("小于"),
    "at_least": mark("不低于"),
    "at_most": mark("不高于"),
    "days_before": mark("早于几天前"),
}
# The choices of a field, by its name, or by kind and name where several kinds mean different things by it.
CHOICE_LABELS: Mapping[str, Mapping[str, str]] = {
    "operator": OPERATOR_NAMES,
    "statuses": STATUS_LABELS,
    "past": STATUS_LABELS,
    "status_changed.to": STATUS_LABELS,
    "status": STATUS_LABELS,
    "kinds": MESSAGE_KINDS,
    "authors": AUTHORS,
    "languages": LANGUAGES,
    "availabilities": AVAILABILITY_LABELS,
    "message_direction.direction": {"in": mark("对方发来的"), "out": mark("我们发出的"), "note": mark("备注")},
    "sentiment": {"negative": mark("情绪不好"), "urgent": mark("很急")},
    "assignee_changed.to": {"anybody": mark("变为"), "nobody": mark("被取消")},
    "team_changed.to": {"any": mark("变为"), "none": mark("被取消")},
    "change": {"added": mark("加上了"), "removed": mark("去掉了")},
    "priority_changed.direction": {"any": mark("变为"), "up": mark("升高"), "down": mark("降低")},
    "notify_agents.to": {
        "assignee": mark("处理人"),
        "team": mark("会话的小组"),
        "agents": mark("这些同事"),
        "teams": mark("这些小组"),
    },
    "mail_transcript.to": {"contact": mark("联系人的邮箱"), "address": mark("这个邮箱")},
    "open_ticket.owner": {"nobody": mark("没有人负责"), "assignee": mark("处理人负责")},
    "open_ticket.issue": {"none": mark("只在这里"), "linked": mark("建到群绑定的仓库")},
    "hand_off.to": {"people": mark("人工"), "assistant": mark("值班助手")},
    "inside": {"true": mark("在营业时间内"), "false": mark("不在营业时间")},
    "returning": {"true": mark("再次来访"), "false": mark("第一次来访")},
    "at_least": {"false": mark("设为"), "true": mark("至少提到")},
    "optional": {"false": mark("要回答"), "true": mark("可以跳过")},
}
FIELD_LABELS: Mapping[str, str] = {
    "operator": mark("怎样比较"),
    "values": mark("用逗号隔开几个"),
    "name": mark("资料项"),
    "minutes": mark("分钟"),
    "count": mark("个数"),
    "text": mark("内容"),
    "files": mark("附件"),
    "address": mark("邮箱"),
    "title": mark("标题，空着就从消息里取"),
    "messages": mark("最近几条消息"),
    "days": mark("期限几天，0是不定"),
    "url": mark("地址，例如https://example.com/hook"),
    "past": mark("原来是"),
    "to": mark("变为"),
    "question": mark("问对方什么"),
    "options": mark("选项，用逗号隔开"),
    "pattern": mark(r"编号的样子，例如DD\d{8}"),
    "example": mark("给对方看的例子"),
    "optional": mark("要不要回答"),
    "save": mark("答案记到哪里"),
    "retry": mark("答得不对时说什么，可以空着"),
    **dict.fromkeys((f"{kind}.name" for kind in STEP_LABELS), mark("答案叫什么，例如订单号")),
}
TIME_LABELS: Mapping[str, str] = {
    "": mark("不看时间"),
    "no_reply_from_us": mark("我们没有回复超过"),
    "no_reply_from_contact": mark("对方没有回复超过"),
    "status": mark("状态持续超过"),
    "assignee_offline": mark("对方在等，处理人离线超过"),
    "agent_available": mark("对方在等，有同事上线满"),
}
OUTCOME_LABELS: Mapping[str, str] = {
    "acted": mark("已执行"),
    "failed": mark("没有全部做到"),
    "cut": mark("被切断"),
    "skipped": mark("跳过了"),
}
REASON_LABELS_OF_RUNS: Mapping[str, str] = {
    "too_deep": mark("规则引起规则，已到第五层"),
    "loop": mark("又绕回了这条规则"),
    **SKIPPED_LABELS,
}
ACTION_OUTCOMES: Mapping[str, str] = {
    "unchanged": mark("本来就是这样"),
    "queued": mark("已交付发送"),
    "nobody": mark("没有合适的同事在线，留着等"),
    "waiting": mark("对方没有接受，会再试"),
    "delivered": mark("对方已接受"),
    "unknown": mark("不知道对方收下没有"),
}
