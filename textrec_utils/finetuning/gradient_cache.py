"""Large batches in little memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import nn

from textrec_utils.finetuning.distributed import gather, world


class GradientCache:
    """Large batches in little memory: gradients of the vectors first, of the encoder chunk by chunk (Gao et al. 2021).

    encode: (n,) rows -> (n, width) with gradient. chunk: rows encoded at once. `vectors(rows)` gives a leaf tensor of
    what encode returns; after the loss's `backward()`, `backward()` carries its gradient into the encoder. The same
    gradient as encoding all at once, for one more pass without gradient.
    With several processes each encodes its share of the rows, and the encoder's gradients are added up.
    """

    def __init__(
        self, encode: Callable[[torch.Tensor], torch.Tensor], chunk: int, parameters: Sequence[nn.Parameter] = ()
    ):
        self.encode, self.chunk, self.parameters = encode, chunk, list(parameters)

    def vectors(self, rows: torch.Tensor) -> torch.Tensor:
        count, number = world()
        self.share = torch.arange(number, len(rows), count)  # places in `rows` that this process encodes
        self.parts, states = [], []
        with torch.no_grad():
            for part in self.share.split(self.chunk):
                state = torch.get_rng_state()
                states.append(self.encode(rows[part]))
                self.parts.append((rows[part], part, state))
        own = torch.cat(states) if states else torch.zeros(0, device=next(iter(self.parameters), torch.zeros(0)).device)
        if count > 1:
            own = gather(own, self.share, len(rows))
        self.leaf = own.requires_grad_()
        return self.leaf

    def backward(self) -> None:
        after = torch.get_rng_state()
        for rows, part, state in self.parts:
            torch.set_rng_state(state)  # the same dropout as in the pass without gradient
            vectors = self.encode(rows)
            (vectors * self.leaf.grad[part]).sum().backward()
        torch.set_rng_state(after)
        if world()[0] > 1:
            for parameter in self.parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                dist.all_reduce(parameter.grad)
