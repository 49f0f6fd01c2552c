"""Texts to vectors with a pretrained BERT-like encoder."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.normalizers import Lowercase
from tokenizers.normalizers import Sequence as Chain
from tqdm import tqdm

from textrec_utils.core.errors import DataError
from textrec_utils.core.seeds import seeded
from textrec_utils.core.store import Cached, cached_rows
from textrec_utils.encoder.batching import TOKENIZED, Batch, passes, without_gradient
from textrec_utils.encoder.fingerprint import fingerprint_of
from textrec_utils.encoder.lengths import UNBOUNDED, chosen_length, most_tokens
from textrec_utils.encoder.loading import DEFAULT_MODEL, find_model, load_pretrained, model_folder, quiet_loading
from textrec_utils.encoder.makers import read_makers, tail_of
from textrec_utils.encoder.pooling import EVERY_POOLING, known_pooling, pooled
from textrec_utils.encoder.precision import autocast


class Encoder:
    """A pretrained encoder and its tokenizer: `encode(texts)` gives one vector a text, the same as SentenceTransformer
    where the makers' files say how (`makers.py`).

    name: `mini-bert-zh` (comes with the course), a local folder, or a Hugging Face name, with a revision behind @
    if it shall stay the same.
    pooling: auto, or one of EVERY_POOLING (cls, mean, cls_sep, first_last, …), several joined by +. auto: the makers'
    own, with the steps that they put behind it (dense layers, normalisation); another one comes without these.
    max_length: tokens; longer texts are cut. auto: the makers' own, 128 for `mini-bert-zh`.
    batch_size: texts of one pass at most; on a CPU of about 1,024 tokens, too.
    prefix: put before each text (E5 models want "query: "), or the name of one of the makers' prompts; "": their
    default prompt, where they have one; none: nothing.
    bf16: autocast, about twice as fast on processors that have it, with slightly different numbers; off by default.

    dim: of a text's vector. most: tokens that the model can read. makers: what the model's own files say.
    fingerprint: SHA-256 over weights, configuration and tokenizer as they were loaded. revision: the commit that
    the hub gave, "" for a folder. Raises DataError, one sentence, for a model that can't be had or can't encode a text.
    """

    def __init__(
        self, name: str = DEFAULT_MODEL, *, pooling: str = "auto", max_length: int | str = "auto",
        batch_size: int = 64, prefix: str = "", device: str = "cpu", bf16: bool = False,
    ):  # fmt: skip
        from transformers import AutoModel, AutoTokenizer

        if pooling != "auto" and not known_pooling(pooling):
            raise ValueError(f"没有池化方式 {pooling!r}；可用的有 auto、{'、'.join(EVERY_POOLING)}。")
        makers = read_makers(folder := model_folder(name), name)
        self.name, self.batch_size, self.device, self.bf16 = name, batch_size, device, bf16
        self.pooling = makers.pooling if pooling == "auto" else pooling
        self.makers = makers if self.pooling == makers.pooling else replace(makers, tail=(), dim=None)
        self.prefix = {"": makers.prompt, "none": "", **makers.prompts}.get(prefix, prefix)
        with seeded(0), quiet_loading():  # a pooler that a checkpoint lacks is drawn
            self.tokenizer = load_pretrained(name, AutoTokenizer, **makers.tokenizer)
            self.model = load_pretrained(name, AutoModel, **makers.config).to(device).eval()
        ready_for_batches(self.tokenizer, makers.lower)
        self.tail = tail_of(self.makers).to(device)
        self.most, specials = most_tokens(self.model), self.tokenizer.num_special_tokens_to_add()
        said = makers.max_length or min(self.tokenizer.model_max_length, UNBOUNDED)
        self.max_length = chosen_length(max_length, said, self.most, specials, name)
        taken = inspect.signature(self.model.forward).parameters.values()
        any_name = any(p.kind is p.VAR_KEYWORD for p in taken)
        self._taken = None if any_name else {p.name for p in taken}
        self._skipped = 0 if makers.pools_prompt or not self.prefix else self._prompt_tokens()
        self.fingerprint, self._loaded = fingerprint_of(self.model, self.tokenizer, self.tail), self._versions()
        self.revision = "" if Path(find_model(name)).is_dir() else folder.name
        self.dim = self._try()

    def _try(self) -> int:
        """The width of a vector. Raises DataError where a text has none: now, not after minutes of other work."""
        try:
            with torch.inference_mode():
                made = self.vectors_of(self.tokenize(["文"]))
            said = "" if made.isfinite().all() else "给出的向量不是有限的数"
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
            said = f"{type(error).__name__}：{' '.join(str(error).split())[:120]}"
        if said:
            raise DataError(
                f"编码器 {self.name} 编不出一段文字的向量（{said}）：请换一个给文本编码的模型，"
                "例如 BERT 一族、T5 的编码器、Qwen3-Embedding 那样的解码器。"
            )
        return made.shape[1]

    @property
    def width(self) -> int:
        """Of a token's vector."""
        return self.model.config.get_text_config().hidden_size

    def tokenize(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Padded input_ids and attention_mask, each (batch, tokens)."""
        batch = self.tokenizer(
            [self.prefix + t for t in texts], padding=True, truncation=True, max_length=self.max_length,
            return_tensors="pt",
        )  # fmt: skip
        return {k: v.to(self.device) for k, v in batch.items() if self._taken is None or k in self._taken}

    def lengths(self, texts: Sequence[str]) -> np.ndarray:
        """(texts,) tokens of each text with its prefix, uncut."""
        found = self.tokenizer([self.prefix + t for t in texts], verbose=False)["input_ids"]
        return np.array([len(ids) for ids in found], dtype=np.int64)

    @property
    def layer_parameters(self) -> int:
        """Of what each token passes through: all but the tables that are looked up, and the pooler."""
        named = self.model.named_parameters()
        tables = {id(m.weight) for m in self.model.modules() if isinstance(m, torch.nn.Embedding)}
        return sum(p.numel() for name, p in named if id(p) not in tables and "pooler." not in name)

    def _prompt_tokens(self) -> int:
        """Tokens of the prompt alone, less a special one at its end, as SentenceTransformer counts them."""
        ids = self.tokenizer(self.prefix)["input_ids"]
        return len(ids) - (ids[-1] in self.tokenizer.all_special_ids)

    def vectors_of(self, batch: Batch) -> torch.Tensor:
        """(batch, dim) float32 from `tokenize`'s tensors, with gradient where it isn't switched off."""
        return self.after(pooled(self.model, batch, self.pooling, self.counted(batch["attention_mask"])))

    def counted(self, mask: torch.Tensor) -> torch.Tensor:
        """(batch, tokens): 1 where a token counts in the pooling; some makers leave their prompt's out."""
        if self._skipped:
            mask = mask.clone()
            mask[:, : self._skipped] = 0
        return mask

    def after(self, made: torch.Tensor) -> torch.Tensor:
        """The makers' steps behind the pooling: (batch, pooled) -> (batch, dim)."""
        return self.tail(made)[:, : self.makers.dim]

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
            "encoder": fingerprint_of(self.model, self.tokenizer, self.tail) if changed else self.fingerprint,
            "pooling": self.pooling, "max_length": self.max_length, "prefix": self.prefix,
            "makers": [self._skipped, self.makers.dim], "bf16": self.bf16, "device": self.device.split(":")[0],
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
                    out[start + rows] = self.vectors_of(batch).cpu().numpy()
                    bar.update(len(rows))

                part = self.tokenize(texts[start : start + TOKENIZED])
                without_gradient(fill, passes(part, self.batch_size, self.device), self.device, self.bf16)
        return out


def ready_for_batches(tokenizer, lower: bool) -> None:
    """Padding on the right, with some token: no model of ours reads it, and every text's places are the same in any
    batch (a decoder with padding on the left counts them otherwise). lower: texts in lower case."""
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token or tokenizer.convert_ids_to_tokens(0)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if lower and isinstance(backend, Tokenizer) and "Lowercase" not in repr(backend.normalizer):
        backend.normalizer = Chain([Lowercase(), *([backend.normalizer] if backend.normalizer else [])])
