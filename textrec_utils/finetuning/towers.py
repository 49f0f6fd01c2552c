"""What is trained beside the encoder: the head, the user tower, the temperature."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from textrec_utils.finetuning.config import TwoTowerConfig


class Dropout(nn.Module):
    """As `nn.Dropout`, by random bytes, eight from each number drawn: torch draws one number an entry, on one thread,
    which took 40% of a step. The share that falls is therefore rounded to whole 256ths; the rest is scaled by what
    really falls."""

    def __init__(self, share: float):
        super().__init__()
        self.falls = min(round(share * 256), 255)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.falls:
            return x
        drawn = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        stays = drawn.view(torch.uint8)[: x.numel()].view(x.shape) >= self.falls
        return x * stays.to(x.dtype).mul_(256 / (256 - self.falls))


class Head(nn.Module):
    """(…, width) -> (…, dim), of length 1 unless similarity is `dot`. Over ids: (…, 1) -> (…, dim), a vector a number.

    mlp: two linear layers with a GELU between. linear: x + Wx with W = 0 at the start, so that
    training begins at the frozen vectors' own ranking (dim = width).
    """

    def __init__(self, width: int, config: TwoTowerConfig):
        super().__init__()
        self.kind, self.unit = config.head, config.similarity != "dot"
        if config.features == "ids":
            self.kind, self.net, self.dim = "ids", nn.Embedding(width, config.dim), config.dim
            nn.init.normal_(self.net.weight, std=0.1)  # short at first, so that a few hundred steps can turn them
        elif config.head == "mlp":
            self.net = nn.Sequential(
                Dropout(config.dropout / 2), nn.Linear(width, config.hidden), nn.GELU(),
                Dropout(config.dropout), nn.Linear(config.hidden, config.dim),
            )  # fmt: skip
            self.dim = config.dim
        else:
            self.dropout, self.net, self.dim = Dropout(config.dropout), nn.Linear(width, width), width
            nn.init.zeros_(self.net.weight)
            nn.init.zeros_(self.net.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "linear":
            x = self.dropout(x)
            x = x + self.net(x)
        elif self.kind == "ids":
            x = self.net(x[..., 0].long())
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
        """(users, L) weight of each item of the history. rows: (users, L) rows of `items`, oldest first; shown: bool,
        what the tower may see of them. items: (m, dim)."""
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
        # Quicker than F.embedding_bag, whose backward sorts; the table is no wider than the batch's own items.
        dense = torch.zeros(len(rows), len(items), device=items.device).scatter_add_(1, rows, weights)
        vectors = dense @ items
        if self.profile_map is not None:
            told = self.profile_map(self.profiles[users])
            vectors = torch.where(shown.any(1, keepdim=True), vectors, told)
        return F.normalize(vectors, dim=1) if self.head.unit else vectors
