"""A small customer service with made-up people, on a real database: what the desk's tests and pictures look at."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tests.passwords import quickly_hashed
from tests.twin import WindowedChannel, open_inbox, opened
from zhiban.conversations import replies, service
from zhiban.conversations.labels import add_label
from zhiban.conversations.models import Priority
from zhiban.events import Actor
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.people.models import Role
from zhiban.people.service import add_agent
from zhiban.ports import Limits
from zhiban.testing.script import Script

LIMITS = replace(WindowedChannel.limits, unit="bytes")  # as 微信客服 counts
PASSWORD = "correct horse battery"
SLUG = "qinghe"
INBOX = {"channel": "wecom_kf", "public_id": SLUG, "name": "青禾官方客服"}


@dataclass(kw_only=True)
class Seed(Script):
    """Ids by name."""

    database: Database
    clock: Clock
    limits: Limits = LIMITS
    labels: dict[str, int] = field(default_factory=dict)

    def saved(self) -> str:
        """What `restored` makes it of again, beside a copy of its database."""
        names = ("workspace_id", "agents", "conversations", "labels", "threads", "serial")
        inbox = [self.inbox.connection.id, self.inbox.inbox_id]
        return json.dumps({"ids": {name: getattr(self, name) for name in names}, "inbox": inbox})

    @classmethod
    def restored(cls, saved: str, database: Database, clock: Clock) -> Seed:
        found = json.loads(saved)
        seed = cls(database=database, clock=clock, **found["ids"])
        seed.inbox = opened(seed.workspace_id, *found["inbox"], **INBOX)
        return seed

    def ago(self, **span: float) -> datetime:
        return self.clock.now() - timedelta(**span)


async def new_workspace(database: Database, slug: str, name: str) -> int:
    async with database.transaction(0) as tx:
        workspace = int(await tx.value("select nextval(pg_get_serial_sequence('workspace', 'workspace_id'))"))
    async with database.transaction(workspace) as tx:
        await tx.run(
            "insert into workspace (workspace_id, slug, name) values (%(id)s, %(slug)s, %(name)s)",
            id=workspace,
            slug=slug,
            name=name,
        )
        await tx.run(
            "insert into directory (kind, key, workspace_id) values ('workspace', %(slug)s, %(id)s)",
            id=workspace,
            slug=slug,
        )
    return workspace


async def create_seed(database: Database, clock: Clock, *, slug: str = SLUG) -> Seed:
    """青禾开源 on an ordinary afternoon: 林晓 has the desk open, the assistant works beside her."""
    workspace = await new_workspace(database, slug, "青禾开源")
    seed = Seed(database=database, clock=clock, workspace_id=workspace)
    hashed = quickly_hashed(PASSWORD)
    async with database.transaction(workspace) as tx:
        for name, mail in (("林晓", "linxiao"), ("陈默", "chenmo"), ("苏禾", "suhe")):
            role = Role.OWNER if mail == "linxiao" else Role.AGENT
            seed.agents[name] = await add_agent(
                tx, email=f"{mail}@{slug}.example", name=name, role=role, password_hash=hashed
            )
    seed.inbox = await open_inbox(database, workspace, **{**INBOX, "public_id": slug})
    async with database.transaction(workspace) as tx:
        by = Actor("agent", seed.agents["林晓"])
        for name, color in (("安装部署", 1), ("授权续费", 3), ("缺陷", 5)):
            seed.labels[name] = await add_label(tx, name=name, color=color, by=by, now=clock.now())
        await _zhou(seed, tx)
        await _others(seed, tx)
    return seed


async def _zhou(seed: Seed, tx: Transaction) -> None:
    who, ago = "周予安", seed.ago
    await seed.says(
        tx, who, "你们好，升级到 2.4 之后 Webhook 一直报 401 signature mismatch，之前是好的。", at=ago(minutes=19)
    )
    await seed.answers(
        tx,
        who,
        "2.4 起签名规则有两处变化，升级后请一并修改：\n"
        "1. 改为对原始请求体计算 HMAC-SHA256，要在解析 JSON 之前取字节 [1]\n"
        "2. 请求头由 `X-Sign` 改为 `X-Qinghe-Signature` [2]",
        at=ago(minutes=18.8),
        confidence=0.92,
        citations=[
            {"title": "升级到 2.4：不兼容的变化", "url": "https://docs.qinghe.example/2.4"},
            {"title": "Webhook 签名校验"},
        ],
    )
    await seed.says(tx, who, "都改了，还是不行。前面有一层 Nginx", at=ago(minutes=17))
    await seed.answers(
        tx,
        who,
        "您是不是想问：",
        at=ago(minutes=16.9),
        confidence=0.48,
        choices=("反向代理改写了请求体怎么办", "怎样打印收到的原始签名", "旧版签名还能用多久", "都不是，转人工"),
    )
    await seed.says(tx, who, "都不是，转人工", at=ago(minutes=16), choice="4")
    await seed.hands_off(tx, who, at=ago(minutes=15.9))
    await service.take(tx, seed.conversations[who], by=seed.agents["林晓"], now=ago(minutes=15))
    await seed.says(tx, who, "", at=ago(minutes=14), kind="image")
    await replies.add_note(
        tx,
        seed.conversations[who],
        text="像是 Nginx 解压改写了请求体。2.4 的签名是按压缩前的字节算的吧？",
        by=Actor("agent", seed.agents["林晓"]),
        now=ago(minutes=12),
    )
    await seed.replies(
        tx,
        who,
        "周先生您好，我是林晓。请看一下配置里是不是开了 `gunzip on`，开了的话签名会对不上。",
        by="林晓",
        at=ago(minutes=11),
    )
    last = await tx.value("select max(id) from message where conversation_id = %(id)s", id=seed.conversations[who])
    await replies.mark_read(tx, seed.conversations[who], agent_id=seed.agents["林晓"], message_id=last)
    await seed.says(tx, who, "还真是这一行，关掉以后测试环境通过了 👍", at=ago(minutes=3))
    await seed.says(tx, who, "线上要今晚 10 点才能发版，这个会话能不能先留着？", at=ago(minutes=2.2))


async def _others(seed: Seed, tx: Transaction) -> None:
    ago, mine = seed.ago, seed.agents["林晓"]

    async def waiting(
        who: str, text: str, minutes: float, *, to: int | None = mine, reason: str = "nothing_found"
    ) -> None:
        await seed.says(tx, who, text, at=ago(minutes=minutes))
        await seed.hands_off(tx, who, at=ago(minutes=minutes - 0.05), reason=reason)
        if to:
            await service.assign(
                tx, seed.conversations[who], to=to, by=Actor("agent", mine), now=ago(minutes=minutes - 0.1)
            )

    await waiting("沈嘉宁", "授权码输入后提示已过期，今天下午就要演示了", 36)
    await service.set_priority(
        tx, seed.conversations["沈嘉宁"], priority=Priority.URGENT, by=Actor("agent", mine), now=ago(minutes=35)
    )
    await service.change_labels(
        tx,
        seed.conversations["沈嘉宁"],
        add=frozenset({seed.labels["授权续费"]}),
        by=Actor("agent", mine),
        now=ago(minutes=35),
    )
    await waiting("赵一鸣", "好的，那我先按文档把从库的权限配一下", 12)
    await waiting("何思源", "迁移脚本在哪里下载？", 140)
    await seed.replies(tx, "何思源", "我把迁移脚本发您了，跑完告诉我结果就好", by="林晓", at=ago(minutes=80))
    await waiting("唐亦可", "发票抬头写错了，能改吗", 200)
    await seed.replies(tx, "唐亦可", "发票抬头已经改好，请您核对", by="林晓", at=ago(minutes=170))
    await waiting("马骁", "你们支持达梦数据库吗？文档里没有找到", 6, to=None)
    await waiting("顾南乔", "续费合同我这边在走流程，周三前给您答复", 26 * 60, to=seed.agents["陈默"], reason="asked")
    await seed.says(tx, "叶知秋", "怎么申请退款？", at=ago(minutes=4))
    await seed.answers(
        tx,
        "叶知秋",
        "您好，未使用的订单可以在 7 天内申请退款，原路退回。",
        at=ago(minutes=3.9),
        confidence=0.95,
        citations=[{"title": "退款规则"}],
    )
    await waiting("许冬", "已经好了，谢谢！", 50)
    await service.resolve(tx, seed.conversations["许冬"], by=Actor("agent", mine), now=ago(minutes=45))
    await waiting("韩露", "周五再联系我吧", 300)
    await service.snooze(
        tx,
        seed.conversations["韩露"],
        until=seed.clock.now() + timedelta(hours=3),
        by=Actor("agent", mine),
        now=ago(minutes=250),
    )
