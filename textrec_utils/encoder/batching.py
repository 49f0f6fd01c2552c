"""Rows of unequal length in batches: like lengths together, so that little is padded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


def by_length(lengths: Sequence[int], size: int) -> list[np.ndarray]:
    """Row numbers in batches of at most `size`, the longest first, so that a lack of memory shows at once.

    lengths: (rows,), of characters or tokens. Equal lengths keep their order.

    >>> [rows.tolist() for rows in by_length([1, 5, 5, 2], size=2)]
    [[1, 2], [3, 0]]
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    return [order[start : start + size] for start in range(0, len(order), size)]


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
