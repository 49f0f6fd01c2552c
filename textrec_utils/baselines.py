"""What text must beat: popularity, item-item models, matrix factorisation, TF-IDF.

Every recommender, here and in later modules, has `fit(split)` and `score(users)`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from textrec_utils.splits import Split


class Recommender:
    """Base of all methods: `fit` learns from `split.train` alone, `score` rates the whole catalogue."""

    name = "recommender"

    def fit(self, split: Split) -> "Recommender":
        """Learn from the training part. Returns self."""
        raise NotImplementedError

    def score(self, users: np.ndarray) -> np.ndarray:
        """(len(users), items) float32, higher is better; users are row numbers."""
        raise NotImplementedError

    def parameters(self) -> dict[str, object]:
        """The settings that belong into a table of results."""
        return {k: v for k, v in vars(self).items() if isinstance(v, int | float | str) and not k.startswith("_")}


class Random(Recommender):
    """A seeded random score for each user and item: the floor of every table."""

    name = "随机"

    def __init__(self, seed: int = 0):
        self.seed = seed

    def fit(self, split: Split) -> "Random":
        self._shape = (split.n_users, split.n_items)
        return self

    def score(self, users: np.ndarray) -> np.ndarray:
        rows = [np.random.default_rng([self.seed, int(u)]).random(self._shape[1], dtype=np.float32) for u in users]
        return np.stack(rows)


class Popularity(Recommender):
    """The number of training users who liked the item; the same list for everyone."""

    name = "热门"

    def fit(self, split: Split) -> "Popularity":
        self._count = np.asarray(split.train_matrix.sum(axis=0), dtype=np.float32).ravel()
        return self

    def score(self, users: np.ndarray) -> np.ndarray:
        return np.tile(self._count, (len(users), 1))


class ItemKNN(Recommender):
    """Item-item cosine on co-likes, the `neighbours` nearest kept (Sarwar et al. 2001).

    similarity(i, j) = |U_i ∩ U_j| / (sqrt(|U_i| |U_j|) + shrink), score(u, j) = Σ_{i in history} similarity(i, j)
    """

    name = "ItemKNN"

    def __init__(self, neighbours: int = 50, shrink: float = 0.0):
        self.neighbours, self.shrink = neighbours, shrink

    def fit(self, split: Split) -> "ItemKNN":
        x = split.train_matrix
        together = (x.T @ x).toarray().astype(np.float32)
        size = np.sqrt(np.diag(together))
        similarity = together / np.maximum(np.outer(size, size) + self.shrink, 1e-9)
        np.fill_diagonal(similarity, 0)
        k = min(self.neighbours, len(similarity))
        smallest_kept = -np.partition(-similarity, k - 1, axis=0)[k - 1]
        similarity[similarity < smallest_kept] = 0  # column j keeps the k items nearest to j
        self._train, self._similarity = x, sparse.csr_matrix(similarity)
        return self

    def score(self, users: np.ndarray) -> np.ndarray:
        return (self._train[users] @ self._similarity).toarray()


class EASE(Recommender):
    """Linear item-item weights in closed form (Steck 2019, "Embarrassingly Shallow Autoencoders").

    B = I − P / diag(P) with P = (XᵀX + λI)⁻¹, score = X B. Memory: items² × 8 bytes, twice.
    """

    name = "EASE"

    def __init__(self, regularization: float = 100.0):
        self.regularization = regularization

    def fit(self, split: Split) -> "EASE":
        x = split.train_matrix
        gram = (x.T @ x).toarray().astype(np.float64)
        gram[np.diag_indices_from(gram)] += self.regularization
        precision = np.linalg.inv(gram)
        weights = precision / -np.diag(precision)
        np.fill_diagonal(weights, 0)
        self._train, self._weights = x, weights.astype(np.float32)
        return self

    def score(self, users: np.ndarray) -> np.ndarray:
        return self._train[users] @ self._weights


class ALS(Recommender):
    """Implicit-feedback matrix factorisation (Hu, Koren & Volinsky 2008), by the `implicit` library."""

    name = "ALS"

    def __init__(self, factors: int = 64, regularization: float = 0.1, alpha: float = 10.0, iterations: int = 15, seed: int = 0):  # fmt: skip
        self.factors, self.regularization, self.alpha = factors, regularization, alpha
        self.iterations, self.seed = iterations, seed

    def fit(self, split: Split) -> "ALS":
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

    def score(self, users: np.ndarray) -> np.ndarray:
        return self._users[users] @ self._items.T


class BPR(Recommender):
    """Matrix factorisation trained on pairs: what a user liked shall score above what he or she did not.

    loss = −log σ(x_ui − x_uj) with a random item j that the user has not liked (Rendle et al. 2009), by Adam
    on batches. epochs: passes over the likes. No biases; L2 on the vectors of each batch. Holds a (users, items)
    table of bits while it trains. Users who liked everything teach nothing and are left out.
    """

    name = "BPR"

    def __init__(self, factors: int = 64, learning_rate: float = 1e-3, regularization: float = 0.0, epochs: int = 60, batch_size: int = 2048, seed: int = 0):  # fmt: skip
        self.factors, self.learning_rate, self.regularization = factors, learning_rate, regularization
        self.epochs, self.batch_size, self.seed = epochs, batch_size, seed

    def fit(self, split: Split) -> "BPR":
        import torch
        from torch.nn.functional import embedding, logsigmoid

        generator = torch.Generator().manual_seed(self.seed)
        pairs = torch.tensor(split.train[["user", "item"]].to_numpy())
        liked = torch.from_numpy(split.train_matrix.toarray() > 0)  # (users, items)
        pairs = pairs[~liked.all(1)[pairs[:, 0]]]
        tables = [
            (torch.randn(n, self.factors, generator=generator) * (2 / (n + self.factors)) ** 0.5).requires_grad_()
            for n in (split.n_users, split.n_items)
        ]
        users, items = tables
        optimizer = torch.optim.Adam(tables, lr=self.learning_rate)
        for _ in range(self.epochs):
            for rows in torch.randperm(len(pairs), generator=generator).split(self.batch_size):
                user, positive = pairs[rows].T
                negative = torch.randint(split.n_items, (len(rows),), generator=generator)
                while (wrong := liked[user, negative]).any():
                    negative[wrong] = torch.randint(split.n_items, (int(wrong.sum()),), generator=generator)
                # (batch, factors); not users[user]: its gradient is summed in an order that threads decide
                u, i, j = embedding(user, users), embedding(positive, items), embedding(negative, items)
                loss = -logsigmoid((u * (i - j)).sum(1)).mean()
                loss = loss + self.regularization * (u**2 + i**2 + j**2).sum(1).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        self._users, self._items = (table.detach().numpy() for table in tables)
        return self

    def score(self, users: np.ndarray) -> np.ndarray:
        return self._users[users] @ self._items.T


class HistoryMean(Recommender):
    """Content-based: a user is the mean of the vectors of the liked items, score = dot product.

    vectors: (items, dim) dense or sparse. center subtracts the catalogue's mean vector first,
    normalize scales each item to length 1 (so that the dot product is a cosine per history item).
    half_life: None weighs the history evenly; h halves the weight every h items back in time.
    """

    def __init__(self, vectors, name: str, *, center: bool = False, normalize: bool = True, half_life: float | None = None):  # fmt: skip
        self.name, self.center, self.normalize, self.half_life = name, center, normalize, half_life
        if center:
            vectors = vectors - np.asarray(vectors.mean(axis=0))
        if normalize:
            vectors = unit_rows(vectors)
        self._vectors = vectors

    def fit(self, split: Split) -> "HistoryMean":
        self._weights = history_weights(split, self.half_life)
        return self

    def score(self, users: np.ndarray) -> np.ndarray:
        scores = (self._weights[users] @ self._vectors) @ self._vectors.T
        return scores.toarray() if sparse.issparse(scores) else np.asarray(scores, dtype=np.float32)


def unit_rows(vectors):
    """Rows scaled to Euclidean length 1 (zero rows stay zero); dense or sparse."""
    if sparse.issparse(vectors):
        length = np.sqrt(np.asarray(vectors.multiply(vectors).sum(axis=1))).ravel()
        return sparse.diags_array(1 / np.maximum(length, 1e-12)).tocsr() @ vectors
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def history_weights(
    split: Split, half_life: float | None = None, *, weigh: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None, latest: int = 0
) -> sparse.csr_matrix:  # fmt: skip
    """(users, items) float32, each user's row sums to 1; `half_life` in items, newest heaviest.

    weigh: (item rows oldest first, their age in items) -> weights, instead of half_life. latest: only so many (0: all).
    """
    rows, columns, values = [], [], []
    for user, history in enumerate(split.histories):
        history = history[-latest:]
        if len(history):
            age = np.arange(len(history))[::-1]
            if weigh is not None:
                weight = weigh(history, age)
            else:
                weight = np.ones(len(history)) if half_life is None else 0.5 ** (age / half_life)
            rows.append(np.full(len(history), user))
            columns.append(history)
            values.append(weight / weight.sum())
    data = np.concatenate(values).astype(np.float32)
    return sparse.csr_matrix((data, (np.concatenate(rows), np.concatenate(columns))), shape=(split.n_users, split.n_items))


def tfidf_vectors(texts, segment=None, *, min_df: int = 1) -> sparse.csr_matrix:
    """(texts, terms) TF-IDF with rows of length 1, by scikit-learn.

    segment: text -> tokens (a `Segmenter`); None takes character 1- and 2-grams, which need no dictionary.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    if segment is None:
        vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), min_df=min_df, sublinear_tf=True)
    else:
        vectorizer = TfidfVectorizer(analyzer=segment, min_df=min_df, sublinear_tf=True)
    return vectorizer.fit_transform(texts).astype(np.float32).tocsr()
