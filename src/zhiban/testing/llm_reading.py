"""How the simulated model reads: as a small, honest one does that knows ordinary words and no customer of ours.

It sees nothing but the prompt. It tells what is asked (how much, how long, where, how) from what it is about, knows
words of shops and practices that mean the same, notices a wish that is taken back, and declines where much of a
question stays unexplained. It errs, as small models do: by no context beyond the line before, by no arithmetic, and by
no guess at what is misspelt.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.tokens import normalise

_EXPLAINED = 0.6  # share of a question that a passage must explain
_FITS = 0.6  # how well, from 0 to 1
_BY_LETTERS = 0.8  # what a word counts of which only the letters are there
_IN_ANSWER = 0.6  # what a word counts that only the answer holds
_LETTER = 0.5  # what a letter weighs beside a word
_SHORT = 8  # letters of a question that may lean on the one before
_LONG = 300  # characters of an answer

# Words that mean the same in a customer's mouth. Marked is what befell a thing: who does not speak of it, does not
# mean it.
_WORDS = """
退款 refund 退钱 退费 返款
退货 退回去 退掉 寄回 寄回去 寄回来 退换
换货 调换 换一个 换个 更换
退 退
到账
运费 邮费 快递费 邮资 配送费
快递 express 物流 包裹 快件 邮包
发货 寄出 发出 出库
收货 收到货 到货 送到 能到 寄到
签收 妥投
!没收到 收不到 没拿到 没到 没来 不来
送货上门 送上楼 送到家 上门
地址 住址
国外 海外 国际 境外 日本 美国 新加坡 韩国 加拿大 英国 澳洲
香港 澳门 台湾 港澳台
银行卡 信用卡 储蓄卡
忘 忘记 忘了
丢 丢了 找不到 没了 不见了
发票 invoice 开票 票据 收据
抬头
专票 专用发票 增值税
付款 支付 付钱 给钱 付 结账 结算 买单 缴费
分期 分月
扣款 扣钱
!重复 两次 两遍 两回 多扣
优惠券 coupon 券 代金券 红包 满减券 抵用券
用 使用 用掉 用上
优惠 打折 折扣 便宜点 让利
积分 分数
会员 会员卡 入会 金卡 银卡 vip
!写错 填错 打错 错了 错
!用不了 不能用 不可用
好处 权益 作用 区别
!到期 过期 失效 清零 作废
差价 降价 买贵 保价
正品 真货 假货 假的 真的 山寨 仿冒 授权
保修 质保 管修 warranty
维修 修理 报修 送修 修
!坏 坏了 碎 碎了 破 破损 裂 损坏 故障 不工作
!少发 漏发 少了
!发错 错发 发成
!缺货 没货 断货 无货 补货 有货 再上
尺寸 尺码 大小 规格 多大
说明书 说明 教程 手册
试用 开箱 拆开 拆了 拆封 开封
密码 password 口令
验证码 校验码
手机号 手机号码 电话号码
账号 账户 帐号 账户 户头
!注销 销户 删号 删除 删掉
!冻结 封了 被封 被锁 锁住 封号
昵称 名字 网名
头像 照片
推送 通知 广告 弹窗
关掉 关闭 关 屏蔽
!取消 撤销 撤回 撤掉 撤回来 cancel
订单 单子 一单 那单 order
以前 历史 从前 去年 前年
评价 评论 好评 晒图
批发 团购 大量 批量 企业采购
合作 加盟 代理 供货
投诉 举报
客服 人工 接线员
上班 营业 开门 下班 关门 在线 上班时间
申请 提交
!拒绝 驳回 不通过 没通过 不同意 拒了
自提 自取 到店取
礼盒 包装盒 礼品盒
修改 改 更改 变更 更新 编辑
预约 挂号 约 预订 appointment book
!改约 改期 改时间 挪 换一天
!迟到 来晚 晚到 晚点 堵车
停车 车位 停车位 停车场 parking
地铁 公交 坐车
医生 大夫 牙医
指定 选 挑
第一次 初诊 头一回 头一次 首次
带 准备 携带 拿
病历 片子 检查结果 拍片 报告
孕妇 怀孕 孕期 备孕 孕
小孩 孩子 儿童 宝宝 小朋友 娃
洗牙 洁牙 超声波洁牙
疼 痛 痛苦 难受 酸痛
伤 损伤 伤害
美白 变白 漂白
补牙 蛀牙 填充物
!掉 掉了 脱落 脱了 松了 掉下来
拔牙 拔智齿 智齿 阻生齿 拔
注意 讲究 忌口 禁忌
麻药 麻醉
风险 副作用 安全 危险
根管 杀神经 牙髓
种植 种植牙 种牙 种植体
矫正 正畸 箍牙 牙套 整牙 牙齿矫正
托槽 钢丝
封闭 窝沟封闭 涂氟
医保 社保 医保卡 社保卡
急诊 马上 立刻 急
退卡 卡退
余额 储值
消毒 灭菌 干净
陪同 陪着 陪
"""
# What is asked of a thing. A question for one of these is not answered by an entry about another.
_ASPECTS: Mapping[str, str] = {
    "price": r"多少钱|什么价位?|啥价位?|价格|价钱|价位|报价|收费|费用|贵不贵|贵吗|怎么卖|怎么收|花多少|要多少|要钱|免费"
    r"|算谁的|谁出|谁付|谁承担",
    "long": r"多久|多长时间|几天|几号|几点|几个月|几年|多少天|什么时候|啥时候|啥时|何时|周期|哪天",
    "times": r"几次|几趟|多少次|几回",
    "age": r"多大|几岁|年龄|\d+岁",
    "where": r"在哪[里儿]?|哪里|哪儿|哪条路|什么位置|怎么走|地址在",
    "why": r"为什么|为啥|怎么回事|原因",
    "what": r"是什么|有什么|有啥|什么用|啥用",
    "how": r"怎么(?:操作|办理|[办弄样搞])?|怎样|如何|咋[办弄整]?|流程|步骤|方法|办法",
    "whether": r"能不能|可不可以|是不是|行不行|有没有|要不要|会不会|可以|能否|可否|是否|支持|[能会行]|[吗么不没]$",
}
_SPECIFIC = frozenset(("price", "long", "times", "age", "where"))
# What an answer looks like that says how much, how long, how often, or where.
_TOLD: Mapping[str, str] = {
    "price": r"元|免费|不收|运费|承担|由.{1,6}出|折",
    "long": r"\d\s*(?:个?工作日|天|小时|分钟|个月|年|周)|当天|\d{1,2}[:：]\d\d|第二天|马上",
    "times": r"\d\s*次",
    "age": r"岁|成年",
    "where": r"路|号|层|楼|“.+”里|在“",
}
_SMALL = re.compile(
    r"[0-9一二两三四五六七八九十百半几]+(?:个|天|号|次|点|分钟?|小时|月|年|岁|件|块|元|单|颗|款|层|楼|期|趟|回|遍|张|片)*"
    r"|(?:今|明|昨|后|前|每|当|同|隔|第.)[天年日晚]|早上|上午|下午|晚上|周[一二三四五六日末]|礼拜.|星期.|刚才?|一直|突然|临时|大概"
    r"|请问|麻烦|我们|你们|您们|咱们|他们|一下|这个|那个|这种|那种|这样|那样|现在|已经|还是|就是|的话|如果|要是|想要|一般|大概|东西"
    r"|什么|啥|哪|谁|谢谢|你好|您好|客服你好|告诉|知道|觉得|需要|应该|怎么还"
    r"|诊所|门店|店里"
    r"|[的了呢啊吧吗么嘛呀哦噢哈哎我你您他她它们这那有和与或跟就都也还再要想请问一下是给帮让把被很太真点个些家好会能行可以到上去来做过着得地从在里对于为]"
)
# A wish that is taken back, or denied.
_REFUSES = re.compile(
    r"(?:不想|不要|不用|不必|无需|不打算|别|甭|懒得|先不)(?!钱|错|客气)|^不[^会能行可是对知]{1,4}了?$|^算了"
)
_ASKS = re.compile(r"[?？]|吗|怎么|咋|如何|什么|啥|哪|几|多少|多久|能不能|可以|能否|要求|希望|[能行]不|有没有|怎样")
_UNDOES = re.compile(r"取消|撤销|注销|关掉|关闭|退|改")
_SENTENCE = re.compile(r"[^。！？!?\n]+[。！？!?]?\n?")
_ALSO = re.compile(r"（也问：(.*?)）$")


@frozen_dataclass
class NumberedPassage:
    """A numbered piece of the prompt: what it is asked by, and what it answers."""

    number: int
    asked: tuple[str, ...]
    told: str


@frozen_dataclass
class _Meaning:
    """What a text is about, each word with its weight, and what it asks."""

    about: dict[str, tuple[float, str]]  # with its weight, and as it was written
    asks: frozenset[str]
    letters: frozenset[str] = frozenset()

    def holds(self, word: str, said: str) -> float:
        """How much of a word is in the text: its meaning, or letters of it as in 洗个牙."""
        if word in self.about:
            return 1.0
        return _BY_LETTERS if set(said) <= self.letters else 0.0


def passage(number: int, text: str) -> NumberedPassage:
    heading, _, told = text.strip().partition("\n")
    also = _ALSO.search(heading)
    title = _ALSO.sub("", heading)
    asked = (title.rpartition(" > ")[2], *([also[1]] if also else []))
    return NumberedPassage(number, asked, told.strip() or title)


def chosen(question: str, passages: Sequence[NumberedPassage], before: str = "") -> list[NumberedPassage]:
    """The passages that answer what is asked, in the order of the questions. `before` is what was asked last."""
    found: dict[int, NumberedPassage] = {}
    for asked in _questions(question):
        if (best := _best(asked, passages, before)) is not None:
            found.setdefault(best.number, best)
        before = asked if _meaning(asked).about else before
    return list(found.values())


def told(one: NumberedPassage) -> str:
    """What a passage answers, whole sentences of it."""
    text = ""
    for sentence in _SENTENCE.findall(one.told):
        if text and len(text) + len(sentence) > _LONG:
            break
        text += sentence
    return text.strip()


def _questions(text: str) -> list[str]:
    """The clauses that ask, where several do; else all that is said."""
    asking = [part for part in _clauses(text) if _ASKS.search(part)]
    return asking if len(asking) > 1 else [normalise(text)]


def _clauses(text: str) -> list[str]:
    return [part for part in re.split(r"[。！？!?；;，,、:：\s]+", normalise(text)) if part]


def _best(asked: str, passages: Sequence[NumberedPassage], before: str) -> NumberedPassage | None:
    if _REFUSES.search(asked) and not _ASKS.search(asked):
        passages = [one for one in passages if any(map(_UNDOES.search, one.asked))]
    wanted = _meaning(asked)
    ways = [[wanted, *(_meaning(clause) for clause in _clauses(asked) if _ASKS.search(clause))]]
    if before and len(asked) <= _SHORT:
        topic = {word: weight for word, weight in _meaning(normalise(before)).about.items() if word not in _STEPS}
        ways.insert(0, [_Meaning(topic | wanted.about, wanted.asks, wanted.letters | frozenset(before))])
    for meant in ways:
        fits = [(max(_fit(way, one) for way in meant), -one.number, one) for one in passages]
        if fits and max(fits)[0] >= _FITS:
            return max(fits)[2]
    return None


def _fit(wanted: _Meaning, offered: NumberedPassage) -> float:
    return max(_fit_of(wanted, _meaning(normalise(way)), offered) for way in offered.asked)


def _fit_of(wanted: _Meaning, entry: _Meaning, offered: NumberedPassage) -> float:
    """How well a passage explains a question: by what both are about, and by what is asked of it."""
    told_ = _meaning(normalise(offered.told))
    explained = _share(wanted, lambda word, said: max(entry.holds(word, said), _IN_ANSWER * told_.holds(word, said)))
    if explained < _EXPLAINED:
        return 0.0
    meant = _share(entry, wanted.holds)
    turned = 0.6 if any(word in _TURNS and not wanted.holds(word, word) for word in entry.about) else 1.0
    if any(word in _TURNS and not max(entry.holds(word, word), told_.holds(word, word)) for word in wanted.about):
        turned = 0.6
    return explained * math.sqrt(meant) * turned * _same_aspect(wanted.asks, entry.asks, offered.told)


def _share(of: _Meaning, found: Callable[[str, str], float]) -> float:
    """Which part of what a text is about is found elsewhere."""
    whole = sum(weight for weight, _ in of.about.values())
    return sum(weight * found(word, said) for word, (weight, said) in of.about.items()) / whole if whole else 0.0


def _same_aspect(asks: frozenset[str], entry: frozenset[str], told_: str) -> float:
    """1 where the same is asked, less where nothing tells, little where it is another side of the thing."""
    specific, offered = asks & _SPECIFIC, entry & _SPECIFIC
    if specific & offered or (not specific and not offered):
        return 1.0
    if specific and offered:
        return 0.4
    if specific:
        return 0.9 if any(re.search(_TOLD[one], told_) for one in specific) else 0.5
    return 0.7  # the entry tells a side of it that was not asked for


@lru_cache(maxsize=2048)
def _meaning(text: str) -> _Meaning:
    asks = frozenset(name for name, pattern in _ASPECTS.items() if re.search(pattern, text))
    about: dict[str, tuple[float, str]] = {}
    for match in _READ.finditer(text):
        if match.lastgroup == "word":
            about[_MEANS[match[0]]] = (1.0, match[0])
        elif match.lastgroup == "letter":
            about[match[0]] = (_LETTER if not match[0].isascii() else 1.0, match[0])
    if not about and _OURS.search(text):
        about["店"] = (1.0, "店")
    return _Meaning(about, asks, frozenset(text))


_OURS = re.compile(r"你们|您们|店|诊所|公司|医院")
_STEPS = frozenset(("申请", "修改", "用"))
_LINES = [line.split() for line in _WORDS.strip().splitlines()]
_MEANS = {word.lstrip("!"): line[0].lstrip("!") for line in _LINES for word in line}
_TURNS = frozenset(line[0].lstrip("!") for line in _LINES if line[0].startswith("!"))
_READ = re.compile(
    f"(?P<word>{'|'.join(sorted(map(re.escape, _MEANS), key=len, reverse=True))})"
    f"|(?P<aspect>{'|'.join(_ASPECTS.values())})|(?P<small>{_SMALL.pattern})"
    r"|(?P<letter>[a-z0-9]+|[^\W_])"
)
