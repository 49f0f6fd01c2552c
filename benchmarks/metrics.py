"""Our metrics beside ranx on the same lists: seconds, ratio, peak memory.

    python benchmarks/metrics.py [users] [items] [k]

Default: 100,000 users, 10,000 items, lists of 20. Building the lists from scores, in blocks, is timed too.
"""

import sys
import time

import numpy as np
from scipy import sparse

from textrec_utils.core import measure
from textrec_utils.evaluation import per_user
from textrec_utils.ranking import blocks, top_k

METRICS = ("recall", "precision", "ndcg", "mrr", "map", "hit")


def lists_and_truth(users: int, items: int, k: int, seed: int = 0) -> tuple[np.ndarray, sparse.csr_matrix]:
    """Lists from random 16-dim dot products, and about ten relevant items a user."""
    rng = np.random.default_rng(seed)
    user, item = rng.normal(size=(users, 16)).astype(np.float32), rng.normal(size=(items, 16)).astype(np.float32)
    ranked = np.concatenate([top_k(part @ item.T, k) for part in blocks(user, 1024)])
    rows = np.repeat(np.arange(users), 10)
    # Half of what is relevant comes from the list itself, else random lists would have no hits to count.
    listed, any_ = ranked[rows, rng.integers(0, k, users * 10)], rng.integers(0, items, users * 10)
    columns = np.where(rng.random(users * 10) < 0.5, listed, any_)
    truth = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(users, items))
    truth.data[:] = 1
    return ranked, truth


def main(users: int = 100_000, items: int = 10_000, k: int = 20) -> None:
    from ranx import Qrels, Run, evaluate

    with measure() as cost:
        ranked, truth = lists_and_truth(users, items, k)
    print(f"top-{k} of {users:,} × {items:,} in blocks: {cost.seconds:.1f} s, peak +{cost.peak_mb:.0f} MB")
    names = [f"{m}@{k}" for m in METRICS]
    with measure() as cost:
        ours = per_user(ranked, truth, names).mean()
    print(f"per_user, {len(names)} metrics: {cost.seconds:.1f} s, peak +{cost.peak_mb:.0f} MB")
    theirs = [m.replace("hit@", "hit_rate@") for m in names]
    warm_q, warm_r = Qrels({"0": {"0": 1}}), Run({"0": {"0": 1.0}})
    evaluate(warm_q, warm_r, theirs)  # compile first
    with measure() as building:
        qrels = Qrels({str(u): {str(i): 1 for i in truth[u].indices} for u in range(users)})
        run = Run({str(u): {str(i): float(k - r) for r, i in enumerate(row)} for u, row in enumerate(ranked)})
    start = time.perf_counter()
    found = evaluate(qrels, run, theirs)
    seconds = time.perf_counter() - start
    print(f"ranx: {seconds:.1f} s, after {building.seconds:.1f} s and +{building.peak_mb:.0f} MB to build its input")
    print(f"ratio (theirs without building / ours): {seconds / cost.seconds:.1f}")
    for metric, other in zip(names, theirs):
        if not metric.startswith("map"):  # ranx divides AP by |R|
            assert abs(ours[metric] - found[other]) < 1e-6, (metric, ours[metric], found[other])
    print("same values: " + ", ".join(f"{m} {ours[m]:.4f}" for m in names))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
