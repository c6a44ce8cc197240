"""What the desk calls things, in Chinese; each is translated where it is shown."""

from __future__ import annotations

from typing import Any

from zhiban.automation.wording import CONTACT_FIELD_LABELS, STATUS_LABELS
from zhiban.conversations.list_models import COUNTED
from zhiban.conversations.reasons import REASON_LABELS
from zhiban.conversations.transcript_words import KIND_LABELS
from zhiban.kit.i18n import mark
from zhiban.people.presence import AVAILABILITY_LABELS

QUEUE_LABELS = {
    "mine": mark("我的"),
    "unassigned": mark("未分配"),
    "assistant": mark("值班助手"),
    "all": mark("全部"),
    "groups": mark("群"),
    "teams": mark("我的小组"),
    "mentioned": mark("提到我的"),
}
GROUP_ANSWERS = {
    "never": mark("不回答"),
    "mentioned": mark("被@时回答"),
    "sure": mark("有把握就回答"),
}
GROUP_FILES = {
    "all": mark("所有成员"),
    "bound": mark("绑定了账号的成员和群管理"),
    "admins": mark("群主和管理员"),
    "nobody": mark("不可以"),
}
GROUP_PUBLISHES = {  # of the pictures and files of messages that become an issue
    "never": mark("不公开，只写名称和大小"),
    "pictures": mark("公开图片"),
    "all": mark("公开图片和文件"),
}
GROUP_SIGNATURES = {"real": mark("群里的名字"), "alias": mark("代号"), "anonymous": mark("匿名")}
GROUP_NEWS = {  # what a group hears of a repository
    "all": mark("都说"),
    "first": mark("每个议题只说一次"),
    "list": mark("每天早上一张表"),
    "none": mark("不说，只用来开工单"),
}
GROUP_ROLES = {"owner": mark("群主"), "admin": mark("管理员")}
SORT_LABELS = {"waiting": mark("等待最久"), "priority": mark("最紧急"), "newest": mark("最近")}
TAB_LABELS = {"open": mark("进行中"), "snoozed": mark("搁置"), "resolved": mark("已解决")}
# Who stands above a message without being a person of a name: only these words are translated.
WRITERS = frozenset(
    (mark("值班助手"), mark("同事"), mark("规则"), mark("接口"), mark("到点"), mark("收件箱的策略"), mark("系统"))
)
# By their numbers, the most urgent first, as menus offer them.
PRIORITY_LABELS = {4: mark("紧急"), 3: mark("高"), 2: mark("普通"), 1: mark("低"), 0: mark("没有优先级")}
PRIORITY_TONES = {4: "urgent", 3: "high", 2: "normal", 1: "low"}
GAP_ORIGINS = {
    "no_answer": mark("没有答案"),
    "menu": mark("列了相近问题，没有选"),
    "asked": mark("问完要了人工"),
    "complaint": mark("说回答没有帮到"),
}
GAP_STATES = {
    "open": mark("待处理"),
    "answered": mark("已收进常见问题"),
    "dismissed": mark("已忽略"),
    "merged": mark("已并入其他缺口"),
}
SAVED_FROM = {
    "editor": mark("写下"),
    "import": mark("导入"),
    "gap": mark("回答缺口"),
    "reply": mark("来自会话里的回复"),
    "restored": mark("恢复旧版"),
}
EVIDENCE_LABELS = {
    "tap": mark("点选"),
    "helpful": mark("说有用"),
    "unhelpful": mark("说没用"),
    "adopted": mark("采用建议"),
    "confirmed": mark("确认答案"),
}
KIND_ICONS = {
    "image": "photo",
    "voice": "voice",
    "video": "video",
    "file": "file",
    "location": "pin",
    "link": "link",
    "card": "user",
    "miniprogram": "app",
    "product": "product",
    "order": "order",
    "merged": "messages",
    "other": "message",
}
ACTIVITY_LABELS = {
    "handed_off": (mark("{who}转交人工{why}"), "sparkle"),
    "opened": (mark("{who}重新打开了会话{why}"), "refresh"),
    "resolved": (mark("{who}解决了会话{why}"), "check"),
    "resolved_unsaid": (mark("{who}解决了会话{why}。没有告诉对方：{unsaid}"), "check"),
    "resolution_undone": (mark("{who}撤销了解决"), "refresh"),
    "snooze_undone": (mark("{who}撤销了搁置"), "refresh"),
    "returned": (mark("{who}交回值班助手"), "sparkle"),
    "snoozed": (mark("{who}搁置到{until}"), "snooze"),
    "taken": (mark("{who}开始处理"), "user"),
    "assigned": (mark("{who}分配给{whom}{why}"), "user-plus"),
    "unassigned": (mark("{who}取消了分配{why}"), "user-off"),
    "team_assigned": (mark("{who}交给小组{whom}"), "users"),
    "team_unassigned": (mark("{who}取消了小组"), "users"),
    "labels_changed": (mark("{who}修改了标签：{labels}"), "tag"),
    "labels_added": (mark("{who}加上标签{labels}"), "tag"),
    "labels_removed": (mark("{who}去掉标签{labels}"), "tag"),
    "contact_labels_changed": (mark("{who}修改了联系人的标签：{labels}"), "tag"),
    "contact_labels_added": (mark("{who}给联系人加上标签{labels}"), "tag"),
    "contact_labels_removed": (mark("{who}去掉联系人的标签{labels}"), "tag"),
    "priority_0": (mark("{who}去掉了优先级"), "flag"),
    "priority_1": (mark("{who}把优先级改为低"), "flag"),
    "priority_2": (mark("{who}把优先级改为普通"), "flag"),
    "priority_3": (mark("{who}把优先级改为高"), "flag"),
    "priority_4": (mark("{who}把优先级改为紧急"), "flag"),
    "attributes_changed": (mark("{who}改了会话资料：{labels}"), "edit"),
    "macro_applied": (mark("{who}执行了宏{whom}"), "bolt"),
    "flow_started": (mark("{who}开始了流程{whom}"), "messages"),
    "flow_finished": (mark("{who}问完了"), "check"),
    "flow_asked": (mark("{who}停下了：对方要求人工"), "messages"),
    "flow_cancelled": (mark("{who}停下了：对方不想继续"), "messages"),
    "flow_failed": (mark("{who}停下了：没有得到能用的回答"), "messages"),
    "flow_silent": (mark("{who}停下了：对方很久没有回复"), "messages"),
    "flow_removed": (mark("{who}停下了：流程已移除"), "messages"),
    "flow_interrupted": (mark("流程中断了"), "messages"),
    "followed": (mark("{who}让{labels}关注会话"), "user-plus"),
    "followed_self": (mark("{who}开始关注"), "user-plus"),
    "unfollowed": (mark("{who}取消了{labels}的关注"), "user-off"),
    "unfollowed_self": (mark("{who}不再关注"), "user-off"),
    "rated": (mark("{who}给了{whom}{why}"), "heart"),
    "rated_again": (mark("{who}把评价改为{whom}{why}"), "heart"),
    "contact_merged": (mark("{who}把联系人合并了"), "users"),
    "group_renamed": (mark("群名改为{whom}"), "edit"),
    "members_joined": (mark("{whom}进了群"), "user-plus"),
    "members_left": (mark("{whom}离开了群"), "user-off"),
    "we_joined": (mark("我们的账号进了群"), "user-plus"),
    "we_left": (mark("我们的账号不在群里了"), "user-off"),
    "muted": (mark("{who}屏蔽了对方"), "user-off"),
    "unmuted": (mark("{who}取消了屏蔽"), "user"),
}
FLOW_OUTCOMES = {
    "finished": mark("问完了"),
    "asked": mark("对方要求人工"),
    "cancelled": mark("对方不想继续"),
    "failed": mark("没有得到能用的回答"),
    "silent": mark("对方很久没有回复"),
    "removed": mark("流程已移除"),
    "interrupted": mark("被中断"),
}
ASSIGNMENT_WAYS = {
    "off": mark("同事自己来接"),
    "balanced": mark("给在线且手上最少的"),
    "round_robin": mark("在线的同事轮流"),
}
ASSIGNMENT_ORDERS = {"longest_waiting": mark("先分等得最久的"), "oldest": mark("先分最早建立的")}
ASSIGNMENT_FIELDS = {
    "by": mark("怎样分"),
    "first": mark("先后"),
    "team": mark("只分给小组"),
    "most": mark("每人最多"),
    "most_here": mark("每人在这里最多"),
    "fair_limit": mark("一段时间里每人最多分到"),
    "fair_minutes": mark("这段时间有多长"),
    "weight": mark("一个会话算几个"),
    "except_labels": mark("有这些标签的不自动分"),
    "offline_minutes": mark("离线多久改分"),
}
FIELD_KIND_LABELS = {
    "text": mark("文字"),
    "number": mark("数字"),
    "date": mark("日期"),
    "list": mark("从几项里选"),
    "checkbox": mark("是或否"),
}
FAILURE_LABELS = {
    "window_closed": mark("对方超过48小时没有说话，不能再回复"),
    "allowance_used": mark("对方这次发言后的条数已用完"),
    "human_active": mark("会话正由同事在平台自己的客户端里接待"),
    "in_pool": mark("会话在平台的待接入池里，由接入的同事在那里回复"),
    "session_ended": mark("会话在平台上已结束，等对方再说话才能回复"),
    "move_refused": mark("平台不让会话转到那里"),
    "blocked": mark("对方拒收，或平台拦下了这条"),
    "refused_by_contact": mark("对方拒收"),
    "unknown_contact": mark("平台找不到这位联系人"),
    "not_in_group": mark("我们的账号不在这个群里"),
    "misconfigured": mark("账号设置有误，请到运行页查看"),
    "bad_message": mark("平台不接受这样的内容"),
    "read_only": mark("设为只读，只收不发"),
    "paused": mark("收件箱暂停着"),
    "code_expired": mark("回复时限已过"),
    "account_deleted": mark("平台上的这个账号已被删除"),
    "app_closed": mark("平台上的应用已停用"),
    "corp_not_verified": mark("企业还没有通过平台的认证"),
    "nobody_logged_in": mark("企业还没有成员登录过平台的客户端"),
    "kind_forbidden": mark("平台不允许发这类消息"),
    "security_restriction": mark("平台的安全限制拦下了这条"),
    "unknown": mark("平台没有说明原因"),
}


def stars(rating: object) -> str:
    """★★★★☆; nothing for what is no rating."""
    return "★" * rating + "☆" * (5 - rating) if isinstance(rating, int) else ""


# Under these names the templates find them.
WORDS: dict[str, Any] = {
    "queue_words": QUEUE_LABELS,
    "group_answers": GROUP_ANSWERS,
    "group_files": GROUP_FILES,
    "group_signatures": GROUP_SIGNATURES,
    "group_publishes": GROUP_PUBLISHES,
    "group_roles": GROUP_ROLES,
    "group_news": GROUP_NEWS,
    "shelf_words": TAB_LABELS,
    "writers": WRITERS,
    "sort_words": SORT_LABELS,
    "status_words": STATUS_LABELS,
    "availability_words": AVAILABILITY_LABELS,
    "priority_words": PRIORITY_LABELS,
    "most_counted": COUNTED,
    "priority_tones": PRIORITY_TONES,
    "kind_words": KIND_LABELS,
    "kind_icons": KIND_ICONS,
    "failure_words": FAILURE_LABELS,
    "reason_words": REASON_LABELS,
    "field_words": CONTACT_FIELD_LABELS,
    "stars": stars,
}

# How long what is kept, in the order of the page.
RETENTION_LABELS = {
    "messages": mark("消息、备注和文件"),
    "turns": mark("助手的思路"),
    "rule_runs": mark("规则的运行记录"),
    "tickets": mark("工单里的原话和评论"),
    "events": mark("操作记录和事实"),
    "deliveries": mark("平台回调的原文，处理好以后"),
    "failed_deliveries": mark("没能处理的回调原文"),
}
RETENTION_HINTS = {
    "messages": mark(
        "最近一轮从解决那天算起，以前各轮和群里的按消息自己的日子，没解决的这一轮都留着；搜索、旧草稿、助手的思路、提醒和事实里的原话跟着删，别的消息还用着的文件留着。"
    ),
    "turns": mark("助手每一次怎么想、出处在哪；回答本身留着。"),
    "rule_runs": mark("规则每次看到什么、做了什么。"),
    "tickets": mark("从完成或取消那天算起；编号、标题、负责人、日期和议题留着，没做完的都留着。"),
    "events": mark("谁做了什么；还没解决的会话、没办完的工单的留着，报表的数字不变。"),
    "deliveries": mark("平台会重发三天以内的。"),
    "failed_deliveries": mark("在“运行”页还能再试的。"),
}
