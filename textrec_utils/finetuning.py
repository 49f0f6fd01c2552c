"""From a pretrained encoder to a recommender: the two-tower model, and the article's pair classifier.

Two towers: item text -> encoder -> head -> unit vector; user = mean of the history's item vectors, unit
length; score(u, i) = u · i / temperature. Not here: several processes, LoRA, checkpoints.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from textrec_utils.baselines import HistoryMean
from textrec_utils.cache import Cached, Cost, cached_arrays
from textrec_utils.encoder import DEFAULT_MODEL, POOLINGS, Encoder, whiten
from textrec_utils.splits import Split

LOSSES = ("full", "in_batch", "in_batch_no_logq")
RUNGS = ("head", "last_layer", "whole")


@dataclass(frozen=True)
class TwoTowerConfig:
    """All settings of a training run; every field belongs into the table of results.

    rung: what is trained: `head` on frozen vectors, head + `last_layer`, or the `whole` encoder.
    loss: `full` softmax over the catalogue, `in_batch` negatives with logQ correction, or without it.
    pairs: (user, liked item) pairs a step. items: item texts encoded with gradient a step (not for `head`).
    history_dropout: share of the history hidden at random in a step, so that no single film decides.
    """

    rung: str = "head"
    loss: str = "full"
    epochs: int = 15
    pairs: int = 1024
    items: int = 64
    dim: int = 128
    hidden: int = 512
    dropout: float = 0.3
    history_dropout: float = 0.2
    learning_rate: float = 2e-3
    encoder_learning_rate: float = 1e-4
    weight_decay: float = 1e-2
    temperature: float = 0.1
    max_length: int = 128
    seed: int = 0

    def __post_init__(self):
        if self.rung not in RUNGS or self.loss not in LOSSES:
            raise ValueError(f"rung 应是 {'、'.join(RUNGS)} 之一，loss 应是 {'、'.join(LOSSES)} 之一。")


class Head(nn.Module):
    """(…, in) -> (…, dim) of length 1: two linear layers with a GELU between."""

    def __init__(self, width: int, hidden: int, dim: int, dropout: float):
        super().__init__()
        self.net = nn.Sequential(
            nn.Dropout(dropout / 2), nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.net(x), dim=-1)


# ---------------------------------------------------------------- losses


def full_softmax_loss(users: torch.Tensor, items: torch.Tensor, target: torch.Tensor, barred: torch.Tensor, temperature: float) -> torch.Tensor:
    """Cross-entropy of the liked item against the whole catalogue.

    users: (pairs, dim), items: (catalogue, dim), target: (pairs,) item rows.
    barred: (pairs, catalogue) bool, items that are no fair negatives (already liked); the target never is.
    """
    logits = users @ items.T / temperature
    logits = logits.masked_fill(barred, -torch.inf)
    return F.cross_entropy(logits, target)


def in_batch_loss(
    users: torch.Tensor, items: torch.Tensor, target: torch.Tensor, barred: torch.Tensor, temperature: float,
    log_q: torch.Tensor | None,
) -> torch.Tensor:  # fmt: skip
    """Cross-entropy of the liked item against the other liked items of the batch.

    users, items: (pairs, dim), row p of `items` belongs to row p of `users`. target: (pairs,) item rows.
    barred: (pairs, catalogue) bool as above. log_q: (catalogue,) log of each item's chance to be in the
    batch, taken off the logits, since popular items come as negatives too often (Yi et al. 2019).
    A column that repeats the row's own item is a duplicate, not a negative, and is masked.
    """
    logits = users @ items.T / temperature  # (pairs, pairs)
    if log_q is not None:
        logits = logits - log_q[target]
    duplicate = target[:, None] == target[None, :]
    own = torch.eye(len(target), dtype=torch.bool)
    logits = logits.masked_fill((duplicate | barred[:, target]) & ~own, -torch.inf)
    return F.cross_entropy(logits, torch.arange(len(target)))


# ---------------------------------------------------------------- item features for each rung


class _Features:
    """Item rows -> encoder output before the head, with gradient into what the rung trains."""

    def __init__(self, encoder: Encoder, texts: Sequence[str], rung: str):
        self.encoder, self.rung, self.n = encoder, rung, len(texts)
        pooled = encoder.encode(texts)
        # Whitened once, by the frozen vectors' own statistics: the head starts from an even cloud.
        self.mean = torch.from_numpy(pooled.mean(0))
        scaled = whiten(pooled)
        basis, *_ = np.linalg.lstsq(pooled - pooled.mean(0), scaled, rcond=None)
        self.basis = torch.from_numpy(basis.astype(np.float32))
        self.frozen = torch.from_numpy(scaled)
        if rung == "head":
            return
        model = encoder.model
        for parameter in model.parameters():
            parameter.requires_grad = rung == "whole"
        self.tokens = [encoder.tokenizer(t, truncation=True, max_length=encoder.max_length)["input_ids"] for t in texts]
        if rung == "last_layer":
            self.layer = model.encoder.layer[-1]
            for parameter in self.layer.parameters():
                parameter.requires_grad = True
            self.below = self._hidden_below()

    def parameters(self) -> list[nn.Parameter]:
        return [] if self.rung == "head" else [p for p in self.encoder.model.parameters() if p.requires_grad]

    def _batch(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        longest = max(len(self.tokens[r]) for r in rows)
        ids = torch.full((len(rows), longest), self.encoder.tokenizer.pad_token_id)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for i, r in enumerate(rows):
            ids[i, : len(self.tokens[r])] = torch.tensor(self.tokens[r])
            mask[i, : len(self.tokens[r])] = 1
        return ids, mask

    def _hidden_below(self) -> list[torch.Tensor]:
        """Each item's input of the last layer, computed once: the layers below are frozen."""
        below: list[torch.Tensor] = [torch.empty(0)] * self.n
        order = sorted(range(self.n), key=lambda r: -len(self.tokens[r]))
        for start in range(0, self.n, 64):
            rows = order[start : start + 64]
            ids, mask = self._batch(rows)
            with torch.no_grad():
                hidden = self.encoder.model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[-2]
            for i, r in enumerate(rows):
                below[r] = hidden[i, : len(self.tokens[r])].half()  # half the memory, error about 1e-3
        return below

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        if self.rung == "head":
            return self.frozen[rows]
        rows = rows.tolist()
        ids, mask = self._batch(rows)
        if self.rung == "whole":
            hidden = self.encoder.model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        else:
            states = nn.utils.rnn.pad_sequence([self.below[r] for r in rows], batch_first=True).float()
            bias = torch.zeros(len(rows), 1, 1, mask.shape[1]).masked_fill(mask[:, None, None] == 0, torch.finfo(torch.float32).min)
            out = self.layer(states, bias)
            hidden = [states, out[0] if isinstance(out, tuple) else out]
        pooled = POOLINGS[self.encoder.pooling](hidden, mask)
        return (pooled - self.mean) @ self.basis


# ---------------------------------------------------------------- training


@dataclass
class TwoTower:
    """A trained two-tower model: item vectors ready for a dot product, the learning curve, the cost.

    item_vectors: (items, dim) of length 1. curve: (epochs, 2 or 3): epoch, training loss and, where a
    judge was given, what it said. trained: number of trained parameters.
    """

    item_vectors: np.ndarray
    curve: np.ndarray
    trained: int
    cost: Cost
    config: TwoTowerConfig

    def recommender(self, name: str) -> HistoryMean:
        """user = mean of the history's item vectors, score = dot product."""
        return HistoryMean(self.item_vectors, name, normalize=False)


def train_two_tower(
    split: Split, config: TwoTowerConfig = TwoTowerConfig(), model: str = DEFAULT_MODEL, *,
    prefix: str = "", judge: Callable[[np.ndarray], float] | None = None, progress: bool = True, cache: bool = True,
) -> TwoTower:  # fmt: skip
    """Train on a split's training part; the result comes from the cache where the same run was made before.

    model: `mini-bert-zh`, a local folder or a Hugging Face name. judge: called with the (items, dim) vectors
    after every epoch, for curves and for choosing epochs; it must not look at the final test.
    """
    encoder = Encoder(model, max_length=config.max_length, prefix=prefix)
    key = {
        "data": split.dataset.checksum(), "split": [split.protocol, split.seed, len(split.train), int(split.train["item"].sum())],
        "encoder": encoder.fingerprint, "prefix": prefix, "judged": judge is not None, **asdict(config),
    }  # fmt: skip

    def compute():
        return _train(split, config, encoder, judge, progress)

    if cache:
        done = cached_arrays("two_tower", key, compute)
    else:
        done = Cached(compute())
    return TwoTower(done["item_vectors"], done["curve"], int(done["trained"][0]), done.cost, config)


def _train(split: Split, config: TwoTowerConfig, encoder: Encoder, judge, progress: bool) -> dict[str, np.ndarray]:
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    features = _Features(encoder, list(split.dataset.items["text"]), config.rung)
    head = Head(features.frozen.shape[1], config.hidden, config.dim, config.dropout)
    groups = [{"params": head.parameters(), "lr": config.learning_rate}]
    if features.parameters():
        groups.append({"params": features.parameters(), "lr": config.encoder_learning_rate})
    optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
    batches = _Batches(split, config, rng)
    steps = batches.per_epoch * config.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warm_up_then_linear(steps))
    trained = [p for g in optimizer.param_groups for p in g["params"]]
    curve = []
    bar = tqdm(total=steps, desc=f"训练 {config.rung}", disable=not progress, file=sys.stdout)
    for epoch in range(1, config.epochs + 1):
        table = _vectors(features, head)
        head.train()
        encoder.model.train(config.rung == "whole")
        losses = []
        for rows, users, target in batches.epoch():
            fresh = head(features(rows))
            # The other items' vectors are those of the epoch's start, without gradient.
            items = fresh if config.rung == "head" else table.index_put((rows,), fresh)
            loss = _loss(split, config, batches, items, users, target)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            if config.rung != "head":
                table[rows] = fresh.detach()
            losses.append(loss.item())
            bar.update()
            bar.set_postfix_str(f"第 {epoch} 轮 损失 {loss.item():.3f}")
        row = [epoch, float(np.mean(losses))]
        if judge is not None:
            row.append(judge(_vectors(features, head).numpy()))
        curve.append(row)
    bar.close()
    vectors = _vectors(features, head).numpy()
    count = sum(p.numel() for p in trained)
    return {"item_vectors": vectors, "curve": np.array(curve), "trained": np.array([count])}


def _warm_up_then_linear(steps: int, warm_up: float = 0.1):
    first = max(1, round(steps * warm_up))

    def factor(step: int) -> float:
        return min((step + 1) / first, max(0.0, (steps - step) / max(1, steps - first)))

    return factor


class _Batches:
    """Draws (items with gradient, users, targets) and prepares what does not change between steps."""

    def __init__(self, split: Split, config: TwoTowerConfig, rng: np.random.Generator):
        self.config, self.rng = config, rng
        self.pairs = torch.from_numpy(split.train[["user", "item"]].to_numpy())
        self.liked = torch.from_numpy(split.train_matrix.toarray()).bool()  # (users, items)
        count = self.liked.sum(0).float()
        self.log_q = torch.log((count / count.sum()).clamp(min=1e-9))
        # A cold item is no negative: nobody could have liked it in training.
        self.cold = torch.from_numpy(split.cold)
        self.all_items = torch.arange(split.n_items)
        self.warm = np.flatnonzero(~split.cold)
        self.size = min(config.pairs, len(self.pairs))
        by_item = torch.argsort(self.pairs[:, 1], stable=True)
        self.by_item = self.pairs[by_item]
        self.starts = torch.searchsorted(self.by_item[:, 1].contiguous(), torch.arange(split.n_items + 1))
        per_epoch = len(self.pairs) // self.size if config.rung == "head" else -(-len(self.warm) // config.items)
        self.per_epoch = max(1, per_epoch)

    def epoch(self):
        if self.config.rung == "head":
            order = torch.from_numpy(self.rng.permutation(len(self.pairs)))
            for step in range(self.per_epoch):
                chosen = self.pairs[order[step * self.size : (step + 1) * self.size]]
                yield self.all_items, chosen[:, 0], chosen[:, 1]
            return
        order = self.rng.permutation(self.warm)
        for step in range(self.per_epoch):
            rows = order[step * self.config.items : (step + 1) * self.config.items]
            pool = torch.cat([torch.arange(int(self.starts[r]), int(self.starts[r + 1])) for r in rows])
            if len(pool) > self.size:
                pool = pool[torch.from_numpy(self.rng.permutation(len(pool))[: self.size])]
            chosen = self.by_item[pool]
            yield torch.from_numpy(rows), chosen[:, 0], chosen[:, 1]


def _loss(split, config, batches: _Batches, items, users, target) -> torch.Tensor:
    liked = batches.liked[users]
    row = torch.arange(len(users))
    history = liked.float() * (torch.rand(liked.shape) >= config.history_dropout)
    history[row, target] = 0  # the answer must not be part of the question
    vector = history @ items
    vector = F.normalize(vector, dim=1)
    barred = liked | batches.cold
    barred[row, target] = False
    if config.loss == "full":
        return full_softmax_loss(vector, items, target, barred, config.temperature)
    log_q = batches.log_q if config.loss == "in_batch" else None
    return in_batch_loss(vector, items[target], target, barred, config.temperature, log_q)


@torch.no_grad()
def _vectors(features: _Features, head: Head) -> torch.Tensor:
    """(items, dim): the whole catalogue by the model as it stands, dropout off."""
    head.eval()
    features.encoder.model.eval()
    if features.rung == "head":
        return head(features.frozen)
    order = sorted(range(features.n), key=lambda r: -len(features.tokens[r]))
    table = torch.empty(features.n, head.net[-1].out_features)
    for start in range(0, features.n, 64):
        rows = torch.tensor(order[start : start + 64])
        table[rows] = head(features(rows))
    return table
