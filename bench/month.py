"""A month in a minute: what a base learns from the people who use it, and from those who want to spoil it.

    python bench/month.py [--contacts 200] [--poisoners 4] [--seed 1] [--json]

The shop's 80 entries and 240 questions of `faq_shop` through the whole product: WeCom simulated on the wire, PostgreSQL
real, no model. Of the three ways in which contacts ask for each entry, two are asked during the month, popular entries
more often. Contacts take the right entry of a menu when it is there, and otherwise ask for a person; an agent sends
what the desk suggests when that is right, or answers in own words. A few take a wrong entry whenever they can.

Before and after, everything is asked by people who were never there: in the words of the month, in the third words that
nobody used, in all of them with typos, and what has no answer. A wrong answer that was not there before is a loss.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from conversations import Stand, stand
from harness import show
from material import SHOP, read_lines, right_entries, write_table
from zhiban.kit.clock import SystemClock
from zhiban.knowledge import service as knowledge
from zhiban.people import service as people
from zhiban.people.auth import COOKIE
from zhiban.people.models import Role

AT_ONCE = 4
QUESTIONS = 3  # of one contact
OPENINGS = ("", "", "您好，", "请问", "你好，请问", "亲，")
ENDINGS = ("", "", "？", "呀？", "，谢谢", "呢")


@dataclass(frozen=True)
class Wording:
    """One way to ask for an entry. `title` is the entry; empty: nothing answers it."""

    text: str
    title: str


@dataclass(frozen=True)
class Month:
    """Who asks what: the wordings that are asked during the month, and those that are kept for afterwards."""

    used: tuple[Wording, ...]
    unused: tuple[Wording, ...]
    misspelt: tuple[Wording, ...]
    strange: tuple[Wording, ...]
    answers: dict[str, str]

    @classmethod
    def of(cls, folder: Path) -> Month:
        entries = {entry["id"]: entry for entry in read_lines(folder / "corpus.jsonl")}
        right = right_entries(folder)

        def wordings(name: str) -> list[Wording]:
            return [Wording(row["text"], entries[right[row["id"]]]["text"]) for row in read_lines(folder / name)]

        of_entry: dict[str, list[Wording]] = defaultdict(list)
        for wording in wordings("queries.jsonl"):
            of_entry[wording.title].append(wording)
        return cls(
            tuple(wording for each in of_entry.values() for wording in each[:-1]),
            tuple(each[-1] for each in of_entry.values()),
            tuple(wordings("queries_typo.jsonl")),
            tuple(Wording(row["text"], "") for row in read_lines(folder / "oos.jsonl")),
            {entry["text"]: entry["answer"] for entry in entries.values()},
        )


class Agent:
    """A colleague in the browser."""

    def __init__(self, found: Stand, url: str, session: str) -> None:
        self._found, self._url = found, url
        self._headers = {"Origin": url, "Cookie": f"{COOKIE}={session}", "HX-Request": "true"}
        self.adopted = self.written = 0

    async def answer(self, contact: str, right: str) -> None:
        """Send what is suggested when it is right, otherwise the right words; then the matter is closed."""
        async with self._found.app.database.transaction(self._found.workspace) as tx:
            id_ = await tx.value("select id from conversation where external_id = %(contact)s", contact=contact)
        page = await self._ask("GET", f"/conversations/{id_}/suggestion")
        suggested = re.search(r'data-text="([^"]*)" data-ref="([^"]*)"', page)
        form = {"text": right, "key": f"{contact}-{time.monotonic_ns()}"}
        if suggested and html.unescape(suggested[1]).strip() == right.strip():
            form |= {"adopted": suggested[2]}
            self.adopted += 1
        else:
            self.written += 1
        await self._ask("POST", f"/conversations/{id_}/replies", **form)
        await self._ask("POST", f"/conversations/{id_}/resolve")

    async def _ask(self, method: str, path: str, **form: str) -> str:
        async with (
            aiohttp.ClientSession() as client,
            client.request(method, self._url + path, data=form or None, headers=self._headers) as answer,
        ):
            if answer.status not in (200, 204):
                raise RuntimeError(f"{method} {path}: {answer.status} {(await answer.text())[:300]}")
            return await answer.text()


async def _agent(found: Stand) -> Agent:
    async with found.app.database.transaction(found.workspace) as tx:
        id_ = await people.add_agent(tx, email="chen@example.test", name="陈默", role=Role.AGENT, password_hash=None)
        session = await people.open_session(tx, agent_id=id_, now=SystemClock().now())
    return Agent(found, found.url, session)


# ------------------------------------------------------------------------------------------------- the month


async def _lives(found: Stand, agent: Agent, month: Month, contact: str, asks: Sequence[Wording]) -> None:
    """An honest contact: asks, takes what is right, and otherwise wants a person."""
    said = 0
    for wording in asks:
        said += 1
        told = await found.says(contact, wording.text, said)
        entries = {found.titles.get(_article(choice)): choice for choice in told.choices}
        if told.direct:
            if wording.title not in told.titles:
                said += 1
                told = await found.says(contact, "没用，答非所问", said)
        elif wording.title in entries:
            said += 1
            found.wecom.contact_taps(contact, entries[wording.title]["id"])
            await found.told(contact, said)
        elif told.decision != "HandOff":
            said += 1
            told = await found.says(contact, "转人工", said)
        if told.decision == "HandOff":
            await agent.answer(contact, month.answers[wording.title])
            await _until(found, _IDLE, contact=contact)


async def _spoils(found: Stand, contact: str, asks: Sequence[Wording]) -> int:
    """One who takes a wrong entry whenever a menu has one. Returns how often."""
    said = taken = 0
    for wording in asks:
        said += 1
        told = await found.says(contact, wording.text, said)
        if told.decision == "HandOff":
            return taken
        wrong = [choice for choice in told.choices if found.titles.get(_article(choice)) not in (None, wording.title)]
        if wrong:
            said, taken = said + 1, taken + 1
            found.wecom.contact_taps(contact, wrong[0]["id"])
            await found.told(contact, said)
    return taken


def _article(choice: dict[str, str]) -> int:
    found = re.match(r"a:(\d+)", choice["id"])
    return int(found[1]) if found else 0


def _popular(wordings: Sequence[Wording], dice: random.Random, count: int) -> list[Wording]:
    """As many questions as are asked in a month; the entries' popularity falls as one over their rank."""
    titles = list(dict.fromkeys(wording.title for wording in wordings))
    dice.shuffle(titles)
    rank = {title: at for at, title in enumerate(titles, start=1)}
    chosen = dice.choices(wordings, weights=[1 / rank[wording.title] for wording in wordings], k=count)
    return [
        Wording(dice.choice(OPENINGS) + wording.text.rstrip("？?") + dice.choice(ENDINGS), wording.title)
        for wording in chosen
    ]


_IDLE = """
select not exists (select from message m join conversation c on c.workspace_id = m.workspace_id
  and c.id = m.conversation_id where c.external_id = %(contact)s and m.state in ('pending', 'queued'))"""
_LEARNT = """
select not exists (select from jobs.procrastinate_jobs where status in ('todo', 'doing')
  and task_name in ('weigh_evidence', 'index_phrasings', 'embed'))"""


async def _until(found: Stand, sql: str, **values: str) -> None:
    """Wait until the query says so. Raises TimeoutError."""
    async with asyncio.timeout(60):
        while True:
            async with found.app.database.transaction(found.workspace) as tx:
                if await tx.value(sql, **values):
                    return
            await asyncio.sleep(0.05)


# ------------------------------------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Outcome:
    asked: str
    direct: bool
    right: bool  # directly or in the menu
    wrong: str  # the title of a direct answer that is none


async def _measured(found: Stand, wordings: Sequence[Wording], prefix: str) -> list[Outcome]:
    """Each is asked by somebody who was never there."""

    async def one(number: int, wording: Wording) -> Outcome:
        told = await found.says(f"wm{prefix}{number}", wording.text, 1)
        direct = told.direct and wording.title in told.titles
        return Outcome(
            wording.text,
            direct,
            bool(wording.title) and wording.title in told.offers(found.titles),
            " | ".join(told.titles) if told.direct and not direct else "",
        )

    return await _together([lambda n=number, w=wording: one(n, w) for number, wording in enumerate(wordings)])


async def _together(calls: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(call: Callable[[], Awaitable[Any]]) -> Any:
        async with room:
            return await call()

    return list(await asyncio.gather(*map(one, calls)))


def _shares(before: Sequence[Outcome], after: Sequence[Outcome]) -> dict[str, Any]:
    def of(outcomes: Sequence[Outcome]) -> dict[str, float]:
        return {
            "direct": round(sum(one.direct for one in outcomes) / len(outcomes), 3),
            "right_or_in_menu": round(sum(one.right for one in outcomes) / len(outcomes), 3),
            "wrong": sum(bool(one.wrong) for one in outcomes),
        }

    added = {new.asked: new.wrong for old, new in zip(before, after, strict=True) if new.wrong and not old.wrong}
    return {"asked": len(before), "before": of(before), "after": of(after), "wrong_added": added}


async def run(contacts: int, poisoners: int, seed: int) -> dict[str, Any]:
    month, dice = Month.of(SHOP), random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="zhiban-month-") as name:
        table = write_table(Path(name) / "faq.csv", read_lines(SHOP / "corpus.jsonl"))
        async with stand(table, model=False) as found:
            agent = await _agent(found)
            sets = {"used": month.used, "unused": month.unused, "misspelt": month.misspelt, "strange": month.strange}
            before = {key: await _measured(found, each, f"B{key}") for key, each in sets.items()}
            asked = _popular(month.used, dice, contacts * QUESTIONS)
            began = time.monotonic()
            spoilt = [wording for wording, _ in Counter(asked).most_common(5)]
            lives: list[Callable[[], Awaitable[Any]]] = [
                lambda n=number: _lives(found, agent, month, f"wmHONEST{n}", asked[n * QUESTIONS : (n + 1) * QUESTIONS])
                for number in range(contacts)
            ]
            every = max(1, contacts // max(poisoners, 1))
            for number in range(poisoners):
                lives.insert(number * (every + 1), lambda n=number: _spoils(found, f"wmSPOIL{n}", spoilt))
            taken = sum(one for one in await _together(lives) if isinstance(one, int))
            took = time.monotonic() - began
            await _until(found, _LEARNT)
            async with found.app.database.transaction(found.workspace) as tx:
                base_id = await knowledge.base_for(tx)
            await knowledge.calibrate(found.app.database, found.workspace, base_id, now=SystemClock().now())
            after = {key: await _measured(found, each, f"A{key}") for key, each in sets.items()}
            async with found.app.database.transaction(found.workspace) as tx:
                learnt = await tx.value(
                    "select count(*) from phrasing where origin in ('click', 'agent') and not retired"
                )
    return {
        "contacts": contacts,
        "poisoners": poisoners,
        "questions": len(asked),
        "wrong_taps": taken,
        "adopted": agent.adopted,
        "written": agent.written,
        "learnt": learnt,
        "seconds": round(took, 1),
        **{key: _shares(before[key], after[key]) for key in sets},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contacts", type=int, default=200)
    parser.add_argument("--poisoners", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    figures = asyncio.run(run(chosen.contacts, chosen.poisoners, chosen.seed))
    if chosen.json:
        print(json.dumps(figures, ensure_ascii=False, indent=2))
        return 0
    names = {
        "used": "in the words of the month",
        "unused": "in words that nobody used",
        "misspelt": "with typos",
        "strange": "without an answer",
    }
    rows = [
        ("contacts", f"{figures['contacts']}, {figures['questions']} questions in {figures['seconds']} s"),
        ("those who spoil", f"{figures['poisoners']}, {figures['wrong_taps']} wrong taps"),
        ("agents", f"{figures['adopted']} suggestions sent, {figures['written']} answers of their own"),
        ("learnt", f"{figures['learnt']} wordings"),
    ]
    for key, told in names.items():
        one, old, new = figures[key], figures[key]["before"], figures[key]["after"]
        found = f"right or in the menu {old['right_or_in_menu']:.1%} -> {new['right_or_in_menu']:.1%}"
        wrong = f"wrong {old['wrong']} -> {new['wrong']} ({len(one['wrong_added'])} new)"
        rows.append((told, f"{one['asked']}: direct {old['direct']:.1%} -> {new['direct']:.1%}, {found}, {wrong}"))
        rows += [("  new and wrong", f"{asked} -> {title}") for asked, title in one["wrong_added"].items()]
    show("A month in a minute", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
