"""How contacts are understood: labelled messages through the whole product, from the callback to what is stored.

    python bench/conversations.py [--data FILE --base FOLDER] [--model] [--json] [--wrong]

Without a file, the messages beside this file: for the sample shop, and for a dental clinic. WeCom is simulated on the
wire, PostgreSQL is real; with `--model` the assistant has the simulated model of `zhiban.testing.llm`, else none.

A line of a file is a JSON object: `says` – what one contact writes, one message after the other; the last is judged –
and `want`, what is right:

* a list of titles: these entries answer it. One that is itself a list names several of which each is right.
* "person": a person is asked for.
* "talk": a word of ours, no entry and no person.
* "none": nothing in the base answers it. "not_answered": only that no entry is given as the answer.
* "entry:N": the N-th entry of the menu that the message before it got. Where that got none, it does not count.

Further fields: `never` (titles that would be the opposite), `kind` and `id`. In `says`, {N} stands for the words of the
N-th entry of the menu before, {p} for those of its last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import show
from zhiban.container import App
from zhiban.kit.clock import SystemClock
from zhiban.kit.settings import load
from zhiban.knowledge import queries
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.embedding import embed_base
from zhiban.main import application
from zhiban.postgres.provisioning import migrate, provision_bundled
from zhiban.postgres.supervisor import BundledPostgres
from zhiban.testing import llm
from zhiban.testing.serving import served
from zhiban.testing.wecom import asgi, simulator
from zhiban.testing.wecom.simulator import WeComSimulator

HERE = Path(__file__).parent
SAMPLE = HERE.parent / "src" / "zhiban" / "testing" / "sample"
OURS = ((HERE / "messages_shop.jsonl", SAMPLE), (HERE / "messages_clinic.jsonl", HERE / "clinic"))
AT_ONCE = 4
_ENTRY = re.compile(r"a:(\d+)")
_PLACE = re.compile(r"\{(\d|p)\}")

_LAST = """
select t.decision, t.reason, t.zone, t.confidence, t.citations, (
         select m.content from message m where m.workspace_id = t.workspace_id and m.turn_id = t.id
           and m.direction = 'out' order by m.id limit 1) as content, (
         select string_agg(m.text, '' order by m.id) from message m where m.workspace_id = t.workspace_id
           and m.turn_id = t.id and m.direction = 'out') as text
  from turn t join conversation c on c.workspace_id = t.workspace_id and c.id = t.conversation_id
 where c.external_id = %(contact)s order by t.id desc limit 1"""
_STATE = """
select count(*) filter (where m.direction = 'in') as said, count(*) filter (where m.state in ('pending', 'queued'))
    as waiting from message m join conversation c on c.workspace_id = m.workspace_id and c.id = m.conversation_id
 where c.external_id = %(contact)s"""


@dataclass(frozen=True, slots=True)
class Told:
    """What the product did with a message."""

    decision: str
    reason: str
    zone: str | None
    confidence: float | None
    citations: list[dict[str, Any]]
    content: dict[str, Any] | None
    text: str | None

    @property
    def choices(self) -> list[dict[str, str]]:
        return list((self.content or {}).get("choices", ()))

    @property
    def titles(self) -> list[str]:
        return [str(citation["title"]) for citation in self.citations]

    @property
    def direct(self) -> bool:
        """Whether entries were given as the answer."""
        return self.decision == "Answer"

    @property
    def person(self) -> bool:
        return self.decision == "HandOff" and self.reason in ("asked", "word", "upset")

    def offers(self, titles: Mapping[int, str]) -> set[str]:
        """The titles of everything that the contact reads or can tap."""
        return {*self.titles, *(titles[id_] for choice in self.choices if (id_ := _article(choice)) in titles)}


def _article(choice: Mapping[str, str]) -> int:
    """The article behind a menu entry; 0 for a person."""
    found = _ENTRY.match(choice["id"])
    return int(found[1]) if found else 0


@dataclass(frozen=True, slots=True)
class _State:
    said: int
    waiting: int


@dataclass
class Judged:
    """One labelled message and how it went."""

    item: dict[str, Any]
    told: Told
    right: bool
    wrong: bool = False  # an entry was given as the answer that is none
    found: bool = False  # directly or in the menu
    counts: bool = True
    offered: set[str] = field(default_factory=set)


@dataclass
class Stand:
    """The product, and the simulated WeCom beside it."""

    app: App
    wecom: WeComSimulator
    workspace: int
    titles: dict[int, str]  # of the articles, by id
    url: str

    async def ask(self, item: dict[str, Any]) -> Judged:
        contact, menu = f"wm{item['id']}", []
        told: Told | None = None
        for number, text in enumerate(item["says"], start=1):
            menu = told.choices if told is not None else []
            if (filled := _filled(text, menu)) is None and told is not None:
                return Judged(item, told, right=True, counts=False)  # there was no menu to choose from
            told = await self.says(contact, filled or text, number)
        if told is None:
            raise RuntimeError(f"nothing was said in {item['id']}")
        return judge(item, told, menu, self.titles)

    async def says(self, contact: str, text: str, number: int) -> Told:
        """The contact's message of this number, and what the product did with it."""
        self.wecom.contact_says(contact, text)
        return await self.told(contact, number)

    async def told(self, contact: str, number: int) -> Told:
        """What the product did with the message of this number, once nothing waits any more."""
        for _ in range(1500):
            async with self.app.database.transaction(self.workspace) as tx:
                (state,) = await tx.objects(_State, _STATE, contact=contact)
                if state.said >= number and not state.waiting:
                    return (await tx.objects(Told, _LAST, contact=contact))[0]
            await asyncio.sleep(0.02)
        raise RuntimeError(f"no answer within 30 s: {contact}")


def _filled(text: str, menu: Sequence[dict[str, str]]) -> str | None:
    """The text with the words of the menu's entries; None when there is no such entry."""
    if (place := _PLACE.fullmatch(text)) is None:
        return text
    number = len(menu) if place[1] == "p" else int(place[1])
    return menu[number - 1]["label"] if 0 < number <= len(menu) else None


def judge(item: dict[str, Any], told: Told, menu: Sequence[dict[str, str]], titles: Mapping[int, str]) -> Judged:
    want, never = item["want"], set(item.get("never", ()))
    if isinstance(want, list):
        wanted = [{entry} if isinstance(entry, str) else set(entry) for entry in want]
        return _judge_answer(item, told, wanted, never, told.offers(titles))
    if want.startswith("entry:"):
        number = int(want.partition(":")[2])
        if number >= len(menu):  # the last entry is a person
            return Judged(item, told, right=True, counts=False)
        right = told.direct and titles.get(_article(menu[number - 1])) in told.titles
        return Judged(item, told, right, wrong=told.direct and not right)
    right = {
        "person": told.person,
        "talk": told.decision in ("SmallTalk", "NoReply", "AskAgain"),
        "none": not told.direct,
        "not_answered": not told.direct,
    }[want]
    return Judged(item, told, right, wrong=told.direct)


def _judge_answer(item: dict[str, Any], told: Told, want: list[set[str]], never: set[str], offered: set[str]) -> Judged:
    given = set(told.titles) if told.direct else set()
    allowed = set().union(*want)
    wrong = bool(told.direct and not given <= allowed) or bool(given & never)
    if len(want) == 1 and given & allowed and not given & never:
        wrong = False  # what stands beside the answer to one question is a citation too many, no wrong answer
    found = not wrong and all(one & offered for one in want)
    return Judged(item, told, right=found, wrong=wrong, found=found, offered=offered)


@dataclass
class Figures:
    """What the issue asks for, of one or several files."""

    judged: list[Judged] = field(default_factory=list)

    def of(self, *wants: str) -> list[Judged]:
        return [one for one in self.judged if one.counts and one.item["want"] in wants]

    def summary(self) -> dict[str, Any]:
        answerable = [one for one in self.judged if isinstance(one.item["want"], list)]
        direct = [one for one in self.judged if one.counts and one.told.direct]
        persons, others = self.of("person"), [one for one in self.judged if one.item["want"] != "person"]
        kinds: dict[str, list[bool]] = defaultdict(list)
        for one in self.judged:
            if one.counts:
                kinds[one.item.get("kind", "")].append(one.right)
        return {
            "messages": len(self.judged),
            "answerable": len(answerable),
            "answered_directly": _share(one.told.direct and not one.wrong for one in answerable),
            "right_or_in_menu": _share(one.found for one in answerable),
            "direct": len(direct),
            "wrong_of_direct": _share(one.wrong for one in direct),
            "out_of_scope": len(self.of("none")),
            "out_of_scope_answered": sum(one.told.direct for one in self.of("none")),
            "person": len(persons),
            "person_caught": _share(one.right for one in persons),
            "person_false": sum(one.told.person for one in others),
            "kinds": {kind: f"{sum(right)} / {len(right)}" for kind, right in sorted(kinds.items())},
            "decisions": dict(Counter(one.told.decision for one in self.judged)),
        }

    def failures(self) -> list[dict[str, Any]]:
        return [
            {
                "id": one.item["id"],
                "kind": one.item.get("kind", ""),
                "says": one.item["says"],
                "want": one.item["want"],
                "got": f"{one.told.decision} {one.told.reason}".strip(),
                "entries": sorted({*one.offered, *one.told.titles}),
                "confidence": one.told.confidence,
                "wrong": one.wrong,
            }
            for one in self.judged
            if one.counts and (one.wrong or not one.right)
        ]


def _share(values: Iterable[bool]) -> float:
    all_of_them = list(values)
    return round(sum(all_of_them) / len(all_of_them), 4) if all_of_them else 0.0


@asynccontextmanager
async def stand(base: Path, *, model: bool) -> AsyncIterator[Stand]:
    """A fresh installation with this knowledge, connected to the simulated WeCom."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zhiban-bench-")))
        postgres = BundledPostgres(folder / "pg")
        server = await postgres.start()
        stack.push_async_callback(postgres.stop)
        urls = await provision_bundled(server.superuser, "bench")
        await migrate(urls)
        wecom = await stack.enter_async_context(WeComSimulator())
        address = await stack.enter_async_context(served(asgi.application(wecom)))
        described: dict[str, Any] = {
            "zhiban_data": folder,
            "wecom_corp_id": simulator.CORP_ID,
            "wecom_agent_id": str(simulator.AGENT_ID),
            "wecom_agent_secret": simulator.SECRET,
            "wecom_token": simulator.TOKEN,
            "WECOM_ENCODING_AES_KEY": simulator.AES_KEY,
            "wecom_api_base": f"{address}/cgi-bin",
            "zhiban_secret_key": "a key for the benchmark only",
        }
        if model:
            thinking = await stack.enter_async_context(served(llm.LlmSimulator().app))
            described |= {"llm_api_key": llm.KEY, "llm_api_base": f"{thinking}/v1", "llm_model": "simulated"}
        app = App.build(load(env_file=None, **described), urls)
        app.start_workers()
        url = await stack.enter_async_context(served(application(app)))
        workspace = (await app.database.workspaces())[0]
        async with app.database.transaction(workspace) as tx:
            await knowledge.ensure_base(tx, "default", "知识库")
        now = SystemClock().now()
        await knowledge.import_paths(app.database, workspace, "default", [base], now=now)
        async with app.database.transaction(workspace) as tx:
            base_id = await knowledge.base_for(tx)
        if (embedder := app.embedders.wanted) is not None:
            await embed_base(app.database, workspace, base_id, embedder)
        await knowledge.calibrate(app.database, workspace, base_id, now=now)
        wecom.configure(f"{url}/wecom/callback")
        async with app.database.transaction(workspace) as tx:
            articles = await queries.articles(tx, base_id, after=0, limit=100_000)
        yield Stand(app, wecom, workspace, {article.id: article.title for article in articles}, url)


def read_messages(data: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [{"id": f"n{number}", **item} for number, item in enumerate(lines, start=1)]


async def run(items: Sequence[dict[str, Any]], base: Path, *, model: bool) -> list[Judged]:
    room = asyncio.Semaphore(AT_ONCE)
    async with stand(base, model=model) as found:

        async def one(item: dict[str, Any]) -> Judged:
            async with room:
                return await found.ask(item)

        return list(await asyncio.gather(*map(one, items)))


def print_summary(name: str, summary: dict[str, Any]) -> None:
    rows = [
        ("answered directly", f"{summary['answered_directly']:.1%} of {summary['answerable']} answerable"),
        ("right directly or in the menu", f"{summary['right_or_in_menu']:.1%}"),
        ("wrong direct answers", f"{summary['wrong_of_direct']:.1%} of {summary['direct']} direct"),
        ("out of scope answered", f"{summary['out_of_scope_answered']} of {summary['out_of_scope']}"),
        ("a person asked for", f"{summary['person_caught']:.1%} of {summary['person']} caught"),
        ("a person by mistake", f"{summary['person_false']}"),
        *((f"  {kind}", right) for kind, right in summary["kinds"].items()),
    ]
    show(f"{name}: {summary['messages']} messages", rows)


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="labelled messages, one JSON object a line")
    parser.add_argument("--base", type=Path, help="the knowledge to import")
    parser.add_argument("--model", action="store_true", help="with the simulated model")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--wrong", action="store_true", help="list what was not right")
    chosen = parser.parse_args()
    if (chosen.data is None) != (chosen.base is None):
        parser.error("--data and --base belong together")
    pairs = ((chosen.data, chosen.base),) if chosen.data else OURS
    together, result = Figures(), {}
    for data, base in pairs:
        figures = Figures(await run(read_messages(data), base, model=chosen.model))
        together.judged += figures.judged
        result[data.stem] = figures.summary() | {"failures": figures.failures()}
        if not chosen.json:
            print_summary(data.stem, figures.summary())
            for failure in figures.failures() if chosen.wrong else ():
                print("   ", json.dumps(failure, ensure_ascii=False))
    if len(pairs) > 1:
        result["together"] = together.summary()
        if not chosen.json:
            print_summary("together", together.summary())
    if chosen.json:
        print(json.dumps(result, ensure_ascii=False, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
