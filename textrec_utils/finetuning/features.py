"""What is read of a split's texts, once, and what the head reads of it at each step."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from tempfile import SpooledTemporaryFile

import numpy as np
import torch
from torch import nn

from textrec_utils.baselines.content import HistoryMean, tfidf_vectors, unit_rows
from textrec_utils.core.cost import Cost
from textrec_utils.core.errors import DataError, TooLittleData
from textrec_utils.core.files import sha256_of
from textrec_utils.core.store import Cached, cached_arrays
from textrec_utils.encoder.batching import by_length, padded
from textrec_utils.encoder.encoder import Encoder
from textrec_utils.encoder.loading import DEFAULT_MODEL
from textrec_utils.encoder.pooling import pool
from textrec_utils.encoder.precision import autocast, use_bf16
from textrec_utils.encoder.space import Whitening, center, whiten
from textrec_utils.finetuning.config import ENCODED, TwoTowerConfig
from textrec_utils.splits import Split

CPU_PASS = 32  # texts at once on a CPU: with more, the layers' outputs leave its caches (half the speed at 256)
RANDOM_WIDTH = 256  # as wide as the spelling
BERT_LIKE = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "ernie")  # whose last layer stands alone
BELOW = 2**30  # bytes of `_hidden_below` that stay in memory


def lexical_vectors(texts: Sequence[str], dim: int = 256, seed: int = 0) -> np.ndarray:
    """(texts, dim) float32 of length 1: TF-IDF of characters and pairs of characters, reduced by SVD (LSA,
    Deerwester et al. 1990). Uses the texts alone, so new items have their vectors as well."""
    return _spelled(list(texts), dim, seed)["vectors"]


def _spelled(texts: list[str], dim: int = 256, seed: int = 0) -> Cached:
    """Kept: the SVD takes as long as the training of a head that reads it."""

    def reduce() -> dict[str, np.ndarray]:
        from sklearn.decomposition import TruncatedSVD

        counts = tfidf_vectors(texts)
        reduced = TruncatedSVD(min(dim, *(n - 1 for n in counts.shape)), random_state=seed).fit_transform(counts)
        return {"vectors": unit_rows(reduced).astype(np.float32)}

    depends = {"文字": sha256_of(json.dumps(texts).encode()), "维数": dim, "种子": seed}
    return cached_arrays("lexical", depends, reduce, stage="encode")


def _even(vectors: np.ndarray) -> np.ndarray:
    """Vectors whose entries have standard deviation 1. Raises TooLittleData where all are the same."""
    spread = vectors.std()
    if not spread > 1e-9:
        raise TooLittleData(
            "全部文字的向量都一样，分不出谁是谁：请检查 text 一栏是不是空的、相同的，或只有模型不认识的符号。"
        )
    return vectors / spread


@dataclass
class Material:
    """What a run reads of a split's texts. texts: the items'. encoder: None where nothing asks for one. vectors:
    (items, width) by the frozen encoder. spelled: (items, dim), `lexical_vectors`. profiles: (users, width), even.
    precision: of the passes with gradient, as `auto` came out. cost: what encoding took."""

    texts: list[str]
    encoder: Encoder | None = None
    vectors: np.ndarray | None = None
    spelled: np.ndarray | None = None
    profiles: np.ndarray | None = None
    precision: str = "float32"
    cost: Cost = field(default_factory=Cost)

    def read_as(self, config: TwoTowerConfig) -> TwoTowerConfig:
        """The config with what `auto` came to in its pooling and max_length, where an encoder reads."""
        if not self.encoder:
            return config
        return replace(config, pooling=self.encoder.pooling, max_length=self.encoder.max_length)


def read_texts(split: Split, config: TwoTowerConfig, model: str, prefix: str, device: str) -> Material:
    """Encode what the config asks for, before the clock of the training starts.

    A table of costs must not depend on whether some earlier method has left the vectors in the store.
    Raises DataError where users' texts are asked for and there are none to tell users by.
    """
    made = Material(list(split.dataset.items["text"]))
    reads = config.features in ENCODED
    if reads or config.profile:
        options = {"pooling": config.pooling, "max_length": config.max_length, "prefix": prefix, "device": device}
        made.encoder = Encoder(model, **options)
    if config.rung != "head" and use_bf16(config.precision, device):
        made.precision = "bf16"
    if reads:
        encoded = made.encoder.encode_with_cost(made.texts)
        made.vectors, made.cost = encoded["vectors"], encoded.cost
    if config.features in ("lexical", "both"):
        spelled = _spelled(made.texts, seed=config.seed)
        made.spelled, made.cost = spelled["vectors"], made.cost + spelled.cost
    if config.profile:
        told = split.dataset.users["text"]
        if told.nunique() < 2:
            raise DataError("profile=True 要从用户的文字学，可是这份数据的用户没有各不相同的文字：请设 profile=False。")
        encoded = made.encoder.encode_with_cost(list(told))
        made.profiles, made.cost = _even(whiten(encoded["vectors"], strength=0.5)), made.cost + encoded.cost
    return made


def _table(material: Material, config: TwoTowerConfig) -> np.ndarray:
    """(items, width): what a head over anything but the encoder itself reads."""
    if config.features == "ids":
        return np.arange(len(material.texts))[:, None]
    rng = np.random.default_rng(config.seed)
    if config.features == "random":
        return _even(rng.standard_normal((len(material.texts), RANDOM_WIDTH)))
    if config.features == "lexical":
        return _even(center(material.spelled))
    meaning = _even(whiten(material.vectors, strength=config.whitening))
    if config.features == "shuffled":  # the same cloud, each point some other item's
        return meaning[rng.permutation(len(meaning))]
    return _even(np.hstack([config.meaning * meaning, _even(center(material.spelled))]))


def frozen_table(
    split: Split, config: TwoTowerConfig, model: str = DEFAULT_MODEL, prefix: str = ""
) -> tuple[np.ndarray, Cost]:  # fmt: skip
    """(items, width) float32: what the config's head reads before anything is trained, and what reading took. Raises
    as `read_texts`."""
    config = replace(config, rung="head", profile=False)
    material = read_texts(split, config, model, prefix, "cpu")
    return Features(material, config).frozen.numpy(), material.cost


def untrained(split: Split, config: TwoTowerConfig, model: str = DEFAULT_MODEL, prefix: str = "") -> HistoryMean:
    """The tower with nothing trained: a user is the mean of what the config's head reads of the history, a dot product
    ranks. What training adds is the difference from it. Raises as `read_texts`."""
    config = replace(config, rung="head", profile=False)
    material = read_texts(split, config, model, prefix, "cpu")
    table, cost, config = Features(material, config).frozen.numpy(), material.cost, material.read_as(config)
    told = {"vectors": config.features, "pooling": config.pooling, "max_length": config.max_length}
    return HistoryMean(table, config.features, cost=cost, settings=told)


class Features:
    """Item rows -> what the head reads, with gradient into what the rung trains.

    frozen: (items, width) by the encoder as it came, scaled once by its own statistics: the head starts from an even
    cloud; of a head that reads the items' numbers alone they are these numbers, (items, 1). width: what the head is
    built for. mean, basis: that scaling, (x - mean) @ basis.
    """

    def __init__(self, material: Material, config: TwoTowerConfig):
        self.encoder, self.rung, self.n = material.encoder, config.rung, len(material.texts)
        self.bf16 = material.precision == "bf16"
        if config.features != "encoder":
            self.frozen = torch.from_numpy(_table(material, config).astype(np.float32))
            self.width = self.n if config.features == "ids" else self.frozen.shape[1]
            return
        white, device = Whitening.fit(material.vectors, strength=config.whitening), self.encoder.device
        whitened = white(material.vectors)
        self.frozen = torch.from_numpy(_even(whitened))
        self.width = self.frozen.shape[1]
        # Directions in which the frozen texts don't differ (LayerNorm makes one, few texts make many) stay shut: else
        # whitening would blow up a hundredfold what an encoder in training first says there.
        differ = whitened.std(axis=0) / np.linalg.norm(white.basis, axis=0)
        scale = white.mean, white.basis * (differ > 1e-5 * differ.max()) / whitened.std()
        self.mean, self.basis = (torch.from_numpy(a.astype(np.float32)).to(device) for a in scale)
        if self.rung == "head":
            return
        self.at_once = min(config.chunk, CPU_PASS) if device == "cpu" else config.chunk
        self._open(config)
        names, most = [self.encoder.prefix + t for t in material.texts], self.encoder.max_length
        self.tokens = self.encoder.tokenizer(names, truncation=True, max_length=most)["input_ids"]
        if self.rung == "last_layer":
            self._hidden_below()

    def _open(self, config: TwoTowerConfig) -> None:
        """Let the rung's part of the encoder be trained."""
        model = self.encoder.model
        for parameter in model.parameters():
            parameter.requires_grad = self.rung == "whole"
        if self.rung == "last_layer":
            if model.config.model_type not in BERT_LIKE:
                raise DataError(
                    f"编码器 {self.encoder.name} 不是BERT一族的结构，取不出最后一层：请改用 rung='lora' 或 'whole'。"
                )
            if "first_last" in self.encoder.pooling:
                raise DataError("rung='last_layer' 不留第一层，first_last 要读它：请换一种池化，或改用 rung='whole'。")
            self.layer = model.encoder.layer[-1].requires_grad_(True)
        elif self.rung == "lora":
            from peft import LoraConfig, get_peft_model

            rank = config.lora_rank
            low_rank = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", bias="none")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for a name that it has renamed
                self.encoder.model = get_peft_model(model, low_rank).eval()
        # Where heads are narrow, the plain form's backward pass is far quicker on a CPU than the fused one's.
        if self.encoder.device == "cpu" and hasattr(model, "set_attn_implementation"):
            model.set_attn_implementation("eager")

    def named_parameters(self) -> dict[str, nn.Parameter]:
        if self.rung == "head":
            return {}
        named = self.encoder.model.named_parameters()
        return {name: p for name, p in named if p.requires_grad and "pooler." not in name}

    def merged(self) -> dict[str, torch.Tensor]:
        """The encoder's weights that training has moved, by the names of the plain model."""
        if self.rung != "lora":
            return {name: p.detach() for name, p in self.named_parameters().items()}
        named = self.encoder.model.merge_and_unload().named_parameters()
        return {n: p.detach() for n, p in named if p.ndim == 2 and "embeddings." not in n and "pooler." not in n}

    def batch(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Padded token ids and mask of these items' texts, each (rows, tokens)."""
        ids, mask = padded([self.tokens[r] for r in rows], self.encoder.tokenizer.pad_token_id)
        return ids.to(self.encoder.device), mask.to(self.encoder.device)

    def _by_length(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Places in `rows`, for passes of texts that are about as long as each other: little padding."""
        lengths = [len(self.tokens[r]) for r in rows.tolist()]
        return [torch.from_numpy(part) for part in by_length(lengths, self.at_once)]

    def _hidden_below(self) -> None:
        """Keep each item's input of the last layer as float16 (an error of about 1e-3): the layers below are frozen.

        Beyond `BELOW` bytes it lies on disk: 100,000 texts of 128 tokens, 768 wide, are 20 GB.
        """
        self.below = SpooledTemporaryFile(BELOW)
        self.starts = np.zeros(self.n, dtype=np.int64)
        for part in self._by_length(torch.arange(self.n)):
            ids, mask = self.batch(part.tolist())
            with torch.no_grad():
                out = self.encoder.model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
            for r, states in zip(part.tolist(), out.hidden_states[-2].half().cpu().numpy()):
                self.starts[r] = self.below.tell()
                self.below.write(states[: len(self.tokens[r])].tobytes())

    def _read_below(self, row: int) -> torch.Tensor:
        """(tokens, dim) float32: what `_hidden_below` has kept of an item."""
        self.below.seek(self.starts[row])
        kept = np.frombuffer(self.below.read(2 * len(self.tokens[row]) * self.encoder.width), dtype=np.float16)
        return torch.from_numpy(kept.astype(np.float32)).view(-1, self.encoder.width)

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
        return made[torch.argsort(torch.cat(places))]

    def _encode(self, rows: torch.Tensor) -> torch.Tensor:
        rows = rows.tolist()
        ids, mask = self.batch(rows)
        with autocast(self.encoder.device, self.bf16):
            if self.rung == "last_layer":
                states = nn.utils.rnn.pad_sequence([self._read_below(r) for r in rows], batch_first=True)
                states = states.to(mask.device)
                out = self.layer(states, (1.0 - mask[:, None, None].float()) * torch.finfo(torch.float32).min)
                hidden = [states, out[0] if isinstance(out, tuple) else out]
                counted = self.encoder.counted(mask)
                made = self.encoder.after(pool([h.float() for h in hidden], counted, self.encoder.pooling))
            else:
                made = self.encoder.vectors_of({"input_ids": ids, "attention_mask": mask})
        return (made - self.mean) @ self.basis
