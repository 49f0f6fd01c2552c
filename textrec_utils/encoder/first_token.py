"""A last layer that computes the first token alone: all that a classifier over [CLS] reads."""

from __future__ import annotations

from contextlib import contextmanager

import torch
import torch.nn.functional as F


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
