"""Texts to vectors with a pretrained BERT-like encoder."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from textrec_utils.core.seeds import seeded
from textrec_utils.core.store import Cached, cached_rows
from textrec_utils.encoder.batching import TOKENIZED, Batch, passes, without_gradient
from textrec_utils.encoder.fingerprint import fingerprint_of
from textrec_utils.encoder.loading import DEFAULT_MODEL, find_model, hub_snapshot, load_pretrained, quiet_loading
from textrec_utils.encoder.pooling import POOLINGS, pooled
from textrec_utils.encoder.precision import autocast


class Encoder:
    """A pretrained encoder and its tokenizer: `encode(texts)` gives one vector a text.

    name: `mini-bert-zh` (comes with the course), a local folder, or a Hugging Face name, with a revision behind @
    if it shall stay the same. pooling: cls, mean, cls_sep or first_last. max_length: tokens; longer texts are cut.
    batch_size: texts of one pass at most; on a CPU of about 1,024 tokens, too.
    prefix: put before each text (E5 models want "query: "). bf16: autocast, about twice as fast on processors that
    have it, with slightly different numbers; off by default.

    fingerprint: SHA-256 over weights, configuration and tokenizer as they were loaded. revision: the commit that
    the hub gave, "" for a folder.
    """

    def __init__(
        self, name: str = DEFAULT_MODEL, *, pooling: str = "mean", max_length: int = 128, batch_size: int = 64,
        prefix: str = "", device: str = "cpu", bf16: bool = False,
    ):  # fmt: skip
        from transformers import AutoModel, AutoTokenizer

        if pooling not in POOLINGS:
            raise ValueError(f"没有池化方式 {pooling!r}；可用的有 {'、'.join(POOLINGS)}。")
        self.name, self.pooling, self.max_length, self.batch_size = name, pooling, max_length, batch_size
        self.prefix, self.device, self.bf16 = prefix, device, bf16
        with seeded(0), quiet_loading():  # a pooler that a checkpoint lacks is drawn
            self.tokenizer = load_pretrained(name, AutoTokenizer)
            self.model = load_pretrained(name, AutoModel).to(device).eval()
        self.fingerprint, self._loaded = fingerprint_of(self.model, self.tokenizer), self._versions()
        snapshot = None if Path(find_model(name)).is_dir() else hub_snapshot(name)
        self.revision = snapshot.name if snapshot else ""

    @property
    def dim(self) -> int:
        return self.model.config.hidden_size

    def tokenize(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Padded input_ids and attention_mask, each (batch, tokens)."""
        batch = self.tokenizer(
            [self.prefix + t for t in texts], padding=True, truncation=True, max_length=self.max_length,
            return_tensors="pt",
        )  # fmt: skip
        return {k: v.to(self.device) for k, v in batch.items()}

    def hidden_states(self, texts: Sequence[str]) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """All layers' outputs (layers + 1 of (batch, tokens, dim)) and the mask (batch, tokens)."""
        batch = self.tokenize(texts)
        with torch.inference_mode(), autocast(self.device, self.bf16):
            hidden = self.model(**batch, output_hidden_states=True).hidden_states
        return tuple(h.float() for h in hidden), batch["attention_mask"]

    def encode(self, texts: Sequence[str], *, cache: bool = True, progress: bool = False) -> np.ndarray:
        """(texts, dim) float32 vectors. Raises TypeError where an element is not a string."""
        return self.encode_with_cost(texts, cache=cache, progress=progress)["vectors"]

    def encode_with_cost(self, texts: Sequence[str], *, cache: bool = True, progress: bool = False) -> Cached:
        """The vectors (as `["vectors"]`) with the seconds and memory that encoding them took.

        Kept by text: what was encoded before under the same settings is not encoded again. Weights that were changed
        since and methods of a subclass count (a subclass whose source can't be found isn't kept); a method that was
        put onto the object itself is not seen.
        """
        texts = list(texts)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"第 {i} 条文本是 {type(text).__name__}，不是字符串；缺失值请先换成空串。")
        changed = self._versions() != self._loaded
        depends = {
            "encoder": fingerprint_of(self.model, self.tokenizer) if changed else self.fingerprint,
            "pooling": self.pooling, "max_length": self.max_length, "prefix": self.prefix,
            "bf16": self.bf16, "device": self.device.split(":")[0],
        }  # fmt: skip
        try:  # what a subclass does otherwise
            kinds = type(self).__mro__[: type(self).__mro__.index(Encoder)]
            if kinds:
                depends["class"] = [[k.__module__, k.__qualname__, inspect.getsource(k)] for k in kinds]
        except (OSError, TypeError):
            cache = False
        cache = cache and bool(texts)
        return cached_rows("vectors", depends, texts, lambda new: self._encode(new, progress), cache=cache)

    def _versions(self) -> list[tuple[int, int]]:
        """Another list after any step of an optimizer or other change of the weights."""
        return [(id(p), 0 if p.is_inference() else p._version) for p in self.model.parameters()]

    def _encode(self, texts: list[str], progress: bool) -> np.ndarray:
        out = np.zeros((len(texts), self.dim), dtype=np.float32)
        with tqdm(total=len(texts), desc="编码", unit="条", disable=not progress, file=sys.stdout) as bar:
            for start in range(0, len(texts), TOKENIZED):

                def fill(rows: np.ndarray, batch: Batch, start: int = start) -> None:
                    out[start + rows] = pooled(self.model, batch, self.pooling).cpu().numpy()
                    bar.update(len(rows))

                part = self.tokenize(texts[start : start + TOKENIZED])
                without_gradient(fill, passes(part, self.batch_size, self.device), self.device, self.bf16)
        return out
