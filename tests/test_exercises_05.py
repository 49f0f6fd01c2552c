"""Exercises of chapter 05: what is right passes, what is wrong is told."""

import numpy as np
import pytest
import torch

from textrec_utils.baselines import HistoryMean
from textrec_utils.datasets import load_dataset
from textrec_utils.evaluation import evaluate
from textrec_utils.exercises import verdict
from textrec_utils.splits import make_split


def sep(states, mask):
    return states[torch.arange(len(mask)), mask.sum(1) - 1]


def mean(states, mask):
    weight = mask.unsqueeze(-1).float()
    return (states * weight).sum(1) / weight.sum(1)


def inner_mean(states, mask, inner=None, least=1):
    inner = mask.clone() if inner is None else inner
    inner[:, 0] = 0
    inner[torch.arange(len(inner)), mask.sum(1) - 1] = 0
    weight = inner.unsqueeze(-1).float()
    return (states * weight).sum(1) / weight.sum(1).clamp(min=least)


def spoils_the_mask(states, mask):
    last = mask.sum(1) - 1
    mask[torch.arange(len(mask)), last] = 0
    mask[:, 0] = 0
    weight = mask.unsqueeze(-1).float()
    return (states * weight).sum(1) / weight.sum(1).clamp(min=1)


def maximum(states, mask):
    return states.masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).max(1).values


def maximum_in_place(states, mask):
    states[mask == 0] = float("-inf")
    return states.max(1).values


def remove_top(vectors, d, columns=None, back=0.0):
    centred = vectors - vectors.mean(axis=0)
    _, direction = np.linalg.eigh(centred.T @ centred / len(centred))
    top = direction[:, len(direction) - d :] if columns is None else direction[:, columns]
    return centred - centred @ top @ top.T + back * vectors.mean(axis=0)


def uncentred(vectors, d):
    _, direction = np.linalg.eigh(vectors.T @ vectors)
    top = direction[:, len(direction) - d :]
    return vectors - vectors @ top @ top.T


def dropped(vectors, d):
    centred = vectors - vectors.mean(axis=0)
    _, direction = np.linalg.eigh(centred.T @ centred)
    return centred @ direction[:, : len(direction) - d]


LENGTHS = np.array([100] * 90 + [140] * 4 + [150] * 4 + [170] * 2)  # 94% fit into 144, 98% into 160


@pytest.fixture(scope="module")
def films():
    dataset = load_dataset("movielens-zh")
    whole = dataset.items["category"].str.get_dummies("|").to_numpy(dtype=float)
    nameless = np.random.default_rng(0).normal(size=whole.shape)
    return {"whole": whole, "nameless": nameless, "parts": make_split(dataset, "cold_items").inners(2)}


def gap(films):
    def score(v, part):
        return evaluate(HistoryMean(v, "v"), part, ("ndcg@10",)).mean("ndcg@10")

    return np.array([score(films["nameless"], part) - score(films["whole"], part) for part in films["parts"]])


GIVEN = {"05-5": {"lengths": LENGTHS}}
RIGHT = {"05-1": sep, "05-2": inner_mean, "05-3": maximum, "05-4": remove_top, "05-5": 160}
WRONG = [
    ("05-1", lambda states, mask: states[:, -1]),  # padding
    ("05-1", lambda states, mask: states[:, mask.sum(1) - 1]),  # each row's place in every row
    ("05-1", lambda states, mask: states[torch.arange(len(mask)), mask.sum(1)]),
    ("05-1", lambda states, mask: states[torch.arange(len(mask)), mask.sum(1) - 2]),
    ("05-1", lambda states, mask: states[:, 0]),
    ("05-1", lambda states, mask: states[0, mask.sum(1) - 1]),
    ("05-1", lambda states, mask: sep(states, mask)[0]),
    ("05-1", sep(torch.zeros(1, 2, 4), torch.ones(1, 2).long())),
    ("05-2", mean),
    ("05-2", lambda states, mask: states[:, 1:-1].mean(1)),  # padding is averaged in
    ("05-2", lambda states, mask: mean(states[:, 1:-1], mask[:, 1:-1])),  # [SEP] of the shorter ones, too
    ("05-2", lambda states, mask: inner_mean(states, mask, least=0)),  # 0 / 0
    ("05-2", lambda states, mask: inner_mean(states, mask) / 2),
    ("05-2", spoils_the_mask),
    ("05-2", lambda states, mask: inner_mean(states, mask).sum()),
    ("05-2", "mean"),
    ("05-3", lambda states, mask: (states * mask.unsqueeze(-1)).max(1).values),  # 0 beats what is below 0
    ("05-3", lambda states, mask: states.max(1).values),
    ("05-3", lambda states, mask: maximum(states, mask).max(1).values),
    ("05-3", lambda states, mask: states.masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).max(1)),
    ("05-3", maximum_in_place),
    ("05-3", lambda states, mask: -maximum(-states, mask)),
    ("05-3", lambda states, mask: states.nothing),
    ("05-4", lambda vectors, d: remove_top(vectors, d, slice(-d, None))),  # at d = 0 all directions go
    ("05-4", lambda vectors, d: np.zeros_like(vectors)),
    ("05-4", lambda vectors, d: remove_top(vectors, d, slice(0, d))),  # the weakest
    ("05-4", lambda vectors, d: remove_top(vectors, d, back=1.0)),
    ("05-4", lambda vectors, d: remove_top(vectors, 2)),
    ("05-4", uncentred),
    ("05-4", dropped),
    ("05-4", lambda vectors, d: vectors - vectors.mean(axis=0)),
    ("05-4", lambda vectors, d: remove_top(vectors, d + 1)),
    ("05-4", lambda vectors, d: 1 / 0),
    ("05-5", 144),
    ("05-5", 176),
    ("05-5", 150),  # fits enough, but is no multiple
    ("05-5", 0),
    ("05-5", "160"),
    ("05-5", True),
]


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_pass(name):
    assert verdict(name, RIGHT[name], **GIVEN.get(name, {})) is None


@pytest.mark.parametrize("name, answer", WRONG)
def test_wrong_answers_are_told(name, answer):
    assert verdict(name, answer, **GIVEN.get(name, {}))


def test_what_names_do_is_measured(films):
    found = gap(films)
    assert abs(found.mean()) > 0.001
    higher = int((found > 0).sum())
    assert verdict("05-6", [higher, found.mean()], **films) is None
    wrong = [[higher, -found.mean()], [len(found) - higher + 3, found.mean()], [found.mean()], "高了", [higher, "高"]]
    for answer in [*wrong, [higher, found.mean() * 100], found.mean()]:
        assert verdict("05-6", answer, **films), answer
