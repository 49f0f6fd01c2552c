"""What the text adds to a tower: beside towers that read nothing, noise or the wrong text, five seeds (chapter 06).

All settings are fixed beforehand and nothing is chosen here, so the questions are asked of test parts.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from textrec_utils.datasets.registry import load_dataset
from textrec_utils.evaluation.results import Result, evaluate
from textrec_utils.evaluation.statistics import compare
from textrec_utils.finetuning.config import TwoTowerConfig
from textrec_utils.finetuning.features import untrained
from textrec_utils.finetuning.train import train_two_towers
from textrec_utils.shipped.seeds import METRICS
from textrec_utils.splits import Split, make_split

SEEDS = range(5)
BASE = TwoTowerConfig()
HEADS = ("mlp", "linear")
# What a tower reads, and beside which its difference is told: each step changes one thing.
BESIDE = {
    "ids": "", "random": "ids", "shuffled": "random", "encoder": "shuffled", "lexical": "shuffled", "both": "lexical",
}  # fmt: skip
PARTS = [{"split": split, "reads": reads} for split in ("last", "new") for reads in BESIDE]


def questions(split: str) -> dict[str, Split]:
    """last: each user's last like. new: films that nobody has liked in training, among themselves (`new`) and in the
    whole catalogue (`mixed`)."""
    dataset = load_dataset("movielens-zh")
    if split == "last":
        return {"last": make_split(dataset, "leave_last_out", seed=0)}
    new = make_split(dataset, "cold_items", seed=0)
    return {"new": new, "mixed": new.among_all()}


def rows(split: str, reads: str, seeds: range = SEEDS) -> pd.DataFrame:
    """A row a question, head (`frozen`: none) and seed: question, reads, head, seed, the metrics' means over users.

    beside, difference, low, high, p: NDCG@10 less that of the tower with the same head that reads `beside`, each user's
    mean over the seeds paired with the same, its 95% interval over users and the randomisation test. noise, noise_low,
    noise_high, noise_p: the same less the tower over random vectors. gain, gain_low, gain_high, gain_p: the same less
    the frozen vectors. Towers over item numbers have a head of their own, `ids`, and no frozen vectors.
    """
    asked, made = questions(split), []
    ours = _judged(asked, reads, seeds)
    others = _judged(asked, BESIDE[reads], seeds) if BESIDE[reads] else {}
    noise = {}
    if reads not in ("ids", "random"):
        noise = others if BESIDE[reads] == "random" else _judged(asked, "random", seeds)
    for (question, head), results in ours.items():
        theirs = others.get((question, head)) or (head != "frozen" and others.get((question, "ids")))
        paired = {"beside": BESIDE[reads]} | _paired(results, theirs)
        paired |= _paired(results, noise.get((question, head)), "noise", "noise_")
        if head != "frozen":
            paired |= _paired(results, ours.get((question, "frozen")), "gain", "gain_")
        for seed, result in zip(seeds, results):
            label = {"question": question, "reads": reads, "head": head, "seed": seed}
            made.append(label | {m: result.mean(m) for m in METRICS} | paired)
    return pd.DataFrame(made)


def _paired(ours: list[Result], theirs: list[Result] | None, *named: str) -> dict[str, float]:
    if not theirs:
        return {}
    return compare(*([r.users[METRICS[0]] for r in some] for some in (ours, theirs))).columns(*named)


def _judged(asked: dict[str, Split], reads: str, seeds: range) -> dict[tuple[str, str], list[Result]]:
    split, models = next(iter(asked.values())), {}
    config = replace(BASE, features=reads)
    if reads != "ids":
        models["frozen"] = [untrained(split, replace(config, seed=seed)) for seed in seeds]
    for head in ("ids",) if reads == "ids" else HEADS:
        setting = {} if head == "ids" else {"head": head}
        towers = train_two_towers(split, [replace(config, seed=s, **setting) for s in seeds], progress=False)
        models[head] = [tower.recommender(reads) for tower in towers]
    return {
        (question, head): [evaluate(model, part, METRICS) for model in some]
        for question, part in asked.items()
        for head, some in models.items()
    }
