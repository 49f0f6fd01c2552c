"""Texts as token ids, and the order in which a run meets them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from textrec_utils.encoder.batching import padded


def join_texts(sentences: Sequence[str], count: int, seed: int, max_chars: int = 250) -> list[str]:
    """`count` long texts, each 3 to 8 random sentences in a row, cut to max_chars characters."""
    rng = np.random.default_rng(seed)
    texts = []
    for size in rng.integers(3, 9, count):
        parts = [sentences[i] for i in rng.integers(0, len(sentences), size)]
        texts.append("".join(p if p[-1] in "。！？!?" else p + "。" for p in parts)[:max_chars])
    return texts


def length_sorted_batches(
    lengths: np.ndarray, batch_size: int, seed: Sequence[int], window: int = 50, max_tokens: int = 0
) -> list[np.ndarray]:
    """One epoch's batches of row numbers: random, but sentences of like length together, so little is padded.

    The order is random; within windows of `window` batches rows are sorted by length, then the batches are
    shuffled. Follows from seed alone. max_tokens: batches of long texts hold fewer rows, so that rows times
    longest stays below it (0: no limit).
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), window * batch_size):
        part = order[start : start + window * batch_size]
        part = part[np.argsort(lengths[part], kind="stable")]
        for i in range(0, len(part), batch_size):
            batch = part[i : i + batch_size]
            rows = max(2, max_tokens // int(lengths[batch[-1]])) if max_tokens else batch_size
            batches += [batch[j : j + rows] for j in range(0, len(batch), rows)]
    shuffled = [batches[i] for i in rng.permutation(len(batches))]
    return [batch for batch in shuffled if len(batch) > 1] or shuffled  # a lone text waits, unless all are alone


class Tokens:
    """All texts as token ids in one flat array: quick to pad, small to hold."""

    def __init__(self, tokenizer, texts: Sequence[str], max_length: int):
        rows: list[np.ndarray] = []
        for start in range(0, len(texts), 20_000):
            ids = tokenizer(list(texts[start : start + 20_000]), truncation=True, max_length=max_length)["input_ids"]
            rows += [np.array(row, dtype=np.uint16 if len(tokenizer) < 65_536 else np.int32) for row in ids]
        self.lengths = np.array([len(row) for row in rows])
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self.flat = np.concatenate(rows)

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """ids and mask, (rows, longest), padded with 0 = [PAD] to a multiple of 8 tokens: few shapes, see `padded`."""
        return padded([self.flat[self.starts[row] : self.starts[row + 1]] for row in rows], multiple=8)
