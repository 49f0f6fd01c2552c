"""Exercises of chapter 02: what is right passes, what is wrong is told."""

import numpy as np
import pytest

from textrec_utils.exercises import chapter_02, verdict


def alike(X, user):
    length = np.sqrt(X.sum(axis=1))
    return X @ X[user] / np.maximum(length * length[user], 1)


def user_knn(X, user, neighbours, own=False):
    near = alike(X, user)
    near[user] = near[user] if own else 0
    best = np.argsort(-near, kind="stable")[:neighbours]
    return near[best] @ X[best]


def counted(X, user, neighbours):  # no cosine: how many films in common
    near = X @ X[user]
    near[user] = 0
    best = np.argsort(-near, kind="stable")[:neighbours]
    return near[best] @ X[best]


def unguarded(X, user, neighbours):
    length = np.sqrt(X.sum(axis=1))
    near = X @ X[user] / (length * length[user])
    near[user] = 0
    best = np.argsort(-near)[:neighbours]
    return near[best] @ X[best]


def shrunk(X, shrink, diagonal=0.0):
    together = X.T @ X
    below = np.sqrt(np.outer(np.diag(together), np.diag(together))) + shrink
    similar = together / np.where(below == 0, 1, below)
    np.fill_diagonal(similar, diagonal)
    return similar


def within_root(X, shrink):
    together = X.T @ X
    similar = together / np.maximum(np.sqrt(np.outer(np.diag(together), np.diag(together)) + shrink), 1e-9)
    np.fill_diagonal(similar, 0)
    return similar


RIGHT = {"02-1": user_knn, "02-2": shrunk, "02-3": ("共同观众", 8.99), "02-4": ("乙", -0.012, 0.01)}
WRONG = [
    ("02-1", lambda X, user, neighbours: user_knn(X, user, neighbours, own=True)),
    ("02-1", counted),
    ("02-1", lambda X, user, neighbours: user_knn(X, user, len(X))),  # everybody is near
    ("02-1", lambda X, user, neighbours: user_knn(X, user, neighbours) * (X[user] == 0)),
    ("02-1", lambda X, user, neighbours: X[99]),
    ("02-1", np.ones(5)),
    ("02-2", lambda X, shrink: shrunk(X, 0)),
    ("02-2", lambda X, shrink: shrunk(X, shrink, diagonal=1)),
    ("02-2", within_root),
    ("02-2", lambda X, shrink: shrunk(X.T, shrink)),  # users, not items
    ("02-2", lambda X, shrink: shrunk(X, shrink) * (X.T @ X > 1)),  # one shared viewer thrown away
    ("02-2", "cosine"),
    ("02-3", ("热门", 9.0)),
    ("02-3", ("共同观众", 8.0)),
    ("02-3", ("共同观众", 9)),  # guessed, not counted
    ("02-3", "共同观众"),
    ("02-3", ("余弦", 9.0)),
    ("02-4", ("甲", -0.012, 0.01)),
    ("02-4", ("丙", -0.012, 0.01)),
    ("02-4", ("乙", 0.036, 0.064)),  # before tuning
    ("02-4", ("乙", 0.01, -0.012)),  # the ends exchanged
    ("02-4", ("乙", -0.01, 0.012)),  # the rival less the new method
    ("02-4", ("乙", None, 0.01)),
    ("02-4", ("乙", -0.001)),  # the difference alone
    ("02-4", "乙"),
]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Figures of the course's data set take seconds; they are tried by the solutions."""
    monkeypatch.setattr(chapter_02, "_in_common", lambda: {"热门": 2.0, "共同观众": 8.9915})
    monkeypatch.setattr(chapter_02, "_after_tuning", lambda: (-0.012, 0.01))


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_pass(name):
    assert verdict(name, RIGHT[name]) is None


@pytest.mark.parametrize("name, answer", WRONG)
def test_wrong_answers_are_told(name, answer):
    assert verdict(name, answer)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_film_without_likes_breaks_an_unguarded_division():
    def unguarded(X, shrink):
        together = X.T @ X
        size = np.sqrt(np.diag(together))
        similar = together / (np.outer(size, size) + shrink)
        np.fill_diagonal(similar, 0)
        return similar

    assert verdict("02-2", unguarded)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_user_without_history_breaks_an_unguarded_division():
    assert verdict("02-1", unguarded)
