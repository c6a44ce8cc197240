"""What was said to the shop of the demonstration: what people had to answer, and who waits now.

The facts are those of the sample knowledge; the people are made up.
"""

from __future__ import annotations

from zhiban.kit.frozen_dataclass import frozen_dataclass

CONTACTS = (
    "周予安", "梁小满", "沈嘉宁", "何思源", "唐亦可", "顾南乔", "叶知秋", "许冬", "韩露", "赵一鸣",
    "宋清和", "陆子衿", "江浸月", "程砚秋", "白露", "秦川", "苏沐阳", "罗一诺", "黄雨桐", "吴桐",
    "郑好", "冯夏", "蒋鹿", "邓小楠", "曹知微", "彭程", "吕素问", "卢照", "丁香", "任远",
    "姚望", "钟声", "谭晓", "陶然", "石榴", "孟夏", "方圆", "贺新", "龚雪", "文静",
)  # fmt: skip


@frozen_dataclass
class Talk:
    """What a contact asks and an agent answers; `label` is what it is about."""

    label: str
    asked: str
    replied: str
    thanks: str = ""


TALKS = (
    Talk("物流", "我的快递三天没动了，能帮忙查一下吗", "查到了，停在中转站，已经催了，明天送到。", "好的谢谢"),
    Talk("物流", "地址写错了，还没发货，能改吗", "改好了，请您在订单详情里核对一下。", "看到了"),
    Talk("物流", "一单三件只收到两件", "另外一件从别的仓发出，后天到，单号已经发您。"),
    Talk("物流", "快递放驿站了没通知我，放坏了怎么办", "很抱歉，生鲜类我们补发一份，今天就寄。", "太好了"),
    Talk("退款", "退款申请两天了还没同意", "刚才已经同意，钱按原路退回，微信零钱当天到。", "收到了"),
    Talk("退款", "说是仅退款，怎么变成退货退款了", "帮您改回仅退款了，不用寄回来。"),
    Talk("退款", "退到已经注销的银行卡了怎么办", "请把新卡的开户行发我，我转给财务，三个工作日内到。", "发您了"),
    Talk("发票", "发票抬头开错了，能重开吗", "能，旧的已经作废，新的半小时内发到您邮箱。", "收到"),
    Talk("发票", "公司要专票，需要哪些资料", "请发我公司名称、税号、地址电话、开户行和账号。", "在准备"),
    Talk("质量", "收到的杯子有裂纹", "给您添麻烦了，换一个新的寄出，旧的不用退。", "谢谢"),
    Talk("质量", "破壁机转一下就停", "请按住底座左边的复位键五秒再试，不行我们上门取修。", "好了，能用了"),
    Talk("质量", "说明书上说能进洗碗机，洗完变形了", "这一批确实有问题，整单退款给您，抱歉。"),
    Talk("优惠", "昨天买的今天就降价了", "在七天保价内，差价十二元已经退给您。", "效率真高"),
    Talk("优惠", "金卡的免运费这个月怎么没有了", "这个月的两次用在 3 号和 9 号，下月 1 号恢复。"),
    Talk("门店", "杭州门店能自提吗，几点关门", "可以，城西店营业到晚上九点，凭取货码取。", "好的"),
    Talk("建议", "小程序里搜不到订单，只能一页一页翻", "谢谢您，已经记给产品同事，下一版会加上。"),
    Talk("建议", "能不能出个小一号的壶", "好主意，转给采购了，有消息第一时间告诉您。", "期待"),
)

# What one answer does not end: a second question of the same contact.
FURTHER = ("那大概什么时候能好？", "还有个问题，运费险怎么用", "我再确认一下，是退到原来的卡上吗", "能不能加急？")
FURTHER_REPLIES = ("今天之内会有结果，有消息我先告诉您。", "在订单详情里点“运费险”，会自动赔付。", "是的，原路退回。",
                   "帮您标了加急，仓库优先处理。")  # fmt: skip


@frozen_dataclass
class Waiting:
    """Somebody whose conversation is not over. `agent` empty: nobody has it yet."""

    who: str
    asked: str
    minutes: int
    agent: str = ""
    replied: str = ""  # before the contact's last words
    then: str = ""  # the contact's last words
    label: str = ""
    urgent: bool = False
    note: str = ""
    snoozed: bool = False
    reason: str = "nothing_found"


QUEUE = (
    Waiting("江浸月", "会员生日礼一直没有收到，券也没有", 3, label="优惠"),
    Waiting("彭程", "定制刻字的能不能退", 11, label="退款"),
    Waiting("秦川", "你们的接口文档在哪里，我们想接自己的小程序", 26, reason="asked"),
    Waiting("沈嘉宁", "明天婚礼要用的喜糖盒还没到，急，转人工", 8, agent="林知夏", label="物流", urgent=True,
            reason="urgent", note="中转站说今晚装车，八点再问一次。"),
    Waiting("周予安", "破壁机又停了，复位也不行", 19, agent="林知夏", label="质量",
            replied="给您添麻烦了。请拍一下底座的铭牌，我安排上门取修。", then="拍好了，今天能来取吗"),
    Waiting("何思源", "专票的税号填错一位，已经认证了怎么办", 140, agent="林知夏", label="发票",
            replied="请财务开红字信息表，我们这边冲红重开，需要两天。"),
    Waiting("韩露", "礼盒想周五再发货", 300, agent="林知夏", label="物流", replied="记下了，周五上午发出。",
            snoozed=True),
    Waiting("唐亦可", "收到的颜色和图片不一样", 45, agent="陈默", label="质量", replied="请发一张自然光下的照片给我。",
            then="发您了，右边是我收到的"),
    Waiting("陆子衿", "积分兑换以后订单取消了，积分没退", 33, agent="苏禾", label="优惠"),
    Waiting("顾南乔", "企业采购五百份，可以月结吗", 1500, agent="陈默", replied="合同走流程了，周三前给您答复。",
            reason="asked"),
)  # fmt: skip

SNIPPETS = (
    ("问候", "{{contact.name}}您好，我是{{agent.name}}，马上为您看。"),
    ("要订单号", "请把订单号发我，我来查一下。"),
    ("慢了抱歉", "让您久等了，抱歉。刚才在和仓库核对。"),
    ("收尾", "还有别的可以帮到您吗？没有的话我先把这次服务结束，随时再来找我们。"),
)


@frozen_dataclass
class Promised:
    """A ticket. `who` of the queue asked for it, with what was said; empty: it came up in several conversations.

    `days` from now it is due, `state` is where it stands, `said` what a colleague wrote to it.
    """

    title: str
    who: str = ""
    owner: str = ""
    state: str = "open"
    label: str = ""
    days: float | None = None
    urgent: bool = False
    said: str = ""


TICKETS = (
    Promised("喜糖盒今晚装车，确认明早送到", "沈嘉宁", "林知夏", label="物流", days=0.4, urgent=True,
             said="中转站答应八点给回信。"),
    Promised("破壁机上门取修", "周予安", "林知夏", "in_progress", "质量", 1, said="已约师傅，下午三点前上门。"),
    Promised("专票冲红重开", "何思源", "陈默", "waiting", "发票", 2, said="等客户的财务开红字信息表。"),
    Promised("企业采购五百份，月结合同", "顾南乔", "陈默", "in_progress", days=-0.5, said="法务还在看第七条。"),
    Promised("小程序里按商品名搜不到订单", owner="马骁", label="建议", days=9),
    Promised("金卡免运费的说明写清楚用在哪几单", label="优惠"),
    Promised("说明书改正：盖子不能进洗碗机", owner="苏禾", state="done", label="质量", said="新说明书已随货发出。"),
    Promised("驿站签收后给客户发短信", owner="马骁", state="done", label="物流"),
)  # fmt: skip
