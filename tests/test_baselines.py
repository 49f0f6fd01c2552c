"""Baselines against hand-computed values and against the formulas of their papers."""

import numpy as np
import pandas as pd
import pytest

from textrec_utils.baselines import (
    ALS,
    EASE,
    HistoryMean,
    ItemKNN,
    Popularity,
    Random,
    history_weights,
    tfidf_vectors,
    unit_rows,
)  # fmt: skip
from textrec_utils.datasets import Dataset
from textrec_utils.splits import make_split


@pytest.fixture(scope="module")
def tiny():
    """Five users, four items; user e reads a, then b (the test)."""
    likes = {"a": "xy", "b": "xyz", "c": "yz", "d": "zw", "e": "xz"}
    rows = [(u, i, t) for u, items in likes.items() for t, i in enumerate(items)]
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).assign(value=1.0)
    items = pd.DataFrame({"item_id": list("xyzw"), "title": list("xyzw"), "text": ["红苹果", "红苹果汁", "蓝天", "蓝天白云"]})
    users = pd.DataFrame({"user_id": list("abcde"), "text": ""})
    return make_split(Dataset("tiny", items, users, interactions, "", ""), "leave_last_out")


def test_popularity_counts(tiny):
    assert (Popularity().fit(tiny).score(np.array([0, 1])) == tiny.train_matrix.toarray().sum(0)).all()


def test_itemknn_by_hand(tiny):
    x = tiny.train_matrix.toarray()
    size = np.sqrt(x.sum(0))
    cosine = (x.T @ x) / np.maximum(np.outer(size, size), 1e-9)
    np.fill_diagonal(cosine, 0)
    everyone = np.arange(5)
    assert ItemKNN(neighbours=4).fit(tiny).score(everyone) == pytest.approx(x @ cosine, abs=1e-6)


def test_itemknn_keeps_the_nearest(leave_last_out):
    model = ItemKNN(neighbours=5).fit(leave_last_out)
    kept = np.diff(model._similarity.tocsc().indptr)
    assert np.median(kept) == 5


def test_ease_solves_its_problem(leave_last_out):
    """The closed form minimises ||X − XB||² + λ||B||² with diag(B) = 0: its gradient off the diagonal vanishes."""
    model = EASE(100.0).fit(leave_last_out)
    weights = model._weights.astype(np.float64)
    x = leave_last_out.train_matrix
    gram = (x.T @ x).toarray().astype(np.float64)
    gradient = gram @ weights - gram + 100.0 * weights
    np.fill_diagonal(gradient, 0)
    assert np.abs(gradient).max() < 0.02 and (np.diag(weights) == 0).all()


def test_als_repeats(leave_last_out):
    users = np.arange(3)
    a, b = (ALS(factors=8, iterations=2, seed=1).fit(leave_last_out).score(users) for _ in range(2))
    assert (a == b).all()


def test_random_is_seeded_by_user(leave_last_out):
    model = Random(3).fit(leave_last_out)
    assert (model.score(np.array([5, 9]))[1] == model.score(np.array([9]))[0]).all()


def test_history_mean(tiny):
    vectors = np.eye(4, dtype=np.float32)
    scores = HistoryMean(vectors, "x").fit(tiny).score(np.arange(5))
    assert scores == pytest.approx(history_weights(tiny).toarray())
    dense = np.random.default_rng(0).standard_normal((4, 3))
    centred = HistoryMean(dense, "x", center=True)
    assert centred._vectors == pytest.approx(unit_rows(dense - dense.mean(0)))


def test_half_life_prefers_the_newest(leave_last_out):
    user = leave_last_out.test_users[0]
    history = leave_last_out.histories[user]
    weights = history_weights(leave_last_out, half_life=2.0)[user].toarray().ravel()
    assert weights[history[-1]] == pytest.approx(2 * weights[history[-3]], rel=1e-5) and weights.sum() == pytest.approx(1, abs=1e-5)


def test_tfidf_by_words_and_characters(tiny):
    texts = tiny.dataset.items.set_index("item_id")["text"].loc[list("xyzw")]
    characters = tfidf_vectors(texts).toarray()
    assert np.linalg.norm(characters, axis=1) == pytest.approx(1)
    assert characters[0] @ characters[1] > characters[0] @ characters[2] == 0
    words = tfidf_vectors(texts, segment=list)
    assert words.shape[1] == len(set("".join(texts)))


def test_unit_rows_keeps_zero_rows():
    assert unit_rows(np.array([[0.0, 0], [3, 4]])).tolist() == [[0, 0], [0.6, 0.8]]
