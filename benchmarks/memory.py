"""Peak memory at 100,000 users × 100,000 items: exact search, and a method evaluated. At most 2 GB each.

    python benchmarks/memory.py [step ...]

Each step runs in a process of its own, whose whole resident memory counts.
"""

import subprocess
import sys

import numpy as np
import pandas as pd
import psutil

from textrec_utils.core import measure

USERS, ITEMS, LIMIT_MB = 100_000, 100_000, 2048


def search() -> None:
    from textrec_utils.ranking import dot_top_k

    rng = np.random.default_rng(0)
    users, items = (rng.standard_normal((n, 312), dtype=np.float32) for n in (USERS, ITEMS))
    assert dot_top_k(users, items, 20)[0].shape == (USERS, 20)


def evaluation() -> None:
    """Ten likes and two tests a user; users are the mean of their history's vectors."""
    from textrec_utils.baselines import HistoryMean
    from textrec_utils.datasets import Dataset
    from textrec_utils.evaluation import evaluate, leaderboard
    from textrec_utils.splits import Split

    rng = np.random.default_rng(0)
    items = pd.DataFrame({"item_id": np.arange(ITEMS).astype(str), "title": "", "text": ""})
    users = pd.DataFrame({"user_id": np.arange(USERS).astype(str), "text": ""})
    pairs = pd.DataFrame({"user": np.repeat(np.arange(USERS), 12), "item": rng.integers(0, ITEMS, 12 * USERS)})
    pairs = pairs.drop_duplicates(ignore_index=True).assign(timestamp=0, value=1.0)
    tests = pairs.groupby("user").cumcount() < 2
    dataset = Dataset("likes", items, users, pairs, "", "")
    split = Split(dataset, "random", pairs[~tests], pairs[tests], pairs[:0], "", np.ones(ITEMS, dtype=bool))
    vectors = rng.standard_normal((ITEMS, 64), dtype=np.float32)
    print(leaderboard([evaluate(HistoryMean(vectors, "vectors"), split)]).to_string(index=False))


STEPS = {"search": search, "evaluation": evaluation}  # a step more: a function here


def main(steps: list[str]) -> None:
    for name in steps:
        command = f"import memory; memory.alone({name!r})"
        subprocess.run([sys.executable, "-c", command], check=True, cwd=sys.path[0])


def alone(name: str) -> None:
    before = psutil.Process().memory_info().rss / 2**20
    with measure() as cost:
        STEPS[name]()
    whole = before + cost.peak_mb
    print(f"{name}: {USERS:,} × {ITEMS:,}, {cost.seconds:.0f} s, peak {whole:.0f} MB of {LIMIT_MB}", flush=True)
    assert whole <= LIMIT_MB


if __name__ == "__main__":
    main(sys.argv[1:] or list(STEPS))
