"""Settings chosen on validation, with the same budget for every method: a baseline left untuned is a lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from textrec_utils.baselines.base import Recommender
from textrec_utils.baselines.ease import EASE
from textrec_utils.baselines.factors import ALS, BPR
from textrec_utils.baselines.neighbours import ItemKNN
from textrec_utils.evaluation.results import evaluate
from textrec_utils.splits import Split

GRIDS: dict[str, tuple[Callable[..., Recommender], dict[str, list]]] = {
    "itemknn": (ItemKNN, {"neighbours": [10, 20, 50, 100, 200, 400], "shrink": [0.0, 10.0, 50.0]}),
    "ease": (EASE, {"regularization": [1.0, 3.0, 10.0, 30.0, 100.0, 200.0, 300.0, 500.0, 1000.0, 2000.0, 5000.0]}),
    "bpr": (BPR, {"learning_rate": [1e-3, 2e-3, 5e-3], "epochs": [20, 40, 80], "regularization": [0.0, 1e-3, 1e-2]}),
    "als": (ALS, {"factors": [16, 32, 64, 128], "regularization": [0.01, 0.1, 1.0, 10.0], "alpha": [1.0, 10.0, 40.0]}),
}


@dataclass(frozen=True)
class Tuned:
    """best: the chosen settings. table: all tried, best first, with their validation figures. metric: that figure."""

    best: dict[str, object]
    table: pd.DataFrame
    metric: str


def settings_of(grid: Mapping[str, Sequence], budget: int, seed: int = 0) -> list[dict[str, object]]:
    """At most `budget` settings of a grid: all of them, or a seeded random choice (Bergstra & Bengio 2012)."""
    every = [dict(zip(grid, values)) for values in product(*grid.values())]
    if len(every) <= budget:
        return every
    chosen = np.sort(np.random.default_rng(seed).choice(len(every), size=budget, replace=False))
    return [every[i] for i in chosen]


def tune(
    build: Callable[..., Recommender], grid: Mapping[str, Sequence], split: Split, metric: str = "ndcg@10", *,
    budget: int = 12, seed: int = 0,
) -> Tuned:  # fmt: skip
    """Choose settings on `split.inner()`, the same protocol once more on the training part; the test stays unseen.

    build: called with one setting as keywords. A tie goes to the setting that stands first in the grid.
    """
    inner = split.inner()
    settings = settings_of(grid, budget, seed)
    values = [evaluate(build(**setting), inner, [metric]).mean(metric) for setting in settings]
    table = pd.DataFrame(settings).assign(**{f"验证 {metric}": values})
    ordered = table.sort_values(table.columns[-1], ascending=False, kind="stable", ignore_index=True)
    return Tuned(settings[int(np.argmax(values))], ordered, metric)
