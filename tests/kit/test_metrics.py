"""What Prometheus reads."""

from __future__ import annotations

import pytest

from zhiban.kit import metrics


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


def test_counts_and_times_appear_on_the_page() -> None:
    before = value("zhiban_messages_total", direction="incoming", channel="wecom_kf")
    metrics.message("incoming", "wecom_kf", 2)
    metrics.delivery("wecom_kf", "stored")
    metrics.send("wecom_kf", "sent")
    metrics.answer("answer")
    metrics.handoff("asked_for_person")
    metrics.queue_depth("quick", 7)
    metrics.dead_letters(1)
    metrics.llm("answered", read=120, written=30, cost=0.002)
    metrics.took("answer", 0.012)

    assert value("zhiban_messages_total", direction="incoming", channel="wecom_kf") == before + 2
    assert value("zhiban_queue_depth", queue="quick") == 7
    page, kind = metrics.render()
    assert kind.startswith("text/plain")
    for name in ("answers_total", "handoffs_total", "stage_seconds_bucket", "llm_tokens_total", "dead_letters"):
        assert f"zhiban_{name}".encode() in page
    assert b"process_resident_memory_bytes" in page


def test_a_block_that_fails_is_timed_all_the_same() -> None:
    def fail() -> None:
        with metrics.timed("test"):
            raise LookupError

    before = value("zhiban_stage_seconds_count", stage="test")
    with pytest.raises(LookupError):
        fail()
    assert value("zhiban_stage_seconds_count", stage="test") == before + 1
