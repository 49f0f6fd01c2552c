"""Rows of unequal length in batches: like lengths together, so that little is padded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from textrec_utils.encoder.precision import autocast

CPU_TOKENS = 1024  # of one pass on a CPU: with more, a layer's outputs leave its caches
TOKENIZED = 4096  # texts whose tokens are held at once
Batch = Mapping[str, torch.Tensor]  # as a tokenizer gives it


def by_length(lengths: Sequence[int], size: int, tokens: int = 0) -> list[np.ndarray]:
    """Row numbers in batches of at most `size`, the longest first, so that a lack of memory shows at once.

    lengths: (rows,), of characters or tokens. Equal lengths keep their order. tokens: a batch's rows times its longest
    stay below it, too (0: no limit); a longer row is a batch alone.

    >>> [rows.tolist() for rows in by_length([1, 5, 5, 2], size=2)]
    [[1, 2], [3, 0]]
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    batches = []
    while len(order):
        most = min(size, max(1, tokens // max(1, lengths[order[0]]))) if tokens else size
        batches.append(order[:most])
        order = order[most:]
    return batches


def padded(rows: Sequence[Sequence[int]], pad: int = 0, multiple: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask (1 = token), both (rows, longest) int64.

    rows: at least one, arrays, tensors or lists. multiple: the width is rounded up to it; a CPU's matrix library
    compiles a kernel for each new shape, so few shapes are few compilations.
    """
    lengths = np.array([len(row) for row in rows])
    width = -(-int(lengths.max()) // multiple) * multiple
    mask = np.arange(width) < lengths[:, None]
    ids = np.full(mask.shape, pad, dtype=np.int64)
    ids[mask] = np.concatenate(rows)
    return torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64))


def passes(whole: Batch, size: int, device: str) -> list[tuple[np.ndarray, Batch]]:
    """(row numbers, tokens) of texts that are about as long as each other, the longest first: little padding.

    whole: padded to one length. size: of one pass at most; on a CPU texts of many tokens are fewer.
    """
    mask = whole["attention_mask"].bool()
    batches = []
    for rows in by_length(mask.sum(1).tolist(), size, CPU_TOKENS if device == "cpu" else 0):
        there = mask[rows].any(0)
        batches.append((rows, {name: part[rows][:, there] for name, part in whole.items()}))
    return batches


def without_gradient(
    run: Callable[[np.ndarray, Batch], None], batches: list[tuple[np.ndarray, Batch]], device: str, bf16: bool
) -> None:
    """`run(rows, batch)` for each of `passes`, each on a core of its own: where all cores work on one matrix, they wait
    for each other layer by layer."""
    waiting, threads = iter(batches), torch.get_num_threads()
    workers = max(1, min(threads, len(batches))) if device == "cpu" else 1

    def work(_) -> None:
        torch.set_num_threads(threads // workers)  # of this thread
        with torch.inference_mode(), autocast(device, bf16):
            for rows, batch in waiting:  # whoever is free takes the next
                run(rows, batch)

    try:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, range(workers)))
    finally:
        torch.set_num_threads(threads)
