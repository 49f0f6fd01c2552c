"""Matrix factorisation: users and items as vectors that are learned from likes alone."""

from __future__ import annotations

from copy import copy

import numpy as np

from textrec_utils.baselines.base import Product, Recommender
from textrec_utils.core.errors import TooLittleData
from textrec_utils.splits import Split


class Factors(Recommender):
    """Base: one vector a user, one an item, score = dot product."""

    FITTED = ("_users", "_items")

    def product(self) -> Product:
        return Product(users=self._users, items=self._items)

    def score(self, users: np.ndarray) -> np.ndarray:
        return self._users[users] @ self._items.T


class ALS(Factors):
    """Implicit-feedback matrix factorisation (Hu, Koren & Volinsky 2008), by the `implicit` library."""

    name = "ALS"
    SETTINGS = ("factors", "regularization", "alpha", "iterations", "seed")

    def __init__(
        self, factors: int = 64, regularization: float = 0.1, alpha: float = 10.0, iterations: int = 15, seed: int = 0
    ):
        self.factors, self.regularization, self.alpha = factors, regularization, alpha
        self.iterations, self.seed = iterations, seed

    def fit(self, split: Split) -> ALS:
        from implicit.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, "blas"):  # one thread, so that two runs add up in the same order
            model = AlternatingLeastSquares(
                factors=self.factors, regularization=self.regularization, alpha=self.alpha,
                iterations=self.iterations, random_state=self.seed, num_threads=1,
            )  # fmt: skip
            model.fit(split.train_matrix, show_progress=False)
        self._users, self._items = np.asarray(model.user_factors), np.asarray(model.item_factors)
        return self

    def fold_in(self, split: Split) -> ALS:
        """Each user's least squares against the items as they are: (YᵀY + (α − 1) Y_hᵀY_h + λI) u = α Y_hᵀ1."""
        made, y = copy(self), self._items.astype(np.float64)
        gram = y.T @ y + self.regularization * np.eye(self.factors)
        found = [
            np.linalg.solve(gram + (self.alpha - 1) * y[h].T @ y[h], self.alpha * y[h].sum(axis=0))
            for h in split.histories
        ]
        made._users = np.array(found, dtype=np.float32).reshape(-1, self.factors)
        return made


class BPR(Factors):
    """Matrix factorisation trained on pairs: what a user liked shall score above what he or she did not.

    loss = −log σ(x_ui − x_uj) with a random item j that the user has not liked (Rendle et al. 2009), by Adam
    on batches. epochs: passes over the likes. No biases; L2 on the vectors of each batch. Users who liked everything
    teach nothing and are left out; TooLittleData where nobody is left.
    """

    name = "BPR"
    SETTINGS = ("factors", "learning_rate", "regularization", "epochs", "batch_size", "seed")

    def __init__(
        self, factors: int = 64, learning_rate: float = 1e-3, regularization: float = 0.0, epochs: int = 60,
        batch_size: int = 2048, seed: int = 0,
    ):  # fmt: skip
        self.factors, self.learning_rate, self.regularization = factors, learning_rate, regularization
        self.epochs, self.batch_size, self.seed = epochs, batch_size, seed

    def fit(self, split: Split) -> BPR:
        import torch
        from torch.nn.functional import embedding, logsigmoid

        generator = torch.Generator().manual_seed(self.seed)
        pairs = torch.tensor(split.train[["user", "item"]].to_numpy())
        liked = (pairs[:, 0] * split.n_items + pairs[:, 1]).unique()  # sorted: looked up without a table of all pairs
        count = torch.bincount(liked // split.n_items, minlength=split.n_users)
        pairs = pairs[count[pairs[:, 0]] < split.n_items]
        if not len(pairs):
            raise TooLittleData(
                f"{split.dataset.name} 里人人喜欢每一件物品，{self.name} 没有可比的：请换一份有取舍的数据。"
            )

        def is_liked(user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
            asked = user * split.n_items + item
            return liked[torch.searchsorted(liked, asked).clamp(max=len(liked) - 1)] == asked

        tables = [
            (torch.randn(n, self.factors, generator=generator) * (2 / (n + self.factors)) ** 0.5).requires_grad_()
            for n in (split.n_users, split.n_items)
        ]
        users, items = tables
        optimizer = torch.optim.Adam(tables, lr=self.learning_rate, fused=True)
        for _ in range(self.epochs):
            for rows in torch.randperm(len(pairs), generator=generator).split(self.batch_size):
                user, positive = pairs[rows].T
                negative = torch.randint(split.n_items, (len(rows),), generator=generator)
                while (wrong := is_liked(user, negative)).any():
                    negative[wrong] = torch.randint(split.n_items, (int(wrong.sum()),), generator=generator)
                # (batch, factors); not users[user]: its gradient is summed in an order that threads decide
                u, i, j = embedding(user, users), embedding(positive, items), embedding(negative, items)
                loss = -logsigmoid((u * (i - j)).sum(1)).mean()
                if self.regularization:
                    loss = loss + self.regularization * (u**2 + i**2 + j**2).sum(1).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        self._users, self._items = (table.detach().numpy() for table in tables)
        return self
