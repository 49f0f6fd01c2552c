"""Another draw of new films: is what the encoder adds to the spelling still there (chapter 06)?

Which films are new is drawn; an interval over users says nothing of another draw. All settings are fixed beforehand.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from textrec_utils.datasets.registry import load_dataset
from textrec_utils.evaluation.results import evaluate
from textrec_utils.finetuning.config import TwoTowerConfig
from textrec_utils.finetuning.features import untrained
from textrec_utils.finetuning.train import train_two_towers
from textrec_utils.shipped.seeds import METRICS
from textrec_utils.splits import make_split

READS = ("encoder", "lexical", "both")
HOW = {"mlp": {}, "linear": {"head": "linear"}}  # every reading is asked for these
# What might let the encoder's half say more, each beside `mlp`; the spelling knows none of these settings.
FURTHER = {"first_last": {"pooling": "first_last"}, "256": {"max_length": 256}, "louder": {"meaning": 1.0}}
PARTS = [{"draw": n} for n in range(10)]


def rows(draw: int) -> pd.DataFrame:
    """A row a reading and what was changed (`frozen`: no head): draw, reads, how, the metrics' means over users."""
    split = make_split(load_dataset("movielens-zh"), "cold_items", seed=draw)
    asked = [(reads, how, change) for reads in READS for how, change in HOW.items()]
    asked += [("both", how, change) for how, change in FURTHER.items()]
    configs = [TwoTowerConfig(features=reads, seed=draw, **change) for reads, _, change in asked]
    towers = train_two_towers(split, configs, progress=False)
    models = [tower.recommender("") for tower in towers]
    still = [replace(TwoTowerConfig(), features=reads, seed=draw) for reads in READS]
    models += [untrained(split, config) for config in still]
    labels = [(reads, how) for reads, how, _ in asked] + [(reads, "frozen") for reads in READS]
    results = [evaluate(model, split, METRICS) for model in models]
    return pd.DataFrame([
        {"draw": draw, "reads": reads, "how": how} | {m: result.mean(m) for m in METRICS}
        for (reads, how), result in zip(labels, results)
    ])  # fmt: skip
