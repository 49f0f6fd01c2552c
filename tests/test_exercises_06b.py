"""Exercises of chapter 06b: what is right passes, what is wrong is told."""

import numpy as np
import pytest
from scipy.stats import t

from textrec_utils import shipped
from textrec_utils.exercises import verdict

table = shipped.read("ablation").query("question == 'last'")
each = table.pivot(index="seed", columns="change", values="ndcg@10")


def gap(of="批内＋难负例", beside="批内，无难负例", times=None, sort=False):
    values = (np.sort(each[of]) - np.sort(each[beside])) if sort else (each[of] - each[beside]).to_numpy()
    half = (times or t.ppf(0.975, len(values) - 1)) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)


def fade(vectors, half_life, *, newest=-1, power=0.5, unit=True):
    age = np.arange(len(vectors))[::newest]
    weight = np.ones(len(vectors)) if half_life is None else power ** (age / half_life)
    user = weight @ vectors
    return user / np.linalg.norm(user) if unit else user / weight.sum()


def lucky(base_counts=False, signed=False, best=True):
    mean, base = each.mean(), each["基准：两种都读"]
    moved = mean.drop("基准：两种都读") - mean["基准：两种都读"]
    bound = base.max() - base.mean() if best else base.std()
    return int(((moved if signed else moved.abs()) < bound).sum()) + base_counts


def side_by_side(vectors, weights):
    return np.hstack([np.sqrt(w) * v for v, w in zip(vectors, weights)])


RIGHT = [
    ("06b-1", lambda shapes, rank: sum(rank * (a + b) for a, b in shapes)),
    ("06b-2", fade),
    ("06b-3", side_by_side),
    ("06b-3", lambda towers, weights: side_by_side(towers[::-1], weights[::-1])),
    ("06b-4", lucky()),
    ("06b-5", (*gap(), "分不出")),
    ("06b-5", [*np.float64(gap()), "分不出"]),
]
WRONG = [
    ("06b-1", lambda shapes, rank: sum(a * b for a, b in shapes)),
    ("06b-1", lambda shapes, rank: sum(rank * (a + b) + b for a, b in shapes)),
    ("06b-1", lambda shapes, rank: rank * sum(shapes[0]) * len(shapes)),
    ("06b-1", lambda shapes, rank: sum(2 * rank * a for a, b in shapes)),
    ("06b-1", lambda shapes, rank: sum(8 * (a + b) for a, b in shapes)),
    ("06b-1", 176640),
    ("06b-2", lambda vectors, half_life: fade(vectors, half_life, newest=1)),  # the oldest counts most
    ("06b-2", lambda vectors, half_life: fade(vectors, half_life, power=np.exp(-1))),
    ("06b-2", lambda vectors, half_life: fade(vectors, half_life, unit=False)),
    ("06b-2", lambda vectors, half_life: fade(vectors, half_life or 1.0)),
    ("06b-2", lambda vectors, half_life: fade(vectors, half_life and int(half_life + 0.9))),
    ("06b-2", lambda vectors, half_life: fade(vectors, None)),
    ("06b-2", lambda vectors, half_life: 0.5 ** (1 / half_life)),
    ("06b-3", lambda towers, weights: np.hstack([w * v for v, w in zip(towers, weights)])),
    ("06b-3", lambda towers, weights: np.hstack(towers)),
    ("06b-3", lambda towers, weights: sum(w * v for v, w in zip(towers, weights))),
    ("06b-3", lambda towers, weights: side_by_side(towers[:2], weights)),
    ("06b-3", lambda towers, weights: side_by_side(towers, np.array(weights) / sum(weights))),
    ("06b-3", lambda towers, weights: np.vstack([np.sqrt(w) * v for v, w in zip(towers, weights)])),
    ("06b-3", lambda towers, weights: "两座"),
    ("06b-4", lucky(base_counts=True)),
    ("06b-4", lucky(signed=True)),
    ("06b-4", lucky(best=False)),
    ("06b-4", 0.0014),
    ("06b-4", str(lucky())),
    ("06b-5", (*gap(), "高")),
    ("06b-5", (*gap(beside="基准：两种都读"), "分不出")),
    ("06b-5", (*gap(times=1.96), "分不出")),
    ("06b-5", (*gap("批内，无难负例", "批内＋难负例"), "分不出")),
    ("06b-5", (*gap(sort=True), "分不出")),  # not paired by seed
    ("06b-5", (*gap(), "没用")),
    ("06b-5", ("一", "二", "三", "高")),
    ("06b-5", gap()),
    ("06b-5", 0.0015),
]


@pytest.mark.parametrize("name, answer", RIGHT)
def test_right_answers_pass(name, answer):
    assert verdict(name, answer) is None


@pytest.mark.parametrize("name, answer", WRONG)
def test_wrong_answers_are_told(name, answer):
    assert verdict(name, answer)
