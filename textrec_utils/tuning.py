"""Settings chosen on validation, with the same care for every method: a baseline left untuned is a lie."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
import pandas as pd
import torch

from textrec_utils.baselines.base import Recommender
from textrec_utils.baselines.ease import EASE
from textrec_utils.baselines.factors import ALS, BPR
from textrec_utils.baselines.neighbours import ItemKNN, RP3Beta, UserKNN
from textrec_utils.baselines.simple import RecentPopularity
from textrec_utils.core.cost import Cost, measure
from textrec_utils.core.processes import side_by_side
from textrec_utils.core.store import cached_arrays
from textrec_utils.evaluation.results import evaluate
from textrec_utils.splits import Split

# Values in order; among them the method's own defaults.
GRIDS: dict[str, tuple[Callable[..., Recommender], dict[str, list]]] = {
    "recent": (RecentPopularity, {"hours": [1.0, 3.0, 6.0, 12.0, 24.0, 72.0, 168.0, 720.0, 8760.0]}),
    "itemknn": (ItemKNN, {"neighbours": [10, 20, 50, 100, 200, 400], "shrink": [0.0, 10.0, 50.0]}),
    "userknn": (UserKNN, {"neighbours": [20, 50, 100, 200], "shrink": [0.0, 3.0, 10.0, 30.0]}),
    "rp3beta": (RP3Beta, {"neighbours": [50, 100, 200], "alpha": [0.4, 0.6, 0.8, 1.0], "beta": [0.3, 0.5, 0.7]}),
    "ease": (EASE, {"regularization": [1.0, 3.0, 10.0, 30.0, 100.0, 200.0, 300.0, 500.0, 1000.0, 2000.0, 5000.0]}),
    "bpr": (BPR, {"learning_rate": [1e-3, 2e-3, 5e-3], "epochs": [15, 30, 60], "regularization": [0.0, 1e-3, 1e-2]}),
    "als": (ALS, {"factors": [16, 32, 64, 128], "regularization": [0.01, 0.1, 1.0, 10.0], "alpha": [1.0, 10.0, 40.0]}),
}
QUICK = (RecentPopularity, ItemKNN, UserKNN, RP3Beta, EASE, ALS)  # fitted in less than a second where `_small` says so
# Of the history, where a method `fades`; tried at its best setting, since the product of both grids is no longer quick.
HALF_LIVES = [None, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
VALIDATIONS = 3  # inner splits that a choice is the mean of
WIDENED = 3  # how many values a setting may gain where the best one lies at an end


@dataclass(frozen=True)
class Tuned:
    """best: the chosen settings. table: all tried, best first: a column a setting, `#0`, `#1`, … the inner splits, last
    their mean. metric: that figure. edge: settings whose best value is still at an end of what was tried. cost: of the
    search."""

    best: dict[str, object]
    table: pd.DataFrame
    metric: str
    edge: tuple[str, ...] = ()
    cost: Cost = field(default_factory=Cost)


def settings_of(grid: Mapping[str, Sequence], budget: int, seed: int = 0) -> list[dict[str, object]]:
    """At most `budget` settings of a grid: all of them, or a seeded random choice (Bergstra & Bengio 2012)."""
    every = [dict(zip(grid, values)) for values in product(*grid.values())]
    if len(every) <= budget:
        return every
    chosen = np.sort(np.random.default_rng(seed).choice(len(every), size=budget, replace=False))
    return [every[i] for i in chosen]


def tune(
    build: Callable[..., Recommender], grid: Mapping[str, Sequence], split: Split, metric: str = "ndcg@10", *,
    budget: int = 12, seed: int = 0, validations: int = VALIDATIONS, widen: int = WIDENED,
) -> Tuned:  # fmt: skip
    """Choose settings by their mean over `split.inners(validations)`; the test stays unseen.

    build: called with one setting as keywords. Tried are its defaults and `budget` settings of the grid; of a method in
    QUICK, where the data are small, the whole grid. Where the best value of a number lies at an end of its list, the
    list grows at that end, by the step before it, up to `widen` times (0 for shares, which end at 1). A tie goes
    to the setting that was tried first. What a class of the package was tuned to is kept in the store.
    """
    every = len(list(product(*grid.values())))
    if build in QUICK and _small(split):
        budget = max(budget, every)

    def search() -> list:
        return _search(build, grid, split, metric, budget, seed, validations, widen)

    depends = {"网格": dict(grid), "预算": budget, "种子": seed, "验证": validations, "加宽": widen}
    return _kept(build, split, metric, depends, search)


def _kept(build, split: Split, metric: str, depends: dict, search: Callable[[], list]) -> Tuned:
    """What a search of [[setting, [value on each inner split]], …] found; of a class of the package from the store."""
    if isinstance(build, type) and build.__module__.startswith("textrec_utils."):
        own = {"数据": split.fingerprint, "方法": f"{build.__module__}.{build.__qualname__}", "指标": metric}

        def packed() -> dict[str, np.ndarray]:
            return {"json": np.frombuffer(json.dumps(search()).encode(), np.uint8)}

        made = cached_arrays("tuned", own | depends, packed, stage="tune")
        tried, cost = json.loads(made["json"].tobytes()), made.cost
    else:
        with measure("tune") as cost:
            tried = search()
    return _chosen([(setting, values) for setting, values in tried], metric, cost)


def tune_half_life(
    build: Callable[..., Recommender], split: Split, metric: str = "ndcg@10", *, validations: int = VALIDATIONS,
    **setting,
) -> Tuned:  # fmt: skip
    """The best of HALF_LIVES for a method that `fades`, on data with times: how much less the older likes count.

    build: called with `setting`; on each inner split it learns once, and hears the histories anew for each half-life.
    """

    def search() -> list:
        columns = []
        for part in split.inners(validations):
            model, column = build(**setting).fit(part), []
            for model.half_life in HALF_LIVES:
                column.append(evaluate(model.hear(part), part, [metric], fit=False).mean(metric))
            columns.append(column)
        return [[{"half_life": h}, list(values)] for h, values in zip(HALF_LIVES, zip(*columns))]

    return _kept(build, split, metric, {"半衰期": HALF_LIVES, "设置": setting, "验证": validations}, search)


def tune_fading(
    build: Callable[..., Recommender], tuned: Tuned, split: Split, *, validations: int = VALIDATIONS
) -> Tuned:  # fmt: skip
    """`tuned`, and its best setting with the best half-life. The table holds both searches, `half_life` beside the
    settings."""
    later = tune_half_life(build, split, tuned.metric, validations=validations, **tuned.best)
    fading = later.table[later.table["half_life"].notna()].assign(**tuned.best)
    both = pd.concat([tuned.table.assign(half_life=None).astype({"half_life": object}), fading])
    figures = [name for name in tuned.table if name not in tuned.best]
    table = both[[*tuned.best, "half_life", *figures]].sort_values(
        figures[-1], ascending=False, kind="stable", ignore_index=True
    )
    edge, cost = tuned.edge + later.edge, tuned.cost + later.cost
    return replace(tuned, best=tuned.best | later.best, table=table, edge=edge, cost=cost)


def tune_all(
    keys: Sequence[str], split: Split, metric: str = "ndcg@10", *, jobs: int | None = None, fading: bool = False,
    **options,
) -> dict[str, Tuned]:  # fmt: skip
    """{key: `tune` of GRIDS[key]}, side by side in as many processes as torch has threads (or `jobs`).

    fading: then the half-life of those that have one (`tune_fading`).
    """
    jobs = min(jobs or torch.get_num_threads(), len(keys))
    if jobs > 1:
        order = sorted(keys, key=lambda key: GRIDS[key][0] not in (ALS, BPR))
        made = dict(zip(order, side_by_side(_alone, [(key, split, metric, fading, options) for key in order], jobs)))
        return {key: made[key] for key in keys}
    return {key: tune_one(key, split, metric, fading, **options) for key in keys}


def tune_one(key: str, split: Split, metric: str = "ndcg@10", fading: bool = False, **options) -> Tuned:
    """`tune` of GRIDS[key], and `tune_fading` where asked for and possible."""
    build, grid = GRIDS[key]
    found = tune(build, grid, split, metric, **options)
    if not (fading and build.fades and split.dataset.has_time):
        return found
    return tune_fading(build, found, split, validations=options.get("validations", VALIDATIONS))


def _alone(key: str, split: Split, metric: str, fading: bool, options: dict) -> Tuned:
    torch.set_num_threads(1)
    return tune_one(key, split, metric, fading, **options)


def _small(split: Split) -> bool:
    """Is a fit and its evaluation a matter of less than a second? By the size alone: a clock would choose otherwise
    on another machine."""
    return split.n_items <= 5_000 and split.n_users <= 10_000


def _search(build, grid, split, metric, budget, seed, validations, widen) -> list:
    """[[setting, [value on each inner split]], …] in the order in which they were tried."""
    inners, tried = split.inners(validations), []

    def attempt(setting: dict[str, object]) -> None:
        if setting not in [known for known, _ in tried]:
            tried.append([setting, [evaluate(build(**setting), part, [metric]).mean(metric) for part in inners]])

    defaults = _defaults(build, grid)
    for setting in ([defaults] if defaults else []) + settings_of(grid, budget, seed):
        attempt(setting)
    for _ in range(widen):
        best = _best(tried)
        further = [best | {name: value} for name, value in _beyond(best, tried).items()]
        if not further:
            break
        for setting in further:
            attempt(setting)
        if _best(tried) == best:
            break
    return tried


def _best(tried: list) -> dict[str, object]:
    return tried[int(np.argmax([np.mean(values) for _, values in tried]))][0]


def _defaults(build, grid: Mapping[str, Sequence]) -> dict[str, object] | None:
    """The method's own settings where they lie in the grid."""
    if not isinstance(build, type):
        return None
    own = build().settings()
    return {name: own[name] for name in grid} if all(own.get(name) in grid[name] for name in grid) else None


def _beyond(best: Mapping[str, object], tried: list) -> dict[str, object]:
    """{setting: the next value outside} for each number of `best` at an end of the values tried. Whole numbers stay
    whole; a list that holds 0 or less ends there, others go on by factors."""
    found = {}
    for name, value in best.items():
        values = sorted({setting[name] for setting, _ in tried if isinstance(setting[name], (int, float))})
        if isinstance(value, bool) or value not in values or len(values) < 2:
            continue
        if value == values[-1]:
            factor = values[-1] / values[-2] if values[-2] > 0 else 2.0
        elif value == values[0] and value > 0:
            factor = values[0] / values[1]
        else:
            continue
        new = value * factor
        new = max(1, round(new)) if isinstance(value, int) else float(f"{new:.4g}")
        if new not in values:
            found[name] = new
    return found


def _chosen(tried: list, metric: str, cost: Cost) -> Tuned:
    best = _best(tried)
    table = pd.DataFrame([setting for setting, _ in tried])
    values = np.array([values for _, values in tried])
    for n, column in enumerate(values.T):
        table[f"#{n}"] = column
    table[f"验证 {metric}"] = values.mean(axis=1)
    ordered = table.sort_values(table.columns[-1], ascending=False, kind="stable", ignore_index=True)
    return Tuned(best, ordered, metric, tuple(_beyond(best, tried)), cost)
