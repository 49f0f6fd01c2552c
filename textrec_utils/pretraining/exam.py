"""Held-out films and rules that read no sentence: what a masked language model of the course has to beat."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from textrec_utils.encoder_quality import special_pieces
from textrec_utils.text import HAN


@dataclass(frozen=True)
class FilmPieces:
    """Texts of films in pieces, a tenth of the *films* held out: two pieces of one film are too much alike."""

    pieces: list[str]  # film by film: the fields before the synopsis, then its sentences
    owner: np.ndarray  # (pieces,) row of the film in the items
    test_films: np.ndarray  # rows of the films that are held out

    @property
    def held(self) -> np.ndarray:
        """(pieces,) True for a piece of a held-out film."""
        return np.isin(self.owner, self.test_films)

    @property
    def train(self) -> list[str]:
        return [piece for piece, held in zip(self.pieces, self.held) if not held]

    @property
    def held_out(self) -> list[str]:
        return [piece for piece, held in zip(self.pieces, self.held) if held]


def film_pieces(items: pd.DataFrame, seed: int = 0) -> FilmPieces:
    """Cut the texts of films; `items` has `text`, which ends with `synopsis_zh`."""
    films = [
        [text.removesuffix(synopsis), *re.findall("[^。！？]+[。！？]?", synopsis)]
        for text, synopsis in zip(items["text"], items["synopsis_zh"])
    ]
    test_films = np.random.default_rng(seed).permutation(len(films))[: len(films) // 10]
    owner = np.repeat(np.arange(len(films)), [len(film) for film in films])
    return FilmPieces([piece for film in films for piece in film], owner, test_films)


def han_pieces(tokenizer) -> torch.Tensor:
    """(vocabulary,) True for a single 汉字."""
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    return torch.tensor([len(piece) == 1 and bool(HAN.match(piece)) for piece in pieces])


def exam_of(tokenizer, texts: Sequence[str], rate: float = 0.15) -> list[tuple[int, int, int]]:
    """What `masked_characters` asks: (token before, answer, token after) of each hidden 汉字."""
    special, han, asked = special_pieces(tokenizer), han_pieces(tokenizer), []
    generator = torch.Generator().manual_seed(0)
    for start in range(0, len(texts), 64):
        part = list(texts[start : start + 64])
        ids = tokenizer(part, padding=True, truncation=True, max_length=128, return_tensors="pt")["input_ids"]
        hidden = (torch.rand(ids.shape, generator=generator) < rate) & ~special[ids]
        seen = ids.masked_fill(hidden, tokenizer.mask_token_id)
        row, i = (hidden & han[ids]).nonzero(as_tuple=True)
        asked += zip(seen[row, i - 1].tolist(), ids[row, i].tolist(), seen[row, i + 1].tolist())
    return asked


class NeighbourRules:
    """Four guesses from counts of neighbouring tokens in `train_texts`; a model that knows the sentence beats them.

    Always the most frequent 汉字; what most often follows the token before; what most often precedes the token
    after; both together (the product of the two counts over the character's own).
    """

    def __init__(self, tokenizer, train_texts: Sequence[str]):
        self.tokenizer, self.count = tokenizer, Counter()
        self.after, self.before = defaultdict(Counter), defaultdict(Counter)
        han = han_pieces(tokenizer).tolist()
        for row in tokenizer(list(train_texts))["input_ids"]:
            self.count.update(i for i in row if han[i])
            for left, right in zip(row, row[1:]):
                self.after[left].update([right] if han[right] else [])
                self.before[right].update([left] if han[left] else [])
        self.common, self.total = self.count.most_common(1)[0][0], self.count.total()

    def between(self, left: int, right: int) -> int:
        """The 汉字 that fits both neighbours best; where few were counted, as frequent as ever."""

        def score(c: int) -> float:
            share = 5 * self.count[c] / self.total
            return (self.after[left][c] + share) * (self.before[right][c] + share) / share

        return max([self.common, *self.after[left], *self.before[right]], key=score)

    def right(self, texts: Sequence[str]) -> pd.DataFrame:
        """One row a question of `exam_of`, one column a rule: was it right?"""

        def best(counts: Counter) -> int:
            return counts.most_common(1)[0][0] if counts else self.common

        rows = [
            (answer == self.common, answer == best(self.after[left]), answer == best(self.before[right]),
             answer == self.between(left, right))
            for left, answer, right in exam_of(self.tokenizer, texts)
        ]  # fmt: skip
        common = self.tokenizer.convert_ids_to_tokens(self.common)
        return pd.DataFrame(rows, columns=[f"总猜“{common}”", "看前一字", "看后一字", "两边合看"])

    def accuracy(self, texts: Sequence[str]) -> dict[str, float]:
        """Share of the questions that each rule gets right."""
        return self.right(texts).mean().to_dict()

    def unigram_loss(self, texts: Sequence[str]) -> float:
        """Mean −log p of the answers, in nats, guessing by how often each 汉字 is in the training texts."""
        han = han_pieces(self.tokenizer)
        counts = torch.tensor([self.count[i] for i in range(len(han))]) + 0.5
        log_p = (counts * han / (counts * han).sum()).log()
        return float(-log_p[torch.tensor([answer for _, answer, _ in exam_of(self.tokenizer, texts)])].mean())
