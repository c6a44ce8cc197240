"""The JSON API: colleagues try questions and read articles; strangers learn nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from fastapi import FastAPI

from tests.knowledge.material import LetterEmbedder
from zhiban.api import auth, knowledge_eval
from zhiban.api import knowledge as api
from zhiban.container import ensure_workspace
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.knowledge.vectors import Embedders
from zhiban.people import service as people
from zhiban.people.auth import COOKIE, Auth
from zhiban.people.models import Role
from zhiban.testing.serving import served
from zhiban.web.assets import Assets
from zhiban.web.render import Renderer
from zhiban.web.routers import add_routes


async def _token(db: Database, workspace: int, name: str, clock: SetClock, *, role: Role = Role.AGENT) -> str:
    async with db.page_transaction(workspace) as session:
        agent = await people.add_agent(
            session, email=f"{name}@qinghe.example", name=name, role=role, password_hash=None
        )
        return await people.open_session(session, agent_id=agent, now=clock.now())


class Client:
    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        async with (
            aiohttp.ClientSession(cookies={COOKIE: self.token} if self.token else None) as session,
            session.request(
                method,
                self.url + path,
                json=body,
                headers={"origin": self.url, "accept": "application/json", **headers},
            ) as answer,
        ):
            return answer.status, await answer.json(content_type=None)

    async def trial(self, query: str, **wishes: Any) -> dict[str, Any]:
        status, found = await self.ask("POST", "/api/test_kb", {"query": query, **wishes})
        assert status == 200, found
        return dict(found)


@pytest.fixture
async def client(db: Database, workspace: int, clock: SetClock, embedded_sample_base: int) -> AsyncIterator[Client]:
    app = FastAPI()
    Auth(db, clock, Renderer(["desk"], assets=Assets(), clock=clock)).install(app)
    auth.install(app)
    add_routes(app, api.router(embedders=Embedders(LetterEmbedder())))
    add_routes(app, knowledge_eval.router(embedders=Embedders(LetterEmbedder())))
    async with served(app) as url:
        yield Client(url, await _token(db, workspace, "lin", clock))


async def test_a_trial_shows_passages_scores_zone_and_why(client: Client) -> None:
    found = await client.trial("如何退款？", top_k=2)
    assert found["zone"] == "answer"
    assert found["why"]
    assert found["trusted"]
    assert len(found["passages"]) == 2
    first = found["passages"][0]
    assert first["title"] == "怎么申请退款？"
    assert first["source"] == "sample/退款与退货.md"
    assert first["position"].startswith("line ")
    assert first["score"] > found["passages"][1]["score"]
    assert first["likeness"] == 1


async def test_a_trial_may_bring_the_conversation(client: Client) -> None:
    found = await client.trial("那运费呢？", context=["怎么退货"])
    assert found["passages"][0]["title"] == "退货运费谁出？"
    assert found["leaning_on"] == ["怎么退货"]


async def test_articles_are_listed_page_by_page_and_shown(client: Client) -> None:
    status, page = await client.ask("GET", "/api/articles?limit=5&text=发票")
    assert status == 200
    titles = [article["title"] for article in page["articles"]]
    assert len(titles) == 4
    assert page["next_after"] is None
    status, page = await client.ask("GET", "/api/articles?limit=50")
    assert (status, len(page["articles"])) == (200, 50)
    status, rest = await client.ask("GET", f"/api/articles?limit=50&after={page['next_after']}")
    assert (status, len(rest["articles"])) == (200, 12)
    status, article = await client.ask("GET", f"/api/articles/{page['articles'][0]['id']}")
    assert status == 200
    assert [row["origin"] for row in article["phrasings"]][:2] == ["question", "similar"]
    assert article["chunks"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/test_kb", {"query": ""}, 422),
        ("POST", "/api/test_kb", {"query": "x", "top_k": 0}, 422),
        ("POST", "/api/test_kb", {"query": "x", "base": "没有"}, 404),
        ("GET", "/api/articles/0", None, 404),
        ("GET", "/api/articles/99999999999999999999999", None, 404),
        ("GET", "/api/articles/987654", None, 404),
        ("GET", "/api/articles?base=none", None, 404),
    ],
)
async def test_wrong_wishes_are_refused(client: Client, method: str, path: str, body: Any, status: int) -> None:
    assert (await client.ask(method, path, body))[0] == status


async def test_only_owner_and_admins_write_articles(
    client: Client, db: Database, workspace: int, clock: SetClock
) -> None:
    wanted = {"question": "周末发货吗？", "answer": "周末照常发货。", "similar_questions": ["星期天发货吗", " "]}
    status, said = await client.ask("POST", "/api/articles", wanted)
    assert (status, "knowledge:write" in said["detail"]) == (403, True)
    admin = Client(client.url, await _token(db, workspace, "zhao", clock, role=Role.ADMIN))
    status, written = await admin.ask("POST", "/api/articles", wanted)
    assert (status, [row["text"] for row in written["phrasings"]]) == (201, ["周末发货吗？", "星期天发货吗"])
    assert (await client.trial("星期天发货吗"))["passages"][0]["answer"] == "周末照常发货。"
    assert (await client.ask("DELETE", f"/api/articles/{written['id']}"))[0] == 403
    assert (await admin.ask("DELETE", f"/api/articles/{written['id']}"))[0] == 204
    assert (await client.ask("GET", f"/api/articles/{written['id']}"))[0] == 404
    assert (await admin.ask("POST", "/api/articles", {**wanted, "answer": " "}))[0] == 409


async def test_strangers_and_other_sites_are_turned_away(client: Client) -> None:
    stranger = Client(client.url, "")
    assert (await stranger.ask("POST", "/api/test_kb", {"query": "退款"}))[0] == 401
    assert (await stranger.ask("GET", "/api/articles"))[0] == 401
    status, _ = await client.ask("POST", "/api/test_kb", {"query": "退款"}, origin="https://elsewhere.example")
    assert status == 403


async def test_a_colleague_of_another_workspace_sees_nothing(db: Database, client: Client, clock: SetClock) -> None:
    _, page = await client.ask("GET", "/api/articles")
    other = await ensure_workspace(db, "other", "别人", "zh")
    elsewhere = Client(client.url, await _token(db, other, "wang", clock))
    assert (await elsewhere.ask("GET", "/api/articles"))[1]["articles"] == []
    assert (await elsewhere.ask("GET", f"/api/articles/{page['articles'][0]['id']}"))[0] == 404
    assert (await elsewhere.trial("怎么申请退款"))["zone"] == "handoff"


async def test_a_base_is_measured(client: Client) -> None:
    asked = [{"question": "钱什么时候退给我", "expected": ["退款多久到账？"]}, {"question": "天气", "expected": []}]
    status, found = await client.ask(
        "POST", "/api/knowledge/eval", {"questions": asked, "compare": "words", "since_days": 7}
    )
    assert status == 200, found
    now, words = found["evaluations"]
    assert (now["configuration"]["by"], words["configuration"]["by"]) == ("letters", "words")
    assert (now["questions"]["questions"], now["questions"]["out_of_scope"]) == (1, 1)
    assert now["phrasings"]["questions"] > 50
    assert now["replay"] == {"asked": 0, "skipped": 0, "changed": 0, "changes": []}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"compare": "better"}, 409),
        ({"questions": [{"question": "钱呢", "expected": ["没有这条"]}]}, 409),
        ({"base": "nowhere"}, 404),
        ({"since_days": 0}, 422),
        ({"questions": [{"question": "钱呢"}] * 201}, 422),
    ],
)
async def test_what_cannot_be_measured_is_said(client: Client, body: dict[str, Any], status: int) -> None:
    assert (await client.ask("POST", "/api/knowledge/eval", body))[0] == status
