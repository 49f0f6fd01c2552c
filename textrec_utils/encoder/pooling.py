"""From the vectors of a text's tokens to one vector of the text.

hidden: sequence of (batch, tokens, dim), embeddings first, last layer last. mask: (batch, tokens), 1 = token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F


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


def pooled(model: torch.nn.Module, batch: Mapping[str, torch.Tensor], pooling: str) -> torch.Tensor:
    """(batch, dim) float32: one pass of `model`; only the layers that `pooling` reads are kept."""
    every = pooling == "first_last"  # the others read the last layer alone
    out = model(**batch, output_hidden_states=every)
    hidden = out.hidden_states if every else [out.last_hidden_state]
    return POOLINGS[pooling]([h.float() for h in hidden], batch["attention_mask"])


class _FirstToken(torch.nn.Module):
    """A BERT layer that answers for the first token alone; that token reads all others, as in the whole layer."""

    def __init__(self, layer: torch.nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor | None = None, *_, **__) -> torch.Tensor:
        first, attend = states[:, :1], self.layer.attention
        read = attend.self.query(first), attend.self.key(states), attend.self.value(states)
        heads = [x.unflatten(-1, (attend.self.num_attention_heads, -1)).transpose(1, 2) for x in read]
        mask = attention_mask if attention_mask is None else attention_mask[:, :, :1]
        seen = F.scaled_dot_product_attention(*heads, attn_mask=mask).transpose(1, 2).flatten(2)
        seen = attend.output(seen, first)
        return self.layer.output(self.layer.intermediate(seen), seen)


@contextmanager
def first_token_alone(model: torch.nn.Module):
    """Within the block the last layer of a model of BERT's family computes [CLS] alone, all that a classifier reads: a
    fifth of a model of four layers is saved, the outcome is the same."""
    if model.config.model_type not in ("bert", "roberta", "xlm-roberta"):
        yield
        return
    layers = model.base_model.encoder.layer
    last = layers[-1]
    layers[-1] = _FirstToken(last)
    try:
        yield
    finally:
        layers[-1] = last
