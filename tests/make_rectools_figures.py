"""Made tests/rectools_figures.json. RecTools 0.19 wants numpy < 2, so run it once in a venv of its own:

python -m venv rt && rt/bin/pip install rectools==0.19.0 scipy && rt/bin/python tests/make_rectools_figures.py
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from rectools import Columns
from rectools.metrics import MAP, MRR, NDCG, HitRate, Precision, Recall, calc_metrics

rng = np.random.default_rng(1)  # the same case as test_evaluation.random_case(seed=1)
users, items, k = 60, 50, 10
truth = rng.random((users, items)) < 0.1
truth |= np.arange(items) == rng.integers(0, items, (users, 1))
ranked = np.array([rng.permutation(items)[:k] for _ in range(users)])

reco = pd.DataFrame(
    {
        Columns.User: np.repeat(np.arange(users), k),
        Columns.Item: ranked.ravel(),
        Columns.Rank: np.tile(np.arange(1, k + 1), users),
    }
)
user, item = np.nonzero(truth)
interactions = pd.DataFrame({Columns.User: user, Columns.Item: item, Columns.Weight: 1, Columns.Datetime: "2024-01-01"})
metrics = {}
for cut in (1, 5, 10):
    metrics |= {
        f"recall@{cut}": Recall(cut),
        f"precision@{cut}": Precision(cut),
        f"hit@{cut}": HitRate(cut),
        f"mrr@{cut}": MRR(cut),
        f"ndcg@{cut}": NDCG(cut, divide_by_achievable=True),
    }
values = calc_metrics(metrics, reco=reco, interactions=interactions)
relevant = truth.sum(1)
for cut in (1, 5, 10):
    # RecTools divides AP by |R|; the course divides by min(|R|, k): each user's value is rescaled.
    per_user = MAP(cut).calc_per_user(reco, interactions).sort_index().to_numpy()
    values[f"map@{cut}"] = (per_user * relevant / np.minimum(relevant, cut)).mean()
figures = {
    "made_with": "rectools 0.19.0",
    "ranked": ranked.tolist(),
    "truth": [np.flatnonzero(row).tolist() for row in truth],
    "values": {name: float(value) for name, value in values.items()},
}
Path(__file__).with_name("rectools_figures.json").write_text(json.dumps(figures, indent=None) + "\n")
