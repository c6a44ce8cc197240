"""From the doorbell to the sent answer, under load, beside a floor measured in the same run.

    python bench/hot_path.py [--rates 20,100,120,150] [--seconds 15]

WeCom is simulated by another process on the same cores; the load comes from there too, so its cost is in the figures.
The floor is what the simulator and one bare HTTP round trip cost on this machine in the same minute.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from typing import Any

from harness import percentile, shop_faq, shop_questions, show, summary
from zhiban.testing.process_harness import ProcessHarness, free_port, start_harness

LLM_KEY = "bench"


async def floor(found: ProcessHarness, *, count: int = 300) -> float:
    """Milliseconds of one HTTP round trip to the simulator (p50): nothing can be quicker than five of these."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        async with found.session.post(f"{found.wecom}/control/state", json={"contact": "wmNOBODY"}) as answer:
            await answer.read()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


async def measure(found: ProcessHarness, rate: float, seconds: float, texts: list[str], prefix: str) -> dict[str, Any]:
    """One rate. Every contact writes once, so every message wants its own answer."""
    server = found.processes["server"]
    count = int(rate * seconds)
    cpu, postgres = server.cpu(), found.postgres_cpu()
    began = time.perf_counter()
    said = (await found.control("traffic", rate=rate, seconds=seconds, contacts=count, texts=texts, prefix=prefix))[
        "said"
    ]
    deadline = time.monotonic() + 60
    while True:
        sent = [item for item in await found.control("sent") if item["contact"].startswith(prefix)]
        if len({item["contact"] for item in sent}) >= count or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.2)
    took = time.perf_counter() - began
    first: dict[str, float] = {}
    for item in sent:
        first.setdefault(item["contact"], item["at"])
    order = list(said.values())
    latencies = [
        (first[contact] - order[number]) * 1000
        for number in range(count)
        if (contact := f"{prefix}{number:06d}") in first
    ]
    return {
        "rate": rate,
        "count": count,
        "lost": count - len(first),
        "doubled": len(sent) - len(first),
        "latencies": latencies,
        "achieved": len(first) / took,
        "app": (server.cpu() - cpu) / count * 1000,
        "postgres": (found.postgres_cpu() - postgres) / count * 1000,
        "drained": max(0.0, took - seconds),
    }


async def storm(found: ProcessHarness, count: int) -> list[tuple[str, str]]:
    """Everybody at once: the door has to acknowledge, the backlog has to drain."""
    before = (await found.control("callbacks", keep_log=True))["deliveries"]
    began = time.perf_counter()
    await found.control("traffic", rate=1_000_000, seconds=count / 1_000_000, contacts=count, prefix="wmSTORM")
    await found.control("settle")
    acked = time.perf_counter() - began
    log = await found.control("callbacks")
    while (
        len({item["contact"] for item in await found.control("sent") if item["contact"].startswith("wmSTORM")}) < count
    ):
        if time.perf_counter() - began > 120:
            break
        await asyncio.sleep(0.3)
    drained = time.perf_counter() - began
    answered = len({item["contact"] for item in await found.control("sent") if item["contact"].startswith("wmSTORM")})
    return [
        ("doorbells at once", str(count)),
        ("all acknowledged after", f"{acked:.2f} s ({log['deliveries'] - before} deliveries, {log['failed']} refused)"),
        ("all answered after", f"{drained:.1f} s ({answered / drained:.0f}/s, {count - answered} lost)"),
    ]


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", default="20,100,120,150")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--storm", type=int, default=1000)
    parser.add_argument("--no-model", action="store_true", help="answer verbatim instead of asking the instant model")
    chosen = parser.parse_args()
    llm = free_port()
    more = {} if chosen.no_model else {"LLM_API_KEY": LLM_KEY, "LLM_API_BASE": f"http://127.0.0.1:{llm}/v1"}
    async with start_harness(**more) as found:
        if not chosen.no_model:
            process = await found.start(
                "llm", sys.executable, "-m", "zhiban.testing.llm", "--port", str(llm), "--key", LLM_KEY
            )
            await asyncio.sleep(1.5)
            if process.child.returncode is not None:
                raise RuntimeError((found.folder / "llm.log").read_text())
        cold = await found.serve()
        importing = await found.start(
            "import", sys.executable, "-m", "zhiban", "kb", "import", str(shop_faq(found.folder))
        )
        if await importing.child.wait():
            raise RuntimeError((found.folder / "import.log").read_text())
        await found.processes["server"].stop()
        warm = await found.serve()
        await asyncio.sleep(2)
        idle = found.processes["server"].memory()
        trip = await floor(found)
        show(
            "Start and rest",
            [("ready, first start", f"{cold:.2f} s"), ("ready, warm", f"{warm:.2f} s"), ("idle", f"{idle:.0f} MB")],
        )
        questions = shop_questions()
        await measure(found, 10, 3, questions, "wmWARM")
        rows, failed = [], False
        for rate in map(float, chosen.rates.split(",")):
            result = await measure(found, rate, chosen.seconds, questions, f"wmR{int(rate)}x")
            p50 = statistics.median(result["latencies"])
            failed |= bool(result["lost"] or result["doubled"])
            rows.append(
                (
                    f"{rate:.0f}/s",
                    f"{summary(result['latencies'])} ms = {p50 / trip:.0f} round trips; {result['count']} messages, "
                    f"{result['lost']} lost, {result['doubled']} doubled; CPU app {result['app']:.1f} + PostgreSQL "
                    f"{result['postgres']:.1f} ms; drained {result['drained']:.1f} s after the last",
                )
            )
        show(f"Doorbell to answer (floor: one HTTP round trip {trip:.2f} ms)", rows)
        show("Everybody at once", await storm(found, chosen.storm))
        loaded = found.processes["server"].memory()
        show("Memory after the load", [("server", f"{loaded:.0f} MB")])
    return int(failed)


if __name__ == "__main__":
    assert percentile([1.0], 0.5) == 1.0
    sys.exit(asyncio.run(main()))
