"""Exercises of chapter 09: what is right passes, what is wrong is told."""

import math

import numpy as np
import pandas as pd
import pytest

from textrec_utils.datasets import load_dataset
from textrec_utils.evaluation import bootstrap_interval
from textrec_utils.exercises import verdict
from textrec_utils.splits import make_split


def cooling(items, hours, now, half_life, n_items):
    age = now - np.asarray(hours)
    return np.bincount(items, weights=np.where(age < 0, 0, 0.5 ** (age / half_life)), minlength=n_items)


def looped(items, hours, now, half_life, n_items):
    heat = [0.0] * n_items
    for item, hour in zip(items, hours):
        if hour <= now:
            heat[item] += 2 ** (-(now - hour) / half_life)
    return heat


def visits(times, gap=1800):
    return 1 + int((np.diff(np.sort(times)) > gap).sum()) if len(times) else 0


def stepwise(times, gap=1800):
    count, last = 0, None
    for time in sorted(times):
        count += last is None or time - last > gap
        last = time
    return count


def one_request(scores, allowed, clicked, k):
    if not allowed[clicked]:
        return 0.0
    better = (scores > scores[clicked]) | ((scores == scores[clicked]) & (np.arange(len(scores)) < clicked))
    place = 1 + (better & allowed).sum()
    return 1 / math.log2(1 + place) if place <= k else 0.0


def unasked(scores, allowed, clicked, k, first=0, strict=True, cut=True):
    """one_request with a fault: another first place, ties won, no cut at k."""
    better = scores > scores[clicked] if strict else scores >= scores[clicked]
    place = first + (better & allowed).sum()
    return 1 / math.log2(1 + place) if allowed[clicked] and (place <= k or not cut) else 0.0


def over_readers(users, values):
    each = pd.Series(values).groupby(users).mean().to_numpy()
    return each.mean(), *bootstrap_interval(each)


def by_normal(users, values):
    each = pd.Series(values).groupby(users).mean()
    reach = 1.96 * each.std() / np.sqrt(len(each))
    return [each.mean(), each.mean() - reach, each.mean() + reach]


def portrait(per_all=False, whole_test=False, part=100):
    split = make_split(load_dataset("movielens-zh"), "temporal", seed=0)
    likes = np.sort(split.likes)[::-1]
    warm, readers = (likes > 0).sum(), sum(len(h) > 0 for h in split.histories)
    cells = split.n_users * split.n_items if per_all else readers * warm
    new = split.cold.mean() if whole_test else split.cold[split.test["item"]].mean()
    return likes.sum() / cells, likes[: math.ceil(warm / part)].sum() / likes.sum(), new


RIGHT = [
    ("09-1", cooling),
    ("09-1", looped),
    ("09-2", visits),
    ("09-2", stepwise),
    ("09-3", one_request),
    ("09-4", over_readers),
    ("09-4", by_normal),
    ("09-5", {"A", "B", "E", "G", "H"}),
    ("09-5", ["h", "g", "E", "b", "a"]),
    ("09-5", "ABEGH"),
    ("09-6", portrait),
]
WRONG = [
    ("09-1", lambda i, h, now, half, n: np.bincount(i, 0.5 ** ((now - h) / half), n)),  # counts the future
    ("09-1", lambda i, h, now, half, n: np.bincount(i, np.exp(-np.maximum(now - h, 0) / half) * (h <= now), n)),
    ("09-1", lambda i, h, now, half, n: np.bincount(i, 0.5 ** (abs(now - h) / half), n)),
    ("09-1", lambda i, h, now, half, n: np.bincount(i[h <= now], 0.5 ** ((now - h[h <= now]) / half))),  # too short
    ("09-1", lambda i, h, now, half, n: np.bincount(i[h <= now], minlength=n)),  # does not cool
    ("09-1", lambda i, h, now, half, n: cooling(i, h, now, half, n) / max(1, len(i))),
    ("09-1", lambda i, h, now, half, n: None),
    ("09-1", [1.0, 2.0]),
    ("09-2", lambda times, gap=1800: 1 + int((np.diff(np.sort(times)) > gap).sum())),  # nobody came once
    ("09-2", lambda times, gap=1800: 1 + int((np.diff(np.sort(times)) >= gap).sum()) if len(times) else 0),
    ("09-2", lambda times, gap=1800: 1 + int((np.diff(times) > gap).sum()) if len(times) else 0),
    ("09-2", lambda times, gap=1800: visits(times)),  # another gap is not heard
    ("09-2", lambda times, gap=1800: int((np.diff(np.sort(times)) > gap).sum())),
    ("09-2", lambda times, gap=1800: len(np.unique(np.asarray(times) // gap))),  # fixed windows
    ("09-2", lambda times, gap=1800: times[0]),
    ("09-2", 3),
    ("09-3", lambda scores, allowed, clicked, k: one_request(scores, np.ones(len(scores), bool), clicked, k)),
    ("09-3", lambda *given: unasked(*given, first=1)),  # ties are won
    ("09-3", lambda *given: unasked(*given, strict=False)),  # ties are lost
    ("09-3", lambda *given: unasked(*given, first=2)),
    ("09-3", lambda *given: unasked(*given, first=1, cut=False)),
    ("09-3", lambda *given: float(one_request(*given) > 0)),  # a hit is worth 1
    ("09-3", lambda scores, allowed, clicked, k: one_request(-scores, allowed, clicked, k)),
    ("09-3", lambda scores, allowed, clicked, k: one_request(scores, allowed, clicked, k - 1)),
    ("09-3", 0.5),
    ("09-4", lambda users, values: (values.mean(), *bootstrap_interval(values))),  # requests
    ("09-4", lambda users, values: (values.mean(), *bootstrap_interval(values, users=users))),  # the busy weigh more
    ("09-4", lambda users, values: (over_readers(users, values)[0], *bootstrap_interval(values))),
    ("09-4", lambda users, values: over_readers(users, values)[:2]),
    ("09-4", lambda users, values: (over_readers(users, values)[0], 0.0, 1.0)),
    ("09-4", lambda users, values: over_readers(np.sort(users), values)),  # assumes that they are in order
    ("09-4", lambda users, values: values.mean()),
    ("09-4", lambda users, values: users.no_such_thing),
    ("09-5", {"A", "B"}),
    ("09-5", {"A", "B", "C", "E", "G", "H"}),
    ("09-5", set("ABDEFGH")),
    ("09-5", {"A", "B", "E", "G", "Z"}),
    ("09-5", set()),
    ("09-5", 5),
    ("09-5", [1, 2]),
    ("09-6", lambda: portrait(per_all=True)),
    ("09-6", lambda: portrait(whole_test=True)),
    ("09-6", lambda: portrait(part=10)),
    ("09-6", lambda: portrait()[::-1]),
    ("09-6", lambda: tuple(100 * x for x in portrait())),
    ("09-6", lambda: portrait()[:2]),
    ("09-6", lambda: 0.1),
]


def given(name, answer):
    return answer() if name == "09-6" and callable(answer) else answer  # these read the data: not while collecting


@pytest.mark.parametrize("name, answer", RIGHT)
def test_right_answers_pass(name, answer):
    assert verdict(name, given(name, answer)) is None


@pytest.mark.parametrize("name, answer", WRONG)
def test_wrong_answers_are_told(name, answer):
    assert verdict(name, given(name, answer))
