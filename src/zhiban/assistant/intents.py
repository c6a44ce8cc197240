"""What a contact is after besides knowledge: a person, a word of politeness, or to say that we did not help.

The tables are data; the few functions below them only apply them. Every pattern is tried on one clause, in half-width
simplified lower case without spaces (English keeps its spaces).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

# --------------------------------------------------------------------------------------- asking for a person

_PERSON = (
    r"(?:真人|活人|人工|人工客服|真人客服|客服人员|人工服务|人工坐席|人工座席|坐席|座席|工作人员|专员|客服专员"
    r"|客服小姐姐"
    r"|负责人|主管|经理|领导|老板|店长|值班人员|管理员|在线客服|客服)"
)
_COUNT = r"(?:一?[个位名下]|你们?的?|你家的?|贵司的?)*"

ASKS = (
    r"转接?(?:到|给|去|至)?" + _COUNT + r"(?:人工|真人|活人|客服|专员|坐席|座席|顾问|负责人|主管|经理"
    r"|人(?![员民口工]))",
    r"(?:找|换|叫|喊|请|联系|呼叫|接|接入|接通|召唤|需要|想要|我要|来|给我)" + _COUNT + _PERSON,
    r"(?:和|跟|与|同)" + _COUNT + r"(?:真人|活人|人工|客服|工作人员|经理|主管|负责人|人)" + _COUNT
    + r"(?:直接)?(?:聊|说|谈|沟通|讲|对话|联系|交流)",
    r"^(?:我?要)?" + _PERSON + r"(?:在吗|在不在|在线吗|呢|啊|来|服务|帮忙|处理|回复|快来|出来|在哪里?|谢谢)?$",
    r"(?:有没有|有)(?:人工|真人|活人|人工客服|真人客服|客服|工作人员)(?:吗|么|在吗|在线吗|啊|呢|不)?$",
    r"(?:不想|不要|别|不愿|讨厌|受够).{0,4}(?:机器人|智能客服|自动回复|ai)(?:聊|说|回复?|答|了|沟通|对话)?",
    r"(?:^|我|咱|俺)(?:真的?|就是?|一定|必须|今天|现在|只)*(?:要|想|得)(?:去|要)?投诉(?!.{0,8}(?:电话|流程|怎么"
    r"|如何|多久|哪))",
    r"^(?:投诉|投诉(?:你们?|你家|客服|你们公司))(?:了|!)*$",
    r"(?:让|叫|找|喊)(?:一?个)?(?:真)?人(?:来|过来|出来|给我|回复?我|处理|跟我|和我|联系我|接)",
    r"(?:给我|帮我)(?:打|回)(?:个|一个)?电话|(?:打电话|回电)(?:给我|联系我)",
    r"\b(?:talk|speak|chat|connect me|transfer me|put me through|hand me over|escalate)(?: me)?(?: to| with)?"
    r"(?: an?| the| your| some)?(?: real| live| actual| human| customer)*"
    r" (?:human|person|people|agent|representative|rep|someone|somebody|operator|staff|manager|supervisor"
    r"|support|service)\b",
    r"\b(?:human|live|real) (?:agent|person|being|support|representative|chat|operator|help)\b",
    r"\b(?:get|give|find|want|need) (?:me )?(?:an?|the|your) (?:real |live |actual )*"
    r"(?:human|person|agent|representative|operator|manager|supervisor)\b",
    r"^(?:agent|human|operator|representative|manager)(?: please| pls)?$",
    r"\b(?:file|make|lodge|submit) a complaint\b|\bi (?:want|need|would like|'d like) to complain\b",
)  # fmt: skip

# Words that look like asking for a person and are about something else.
TRAPS = (
    r"人工智能",
    r"人工(?:成本|费|费用|降雨|授精|受精|草坪|草|耳蜗|审核|复核|湖|呼吸|关节|心脏|瓣膜|翻译|养殖|培育|合成|流产"
    r"|晶体|泪液|皮革"
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
_A_NOT_A = re.compile(r"(能|可以|可|要|会|是|行|需要|需|用|想|有|让|给)不(?:\1)")

ZERO = ("0", "零", "〇")


def asks_for_person(text: str, *, zero_offered: bool = False) -> bool:
    """Whether the contact wants a person. `zero_offered`: we have said that 0 leads to one."""
    if zero_offered and _folded(text).strip() in ZERO:
        return True
    return any(_clause_asks(clause) for clause in clauses(text))


def _clause_asks(clause: str) -> bool:
    clause = _A_NOT_A.sub(r"\1", clause)
    for trap in _TRAP_PATTERNS:
        clause = trap.sub("#", clause)
    return any(not _denied(clause[: match.start()]) for pattern in _ASK_PATTERNS for match in pattern.finditer(clause))


def _denied(before: str) -> bool:
    if _NOT_ENGLISH_PATTERN.search(before):
        return True
    return bool(_NOT_PATTERN.search(before)) and not re.search(_BUT_WANTS, before)


# ------------------------------------------------------------------------------------------------ small talk


class SmallTalkKind(StrEnum):
    """What a message is when it asks nothing. In the order in which one wins over another."""

    WHO = "who"
    GREETING = "greeting"
    PRESENCE = "presence"
    THANKS = "thanks"
    GOODBYE = "goodbye"
    PRAISE = "praise"
    NUDGE = "nudge"  # only question marks or dots
    ACKNOWLEDGED = "acknowledged"


_TAIL = r"(?:[啊呀哦噢呢啦吧哈嘛么哟喔了的~]|一下|亲)*"

TALK: dict[SmallTalkKind, str] = {
    SmallTalkKind.WHO: (
        r"(?:请问)?(?:你|您)(?:是|叫)(?:谁|什么(?:名字)?|哪位)|(?:你|您)?(?:是不是|是)(?:机器人|真人|人工"
        r"|智能客服|人|ai|活人|人工智能)"
        r"(?:吗|么|还是(?:真人|人工|机器人|人))?(?:回复)?|who are you|are you (?:a )?(?:bot|robot|human"
        r"|real person|real|an ai)"
    ),
    SmallTalkKind.GREETING: (
        r"(?:你|您|大家|你们|亲)好|(?:哈喽|哈啰|嗨|嘿|hi|hello|hey|hallo|yo)+(?: there)?|(?:早上|上午|中午|下午"
        r"|晚上|早)好"
        r"|早安?|午安|good (?:morning|afternoon|evening|day)|(?:客服|亲)(?:你|您)?好|哈罗|您好呀?|新年好|新年快乐"
    ),
    SmallTalkKind.PRESENCE: (
        r"(?:你|您|亲|老板|店家|客服|有人|人|请问)?(?:还)?在(?:吗|么|不在|不|嘛|线吗|没|线)?"
        r"|(?:请问)?有人(?:在)?(?:吗|么|嘛|没)?|在不在"
        r"|喂+|人呢|(?:is )?(?:anyone|anybody) (?:there|here)|are you there|打扰(?:一下)?|请问(?:一下)?"
        r"|咨询(?:一下)?|问(?:一下|个事)"
    ),
    SmallTalkKind.THANKS: (
        r"(?:好的?|嗯+|哦|ok)?(?:非常|太|十分|多|真是?|万分|真的)*(?:感谢|谢|谢啦|多谢|感恩)+(?:您|你"
        r"|你们|亲|客服|老板|帮助|了|您的帮助|你的帮助)*"
        r"|辛苦(?:了|您|你|你们)*|麻烦(?:了|您了|你了)|(?:ok |okay |great |many |no )?(?:thanks?|thx|tks|ty|cheers)"
        r"(?: you| a lot| so much| very much| again)*|3q|thank ?you|much appreciated|费心了|谢谢你的?回答"
        r"|谢谢您的?回复"
    ),
    SmallTalkKind.GOODBYE: (
        r"再见|拜拜?|886?|bye(?: ?bye)?|good ?bye|see (?:you|ya)(?: later)?|晚安|good night|回见|回头见"
        r"|下次再?(?:聊|说|见|来)"
        r"|先这样|就这样|没(?:有)?(?:事|问题|别的)了?|没有?其他(?:问题|事)了?|不用了|挂了|不打扰了|that's all"
        r"|no more questions"
    ),
    SmallTalkKind.PRAISE: (
        r"(?:真|太|很|好|挺|非常)?(?:棒|厉害|赞|给力|不错|贴心|专业|牛|优秀|聪明)+|好评|(?:very )?(?:good|nice"
        r"|great|awesome|perfect|cool)(?: job)?"
        r"|点赞|解决了|搞定了?|问题解决了?|可以了|(?:it )?works?(?: now)?|solved"
    ),
    SmallTalkKind.ACKNOWLEDGED: (
        r"(?:好|好的|好滴|好嘞|行|可以|嗯|恩|哦|噢|喔|对|对的|是|是的|没错|知道|晓得|明白|懂|了解|清楚"
        r"|收到|没问题|中|得嘞|成)+"
        r"|(?:我)?(?:知道|明白|懂|了解|清楚|看到|收到)|ok(?:ay)?|k+|yes|yep|yeah|sure|fine|alright|all right"
        r"|got it|i see|understood|1|6+|哈+|呵+|嘿+|嘻+|lol"
        r"|稍等|等等|我(?:先)?(?:看看|试试|想想|看一下|试一下)|(?:no problem)"
    ),
}  # fmt: skip

REPLIES: dict[SmallTalkKind, tuple[str, str]] = {
    SmallTalkKind.WHO: (
        "我是智能助手，常见问题可以直接问我；需要人工时，回复“转人工”就可以。",
        "I am an automated assistant. Ask me anything, or reply “human” to reach a person.",
    ),
    SmallTalkKind.GREETING: ("您好！请问有什么可以帮您？", "Hello! How can I help you?"),
    SmallTalkKind.PRESENCE: ("在的，请直接说您的问题。", "Yes, I am here. What would you like to know?"),
    SmallTalkKind.THANKS: ("不客气，有问题随时找我。", "You are welcome! I am here if anything else comes up."),
    SmallTalkKind.GOODBYE: ("好的，祝您生活愉快，再见！", "Thank you for writing. Goodbye!"),
    SmallTalkKind.PRAISE: ("谢谢您的认可，有问题随时找我。", "Thank you! I am here if anything else comes up."),
    SmallTalkKind.NUDGE: ("请把您的问题写给我，我马上为您查。", "Please tell me your question and I will look it up."),
    SmallTalkKind.ACKNOWLEDGED: ("", ""),  # politeness that wants no answer
}


def small_talk(text: str) -> SmallTalkKind | None:
    """What the message is when all of it is small talk; None when any part of it may be a question."""
    parts = clauses(text)
    if not parts:
        return _wordless(text)
    kinds = [_talk_of(part) for part in parts]
    if any(kind is None for kind in kinds):
        return None
    return min((kind for kind in kinds if kind is not None), key=list(SmallTalkKind).index)


def reply_to(talk: SmallTalkKind, text: str) -> str:
    """A short fitting reply in the language of `text`; empty when none is wanted."""
    chinese, english = REPLIES[talk]
    return english if is_english(text) else chinese


def is_english(text: str) -> bool:
    """Whether a short text is written in Latin letters only."""
    letters = [char for char in text if char.isalpha()]
    return bool(letters) and all(char.isascii() for char in letters)


def _talk_of(clause: str) -> SmallTalkKind | None:
    return next((kind for kind, pattern in _TALK_PATTERNS if pattern.fullmatch(clause)), None)


def _wordless(text: str) -> SmallTalkKind | None:
    """Only signs: 👍 acknowledges, ？？ asks for an answer, and an empty text is nothing."""
    signs = "".join(text.split())
    if not signs:
        return None
    return SmallTalkKind.NUDGE if re.search(r"[?？.。…!！]", signs) else SmallTalkKind.ACKNOWLEDGED


# -------------------------------------------------------------------------------------- moods and complaints

UPSET = (
    r"骗子|骗人|坑人|坑爹|忽悠|黑店|奸商|垃圾(?!袋|桶|分类|处理|箱|清|邮件|短信|回收|车|场|文件|信息|篓|铲)"
    r"|(?<!把)差评(?!怎么|如何|可以|能|会|删|改|撤)"
    r"|什么破|破(?:店|公司|软件|平台|玩意)|恶心(?!想吐|呕吐)|气死|太差|差劲|无耻|不要脸|过分|受够|忍无可忍|糊弄"
    r"|敷衍|耍我|滚(?!轮|筒|动|珠|球)"
    r"|(?:他|你|tm|特)妈的?(?!妈)|妈的|操你|草泥马|傻[逼b叉]|煞笔|(?<![a-z])sb(?![a-z])|脑残|智障|神经病|有病吧"
    r"|去死|废物|王八蛋"
    r"|12315|消协|消费者协会|工商局|市场监管|曝光(?!度)|起诉|告你们?|打官司|律师(?!函模板|费)|报警|媒体",
    r"\b(?:scam(?:mer)?s?|fraud|rip ?off|ridiculous|terrible|horrible|awful|worst|useless|pathetic|bullshit|wtf"
    r"|stupid|idiots?"
    r"|lawyer|sue you|unacceptable|disgusting|fuck\w*)\b",
)
URGENT = (
    r"紧急|急急|很急|好急|太急|超急|特别急|非常急|十万火急|着急|火急|急用|急需|急死|在线等|赶紧|赶快|立刻"
    r"|马上(?!到|发货|双)|尽快|等不(?:及|了)",
    r"^急+$|\b(?:urgent(?:ly)?|asap|emergency|right now|immediately|hurry)\b",
)
UNHELPFUL = (
    r"^(?:还是|都|完全|根本|一点都?|说了|这|这个|你这个?)?(?:没|没有|不管|毫无)(?:什么)?(?:用|帮助|帮到我?|作用"
    r"|意义)(?:处)?$",
    r"(?:还是|还|都|并|依然|仍然|仍|根本|问题)?(?:没有?|未)(?:能|被)?(?:得到)?解决(?!方|办|之|过|不)(?:问题"
    r"|我的问题)?(?:$|啊|呢|呀)",
    r"答非所问|牛头不对马嘴|驴唇不对马嘴|鸡同鸭讲|文不对题|说的什么|听不懂(?:我)?(?:说|人话)?|你(?:没"
    r"|不)(?:听)?(?:懂|明白|理解)|没(?:听|看)懂我"
    r"|不是(?:这个|我(?:要|想)?(?:问|说|找)?的)(?:意思|问题)?$|我(?:问|说)的不是|不是问(?:你)?这个",
    r"^(?:你|这|这个|回答|你说的?|说的?|答案)?(?:都)?(?:不对|错了|不行|不管用|没有用|不是|不正确|有误)$",
    r"还是不(?:行|对|会|能用|可以|懂|明白|管用)$|试(?:了|过了?).{0,6}(?:不行|没用|没反应|还是一样)$|(?:看"
    r"|听)不懂$|废话$|重复的?(?:回答|回复)$",
    r"\b(?:not helpful|unhelpful|didn't help|does ?n[o']t help|doesn't work|didn't work|not working|not what i asked"
    r"|wrong answer|you don't understand|still (?:not|doesn't|no)|that's wrong|no help)\b",
)


def is_upset(text: str) -> bool:
    """Anger, insults, and threats with the authorities or the press."""
    return any(pattern.search(clause) for clause in clauses(text) for pattern in _UPSET_PATTERNS)


def is_urgent(text: str) -> bool:
    return any(pattern.search(clause) for clause in clauses(text) for pattern in _URGENT_PATTERNS)


def says_unhelpful(text: str) -> bool:
    """Whether the contact says that the last answer did not help."""
    return any(_complains(clause) for clause in clauses(text))


def only_complains(text: str) -> bool:
    """Whether the text says that we did not help, and asks nothing new."""
    return says_unhelpful(text) and all(_complains(clause) or _talk_of(clause) for clause in clauses(text))


def _complains(clause: str) -> bool:
    return any(pattern.search(clause) for pattern in _UNHELPFUL_PATTERNS)


# ----------------------------------------------------------------------------------------------- all at once


@dataclass(frozen=True, slots=True)
class Intents:
    """What the words of one or several messages say besides their question."""

    person: bool
    talk: SmallTalkKind | None
    upset: bool
    urgent: bool
    unhelpful: bool


def read(texts: Sequence[str], *, zero_offered: bool = False) -> Intents:
    """The intents of messages that belong together, oldest first."""
    together = "\n".join(texts)
    return Intents(
        person=any(asks_for_person(text, zero_offered=zero_offered) for text in texts),
        talk=small_talk(together),
        upset=is_upset(together),
        urgent=is_urgent(together),
        unhelpful=says_unhelpful(together),
    )


# ------------------------------------------------------------------------------------------------- the means

_SIMPLE = str.maketrans(
    "轉別們員務聯係機個沒訴請幫問話電嗎謝見說與對維經領導還決題給換來這過讓為麼時間應該氣專業處裡類聽懂錯誤騙壞爛緊",
    "转别们员务联系机个没诉请帮问话电吗谢见说与对维经领导还决题给换来这过让为么时间应该气专业处里类听懂错误骗坏烂紧",
)
_LONGEST = 2000  # characters that are looked at
_CUT = re.compile(r"[,、.。!?;；:：\n\r~…\"“”‘()（）\[\]【】<>《》|/\\*_#^+=—]+")
_STICKER = re.compile(r"\[[^\[\]\n]{1,8}\]")  # WeChat writes its stickers as [微笑]
_BETWEEN_HAN = re.compile(r"(?<![a-z0-9'])\s+|\s+(?![a-z0-9'])")


def _folded(text: str) -> str:
    text = unicodedata.normalize("NFKC", text[:_LONGEST]).replace("’", "'").replace("，", ",")
    kept = (char for char in text if unicodedata.category(char) not in ("Cf", "Cs", "Mn", "Co"))
    return "".join(kept).translate(_SIMPLE).lower()


def clauses(text: str) -> list[str]:
    """The clauses of a text, folded; those without a letter or digit are left out."""
    parts = _CUT.split(_STICKER.sub(" ", _folded(text)))
    kept = ("".join(char for char in part if char.isalnum() or char in " '") for part in parts)
    return [part for part in (_BETWEEN_HAN.sub("", part).strip() for part in kept) if part]


_ASK_PATTERNS = [re.compile(pattern) for pattern in ASKS]
_TRAP_PATTERNS = [re.compile(pattern) for pattern in TRAPS]
_NOT_PATTERN = re.compile(_NOT)
_NOT_ENGLISH_PATTERN = re.compile(_NOT_ENGLISH)
_TALK_PATTERNS = [(kind, re.compile(rf"(?:{pattern}){_TAIL}")) for kind, pattern in TALK.items()]
_UPSET_PATTERNS = [re.compile(pattern) for pattern in UPSET]
_URGENT_PATTERNS = [re.compile(pattern) for pattern in URGENT]
_UNHELPFUL_PATTERNS = [re.compile(pattern) for pattern in UNHELPFUL]
