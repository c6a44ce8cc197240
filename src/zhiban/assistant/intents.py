"""What a contact is after besides knowledge and a person: a word of politeness, or to say that we did not help.

The tables are data; the few functions below them only apply them. Every pattern is tried on one clause, as `clauses`
gives it.
"""

from __future__ import annotations

import re
from enum import StrEnum

from zhiban.assistant.clauses import clauses
from zhiban.assistant.person_requests import declines_person
from zhiban.kit.patterns import lazy_pattern

# ------------------------------------------------------------------------------------------------ small talk


class SmallTalkKind(StrEnum):
    """What a message is when it asks nothing. In the order in which one wins over another."""

    DECLINED = "declined"  # no person is wanted
    WHO = "who"
    ANYBODY = "anybody"  # whether a person is there
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
        r"|早安?|午安|good (?:morning|afternoon|evening|day)"
        r"|(?:客服|亲|医生|大夫|老师|师傅|老板|店家|前台)(?:们)?(?:你|您)?好|哈罗|您好呀?|新年好|新年快乐"
    ),
    SmallTalkKind.ANYBODY: (
        r"(?:请问)?(?:现在)?(?:还)?(?:有没有人|有人)(?:还)?(?:在线|在)?(?:吗|么|嘛|没有?|不)?|(?:请问)?(?:人|你们?人)呢"
        r"|(?:人|有人)在(?:吗|么|不在|不|嘛|没|线吗)|(?:is )?(?:anyone|anybody|somebody|someone)(?: there| here| home)"
    ),
    SmallTalkKind.PRESENCE: (
        r"(?:你|您|亲|老板|店家|客服|请问)?(?:还)?在(?:吗|么|不在|不|嘛|线吗|没|线)?|在不在"
        r"|喂+|are you there|打扰(?:一下)?|请问(?:一下)?|咨询(?:一下)?|问(?:一下|个事)"
    ),
    SmallTalkKind.THANKS: (
        r"(?:好的?|嗯+|哦|ok)?(?:非常|太|十分|多|真是?|万分|真的)*(?:感谢|谢|谢啦|多谢|感恩)+(?:您|你"
        r"|你们|亲|客服|老板|医生|大夫|护士|老师|师傅|小姐姐|小哥哥?|帮助|了|您的帮助|你的帮助)*"
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
    SmallTalkKind.DECLINED: (
        "好的，我继续为您服务，请直接说您的问题。",
        "All right, I will help you myself. What would you like to know?",
    ),
    SmallTalkKind.ANYBODY: (
        "我是智能助手，随时都在，请直接说您的问题。要找人工客服，请回复“转人工”。",
        "I am an automated assistant and always here: just ask. To reach a person, reply “human”.",
    ),
    SmallTalkKind.GREETING: ("您好！请问有什么可以帮您？", "Hello! How can I help you?"),
    SmallTalkKind.PRESENCE: ("在的，请直接说您的问题。", "Yes, I am here. What would you like to know?"),
    SmallTalkKind.THANKS: ("不客气，有问题随时找我。", "You are welcome! I am here if anything else comes up."),
    SmallTalkKind.GOODBYE: ("好的，祝您生活愉快，再见！", "Thank you for writing. Goodbye!"),
    SmallTalkKind.PRAISE: ("谢谢您的认可，有问题随时找我。", "Thank you! I am here if anything else comes up."),
    SmallTalkKind.NUDGE: ("请把您的问题写给我，我马上为您查。", "Please tell me your question and I will look it up."),
    SmallTalkKind.ACKNOWLEDGED: ("", ""),  # politeness that wants no answer
}
# To who asks for somebody while no person is on duty.
NOBODY_THERE = (
    "我是智能助手，随时都在，请直接说您的问题。人工客服现在不在线，回复“转人工”可以留下问题，上班后第一时间回复您。",
    "I am an automated assistant and always here: just ask. Nobody of the staff is online now; reply “human” to leave "
    "your question for them.",
)


def small_talk(text: str) -> SmallTalkKind | None:
    """What the message is when all of it is small talk; None when any part of it may be a question."""
    parts = clauses(text)
    if not parts:
        return _wordless(text)
    kinds = [talk_of(part) for part in parts]
    if any(kind is None for kind in kinds):
        return None
    return min((kind for kind in kinds if kind is not None), key=list(SmallTalkKind).index)


def reply_to(talk: SmallTalkKind, text: str, *, people_there: bool = True) -> str:
    """A short fitting reply in the language of `text`; empty when none is wanted."""
    nobody = talk is SmallTalkKind.ANYBODY and not people_there
    chinese, english = NOBODY_THERE if nobody else REPLIES[talk]
    return english if is_english(text) else chinese


def is_english(text: str) -> bool:
    """Whether a short text is written in Latin letters only."""
    letters = [char for char in text if char.isalpha()]
    return bool(letters) and all(char.isascii() for char in letters)


def talk_of(clause: str) -> SmallTalkKind | None:
    """What one clause (as `clauses` gives it) is when it asks nothing."""
    if declines_person(clause):
        return SmallTalkKind.DECLINED
    found = next((kind for kind, pattern in _TALK_PATTERNS if pattern.fullmatch(clause)), None)
    return SmallTalkKind.PRAISE if found is None and _HELPFUL_PATTERN.fullmatch(clause) else found


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
    r"|(?:他|你|tm|特)妈的?(?!妈)|(?:^|真是?|[这太])妈的|操你|草泥马|傻[逼b叉]|煞笔|(?<![a-z])sb(?![a-z])|脑残|智障|神经病|有病吧"
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


HELPFUL = (
    r"有用|管用了?|有帮助|有帮到我?|帮到我|帮助到我|帮上忙|帮大忙|(?:问题)?解决了|搞定了?|就是(?:这个|我要的)|正是我要的|答对",
    r"(?:it |that |this )?(?:works?|worked|helped|helps)(?: now)?|(?:that's |that is |very )?helpful|solved",
)


def is_upset(text: str) -> bool:
    """Anger, insults, and threats with the authorities or the press."""
    return any(pattern.search(clause) for clause in clauses(text) for pattern in _UPSET_PATTERNS)


def is_urgent(text: str) -> bool:
    return any(pattern.search(clause) for clause in clauses(text) for pattern in _URGENT_PATTERNS)


def says_unhelpful(text: str) -> bool:
    """Whether the contact says that the last answer did not help."""
    return any(_complains(clause) for clause in clauses(text))


def says_helpful(text: str) -> bool:
    """Whether the contact says that the last answer helped. Thanks and politeness alone do not."""
    return not says_unhelpful(text) and any(_HELPFUL_PATTERN.fullmatch(clause) for clause in clauses(text))


def only_complains(text: str) -> bool:
    """Whether the text says that we did not help, and asks nothing new."""
    return says_unhelpful(text) and all(_complains(clause) or talk_of(clause) for clause in clauses(text))


def _complains(clause: str) -> bool:
    return any(pattern.search(clause) for pattern in _UNHELPFUL_PATTERNS)


_HELPFUL_PATTERN = lazy_pattern(
    r"(?:这个?|你说的?|这个?回答|回答|答案|谢谢|嗯+|对)?(?:真|太|很|好|挺|非常|还是?|确实|都|已经|果然)*"
    rf"(?:{HELPFUL[0]})[啊呀哦啦哈哟的~]*|{HELPFUL[1]}"
)
_TALK_PATTERNS = [(kind, lazy_pattern(rf"(?:{pattern}){_TAIL}")) for kind, pattern in TALK.items()]
_UPSET_PATTERNS = [lazy_pattern(pattern) for pattern in UPSET]
_URGENT_PATTERNS = [lazy_pattern(pattern) for pattern in URGENT]
_UNHELPFUL_PATTERNS = [lazy_pattern(pattern) for pattern in UNHELPFUL]
