"""The command bar: where it can go. What it can do with the open conversation it reads from the page itself."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from zhiban.conversations import message_search
from zhiban.conversations.access import access_conversation
from zhiban.conversations.message_search import ContactHit, FoundConversation, SearchPage
from zhiban.desk import found
from zhiban.desk.labels import WORDS
from zhiban.kit import word_search
from zhiban.kit.errors import NotFound
from zhiban.kit.i18n import mark
from zhiban.people.auth import CurrentAgent, auth_of
from zhiban.people.permissions import Permission
from zhiban.web.render import Viewer

router = APIRouter(include_in_schema=False)

SHOWN = 5
_NUMBER = re.compile(r"#?(\d{1,18})")

# Address, words, icon, and what somebody must be allowed to do to find anything there. The pages of the settings come
# from the list that their rail shows, `settings/pages.html`.
PAGES: tuple[tuple[str, str, str, Permission | None], ...] = (
    ("/?queue=mine", mark("我的会话"), "inbox", None),
    ("/?queue=unassigned", mark("未分配的会话"), "user-off", None),
    ("/?queue=assistant", mark("助手接待的会话"), "sparkle", None),
    ("/?queue=all", mark("全部会话"), "messages", None),
    ("/search", mark("搜索消息和联系人"), "search", None),
    ("/tickets", mark("工单"), "flag", None),
    ("/knowledge", mark("知识"), "book", None),
    ("/rules", mark("规则"), "bolt", None),
    ("/reports", mark("洞察"), "chart", Permission.SEE_REPORTS),
    ("/settings/teams", mark("小组"), "users", None),
    ("/settings/health", mark("运行状况"), "heart", None),
    ("/notifications", mark("提醒"), "message", None),
    ("/me/notifications", mark("怎样提醒我"), "message", None),
    ("/me", mark("我的设置"), "user", None),
)


@router.get("/command")
async def command(request: Request, agent: CurrentAgent, q: Annotated[str, Query(max_length=200)] = "") -> Response:
    """The bar with its pages, or, where something was typed, what is called so."""
    auth = auth_of(request)
    viewer = auth.viewer(request, agent)
    if not q.strip():
        pages = [page for page in PAGES if page[3] is None or agent.access.may(page[3])]
        return auth.renderer.answer("command/bar.html", viewer, pages=pages, may=agent.access.may, looks=_looks(viewer))
    asked, now = word_search.query(q), auth.clock.now()
    numbered: FoundConversation | None = None
    contacts: list[ContactHit] = []
    page = SearchPage()
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        if number := _NUMBER.fullmatch(q.strip()):
            try:
                head = await access_conversation(tx, agent.access, int(number[1]))
            except NotFound:
                pass
            else:
                numbered = (await message_search.conversations(tx, [head.id]))[head.id]
        contacts = await message_search.search_contacts(tx, asked, access=agent.access, most=SHOWN)
        if asked:
            page = await message_search.search(tx, asked, access=agent.access, now=now)
    return auth.renderer.answer(
        "command/found.html",
        viewer,
        typed=q.strip(),
        asked=asked,
        numbered=numbered,
        contacts=[found.contact_view(one, asked) for one in contacts if one.conversations],
        hits=[(group.conversation, group.hits[0]) for group in page.groups[:SHOWN]],
        excerpt=found.excerpt,
        **WORDS,
    )


def _looks(viewer: Viewer) -> list[tuple[str, str, str, str]]:
    """What the page can look like instead: a field of the preferences, its value, words and an icon."""
    themes = (
        ("light", mark("浅色外观"), "sun"),
        ("dark", mark("深色外观"), "moon"),
        ("auto", mark("外观跟随系统"), "refresh"),
    )
    found = [("theme", value, viewer.texts(words), icon) for value, words, icon in themes if value != viewer.theme]
    other = ("en", "English") if viewer.texts.locale == "zh" else ("zh", "中文")
    return [*found, ("locale", *other, "globe")]
