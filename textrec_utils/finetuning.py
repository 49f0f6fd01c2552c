"""From a pretrained encoder to a recommender: the two-tower model and its trainer.

Two towers: item text -> encoder -> head -> item vector; user = weighted mean of the history's item vectors, or, without
a history, a vector of the profile text; score(u, i) = u · i / temperature.

A run goes on after a kill from its last checkpoint to the same numbers, and several processes (`torchrun`) share the
encoding of a step. What it does not do: catalogues whose item vectors don't fit in memory, id vectors (chapter 08).
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from scipy import sparse
from torch import nn
from tqdm import tqdm

from textrec_utils import losses as losses_module
from textrec_utils.baselines import HistoryMean, Recommender, history_weights, tfidf_vectors, unit_rows
from textrec_utils.cache import Cached, Cost, Interrupts, cache_dir, cached_arrays, measure, sha256_of, write_atomic
from textrec_utils.checkpoints import optimizer_tensors, restore_optimizer
from textrec_utils.datasets import DataError
from textrec_utils.encoder import DEFAULT_MODEL, POOLINGS, Encoder, center, has_bf16, whiten
from textrec_utils.losses import bpr_loss, full_softmax_loss, in_batch_loss, mine_hard_negatives
from textrec_utils.splits import Split

LOSSES = ("full", "in_batch", "in_batch_no_logq", "bpr")
RUNGS = ("head", "last_layer", "lora", "whole")
FEATURES = ("encoder", "lexical", "both")
HEADS = ("mlp", "linear")
SIMILARITIES = ("cosine", "learned", "dot")
USERS = ("mean", "recency", "attention")
QUESTIONS = ("hidden", "cut")
PRECISIONS = ("float32", "bf16", "auto")
MEANING_SCALE = 0.5  # of the encoder's vector beside the lexical one, chosen on validation splits of movielens-zh
CURVE_POINTS = 10
CPU_PASS = 32  # texts that go through the encoder at once on a CPU: with more, the layers' outputs leave its caches (half the speed at 256)


@dataclass(frozen=True)
class TwoTowerConfig:
    """All settings of a training run; every field belongs into the table of results.

    rung: what is trained: `head` on frozen vectors, head + `last_layer`, head + low-rank additions to every linear
        layer (`lora`, Hu et al. 2021), or the `whole` encoder.
    features: what the head reads: the `encoder`'s text vector, or a `lexical` one (TF-IDF of characters,
        reduced by SVD), which knows exact names but no meaning, or `both` side by side, the encoder's scaled by
        `meaning`; `lexical` and `both` go with rung `head` only. whitening: strength of the whitening (chapter 05)
        that the encoder's vectors go through first; 0 only takes their mean away.
    pooling: how the encoder's tokens become one vector: `mean`, `cls`, `cls_sep`, `first_last`.
    head: `mlp` (two layers), or `linear`, which starts as the identity and, being too weak to learn
        items by heart, carries over better to items never seen.
    similarity: `cosine` of both vectors over `temperature`; `learned` makes the temperature a trained number;
        `dot` leaves the vectors as long as they are and knows no temperature.
    user: how the history becomes one vector: plain `mean`; `recency`, the weight halved every `half_life` items back;
        `attention`, weights ∝ exp(q · z_i) / (1 + age)^r with q and r learned from 0, the plain mean.
    history: latest items that the user tower reads (0: all).
    profile: train a linear map from the user's profile text as well, for users without a history: a quarter of the
        users of each step are asked for their items without being shown any.
    question: what training asks: a `hidden` share (`history_dropout`) of the history, or, the history `cut` at a random
        moment, the part after it from the part before.
    loss: `full` softmax over the catalogue, `in_batch` negatives with logQ correction, or without it, or `bpr`.
    hard_negatives: further negatives a pair, drawn from the model's own top ranks, mined anew ten times a run
        (`in_batch`, `bpr`); with `bpr` 0 means one drawn evenly from the catalogue.
    steps: updates of the head. encoder_steps: further updates of head and encoder together, for the rungs
        that train one; the head comes first, since a random head would send noise into the encoder.
    stop: end after so many updates of the schedule (0: all of them); `early_stopping` fills it in.
    users: users a step (`full`). pairs: (user, liked item) pairs a step (`in_batch`, `bpr`).
    items: item texts encoded with gradient a step, at most (not for rung `head`, where all items have gradient).
    chunk: texts whose intermediate results are held at once; with more than these a step, gradients are cached (Gao et
        al. 2021), so that memory grows with the chunk and not with the step.
    accumulate: batches whose gradients are added for one update.
    precision: of the encoder's passes with gradient: `float32`, `bf16`, or `auto`, bf16 where the processor has it.
    With several processes all counts are for one step of all of them together.
    """

    rung: str = "head"
    features: str = "encoder"
    meaning: float = MEANING_SCALE
    whitening: float = 0.5
    pooling: str = "mean"
    head: str = "mlp"
    similarity: str = "cosine"
    user: str = "mean"
    half_life: float = 10.0
    history: int = 0
    profile: bool = False
    question: str = "hidden"
    loss: str = "full"
    hard_negatives: int = 0
    steps: int = 300
    encoder_steps: int = 80
    stop: int = 0
    users: int = 128
    pairs: int = 1024
    items: int = 64
    chunk: int = 64
    accumulate: int = 1
    dim: int = 128
    hidden: int = 512
    dropout: float = 0.3
    history_dropout: float = 0.5
    learning_rate: float = 2e-3
    encoder_learning_rate: float = 1e-4
    weight_decay: float = 1e-2
    temperature: float = 0.1
    lora_rank: int = 8
    precision: str = "auto"
    max_length: int = 128
    seed: int = 0

    def __post_init__(self):
        words = {
            "rung": RUNGS, "loss": LOSSES, "features": FEATURES, "head": HEADS, "similarity": SIMILARITIES, "user": USERS,
            "question": QUESTIONS, "precision": PRECISIONS, "pooling": tuple(POOLINGS),
        }  # fmt: skip
        for name, allowed in words.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} 应是 {'、'.join(allowed)} 之一，得到 {getattr(self, name)!r}。")
        if self.features != "encoder" and self.rung != "head":
            raise ValueError(f"features={self.features!r} 不训练编码器，rung 只能是 'head'。")
        if self.hard_negatives and self.loss == "full":
            raise ValueError("loss='full' 已经拿整个目录当负例，hard_negatives 只用于 in_batch 和 bpr。")
        if self.rung != "head" and self.loss != "full" and self.items < self.pairs:
            raise ValueError(f"items={self.items} 比 pairs={self.pairs} 小：每一对的物品都要带梯度编码，请调大 items 或调小 pairs。")
        at_least = dict.fromkeys(("users", "pairs", "items", "chunk", "accumulate", "dim", "hidden", "lora_rank"), 1)
        at_least |= dict.fromkeys(("steps", "encoder_steps", "stop", "history", "hard_negatives", "seed"), 0) | {"max_length": 3}
        for name, least in at_least.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} 至少是 {least}，得到 {getattr(self, name)}。")
        for name in ("temperature", "half_life", "meaning", "learning_rate", "encoder_learning_rate"):
            value = getattr(self, name)
            allowed = value > 0 or value == 0 and name.endswith("learning_rate")  # at rate 0 a part stays as it is
            if not (allowed and value < float("inf")):
                raise ValueError(f"{name} 应是正数，得到 {value}。")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout 是一个比例，从 0 到 1（不含 1），得到 {self.dropout}。")
        if not 0 < self.history_dropout < 1:
            raise ValueError(f"history_dropout 是一个比例，在 0 和 1 之间（都不含），得到 {self.history_dropout}。")
        if not self.steps and (self.rung == "head" or not self.encoder_steps):
            raise ValueError("steps 和 encoder_steps 合起来一步也没有；请至少训练一步。")


class Head(nn.Module):
    """(…, width) -> (…, dim), of length 1 unless similarity is `dot`.

    mlp: two linear layers with a GELU between. linear: x + Wx with W = 0 at the start, so that
    training begins at the frozen vectors' own ranking (dim = width).
    """

    def __init__(self, width: int, config: TwoTowerConfig):
        super().__init__()
        self.kind, self.unit = config.head, config.similarity != "dot"
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
            x = x + self.net(x)
        else:
            x = self.net(x)
        return F.normalize(x, dim=-1) if self.unit else x


class Towers(nn.Module):
    """Head, user tower and temperature: all that is trained beside the encoder.

    profiles: (users, width) vectors of the users' profile texts, or None.
    """

    def __init__(self, width: int, config: TwoTowerConfig, profiles: torch.Tensor | None = None):
        super().__init__()
        self.config, self.head = config, Head(width, config)
        if config.user == "attention":
            self.query, self.recency = nn.Parameter(torch.zeros(self.head.dim)), nn.Parameter(torch.zeros(()))
        if config.similarity == "learned":
            self.log_temperature = nn.Parameter(torch.tensor(float(np.log(config.temperature))))
        self.profile_map = None
        if profiles is not None:
            self.register_buffer("profiles", profiles, persistent=False)
            self.profile_map = nn.Linear(profiles.shape[1], self.head.dim)

    @property
    def temperature(self) -> torch.Tensor | float:
        if self.config.similarity == "learned":
            return self.log_temperature.exp()
        return 1.0 if self.config.similarity == "dot" else self.config.temperature

    def weights(self, items: torch.Tensor, rows: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        """(users, L) weight of each item of the history. rows: (users, L) item rows, oldest first; shown: bool, what the
        tower may see of them. items: (catalogue, dim)."""
        age = shown.flip(1).cumsum(1).flip(1) - 1  # 0: the latest that is shown
        if self.config.history:
            shown = shown & (age < self.config.history)
        if self.config.user == "mean":
            return shown.float()
        if self.config.user == "recency":
            return shown * 0.5 ** (age / self.config.half_life)
        logits = (items @ self.query)[rows] - self.recency * torch.log1p(age.clamp(min=0).float())
        # -1e9 instead of -inf: a row that shows nothing gets weights that `shown` takes away, not NaN.
        return torch.softmax(logits.masked_fill(~shown, -1e9), dim=1) * shown

    def users(self, items: torch.Tensor, users: torch.Tensor, rows: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        """(users, dim) vectors of `users` (rows of the dataset's users)."""
        weights = self.weights(items, rows, shown)
        if not self.head.unit:
            weights = weights / weights.sum(1, keepdim=True).clamp(min=1e-9)
        dense = torch.zeros(len(rows), len(items), device=items.device).scatter_add_(1, rows, weights)
        vectors = dense @ items
        if self.profile_map is not None:
            told = self.profile_map(self.profiles[users])
            vectors = torch.where(shown.any(1, keepdim=True), vectors, told)
        return F.normalize(vectors, dim=1) if self.head.unit else vectors


# ---------------------------------------------------------------- item features for each rung


def lexical_vectors(texts: Sequence[str], dim: int = 256, seed: int = 0) -> np.ndarray:
    """(texts, dim) float32 of length 1: TF-IDF of characters and pairs of characters, reduced by SVD (LSA,
    Deerwester et al. 1990). Uses the texts alone, so new items have their vectors as well."""
    from sklearn.decomposition import TruncatedSVD

    counts = tfidf_vectors(texts)
    reduced = TruncatedSVD(min(dim, *(n - 1 for n in counts.shape)), random_state=seed).fit_transform(counts)
    return unit_rows(reduced).astype(np.float32)


def _even(vectors: np.ndarray) -> np.ndarray:
    """Vectors whose entries have standard deviation 1. Raises ValueError where all are the same."""
    spread = vectors.std()
    if not spread > 1e-9:
        raise ValueError("全部文字的向量都一样，分不出谁是谁：请检查 text 一栏是不是空的、相同的，或只有模型不认识的符号。")
    return vectors / spread


class GradientCache:
    """Large batches in little memory: gradients of the vectors first, of the encoder chunk by chunk (Gao et al. 2021).

    encode: (n,) rows -> (n, width) with gradient. chunk: rows encoded at once. `vectors(rows)` gives a leaf tensor of
    what encode returns; after the loss's `backward()`, `backward()` carries its gradient into the encoder. The same
    gradient as encoding all at once, for one more pass without gradient.
    With several processes each encodes its share of the rows, and the encoder's gradients are added up.
    """

    def __init__(self, encode: Callable[[torch.Tensor], torch.Tensor], chunk: int, parameters: Sequence[nn.Parameter] = ()):
        self.encode, self.chunk, self.parameters = encode, chunk, list(parameters)

    def vectors(self, rows: torch.Tensor) -> torch.Tensor:
        world, rank = _world()
        self.share = torch.arange(rank, len(rows), world)  # places in `rows` that this process encodes
        self.parts, states = [], []
        with torch.no_grad():
            for part in self.share.split(self.chunk):
                state = torch.get_rng_state()
                states.append(self.encode(rows[part]))
                self.parts.append((rows[part], part, state))
        own = torch.cat(states) if states else torch.zeros(0, device=next(iter(self.parameters), torch.zeros(0)).device)
        if world > 1:
            own = _gather(own, self.share, len(rows))
        self.leaf = own.requires_grad_()
        return self.leaf

    def backward(self) -> None:
        after = torch.get_rng_state()
        for rows, part, state in self.parts:
            torch.set_rng_state(state)  # the same dropout as in the pass without gradient
            vectors = self.encode(rows)
            (vectors * self.leaf.grad[part]).sum().backward()
        torch.set_rng_state(after)
        if _world()[0] > 1:
            for parameter in self.parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                dist.all_reduce(parameter.grad)


@contextmanager
def processes(device: str = "cpu"):
    """Join the other processes where `torchrun` or `accelerate launch` started several (gloo on CPUs, nccl on GPUs).

    Gives this process's device. Alone it does nothing.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield device
        return
    if device.startswith("cuda"):
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def _world() -> tuple[int, int]:
    """(number of processes, this process's number)."""
    ready = dist.is_available() and dist.is_initialized()
    return (dist.get_world_size(), dist.get_rank()) if ready else (1, 0)


def _gather(own: torch.Tensor, share: torch.Tensor, total: int) -> torch.Tensor:
    """All processes' rows in their places, (total, width): each fills in its own, the sum holds all."""
    width = torch.tensor(own.shape[1] if own.ndim == 2 else 0, device=own.device)
    dist.all_reduce(width, dist.ReduceOp.MAX)  # a process without rows doesn't know the width
    full = torch.zeros(total, int(width), device=own.device)
    if len(share):
        full[share] = own
    dist.all_reduce(full)
    return full


def _in_bf16(config: TwoTowerConfig) -> bool:
    return config.precision == "bf16" or config.precision == "auto" and has_bf16()


class _Features:
    """Item rows -> what the head reads, with gradient into what the rung trains."""

    def __init__(self, encoder: Encoder | None, texts: Sequence[str], config: TwoTowerConfig):
        self.encoder, self.rung, self.n = encoder, config.rung, len(texts)
        self.bf16 = _in_bf16(config)
        # Scaled once by the frozen vectors' own statistics: the head starts from an even cloud.
        if config.features != "encoder":
            scaled = _even(center(lexical_vectors(texts, seed=config.seed)))
            if config.features == "both":
                scaled = _even(np.hstack([config.meaning * _even(whiten(encoder.encode(texts), strength=config.whitening)), scaled]))
            self.frozen = torch.from_numpy(scaled.astype(np.float32))
            return
        pooled = encoder.encode(texts)
        scaled = _even(whiten(pooled, strength=config.whitening))
        basis, *_ = np.linalg.lstsq(pooled - pooled.mean(0), scaled, rcond=None)
        self.mean, self.basis = (torch.from_numpy(a.astype(np.float32)).to(encoder.device) for a in (pooled.mean(0), basis))
        self.frozen = torch.from_numpy(scaled)
        if self.rung == "head":
            return
        self.at_once = min(config.chunk, CPU_PASS) if encoder.device == "cpu" else config.chunk
        self._open(config)
        names = [encoder.prefix + t for t in texts]
        self.tokens = [torch.tensor(ids) for ids in encoder.tokenizer(names, truncation=True, max_length=encoder.max_length)["input_ids"]]
        if self.rung == "last_layer":
            self.below = self._hidden_below()

    def _open(self, config: TwoTowerConfig) -> None:
        """Let the rung's part of the encoder be trained."""
        model = self.encoder.model
        for parameter in model.parameters():
            parameter.requires_grad = self.rung == "whole"
        if self.rung == "last_layer":
            layers = getattr(getattr(model, "encoder", None), "layer", None)
            if layers is None:
                raise DataError(f"编码器 {self.encoder.name} 不是BERT一族的结构，取不出最后一层：请改用 rung='lora' 或 'whole'。")
            self.layer = layers[-1]
            self.layer.requires_grad_(True)
        elif self.rung == "lora":
            from peft import LoraConfig, get_peft_model

            low_rank = LoraConfig(r=config.lora_rank, lora_alpha=2 * config.lora_rank, target_modules="all-linear", bias="none")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for a name that it has renamed
                self.encoder.model = get_peft_model(model, low_rank).eval()
        # Where heads are narrow, the plain form's backward pass is far quicker on a CPU than the fused one's.
        if self.encoder.device == "cpu" and hasattr(model, "set_attn_implementation"):
            model.set_attn_implementation("eager")

    def named_parameters(self) -> dict[str, nn.Parameter]:
        if self.rung == "head":
            return {}
        return {name: p for name, p in self.encoder.model.named_parameters() if p.requires_grad and "pooler." not in name}

    def merged(self) -> dict[str, torch.Tensor]:
        """The encoder's weights that training has moved, by the names of the plain model."""
        if self.rung == "lora":
            model = self.encoder.model.merge_and_unload()
            return {n: p.detach() for n, p in model.named_parameters() if p.ndim == 2 and "embeddings." not in n and "pooler." not in n}
        return {name: p.detach() for name, p in self.named_parameters().items()}

    def _batch(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        picked = [self.tokens[r] for r in rows]
        ids = nn.utils.rnn.pad_sequence(picked, batch_first=True, padding_value=self.encoder.tokenizer.pad_token_id)
        mask = torch.arange(ids.shape[1]) < torch.tensor([len(t) for t in picked])[:, None]
        return ids.to(self.encoder.device), mask.long().to(self.encoder.device)

    def _by_length(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Places in `rows`, for passes of texts that are about as long as each other: little padding."""
        lengths = torch.tensor([len(self.tokens[r]) for r in rows.tolist()])
        return list(torch.argsort(lengths, descending=True, stable=True).split(self.at_once))

    def _hidden_below(self) -> list[torch.Tensor]:
        """Each item's input of the last layer, computed once: the layers below are frozen."""
        below: list[torch.Tensor] = [torch.empty(0)] * self.n
        for part in self._by_length(torch.arange(self.n)):
            rows = part.tolist()
            ids, mask = self._batch(rows)
            with torch.no_grad():
                hidden = self.encoder.model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[-2]
            for i, r in enumerate(rows):
                below[r] = hidden[i, : len(self.tokens[r])].half().cpu()  # half the memory, error about 1e-3
        return below

    @torch.no_grad()
    def all(self) -> torch.Tensor:
        """(items, width): the catalogue by the encoder as it stands, in float32."""
        table = torch.empty_like(self.frozen)
        bf16, self.bf16 = self.bf16, False
        for rows in self._by_length(torch.arange(self.n)):
            table[rows] = self._encode(rows).cpu()
        self.bf16 = bf16
        return table

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """(rows, width), in passes by length."""
        places = self._by_length(rows)
        made = torch.cat([self._encode(rows[part]) for part in places])
        back = torch.empty(len(rows), dtype=torch.long)
        back[torch.cat(places)] = torch.arange(len(rows))
        return made[back]

    def _encode(self, rows: torch.Tensor) -> torch.Tensor:
        rows = rows.tolist()
        ids, mask = self._batch(rows)
        kind = self.encoder.device.split(":")[0]
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=self.bf16):
            if self.rung == "last_layer":
                states = nn.utils.rnn.pad_sequence([self.below[r] for r in rows], batch_first=True).float().to(mask.device)
                out = self.layer(states, (1.0 - mask[:, None, None].float()) * torch.finfo(torch.float32).min)
                hidden = [states, out[0] if isinstance(out, tuple) else out]
            else:
                every = self.encoder.pooling == "first_last"  # the others read the last layer alone
                out = self.encoder.model(input_ids=ids, attention_mask=mask, output_hidden_states=every)
                hidden = out.hidden_states if every else [out.last_hidden_state]
        pooled = POOLINGS[self.encoder.pooling]([h.float() for h in hidden], mask)
        return (pooled - self.mean) @ self.basis


# ---------------------------------------------------------------- the result


@dataclass
class TwoTower:
    """A trained two-tower model: item vectors ready for a dot product, the learning curve, the cost.

    item_vectors: (items, dim), of length 1 unless similarity is `dot`. curve: (points, 2 or 3): step, training loss since
    the last point and, where a judge was given, what it said. trained: number of trained parameters. cost: encoding and
    training together. weights: the trained tensors by name, for `save_sentence_transformer`. profile_vectors:
    (users, dim) or None. attention: (items,) logits and the exponent r of the age, or None.
    """

    item_vectors: np.ndarray
    curve: np.ndarray
    trained: int
    cost: Cost
    config: TwoTowerConfig
    weights: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    profile_vectors: np.ndarray | None = None
    attention: tuple[np.ndarray, float] | None = None
    model: str = DEFAULT_MODEL
    prefix: str = ""

    @property
    def best_step(self) -> int:
        """The step of the curve's best judged point. Raises ValueError where no judge was given."""
        if self.curve.shape[1] < 3:
            raise ValueError("曲线上没有验证分数：训练时没有给 judge。")
        return int(self.curve[self.curve[:, 2].argmax(), 0])

    def fuse(self, other: "TwoTower", weight: float = 0.5) -> "TwoTower":
        """Both models' item vectors side by side, so that one dot product adds up both scores.

        weight: this model's share: (√weight · a, √(1 − weight) · b), again of length 1.
        Raises ValueError where the two don't weigh a history alike: one mean of joined vectors would serve neither.
        """
        if self.attention or other.attention or self._user_settings() != other._user_settings():
            raise ValueError("两座塔的用户向量算法不同（user、history、half_life、profile、similarity），不能拼成一座；请用ZScoreBlend融合分数。")

        def joined(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return np.hstack([np.sqrt(weight) * a, np.sqrt(1 - weight) * b]).astype(np.float32)

        cost = Cost(self.cost.seconds + other.cost.seconds, max(self.cost.peak_mb, other.cost.peak_mb))
        fused = TwoTower(joined(self.item_vectors, other.item_vectors), self.curve, self.trained + other.trained, cost, self.config)
        if self.config.profile:
            fused.profile_vectors = joined(self.profile_vectors, other.profile_vectors)
        return fused

    def _user_settings(self) -> tuple:
        c = self.config
        return c.user, c.history, c.half_life if c.user == "recency" else 0, c.profile, c.similarity == "dot"

    def recommender(self, name: str) -> Recommender:
        """The user tower and the dot product, as `evaluate` takes them."""
        if self.config.user == "mean" and not self.config.history and self.profile_vectors is None:
            return HistoryMean(self.item_vectors, name, normalize=False)
        return UserTower(self, name)


class UserTower(Recommender):
    """user = weighted mean of the history's item vectors (`TwoTowerConfig.user`), or the profile's vector; score = u · i."""

    def __init__(self, tower: TwoTower, name: str):
        self.name, self.tower = name, tower

    def weights(self, split: Split) -> sparse.csr_matrix:
        """(users, items) float32: what each item of a history counts in the user's vector; rows sum to 1."""
        config, attention = self.tower.config, self.tower.attention

        def attend(history: np.ndarray, age: np.ndarray) -> np.ndarray:
            logits = attention[0][history] - attention[1] * np.log1p(age)
            return np.exp(logits - logits.max())

        half_life = config.half_life if config.user == "recency" else None
        return history_weights(split, half_life, weigh=attend if config.user == "attention" else None, latest=config.history)

    def fit(self, split: Split) -> "UserTower":
        self._users = self.weights(split) @ self.tower.item_vectors
        if self.tower.config.similarity != "dot":
            self._users = unit_rows(self._users)
        if self.tower.profile_vectors is not None:
            empty = np.array([len(h) == 0 for h in split.histories])
            self._users[empty] = self.tower.profile_vectors[empty]
        return self

    def score(self, users: np.ndarray) -> np.ndarray:
        return self._users[users] @ self.tower.item_vectors.T


# ---------------------------------------------------------------- training


def train_two_tower(
    split: Split, config: TwoTowerConfig = TwoTowerConfig(), model: str = DEFAULT_MODEL, *,
    prefix: str = "", judge: Callable[[TwoTower], float] | None = None, patience: int = 0,
    watch: Callable[[np.ndarray], None] | None = None, log_dir: Path | str | None = None, checkpoint: Path | str | None = None,
    checkpoint_seconds: float = 30.0, device: str = "cpu", progress: bool = True, cache: bool = True,
) -> TwoTower:  # fmt: skip
    """Train on a split's training part; the result comes from the cache where the same run was made before.

    A run that was killed goes on from its last checkpoint to the same numbers; the file `checkpoint` (by default one beside
    the cached results) is written every `checkpoint_seconds` and removed when the run is done. model: `mini-bert-zh`, a local
    folder or a Hugging Face name. judge: called with the tower as it stands at each of the curve's ten points, for
    choosing the number of steps; it must not look at the final test. What its answers depend on beside the tower it
    says in an attribute `key`, or the cache would answer for another judge.
    patience: stop after so many points without a better judgement (0: never) and return the best point's vectors.
    watch: called with the curve so far, e.g. `plotting.LiveCurve()`. log_dir: also write TensorBoard logs there.
    device: `cuda` is meant to work and has not been tried; "the same numbers" is a promise for CPUs.
    Raises DataError where the model can't be had, ValueError where nobody likes two items or all texts are alike.
    """
    if patience and judge is None:
        raise ValueError("patience 要有 judge 才知道有没有变好：请给一个只看验证集的 judge。")
    encoder, encoding = None, Cost()
    if config.features != "lexical" or config.profile:
        encoder = Encoder(model, pooling=config.pooling, max_length=config.max_length, prefix=prefix, device=device)
    if config.features != "lexical":
        # Encoded before the clock of the training starts, and added to it below: a table of costs
        # must not depend on whether some earlier method has left the vectors in the cache.
        encoding = encoder.encode_with_cost(list(split.dataset.items["text"])).cost
    key = {
        "data": split.dataset.checksum(), "split": [split.protocol, split.seed, len(split.train), int(split.train["item"].sum())],
        "encoder": encoder.fingerprint if encoder else "", "prefix": prefix, "judged": getattr(judge, "key", judge is not None),
        "patience": patience, "bf16": _in_bf16(config),
        "losses": sha256_of(Path(losses_module.__file__)), **asdict(config),
    }  # fmt: skip
    kept = _Checkpoint(key, checkpoint, checkpoint_seconds) if cache or checkpoint else None
    cache = cache and _world()[0] == 1  # several processes must all train: one that finds a result would leave the others waiting

    def compute():
        run = _Run(split, config, encoder, judge=judge, patience=patience, watch=watch, log_dir=log_dir, checkpoint=kept, device=device)
        return run.train(progress and _world()[1] == 0)

    if cache:
        done = cached_arrays("two_tower", key, compute)
        if watch is not None and done.from_cache:
            watch(done["curve"])
        if log_dir and done.from_cache:
            _log(_tensorboard(log_dir), done["curve"])
    else:
        with measure() as spent:
            arrays = compute()
        done = Cached(arrays, spent)
    cost = Cost(done.cost.seconds + encoding.seconds, max(done.cost.peak_mb, encoding.peak_mb))
    return _tower_of(done.arrays, cost, config, model, prefix)


def _tower_of(arrays: dict[str, np.ndarray], cost: Cost, config: TwoTowerConfig, model: str = DEFAULT_MODEL, prefix: str = "") -> TwoTower:
    return TwoTower(
        arrays["item_vectors"], arrays["curve"], int(arrays["trained"][0]), cost, config,
        {n: a for n, a in arrays.items() if n.startswith(("head.", "encoder.", "scale."))}, arrays.get("profile_vectors"),
        (arrays["attention"], float(arrays["recency"][0])) if "attention" in arrays else None, model, prefix,
    )  # fmt: skip


def early_stopping(
    split: Split, config: TwoTowerConfig = TwoTowerConfig(), model: str = DEFAULT_MODEL, *, metric: str = "ndcg@10", patience: int = 3, **options
) -> tuple[TwoTowerConfig, TwoTower]:  # fmt: skip
    """How many steps to train, chosen on `split.inner()`: (config with `stop` filled in, the tower trained there).

    The schedule of the learning rate stays that of the whole run, so that the second run, on all of the training part,
    passes through the very rates that the first one was judged at.
    """
    from textrec_utils.evaluation import evaluate

    inner = split.inner()

    def judge(tower: TwoTower) -> float:
        return evaluate(tower.recommender(""), inner, [metric]).mean(metric)

    judge.key = metric
    tower = train_two_tower(inner, config, model, judge=judge, patience=patience, **options)
    return replace(config, stop=tower.best_step), tower


class _Checkpoint:
    """Where a run that may be killed keeps its state: one safetensors file, which knows what run it belongs to."""

    def __init__(self, key: dict, path: Path | str | None, seconds: float):
        self.key = sha256_of(json.dumps({"code": sha256_of(Path(__file__)), **key}, sort_keys=True).encode())
        self.path = Path(path) if path else cache_dir() / "two_tower" / f"{self.key[:32]}.checkpoint"
        self.seconds, self.saved = seconds, time.monotonic()

    @property
    def due(self) -> bool:
        return time.monotonic() - self.saved > self.seconds

    def load(self) -> tuple[dict[str, torch.Tensor], dict] | None:
        try:
            with safe_open(self.path, "pt") as f:
                state = json.loads(f.metadata()["state"])
                if state["key"] == self.key:
                    return {name: f.get_tensor(name) for name in f.keys()}, state  # noqa: SIM118
                print(f"检查点 {self.path.name} 属于另一次训练（设置、数据或代码不同），从头训练。", file=sys.stderr)
        except FileNotFoundError:
            pass
        except (SafetensorError, OSError, KeyError, ValueError):
            print(f"检查点 {self.path.name} 读不出来，从头训练。", file=sys.stderr)
        return None

    def save(self, tensors: dict[str, torch.Tensor], state: dict) -> None:
        from safetensors.torch import save

        self.saved = time.monotonic()
        if _world()[1]:  # all processes are in the same state: the first writes it down
            return
        kept = {n: t.detach().cpu().contiguous() for n, t in tensors.items()}
        try:
            write_atomic(self.path, save(kept, {"state": json.dumps(state | {"key": self.key})}))
        except OSError as error:  # a full disk costs the checkpoint, not the run
            print(f"检查点没有写进 {self.path.parent}（{error.strerror}）；训练继续，中断后要从头来。", file=sys.stderr)

    def remove(self) -> None:
        try:
            self.path.unlink(missing_ok=True)
        except OSError:
            pass


class _Run:
    """One training: towers, features, batches and optimizer, and the state from which it can go on."""

    def __init__(
        self, split: Split, config: TwoTowerConfig, encoder: Encoder | None, *, judge=None, patience=0, watch=None,
        log_dir=None, checkpoint: _Checkpoint | None = None, device: str = "cpu",
    ):  # fmt: skip
        torch.manual_seed(config.seed)
        self.rng = np.random.default_rng(config.seed)
        self.config, self.judge, self.patience, self.watch, self.checkpoint = config, judge, patience, watch, checkpoint
        self.features = _Features(encoder, list(split.dataset.items["text"]), config)
        profiles = None
        if config.profile:
            if split.dataset.users["text"].nunique() < 2:
                raise ValueError("profile=True 要从用户的文字学，可是这份数据的用户没有各不相同的文字：请设 profile=False。")
            profiles = _even(whiten(encoder.encode(list(split.dataset.users["text"])), strength=0.5))
        self.towers = Towers(self.features.frozen.shape[1], config, None if profiles is None else torch.from_numpy(profiles)).to(device)
        self.batches = _Batches(split, config, self.rng, device)
        self.writer = _tensorboard(log_dir) if log_dir else None
        opened = list(self.features.named_parameters().values())
        trained = list(self.towers.parameters())
        self.phases = [(config.steps, [{"params": trained, "lr": config.learning_rate}])]
        if opened:
            slow = {"params": trained, "lr": config.learning_rate / 10}
            self.phases.append((config.encoder_steps, [slow, {"params": opened, "lr": config.encoder_learning_rate}]))
        self.cached = GradientCache(self.features, config.chunk, opened)
        # What the head reads, for every item. While an encoder learns, only a step's rows are encoded anew, with
        # gradient; the other rows are as they were at their last turn, the worse an approximation the farther the encoder moves.
        self.table = self.features.frozen.clone().to(device)
        self.total = sum(steps for steps, _ in self.phases)
        self.last = min(config.stop or self.total, self.total)
        self.look = max(1, self.total // CURVE_POINTS)
        self.done, self.phase, self.curve, self.losses = 0, -1, [], []
        self.best: dict[str, torch.Tensor] = {}
        self._resume()

    # ---- one step

    def _enter_phase(self) -> int:
        """Set up the phase that the next step belongs to; returns the step within it."""
        before, number = 0, 0
        while self.done >= before + self.phases[number][0]:
            before, number = before + self.phases[number][0], number + 1
        if number != self.phase:
            steps, groups = self.phases[number]
            self.optimizer = torch.optim.AdamW([dict(g) for g in groups], weight_decay=self.config.weight_decay)
            self.schedule, self.phase = _warm_up_then_linear(steps), number
        return self.done - before

    def _step(self) -> float:
        local, groups = self._enter_phase(), self.phases[self.phase][1]
        for group, base in zip(self.optimizer.param_groups, groups):
            group["lr"] = base["lr"] * self.schedule(local)
        self.towers.train()
        self.optimizer.zero_grad()
        value = sum(self._add_gradient(len(groups) > 1) for _ in range(self.config.accumulate)) / self.config.accumulate
        nn.utils.clip_grad_norm_([p for g in groups for p in g["params"]], 1.0)
        self.optimizer.step()
        return value

    def _add_gradient(self, encoder_learns: bool) -> float:
        if not encoder_learns:
            items = self.towers.head(self.table)
            loss = self.batches.loss(self.towers, items, self.batches.draw(encoder_learns))
            (loss / self.config.accumulate).backward()
            return loss.item()
        batch = self.batches.draw(encoder_learns)
        through_cache = len(batch.rows) > self.config.chunk or _world()[0] > 1
        fresh = self.cached.vectors(batch.rows) if through_cache else self.features(batch.rows)
        loss = self.batches.loss(self.towers, self.towers.head(self.table.index_put((batch.rows,), fresh)), batch)
        (loss / self.config.accumulate).backward()
        if through_cache:
            self.cached.backward()
        self.table[batch.rows] = fresh.detach()
        return loss.item()

    # ---- the whole run

    def train(self, progress: bool) -> dict[str, np.ndarray]:
        """Go on to the last step. Ctrl-C ends the run after the step in hand, with a checkpoint where there is a place for it."""
        bar = tqdm(total=self.last, initial=self.done, desc=f"训练 {self.config.rung}", disable=not progress, file=sys.stdout)
        with bar, Interrupts() as interrupts:
            while self.done < self.last and not self._no_longer_better():
                if self.done % self.look == 0 and self.config.hard_negatives:
                    self.batches.mine(self.towers, self.table)
                self.losses.append(self._step())
                self.done += 1
                bar.update()
                bar.set_postfix_str(f"损失 {self.losses[-1]:.3f}")
                if self.done % self.look == 0:
                    self._point()
                asked = self._anyone(interrupts.asked)
                if self.checkpoint and (asked or self.checkpoint.due):
                    self._save()
                if asked:
                    raise KeyboardInterrupt
        if self.patience and self.best:
            self._set_trained(self.best)
        result = self._result()
        if self.checkpoint:
            self.checkpoint.remove()
        if self.writer:
            self.writer.close()
        return result

    def _anyone(self, asked: bool) -> bool:
        """Did any of the processes get the signal? They must leave after the same step, or one waits for ever."""
        if _world()[0] == 1:
            return asked
        flag = torch.tensor(float(asked), device=self.table.device)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag)

    def _point(self) -> None:
        row = [self.done, float(np.mean(self.losses))]
        self.losses.clear()
        if self.judge is not None:
            row.append(float(self.judge(_tower_of(self._towers_now(), Cost(), self.config))))
        self.curve.append(row)
        if self.patience and row[2] >= max(r[2] for r in self.curve):
            self.best = {n: p.detach().clone() for n, p in self._trained().items()}
        if self.watch is not None:
            self.watch(np.array(self.curve))
        if self.writer:
            _log(self.writer, [row])

    def _no_longer_better(self) -> bool:
        if not self.patience or not self.curve:
            return False
        # The head alone may stand still while an encoder is still to come: only the last phase can end a run early.
        late = sum(row[0] > self.total - self.phases[-1][0] for row in self.curve)
        values = [row[2] for row in self.curve]
        return min(late, len(values) - 1 - int(np.argmax(values))) >= self.patience

    def _trained(self) -> dict[str, nn.Parameter]:
        """All that is trained, by names that a file can hold."""
        towers = {f"towers.{n}": p for n, p in self.towers.named_parameters()}
        return towers | {f"encoder.{n}": p for n, p in self.features.named_parameters().items()}

    @torch.no_grad()
    def _set_trained(self, tensors: dict[str, torch.Tensor]) -> None:
        for name, parameter in self._trained().items():
            parameter.copy_(tensors[name])

    @torch.no_grad()
    def _towers_now(self) -> dict[str, np.ndarray]:
        """Item vectors and all that the user tower needs, by the towers as they stand, dropout off."""
        self.towers.eval()
        vectors = self.towers.head(self.table)
        arrays = {"item_vectors": vectors, "trained": torch.tensor([sum(p.numel() for p in self._reached())])}
        if self.config.user == "attention":
            arrays |= {"attention": vectors @ self.towers.query, "recency": self.towers.recency[None]}
        if self.towers.profile_map is not None:
            told = self.towers.profile_map(self.towers.profiles)
            arrays["profile_vectors"] = F.normalize(told, dim=1) if self.towers.head.unit else told
        width = 2 if self.judge is None else 3
        return {n: t.cpu().numpy() for n, t in arrays.items()} | {"curve": np.array(self.curve).reshape(-1, width)}

    @torch.no_grad()
    def _result(self) -> dict[str, np.ndarray]:
        if len(self.phases) > 1:
            self.table = self.features.all().to(self.table.device)
        weights = {f"head.{n}": p for n, p in self.towers.head.named_parameters()}
        if self.config.features == "encoder":
            weights |= {"scale.mean": self.features.mean, "scale.basis": self.features.basis}
            weights |= {f"encoder.{n}": p for n, p in self.features.merged().items()}
        return self._towers_now() | {n: t.detach().cpu().numpy() for n, t in weights.items()}

    def _reached(self) -> list[nn.Parameter]:
        """The parameters that had a step: a run that ended early may never have come to the encoder."""
        return [p for group in self.phases[max(self.phase, 0)][1] for p in group["params"]]

    # ---- going on after a kill

    def _save(self) -> None:
        tensors: dict[str, torch.Tensor] = self._trained() | optimizer_tensors(self.optimizer)
        tensors |= {f"best.{n}": t for n, t in self.best.items()}
        tensors |= {"table": self.table, "random": torch.get_rng_state()} | self.batches.state()
        state = {
            "done": self.done, "phase": self.phase, "curve": self.curve, "losses": self.losses,
            "numpy": self.rng.bit_generator.state, "queue": [int(r) for r in self.batches.queue],
        }  # fmt: skip
        self.checkpoint.save(tensors, state)

    @torch.no_grad()
    def _resume(self) -> None:
        kept = self.checkpoint.load() if self.checkpoint else None
        if kept is None:
            return
        tensors, state = kept
        self.done, self.curve, self.losses = max(state["done"] - 1, 0), state["curve"], state["losses"]
        self._enter_phase()  # the phase that the last step belonged to
        self.done = state["done"]
        self._set_trained(tensors)
        restore_optimizer(self.optimizer, tensors)
        self.best = {n[5:]: t.to(self.table.device) for n, t in tensors.items() if n.startswith("best.")}
        self.table = tensors["table"].to(self.table.device)
        self.batches.restore(tensors, state["queue"])
        self.rng.bit_generator.state = state["numpy"]
        torch.set_rng_state(tensors["random"])


def _tensorboard(folder: Path | str):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise DataError("写TensorBoard日志要先装它：pip install tensorboard。") from None
    return SummaryWriter(str(folder))


def _log(writer, curve) -> None:
    for step, *values in curve:
        for name, value in zip(("loss", "validation"), values):
            writer.add_scalar(name, value, int(step))
    writer.flush()


def _warm_up_then_linear(steps: int, warm_up: float = 0.1):
    first = max(1, round(steps * warm_up))

    def factor(step: int) -> float:
        return min((step + 1) / first, max(0.0, (steps - step) / max(1, steps - first)))

    return factor


@dataclass
class _Batch:
    """users: (b,) rows of the dataset's users. history: (b, L) item rows, oldest first, padded with 0. shown: (b, L) bool,
    what the user tower may see. liked: (b, items) of 0. and 1. rows: items that get gradient through the encoder.
    target: (b,) the liked item of each pair (not with `full`). negatives: (b, n) item rows or None."""

    users: torch.Tensor
    history: torch.Tensor
    shown: torch.Tensor
    liked: torch.Tensor
    rows: torch.Tensor | None = None
    target: torch.Tensor | None = None
    negatives: torch.Tensor | None = None


class _Batches:
    """Draws items and users, and computes the loss."""

    def __init__(self, split: Split, config: TwoTowerConfig, rng: np.random.Generator, device: str = "cpu"):
        self.config, self.rng, self.device = config, rng, device
        self.matrix, self.n = split.train_matrix, split.n_items
        self.histories = [torch.from_numpy(h.astype(np.int64)) for h in split.histories]
        self.lengths = np.array([len(h) for h in split.histories])
        self.active = np.flatnonzero(self.lengths > 1)
        if len(self.active) == 0:
            raise ValueError("没有一个用户喜欢过两个以上的物品，双塔无法训练；请换划分方式或调低 min_value。")
        order = split.train.sort_values(["user", "timestamp", "item"], kind="stable")
        self.pairs = order[["user", "item"]].to_numpy()
        self.place = np.arange(len(order)) - np.concatenate([[0], np.cumsum(self.lengths)])[self.pairs[:, 0]]  # in the history
        count = torch.from_numpy(np.asarray(self.matrix.sum(axis=0)).ravel())
        self.log_q = torch.log((count / count.sum()).clamp(min=1e-9)).to(device)
        # A cold item is no negative: nobody could have liked it in training.
        self.cold = torch.from_numpy(split.cold).to(device)
        self.warm = np.flatnonzero(~split.cold)
        self.mined: torch.Tensor | None = None
        self.queue: list[int] = []

    def state(self) -> dict[str, torch.Tensor]:
        return {} if self.mined is None else {"mined": self.mined}

    def restore(self, tensors: dict[str, torch.Tensor], queue: list[int]) -> None:
        self.mined, self.queue = tensors.get("mined"), list(queue)

    # ---- drawing

    def draw(self, encoder_learns: bool) -> _Batch:
        batch = self._users() if self.config.loss == "full" else self._pairs()
        if encoder_learns:
            batch.rows = self._all_in_turn() if self.config.loss == "full" else self._those_of(batch)
        return batch

    def _all_in_turn(self) -> torch.Tensor:
        """Each warm item once before any comes again."""
        if len(self.queue) < min(self.config.items, len(self.warm)):
            self.queue = self.rng.permutation(self.warm).tolist()
        rows, self.queue = self.queue[: self.config.items], self.queue[self.config.items :]
        return torch.tensor(rows)

    def _those_of(self, batch: _Batch) -> torch.Tensor:
        """The batch's own items, each once: targets first, then negatives, then histories, as many as `items` allows."""
        seen = batch.history[batch.shown]
        asked = [batch.target, *([] if batch.negatives is None else [batch.negatives.ravel()]), seen]
        wanted = np.asarray(torch.cat(asked).cpu())
        _, first = np.unique(wanted, return_index=True)
        return torch.from_numpy(wanted[np.sort(first)][: self.config.items])

    def _shown(self, users: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Histories of these users, (users, L) item rows, and which of these places hold one."""
        rows = nn.utils.rnn.pad_sequence([self.histories[u] for u in users], batch_first=True)
        return rows, torch.arange(rows.shape[1]) < torch.from_numpy(self.lengths[users])[:, None]

    def _liked(self, users: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.matrix[users].toarray())

    def _only_profile(self, shown: torch.Tensor) -> torch.Tensor:
        """For a quarter of the rows nothing is shown, where there are profiles to answer from."""
        return shown & (torch.rand(len(shown)) >= 0.25)[:, None] if self.config.profile else shown

    def _users(self) -> _Batch:
        users = self.rng.choice(self.active, size=min(self.config.users, len(self.active)), replace=False)
        history, there = self._shown(users)
        if self.config.question == "cut":
            cut = self.rng.integers(1, self.lengths[users])
            shown = torch.arange(history.shape[1]) < torch.from_numpy(cut)[:, None]
        else:
            hidden = torch.rand(len(users), self.n).gather(1, history) < self.config.history_dropout
            shown = there & ~hidden
        return self._on_device(_Batch(torch.from_numpy(users), history, self._only_profile(shown), self._liked(users)))

    def _pairs(self) -> _Batch:
        chosen = self.rng.integers(len(self.pairs), size=min(self.config.pairs, len(self.pairs)))
        users, target = self.pairs[chosen].T
        history, there = self._shown(users)
        place = torch.from_numpy(self.place[chosen])[:, None]
        if self.config.question == "cut":
            shown = torch.arange(history.shape[1]) < place
        else:
            shown = there & (torch.rand(history.shape) >= self.config.history_dropout)
            shown &= torch.arange(history.shape[1]) != place  # the answer must not be part of the question
        batch = _Batch(torch.from_numpy(users), history, self._only_profile(shown), self._liked(users), target=torch.from_numpy(target))
        batch.negatives = self._negatives(batch)
        return self._on_device(batch)

    def _negatives(self, batch: _Batch) -> torch.Tensor | None:
        """(pairs, n) rows: drawn from the mined ones, or for BPR one evenly from what the user has not liked."""
        h = self.config.hard_negatives
        if h:
            depth = self.mined.shape[1]
            chosen = torch.rand(len(batch.users), depth).argsort(1)[:, : min(h, depth)]
            return self.mined[batch.users].gather(1, chosen)
        if self.config.loss != "bpr":
            return None
        drawn = torch.from_numpy(self.rng.choice(self.warm, size=(len(batch.users), 8)))
        liked = batch.liked.gather(1, drawn) > 0
        first = (~liked).float().argmax(1, keepdim=True)  # all eight liked: the first, a rare false negative
        return drawn.gather(1, first)

    def _on_device(self, batch: _Batch) -> _Batch:
        if self.device != "cpu":
            for name, value in vars(batch).items():
                setattr(batch, name, None if value is None else value.to(self.device))
        return batch

    @torch.no_grad()
    def mine(self, towers: Towers, table: torch.Tensor) -> None:
        """Each user's hard negatives by the towers as they stand, (users, 4 a pair) rows."""
        towers.eval()
        items, found = towers.head(table), []
        for users in np.array_split(np.arange(len(self.lengths)), -(-len(self.lengths) // 512)):
            history, there = self._shown(users)
            vectors = towers.users(items, torch.from_numpy(users).to(self.device), history.to(self.device), there.to(self.device))
            liked = self._liked(users).to(self.device) > 0
            found.append(mine_hard_negatives(vectors, items, liked, self.cold, 4 * self.config.hard_negatives))
        self.mined = torch.cat(found).cpu()

    # ---- the loss

    def loss(self, towers: Towers, items: torch.Tensor, batch: _Batch) -> torch.Tensor:
        """items: (catalogue, dim), with gradient."""
        vectors = towers.users(items, batch.users, batch.history, batch.shown)
        if self.config.loss == "full":
            shown = torch.zeros_like(batch.liked).scatter_add_(1, batch.history, batch.shown.float())
            return full_softmax_loss(vectors, items, batch.liked - shown, (shown > 0) | self.cold, towers.temperature)
        if self.config.loss == "bpr":
            return bpr_loss(vectors, items[batch.target], items[batch.negatives], towers.temperature)
        barred = batch.liked > 0
        barred[torch.arange(len(barred)), batch.target] = False
        log_q = self.log_q if self.config.loss == "in_batch" else None
        hard = None if batch.negatives is None else items[batch.negatives]
        return in_batch_loss(vectors, items[batch.target], batch.target, barred, towers.temperature, log_q, hard)
