"""Exercises of chapter 06: what is right passes, what is wrong is told."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from textrec_utils.exercises import verdict


def step(weight, x, history, target, tau, rate, *, sign=-1, everything=False, mean=False, unit=True, flat=False):
    weight = weight.clone().requires_grad_()
    z = x @ weight.T if flat else F.normalize(x @ weight.T, dim=1)
    u = z[history].mean(0) if mean else z[history].sum(0)
    u = F.normalize(u, dim=0) if unit else u
    rows = [i for i in range(len(x)) if everything or i not in history]
    loss = -F.log_softmax(z[rows] @ u / tau, dim=0)[rows.index(target)]
    return weight.detach() + sign * rate * torch.autograd.grad(loss, weight)[0]


def changed(**how):
    return lambda *case: step(*case, **how)


def first_candidate(weight, x, history, target, tau, rate):  # the target is not always the first of the candidates
    rest = [i for i in range(len(x)) if i not in history]
    return step(weight, x, history, rest[0], tau, rate)


def loss(users, items, target, liked, log_q, tau, *, masks=("same", "liked"), correct=1, own=True, rows=False):
    scores = users @ items.T / tau - correct * (log_q[target][:, None] if rows else log_q[target])
    barred = torch.zeros_like(scores, dtype=torch.bool)
    if "same" in masks:
        barred |= target[:, None] == target
    if "liked" in masks:
        barred |= liked[:, target]
    if own:
        barred &= ~torch.eye(len(target), dtype=torch.bool)
    return F.cross_entropy(scores.masked_fill(barred, -torch.inf), torch.arange(len(target)))


def other_loss(**how):
    return lambda *case: loss(*case, **how)


def hard(scores, liked, depth, margin, *, strict=False, top=False, order=1, keep=False):
    limit = margin * (scores[liked].max() if top else scores[liked].mean())
    rows = []
    for i in np.argsort(-order * scores, kind="stable"):
        fair = scores[i] < limit if strict else scores[i] <= limit
        if (keep or not liked[i]) and fair:
            rows.append(int(i))
    return rows[:depth]


def other_hard(**how):
    return lambda *case: hard(*case, **how)


def latest_of_equals(scores, liked, depth, margin):
    rows = [
        i
        for i in np.argsort(scores, kind="stable")[::-1]
        if not liked[i] and scores[i] <= margin * scores[liked].mean()
    ]
    return rows[:depth]


def stop(values, patience, *, ties=False, last=False, slack=0):
    best = 0
    for n, value in enumerate(values):
        if value > values[best] or (ties and value == values[best]):
            best = n
        if n - best >= patience + slack:
            return n + 1, n if last else best
    return len(values), len(values) - 1 if last else best


def other_stop(**how):
    return lambda *case: stop(*case, **how)


def against(make, redraw=True):
    def answer(measure, vectors, seeds):
        gaps = []
        for seed in seeds:
            rng = np.random.default_rng(seed if redraw else 0)
            gaps.append(measure(vectors, seed) - measure(make(rng, vectors), seed))
        return gaps

    return answer


def shuffled(rng, v):
    return rng.permutation(v)


def noise(rng, v):
    return rng.normal(size=v.shape)


def spoils(measure, vectors, seeds):
    gaps = []
    for seed in seeds:
        with_text = measure(vectors, seed)
        np.random.default_rng(seed).shuffle(vectors)
        gaps.append(with_text - measure(vectors, seed))
    return gaps


def one_seed(measure, vectors, seeds):
    return [measure(vectors, seeds[0]) - measure(noise(np.random.default_rng(s), vectors), s) for s in seeds]


def averaged(measure, vectors, seeds):
    return float(np.mean(against(noise)(measure, vectors, seeds)))


def turned(measure, vectors, seeds):
    return [-gap for gap in against(noise)(measure, vectors, seeds)]


RIGHT = [
    ("06-1", 0.16),
    ("06-1", np.float64(0.16)),
    ("06-2", step),
    ("06-2", changed(mean=True)),  # of the same direction
    ("06-3", loss),
    ("06-3", lambda *case: loss(*case).item()),
    ("06-4", hard),
    ("06-4", lambda *case: np.array(hard(*case), dtype=int)),
    ("06-5", stop),
    ("06-6", against(shuffled)),
    ("06-6", against(noise)),
]
WRONG = [
    ("06-1", 0.17),
    ("06-1", 0.15),
    ("06-1", 0.1664),
    ("06-1", -0.16),
    ("06-1", True),
    ("06-1", "0.16"),
    ("06-2", changed(sign=1)),
    ("06-2", changed(everything=True)),
    ("06-2", changed(unit=False)),
    ("06-2", changed(flat=True)),
    ("06-2", first_candidate),
    ("06-2", lambda weight, x, history, target, tau, rate: step(weight, x, history, target, 1.0, rate)),
    ("06-2", lambda weight, *rest: weight),
    ("06-2", lambda *case: 1 / 0),
    ("06-2", 3),
    ("06-3", other_loss(masks=("same",))),
    ("06-3", other_loss(masks=("liked",), own=True)),
    ("06-3", other_loss(own=False)),
    ("06-3", other_loss(correct=0)),
    ("06-3", other_loss(correct=-1)),
    ("06-3", other_loss(rows=True)),
    ("06-3", lambda *case: loss(*case) * len(case[2])),  # summed, not meaned
    ("06-3", lambda *case: None),
    ("06-3", torch.zeros(1)),
    ("06-4", other_hard(strict=True)),
    ("06-4", other_hard(top=True)),
    ("06-4", other_hard(order=-1)),
    ("06-4", other_hard(keep=True)),
    ("06-4", latest_of_equals),
    ("06-4", lambda scores, liked, depth, margin: np.argsort(-scores)[:depth]),
    ("06-4", lambda scores, liked, depth, margin: hard(scores, liked, depth, 9.0)),
    ("06-4", lambda *case: 4),
    ("06-5", other_stop(ties=True)),
    ("06-5", other_stop(last=True)),
    ("06-5", other_stop(slack=1)),
    ("06-5", lambda values, patience: (len(values), int(np.argmax(values)))),
    ("06-5", lambda values, patience: stop(values, patience)[1]),
    ("06-5", (5, 1)),
    ("06-6", against(lambda rng, v: v[:, rng.permutation(v.shape[1])])),  # the same neighbours
    ("06-6", against(lambda rng, v: v * rng.choice([-1, 1], size=v.shape[1]))),
    ("06-6", against(lambda rng, v: np.zeros_like(v))),
    ("06-6", against(lambda rng, v: v + 0.05 * rng.normal(size=v.shape))),
    ("06-6", against(lambda rng, v: rng.normal(size=(len(v), 4)))),
    ("06-6", against(noise, redraw=False)),
    ("06-6", against(lambda rng, v: v)),
    ("06-6", spoils),
    ("06-6", one_seed),
    ("06-6", averaged),
    ("06-6", turned),
    ("06-6", lambda measure, vectors, seeds: measure.nothing),
    ("06-6", [0.1]),
]


@pytest.mark.parametrize("name, answer", RIGHT)
def test_right_answers_pass(name, answer):
    assert verdict(name, answer) is None


@pytest.mark.parametrize("name, answer", WRONG)
def test_wrong_answers_are_told(name, answer):
    assert verdict(name, answer)
