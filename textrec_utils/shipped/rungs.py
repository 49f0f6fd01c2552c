"""How much of the encoder to train: quality, parameters, seconds and memory of each rung, three seeds (chapter 06b)."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from textrec_utils.core.processes import in_own_process
from textrec_utils.datasets.registry import load_dataset
from textrec_utils.evaluation.results import evaluate
from textrec_utils.evaluation.statistics import compare
from textrec_utils.finetuning.config import TwoTowerConfig
from textrec_utils.finetuning.train import train_two_tower
from textrec_utils.splits import make_split

SEEDS = range(3)
METRICS = ("ndcg@10", "recall@10")
BASE = TwoTowerConfig(pairs=512, encoder_steps=24, precision="float32")
RUNGS = {"只训练头": "head", "头＋最后一层": "last_layer", "LoRA": "lora", "整个编码器": "whole"}
PARTS = [{"rung": rung} for rung in RUNGS.values()]


def rows(rung: str, seeds: range = SEEDS) -> pd.DataFrame:
    """A row a seed: the metrics' means over the users of `leave_last_out`, parameters trained, seconds, and peak_mb:
    memory beyond the loaded model, each run in a process of its own.

    difference, low, high: NDCG@10 less that of the head alone, each user's mean over the seeds paired with the same,
    and its 95% interval over users; the same in each row, 0 for the head itself.
    """
    split, users = make_split(load_dataset("movielens-zh"), "leave_last_out", seed=0), {}
    for name in dict.fromkeys(["head", rung]):
        configs = [replace(BASE, rung=name, seed=seed) for seed in seeds]
        towers = [in_own_process(train_two_tower, split, config, progress=False) for config in configs]
        results = [evaluate(tower.recommender(name), split, METRICS) for tower in towers]
        users[name] = sum(result.users[METRICS[0]] for result in results) / len(results)
    paired = compare(users[rung], users["head"])
    return pd.DataFrame([
        {
            "rung": rung, "seed": tower.config.seed, **{metric: result.mean(metric) for metric in METRICS},
            "parameters": tower.trained, "seconds": round(tower.cost.seconds, 1),
            "peak_mb": round(tower.cost.peak_mb), "difference": paired.difference,
            "low": paired.low, "high": paired.high,
        }
        for tower, result in zip(towers, results)
    ])  # fmt: skip
