"""Exercises of chapter 03: what is right passes, what is wrong is told."""

from collections import Counter

import numpy as np
import pytest
from gensim.models import KeyedVectors

from textrec_utils.exercises import verdict


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def pairs(n, m):
    q = max(0, min(m, n - 1))
    return 2 * n * q - q * (q + 1)


def step(v, u, label, rate):
    error = sigmoid(u @ v) - label
    return v - rate * error @ u, u - rate * np.outer(error, v)


def step_with_the_new_v(v, u, label, rate):
    error = sigmoid(u @ v) - label
    v = v - rate * error @ u
    return v, u - rate * np.outer(error, v)


def first_is_true(v, u, label, rate):
    return step(v, u, np.eye(len(u))[0], rate)


def softmax_step(v, u, label, rate):
    error = np.exp(u @ v) / np.exp(u @ v).sum() - label
    return v - rate * error @ u, u - rate * np.outer(error, v)


def idf(documents, wv, distinct=True, plus=1.0, films=None, twice=True):
    df = Counter(word for d in documents for word in (set(d) if distinct else d))
    films = len(documents) if films is None else films
    out = np.zeros((len(documents), wv.vector_size))
    for row, document in enumerate(documents):
        known = [word for word in (document if twice else dict.fromkeys(document)) if word in wv]
        if known:
            weights = [np.log((films + 1) / (df[word] + 1)) + plus for word in known]
            out[row] = np.average(wv[known], axis=0, weights=weights)
    return out


def only_known_films(documents, wv):
    return idf([d for d in documents if any(word in wv for word in d)], wv)


def unguarded(documents, wv):
    return np.array([wv[[word for word in d if word in wv]].mean(axis=0) for d in documents])


def both(text, behaviour, alpha):
    return np.hstack([np.sqrt(1 - alpha) * text, np.sqrt(alpha) * behaviour])


COUNTS = [30] * 20 + [11] * 60 + [10] * 70 + [4] * 50 + [3] * 300  # of the 500 words below, most frequent first


def drawn(seed):
    vectors = KeyedVectors(8)
    words = [f"词{i}" for i in range(500)]
    noise = np.linspace(0.1, 2, 500)[:, None] * np.random.default_rng(seed).normal(size=(500, 8))
    vectors.add_vectors(words, (np.random.default_rng(9).normal(size=(500, 8)) + noise).astype(np.float32))
    for i, word in enumerate(words):
        vectors.set_vecattr(word, "count", COUNTS[i])
    return vectors


TABLES = {"first": drawn(0), "second": drawn(1)}


def shared(words, n=10):
    near = [[{w for w, _ in wv.most_similar(word, topn=n)} for word in words] for wv in TABLES.values()]
    return float(np.mean([len(a & b) for a, b in zip(*near)]))


def counted(belongs):
    return [word for word, count in zip(TABLES["first"].index_to_key, COUNTS) if belongs(count)]


FREQUENT, RARE = shared(counted(lambda count: count > 10)), shared(counted(lambda count: count == 3))
GIVEN = {"03-6": TABLES}
RIGHT = {
    "03-1": lambda wv, word: wv[word] if word in wv else np.zeros(wv.vector_size),
    "03-2": pairs,
    "03-3": step,
    "03-4": idf,
    "03-5": both,
    "03-6": [FREQUENT, RARE],
}
WRONG = [
    ("03-1", lambda wv, word: wv[word]),  # KeyError
    ("03-1", lambda wv, word: wv.wv[word]),
    ("03-1", lambda wv, word: wv[word] if word in wv else np.zeros(3)),  # not as wide as the table
    ("03-1", lambda wv, word: wv[word] if word in wv else None),
    ("03-1", lambda wv, word: wv[word] if word in wv else 0),
    ("03-1", lambda wv, word: np.zeros(wv.vector_size)),
    ("03-1", lambda wv, word: wv.get_vector(word, norm=True) if word in wv else np.zeros(wv.vector_size)),
    ("03-1", "wv[word]"),
    ("03-2", lambda n, m: 2 * n * m),
    ("03-2", lambda n, m: 2 * n * m - m * (m + 1)),  # windows wider than the sentence
    ("03-2", lambda n, m: pairs(n, m) // 2),  # one direction
    (
        "03-2",
        lambda n, m: sum(min(m, i) for i in range(min(n, 99))) + sum(min(m, n - 1 - i) for i in range(min(n, 99))),
    ),
    ("03-2", lambda n, m: pairs(n, m) + n),  # each word with itself
    ("03-2", lambda n, m: str(pairs(n, m))),
    ("03-2", 18),
    ("03-3", step_with_the_new_v),
    ("03-3", first_is_true),
    ("03-3", softmax_step),
    ("03-3", lambda v, u, label, rate: step(v, u, label, -rate)),  # up the hill
    ("03-3", lambda v, u, label, rate: step(v, u, label, 0.5)),
    ("03-3", lambda v, u, label, rate: (step(v, u, label, rate)[0], u)),
    ("03-3", lambda v, u, label, rate: step(v, u, label, rate)[::-1]),
    ("03-3", lambda v, u, label, rate: step(v, u, label, rate)[0]),
    ("03-3", lambda v, u, label, rate: step(v, u, 1 - label, rate)),
    ("03-3", lambda v, u, label, rate: 1 / 0),
    ("03-4", lambda documents, wv: idf(documents, wv, distinct=False)),
    ("03-4", lambda documents, wv: idf(documents, wv, plus=0.0)),
    ("03-4", lambda documents, wv: idf(documents, wv, twice=False)),
    ("03-4", lambda documents, wv: idf(documents, wv, films=1682)),
    ("03-4", only_known_films),
    ("03-4", unguarded),
    ("03-4", lambda documents, wv: idf(documents, wv).T),
    ("03-4", np.zeros((3, 3))),
    ("03-5", lambda text, behaviour, alpha: np.hstack([(1 - alpha) * text, alpha * behaviour])),
    ("03-5", lambda text, behaviour, alpha: np.hstack([text, behaviour])),
    ("03-5", lambda text, behaviour, alpha: both(text, behaviour, 1 - alpha)),
    ("03-5", lambda text, behaviour, alpha: both(text, behaviour, 0.3)),
    ("03-5", lambda text, behaviour, alpha: both(text, behaviour, alpha).ravel()),
    ("03-5", lambda text, behaviour, alpha: (1 - alpha) * text @ text.T + alpha * behaviour @ behaviour.T),
    ("03-5", lambda text, behaviour, alpha: None),
    ("03-6", [RARE, FREQUENT]),
    ("03-6", [FREQUENT / 10, RARE / 10]),  # shares
    ("03-6", [shared(counted(lambda count: count > 10), 5), RARE]),  # five neighbours
    ("03-6", [shared(counted(lambda count: count >= 10)), RARE]),
    ("03-6", [FREQUENT, shared(counted(lambda count: count <= 4))]),
    ("03-6", [FREQUENT, shared(TABLES["first"].index_to_key[-200:])]),  # the end of the list: some of the 300
    ("03-6", [FREQUENT]),
    ("03-6", FREQUENT),
    ("03-6", ["多", "少"]),
]


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_pass(name):
    assert verdict(name, RIGHT[name], **GIVEN.get(name, {})) is None


@pytest.mark.parametrize("name, answer", WRONG)
def test_wrong_answers_are_told(name, answer):
    assert verdict(name, answer, **GIVEN.get(name, {}))
