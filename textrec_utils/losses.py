"""What a two-tower model learns from: losses in plain torch, and the hard negatives that some of them ask for.

torch is loaded where it computes: the table of losses alone, which the command line's help shows, costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def full_softmax_loss(
    users: torch.Tensor, items: torch.Tensor, target: torch.Tensor, barred: torch.Tensor,
    temperature: torch.Tensor | float,
) -> torch.Tensor:  # fmt: skip
    """Cross-entropy of each user's hidden items against the whole catalogue.

    −Σ_i t_ui log softmax(u · i / temperature) / Σ_i t_ui, meaned over users: the multinomial
    likelihood of Liang et al. 2018, each user counting the same.
    users: (users, dim), items: (catalogue, dim), target: (users, catalogue) of 0 and 1.
    barred: (users, catalogue) bool, items that are no fair negatives; a target must not be barred.
    """
    logits = (users @ items.T / temperature).masked_fill(barred, -1e9)
    per_user = -(target * logits.log_softmax(dim=1)).sum(1) / target.sum(1).clamp(min=1)
    return per_user.mean()


def in_batch_loss(
    users: torch.Tensor, items: torch.Tensor, target: torch.Tensor, barred: torch.Tensor,
    temperature: torch.Tensor | float, log_q: torch.Tensor | None, hard: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """Cross-entropy of the liked item against the other liked items of the batch.

    users, items: (pairs, dim), row p of `items` belongs to row p of `users`. target: (pairs,) item rows.
    barred: (pairs, catalogue) bool as above. log_q: (catalogue,) log of each item's chance to be in the
    batch, taken off the logits, since popular items come as negatives too often (Yi et al. 2019).
    A column that repeats the row's own item is a duplicate, not a negative, and is masked.
    hard: (pairs, h, dim) further negatives of each row alone. With log_q each of them counts as one item of the
    catalogue: the corrected columns together estimate pairs × the catalogue's sum, so without + log(pairs) they would
    drown it.
    """
    import torch

    logits = users @ items.T / temperature  # (pairs, pairs)
    if log_q is not None:
        logits = logits - log_q[target]
    duplicate = target[:, None] == target[None, :]
    own = torch.eye(len(target), dtype=torch.bool, device=target.device)
    logits = logits.masked_fill((duplicate | barred[:, target]) & ~own, -torch.inf)
    if hard is not None:
        own_logits = torch.einsum("pd,phd->ph", users, hard) / temperature
        if log_q is not None:
            own_logits = own_logits + math.log(len(target))
        logits = torch.cat([logits, own_logits], dim=1)
    return torch.nn.functional.cross_entropy(logits, torch.arange(len(target), device=target.device))


def in_batch_corrected_loss(
    users: torch.Tensor, items: torch.Tensor, target: torch.Tensor, barred: torch.Tensor,
    temperature: torch.Tensor | float, log_q: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """The gradient of the whole catalogue's softmax from a batch's items, the liked one counted as what it is.

    `in_batch_loss` treats the liked item as one more draw from q and weighs it 1 / q_i, though it is always there: an
    item with few likes then fills the denominator by itself, and its loss vanishes. Here (Khrylchenko et al. 2025,
    "Correcting the LogQ correction") only the negatives n are draws, from q without the liked item i:
    Z = mean_n exp(s_n − log(q_n / (1 − q_i))) estimates Σ_{j≠i} exp(s_j), and
    ∇ log softmax = (1 − P_i) ∇(s_i − log Z) with P_i = e^{s_i} / (e^{s_i} + Z), held fixed.
    Arguments as above. A row whose negatives are all masked adds nothing.
    """
    import torch

    scores = users @ items.T / temperature  # (pairs, pairs)
    others = ~((target[:, None] == target[None, :]) | barred[:, target])
    count, own_q = others.sum(1), log_q[target].exp().clamp(max=1 - 1e-6)
    logits = scores - log_q[target] + torch.log1p(-own_q)[:, None]
    # A finite filler: rows without negatives would otherwise put NaN into the gradient.
    log_z = torch.logsumexp(logits.masked_fill(~others, -1e9), dim=1) - torch.log(count.clamp(min=1).float())
    liked = scores.diagonal()
    wrong = torch.sigmoid(log_z - liked).detach()  # 1 − P_i: how unsure the model still is
    return (wrong * (log_z - liked) * (count > 0)).mean()


def bpr_loss(
    users: torch.Tensor, items: torch.Tensor, negatives: torch.Tensor, temperature: torch.Tensor | float
) -> torch.Tensor:
    """−log σ((u · i − u · j) / temperature), meaned over pairs and their negatives j (Rendle et al. 2009).

    users, items: (pairs, dim). negatives: (pairs, n, dim).
    """
    import torch

    liked = (users * items).sum(1, keepdim=True)  # (pairs, 1)
    return -torch.nn.functional.logsigmoid((liked - torch.einsum("pd,pnd->pn", users, negatives)) / temperature).mean()


def mine_hard_negatives(
    users: torch.Tensor, items: torch.Tensor, liked: torch.Tensor, barred: torch.Tensor, depth: int, *,
    margin: float = 0.95,
) -> torch.Tensor:  # fmt: skip
    """The highest-ranked items that a user does not like, without those that look like forgotten likes.

    users: (users, dim), items: (catalogue, dim), liked: (users, catalogue) bool, barred: (catalogue,) bool.
    False negatives: an item that scores above `margin` times the user's mean liked item is left out, since it is
    more likely a like that nobody has recorded (positive-aware mining, Moreira et al. 2024).
    Returns (users, depth) item rows, hardest first; where fewer are left, the last one is repeated. (Of a user who
    likes everything no fair negative exists; some liked item is returned.)
    """
    import torch

    scores = users @ items.T
    mean_liked = (scores * liked).sum(1) / liked.sum(1).clamp(min=1)
    # Below zero a share of it would be nearer to zero, hence higher: take the same distance downwards.
    limit = mean_liked - (1 - margin) * mean_liked.abs()
    scores = scores.masked_fill(liked | barred, -torch.inf)
    found = scores.masked_fill(scores > limit[:, None], -torch.inf).topk(min(depth, scores.shape[1]), dim=1)
    fair = found.values > -torch.inf
    # Where the filter leaves nothing, the plain order serves: its last place is the least suspicious.
    plain = scores.topk(found.indices.shape[1], dim=1)
    least = ((plain.values > -torch.inf).sum(1, keepdim=True) - 1).clamp(min=0)
    last = (fair.sum(1, keepdim=True) - 1).clamp(min=0)
    rows = torch.where(fair, found.indices, found.indices.gather(1, last))
    return torch.where(fair.any(1, keepdim=True), rows, plain.indices.gather(1, least))


@dataclass(frozen=True)
class Asked:
    """What a step asks of a loss.

    users: (b, dim), a vector for each row of the batch. items: (catalogue, dim), with gradient. temperature: a number
    or a learned scalar. barred: (b, catalogue) bool, items that are no fair negatives of the row. log_q: (catalogue,)
    log of each item's share of the likes. target: of a batch of users (b, catalogue), 1 for what was hidden and liked,
    else 0; of pairs (b,), the liked item's row. negatives: (b, n) rows of items, or None where none were drawn.
    """

    users: torch.Tensor
    items: torch.Tensor
    temperature: torch.Tensor | float
    target: torch.Tensor
    barred: torch.Tensor
    log_q: torch.Tensor
    negatives: torch.Tensor | None = None


@dataclass(frozen=True)
class Loss:
    """An entry of LOSSES.

    batch: `users` (each row a user, judged over the whole catalogue) or `pairs` (each row a user and one liked item).
    negatives: which items beside the batch's own are drawn for each pair: `none`; `hard`: mined ones, where
    `hard_negatives` asks for them, else None; `always`: mined ones, or else one that the user has not liked.
    call: the loss, a scalar to be made small. says: for readers, in Chinese.
    """

    batch: str
    negatives: str
    call: Callable[[Asked], torch.Tensor]
    says: str = ""

    def __post_init__(self):
        allowed = {"users": ("none",), "pairs": ("none", "hard", "always")}
        if self.negatives not in allowed.get(self.batch, ()):
            raise ValueError(f"没有 {self.batch}＋{self.negatives} 这种 loss：可用的有 {allowed}。")


def _full(a: Asked) -> torch.Tensor:
    return full_softmax_loss(a.users, a.items, a.target, a.barred, a.temperature)


def _in_batch(a: Asked, correct: bool) -> torch.Tensor:
    hard = None if a.negatives is None else a.items[a.negatives]
    log_q = a.log_q if correct else None
    return in_batch_loss(a.users, a.items[a.target], a.target, a.barred, a.temperature, log_q, hard)


def _corrected(a: Asked) -> torch.Tensor:
    return in_batch_corrected_loss(a.users, a.items[a.target], a.target, a.barred, a.temperature, a.log_q)


def _bpr(a: Asked) -> torch.Tensor:
    return bpr_loss(a.users, a.items[a.target], a.items[a.negatives], a.temperature)


# All that `TwoTowerConfig(loss=...)` may be: a new loss is one entry here.
LOSSES = {
    "full": Loss("users", "none", _full, "全目录softmax"),
    "in_batch": Loss("pairs", "hard", lambda a: _in_batch(a, True), "批内负例，logQ校正"),
    "in_batch_corrected": Loss("pairs", "none", _corrected, "批内负例，校正过的logQ"),
    "in_batch_no_logq": Loss("pairs", "hard", lambda a: _in_batch(a, False), "不校正"),
    "bpr": Loss("pairs", "always", _bpr),
}
