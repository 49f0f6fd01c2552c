"""The exam of a masked language model: films held out whole, questions as they are asked, rules counted right."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from textrec_utils.encoder_quality import masked_characters
from textrec_utils.pretraining import train_wordpiece
from textrec_utils.pretraining.exam import NeighbourRules, exam_of, film_pieces, han_pieces

TEXTS = ["天上有云。", "天上有鸟。", "天上有云！", "地上有人。"] * 30


@pytest.fixture(scope="module")
def tokenizer():
    return train_wordpiece(TEXTS, 60)


def test_films_are_held_out_whole():
    synopses = [f"第{i}部的开头。后来呢？结尾没有句号" for i in range(40)]
    items = pd.DataFrame({"text": [f"片名{i}。{s}" for i, s in enumerate(synopses)], "synopsis_zh": synopses})
    films = film_pieces(items, seed=1)
    assert films.pieces[:4] == ["片名0。", "第0部的开头。", "后来呢？", "结尾没有句号"]
    assert len(films.train) + len(films.held_out) == len(films.pieces) == 160
    assert len(films.held_out) == 16 and set(films.owner[films.held]) == set(films.test_films)
    assert film_pieces(items, seed=1).held_out == films.held_out != film_pieces(items, seed=2).held_out


def test_questions_are_those_that_the_model_is_asked(tokenizer):
    class Oracle(torch.nn.Module):
        """Answers right what it is told of."""

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, input_ids, attention_mask=None):
            return type("Out", (), {"logits": torch.zeros(*input_ids.shape, len(tokenizer))})

    asked = exam_of(tokenizer, TEXTS)
    assert len(asked) == masked_characters(Oracle(), tokenizer, TEXTS).characters > 20
    assert all(han_pieces(tokenizer)[answer] for _, answer, _ in asked)
    assert exam_of(tokenizer, []) == []


def test_rules_count_neighbours(tokenizer):
    rules = NeighbourRules(tokenizer, TEXTS)
    ids = {c: tokenizer.convert_tokens_to_ids(c) for c in "天上有云鸟人"}
    assert rules.common in (ids["上"], ids["有"])  # in every text once
    assert rules.after[ids["天"]].most_common(1)[0][0] == ids["上"]
    assert rules.between(ids["天"], ids["有"]) == ids["上"]
    right = rules.right(TEXTS)
    assert len(right) == len(exam_of(tokenizer, TEXTS)) and list(right)[1:] == ["看前一字", "看后一字", "两边合看"]
    shares = rules.accuracy(TEXTS)
    assert shares["两边合看"] >= shares["看前一字"] > shares[list(right)[0]]


def test_unigram_loss_is_the_mean_surprise(tokenizer):
    rules = NeighbourRules(tokenizer, TEXTS)
    han = int(han_pieces(tokenizer).sum())
    total = sum(rules.count.values()) + han / 2
    by_hand = [-math.log((rules.count[answer] + 0.5) / total) for _, answer, _ in exam_of(tokenizer, TEXTS)]
    assert rules.unigram_loss(TEXTS) == pytest.approx(np.mean(by_hand), abs=1e-5)
