"""What the benchmarks share: the shop's questions, and how figures are shown."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

FAQ = Path(__file__).parent / "faq_shop" / "corpus.jsonl"


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def shop_faq(folder: Path) -> Path:
    """The shop's FAQ as one Markdown file."""
    lines = []
    for line in FAQ.read_text().splitlines():
        entry = json.loads(line)
        lines.append(f"## {entry['text']}\n\n{entry['answer']}\n")
    path = folder / "shop.md"
    path.write_text("# 常见问题\n\n" + "\n".join(lines))
    return path


def shop_questions() -> list[str]:
    return [json.loads(line)["text"] for line in FAQ.read_text().splitlines()]


def show(title: str, rows: Sequence[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    print(f"\n{title}")
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")


def summary(values: Sequence[float]) -> str:
    """p50 / p95 / p99 of milliseconds."""
    return (
        f"p50 {statistics.median(values):.1f}  p95 {percentile(values, 0.95):.1f}  p99 {percentile(values, 0.99):.1f}"
        if values
        else "none"
    )
