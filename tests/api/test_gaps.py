"""The JSON API of gaps: programs see what is missing and close it; who asked is for those who may write."""

from __future__ import annotations

from tests.api.conftest import Api
from zhiban.knowledge import service as knowledge
from zhiban.people.tokens import Scope


async def record(api: Api, *questions: str) -> list[int]:
    async with api.app.database.transaction(api.workspace) as tx:
        return [
            await knowledge.record_gap(
                tx, question, conversation_id=number, contact_id=number, message_id=number, now=api.clock.now()
            )
            for number, question in enumerate(questions, 1)
        ]


async def test_gaps_are_listed_looked_at_and_closed(api: Api) -> None:
    japan, _, parking = await record(api, "能寄到日本吗", "可以寄日本吗", "门店能停车吗")
    reader, writer = await api.token("reads"), await api.token("writes", Scope.KNOWLEDGE_WRITE, Scope.KNOWLEDGE_READ)
    status, page = await api.call("GET", "/api/gaps?limit=1", reader)
    assert (status, [gap["question"] for gap in page["gaps"]], page["next_after"]) == (200, ["能寄到日本吗"], 1)
    status, page = await api.call("GET", "/api/gaps?limit=2&after=1", reader)
    assert ([gap["id"] for gap in page["gaps"]], page["next_after"]) == ([parking], None)
    status, gap = await api.call("GET", f"/api/gaps/{japan}", reader)
    assert (status, gap["times"], gap["contacts"]) == (200, 2, 2)
    assert {one["text"] for one in gap["wordings"]} == {"能寄到日本吗", "可以寄日本吗"}

    for token, expected in ((reader, 403), (writer, 200)):
        assert (await api.call("GET", f"/api/gaps/{japan}/answers", token))[0] == expected
    assert (await api.call("POST", f"/api/gaps/{japan}/close", reader, json={"answer": "可以。"}))[0] == 403
    status, closed = await api.call("POST", f"/api/gaps/{japan}/close", writer, json={"answer": "可以，七天到。"})
    assert (status, closed["status"]) == (200, "answered")
    status, article = await api.call("GET", f"/api/articles/{closed['article_id']}", reader)
    assert {one["text"] for one in article["phrasings"]} == {"能寄到日本吗", "可以寄日本吗"}
    status, closed = await api.call("POST", f"/api/gaps/{parking}/close", writer, json={})
    assert (status, closed["status"], closed["article_id"]) == (200, "dismissed", None)
    assert (await api.call("GET", "/api/gaps", reader))[1]["gaps"] == []


async def test_what_cannot_be_closed_says_so(api: Api) -> None:
    (gap_id,) = await record(api, "能寄到日本吗")
    writer = await api.token("writes", Scope.KNOWLEDGE_WRITE)
    for wanted, expected in (
        ({"answer_from": 4711}, 404),  # no person's answer to this gap
        ({"answer": "可以", "answer_from": 1}, 409),
        ({"question": "能寄吗"}, 409),
        ({"answer": "可以", "base": "none"}, 404),
        ({"answer": " "}, 409),
        ({"answer": "可以"}, 200),
        ({"answer": "可以"}, 404),  # it is closed
    ):
        assert (await api.call("POST", f"/api/gaps/{gap_id}/close", writer, json=wanted))[0] == expected, wanted
    for path in ("0", "987654", "99999999999999999999999", "987654/answers"):
        assert (await api.call("GET", f"/api/gaps/{path}", writer))[0] in (403, 404)
