"""Exercises of chapter 07: what is right passes, what is wrong is told."""

import numpy as np
import pytest

from textrec_utils.exercises import verdict


def best_k(scores, k):
    scores = np.asarray(scores, dtype=float)
    if np.isnan(scores).any():
        raise ValueError("NaN")
    order = np.argsort(-scores, kind="stable")[:k]
    order = order[scores[order] > -np.inf]
    return np.pad(order, (0, k - len(order)), constant_values=-1)


def padded(order, k):
    return np.pad(order, (0, k - len(order)), constant_values=-1)


def finite_alone(scores, k):  # drops what is +inf too
    order = np.argsort(-np.asarray(scores, dtype=float), kind="stable")[:k]
    return padded(order[np.isfinite(scores[order])], k)


def wraps_round(scores, k):  # -3 is 253 where there is no sign
    best_k(scores, k)
    order = np.argsort(-scores, kind="stable")[:k]
    return padded(order[scores[order] != -np.inf], k)


def with_bias(users, items, bias):
    return np.hstack([users, np.ones((len(users), 1))]), np.hstack([items, np.asarray(bias)[:, None]])


def explain_weighted(item, history, weights, vectors, n):
    terms = weights * (vectors[history] @ vectors[item])
    order = np.argsort(-terms, kind="stable")[:n]
    return [(int(history[i]), float(terms[i])) for i in order]


def mean_instead(item, history, weights, vectors, n):
    return explain_weighted(item, history, np.ones(len(history)) / max(1, len(history)), vectors, n)


def merge(index_a, scores_a, index_b, scores_b, k):
    index, scores = np.concatenate([index_a, index_b]), np.concatenate([scores_a, scores_b])
    index, scores = index[index >= 0], scores[index >= 0]
    order = np.lexsort((index, -scores))[:k]
    short = k - len(order)
    return padded(index[order], k), np.pad(scores[order], (0, short), constant_values=-np.inf)


def merge_by_place(index_a, scores_a, index_b, scores_b, k):  # ties by the block
    index, scores = np.concatenate([index_a, index_b]), np.concatenate([scores_a, scores_b])
    order = np.argsort(-scores, kind="stable")[:k]
    return index[order], scores[order]


def merge_unpadded(index_a, scores_a, index_b, scores_b, k):
    index, scores = np.concatenate([index_a, index_b]), np.concatenate([scores_a, scores_b])
    index, scores = index[index >= 0], scores[index >= 0]
    order = np.lexsort((index, -scores))[:k]
    return index[order], scores[order]


def one_after_the_other(index_a, scores_a, index_b, scores_b, k):
    return index_a[:k], scores_a[:k]


def fails(*arguments):
    raise KeyError("nothing")


RIGHT = {
    "07-1": best_k,
    "07-2": with_bias,
    "07-3": explain_weighted,
    "07-4": (np.array([1.0, 0.0]), np.array([[1, 0.1], [2, 1], [3, 9]])),
    "07-5": merge,
    "07-6": 8.7,
}
WRONG = [
    ("07-1", lambda s, k: np.argsort(s)[:-k][::-1]),  # the article's slice
    ("07-1", lambda s, k: np.argsort(s, kind="stable")[::-1][:k]),  # ties turned round
    ("07-1", lambda s, k: np.argsort(-s, kind="stable")[:k]),  # k > n, −inf
    ("07-1", lambda s, k: padded(np.argsort(-s, kind="stable")[:k], k)),  # −inf taken
    ("07-1", lambda s, k: best_k(np.nan_to_num(s, nan=-np.inf, posinf=np.inf, neginf=-np.inf), k)),  # NaN unsaid
    ("07-1", finite_alone),
    ("07-1", wraps_round),
    ("07-1", lambda s, k: best_k(s, min(k, len(s)))),  # no filling up
    ("07-1", lambda s, k: best_k(s, k).astype(float)),
    ("07-1", best_k(np.ones(3), 2)),
    ("07-1", fails),
    ("07-2", lambda u, v, b: (u, v + b[:, None])),
    ("07-2", lambda u, v, b: (np.hstack([u, u[:, :1]]), np.hstack([v, b[:, None]]))),
    ("07-2", lambda u, v, b: (np.hstack([u, np.ones((len(u), 1))]), np.hstack([v, np.ones((len(v), 1))]))),
    ("07-2", lambda u, v, b: with_bias(u, v, b - b.mean())),
    ("07-2", lambda u, v, b: [np.hstack([one, np.zeros((len(one), 1))]) for one in with_bias(u, v, b)]),  # two wider
    ("07-2", lambda u, v, b: u @ v.T + b),
    ("07-2", fails),
    ("07-3", mean_instead),
    ("07-3", lambda i, h, w, v, n: explain_weighted(i, h, w / w.sum(), v, n)),
    ("07-3", lambda i, h, w, v, n: explain_weighted(i, h, w, v, n)[::-1]),
    ("07-3", lambda i, h, w, v, n: explain_weighted(i, h[::-1], w[::-1], v, n)),  # ties turned round
    ("07-3", lambda i, h, w, v, n: [(int(a), abs(b)) for a, b in explain_weighted(i, h, w, v, n)]),
    ("07-3", lambda i, h, w, v, n: [(int(np.flatnonzero(h == a)[0]), b) for a, b in explain_weighted(i, h, w, v, n)]),
    ("07-3", lambda i, h, w, v, n: explain_weighted(i, h, w, v, len(h))),
    ("07-3", lambda i, h, w, v, n: dict(explain_weighted(i, h, w, v, n))),
    ("07-4", ([1, 0], [[1, 0], [2, 0], [3, 0]])),  # one direction: cosines tie
    ("07-4", ([1, 0], [[1, 0.1], [2, 4], [3, 3]])),  # turned round in part
    ("07-4", ([1, 0], [[-1, 0.1], [2, 1], [3, 9]])),
    ("07-4", ([0, 0], [[1, 0.1], [2, 1], [3, 9]])),
    ("07-4", ([1, 0], [[1, 0.1], [2, 1]])),
    ("07-4", ([1, 0], [[0, 0], [2, 1], [3, 9]])),
    ("07-4", ("a", [[1, 0.1], [2, 1], [3, 9]])),
    ("07-4", 3),
    ("07-5", merge_by_place),
    ("07-5", merge_unpadded),
    ("07-5", one_after_the_other),
    ("07-5", lambda a, sa, b, sb, k: merge(a, sa, b, sb, k)[0]),
    ("07-5", lambda a, sa, b, sb, k: merge(a, sa, b, sb, k + 1)),
    ("07-5", lambda a, sa, b, sb, k: merge(np.arange(len(a)), sa, np.arange(len(b)), sb, k)),  # places, not items
    ("07-5", fails),
    ("07-6", 19),
    ("07-6", 9.65),
    ("07-6", "八九种"),
    ("07-6", True),
]


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_pass(name):
    assert verdict(name, RIGHT[name]) is None


@pytest.mark.parametrize("name, answer", WRONG)
def test_wrong_answers_are_told(name, answer):
    assert verdict(name, answer)
