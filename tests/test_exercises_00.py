"""Exercises of chapter 00: what is right passes, what is wrong is told."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from textrec_utils.exercises import verdict


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def nearest(vectors, item, n):
    cosines = unit(vectors) @ unit(vectors)[item]
    cosines[item] = -np.inf
    return np.argsort(-cosines)[: min(n, len(vectors) - 1)]


def first_is_itself(vectors, item, n):
    return np.argsort(-(unit(vectors) @ unit(vectors)[item]))[1 : n + 1]


def unseen(vectors, history, k):
    if not len(history):
        return []
    scores = vectors @ vectors[history].mean(axis=0)
    return [i for i in np.argsort(-scores) if i not in history][:k]


def seen_at_the_end(vectors, history, k):
    if not len(history):
        return []
    scores = vectors @ vectors[history].mean(axis=0)
    scores[history] = -np.inf
    return np.argsort(-scores)[:k]


def ndcg(ranked, film, k):
    ranks = [rank for rank, item in enumerate(ranked[:k], start=1) if item == film]
    return 1 / np.log2(ranks[0] + 1) if ranks else 0


def fails(*arguments):
    raise RuntimeError("no")


RIGHT = {
    "00-1": lambda vectors, history, item: vectors[history].mean(axis=0) @ vectors[item],
    "00-2": nearest,
    "00-3": unseen,
    "00-4": ndcg,
}
WRONG = [
    ("00-1", lambda vectors, history, item: vectors[history].sum(axis=0) @ vectors[item]),
    ("00-1", lambda vectors, history, item: vectors[history].mean() * vectors[item].sum()),
    ("00-1", lambda vectors, history, item: vectors[history[0]] @ vectors[item]),
    ("00-1", lambda vectors, history, item: vectors[history] @ vectors[item]),
    ("00-1", lambda vectors, history, item: unit(vectors)[history].mean(axis=0) @ unit(vectors)[item]),
    ("00-1", 0.23),
    ("00-2", first_is_itself),
    ("00-2", lambda vectors, item, n: first_is_itself(vectors, item, n - 1)),
    ("00-2", lambda vectors, item, n: [i for i in np.argsort(-(vectors @ vectors[item])) if i != item][:n]),
    ("00-2", lambda vectors, item, n: nearest(vectors, item, n)[::-1]),
    ("00-2", lambda vectors, item, n: np.argsort(-(unit(vectors) @ unit(vectors)[item]))[:n]),
    ("00-2", lambda vectors, item, n: list(nearest(vectors, item, n)) + [item]),
    ("00-2", lambda vectors, item, n: None),
    ("00-2", "野蛮人柯南"),
    ("00-3", seen_at_the_end),
    ("00-3", lambda vectors, history, k: np.argsort(-(vectors @ vectors[history].mean(axis=0)))[:k]),
    ("00-3", lambda vectors, history, k: unseen(vectors, history, k) or list(range(k))),
    ("00-3", lambda vectors, history, k: unseen(vectors, history, k)[::-1]),
    ("00-3", lambda vectors, history, k: [float(i) for i in unseen(vectors, history, k)]),
    ("00-3", fails),
    ("00-4", lambda ranked, film, k: float(film in ranked[:k])),
    ("00-4", lambda ranked, film, k: ndcg(ranked, film, len(ranked))),
    ("00-4", lambda ranked, film, k: 1 / np.log2(list(ranked).index(film) + 2)),
    ("00-4", lambda ranked, film, k: np.log(2) * ndcg(ranked, film, k)),
    ("00-4", lambda ranked, film, k: ndcg(ranked, film, k) if film else 0),
    ("00-4", lambda ranked, film, k: True),
]


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_pass(name):
    assert verdict(name, RIGHT[name]) is None


@pytest.mark.parametrize("name, answer", WRONG)
def test_wrong_answers_are_told(name, answer):
    assert verdict(name, answer)


def test_either_of_two_films_that_look_alike_may_come_first():
    def later_row_first(vectors, item, n):
        order = np.argsort(-(unit(vectors) @ unit(vectors)[item]).round(9)[::-1], kind="stable")
        return [i for i in len(vectors) - 1 - order if i != item][:n]

    assert verdict("00-2", later_row_first) is None


@pytest.fixture
def measured():
    """Three users with a popular answer, two with another; each method finds some of them."""
    held = sparse.csr_matrix(np.eye(6)[[0, 0, 1, 2, 3, 5]])
    split = SimpleNamespace(
        train=pd.DataFrame({"item": [0] * 100 + [1] * 120 + [2] * 99 + [3] * 3}), n_items=6,
        test_matrix=held, test_users=np.arange(5),
    )  # fmt: skip
    frozen = SimpleNamespace(users={"ndcg@10": np.ones(5), "recall@10": np.array([1, 0, 0, 1, 1])})
    popular = SimpleNamespace(users={"recall@10": np.array([1, 0, 1, 1, 0])})
    return {"frozen": frozen, "popular": popular, "split": split}


def test_where_popularity_wins(measured):
    assert verdict("00-5", [1, 2, 2, 1], **measured) is None
    assert verdict("00-5", np.array([1, 2, 2, 1]), **measured) is None
    for wrong in ([1, 2, 2, 2], [2, 1, 1, 2], [1, 2], 4, "热门", {"热门": 1}, [0.2, 0.4, 0.4, 0.2], [True] * 4):
        assert verdict("00-5", wrong, **measured)
