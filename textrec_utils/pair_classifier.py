"""The article's way: BertForSequenceClassification on (user text, item text), made right. A re-ranker, not a retriever,
so it comes with the two stages that it needs to serve."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import torch
from tqdm import tqdm

from textrec_utils.baselines import Recommender
from textrec_utils.encoder import DEFAULT_MODEL, has_bf16, load_pretrained, quiet_loading
from textrec_utils.ranking import recommend
from textrec_utils.splits import Split


def user_text(split: Split, user: int, *, without: int | None = None, titles: int = 5) -> str:
    """Profile and the latest liked titles as one text; `without` hides the item to be judged."""
    history = [i for i in split.histories[user] if i != without][-titles:]
    names = "、".join(split.dataset.items["title"].iloc[list(history)])
    return "。".join(part for part in (split.dataset.users["text"].iloc[user], f"喜欢：{names}") if part)


class PairClassifier:
    """BertForSequenceClassification on (user text, item text): does this user like this item?

    Pointwise, as the source article does it (Adam-style training, cross-entropy on 0/1), with tokenised
    pairs instead of its raw strings. Every score costs a pass through the encoder, so it re-ranks short
    candidate lists; a full ranking needs users × items passes. bf16: autocast, by default where the processor has it.
    """

    def __init__(
        self, model: str = DEFAULT_MODEL, *, pairs: int = 2000, learning_rate: float = 5e-5, batch_size: int = 32,
        max_length: int = 96, seed: int = 0, bf16: bool | None = None,
    ):  # fmt: skip
        self.name = "句对分类"
        self.model_name, self.pairs, self.learning_rate = model, pairs, learning_rate
        self.batch_size, self.max_length, self.seed = batch_size, max_length, seed
        self.bf16 = has_bf16() if bf16 is None else bf16

    def _autocast(self):
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16)

    def fit(self, split: Split, progress: bool = False) -> "PairClassifier":
        """Train on at most `pairs` texts: liked items, and others drawn by popularity, of which the user's liked ones are dropped.

        Afterwards `losses` holds each step's loss and `liked_share` the share of liked pairs.
        """
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        torch.manual_seed(self.seed)
        rng = np.random.default_rng(self.seed)
        with quiet_loading():
            self.tokenizer = load_pretrained(self.model_name, AutoTokenizer)
            self.model = load_pretrained(self.model_name, AutoModelForSequenceClassification, num_labels=2)
        self._split = split
        users, items, labels = self._sample(rng)
        self.liked_share = float(labels.mean())
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=self.learning_rate)
        self.losses: list[float] = []
        self.model.train()
        for start in tqdm(range(0, len(users), self.batch_size), desc="训练句对分类", disable=not progress, file=sys.stdout):
            part = slice(start, start + self.batch_size)
            batch = self.tokenize(users[part], items[part], hide=True)
            with self._autocast():
                loss = self.model(**batch, labels=torch.tensor(labels[part])).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            self.losses.append(loss.item())
        self.model.eval()
        return self

    def _sample(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        positives = self._split.train.sample(self.pairs // 2, random_state=self.seed, replace=len(self._split.train) < self.pairs // 2)
        users = positives["user"].to_numpy()
        # Drawn like the positives, so that "popular" alone does not answer the question.
        negatives = self._split.train["item"].to_numpy()[rng.integers(0, len(self._split.train), len(users))]
        seen = np.asarray(self._split.train_matrix[users, negatives]).ravel() > 0
        users = np.concatenate([users, users[~seen]])
        items = np.concatenate([positives["item"].to_numpy(), negatives[~seen]])
        labels = np.concatenate([np.ones(len(positives), dtype=np.int64), np.zeros(int((~seen).sum()), dtype=np.int64)])
        order = rng.permutation(len(users))
        return users[order], items[order], labels[order]

    def tokenize(self, users: Sequence[int], items: Sequence[int], *, hide: bool = False) -> dict[str, torch.Tensor]:
        """[CLS] user text [SEP] item text [SEP], padded; `hide` keeps the item out of the user's text."""
        first = [user_text(self._split, int(u), without=int(i) if hide else None) for u, i in zip(users, items)]
        second = [self._split.dataset.items["text"].iloc[int(i)] for i in items]
        return self.tokenizer(
            first, second, padding=True, truncation="only_second", max_length=self.max_length, return_tensors="pt"
        )

    def score_pairs(self, users: Sequence[int], items: Sequence[int]) -> np.ndarray:
        """(pairs,) logit of "likes" minus logit of "does not"."""
        out = [np.zeros(0, dtype=np.float32)]
        with torch.inference_mode(), self._autocast():
            for start in range(0, len(users), 128):
                batch = self.tokenize(users[start : start + 128], items[start : start + 128])
                logits = self.model(**batch).logits.float()
                out.append((logits[:, 1] - logits[:, 0]).numpy())
        return np.concatenate(out)

    def rerank(self, users: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """candidates: (users, c) item rows in any order, −1 for none. Returns them best first, −1 last, the same shape."""
        there = candidates >= 0
        scores = np.full(candidates.shape, -np.inf, dtype=np.float32)
        scores[there] = self.score_pairs(np.repeat(users, there.sum(1)), candidates[there])
        return np.take_along_axis(candidates, np.argsort(-scores, axis=1, kind="stable"), axis=1)


class TwoStage(Recommender):
    """`retriever` finds each user's `depth` best items, the pair classifier puts these into a new order.

    Behind them the retriever's own order goes on. Only lists up to `depth` are the classifier's work.
    """

    def __init__(self, retriever: Recommender, classifier: PairClassifier, depth: int = 20):
        self.name = f"{retriever.name}，{classifier.name}重排前{depth}"
        self.retriever, self.classifier, self.depth = retriever, classifier, depth

    def fit(self, split: Split) -> "TwoStage":
        self._split = split
        self.retriever.fit(split)
        self.classifier.fit(split)
        return self

    def score(self, users: np.ndarray) -> np.ndarray:
        scores = np.array(self.retriever.score(users), dtype=np.float32)
        order = self.classifier.rerank(users, recommend(self.retriever, self._split, self.depth, users=users))
        # Places 1, 2, … above everything that the retriever scored.
        places = scores.max(axis=1, keepdims=True) + self.depth - np.arange(self.depth)
        row, column = np.nonzero(order >= 0)
        scores[row, order[row, column]] = places[row, column]
        return scores
