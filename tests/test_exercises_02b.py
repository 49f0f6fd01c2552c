"""Exercises of chapter 02b: what is right passes, what is wrong is told."""

import numpy as np
import pytest
from scipy.stats import hypergeom

from textrec_utils.evaluation import holm
from textrec_utils.exercises import verdict

SCORES = np.array([[2] + [2] * 39 + [1] * 60, [3] + [1] * 99, [0] + [1] * 99])
LEFT = (10 / 40 + 1 + 0) / 3


def ndcg(ranked, truth, k):
    dcg = sum(1 / np.log2(r + 2) for r, item in enumerate(ranked[:k]) if item in truth)
    return dcg / sum(1 / np.log2(r + 2) for r in range(min(len(truth), k)))


def full_ideal(ranked, truth, k):
    return ndcg(ranked, truth, k) * sum(1 / np.log2(r + 2) for r in range(min(len(truth), k))) / 4.5


def fair(scores, target, k):
    above, level = (scores > scores[target]).sum(), (scores == scores[target]).sum()
    return min(1, max(0, (k - above) / level))


def by_order(scores, target, k):
    return float(target in np.argsort(-scores, kind="stable")[:k])


def by_time(rows, at, users=True, pairs=True, late=False):
    train = [row for row in rows if row[2] < at or (late and row[2] == at)]
    known, seen = {row[0] for row in train}, {row[:2] for row in train}
    test = [row for row in rows if row not in train]
    return train, [r for r in test if (r[0] in known or not users) and (r[:2] not in seen or not pairs)]


def last_out(rows, at):
    last = {user: (user, item, time) for user, item, time in sorted(rows, key=lambda row: row[2])}
    return [row for row in rows if row not in last.values()], list(last.values())


def no_order(p):
    order = np.argsort(p)
    return np.minimum(1, np.maximum.accumulate(np.sort(p) * np.arange(len(p), 0, -1))) if len(order) else p


def seen_by_anyone(rows, at):
    train, test = by_time(rows, at)
    known = {item for _, item, _ in train}
    return train, [row for row in test if row[1] not in known]


RIGHT = {
    "02b-1": ndcg,
    "02b-2": holm,
    "02b-3": lambda rank, items, negatives, k: hypergeom.cdf(k - 1, items - 1, rank - 1, negatives),
    "02b-4": ("乙", fair, LEFT),
    "02b-5": by_time,
}
WRONG = [
    ("02b-1", full_ideal),
    ("02b-1", lambda ranked, truth, k: ndcg(ranked, truth, len(ranked))),  # no cut
    ("02b-1", lambda ranked, truth, k: ndcg(ranked, truth, k) if ranked else None),
    ("02b-1", lambda ranked, truth, k: ndcg(ranked, truth, min(k, len(ranked))) if ranked else 0.0),  # a short list
    ("02b-1", 0.5),
    ("02b-2", lambda p: np.minimum(1, p * len(p))),  # Bonferroni
    ("02b-2", no_order),
    ("02b-2", lambda p: [1 / 0]),
    ("02b-2", [0.02, 0.06, 0.044, 0.2, 0.044]),
    ("02b-3", lambda rank, items, negatives, k: hypergeom.cdf(k, items - 1, rank - 1, negatives)),
    ("02b-3", lambda rank, items, negatives, k: hypergeom.cdf(k - 1, items, rank, negatives)),
    ("02b-3", lambda rank, items, negatives, k: float(rank <= k)),
    ("02b-4", ("乙", by_order, LEFT)),
    ("02b-4", ("乙", fair, 2 / 3)),  # what the trap shows
    ("02b-4", ("乙", lambda s, t, k: float((s >= s[t]).sum() <= k), LEFT)),  # ties all against it
    ("02b-4", ("乙", lambda s, t, k: 0.5 * (by_order(s, t, k) + ((s >= s[t]).sum() <= k)), LEFT)),  # half a point
    ("02b-4", ("乙", lambda s, t, k: (k - (s > s[t]).sum()) / (s == s[t]).sum(), LEFT)),  # not kept within 0 and 1
    ("02b-4", ("甲", fair, LEFT)),
    ("02b-4", ("丙", fair, LEFT)),
    ("02b-4", ("丁", fair, LEFT)),
    ("02b-4", (fair, LEFT)),
    ("02b-4", fair),
    ("02b-4", ("乙", fair, "0.1")),
    ("02b-5", lambda rows, at: by_time(rows, at, late=True)),
    ("02b-5", lambda rows, at: by_time(rows, at, users=False)),
    ("02b-5", lambda rows, at: by_time(rows, at, pairs=False)),
    ("02b-5", last_out),
    ("02b-5", seen_by_anyone),
    ("02b-5", lambda rows, at: [rows]),
    ("02b-5", lambda rows, at: (1, 2)),
]


def given(name):
    return {"scores": SCORES} if name == "02b-4" else {}


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_pass(name):
    assert verdict(name, RIGHT[name], **given(name)) is None


@pytest.mark.parametrize("name, answer", WRONG)
def test_wrong_answers_are_told(name, answer):
    assert verdict(name, answer, **given(name))
