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
from tqdm import tqdm

from textrec_utils.baselines import HistoryMean, tfidf_vectors, unit_rows
from textrec_utils.cache import Cached, Cost, cached_arrays, measure
from textrec_utils.encoder import DEFAULT_MODEL, POOLINGS, Encoder, center, load_pretrained, quiet_loading, whiten
from textrec_utils.splits import Split

LOSSES = ("full", "in_batch", "in_batch_no_logq")
RUNGS = ("head", "last_layer", "whole")
FEATURES = ("encoder", "lexical", "both")
HEADS = ("mlp", "linear")
MEANING_SCALE = 0.5  # of the encoder's vector beside the lexical one, chosen on validation splits of movielens-zh
CURVE_POINTS = 10


@dataclass(frozen=True)
class TwoTowerConfig:
    """All settings of a training run; every field belongs into the table of results.

    rung: what is trained: `head` on frozen vectors, head + `last_layer`, or the `whole` encoder.
    features: what the head reads: the `encoder`'s text vector, or a `lexical` one (TF-IDF of characters,
        reduced by SVD), which knows exact names but no meaning, or `both` side by side, the encoder's scaled by
        MEANING_SCALE; `lexical` and `both` go with rung `head` only.
    head: `mlp` (two layers), or `linear`, which starts as the identity and, being too weak to learn
        items by heart, carries over better to items never seen.
    loss: `full` softmax over the catalogue, `in_batch` negatives with logQ correction, or without it.
    steps: updates of the head. encoder_steps: further updates of head and encoder together, for the rungs
        that train one; the head comes first, since a random head would send noise into the encoder.
    users: users a step (`full`). pairs: (user, liked item) pairs a step (`in_batch`).
    items: item texts encoded with gradient a step (not for rung `head`, where all items have gradient).
    history_dropout: share of the history that is hidden at random in a step; with `full` the hidden
        items are what must be found.
    """

    rung: str = "head"
    features: str = "encoder"
    head: str = "mlp"
    loss: str = "full"
    steps: int = 300
    encoder_steps: int = 80
    users: int = 128
    pairs: int = 1024
    items: int = 64
    dim: int = 128
    hidden: int = 512
    dropout: float = 0.3
    history_dropout: float = 0.5
    learning_rate: float = 2e-3
    encoder_learning_rate: float = 1e-4
    weight_decay: float = 1e-2
    temperature: float = 0.1
    max_length: int = 128
    seed: int = 0

    def __post_init__(self):
        for name, allowed in (("rung", RUNGS), ("loss", LOSSES), ("features", FEATURES), ("head", HEADS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} 应是 {'、'.join(allowed)} 之一，得到 {getattr(self, name)!r}。")
        if self.features != "encoder" and self.rung != "head":
            raise ValueError(f"features={self.features!r} 不训练编码器，rung 只能是 'head'。")


class Head(nn.Module):
    """(…, width) -> (…, dim) of length 1.

    mlp: two linear layers with a GELU between. linear: x + Wx with W = 0 at the start, so that
    training begins at the frozen vectors' own ranking (dim = width).
    """

    def __init__(self, width: int, config: TwoTowerConfig):
        super().__init__()
        self.kind = config.head
        if config.head == "mlp":
            self.net = nn.Sequential(
                nn.Dropout(config.dropout / 2), nn.Linear(width, config.hidden), nn.GELU(),
                nn.Dropout(config.dropout), nn.Linear(config.hidden, config.dim),
            )  # fmt: skip
            self.dim = config.dim
        else:
            self.dropout, self.net, self.dim = nn.Dropout(config.dropout), nn.Linear(width, width), width
            nn.init.zeros_(self.net.weight)
            nn.init.zeros_(self.net.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "linear":
            x = self.dropout(x)
            return F.normalize(x + self.net(x), dim=-1)
        return F.normalize(self.net(x), dim=-1)


# ---------------------------------------------------------------- losses


def full_softmax_loss(users: torch.Tensor, items: torch.Tensor, target: torch.Tensor, barred: torch.Tensor, temperature: float) -> torch.Tensor:
    """Cross-entropy of each user's hidden items against the whole catalogue.

    −Σ_i t_ui log softmax(u · i / temperature) / Σ_i t_ui, meaned over users: the multinomial
    likelihood of Liang et al. 2018, each user counting the same.
    users: (users, dim), items: (catalogue, dim), target: (users, catalogue) of 0 and 1.
    barred: (users, catalogue) bool, items that are no fair negatives; a target must not be barred.
    """
    logits = (users @ items.T / temperature).masked_fill(barred, -1e9)
    per_user = -(target * F.log_softmax(logits, dim=1)).sum(1) / target.sum(1).clamp(min=1)
    return per_user.mean()


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


def lexical_vectors(texts: Sequence[str], dim: int = 256, seed: int = 0) -> np.ndarray:
    """(texts, dim) float32 of length 1: TF-IDF of characters and pairs of characters, reduced by SVD (LSA,
    Deerwester et al. 1990). Uses the texts alone, so new items have their vectors as well."""
    from sklearn.decomposition import TruncatedSVD

    counts = tfidf_vectors(texts)
    reduced = TruncatedSVD(min(dim, *(n - 1 for n in counts.shape)), random_state=seed).fit_transform(counts)
    return unit_rows(reduced).astype(np.float32)


def _even(vectors: np.ndarray) -> np.ndarray:
    """Vectors whose entries have standard deviation 1."""
    return vectors / vectors.std()


class _Features:
    """Item rows -> what the head reads, with gradient into what the rung trains."""

    def __init__(self, encoder: Encoder | None, texts: Sequence[str], config: TwoTowerConfig):
        self.encoder, self.rung, self.n = encoder, config.rung, len(texts)
        # Scaled once by the frozen vectors' own statistics: the head starts from an even cloud.
        if config.features != "encoder":
            scaled = _even(center(lexical_vectors(texts, seed=config.seed)))
            if config.features == "both":
                scaled = _even(np.hstack([MEANING_SCALE * _even(whiten(encoder.encode(texts), strength=0.5)), scaled]))
            self.frozen = torch.from_numpy(scaled)
            return
        pooled = encoder.encode(texts)
        scaled = _even(whiten(pooled, strength=0.5))
        basis, *_ = np.linalg.lstsq(pooled - pooled.mean(0), scaled, rcond=None)
        self.mean, self.basis = torch.from_numpy(pooled.mean(0)), torch.from_numpy(basis.astype(np.float32))
        self.frozen = torch.from_numpy(scaled)
        if self.rung == "head":
            return
        model = encoder.model
        for parameter in model.parameters():
            parameter.requires_grad = self.rung == "whole"
        self.tokens = [encoder.tokenizer(t, truncation=True, max_length=encoder.max_length)["input_ids"] for t in texts]
        if self.rung == "last_layer":
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

    @torch.no_grad()
    def all(self) -> torch.Tensor:
        """(items, width): the catalogue by the encoder as it stands."""
        order = sorted(range(self.n), key=lambda r: -len(self.tokens[r]))
        table = torch.empty_like(self.frozen)
        for start in range(0, self.n, 64):
            rows = torch.tensor(order[start : start + 64])
            table[rows] = self(rows)
        return table

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
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

    item_vectors: (items, dim) of length 1. cost: encoding and training together. curve: (points, 2 or 3): step, training loss since the last
    point and, where a judge was given, what it said. trained: number of trained parameters.
    """

    item_vectors: np.ndarray
    curve: np.ndarray
    trained: int
    cost: Cost
    config: TwoTowerConfig

    def fuse(self, other: "TwoTower", weight: float = 0.5) -> "TwoTower":
        """Both models' item vectors side by side, so that one dot product adds up both scores.

        weight: this model's share: (√weight · a, √(1 − weight) · b), again of length 1.
        """
        joined = np.hstack([np.sqrt(weight) * self.item_vectors, np.sqrt(1 - weight) * other.item_vectors])
        cost = Cost(self.cost.seconds + other.cost.seconds, max(self.cost.peak_mb, other.cost.peak_mb))
        return TwoTower(joined.astype(np.float32), self.curve, self.trained + other.trained, cost, self.config)

    def recommender(self, name: str) -> HistoryMean:
        """user = mean of the history's item vectors, score = dot product."""
        return HistoryMean(self.item_vectors, name, normalize=False)


def train_two_tower(
    split: Split, config: TwoTowerConfig = TwoTowerConfig(), model: str = DEFAULT_MODEL, *,
    prefix: str = "", judge: Callable[[np.ndarray], float] | None = None, progress: bool = True, cache: bool = True,
) -> TwoTower:  # fmt: skip
    """Train on a split's training part; the result comes from the cache where the same run was made before.

    model: `mini-bert-zh`, a local folder or a Hugging Face name. judge: called with the (items, dim) vectors
    at each point of the curve, for choosing the number of steps; it must not look at the final test.
    """
    encoder, encoding = None, Cost()
    if config.features != "lexical":
        encoder = Encoder(model, max_length=config.max_length, prefix=prefix)
        # Encoded before the clock of the training starts, and added to it below: a table of costs
        # must not depend on whether some earlier method has left the vectors in the cache.
        encoding = encoder.encode_with_cost(list(split.dataset.items["text"])).cost
    key = {
        "data": split.dataset.checksum(), "split": [split.protocol, split.seed, len(split.train), int(split.train["item"].sum())],
        "encoder": encoder.fingerprint if encoder else "", "prefix": prefix, "judged": judge is not None, **asdict(config),
    }  # fmt: skip

    def compute():
        return _train(split, config, encoder, judge, progress)

    if cache:
        done = cached_arrays("two_tower", key, compute)
    else:
        with measure() as spent:
            arrays = compute()
        done = Cached(arrays, spent)
    cost = Cost(done.cost.seconds + encoding.seconds, max(done.cost.peak_mb, encoding.peak_mb))
    return TwoTower(done["item_vectors"], done["curve"], int(done["trained"][0]), cost, config)


def _train(split: Split, config: TwoTowerConfig, encoder: Encoder | None, judge, progress: bool) -> dict[str, np.ndarray]:
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    features = _Features(encoder, list(split.dataset.items["text"]), config)
    head = Head(features.frozen.shape[1], config)
    batches = _Batches(split, config, rng)
    phases = [(config.steps, [{"params": list(head.parameters()), "lr": config.learning_rate}])]
    if features.parameters():
        slow = {"params": list(head.parameters()), "lr": config.learning_rate / 10}
        phases.append((config.encoder_steps, [slow, {"params": features.parameters(), "lr": config.encoder_learning_rate}]))
    # What the head reads, for every item. While an encoder learns, only a step's rows are encoded anew, with
    # gradient; the other rows are a few steps old, which is harmless, since an encoder moves slowly.
    table = features.frozen.clone()
    total = sum(steps for steps, _ in phases)
    look = max(1, total // CURVE_POINTS)
    curve, losses, done = [], [], 0
    bar = tqdm(total=total, desc=f"训练 {config.rung}", disable=not progress, file=sys.stdout)
    for steps, groups in phases:
        trained = [p for g in groups for p in g["params"]]
        optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warm_up_then_linear(steps))
        for _ in range(steps):
            head.train()
            rows = batches.items() if len(groups) > 1 else None
            if rows is None:
                loss = batches.loss(head(table), None)
            else:
                fresh = features(rows)
                loss = batches.loss(head(table.index_put((rows,), fresh)), rows)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            if rows is not None:
                table[rows] = fresh.detach()
            losses.append(loss.item())
            done += 1
            bar.update()
            bar.set_postfix_str(f"损失 {loss.item():.3f}")
            if done % look == 0:
                row = [done, float(np.mean(losses))]
                losses.clear()
                if judge is not None:
                    row.append(judge(_vectors(head, table).numpy()))
                curve.append(row)
    bar.close()
    if len(phases) > 1:
        table = features.all()
    vectors = _vectors(head, table).numpy()
    count = sum(p.numel() for p in trained)
    return {"item_vectors": vectors, "curve": np.array(curve), "trained": np.array([count])}


def _warm_up_then_linear(steps: int, warm_up: float = 0.1):
    first = max(1, round(steps * warm_up))

    def factor(step: int) -> float:
        return min((step + 1) / first, max(0.0, (steps - step) / max(1, steps - first)))

    return factor


class _Batches:
    """Draws items and users, and computes the loss; what does not change between steps is kept."""

    def __init__(self, split: Split, config: TwoTowerConfig, rng: np.random.Generator):
        self.config, self.rng = config, rng
        self.liked = torch.from_numpy(split.train_matrix.toarray())  # (users, items) of 0. and 1.
        self.active = np.flatnonzero(np.diff(split.train_matrix.indptr) > 1)
        if len(self.active) == 0:
            raise ValueError("没有一个用户喜欢过两个以上的物品，双塔无法训练；请换划分方式或调低 min_value。")
        self.pairs = torch.tensor(split.train[["user", "item"]].to_numpy())
        count = self.liked.sum(0)
        self.log_q = torch.log((count / count.sum()).clamp(min=1e-9))
        # A cold item is no negative: nobody could have liked it in training.
        self.cold = torch.from_numpy(split.cold)
        self.warm = np.flatnonzero(~split.cold)
        self._queue: list[int] = []

    def items(self) -> torch.Tensor:
        """Rows that are encoded with gradient in this step; each warm item once before any comes again."""
        if len(self._queue) < min(self.config.items, len(self.warm)):
            self._queue = self.rng.permutation(self.warm).tolist()
        rows, self._queue = self._queue[: self.config.items], self._queue[self.config.items :]
        return torch.tensor(rows)

    def loss(self, items: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        """items: (catalogue, dim); `rows`: where the encoder has gradient (None: it is frozen)."""
        if self.config.loss == "full":
            return self._full(items)
        return self._in_batch(items, rows)

    def _full(self, items: torch.Tensor) -> torch.Tensor:
        users = self.rng.choice(self.active, size=min(self.config.users, len(self.active)), replace=False)
        liked = self.liked[users]
        hidden = torch.rand(liked.shape) < self.config.history_dropout
        history = liked.masked_fill(hidden, 0)
        vectors = F.normalize(history @ items, dim=1)
        return full_softmax_loss(vectors, items, liked - history, (history > 0) | self.cold, self.config.temperature)

    def _in_batch(self, items: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        pool = self.pairs
        if rows is not None:
            pool = pool[torch.isin(pool[:, 1], rows)]
        chosen = pool[torch.from_numpy(self.rng.permutation(len(pool))[: self.config.pairs])]
        users, target = chosen[:, 0], chosen[:, 1]
        liked = self.liked[users]
        row = torch.arange(len(users))
        history = liked.masked_fill(torch.rand(liked.shape) < self.config.history_dropout, 0)
        history[row, target] = 0  # the answer must not be part of the question
        vectors = F.normalize(history @ items, dim=1)
        barred = liked > 0
        barred[row, target] = False
        log_q = self.log_q if self.config.loss == "in_batch" else None
        return in_batch_loss(vectors, items[target], target, barred, self.config.temperature, log_q)


@torch.no_grad()
def _vectors(head: Head, table: torch.Tensor) -> torch.Tensor:
    """(items, dim): the whole catalogue by the head as it stands, dropout off."""
    head.eval()
    return head(table)


# ---------------------------------------------------------------- the article's way: a pair classifier


def user_text(split: Split, user: int, *, without: int | None = None, titles: int = 5) -> str:
    """Profile and the latest liked titles as one text; `without` hides the item to be judged."""
    history = [i for i in split.histories[user] if i != without][-titles:]
    names = "、".join(split.dataset.items["title"].iloc[list(history)])
    return "。".join(part for part in (split.dataset.users["text"].iloc[user], f"喜欢：{names}") if part)


class PairClassifier:
    """BertForSequenceClassification on (user text, item text): does this user like this item?

    Pointwise, as the source article does it (Adam-style training, cross-entropy on 0/1), with tokenised
    pairs instead of its raw strings. Every score costs a pass through the encoder, so it re-ranks short
    candidate lists; a full ranking needs users × items passes.
    """

    def __init__(
        self, model: str = DEFAULT_MODEL, *, pairs: int = 2000, learning_rate: float = 5e-5, batch_size: int = 32,
        max_length: int = 96, seed: int = 0,
    ):  # fmt: skip
        self.name = "句对分类"
        self.model_name, self.pairs, self.learning_rate = model, pairs, learning_rate
        self.batch_size, self.max_length, self.seed = batch_size, max_length, seed

    def fit(self, split: Split, progress: bool = False) -> "PairClassifier":
        """Train on `pairs` texts: liked items, and as many unseen ones drawn by popularity."""
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        torch.manual_seed(self.seed)
        rng = np.random.default_rng(self.seed)
        with quiet_loading():
            self.tokenizer = load_pretrained(self.model_name, AutoTokenizer)
            self.model = load_pretrained(self.model_name, AutoModelForSequenceClassification, num_labels=2)
        self._split = split
        users, items, labels = self._sample(rng)
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=self.learning_rate)
        self.losses: list[float] = []
        self.model.train()
        for start in tqdm(range(0, len(users), self.batch_size), desc="训练句对分类", disable=not progress, file=sys.stdout):
            part = slice(start, start + self.batch_size)
            batch = self.tokenize(users[part], items[part], hide=True)
            loss = self.model(**batch, labels=torch.tensor(labels[part])).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            self.losses.append(loss.item())
        self.model.eval()
        return self

    def _sample(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        positives = self._split.train.sample(self.pairs // 2, random_state=self.seed, replace=len(self._split.train) < self.pairs // 2)
        users = positives["user"].to_numpy()
        # Drawn like the positives, so that "popular" alone does not answer the question.
        negatives = self._split.train["item"].to_numpy()[rng.integers(0, len(self._split.train), len(users))]
        seen = np.asarray(self._split.train_matrix[users, negatives]).ravel() > 0
        users = np.concatenate([users, users[~seen]])
        items = np.concatenate([positives["item"].to_numpy(), negatives[~seen]])
        labels = np.concatenate([np.ones(len(positives), dtype=np.int64), np.zeros(int((~seen).sum()), dtype=np.int64)])
        order = rng.permutation(len(users))
        return users[order], items[order], labels[order]

    def tokenize(self, users: Sequence[int], items: Sequence[int], *, hide: bool = False) -> dict[str, torch.Tensor]:
        """[CLS] user text [SEP] item text [SEP], padded; `hide` keeps the item out of the user's text."""
        first = [user_text(self._split, int(u), without=int(i) if hide else None) for u, i in zip(users, items)]
        second = [self._split.dataset.items["text"].iloc[int(i)] for i in items]
        return self.tokenizer(
            first, second, padding=True, truncation="only_second", max_length=self.max_length, return_tensors="pt"
        )

    def score_pairs(self, users: Sequence[int], items: Sequence[int]) -> np.ndarray:
        """(pairs,) logit of "likes" minus logit of "does not"."""
        out = []
        with torch.inference_mode():
            for start in range(0, len(users), 128):
                batch = self.tokenize(users[start : start + 128], items[start : start + 128])
                logits = self.model(**batch).logits
                out.append((logits[:, 1] - logits[:, 0]).numpy())
        return np.concatenate(out)

    def rerank(self, users: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """candidates: (users, c) item rows in any order. Returns them best first, the same shape."""
        scores = self.score_pairs(np.repeat(users, candidates.shape[1]), candidates.ravel()).reshape(candidates.shape)
        return np.take_along_axis(candidates, np.argsort(-scores, axis=1, kind="stable"), axis=1)
