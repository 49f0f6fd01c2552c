"""A step's users, pairs and items, drawn from a split's training part, and the loss over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from textrec_utils.core.errors import TooLittleData
from textrec_utils.encoder.batching import padded
from textrec_utils.finetuning.config import TwoTowerConfig
from textrec_utils.finetuning.towers import Towers
from textrec_utils.losses import LOSSES, Asked, mine_hard_negatives
from textrec_utils.splits import Split


@dataclass
class Batch:
    """users: (b,) rows of the dataset's users. history: (b, L) item rows, oldest first, padded with 0. shown: (b, L)
    bool, what the user tower may see. liked: (b, items) of 0. and 1. rows: items that get gradient through the encoder.
    target: (b,) the liked item of each pair (of pairs only). negatives: (b, n) item rows or None."""

    users: torch.Tensor
    history: torch.Tensor
    shown: torch.Tensor
    liked: torch.Tensor
    rows: torch.Tensor | None = None
    target: torch.Tensor | None = None
    negatives: torch.Tensor | None = None


class Batches:
    """Draws items and users, and computes the loss."""

    def __init__(self, split: Split, config: TwoTowerConfig, rng: np.random.Generator, device: str = "cpu"):
        self.config, self.rng, self.device = config, rng, device
        self.wants = LOSSES[config.loss]
        self.matrix, self.histories = split.train_matrix, split.histories
        self.lengths = np.array([len(h) for h in split.histories])
        self.active = np.flatnonzero(self.lengths > 1)
        if len(self.active) == 0:
            raise TooLittleData("没有一个用户喜欢过两个以上的物品，双塔无法训练；请换划分方式或调低 min_value。")
        order = split.train.sort_values(["user", "timestamp", "item"], kind="stable")
        self.pairs = order[["user", "item"]].to_numpy()
        first = np.concatenate([[0], np.cumsum(self.lengths)])  # pair of each user
        self.place = np.arange(len(order)) - first[self.pairs[:, 0]]  # in the history
        count = torch.from_numpy(np.asarray(self.matrix.sum(axis=0)).ravel())
        self.log_q = torch.log((count / count.sum()).clamp(min=1e-9)).to(device)
        # A cold item is no negative: nobody could have liked it in training.
        self.cold = torch.from_numpy(split.cold).to(device)
        self.warm = np.flatnonzero(~split.cold)
        self.mined: torch.Tensor | None = None
        self.queue: list[int] = []

    def draw(self, encoder_learns: bool) -> Batch:
        whole = self.wants.batch == "users"
        batch = self._users() if whole else self._pairs()
        if encoder_learns:
            batch.rows = self._all_in_turn() if whole else self._those_of(batch)
        return batch

    def _all_in_turn(self) -> torch.Tensor:
        """Each warm item once before any comes again."""
        if len(self.queue) < min(self.config.items, len(self.warm)):
            self.queue = self.rng.permutation(self.warm).tolist()
        rows, self.queue = self.queue[: self.config.items], self.queue[self.config.items :]
        return torch.tensor(rows)

    def _those_of(self, batch: Batch) -> torch.Tensor:
        """The batch's own items, each once: targets, then negatives, then histories, as many as `items` allows."""
        negatives = batch.target[:0] if batch.negatives is None else batch.negatives.ravel()
        wanted = np.asarray(torch.cat([batch.target, negatives, batch.history[batch.shown]]).cpu())
        _, first = np.unique(wanted, return_index=True)
        return torch.from_numpy(wanted[np.sort(first)][: self.config.items])

    def _shown(self, users: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Histories of these users, (users, L) item rows, and which of these places hold one."""
        rows, there = padded([self.histories[u] for u in users])
        return rows, there.bool()

    def _liked(self, users: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.matrix[users].toarray())

    def _only_profile(self, shown: torch.Tensor) -> torch.Tensor:
        """For a quarter of the rows nothing is shown, where there are profiles to answer from."""
        return shown & (torch.rand(len(shown)) >= 0.25)[:, None] if self.config.profile else shown

    def _users(self) -> Batch:
        users = self.rng.choice(self.active, size=min(self.config.users, len(self.active)), replace=False)
        history, there = self._shown(users)
        if self.config.question == "cut":
            cut = self.rng.integers(1, self.lengths[users])
            shown = torch.arange(history.shape[1]) < torch.from_numpy(cut)[:, None]
        else:
            hidden = torch.rand(len(users), self.matrix.shape[1]).gather(1, history) < self.config.history_dropout
            shown = there & ~hidden
        return self._on_device(Batch(torch.from_numpy(users), history, self._only_profile(shown), self._liked(users)))

    def _pairs(self) -> Batch:
        chosen = self.rng.integers(len(self.pairs), size=min(self.config.pairs, len(self.pairs)))
        users, target = self.pairs[chosen].T
        history, there = self._shown(users)
        place = torch.from_numpy(self.place[chosen])[:, None]
        if self.config.question == "cut":
            shown = torch.arange(history.shape[1]) < place
        else:
            shown = there & (torch.rand(history.shape) >= self.config.history_dropout)
            shown &= torch.arange(history.shape[1]) != place  # the answer must not be part of the question
        batch = Batch(torch.from_numpy(users), history, self._only_profile(shown), self._liked(users))
        batch.target = torch.from_numpy(target)
        batch.negatives = self._negatives(batch)
        return self._on_device(batch)

    def _negatives(self, batch: Batch) -> torch.Tensor | None:
        """(pairs, n) rows: from the mined ones, or if the loss always wants some, one that the user has not liked."""
        h = self.config.hard_negatives
        if h:
            depth = self.mined.shape[1]
            chosen = torch.rand(len(batch.users), depth).argsort(1)[:, : min(h, depth)]
            return self.mined[batch.users].gather(1, chosen)
        if self.wants.negatives != "always":
            return None
        drawn = torch.from_numpy(self.rng.choice(self.warm, size=(len(batch.users), 8)))
        liked = batch.liked.gather(1, drawn) > 0
        first = (~liked).float().argmax(1, keepdim=True)  # all eight liked: the first, a rare false negative
        return drawn.gather(1, first)

    def _on_device(self, batch: Batch) -> Batch:
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
            batch = self._on_device(Batch(torch.from_numpy(users), history, there, self._liked(users)))
            vectors = towers.users(items, batch.users, batch.history, batch.shown)
            found.append(
                mine_hard_negatives(vectors, items, batch.liked > 0, self.cold, 4 * self.config.hard_negatives)
            )
        self.mined = torch.cat(found).cpu()

    def loss(self, towers: Towers, items: torch.Tensor, batch: Batch) -> torch.Tensor:
        """items: (catalogue, dim), with gradient."""
        vectors = towers.users(items, batch.users, batch.history, batch.shown)
        if self.wants.batch == "users":
            shown = torch.zeros_like(batch.liked).scatter_add_(1, batch.history, batch.shown.float())
            target, barred = batch.liked - shown, (shown > 0) | self.cold
        else:
            target, barred = batch.target, batch.liked > 0
            barred[torch.arange(len(barred)), target] = False
        asked = Asked(vectors, items, towers.temperature, target, barred, self.log_q, batch.negatives)
        return self.wants.call(asked)
