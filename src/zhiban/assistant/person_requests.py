"""Whether a contact asks for a person, or says that none is wanted.

The tables are data, tried on one clause each (see `clauses`). Wordings that only look like it are taken out first.
"""

from __future__ import annotations

import re

from zhiban.assistant.clauses import clauses, folded
from zhiban.kit.patterns import lazy_pattern

_PERSON = (
    r"(?:真人|活人|人工|人工客服|真人客服|客服人员|人工服务|人工坐席|人工座席|坐席|座席|工作人员|专员|客服专员"
    r"|客服小姐姐|客服妹子|接线员|前台人工|人工前台"
    r"|负责人|管事儿?的|能做主的|主事的|当家的|说了算的|主管|经理|领导|老板|店长|值班人员|管理员|在线客服|客服)"
)
_COUNT = r"(?:一?[个位名下]|你们?的?|你家的?|贵司的?)*"
_TALK = r"(?:聊|说|谈|沟通|讲|对话|联系|交流|唠)"
_LOOKS_AFTER = r"(?:帮|管|处理|回|理|解决|接|搭理|答)"

# How it is misspelt, in letters, in pinyin, and by the ear.
SPELLINGS = (
    (r"(?<![a-z])(?:zh?uan ?)(?:ren ?gong|rg)(?![a-z])|(?<![a-z])zrg(?![a-z])", "转人工"),
    (r"(?<![a-z])(?:r ?g ?)+(?![a-z])|(?<![a-z])(?:ren ?gong ?)+(?![a-z])", "人工"),
    (r"(?:转|转接)(?:人公|仁工|任工|入工|人弓|人功|人宫|人供|认工|仁公)", "转人工"),
    (r"(?:专|砖|传|赚|撰)(?:接)?人工(?=$|客服|服务|坐席|了|吧|啊)", "转人工"),
    (r"(?<![a-z])kf(?![a-z])|客府|客伏", "客服"),
    (r"(转人工|人工客服|人工服务|人工|真人|活人|客服)(?:\1)+", r"\1"),
)

ASKS = (
    r"转接?(?:到|给|去|至|一下|下)?" + _COUNT + r"(?:人工|真人|活人|客服|专员|坐席|座席|顾问|负责人|主管|经理"
    r"|人(?![员民口工]))",
    r"(?:找|换|叫|喊|请|联系|呼叫|接|接入|接通|召唤|需要|想要|我要|来|给我|派|安排|整|弄|揾)" + _COUNT + _PERSON,
    r"(?:和|跟|与|同)" + _COUNT + r"(?:前台的?|店里的?|售后的?)?(?:真人|活人|人工|客服|工作人员|经理|主管|负责人|同事"
    r"|前台|店员|售后|人)" + _COUNT + r"(?:直接)?" + _TALK,
    r"^(?:我?要)?" + _PERSON + r"(?:在吗|在不在|在线吗|呢|啊|来|服务|帮忙|处理|回复|快来|出来|在哪里?|谢谢)?$",
    r"^(?!.{0,3}(?:不|别|没|无|勿|甭|非|拒|是|纯|全|半|停|消|免)).{0,3}(?:人工|真人|活人)(?:客服|服务)?(?:啊|吧|呀|谢谢)?$",
    r"(?:有没有|有)(?:在线的?)?(?:人工|真人|活人|人工客服|真人客服|客服|工作人员)"
    r"(?:可以|能)?(?:问|聊|咨询|帮忙?|处理|接|说|回)?(?:一下|下|我)?(?:吗|么|在吗|在线吗|啊|呢|不)?$",
    r"(?:怎么|难道|为什么|咋|还|就)(?:还|都|就)*没有?(?:人工|真人|活人|客服)(?:来|理|回|接|处理|管)?(?:我|你)?"
    r"(?:啊|吗|呢|呀|的)?$",
    r"(?:不想|不要|别|不愿|讨厌|受够).{0,4}(?:机器人|智能客服|自动回复|ai)(?:聊|说|回复?|答|了|沟通|对话)?",
    r"(?:不想?|不要|不愿意?|别)(?:再)?(?:跟|和|同|对着)(?:你这?个?|一个)?(?:机器人?|ai|程序|软件|电脑)" + _TALK,
    r"(?:^|我|咱|俺)(?:真的?|就是?|一定|必须|今天|现在|只)*(?:要|想|得)(?:去|要)?投诉(?!.{0,8}(?:电话|流程|怎么"
    r"|如何|多久|哪))",
    r"^(?:投诉|投诉(?:你们?|你家|客服|你们公司))(?:了|!)*$",
    r"(?:让|叫|找|喊|派|来|换|出来|安排)(?:一?个|一?位|几个)?(?:大?活|真)?人(?:来|过来|出来|给我|回复?我|处理|跟我|和我|联系我"
    r"|接|说|讲|聊|" + _LOOKS_AFTER + r")",
    r"^(?:赶紧|快点?|麻烦|请|能不能|可不可以)?(?:给我)?(?:来|派|找|叫|喊|换|出来|上)(?:一?个|一?位)(?:大?活|真)?人"
    r"(?:啊|吧|呀|行|行吗|可以吗|好吗|不行吗|不)?$",
    r"(?:让|叫|请)(?:你们?的?|你家的?)?" + _PERSON + r"(?:的人)?(?:来|过来|出来|接|给|联系|回|跟|和|说|处理)",
    r"有没有人(?:能|可以|来|在)?" + _LOOKS_AFTER + r"|有人(?:能|可以|来)" + _LOOKS_AFTER
    + r"|没人(?:来)?(?:理|管|回复?|搭理)(?:我|一下)?(?:啊|吗|呢|的|了)?$",
    r"^(?:我|咱|俺)?(?:就|只|现在)*(?:要|想要|找)(?:真|活)?人(?:啊|来)?$",
    r"(?:转|接|进|走|开)?人工(?:台|通道|渠道|窗口)",
    r"(?:给我|帮我)(?:打|回)(?:个|一个)?电话|(?:打电话|回电)(?:给我|联系我)",
    r"\b(?:talk|speak|chat|connect me|transfer me|put me through|hand me over|escalate)(?: me)?(?: to| with)?"
    r"(?: an?| the| your| some)?(?: real| live| actual| human| customer)*"
    r" (?:human|person|people|agent|representative|rep|someone|somebody|operator|staff|manager|supervisor"
    r"|support|service)\b",
    r"\b(?:human|live|real|actual) (?:agent|person|being|support|representative|chat|operator|help|human)\b",
    r"\b(?:get|give|find|want|need) (?:me )?(?:an? |the |your )?(?:real |live |actual )*"
    r"(?:human|person|agent|representative|operator|manager|supervisor)\b",
    r"^(?:agent|human|operator|representative|manager|(?:customer|human|live) (?:service|support|care))"
    r"(?: please| pls| now| here)?$",
    r"\bany (?:real |live )?(?:humans?|person)\b|\bnot an? (?:bot|robot|machine)\b",
    r"\b(?:file|make|lodge|submit) a complaint\b|\bi (?:want|need|would like|'d like) to complain\b",
)  # fmt: skip

# Words that look like asking for a person and are about something else.
TRAPS = (
    r"人工智能",
    r"人工(?:成本|费|费用|降雨|授精|受精|草坪|草|耳蜗|审核|复核|湖|呼吸|关节|心脏|瓣膜|翻译|养殖|培育|合成|流产"
    r"|晶体|泪液|皮革|牙"
    r"|钻石|宝石|牛黄|安装|打包|搬运|检测|质检|录入|核实|工资|林|色素|甜味剂|添加)",
    r"真人(?:秀|照|出镜|版|拍|模特|实拍|发|试穿|cs|大小|头发|比例|同款|图|游戏|手办)",
    r"(?:人工|真人)?(?:客服|坐席)(?:系统|软件|机器人|培训|招聘|岗位|工资|外包|工作|上班|下班|时间|几点|电话"
    r"|热线|号码|中心在|二维码"
    r"|介绍|什么时候|在线时间|服务时间|的?工作时间|的?上班时间|的?电话)",
    r"(?:人工|真人)(?:服务)?(?:的)?(?:工作|上班|下班|在线|服务)?(?:时间|几点|什么时候|电话|热线)",
    r"(?:怎么|如何|怎样|咋)(?:才能)?联系(?:你们的?|商家的?|卖家的?)?客服$",
    r"(?:经理|主管|客服|店长|管理员|专员|老板)(?:端|版|权限|账号|帐号|后台|角色|号|证|助理|键盘|椅|岗)",
    r"转(?:人工)?(?:智能|账|帐|发|让|卖|运|正)",
    r"(?:the|an?) (?:human resources|personnel|travel agent|real estate agent)",
)

_NOT = (
    r"(?:不用|不需要?|不要|不必|无需|无须|别|甭|不想|没(?:有)?(?:说|让|叫|要求?)|暂时不|先不|不是|没必要|不"
    r"|用不着|拒绝|取消)"
    r"(?:再|给|帮|你|您|我|了|要|去|现在|马上|这么|急着|说|想|先|直接|随便|老是?|总是?|一直|动不动|就"
    r"|转|找|联系|接)*$"
)
_NOT_ENGLISH = r"\b(?:don't|do not|dont|no need|not|never|without|needn't)\b[a-z ']{0,30}$"
_BUT_WANTS = r"为什么|为何|怎么|咋|凭什么|还不|干嘛"
_A_NOT_A = lazy_pattern(r"(能|可以|可|要|会|是|行|需要|需|用|想|有|让|给)不(?:\1)")

# A whole clause that says: nobody is needed.
DECLINES = (
    r"(?:我|先|暂时|现在|那|就|都|也|还是|真的)*(?:不用|不需要?|不要|不必|无需|无须|别|甭|用不着|没必要|不想|取消)"
    r"(?:再|给|帮|你|您|我|了|要|去|现在|马上|先|直接|麻烦)*(?:转|找|接|叫|换|联系|转接)?(?:到|给|一下)?(?:一?[个位])?"
    + _PERSON
    + r"(?:了|啦|吧|来|的|谢谢|处理|帮忙|哈)*",
    r"(?:i )?(?:don't|do not|dont|no need|needn't|won't)(?: (?:want|need|for|to|talk|speak|have|with))* "
    r"(?:an? |the |your )?"
    r"(?:real |live )*(?:human|person|agent|representative)s?(?: please| thanks| now| yet)*",
)

ZERO = ("0", "零", "〇")


def asks_for_person(text: str, *, zero_offered: bool = False) -> bool:
    """Whether the contact wants a person. `zero_offered`: we have said that 0 leads to one."""
    if zero_offered and folded(text).strip() in ZERO:
        return True
    return any(_clause_asks(clause) for clause in clauses(text))


def without_request(clause: str) -> str:
    """What a clause (as `clauses` gives it) says beside the wish for a person: 怎么退款 in 怎么退款转人工."""
    left = _spelt(clause)
    for pattern in _ASK_PATTERNS:
        left = pattern.sub("", left)
    return left.strip()


def declines_person(clause: str) -> bool:
    """Whether a clause (as `clauses` gives it) says that no person is wanted, and nothing else."""
    clause = _spelt(clause)
    return any(pattern.fullmatch(clause) for pattern in _DECLINE_PATTERNS)


def _clause_asks(clause: str) -> bool:
    clause = _A_NOT_A.sub(r"\1", _spelt(clause))
    for trap in _TRAP_PATTERNS:
        clause = trap.sub("#", clause)
    return any(not _denied(clause[: match.start()]) for pattern in _ASK_PATTERNS for match in pattern.finditer(clause))


def _spelt(clause: str) -> str:
    for pattern, spelling in _SPELLING_PATTERNS:
        clause = pattern.sub(spelling, clause)
    return clause


def _denied(before: str) -> bool:
    if _NOT_ENGLISH_PATTERN.search(before):
        return True
    return bool(_NOT_PATTERN.search(before)) and not re.search(_BUT_WANTS, before)


_SPELLING_PATTERNS = [(lazy_pattern(pattern), spelling) for pattern, spelling in SPELLINGS]
_ASK_PATTERNS = [lazy_pattern(pattern) for pattern in ASKS]
_TRAP_PATTERNS = [lazy_pattern(pattern) for pattern in TRAPS]
_NOT_PATTERN = lazy_pattern(_NOT)
_NOT_ENGLISH_PATTERN = lazy_pattern(_NOT_ENGLISH)
_DECLINE_PATTERNS = [lazy_pattern(pattern) for pattern in DECLINES]
