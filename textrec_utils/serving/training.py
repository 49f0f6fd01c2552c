"""A method of the report with the settings that validation chose, trained on all data."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from textrec_utils.baselines.base import Recommender
from textrec_utils.core.errors import DataError, TooLittleData, TooMuchData
from textrec_utils.core.machine import versions
from textrec_utils.datasets.dataset import Dataset
from textrec_utils.datasets.registry import load_dataset
from textrec_utils.encoder.loading import DEFAULT_MODEL
from textrec_utils.evaluation.statistics import FEW_USERS
from textrec_utils.finetuning.config import TwoTowerConfig
from textrec_utils.report.methods import METHODS, Method, Workshop
from textrec_utils.report.reading import open_encoder
from textrec_utils.report.run import METRICS, open_split, threshold
from textrec_utils.serving.service import Service
from textrec_utils.splits import Split
from textrec_utils.tuning import Tuned, tune_one


def named(method: str) -> Method:
    """A method of the report by its name. Raises DataError, naming those there are."""
    if method not in METHODS:
        raise DataError(f"没有方法 {method}：可用的有 {'、'.join(METHODS)}。")
    return METHODS[method]


class Settings(Mapping):
    """{method: its settings as the report chooses them}, each looked for when it is first asked for.

    A method for which the data don't do isn't there, and keeps its defaults. say: hears which one is looked for.
    """

    def __init__(self, split: Split, metric: str, budget: int, seed: int, say: Callable[[str], None]):
        self._split, self._metric, self._say = split, metric, say
        self._options, self._found = {"budget": budget, "seed": seed}, dict[str, Tuned | None]()
        self._keys = [key for key, method in METHODS.items() if method.grid and budget]

    def _find(self, key: str) -> Tuned | None:
        if key not in self._found:
            self._say(f"在验证集上为 {METHODS[key].label} 选设置")
            try:
                found = tune_one(METHODS[key].grid, self._split, self._metric, fading=True, **self._options)
            except (TooLittleData, TooMuchData) as error:
                self._say(f"{METHODS[key].label} 用默认设置：{error}")
                found = None
            self._found[key] = found
        return self._found[key]

    def __contains__(self, key: object) -> bool:
        return key in self._keys and self._find(key) is not None

    def __getitem__(self, key: str) -> Tuned:
        if key not in self:
            raise KeyError(key)
        return self._find(key)

    def __iter__(self) -> Iterator[str]:
        return (key for key in self._keys if key in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:  # without looking for anything
        return bool(self._keys)


def train(
    dataset: str | Path | Dataset, method: str, *, all_data: bool = True, split: str = "auto",
    min_value: str | float = "auto", k: int = 10, seed: int = 0, budget: int = 12, model: str = DEFAULT_MODEL,
    prefix: str = "", pooling: str = "auto", max_length: str | int = "auto", on_missing: str = "refuse",
    two_tower: TwoTowerConfig | None = None, say: Callable[[str], None] = lambda sentence: None,
) -> Service:  # fmt: skip
    """A method of the report, fitted and ready to serve.

    Its settings are those that a report with the same values chooses on validation (and finds in the store where the
    report has run); then it learns from all likes, or, without all_data, from the training part alone: the very model
    that the report has judged. split, min_value, k, seed, budget, model, prefix, pooling, max_length, on_missing,
    two_tower: as in the report. say: hears what is being done. Raises DataError for an unknown method or bad data,
    TooLittleData where the data are too few for it.
    """
    method = named(method)
    if k < 1 or budget < 0:
        raise DataError(f"k 至少是 1，budget 至少是 0，得到 {k} 和 {budget}。")
    data = dataset if isinstance(dataset, Dataset) else load_dataset(dataset, on_missing=on_missing)
    least = threshold(min_value)
    parted = open_split(data, split, min_value=least, seed=seed)
    metric = f"{METRICS[0]}@{k}"
    tuned = Settings(parted, metric, budget, seed, say)
    if two_tower is None and method.encodes:  # read as the report reads
        name = dataset.name if isinstance(dataset, Dataset) else str(dataset)
        encoder, _ = open_encoder(data, name, model, prefix=prefix, pooling=pooling, max_length=max_length)
        two_tower = TwoTowerConfig(seed=seed, pooling=encoder.pooling, max_length=encoder.max_length)
    shop = Workshop(parted, model, prefix, seed, tuned, two_tower, metric, budget=budget)
    if budget and data.has_time and len(parted.test_users) >= FEW_USERS:
        with suppress(TooLittleData):
            shop.inner = replace(shop, split=parted.inner())
    say(f"准备 {method.label}")
    try:
        made = shop.build(method)
        if all_data:
            say(f"用全部数据训练 {method.label}")
            shop = replace(shop, split=parted.everything(), inner=None)
            made = shop.build(method)
    except TooLittleData as error:
        why = str(error).rstrip("。")
        raise TooLittleData(f"{data.name} 上做不出“{method.label}”，请换一个方法：{why}。") from None
    made.fit(shop.split)
    about = told(made, shop.split, all_data, least)
    name = Path(model).name if Path(model).is_absolute() else model
    about |= {"model": name, "prefix": prefix} if method.encodes else {}
    return Service(made, shop.split, method.key, method.label, about)


def told(model: Recommender, split: Split, all_data: bool, min_value: float | None = None) -> dict[str, object]:
    """What a `Service` says of itself: plain JSON values. min_value: the least value of a like, None: the dataset's.

    repeats: likes of an item that the user had liked before.
    """
    data = split.dataset
    liked = data.interactions["value"] >= (data.min_value if min_value is None else min_value)
    return {
        "dataset": data.name, "checksum": data.checksum(), "likes": len(split.train), "all_data": all_data,
        "repeats": int(liked.sum()) - len(data.positives(min_value)), "protocol": split.protocol,
        "settings": model.settings(), "made": datetime.date.today().isoformat(), "versions": versions(),
    }  # fmt: skip
