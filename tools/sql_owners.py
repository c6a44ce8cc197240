"""Who owns which table: only the owner's SQL may name it; everybody else asks the owner's queries and verbs.

import-linter sees imports; it does not see that a page updates another module's row. This reads the SQL in our strings.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

# The package below src/zhiban whose SQL may name a table.
OWNERS = {
    "action_file": "conversations",
    "agent": "people",
    "agent_address": "people",
    "agent_identity": "people",
    "agent_login": "people",
    "agent_presence": "people",
    "agent_session": "people",
    "api_token": "people",
    "article": "knowledge",
    "article_version": "knowledge",
    "assignment_turn": "conversations",
    "attachment": "conversations",
    "call_budget": "kit",
    "card_reply": "tickets",
    "chunk": "knowledge",
    "chunk_index": "knowledge",
    "circuit": "kit",
    "connection": "channels",
    "contact": "people",
    "contact_field": "people",
    "contact_follow": "conversations",
    "contact_label": "conversations",
    "contact_search": "people",
    "contact_way": "channels",
    "conversation": "conversations",
    "conversation_field": "conversations",
    "conversation_label": "conversations",
    "conversation_viewer": "conversations",
    "conversation_work": "conversations",
    "delivery": "channels",
    "draft": "conversations",
    "draft_file": "conversations",
    "event": "kit",
    "follower": "conversations",
    "flow": "automation",
    "flow_run": "automation",
    "flow_version": "automation",
    "forgotten": "conversations",
    "gap": "knowledge",
    "gap_question": "knowledge",
    "group_chat": "conversations",
    "group_silence": "assistant",
    "gateway_call": "channels",
    "gateway_lost": "channels",
    "gateway_state": "channels",
    "heard_account": "channels",
    "group_news": "tickets",
    "identity": "people",
    "inbox": "channels",
    "kept_reply": "knowledge",
    "issue": "tickets",
    "issue_card": "tickets",
    "issue_comment": "tickets",
    "issue_index": "tickets",
    "issue_vector": "tickets",
    "issue_vector_set": "tickets",
    "knowledge_base": "knowledge",
    "knowledge_import": "knowledge",
    "label": "conversations",
    "login_attempt": "people",
    "macro": "automation",
    "member_login": "tickets",
    "message": "conversations",
    "mirror_pause": "tickets",
    "message_search": "conversations",
    "message_translation": "assistant",
    "notification": "notifications",
    "notification_setting": "notifications",
    "participant": "conversations",
    "phrasing": "knowledge",
    "phrasing_candidate": "knowledge",
    "phrasing_evidence": "knowledge",
    "phrasing_vector": "knowledge",
    "published_file": "conversations",
    "pull_state": "workers",
    "read_mark": "conversations",
    "recovery_code": "people",
    "reply_slot": "channels",
    "report_agent": "insights",
    "report_conversation": "insights",
    "report_inbox": "insights",
    "report_label_set": "insights",
    "report_progress": "insights",
    "report_sum": "insights",
    "report_team": "insights",
    "repository": "tickets",
    "repository_link": "tickets",
    "retention": "people",
    "rule": "automation",
    "rule_delay": "automation",
    "rule_run": "automation",
    "search_progress": "conversations",
    "second_factor": "people",
    "saved_view": "automation",
    "setup_link": "people",
    "sign_in_provider": "people",
    "snippet": "conversations",
    "source": "knowledge",
    "stored_file": "kit",
    "stored_file_part": "kit",
    "survey": "conversations",
    "synonym_group": "knowledge",
    "team": "people",
    "team_member": "people",
    "term_df": "knowledge",
    "ticket": "tickets",
    "ticket_comment": "tickets",
    "ticket_conversation": "tickets",
    "ticket_day_list": "tickets",
    "ticket_draft": "tickets",
    "ticket_message": "tickets",
    "ticket_reminders": "tickets",
    "ticket_watcher": "tickets",
    "tracker_call": "tickets",
    "transcript_mail": "conversations",
    "translation_call": "assistant",
    "turn": "assistant",
    "vector_set": "knowledge",
    "workspace": "people",
}

# Everybody may read the log of events: lists, live updates, reports and audit are made of it.
READ_BY_ALL = {"event"}

# The directory says which workspace a name or a path belongs to, before any workspace is known. Whoever makes such a
# name enters it.
SHARED = {"directory"}

# Not the product: migrations make the tables, backups copy all of them, the doubles look into them.
FREE = {"migrations", "postgres", "testing"}

# What stands outside its module, by reason: "file: reads tables; writes tables". One that is no longer true must go.
EXCEPTIONS = {
    "a list or a notice names what it shows in one statement, not in one more per row": (
        "conversations/lists.py: reads agent contact inbox",
        "conversations/view_sql.py: reads contact",
        "conversations/message_search.py: reads agent contact inbox",
        "conversations/participants.py: reads contact",
        "conversations/spoken.py: reads agent contact",
        "conversations/queries.py: reads agent agent_presence contact identity inbox team turn",
        "automation/queries.py: reads agent inbox label team",
        "conversations/facts.py: reads contact inbox team",
        "conversations/followers.py: reads agent",
        "conversations/drafts.py: reads agent",
        "conversations/quotes.py: reads agent",
        "conversations/surveys.py: reads agent",
        "notifications/jobs.py: reads contact conversation inbox message",
        "notifications/personal.py: reads agent",
        "notifications/queries.py: reads agent contact conversation inbox",
        "notifications/service.py: reads agent conversation",
        "channels/inboxes.py: reads conversation knowledge_base",
        "assistant/gap_answers.py: reads agent contact identity message",
        "assistant/gap_evidence.py: reads conversation message",
        "assistant/group_queries.py: reads message",
        "knowledge/learnt.py: reads agent contact",
        "assistant/queries.py: reads message",
        "assistant/replaying.py: reads conversation",
        "assistant/suggesting.py: reads conversation message",
        "conversations/browsing.py: reads agent contact inbox team",
        "conversations/viewers.py: reads agent",
    ),
    "a worker takes, reads and leaves a row in one statement, because this is the hot path": (
        "workers/account_poller.py: reads delivery inbox; writes delivery",
        "conversations/transitions.py: reads contact",
        "conversations/transcripts.py: reads agent contact",
        "workers/conversation_worker.py: reads contact conversation conversation_work message participant",
        "workers/conversation_worker.py: writes message",
        "workers/delivery_reader.py: reads delivery; writes delivery",
        "workers/recovery.py: reads connection delivery inbox message",
    ),
    "the turn settles its messages together with its reply": ("assistant/service.py: writes message",),
    "a health check looks everywhere": (
        "desk/checks.py: reads delivery inbox message",
        "desk/pages/health.py: reads connection delivery inbox message",
    ),
    "the first start makes the workspace and what the settings name": (
        "container.py: writes workspace",
        "cli/demo.py: writes pull_state",
    ),
    "what an agent may see must exist, and people know nothing of channels": ("people/agents.py: reads inbox",),
    "one value for one page": (
        "desk/pages/conversation.py: reads inbox message",
        "desk/pages/sign_in.py: reads workspace",
        "knowledge/service.py: reads inbox",
    ),
}

_SQL = re.compile(r"\bselect\b|\binsert\s+into\b|\bupdate\s+\w+.*?\bset\b|\bdelete\s+from\b|\bjoin\s+\w+", re.DOTALL)
_NAMED = re.compile(r"\b(insert\s+into|update|delete\s+from|from|join)\s+(?:only\s+)?([a-z_]+)\b")
_READING = ("from", "join")  # of `_NAMED`; the others write
_CREATED = re.compile(r"\bcreate\s+(?:unlogged\s+)?table\s+(?:if\s+not\s+exists\s+)?(\w+)")


def problems(root: Path) -> Iterator[str]:
    """Every table without an owner, every statement outside its owner, and every exception that is out of date."""
    tables = set(OWNERS)
    for path in sorted((root / "src/zhiban/migrations").rglob("*.py")):
        for table in dict.fromkeys(_CREATED.findall(path.read_text("utf-8"))):
            if table not in OWNERS and table not in SHARED:
                yield f"{path.relative_to(root)}: {table} has no owner; name one in tools/sql_owners.py"
                tables.add(table)
    known = set(_exceptions())
    used: set[tuple[str, str, str]] = set()
    for path in sorted((root / "src/zhiban").rglob("*.py")):
        place = str(path.relative_to(root / "src/zhiban"))
        if place.split("/")[0] in FREE:
            continue
        for line, verb, table in statements(path.read_text("utf-8"), tables):
            if _is_own(place, verb, table):
                continue
            exception = (place, "reads" if verb in _READING else "writes", table)
            if exception in known:
                used.add(exception)
                continue
            owner = OWNERS.get(table, "nobody")
            yield f"src/zhiban/{place}:{line}: {verb} {table} belongs to {owner}; ask its queries or its verbs"
    for place, how, table in sorted(known - used):
        what = "read" if how == "reads" else "write"
        yield f"tools/sql_owners.py: {place} does not {what} {table} any more; strike the exception"


def _exceptions() -> Iterator[tuple[str, str, str]]:
    """File, reads or writes, table."""
    for entries in EXCEPTIONS.values():
        for entry in entries:
            place, _, uses = entry.partition(": ")
            for use in uses.split("; "):
                how, *tables = use.split()
                yield from ((place, how, table) for table in tables)


def statements(source: str, tables: set[str]) -> Iterator[tuple[int, str, str]]:
    """Line, verb and table of everything that a string of this module does to a table."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in prose:
            continue
        text = node.value.lower()
        if _SQL.search(text):
            for verb, table in dict.fromkeys(_NAMED.findall(text)):
                if table in tables:
                    yield node.lineno, " ".join(verb.split()), table


def _is_own(place: str, verb: str, table: str) -> bool:
    package = place.split("/")[0]
    return package == OWNERS.get(table) or (table in READ_BY_ALL and verb in _READING)
