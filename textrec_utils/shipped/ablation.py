"""One change at a time to the tower that reads both kinds of text, on validation, five seeds each (chapter 06b)."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from textrec_utils.datasets.registry import load_dataset
from textrec_utils.finetuning.config import TwoTowerConfig
from textrec_utils.finetuning.train import train_two_towers
from textrec_utils.shipped.seeds import rows_of
from textrec_utils.splits import Split, make_split

SEEDS = range(5)
BASE = TwoTowerConfig(features="both", pairs=512)
BASELINE = "基准：两种都读"
CHANGES = {
    BASELINE: {}, "只读编码器": {"features": "encoder"}, "只读词面": {"features": "lexical"},
    "线性的头": {"head": "linear"},
    "τ = 0.05": {"temperature": 0.05}, "τ = 0.2": {"temperature": 0.2},
    "τ也学": {"similarity": "learned"}, "不归一": {"similarity": "dot"},
    "近的重": {"user": "recency", "half_life": 30.0}, "注意力": {"user": "attention"},
    "只看最近30部": {"history": 30}, "拿前面猜后面": {"question": "cut"},
    "批内，无难负例": {"loss": "in_batch"},
    "批内＋难负例": {"loss": "in_batch", "hard_negatives": 4}, "池化用[CLS]": {"pooling": "cls"},
    "学习率减半": {"learning_rate": 1e-3},
}  # fmt: skip
FOR_NEW = (
    BASELINE,
    "只读编码器",
    "只读词面",
    "线性的头",
    "批内，无难负例",
    "批内＋难负例",
)  # these might learn by rote
PARTS = [{"question": "last", "change": c} for c in CHANGES] + [{"question": "new", "change": c} for c in FOR_NEW]


def split_of(question: str) -> Split:
    """The validation part of `last` (each user's last like) or `new` (films that nobody has liked in training)."""
    protocol = {"last": "leave_last_out", "new": "cold_items"}[question]
    return make_split(load_dataset("movielens-zh"), protocol, seed=0).inner()


def rows(question: str, change: str, seeds: range = SEEDS) -> pd.DataFrame:
    """`rows_of` the change beside the baseline."""
    split = split_of(question)
    towers = {
        name: train_two_towers(split, [replace(BASE, **CHANGES[name], seed=s) for s in seeds], progress=False)
        for name in dict.fromkeys([BASELINE, change])
    }
    return rows_of(split, towers[change], towers[BASELINE], question=question, change=change)
