"""A report's run: the split it stands on, settings chosen on validation, one result a method, new items apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from textrec_utils.baselines.base import Recommender
from textrec_utils.core.errors import DataError, TooLittleData, TooMuchData
from textrec_utils.datasets.dataset import Dataset
from textrec_utils.encoder.loading import DEFAULT_MODEL
from textrec_utils.evaluation.results import Result, evaluate
from textrec_utils.evaluation.statistics import FEW_USERS
from textrec_utils.evaluation.tables import leaderboard
from textrec_utils.finetuning.config import TwoTowerConfig
from textrec_utils.hybrids import NewcomerPlaces
from textrec_utils.report.methods import KINDS, METHODS, Workshop, methods_of
from textrec_utils.splits import Split, make_split
from textrec_utils.tuning import GRIDS, Tuned, tune, tune_all

SPLIT_NAMES = {"leave_last_out": "留最后一条", "temporal": "按时间", "cold_items": "新物品", "random": "随机"}
ENOUGH = 200  # test users, for the split by time to be taken
METRICS = ("ndcg", "recall", "precision", "map", "mrr", "hit")  # the first decides


def threshold(asked: str | float, own: float | None = None) -> float | None:
    """The least value of a like: the number that is asked for, 0 too; for "auto" `own`, the dataset's.

    Raises DataError for anything else.
    """
    if asked == "auto":
        return own
    try:
        value = float(asked)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"min_value 应是 auto（数据集自己的阈值）或一个有限的数，得到 {asked}。")
    return value


def open_split(dataset: Dataset, protocol: str = "auto", *, min_value: float | None = None, seed: int = 0) -> Split:
    """The split that a report stands on.

    protocol: one of `splits.PROTOCOLS`, or auto: what the dataset says of itself, but by time wherever that leaves
    ENOUGH test users with a history, since leaving out each user's last like leaks across users. By time the candidates
    are what is fresh, where the dataset says how long items live. min_value: an
    interaction of at least this value is a like; None: the dataset's own threshold. Raises DataError where the data
    don't allow the protocol, or leave a single user to judge by.
    """
    split, own = None, dataset.default_protocol
    if protocol == "auto" and own == "leave_last_out":
        with suppress(TooLittleData):
            split = make_split(dataset, "temporal", min_value=min_value, seed=seed)
    if split is None or len(split.test_users) < ENOUGH:
        wanted = own if protocol == "auto" else protocol
        fresh = dataset.fresh_days if wanted == "temporal" else None
        split = make_split(dataset, wanted, min_value=min_value, seed=seed, fresh_days=fresh)
    if len(split.test_users) < 2:
        raise DataError(
            f"{dataset.name} 只有 1 位能评测的用户，一个人的口味分不出方法的高下；请换一份用户更多的数据，"
            "只想要一份推荐列表的话，第 00 章有写法。"
        )
    return split


@dataclass
class Report:
    """A profile's methods on one split: `tune()`, then `run()`, then `results`, by method.

    k: length of the judged lists. budget: settings that each method with a grid may try on validation; 0: defaults,
    no hybrid. model, prefix: of the encoder. two_tower: the towers' settings (None: the course's). tuned: by method.
    cautions: what a reader must know before trusting a number, one sentence each. mixed: of new items alone, by method:
    its result where they stand among all items, as it is and with places kept for them.
    """

    split: Split
    profile: str = "full"
    k: int = 10
    seed: int = 0
    budget: int = 12
    model: str = DEFAULT_MODEL
    prefix: str = ""
    two_tower: TwoTowerConfig | None = None
    tuned: dict[str, Tuned] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    cautions: list[str] = field(default_factory=list)
    mixed: dict[str, tuple[Result, Result]] = field(default_factory=dict)

    def __post_init__(self):
        if self.k < 1 or self.budget < 0:
            raise DataError(f"k至少是1，budget至少是0，得到{self.k}和{self.budget}。")
        methods_of(self.profile)
        self.metrics = [f"{name}@{self.k}" for name in METRICS]
        self.main = self.metrics[0]
        self.users, self.candidates = len(self.split.test_users), int(self.split.candidates.sum())
        self.few = self.users < FEW_USERS  # then nothing is compared, and nobody wins
        self.cold_share = float(self.split.cold[self.split.test["item"]].mean())  # of the test
        self.on = SPLIT_NAMES[self.split.protocol]
        self.protocol = f"{self.on}（{self.split.protocol}）"

    def look(self) -> list[str]:
        """What is odd about the split, one sentence each; all but that users are few become cautions."""
        found = list(self.split.notes)
        if not self.few and self.users < 100:
            found.append(f"只有{self.users}位测试用户，区间很宽，结论只当线索")
        if self.k > 0.1 * self.candidates:
            share = f"{min(self.k, self.candidates)}/{self.candidates}"
            found.append(f"k占了候选的{share}，乱猜也常能命中，宜把k调小")
        if self.cold_share > 0.5:
            found.append(f"测试里{self.cold_share:.0%}是冷物品，只靠行为的方法在它们身上无从学起")
        self.cautions += found
        few = f"测试用户只有{self.users}位，不到{FEW_USERS}位，下面不做比较，分数只看个大概"
        return [few] * self.few + found

    def tune(self) -> dict[str, Tuned]:
        """Choose settings on validation; a method for which the data don't do keeps its defaults and says so."""
        lost: dict[str, list[str]] = {}
        options = {"budget": self.budget, "seed": self.seed}
        grids = [method for method in methods_of(self.profile) if method.grid and self.budget]
        try:
            made = tune_all([method.grid for method in grids], self.split, self.main, **options)
            self.tuned |= {method.key: made[method.grid] for method in grids}
        except (TooLittleData, TooMuchData):  # of one of them, at least: each by itself, then
            for method in grids:
                try:
                    self.tuned[method.key] = tune(*GRIDS[method.grid], self.split, self.main, **options)
                except (TooLittleData, TooMuchData) as error:
                    lost.setdefault(str(error), []).append(method.label)
        for why, labels in lost.items():
            self.cautions.append(f"{self.on}划分上，{'、'.join(labels)}没有调参，用默认设置：{why}")
        return self.tuned

    def run(self) -> dict[str, Result]:
        """Every method by itself: one that finds too little data, or too much, is told and the others go on.

        Each result holds the whole cost of its vectors and training; what tuning took is in none.
        """
        shop = Workshop(self.split, self.model, self.prefix, self.seed, self.tuned, self.two_tower)
        model = Path(self.model).name if Path(self.model).is_absolute() else self.model
        told = {"model": model, "prefix": self.prefix}
        for method in methods_of(self.profile):
            if shop.lacking(method.needs) == ["tuning"]:  # said where the settings are shown
                continue
            try:
                model = shop.build(method)
                made = evaluate(model, self.split, self.metrics, name=method.label, key=method.key)
            except (TooLittleData, TooMuchData) as error:
                self.cautions.append(f"{self.on}划分上，“{method.label}”没有跑：{error}")
                continue
            # Two reports that differ in their encoder must stay apart in one file.
            settings = made.parameters | (told if method.encodes else {})
            self.results[method.key] = replace(made, parameters=settings)
            if self.split.protocol == "cold_items":
                self.mixed[method.key] = self._among_all(model, name=method.label, key=method.key)
        return self.results

    def _among_all(self, model: Recommender, **told: str) -> tuple[Result, Result]:
        """What users see of new items: the whole catalogue's list, as it is and with places kept for them."""
        whole = replace(self.split, candidates=np.ones(self.split.n_items, dtype=bool))
        kept = NewcomerPlaces([model.fit(whole)], k=self.k, fit_parts=False)
        plain, placed = (evaluate(m, whole, [self.main], fit=m is kept, **told) for m in (model, kept))
        return plain, placed

    def mixed_board(self) -> pd.DataFrame:
        """New items among themselves and among all items, as it is and with places kept for them; best first."""
        rows = [
            [self.results[key].method, self.results[key].mean(self.main), *(r.mean(self.main) for r in both)]
            for key, both in self.mixed.items()
        ]
        table = pd.DataFrame(rows, columns=["方法", "新物品之间", "混在全目录", "混，留位置"])
        table = table.sort_values("混，留位置", ascending=False, kind="stable", ignore_index=True)
        return table.set_axis(table.index + 1)

    def best(self, *kinds: str, but: Sequence[str] = ("random",)) -> Result:
        """The best of these kinds of methods, some left out. Raises TooLittleData where none of them ran."""
        found = [r for key, r in self.results.items() if METHODS[key].kind in kinds and key not in but]
        if not found:
            lost = "、".join(KINDS[kind] for kind in kinds)
            raise TooLittleData("；".join([f"{self.on}划分上，{lost}一个也没有跑成，无从比较", *self.cautions]) + "。")
        return max(found, key=lambda r: r.mean(self.main))

    def board(self) -> pd.DataFrame:
        """All methods, best first: the main metric and the next with their intervals, seconds, memory."""
        table = leaderboard(self.results.values())
        shown = [column for metric in self.metrics[:2] for column in (metric, f"{metric} 95%")]
        return table[["方法", *shown, "秒", "峰值 MB"]].set_axis(table.index + 1)

    def among_new_items(self, min_value: float | None = None) -> Report:
        """The same, quick, where only new items are recommended. Raises DataError where the data don't allow it."""
        split = open_split(self.split.dataset, "cold_items", min_value=min_value, seed=self.seed)
        k = min(self.k, max(1, int(split.candidates.sum()) // 5))
        return replace(self, split=split, profile="quick", k=k, tuned={}, results={}, cautions=[], mixed={})
