"""One call from a split to a trained tower, kept where the same run was made before."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from textrec_utils.core.checkpoint import Checkpoint
from textrec_utils.core.cost import Cost
from textrec_utils.core.files import sha256_of
from textrec_utils.core.paths import cache_dir
from textrec_utils.core.processes import side_by_side
from textrec_utils.core.seeds import seeded
from textrec_utils.core.store import cached_arrays, code_key
from textrec_utils.encoder.loading import DEFAULT_MODEL
from textrec_utils.evaluation.results import evaluate
from textrec_utils.finetuning.config import TwoTowerConfig
from textrec_utils.finetuning.distributed import world
from textrec_utils.finetuning.features import read_texts
from textrec_utils.finetuning.result import TwoTower
from textrec_utils.finetuning.trainer import NotKept, Run, log, tensorboard
from textrec_utils.splits import Split

DEFAULTS = TwoTowerConfig()


def train_two_tower(
    split: Split, config: TwoTowerConfig = DEFAULTS, model: str = DEFAULT_MODEL, *,
    prefix: str = "", judge: Callable[[TwoTower], float] | None = None, patience: int = 0,
    watch: Callable[[np.ndarray], None] | None = None, log_dir: Path | str | None = None,
    checkpoint: Path | str | None = None, checkpoint_seconds: float = 30.0,
    device: str = "cpu", progress: bool = True, cache: bool = True, only_kept: bool = False,
) -> TwoTower:  # fmt: skip
    """Train on a split's training part; the result comes from the store where the same run was made before.

    A run that was killed goes on from its last checkpoint to the same numbers; the file `checkpoint` (by default one
    beside the kept results) is written every `checkpoint_seconds` and removed when the run is done. model:
    `mini-bert-zh`, a local folder or a Hugging Face name. judge: called with the tower as it stands at each of the
    curve's ten points, for choosing the number of steps; it must not look at the final test. What its answers depend on
    beside the tower it says in an attribute `key` (a plain JSON value); without one the result is not kept.
    patience: stop after so many points without a better judgement (0: never) and return the best point's vectors.
    watch: called with the curve so far, e.g. `plotting.LiveCurve()`. log_dir: also write TensorBoard logs there.
    only_kept: raise NotKept instead of training. device: `cuda` is meant to work and has not been tried; "the same
    numbers" is a promise for CPUs.
    Raises DataError where the model can't be had or `checkpoint` is not this run's, TooLittleData where nobody likes
    two items or all texts are alike. torch's own random numbers go on afterwards as if nothing had been trained.
    """
    if patience and judge is None:
        raise ValueError("patience 要有 judge 才知道有没有变好：请给一个只看验证集的 judge。")
    with seeded(config.seed):  # loading a model may draw numbers as well
        material = read_texts(split, config, model, prefix, device)
        config = material.read_as(config)
        if material.encoder:
            prefix = material.encoder.prefix
        depends = {
            "数据": split.fingerprint, "设置": config.read(), "精度": material.precision, "前缀": prefix,
            "编码器": material.encoder.fingerprint if material.encoder else "",
            "设备": device.split(":")[0], "耐心": patience,
            "验证": None if judge is None else getattr(judge, "key", "?"),
        }  # fmt: skip
        cache = cache and (judge is None or hasattr(judge, "key"))
        kept = None
        if cache or checkpoint:
            code = code_key(Run.__module__)
            parts = {**depends, "代码": code["sources"], "版本": code["libraries"]}
            identity = {part: json.dumps(value, sort_keys=True) for part, value in parts.items()}
            name = sha256_of(json.dumps(identity, sort_keys=True).encode())[:32]
            path = checkpoint or cache_dir() / "two_tower" / f"{name}.checkpoint"
            kept = Checkpoint(path, identity, seconds=checkpoint_seconds, given=checkpoint is not None)
        # Several processes must all train: one that finds a result would leave the others waiting.
        cache = cache and world()[0] == 1

        run = Run(split, config, material, judge, patience, watch, log_dir, kept, device, progress and world()[1] == 0)
        done = cached_arrays("two_tower", depends, run.refuse if only_kept else run.train, cache=cache)
    if done.from_cache and watch is not None:
        watch(done["curve"])
    if done.from_cache and log_dir:
        log(tensorboard(log_dir), done["curve"])
    # Of a run that was killed and went on, the store has measured the last part alone.
    earlier = Cost(*done["earlier"].tolist(), "train", "".join(done.cost.steps) + " before")
    cost = material.cost + earlier + done.cost
    return TwoTower.of(done.arrays, cost, config, model, prefix, material.precision, depends["编码器"])


def train_two_towers(
    split: Split, configs: Sequence[TwoTowerConfig], model: str = DEFAULT_MODEL, *, jobs: int | None = None,
    progress: bool = True, **options,
) -> list[TwoTower]:  # fmt: skip
    """Several trainings, e.g. one a seed, side by side.

    On two quiet cores that takes about as long as one after the other, each with all threads (five short ones: 6 × as
    long as one, `benchmarks/head.py seeds`); beside other work, where threads wait for each other, much less.
    One process and one thread a training, up to `jobs` at once (by default as many as torch has threads: with one, all
    stays in this process). What the store has isn't trained again. options: those of `train_two_tower` that can be
    pickled (`judge_on` can, what is written in a notebook can't).
    """
    jobs = min(jobs or torch.get_num_threads(), len(configs))
    words = {"desc": "训练", "total": len(configs), "disable": not progress, "file": sys.stdout}
    found: list[TwoTower | None] = [None] * len(configs)
    with tqdm(**words) as bar:
        for n, config in enumerate(configs):  # this reads the texts, too: else each process would encode them all
            with suppress(NotKept):
                found[n] = train_two_tower(split, config, model, progress=False, **options, only_kept=True)
                bar.update()
        missing = [n for n, tower in enumerate(found) if tower is None]
        if jobs > 1 and len(missing) > 1:
            train = partial(_alone, split, model=model, **options)
            made = side_by_side(train, [(configs[n],) for n in missing], jobs, told=bar.update)
            for n, tower in zip(missing, made):
                found[n] = tower
        else:
            for n in missing:
                found[n] = train_two_tower(split, configs[n], model, progress=False, **options)
                bar.update()
    return found


def _alone(split: Split, config: TwoTowerConfig, **options) -> TwoTower:
    torch.set_num_threads(1)
    return train_two_tower(split, config, progress=False, **options)


@dataclass
class judge_on:
    """A judge for `train_two_tower`: the metric's mean over a split's test users, with the `key` that lets results be
    kept. For choosing, give it `split.inner()`: what the final test is asked about must not choose."""

    split: Split
    metric: str = "ndcg@10"

    @property
    def key(self) -> list[str]:
        return [self.metric, self.split.fingerprint, code_key(evaluate.__module__)["sources"]]

    def __call__(self, tower: TwoTower) -> float:
        return evaluate(tower.recommender(""), self.split, [self.metric]).mean(self.metric)


def early_stopping(
    split: Split, config: TwoTowerConfig = DEFAULTS, model: str = DEFAULT_MODEL, *,
    metric: str = "ndcg@10", patience: int = 3, **options,
) -> tuple[TwoTowerConfig, TwoTower]:  # fmt: skip
    """How many steps to train, chosen on `split.inner()`: (config with `stop` filled in, the tower trained there).

    The schedule of the learning rate stays that of the whole run, so that the second run, on all of the training part,
    passes through the very rates that the first one was judged at. options: as for `train_two_tower`.
    """
    inner = split.inner()
    tower = train_two_tower(inner, config, model, judge=judge_on(inner, metric), patience=patience, **options)
    return replace(config, stop=tower.best_step), tower
