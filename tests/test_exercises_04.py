"""Exercises of chapters 04 and 04b: what is right passes, what is wrong is told."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from textrec_utils.exercises import verdict


def heads(x, wq, wk, wv, wo, heads, scale=None, split=None, mix=True):
    split = split or (lambda y: y.unflatten(-1, (heads, -1)).transpose(1, 2))
    q, k, v = split(x @ wq), split(x @ wk), split(x @ wv)
    weights = (q @ k.transpose(-1, -2) / (scale or q.shape[-1]) ** 0.5).softmax(-1)
    out = (weights @ v).transpose(1, 2).flatten(2)
    return out @ wo if mix else out


def allowed(mask):
    n = mask.shape[1]
    return torch.ones(n, n, dtype=torch.bool).tril() & mask[:, None, None, :].bool()


def words(words, rate, rng):
    return np.repeat(rng.random(len(words)) < rate, [len(word) for word in words]).astype(bool)


def step(net, inputs, labels, optimizer, clear=True, clip=True, go=True, ask=None):
    if clear:
        optimizer.zero_grad()
    truth = labels if ask is None else labels.clamp(min=0)
    loss = F.cross_entropy(net(inputs).flatten(0, 1), truth.flatten())
    loss.backward()
    if clip:
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    if go:
        optimizer.step()
    return loss.item()


def entropy(teacher, temperature, keep=False, power=np.exp):
    scores = teacher @ teacher.T / temperature
    if not keep:
        np.fill_diagonal(scores, -np.inf)
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return power(-(p * np.log(np.where(p > 0, p, 1))).sum(1))


def average(old, new, share):
    return {n: (1 - share) * v + share * new[n] if v.is_floating_point() else v for n, v in old.items()}


def perplexity(losses, counts):
    return float(np.exp(np.average(losses, weights=counts))) if sum(counts) else float("nan")


RIGHT = {
    "04-1": heads, "04-2": allowed, "04-3": words, "04-4": step,
    "04b-1": perplexity, "04b-2": average, "04b-3": {"A", "C"}, "04b-4": entropy,
}  # fmt: skip
WRONG = [
    ("04-1", lambda x, *w: heads(x, *w, scale=x.shape[-1])),  # scaled by the whole width
    ("04-1", lambda x, *w: heads(x, *w, mix=False)),  # no W_O
    ("04-1", lambda x, q, k, v, o, n: heads(x, q, k, v, o, 1)),  # one head
    ("04-1", lambda x, q, k, v, o, n: heads(x, q, k, v, o, n, split=lambda y: y.reshape(len(y), n, y.shape[1], -1))),
    ("04-1", lambda x, *w: heads(x, *w).numpy()),
    ("04-1", lambda x: x),
    ("04-2", lambda mask: allowed(torch.ones_like(mask))),  # no padding
    ("04-2", lambda mask: mask[:, None, None, :].bool().expand(-1, 1, mask.shape[1], -1)),  # no cause
    ("04-2", lambda mask: allowed(mask).transpose(-1, -2)),  # the wrong half
    ("04-2", lambda mask: allowed(mask) & mask[:, None, :, None].bool()),  # rows of padding too
    ("04-2", lambda mask: allowed(mask).float()),
    ("04-2", lambda mask: allowed(mask)[:, 0]),
    ("04-3", lambda w, rate, rng: rng.random(sum(map(len, w))) < rate),  # character by character
    ("04-3", lambda w, rate, rng: words(w, 0.15, rng)),
    ("04-3", lambda w, rate, rng: words(w, rate, np.random.default_rng(0))),  # its own dice
    ("04-3", lambda w, rate, rng: words(w, rate, rng).tolist()),
    ("04-4", lambda *a: step(*a, clear=False)),
    ("04-4", lambda *a: step(*a, clip=False)),
    ("04-4", lambda *a: step(*a, go=False)),
    ("04-4", lambda *a: step(*a, ask="all")),  # −100 asked too
    ("04-4", lambda *a: (step(*a), None)[1]),
    ("04-4", 3),
    ("04-5", {"film": 100.0, "review": 90.0, 0.15: 0.26, 0.4: 0.2}),
    ("04-5", {"film": 1.0}),
    ("04b-1", lambda losses, counts: float(np.average(np.exp(losses), weights=counts)) if sum(counts) else np.nan),
    ("04b-1", lambda losses, counts: float(np.exp(np.mean(losses))) if sum(counts) else float("nan")),
    ("04b-1", lambda losses, counts: float(np.average(losses, weights=counts)) if sum(counts) else float("nan")),
    ("04b-1", lambda losses, counts: float(np.exp(np.average(losses, weights=counts)))),  # nobody was asked
    ("04b-2", lambda old, new, share: {n: (1 - share) * v + share * new[n] for n, v in old.items()}),
    ("04b-2", lambda old, new, share: average(new, old, share)),
    ("04b-2", lambda old, new, share: average({n: v.add_(0) + v.zero_() for n, v in old.items()}, new, share)),
    ("04b-2", lambda old, new, share: {n: v.float() for n, v in average(old, new, share).items()}),
    ("04b-3", {"A", "B", "C"}),
    ("04b-3", {"C"}),
    ("04b-3", ["A", "C"]),
    ("04b-4", lambda t, tau: entropy(t, tau, keep=True)),
    ("04b-4", lambda t, tau: entropy(t, tau, power=lambda h: h)),
    ("04b-4", lambda t, tau: entropy(t, 0.05)),
    ("04b-4", lambda t, tau: entropy(t, tau).mean()),
]  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_pass(name):
    assert verdict(name, RIGHT[name]) is None


@pytest.mark.parametrize("name, answer", WRONG)
def test_wrong_answers_are_told(name, answer):
    assert verdict(name, answer)
