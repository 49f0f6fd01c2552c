"""How much of the encoder to train: quality, parameters, seconds and memory of each rung, five seeds (chapter 06b)."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from textrec_utils.core.processes import in_own_process
from textrec_utils.datasets.registry import load_dataset
from textrec_utils.finetuning.config import TwoTowerConfig
from textrec_utils.finetuning.train import train_two_tower
from textrec_utils.shipped.seeds import rows_of
from textrec_utils.splits import make_split

SEEDS = range(5)
BASE = TwoTowerConfig(pairs=512, encoder_steps=24, precision="float32")
RUNGS = {"只训练头": "head", "头＋最后一层": "last_layer", "LoRA": "lora", "整个编码器": "whole"}
PARTS = [{"rung": rung} for rung in RUNGS.values()]


def rows(rung: str, seeds: range = SEEDS) -> pd.DataFrame:
    """`rows_of` the rung beside the head, on the users of `leave_last_out`. peak_mb: memory beyond the loaded model,
    each run in a process of its own."""
    split = make_split(load_dataset("movielens-zh"), "leave_last_out", seed=0)
    towers = {
        name: [in_own_process(train_two_tower, split, replace(BASE, rung=name, seed=s), progress=False) for s in seeds]
        for name in dict.fromkeys(["head", rung])
    }
    return rows_of(split, towers[rung], towers["head"], rung=rung)
