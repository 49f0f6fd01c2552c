"""A step's users, pairs and items, drawn from a split's training part, and the loss over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from textrec_utils.core.errors import TooLittleData
from textrec_utils.finetuning.config import TwoTowerConfig
from textrec_utils.finetuning.towers import Towers
from textrec_utils.losses import LOSSES, Asked, mine_hard_negatives
from textrec_utils.splits import Split


@dataclass
class Batch:
    """What a step reads. items: (m,) rows of the catalogue that the head turns into vectors, or None for all of them;
    every item below is a place among these. users: (b,) rows of the dataset's users. history: (b, L) places, oldest
    first. there: (b, L) bool, which of them hold one (the others hold any place, of no weight). shown: (b, L) bool,
    what the user tower may see. trained: (t,) rows of the catalogue that get gradient through the encoder.
    target: (b,) the liked item of each pair (of pairs only). negatives: (b, n) or None."""

    users: torch.Tensor
    history: torch.Tensor
    there: torch.Tensor
    shown: torch.Tensor
    items: torch.Tensor | None = None
    trained: torch.Tensor | None = None
    target: torch.Tensor | None = None
    negatives: torch.Tensor | None = None


class Batches:
    """Draws items and users, and computes the loss."""

    def __init__(self, split: Split, config: TwoTowerConfig, rng: np.random.Generator, device: str = "cpu"):
        self.config, self.rng, self.device = config, rng, device
        self.wants = LOSSES[config.loss]
        self.matrix, self.n = split.train_matrix, split.n_items
        self.lengths = np.array([len(h) for h in split.histories])
        self.active = np.flatnonzero(self.lengths > 1)
        if len(self.active) == 0:
            raise TooLittleData("没有一个用户喜欢过两个以上的物品，双塔无法训练；请换划分方式或调低 min_value。")
        self.liked = np.concatenate(split.histories)  # one history after the other: pair p is (liker[p], liked[p])
        self.liker = np.repeat(np.arange(len(self.lengths)), self.lengths)
        self.first = np.cumsum(self.lengths) - self.lengths  # of each user's pairs
        count = torch.from_numpy(split.likes)
        self.log_q = torch.log((count / count.sum()).clamp(min=1e-9)).to(device)
        # A cold item is no negative: nobody could have liked it in training.
        self.cold = torch.from_numpy(split.cold).to(device)
        self.warm = np.flatnonzero(~split.cold)
        self.mined: torch.Tensor | None = None
        self.queue: list[int] = []

    def draw(self, encoder_learns: bool) -> Batch:
        """A step's batch, on the device."""
        whole = self.wants.batch == "users"
        batch = self._users() if whole else self._pairs()
        if encoder_learns:
            batch.trained = self._all_in_turn() if whole else self._those_of(batch)
        if not whole:
            self._only_its_own(batch)
        return self._on_device(batch)

    def _all_in_turn(self) -> torch.Tensor:
        """Each warm item once before any comes again."""
        if len(self.queue) < min(self.config.items, len(self.warm)):
            self.queue = self.rng.permutation(self.warm).tolist()
        rows, self.queue = self.queue[: self.config.items], self.queue[self.config.items :]
        return torch.tensor(rows)

    def _those_of(self, batch: Batch) -> torch.Tensor:
        """The batch's own items, each once: targets, then negatives, then histories, as many as `items` allows."""
        negatives = batch.target[:0] if batch.negatives is None else batch.negatives.ravel()
        wanted = torch.cat([batch.target, negatives, batch.history[batch.shown]]).numpy()
        _, first = np.unique(wanted, return_index=True)
        return torch.from_numpy(wanted[np.sort(first)][: self.config.items])

    def _only_its_own(self, batch: Batch) -> None:
        """Keep to the items that the batch speaks of: a step must not cost more because the catalogue is long."""
        named = torch.zeros(self.n, dtype=torch.bool)
        for rows in (batch.history[batch.there], batch.target, batch.negatives):
            if rows is not None:
                named[rows.ravel()] = True
        batch.items, place = named.nonzero()[:, 0], named.cumsum(0) - 1
        batch.history = place[batch.history].clamp(min=0)
        batch.target = place[batch.target]
        batch.negatives = None if batch.negatives is None else place[batch.negatives]

    def _histories(self, users: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Histories of these users, (users, L) item rows, and which of these places hold one."""
        place = np.arange(self.lengths[users].max(initial=1))
        rows = self.liked[np.minimum(self.first[users][:, None] + place, len(self.liked) - 1)]
        return torch.from_numpy(rows), torch.from_numpy(place < self.lengths[users][:, None])

    def _only_profile(self, shown: torch.Tensor) -> torch.Tensor:
        """For a quarter of the rows nothing is shown, where there are profiles to answer from."""
        return shown & (torch.rand(len(shown)) >= 0.25)[:, None] if self.config.profile else shown

    def _users(self) -> Batch:
        users = self.rng.choice(self.active, size=min(self.config.users, len(self.active)), replace=False)
        history, there = self._histories(users)
        if self.config.question == "cut":
            cut = self.rng.integers(1, self.lengths[users])
            shown = torch.arange(history.shape[1]) < torch.from_numpy(cut)[:, None]
        else:
            shown = there & (torch.rand(history.shape) >= self.config.history_dropout)
        return Batch(torch.from_numpy(users), history, there, self._only_profile(shown))

    def _pairs(self) -> Batch:
        chosen = self.rng.integers(len(self.liked), size=min(self.config.pairs, len(self.liked)))
        users, target = self.liker[chosen], torch.from_numpy(self.liked[chosen])
        history, there = self._histories(users)
        place = torch.from_numpy(chosen - self.first[users])[:, None]
        if self.config.question == "cut":
            shown = torch.arange(history.shape[1]) < place
        else:
            shown = there & (torch.rand(history.shape) >= self.config.history_dropout)
            shown &= torch.arange(history.shape[1]) != place  # the answer must not be part of the question
        batch = Batch(torch.from_numpy(users), history, there, self._only_profile(shown), target=target)
        batch.negatives = self._negatives(users)
        return batch

    def _negatives(self, users: np.ndarray) -> torch.Tensor | None:
        """(pairs, n) rows: from the mined ones, or if the loss always wants some, one that the user has not liked."""
        h = self.config.hard_negatives
        if h:
            depth = self.mined.shape[1]
            chosen = torch.rand(len(users), depth).argsort(1)[:, : min(h, depth)]
            return self.mined[torch.from_numpy(users)].gather(1, chosen)
        if self.wants.negatives != "always":
            return None
        drawn = self.rng.choice(self.warm, size=(len(users), 8))
        liked = np.asarray(self.matrix[np.repeat(users, 8), drawn.ravel()]).reshape(drawn.shape) > 0
        first = (~liked).argmax(axis=1)[:, None]  # all eight liked: the first, a rare false negative
        return torch.from_numpy(np.take_along_axis(drawn, first, axis=1))

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
        block = max(1, min(512, 2**24 // self.n))  # users at once, so that their scores take at most 64 MB
        for users in np.array_split(np.arange(len(self.lengths)), -(-len(self.lengths) // block)):
            history, there = self._histories(users)
            batch = self._on_device(Batch(torch.from_numpy(users), history, there, there))
            vectors = towers.users(items, batch.users, batch.history, batch.shown)
            liked = _dense(batch.history, batch.there, self.n)
            found.append(mine_hard_negatives(vectors, items, liked, self.cold, 4 * self.config.hard_negatives))
        self.mined = torch.cat(found).cpu()

    def loss(self, towers: Towers, items: torch.Tensor, batch: Batch) -> torch.Tensor:
        """items: (m, dim) vectors of the batch's items, with gradient."""
        vectors = towers.users(items, batch.users, batch.history, batch.shown)
        log_q = self.log_q if batch.items is None else self.log_q[batch.items]
        if self.wants.batch == "users":
            target = _dense(batch.history, batch.there & ~batch.shown, len(items)).float()
            barred = _dense(batch.history, batch.shown, len(items)) | self.cold
        else:
            target, barred = batch.target, _dense(batch.history, batch.there, len(items))
            barred[torch.arange(len(barred)), target] = False
        asked = Asked(vectors, items, towers.temperature, target, barred, log_q, batch.negatives)
        return self.wants.call(asked)


def _dense(places: torch.Tensor, which: torch.Tensor, width: int) -> torch.Tensor:
    """(b, L) places and which of them count -> (b, width) bool."""
    found = torch.zeros(len(places), width + 1, dtype=torch.bool, device=places.device)
    return found.scatter_(1, places.where(which, width), True)[:, :width]
