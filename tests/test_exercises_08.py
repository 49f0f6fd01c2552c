"""Exercises of chapter 08: what is right passes, what is wrong is told."""

import numpy as np
import pytest
from scipy.stats import rankdata

from textrec_utils.exercises import verdict


def standard(scores, open_):
    count = np.maximum(open_.sum(axis=1, keepdims=True), 1)
    centred = scores - np.where(open_, scores, 0).sum(axis=1, keepdims=True) / count
    spread = np.sqrt(np.where(open_, centred**2, 0).sum(axis=1, keepdims=True) / count)
    return centred / np.where(spread > 1e-12, spread, np.inf)


def blend(text, cf, open_, w):
    return np.where(open_, w * standard(text, open_) + (1 - w) * standard(cf, open_), -np.inf)


def over_all(text, cf, open_, w):  # what was seen counts in mean and spread
    return np.where(open_, blend(text, cf, np.ones_like(open_), w), -np.inf)


def over_everybody(text, cf, open_, w):  # one mean for all users
    z_text, z_cf = ((s - s[open_].mean()) / s[open_].std() for s in (text, cf))
    return np.where(open_, w * z_text + (1 - w) * z_cf, -np.inf)


def unguarded(text, cf, open_, w):  # a silent part gives NaN
    def z(scores):
        inside = np.where(open_, scores, np.nan)
        return (scores - np.nanmean(inside, axis=1)[:, None]) / np.nanstd(inside, axis=1)[:, None]

    with np.errstate(all="ignore"):
        return np.where(open_, w * z(text) + (1 - w) * z(cf), -np.inf)


def request_ranks(scores, open_):
    return np.where(open_, rankdata(-np.where(open_, scores, -np.inf)), np.inf)


def among_all(scores, open_):
    return np.where(open_, rankdata(-scores), np.inf)


def first_come(scores, open_):
    order = np.argsort(-np.where(open_, scores, -np.inf), kind="stable")
    return np.where(open_, order.argsort() + 1.0, np.inf)


def faded(prior, own, n, c):
    n = n[:, None]
    share = np.where(n == 0, 1.0, c / np.maximum(n + c, 1e-12))
    return share * prior + (1 - share) * np.where(n == 0, 0, own)


def push(scores, hidden, left_out, temperature):
    logits = np.where(left_out, -np.inf, scores / temperature)
    powers = np.exp(logits - logits.max())
    p = powers / powers.sum()
    return np.where(left_out, 0, (p - hidden / hidden.sum()) / temperature)


def overflowing(scores, hidden, left_out, temperature):
    powers = np.where(left_out, 0, np.exp(scores / temperature))
    return np.where(left_out, 0, (powers / powers.sum() - hidden / hidden.sum()) / temperature)


def ndcg(scores, answers, k):
    order = np.argsort(-scores, kind="stable")[:k]
    gain = 1 / np.log2(np.arange(2, k + 2))
    hit = answers[order] & (scores[order] > -np.inf)
    return (gain[: len(order)] * hit).sum() / gain[: min(answers.sum(), k)].sum()


def both_ways(scores, new, answers, k):
    if not answers.any():
        return np.nan, np.nan
    return ndcg(np.where(new, scores, -np.inf), answers, k), ndcg(scores, answers, k)


def cut_out(scores, new, answers, k):  # takes the new ones out of the mixed list instead of ranking them alone
    if not answers.any():
        return np.nan, np.nan
    order = np.argsort(-scores, kind="stable")[:k]
    kept = np.full(len(scores), -np.inf)
    kept[order[new[order]]] = scores[order[new[order]]]
    return ndcg(kept, answers, k), ndcg(scores, answers, k)


def fails(*arguments):
    raise KeyError("nothing")


RIGHT = {
    "08-1": blend,
    "08-2": request_ranks,
    "08-3": faded,
    "08-4": push,
    "08-5": both_ways,
    "08-6": "0.7+0.3+0.4",
}
WRONG = [
    ("08-1", lambda t, c, o, w: np.where(o, w * t + (1 - w) * c, -np.inf)),  # added as they are
    ("08-1", over_all),
    ("08-1", over_everybody),
    ("08-1", unguarded),
    ("08-1", lambda t, c, o, w: blend(t, c, o, 1 - w)),
    ("08-1", lambda t, c, o, w: np.where(o, blend(t, c, o, w), 0)),
    ("08-1", lambda t, c, o, w: "z"),
    ("08-1", fails),
    ("08-2", among_all),
    ("08-2", first_come),  # ties by the row
    ("08-2", lambda s, o: np.where(o, request_ranks(s, o), 0)),
    ("08-2", lambda s, o: request_ranks(s, o) - 1),  # from 0
    ("08-2", lambda s, o: request_ranks(-s, o)),
    ("08-2", lambda s, o: np.where(o, rankdata(-np.where(o, s, -np.inf), method="min"), np.inf)),
    ("08-2", lambda s, o: request_ranks(s, o)[o]),
    ("08-2", 3),
    ("08-3", lambda p, o, n, c: (c * p + n[:, None] * o) / (n[:, None] + c)),  # 0 · NaN
    ("08-3", lambda p, o, n, c: np.nan_to_num((c * p + n[:, None] * o) / (n[:, None] + c))),
    ("08-3", lambda p, o, n, c: faded(o, p, n, c)),  # the other way round
    ("08-3", lambda p, o, n, c: faded(p, o, np.full(len(n), n.mean()), c)),  # one share for all
    ("08-3", lambda p, o, n, c: c * p + n[:, None] * np.nan_to_num(o)),  # shares that don't add up to 1
    ("08-3", lambda p, o, n, c: (c * p + n * np.nan_to_num(o)) / (n + c)),  # along the wrong axis
    ("08-3", fails),
    ("08-4", lambda s, h, left, t: push(s, h, left & False, t)),  # new films are negatives
    ("08-4", lambda s, h, left, t: push(s, h, left, 1.0)),
    ("08-4", lambda s, h, left, t: push(s, h, left, t) * t),
    ("08-4", lambda s, h, left, t: -push(s, h, left, t)),
    ("08-4", overflowing),
    ("08-4", lambda s, h, left, t: push(s, h, left, t) * h.sum()),  # summed, not meaned
    ("08-4", lambda s, h, left, t: np.where(h, 0, push(s, h, left, t))),
    ("08-4", fails),
    ("08-5", lambda s, new, a, k: both_ways(s, new, a, k)[::-1]),
    ("08-5", cut_out),
    ("08-5", lambda s, new, a, k: both_ways(s, new, a, 10)),
    ("08-5", lambda s, new, a, k: both_ways(np.nan_to_num(s, neginf=9), new, a, k)),  # what is barred is listed
    ("08-5", lambda s, new, a, k: both_ways(s[::-1], new[::-1], a[::-1], k)),  # ties turned round
    ("08-5", lambda s, new, a, k: (0.0, 0.0) if not a.any() else both_ways(s, new, a, k)),
    ("08-5", lambda s, new, a, k: both_ways(s, new, a, k)[0]),
    ("08-5", fails),
    ("08-6", "0.7+0.3+0.2"),  # the chapter's own, with 97%
    ("08-6", "0.7+0.75+0.4"),
    ("08-6", "0.7+0.3+0.05"),
    ("08-6", "none"),
    ("08-6", "w = 0.7"),
    ("08-6", "0.7+0.45+0.2"),  # safe, but not the best
    ("08-6", (0.7, 0.3, 0.4)),
]


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_pass(name):
    assert verdict(name, RIGHT[name]) is None


@pytest.mark.parametrize("name, answer", WRONG)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_wrong_answers_are_told(name, answer):
    assert verdict(name, answer)
