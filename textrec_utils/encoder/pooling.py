"""From the vectors of a text's tokens to one vector of the text.

hidden: sequence of (batch, tokens, dim), embeddings first, last layer last. mask: (batch, tokens), 1 = token; padding
may stand on either side. torch is not imported here, so that the names of the poolings cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def pool_cls(hidden: Sequence[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
    """The vector of the first token, [CLS]. Returns (batch, dim)."""
    return _at(hidden[-1], mask.int().argmax(1))


def pool_mean(hidden: Sequence[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
    """Mean over the tokens, padding left out (Reimers & Gurevych 2019). Returns (batch, dim)."""
    return _masked_mean(hidden[-1], mask)


def pool_cls_sep(hidden: Sequence[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
    """The source article's choice: the mean of [CLS] and [SEP]. Returns (batch, dim)."""
    return (pool_cls(hidden, mask) + pool_last(hidden, mask)) / 2


def pool_first_last(hidden: Sequence[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
    """Mean of the first and the last layer's means (Li et al. 2020, BERT-flow). Returns (batch, dim)."""
    return (_masked_mean(hidden[1], mask) + _masked_mean(hidden[-1], mask)) / 2


def pool_last(hidden: Sequence[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
    """The vector of the last token, the only one that has read the whole text in a decoder. Returns (batch, dim)."""
    return _at(hidden[-1], mask.shape[1] - 1 - mask.int().flip(1).argmax(1))


def pool_max(hidden: Sequence[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
    """The greatest value of each dimension. Returns (batch, dim)."""
    return hidden[-1].masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).amax(1)


def pool_mean_sqrt(hidden: Sequence[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
    """The sum over the tokens by the square root of their number. Returns (batch, dim)."""
    weight = mask.unsqueeze(-1).to(hidden[-1].dtype)
    return (hidden[-1] * weight).sum(1) / weight.sum(1).clamp(min=1).sqrt()


def pool_weighted_mean(hidden: Sequence[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
    """Mean with weights 1, 2, 3 … by place, for decoders (Muennighoff 2022, SGPT). Returns (batch, dim).

    Places are counted from the row's beginning: padding stands on the right.
    """
    return _masked_mean(hidden[-1], mask * mask.new_ones(mask.shape).cumsum(1))


def _at(tokens: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    return tokens.gather(1, place[:, None, None].expand(-1, 1, tokens.shape[2])).squeeze(1)


def _masked_mean(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    weight = mask.unsqueeze(-1).to(tokens.dtype)  # (batch, tokens, 1)
    return (tokens * weight).sum(1) / weight.sum(1).clamp(min=1)


# Those that chapter 05 compares, and under the names of SentenceTransformer what makers of encoders use besides.
POOLINGS: dict[str, Callable] = {
    "cls": pool_cls, "mean": pool_mean, "cls_sep": pool_cls_sep, "first_last": pool_first_last,
}  # fmt: skip
MAKERS_POOLINGS: dict[str, Callable] = {
    "cls": pool_cls, "max": pool_max, "mean": pool_mean, "mean_sqrt_len_tokens": pool_mean_sqrt,
    "weightedmean": pool_weighted_mean, "lasttoken": pool_last,
}  # fmt: skip
EVERY_POOLING = {**POOLINGS, **MAKERS_POOLINGS}


def known_pooling(pooling: str) -> bool:
    """A name of EVERY_POOLING, or several joined by +, whose vectors then stand side by side."""
    return all(part in EVERY_POOLING for part in pooling.split("+"))


def pool(hidden: Sequence[torch.Tensor], mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """(batch, dim × number of poolings): what each of the names gives, side by side."""
    first, *others = (EVERY_POOLING[part](hidden, mask) for part in pooling.split("+"))
    if not others:
        return first
    import torch

    return torch.cat([first, *others], dim=1)


def pooled(
    model: torch.nn.Module, batch: Mapping[str, torch.Tensor], pooling: str, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """(batch, dim) float32: one pass of `model`; only the layers that `pooling` reads are kept.

    mask: of the tokens that are pooled, where these are not all that the model reads.
    """
    every = "first_last" in pooling  # the others read the last layer alone
    out = model(**batch, output_hidden_states=every)
    hidden = out.hidden_states if every else [out.last_hidden_state]
    return pool([h.float() for h in hidden], batch["attention_mask"] if mask is None else mask, pooling)
