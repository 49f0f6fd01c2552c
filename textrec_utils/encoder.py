"""Texts to vectors with a pretrained BERT-like encoder: loading, pooling, batching, caching."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from tqdm import tqdm

from textrec_utils.cache import Cached, cached_arrays, measure, sha256_of
from textrec_utils.datasets import DataError, project_data

DEFAULT_MODEL = "mini-bert-zh"

# ---------------------------------------------------------------- pooling
# hidden: list of (batch, tokens, dim), embeddings first, last layer last. mask: (batch, tokens), 1 = token.


def pool_cls(hidden: Sequence[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
    """The vector of the first token, [CLS]. Returns (batch, dim)."""
    return hidden[-1][:, 0]


def pool_mean(hidden: Sequence[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
    """Mean over the tokens, padding left out (Reimers & Gurevych 2019). Returns (batch, dim)."""
    return _masked_mean(hidden[-1], mask)


def pool_cls_sep(hidden: Sequence[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
    """The source article's choice: the mean of [CLS] and [SEP]. Returns (batch, dim)."""
    last = mask.sum(1) - 1
    return (hidden[-1][:, 0] + hidden[-1][torch.arange(len(last)), last]) / 2


def pool_first_last(hidden: Sequence[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
    """Mean of the first and the last layer's means (Li et al. 2020, BERT-flow). Returns (batch, dim)."""
    return (_masked_mean(hidden[1], mask) + _masked_mean(hidden[-1], mask)) / 2


def _masked_mean(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    weight = mask.unsqueeze(-1).to(tokens.dtype)  # (batch, tokens, 1)
    return (tokens * weight).sum(1) / weight.sum(1).clamp(min=1)


POOLINGS: dict[str, Callable] = {
    "cls": pool_cls, "mean": pool_mean, "cls_sep": pool_cls_sep, "first_last": pool_first_last,
}  # fmt: skip

# ---------------------------------------------------------------- finding a model


def find_model(name: str) -> str:
    """The folder of a model, or its hub name where no folder has it.

    Looked for in this order: a local folder of that name, `data/models/<name>`, the hub's local cache,
    the hub itself (HF_ENDPOINT is honoured).
    """
    for folder in (Path(name).expanduser(), project_data() / "models" / name):
        if (folder / "config.json").is_file():
            return str(folder)
    return name


def load_pretrained(name: str, auto_class, **options):
    """`auto_class.from_pretrained` by our order, safetensors only, no remote code; one sentence if it fails."""
    where = find_model(name)
    if auto_class.__name__ not in ("AutoTokenizer", "AutoConfig"):
        options |= {"use_safetensors": True, "dtype": torch.float32}
    local = Path(where).is_dir()
    if not local:
        if not _is_hub_name(name):
            raise DataError(_unreachable(name, "没有这个文件夹"))
        try:
            return auto_class.from_pretrained(name, local_files_only=True, trust_remote_code=False, **options)
        except (OSError, ValueError):
            _ask_hub(name)
    try:
        return auto_class.from_pretrained(where, local_files_only=local, trust_remote_code=False, **options)
    except (OSError, ValueError, SafetensorError) as error:
        raise DataError(_unreachable(name, str(error).strip().split("\n")[0][:160])) from None


def _ask_hub(name: str) -> None:
    """One short question whether the hub has this model; loading would try again and again for half a minute."""
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(name, timeout=10)
    except Exception as error:  # offline, no such model, gated: each class has its own name
        raise DataError(_unreachable(name, f"模型站没有给出它：{type(error).__name__}")) from None


def _is_hub_name(name: str) -> bool:
    return not name.startswith((".", "/", "~")) and "\\" not in name


def _unreachable(name: str, why: str) -> str:
    return (
        f"模型 {name} 取不到（{why}）。三个办法：用课程自带的 {DEFAULT_MODEL}；"
        "给一个装有 config.json 和 model.safetensors 的本地文件夹；联网后重试（可设 HF_ENDPOINT 指向镜像站）。"
    )


# ---------------------------------------------------------------- the encoder


class Encoder:
    """A pretrained encoder and its tokenizer: `encode(texts)` gives one vector a text.

    name: `mini-bert-zh` (comes with the course), a local folder, or a Hugging Face name.
    pooling: cls, mean, cls_sep or first_last. max_length: tokens; longer texts are cut.
    prefix: put before each text (E5 models want "query: "). bf16: autocast on processors that
    have it, about twice as fast, with slightly different numbers; off by default.
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
        with quiet_loading():
            self.tokenizer = load_pretrained(name, AutoTokenizer)
            self.model = load_pretrained(name, AutoModel).to(device).eval()
        self.fingerprint = weights_checksum(self.model)

    @property
    def dim(self) -> int:
        return self.model.config.hidden_size

    def tokenize(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Padded input_ids and attention_mask, each (batch, tokens)."""
        batch = self.tokenizer(
            [self.prefix + t for t in texts], padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
        )
        return {k: v.to(self.device) for k, v in batch.items()}

    def hidden_states(self, texts: Sequence[str]) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """All layers' outputs (layers + 1 of (batch, tokens, dim)) and the mask (batch, tokens)."""
        batch = self.tokenize(texts)
        with torch.inference_mode(), self._autocast():
            hidden = self.model(**batch, output_hidden_states=True).hidden_states
        return tuple(h.float() for h in hidden), batch["attention_mask"]

    def _autocast(self):
        return torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16) if self.bf16 else nullcontext()

    def encode(self, texts: Sequence[str], *, cache: bool = True, progress: bool = False) -> np.ndarray:
        """(texts, dim) float32 vectors. Raises TypeError where an element is not a string."""
        return self.encode_with_cost(texts, cache=cache, progress=progress)["vectors"]

    def encode_with_cost(self, texts: Sequence[str], *, cache: bool = True, progress: bool = False) -> Cached:
        """The vectors (as `["vectors"]`) with the seconds and memory that encoding them took."""
        texts = list(texts)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"第 {i} 条文本是 {type(text).__name__}，不是字符串；缺失值请先换成空串。")

        def compute():
            return {"vectors": self._encode(texts, progress)}

        if not cache:
            with measure() as cost:
                arrays = compute()
            return Cached(arrays, cost)
        key = {
            "weights": self.fingerprint, "pooling": self.pooling, "max_length": self.max_length, "prefix": self.prefix,
            "bf16": self.bf16, "texts": sha256_of("\0".join(texts).encode()),
        }  # fmt: skip
        return cached_arrays("vectors", key, compute)

    def _encode(self, texts: list[str], progress: bool) -> np.ndarray:
        # Long texts first: equal lengths share a batch, little padding, and a lack of memory shows at once.
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        out = np.zeros((len(texts), self.dim), dtype=np.float32)
        pool = POOLINGS[self.pooling]
        for start in tqdm(range(0, len(order), self.batch_size), desc="编码", disable=not progress, file=sys.stdout):
            rows = order[start : start + self.batch_size]
            hidden, mask = self.hidden_states([texts[i] for i in rows])
            out[rows] = pool(hidden, mask).cpu().numpy()
        return out


def weights_checksum(model: torch.nn.Module) -> str:
    """SHA-256 over a model's weights: the same text under other weights is another vector.

    The pooler is left out: we never use it, and where a checkpoint has none, it is filled at random.
    """
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if "pooler." in name:
            continue
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class quiet_loading:
    """Hold back transformers' loading bars and reports on heads that we leave out on purpose."""

    def __enter__(self):
        from transformers.utils import logging

        self._level, self._bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()

    def __exit__(self, *exc):
        from transformers.utils import logging

        logging.set_verbosity(self._level)
        if self._bars:
            logging.enable_progress_bar()


# ---------------------------------------------------------------- the shape of the cloud


def center(vectors: np.ndarray) -> np.ndarray:
    """Subtract the mean vector: takes away the direction that all texts share."""
    return vectors - vectors.mean(axis=0, keepdims=True)


def whiten(vectors: np.ndarray, dim: int | None = None, strength: float = 1.0) -> np.ndarray:
    """Whitening (Su et al. 2021): mean 0, covariance I, the `dim` strongest directions kept.

    strength: 1 equalises all directions, 0 only rotates and centres, between is partial.
    Returns (texts, dim) float32.
    """
    centred = center(vectors.astype(np.float64))
    covariance = centred.T @ centred / len(centred)
    value, vector = np.linalg.eigh(covariance)
    order = np.argsort(value)[::-1][:dim]
    scale = np.maximum(value[order], 1e-9) ** (-strength / 2)
    # An eigenvector's sign is arbitrary and may change with the machine; fix it by its largest entry.
    basis = vector[:, order]
    basis = basis * np.sign(basis[np.abs(basis).argmax(0), np.arange(basis.shape[1])])
    return (centred @ basis * scale).astype(np.float32)


def mean_cosine(vectors: np.ndarray) -> float:
    """Mean cosine over all pairs of different texts: 0 for an even cloud, near 1 for a narrow cone."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    n = len(unit)
    total = unit.sum(axis=0, dtype=np.float64)
    return float((total @ total - n) / (n * (n - 1)))


def has_bf16() -> bool:
    """Does this processor multiply bfloat16 in hardware (AVX-512 BF16 or AMX)?"""
    try:
        return "avx512_bf16" in Path("/proc/cpuinfo").read_text() and os.environ.get("TEXTREC_BF16", "1") != "0"
    except OSError:
        return False
