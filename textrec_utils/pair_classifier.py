"""The article's way: BertForSequenceClassification on (user text, item text), made right. A re-ranker, not a retriever,
so it comes with the two stages that it needs to serve."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Self

import numpy as np
import torch
from safetensors.torch import load, save
from tqdm import tqdm

from textrec_utils.baselines.base import Recommender, known_rows
from textrec_utils.core.seeds import seeded
from textrec_utils.encoder.batching import TOKENIZED, Batch, passes, without_gradient
from textrec_utils.encoder.first_token import first_token_alone
from textrec_utils.encoder.loading import DEFAULT_MODEL, load_pretrained, quiet_loading
from textrec_utils.encoder.precision import autocast, use_bf16
from textrec_utils.ranking import top_k
from textrec_utils.splits import Split


def user_text(split: Split, user: int, *, without: int | None = None, titles: int = 5) -> str:
    """Profile and the latest liked titles as one text; `without` hides the item to be judged."""
    data = split.dataset
    return _user_text(data.users["text"].iloc[user], split.histories[user], data.items["title"].iloc, without, titles)


def _user_text(profile: str, history: Sequence[int], title_of, without: int | None, titles: int = 5) -> str:
    names = "、".join(title_of[int(i)] for i in [i for i in history if i != without][-titles:])
    return "。".join(part for part in (profile, f"喜欢：{names}") if part)


class PairClassifier(Recommender):
    """BertForSequenceClassification on (user text, item text): does this user like this item?

    Pointwise, as the source article does it (Adam-style training, cross-entropy on 0/1), with tokenised
    pairs instead of its raw strings. Every score costs a pass through the encoder, so it re-ranks short
    candidate lists; a full ranking needs users × items passes. bf16: autocast, by default where the processor has it;
    `settings()` says which it was. titles: how many of the latest likes a user's text names. lean: trained with the
    last layer for [CLS] alone and no dropout inside attention, in about two thirds of the time.
    """

    name = "句对分类"
    needs = frozenset({"text", "model"})
    cold_items = True
    SETTINGS = ("pairs", "learning_rate", "batch_size", "max_length", "seed", "bf16", "titles", "lean")
    FITTED = ("_weights", "_reads")

    def __init__(
        self, model: str = DEFAULT_MODEL, *, pairs: int = 2000, learning_rate: float = 5e-5, batch_size: int = 32,
        max_length: int = 96, seed: int = 0, bf16: bool | None = None, titles: int = 5, lean: bool = False,
    ):  # fmt: skip
        self.model_name, self.pairs, self.learning_rate = model, pairs, learning_rate
        self.batch_size, self.max_length, self.seed, self.bf16 = batch_size, max_length, seed, use_bf16(bf16)
        self.titles, self.lean = titles, lean

    def settings(self) -> dict[str, object]:
        return {"model": self.model_name} | {name: getattr(self, name) for name in self.SETTINGS}

    def fit(
        self, split: Split, progress: bool = False, *, candidates: np.ndarray | None = None,
        watch: Callable[[int], bool | None] | None = None,
    ) -> Self:  # fmt: skip
        """Train on at most `pairs` texts: liked items, and others drawn by popularity, the user's liked ones dropped.

        candidates: (users, c) item rows; the others are drawn from the user's own row instead. watch: told after each
        step how many pairs were seen, the model ready to score; training ends where it says True.
        Afterwards `losses` holds each step's loss and `liked_share` the share of liked pairs.
        """
        self.read(split)
        users, items, labels = self._sample(split, np.random.default_rng(self.seed), candidates)
        self.liked_share, self.losses = float(labels.mean()), []
        with seeded(self.seed):  # the head's first weights and the dropout
            self._open(**({"attention_probs_dropout_prob": 0.0} if self.lean else {}))
            optimizer = torch.optim.AdamW(self.model.parameters(), lr=self.learning_rate, fused=True)
            starts = range(0, len(users), self.batch_size)
            for start in tqdm(starts, desc="训练句对分类", disable=not progress, file=sys.stdout):
                part = slice(start, start + self.batch_size)
                batch = self.tokenize(users[part], items[part], hide=True)
                self.model.train()
                with autocast("cpu", self.bf16), first_token_alone(self.model) if self.lean else nullcontext():
                    loss = self.model(**batch, labels=torch.tensor(labels[part])).loss
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                self.losses.append(loss.item())
                self.model.eval()
                if watch and watch(min(start + self.batch_size, len(users))):
                    break
        return self

    def read(self, split: Split) -> Self:
        """From now on the users' likes and the items' texts are this split's: of the same users and items."""
        items = split.dataset.items
        self._words = {
            "profiles": split.dataset.users["text"].tolist(), "titles": items["title"].tolist(),
            "texts": items["text"].tolist(), "histories": [[int(i) for i in rows] for rows in split.histories],
        }  # fmt: skip
        return self

    def _open(self, **options) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        with quiet_loading():
            self.tokenizer = load_pretrained(self.model_name, AutoTokenizer)
            self.model = load_pretrained(self.model_name, AutoModelForSequenceClassification, num_labels=2, **options)

    def _sample(
        self, split: Split, rng: np.random.Generator, candidates: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
        few = len(split.train) < self.pairs // 2
        positives = split.train.sample(self.pairs // 2, random_state=self.seed, replace=few)
        users = positives["user"].to_numpy()
        # Drawn like the positives, so that "popular" alone does not answer the question.
        negatives = split.train["item"].to_numpy()[rng.integers(0, len(split.train), len(users))]
        if candidates is not None:
            negatives = candidates[users, rng.integers(0, candidates.shape[1], len(users))]
        seen = (negatives < 0) | (np.asarray(split.train_matrix[users, negatives]).ravel() > 0)
        labels = np.repeat([1, 0], [len(users), int((~seen).sum())])
        users = np.concatenate([users, users[~seen]])
        items = np.concatenate([positives["item"].to_numpy(), negatives[~seen]])
        order = rng.permutation(len(users))
        return users[order], items[order], labels[order]

    def tokenize(self, users: Sequence[int], items: Sequence[int], *, hide: bool = False) -> dict[str, torch.Tensor]:
        """[CLS] user text [SEP] item text [SEP], padded; `hide` keeps the item out of the user's text.

        Too long a pair loses the end of the item's text; a user's text takes at most four fifths of the room.
        """
        words, pairs = self._words, [(int(u), int(i) if hide else None) for u, i in zip(users, items)]
        read = {  # a reader whose items are many is read once
            (user, hidden): _user_text(
                words["profiles"][user], words["histories"][user], words["titles"], hidden, self.titles
            )
            for user, hidden in dict.fromkeys(pairs)
        }  # fmt: skip
        room = self.max_length - self.tokenizer.num_special_tokens_to_add(pair=True)
        spans = self.tokenizer(
            list(read.values()), add_special_tokens=False, truncation=True, max_length=room * 4 // 5,
            return_offsets_mapping=True,
        )["offset_mapping"]  # fmt: skip
        read = {pair: text[: span[-1][1]] if span else "" for (pair, text), span in zip(read.items(), spans)}
        return self.tokenizer(
            [read[pair] for pair in pairs], [words["texts"][i] for i in items], padding=True, truncation="only_second",
            max_length=self.max_length, return_tensors="pt",
        )  # fmt: skip

    def score_pairs(self, users: Sequence[int], items: Sequence[int]) -> np.ndarray:
        """(pairs,) logit of "likes" minus logit of "does not"."""
        out = np.zeros(len(users), dtype=np.float32)
        for start in range(0, len(users), TOKENIZED):

            def judge(rows: np.ndarray, batch: Batch, start: int = start) -> None:
                logits = self.model(**batch).logits.float()
                out[start + rows] = (logits[:, 1] - logits[:, 0]).numpy()

            batch = self.tokenize(users[start : start + TOKENIZED], items[start : start + TOKENIZED])
            with first_token_alone(self.model):
                without_gradient(judge, passes(batch, 128, "cpu"), "cpu", self.bf16)
        return out

    def rerank(self, users: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """candidates: (users, c) item rows in any order, −1 for none. Best first, −1 last, the same shape."""
        there = candidates >= 0
        scores = np.full(candidates.shape, -np.inf, dtype=np.float32)
        scores[there] = self.score_pairs(np.repeat(users, there.sum(1)), candidates[there])
        return np.take_along_axis(candidates, np.argsort(-scores, axis=1, kind="stable"), axis=1)

    def score(self, users: np.ndarray) -> np.ndarray:
        items = len(self._words["texts"])
        pairs = np.repeat(known_rows(users, len(self._words["profiles"])), items), np.tile(np.arange(items), len(users))
        return self.score_pairs(*pairs).reshape(len(users), items)

    # Kept as bytes: the model's weights, and the words that it reads. Its shape and tokenizer are `model`'s.
    _weights = property(lambda self: np.frombuffer(save(self.model.state_dict()), dtype=np.uint8))
    _reads = property(lambda self: np.frombuffer(json.dumps(self._words).encode(), dtype=np.uint8))

    @classmethod
    def _restored(cls, settings: dict[str, object], arrays: dict[str, np.ndarray]) -> Self:
        classifier = cls(**settings)
        classifier._words = json.loads(arrays["_reads"].tobytes())
        with seeded(0):
            classifier._open()
        classifier.model.load_state_dict(load(arrays["_weights"].tobytes()))
        classifier.model.eval()
        return classifier


class TwoStage(Recommender):
    """`retriever` finds each user's `depth` best items, the pair classifier puts these into a new order.

    Behind them the retriever's own order goes on. Only lists up to `depth` are the classifier's work: which items a
    user may see, and whether new items and new users are served, is the retriever's.
    """

    SETTINGS = ("depth",)
    FITTED = ("_candidates", "_seen")

    def __init__(self, retriever: Recommender, classifier: PairClassifier, depth: int = 20):
        self.name = f"{retriever.name}，{classifier.name}重排前{depth}"
        self.parts, self.depth, self.cost = [retriever, classifier], depth, retriever.cost

    retriever = property(lambda self: self.parts[0])
    classifier = property(lambda self: self.parts[1])
    needs = property(lambda self: self.retriever.needs | self.classifier.needs)
    cold_items = property(lambda self: self.retriever.cold_items)
    new_users = property(lambda self: self.retriever.new_users)

    def settings(self) -> dict[str, object]:
        return super().settings() | {"parts": [{"name": part.name, **part.settings()} for part in self.parts]}

    def fit(self, split: Split) -> Self:
        for part in self.parts:
            part.fit(split)
        self._candidates, self._seen = split.candidates, split.train_matrix
        return self

    def score(self, users: np.ndarray) -> np.ndarray:
        scores = np.array(self.retriever.score(users), dtype=np.float32)
        open_ = np.where(self._candidates, scores, np.float32(-np.inf))
        order = self.classifier.rerank(users, top_k(open_, self.depth, exclude=self._seen[users]))
        # Places 1, 2, … above everything that the retriever scored.
        places = scores.max(axis=1, keepdims=True) + self.depth - np.arange(self.depth)
        row, column = np.nonzero(order >= 0)
        scores[row, order[row, column]] = places[row, column]
        return scores
