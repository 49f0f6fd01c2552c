"""A report's run: the split it stands on, settings chosen on validation, one result a method, new items apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd

from textrec_utils.baselines.base import Recommender
from textrec_utils.core.errors import DataError, TooLittleData, TooMuchData
from textrec_utils.core.machine import free_memory
from textrec_utils.core.progress import tell_step
from textrec_utils.datasets.dataset import Dataset
from textrec_utils.encoder.loading import DEFAULT_MODEL
from textrec_utils.evaluation.results import Result, evaluate
from textrec_utils.evaluation.statistics import FEW_USERS
from textrec_utils.evaluation.tables import leaderboard
from textrec_utils.finetuning.config import TwoTowerConfig
from textrec_utils.hybrids import Blend, NewcomerPlaces
from textrec_utils.report.methods import KINDS, METHODS, Workshop, methods_of, train_ahead
from textrec_utils.report.serving import Serving, served
from textrec_utils.splits import Split, make_split
from textrec_utils.tuning import VALIDATIONS, Tuned, tune_all, tune_one

SPLIT_NAMES = {
    "leave_last_out": "留最后一条", "temporal": "按时间", "cold_items": "新物品", "random": "随机", "given": "给定",
}  # fmt: skip
ENOUGH = 200  # test users, for the split by time to be taken
METRICS = ("ndcg", "recall", "precision", "map", "mrr", "hit")  # the first decides
FEW_ITEMS = 1_000  # up to which several inner splits judge new items: one draw of so few says little
ROOM = 0.8  # of the memory that is free, what one method may take


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

    protocol: one of `splits.PROTOCOLS`, `splits.GIVEN`, or auto: what the dataset says of itself, but by time wherever
    that leaves ENOUGH test users with a history, since leaving out each user's last like leaks across users. By time
    the candidates are what is fresh, where the dataset says how long items live. min_value: an
    interaction of at least this value is a like; None: the dataset's own threshold. Raises DataError where the data
    don't allow the protocol, or leave a single user to judge by.
    """

    def parted(wanted: str) -> Split:
        fresh = dataset.fresh_days if wanted == "temporal" else None
        return make_split(dataset, wanted, min_value=min_value, seed=seed, fresh_days=fresh)

    split, own = None, dataset.default_protocol
    if protocol == "auto" and own == "leave_last_out":
        with suppress(TooLittleData):
            split = parted("temporal")
    if split is None or len(split.test_users) < ENOUGH:
        split = parted(own if protocol == "auto" else protocol)
    if len(split.test_users) < 2:
        raise DataError(
            f"{dataset.name} 只有 1 位能评测的用户，一个人的口味分不出方法的高下；请换一份用户更多的数据，"
            "只想要一份推荐列表的话，第 00 章有写法。"
        )
    return split


@dataclass
class Report:
    """A profile's methods on one split: `tune()`, then `run()`, then `results`, by method; `validate()` for choosing.

    k: length of the judged lists. whole_k: of those of new items among all items (0: k). budget: settings that each
    method with a grid may try on validation; 0: defaults, no hybrid. fits: trainings that choosing the text method may
    take (None: `budget`). model, prefix: of the encoder. two_tower: the towers' settings (None: the course's). tuned:
    by method.
    cautions: what a reader must know before trusting a number, one sentence each. mixed: of new items alone, by method:
    its result where they stand among all items, as it is and with places kept for them. validation: by method, its main
    metric on the first inner split; what is best is chosen by that, and judged on the test. mixed_validation: the same
    of text methods where new items stand among all items. serving: by method.
    chosen: by method, what building it chose (half-lives, shares). searches: by method, seconds that choosing its
    settings took. free: bytes of memory that one may count on (None: what is free now). methods: the profile's, but
    for those that need more of it (`no_room`): `look()` and `board()` say so.
    """

    split: Split
    profile: str = "full"
    k: int = 10
    seed: int = 0
    budget: int = 12
    model: str = DEFAULT_MODEL
    prefix: str = ""
    two_tower: TwoTowerConfig | None = None
    fits: int | None = None
    tuned: dict[str, Tuned] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    cautions: list[str] = field(default_factory=list)
    mixed: dict[str, tuple[Result, Result]] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)
    mixed_validation: dict[str, float] = field(default_factory=dict)
    serving: dict[str, Serving] = field(default_factory=dict)
    chosen: dict[str, Tuned] = field(default_factory=dict)
    searches: dict[str, float] = field(default_factory=dict)
    whole_k: int = 0
    free: int | None = None

    def __post_init__(self):
        if self.k < 1 or self.budget < 0:
            raise DataError(f"k至少是1，budget至少是0，得到{self.k}和{self.budget}。")
        self.free = free_memory() if self.free is None else self.free
        methods, n = methods_of(self.profile), self.split.n_items
        self.no_room = [method for method in methods if method.memory and method.memory(n) > ROOM * self.free]
        self.methods = [method for method in methods if method not in self.no_room]
        self.metrics = [f"{name}@{self.k}" for name in METRICS]
        self.main = self.metrics[0]
        self.whole_main = f"{METRICS[0]}@{self.whole_k or self.k}"
        self.users, self.candidates = len(self.split.test_users), int(self.split.candidates.sum())
        self.few = self.users < FEW_USERS  # then nothing is compared, and nobody wins
        self.cold_share = float(self.split.cold[self.split.test["item"]].mean())  # of the test
        self.on = SPLIT_NAMES[self.split.protocol]
        self.protocol = f"{self.on}（{self.split.protocol}）"

    def look(self) -> list[str]:
        """What is odd about the split, one sentence each; all but that users are few become cautions."""
        found = [*self.split.notes, *self.no_room_words()]
        if not self.few and self.users < 100:
            found.append(f"只有{self.users}位测试用户，区间很宽，结论只当线索")
        if self.k > 0.1 * self.candidates:
            share = f"{min(self.k, self.candidates)}/{self.candidates}"
            found.append(f"k占了候选的{share}，乱猜也常能命中，宜把k调小")
        if self.cold_share > 0.5:
            found.append(f"测试里{self.cold_share:.0%}是冷物品，只学训练里的行为的方法在它们身上无从学起")
        self.cautions += found
        few = f"测试用户只有{self.users}位，不到{FEW_USERS}位，下面不做比较，分数只看个大概"
        return [few] * self.few + found

    def no_room_words(self) -> list[str]:
        """The sentence on methods that don't fit into the memory, if any; the report on new items leaves it to this."""
        if not self.no_room:
            return []
        names, n = "、".join(method.label for method in self.no_room), self.split.n_items
        need, free = (f"{size / 1e9:,.1f} GB" for size in (max(m.memory(n) for m in self.no_room), self.free))
        return [
            f"{names}没有跑：{n:,}件物品要{need}内存（和物品数的平方成正比），可用的只有{free}，还要留{1 - ROOM:.0%}的"
            "余地；要比它们，请先去掉少有人喜欢的物品，或换一台内存大的机器"
        ]

    def tune(self) -> dict[str, Tuned]:
        """Choose settings on validation; a method for which the data don't do keeps its defaults and says so."""
        lost: dict[str, list[str]] = {}
        options = {"budget": self.budget, "seed": self.seed, "fading": True}
        grids = [method for method in self.methods if method.grid and self.budget]
        tell_step(f"调参（{'、'.join(method.label for method in grids)}）")
        try:
            made = tune_all([method.grid for method in grids], self.split, self.main, **options)
            self.tuned |= {method.key: made[method.grid] for method in grids}
        except (TooLittleData, TooMuchData):  # of one of them, at least: each by itself, then
            for method in grids:
                try:
                    self.tuned[method.key] = tune_one(method.grid, self.split, self.main, **options)
                except (TooLittleData, TooMuchData) as error:
                    lost.setdefault(str(error), []).append(method.label)
        for why, labels in lost.items():
            self.cautions.append(f"{self.on}划分上，{'、'.join(labels)}没有调参，用默认设置：{why}")
        return self.tuned

    def run(self) -> dict[str, Result]:
        """Every method by itself: one that finds too little data, or too much, is told and the others go on.

        Each result holds the whole cost of its vectors and training; what tuning took is in none.
        """
        shop, methods = self._shop(self.split), self.methods
        ahead = [shop]
        with suppress(TooLittleData):
            ahead.append(self._shop(self.split.inner()))  # for half-lives and for `validate`
            if self.budget and self.split.dataset.has_time and not self.few:
                shop.inner = ahead[-1]
        tell_step(f"编码文本、训练双塔和词向量{self._where}")
        train_ahead(ahead, [method.key for method in methods])
        model = Path(self.model).name if Path(self.model).is_absolute() else self.model
        told = {"model": model, "prefix": self.prefix}
        for n, method in enumerate(methods, start=1):
            if shop.lacking(method.needs) in (["tuning"], ["budget"]):  # said where the settings are shown
                continue
            tell_step(f"跑“{method.label}”（第 {n} 个方法，共 {len(methods)} 个{self._where}）")
            try:
                model = shop.build(method)
                made = evaluate(model, self.split, self.metrics, name=method.label, key=method.key)
            except (TooLittleData, TooMuchData) as error:
                self.cautions.append(f"{self.on}划分上，“{method.label}”没有跑：{error}")
                continue
            # Two reports that differ in their encoder must stay apart in one file.
            settings = made.parameters | (told if method.encodes else {})
            self.results[method.key] = replace(made, parameters=settings)
            self.serving[method.key] = served(model, self.split, self.k)
            if self.split.protocol == "cold_items":
                self.mixed[method.key] = self._among_all(model, self.split, name=method.label, key=method.key)
        self.chosen = shop.chosen
        self.searches = {key: found.cost.seconds for key, found in {**self.tuned, **shop.chosen}.items()}
        return self.results

    @property
    def _where(self) -> str:
        return "，新物品" if self.split.protocol == "cold_items" else ""

    def _shop(self, split: Split) -> Workshop:
        fits = self.budget if self.fits is None else self.fits
        return Workshop(split, self.model, self.prefix, self.seed, self.tuned, self.two_tower, self.main, budget=fits)

    def validate(self) -> dict[str, float]:
        """Each method's main metric on the first inner split, so that the test need not say which is the best; of new
        items, where there are few, its mean over several.

        A method whose settings were chosen there has been judged there already. Where the data can't be parted once
        more, nothing: the best is then the best of the test, and a caution says so.
        """
        if self.few:
            return self.validation
        try:
            several = self.split.protocol == "cold_items" and self.split.n_items <= FEW_ITEMS
            inners = self.split.inners(VALIDATIONS if several else 1)
        except TooLittleData:
            self.cautions.append("数据少得分不出验证集，“最好的”是看着测试结果挑的，分数偏乐观")
            return self.validation
        shops, judged = [self._shop(inner) for inner in inners], {**self.tuned, **self.chosen}
        for shop in shops:  # it is not chosen anew
            shop.chosen |= {key: made for key, made in self.chosen.items() if key == "own_tower"}
        for n, key in enumerate(self.results, start=1):
            tell_step(f"验证“{METHODS[key].label}”（第 {n} 个方法，共 {len(self.results)} 个{self._where}）")
            mixed = key in self.mixed and METHODS[key].kind == "text"
            if key in judged:
                found = judged[key].table.iloc[0]
                columns = [f"#{n}" for n in range(len(inners)) if f"#{n}" in found]
                self.validation[key] = float(found[columns].astype(float).mean())
                if not mixed:
                    continue
            with suppress(TooLittleData, TooMuchData):  # then it is not chosen
                values, among_all = zip(*(self._validated(key, shop, mixed) for shop in shops))
                if key not in judged:
                    self.validation[key] = float(np.mean(values))
                if mixed:
                    self.mixed_validation[key] = float(np.mean(among_all))
        return self.validation

    def _validated(self, key: str, shop: Workshop, mixed: bool) -> tuple[float, float]:
        """The main metric on the shop's split and, where `mixed`, among all items (else NaN)."""
        model = shop.build(METHODS[key]).fit(shop.split)
        alone = evaluate(model, shop.split, [self.main], fit=False).mean(self.main)
        return alone, self._among_all(model, shop.split)[0].mean(self.whole_main) if mixed else math.nan

    def worth(self, key: str) -> float:
        """By what a method is chosen: its figure on validation, or on the test where there is no validation."""
        return self.validation.get(key, -math.inf) if self.validation else self.results[key].mean(self.main)

    def blind(self, key: str) -> bool:
        """Does the method know nothing of items that are all new: everyone has the same list of it?"""
        ranked = self.results[key].ranked
        return self.split.protocol == "cold_items" and bool((ranked == ranked[0]).all())

    def _among_all(self, model: Recommender, split: Split, **told: str) -> tuple[Result, Result]:
        """What users see of new items: the whole catalogue's list, as it is and with places kept for them."""
        whole = split.among_all()
        if isinstance(model, Blend):  # of all methods these alone ask who may be recommended
            model.fit(whole)
        kept = NewcomerPlaces([model], k=self.whole_k or self.k, fit_parts=False)
        plain, placed = (evaluate(m, whole, [self.whole_main], fit=m is kept, **told) for m in (model, kept))
        return plain, placed

    def mixed_board(self) -> pd.DataFrame:
        """New items among themselves and among all items, as it is and with places kept for them; best first."""
        rows = [
            [self.results[key].method, self.results[key].mean(self.main), *(r.mean(self.whole_main) for r in both)]
            for key, both in self.mixed.items()
        ]
        columns = ["新物品之间", "混在全库", "混，留位置"]
        if self.whole_main != self.main:  # their figures can't be compared: each says what it is
            columns = [f"{name}（{m}）" for name, m in zip(columns, [self.main] + [self.whole_main] * 2)]
        table = pd.DataFrame(rows, columns=["方法", *columns])
        table = table.sort_values(columns[-1], ascending=False, kind="stable", ignore_index=True)
        return table.set_axis(table.index + 1)

    def best(self, *kinds: str, but: Sequence[str] = ("random",)) -> Result:
        """The best of these kinds of methods by `worth`, some left out. Raises TooLittleData where none of them ran."""
        found = [r for key, r in self.results.items() if METHODS[key].kind in kinds and key not in but]
        if not found:
            lost = "、".join(KINDS[kind] for kind in kinds)
            raise TooLittleData("；".join([f"{self.on}划分上，{lost}一个也没有跑成，无从比较", *self.cautions]) + "。")
        return max(found, key=lambda r: self.worth(r.key))

    def board(self) -> pd.DataFrame:
        """All methods, best first: the main metric and the next with their intervals, seconds, memory."""
        table = leaderboard(self.results.values())
        shown = [column for metric in self.metrics[:2] for column in (metric, f"{metric} 95%")]
        if self.validation:
            labels = {METHODS[key].label: round(value, 4) for key, value in self.validation.items()}
            table[f"验证{self.main}"] = table["方法"].map(labels)
            shown.insert(0, f"验证{self.main}")
        table = table[["方法", *shown, "秒", "峰值 MB"]]
        rows = [[f"{m.label}（内存放不下，没有跑）", *["—"] * (len(table.columns) - 1)] for m in self.no_room]
        if rows:
            table = pd.concat([table.astype(object), pd.DataFrame(rows, columns=table.columns)], ignore_index=True)
        return table.set_axis(table.index + 1)

    def among_new_items(self, min_value: float | None = None) -> Report:
        """The same, quick, where only new items are recommended. Raises DataError where the data don't allow it.

        Of few new items a list of k would hold most: there k is at most a fifth of them; among all items it stays.
        """
        split = open_split(self.split.dataset, "cold_items", min_value=min_value, seed=self.seed)
        k = min(self.k, max(1, int(split.candidates.sum()) // 5))
        nothing = {f.name: f.default_factory() for f in fields(self) if f.default_factory is not MISSING}
        fits = self.budget if self.fits is None else self.fits
        return replace(self, split=split, profile="quick", k=k, whole_k=self.k, budget=0, fits=fits, **nothing)
