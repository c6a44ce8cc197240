"""Who asked what nothing answered, and what a person told them in the end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from zhiban.assistant import intents
from zhiban.assistant.clauses import clauses
from zhiban.conversations.access import visible
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.patterns import lazy_pattern
from zhiban.knowledge import gap_queries
from zhiban.knowledge.gap_queries import GapQuestionRow, GapRow, Wording
from zhiban.people.permissions import Access

_LEAST = 4  # letters of an answer
_LOOKED_AT = 200  # times that a gap was asked
_REPLIES = 8  # after each

_ASKERS = """
select q.id, q.text, q.origin, q.conversation_id, q.contact_id, c.name as contact, (
         select i.external_id from identity i where i.workspace_id = c.workspace_id and i.contact_id = c.id
          order by i.id limit 1) as external_id, q.message_id, q.asked_at, array(
         select distinct cited ->> 'title' from message m
           join turn t on t.workspace_id = m.workspace_id and t.id = m.turn_id
           cross join jsonb_array_elements(t.citations) as cited
          where m.workspace_id = %(workspace)s and m.id = q.message_id) as told
  from unnest(%(ids)b::bigint[], %(texts)b::text[], %(origins)b::text[], %(conversations)b::bigint[],
         %(contacts)b::bigint[], %(messages)b::bigint[], %(times)b::timestamptz[])
         as q(id, text, origin, conversation_id, contact_id, message_id, asked_at)
  left join contact c on c.workspace_id = %(workspace)s and c.id = q.contact_id
 order by q.id desc"""

# What people wrote after each question, until the line that says that the conversation was resolved. Facts may be gone
# before the messages; a line goes with those around it. Where the question is gone, who knows where its cycle ended.
_REPLIED = """
select q.question, m.id as message_id, m.text, m.author, a.name as agent, m.conversation_id, m.sent_at
  from unnest(%(texts)b::text[], %(conversations)b::bigint[], %(messages)b::bigint[])
         as q(question, conversation_id, asked_id)
  join message asked on asked.workspace_id = %(workspace)s and asked.id = q.asked_id
 cross join lateral (
       select min(l.id) as id from message l where l.workspace_id = %(workspace)s
          and l.conversation_id = q.conversation_id and l.id > q.asked_id and l.kind = 'activity'
          and l.content ->> 'what' = 'resolved') as done
 cross join lateral (
       select m.* from message m where m.workspace_id = %(workspace)s and m.conversation_id = q.conversation_id
          and m.id > q.asked_id and m.direction = 'out' and m.author in ('agent', 'servicer') and m.kind = 'text'
          and m.state in ('queued', 'sent', 'stored') and m.recalled_at is null
          and (done.id is null or m.id < done.id) order by m.id limit %(most)s) as m
  left join agent a on a.workspace_id = m.workspace_id and a.id = m.agent_id
 order by m.id"""

# Words before an answer, each a clause.
_HOLDING = lazy_pattern(
    r"(?:您好|你好|亲亲?|hi|hello|在的?|嗯+|好的?|收到|了解|明白)(?:[呀啊哦呢哈的]|亲)*"
    r"|(?:请|麻烦)?(?:您)?(?:稍|等)(?:等|候|后)?(?:一?下|片刻|一会儿?)?(?:哦|哈|啊|呢)?"
    r"|(?:我|这边|我这边|我们)?(?:先|马上|正在|现在|来)*(?:帮|给|为|替)?(?:您|你)?(?:看|查|核实|确认|问|了解|查询|处理|联系|转接)+"
    r"(?:一下|下|看|一查|中|清楚)?(?:哦|哈|啊|呢)?"
    r"|(?:请问)?(?:有)?(?:什么|啥)?(?:可以|能)?(?:帮|为)(?:您|你|到您|到你)(?:的|服务|什么)?(?:吗|呢)?|有什么可以帮(?:您|你|到您|到你)的?(?:吗|呢)?"
    r"|(?:抱歉|不好意思|让您|您)*久等了?|(?:很)?高兴为(?:您|你)服务|我是.{0,8}(?:客服|专员|人工).{0,8}"
    r"|(?:感谢|谢谢)(?:您|你)?的?(?:咨询|来电|耐心)?(?:等待)?|one moment(?: please)?|please wait|let me check"
)


@frozen_dataclass
class Asker:
    """Somebody who asked, where, and what became of it. `told` are titles that the assistant answered with."""

    id: int
    text: str
    origin: str
    conversation_id: int | None
    contact_id: int | None
    contact: str | None
    external_id: str | None
    message_id: int | None
    asked_at: datetime
    told: list[str]


@frozen_dataclass
class AnswerByPerson:
    """What a person of ours replied to a question of a gap. `agent` is None when only the vendor knows who it was."""

    question: str
    message_id: int
    text: str
    author: str
    agent: str | None
    conversation_id: int
    sent_at: datetime


@frozen_dataclass
class GapDetail:
    """A gap with everything that people need to close it; `answers` newest first, one for each conversation's cycle."""

    gap: GapRow
    wordings: list[Wording]
    askers: list[Asker]
    answers: list[AnswerByPerson]


async def gap_detail(tx: Transaction, gap_id: int, *, access: Access | None = None) -> GapDetail:
    """Of askers and answers those whose conversations `access` sees; None: all. Raises NotFound."""
    gap = await gap_queries.gap(tx, gap_id)
    asked = await _asked(tx, gap_id, access)
    return GapDetail(gap, await gap_queries.wordings(tx, gap_id), await _askers(tx, asked), await _answers(tx, asked))


async def words_of_person(
    tx: Transaction, gap_id: int, message_id: int | None = None, *, access: Access | None = None
) -> AnswerByPerson:
    """What a person answered to a gap: in this message, or last, where `access` sees it. Raises NotFound."""
    found = await _answers(tx, await _asked(tx, gap_id, access))
    if message_id is not None:
        found = [one for one in found if one.message_id == message_id]
        if not found:
            raise NotFound(f"Message {message_id} is no person's answer to gap {gap_id}.")
    if not found:
        raise NotFound(f"Nobody has answered gap {gap_id} yet.")
    return found[0]


async def _asked(tx: Transaction, gap_id: int, access: Access | None) -> list[GapQuestionRow]:
    asked = await gap_queries.gap_questions(tx, gap_id, limit=_LOOKED_AT)
    if access is None or access.inbox_ids is None:
        return list(asked)
    seen = await visible(tx, access, [one.conversation_id for one in asked if one.conversation_id is not None])
    return [one for one in asked if one.conversation_id in seen]


async def _askers(tx: Transaction, asked: Sequence[GapQuestionRow]) -> list[Asker]:
    return await tx.objects(
        Asker,
        _ASKERS,
        workspace=tx.workspace_id,
        ids=[one.id for one in asked],
        texts=[one.text for one in asked],
        origins=[one.origin for one in asked],
        conversations=[one.conversation_id for one in asked],
        contacts=[one.contact_id for one in asked],
        messages=[one.message_id for one in asked],
        times=[one.asked_at for one in asked],
    )


async def _answers(tx: Transaction, asked: Sequence[GapQuestionRow]) -> list[AnswerByPerson]:
    """The first reply with substance to each question, the newest first; what answers two questions once."""
    placed = [one for one in asked if one.conversation_id is not None and one.message_id is not None]
    replies = await tx.objects(
        AnswerByPerson,
        _REPLIED,
        workspace=tx.workspace_id,
        texts=[one.text for one in placed],
        conversations=[one.conversation_id for one in placed],
        messages=[one.message_id for one in placed],
        most=_REPLIES,
    )
    first: dict[tuple[int, str], AnswerByPerson] = {}
    for reply in replies:
        if says_something(reply.text):
            first.setdefault((reply.conversation_id, reply.question), reply)
    once = {reply.message_id: reply for reply in first.values()}
    return sorted(once.values(), key=lambda reply: reply.message_id, reverse=True)


def says_something(text: str) -> bool:
    """Whether a reply may answer a question: more than a greeting and a request to wait."""
    if intents.small_talk(text) is not None:
        return False
    told = [clause for clause in clauses(text) if not _HOLDING.fullmatch(clause)]
    return sum(char.isalnum() for clause in told for char in clause) >= _LEAST
