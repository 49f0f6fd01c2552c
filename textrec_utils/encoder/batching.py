"""Rows of unequal length in batches: like lengths together, so that little is padded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


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
