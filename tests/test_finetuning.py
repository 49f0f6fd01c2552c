"""Losses against plain formulas, gradients where they belong, runs that repeat."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from textrec_utils.baselines import Popularity, unit_rows
from textrec_utils.datasets import Dataset
from textrec_utils.encoder import Encoder, center, whiten
from textrec_utils.evaluation import compare, evaluate
from textrec_utils.finetuning import (
    MEANING_SCALE,
    PairClassifier,
    TwoTowerConfig,
    full_softmax_loss,
    in_batch_loss,
    lexical_vectors,
    train_two_tower,
    user_text,
)  # fmt: skip
from textrec_utils.splits import make_split

QUICK = {"steps": 4, "encoder_steps": 3, "users": 32, "pairs": 64, "items": 16, "hidden": 32, "dim": 16, "max_length": 16}


@pytest.fixture(scope="module")
def taste():
    """60 users who like one of three kinds of goods each; the text tells the kind."""
    rng = np.random.default_rng(0)
    kinds = ["登山鞋，防滑耐磨", "绿茶，清香回甘", "蓝牙耳机，降噪"]
    items = pd.DataFrame({"item_id": [f"i{n}" for n in range(60)], "title": [kinds[n % 3][:3] for n in range(60)]})
    items["text"] = [f"{kinds[n % 3]}，第{n}款" for n in range(60)]
    rows = []
    for user in range(60):
        chosen = rng.choice(np.arange(user % 3, 60, 3), 8, replace=False)
        rows += [(f"u{user}", f"i{i}", t) for t, i in enumerate(chosen)]
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).assign(value=1.0)
    users = pd.DataFrame({"user_id": [f"u{n}" for n in range(60)], "text": ["30岁"] * 60})
    return make_split(Dataset("taste", items, users, interactions, "", ""), "leave_last_out")


def test_full_softmax_by_hand():
    torch.manual_seed(0)
    users, items = torch.randn(3, 4), torch.randn(5, 4)
    wanted = [[0], [2, 3], [4]]
    target = torch.zeros(3, 5)
    for p, items_wanted in enumerate(wanted):
        target[p, items_wanted] = 1
    barred = torch.zeros(3, 5, dtype=torch.bool)
    barred[0, 1] = True
    loss = full_softmax_loss(users, items, target, barred, 0.5)
    expected = []
    for p in range(3):
        allowed = [j for j in range(5) if not barred[p, j]]
        scores = torch.stack([users[p] @ items[j] / 0.5 for j in allowed])
        terms = [-(users[p] @ items[j] / 0.5 - torch.logsumexp(scores, 0)) for j in wanted[p]]
        expected.append(torch.stack(terms).mean())
    assert loss == pytest.approx(float(torch.stack(expected).mean()), abs=1e-5)


def test_in_batch_by_hand():
    torch.manual_seed(1)
    target = torch.tensor([3, 1, 3])  # item 3 twice: a duplicate, not a negative
    users, items = torch.randn(3, 4), torch.randn(3, 4)
    log_q = torch.log(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    barred = torch.zeros(3, 4, dtype=torch.bool)
    barred[1, 3] = True  # user of row 1 likes item 3 already: no negative is left for it
    loss = in_batch_loss(users, items, target, barred, 1.0, log_q)
    logits = users @ items.T - log_q[target]
    row0 = -F.log_softmax(logits[0, [0, 1]], 0)[0]
    row2 = -F.log_softmax(logits[2, [2, 1]], 0)[0]
    assert loss == pytest.approx(float((row0 + 0 + row2) / 3), abs=1e-5)


def test_in_batch_without_repeats_is_plain_cross_entropy():
    """With distinct items, nothing barred and no correction: sentence-transformers' MultipleNegativesRankingLoss."""
    torch.manual_seed(2)
    users, items = F.normalize(torch.randn(6, 8), dim=1), F.normalize(torch.randn(6, 8), dim=1)
    loss = in_batch_loss(users, items, torch.arange(6), torch.zeros(6, 6, dtype=torch.bool), 0.05, None)
    assert loss == pytest.approx(float(F.cross_entropy(users @ items.T * 20, torch.arange(6))), abs=1e-5)


def test_logq_undoes_sampling_by_popularity():
    """Over many batches drawn with q, the corrected in-batch softmax estimates the full one."""
    torch.manual_seed(3)
    q = torch.tensor([0.6, 0.2, 0.1, 0.05, 0.05])
    items, user = torch.randn(5, 4), torch.randn(4)
    full = torch.logsumexp(items @ user, 0)
    drawn = torch.multinomial(q, 20000, replacement=True)
    estimate = torch.logsumexp(items[drawn] @ user - torch.log(q[drawn]), 0) - np.log(20000)
    assert estimate == pytest.approx(float(full), abs=0.05)


@pytest.mark.parametrize("rung", ["head", "last_layer", "whole"])
def test_each_rung_trains_what_it_says(taste, rung):
    config = TwoTowerConfig(rung=rung, **QUICK)
    tower = train_two_tower(taste, config, progress=False, cache=False)
    assert tower.item_vectors.shape == (60, 16)
    assert np.linalg.norm(tower.item_vectors, axis=1) == pytest.approx(1, abs=1e-5)
    head = 312 * 32 + 32 + 32 * 16 + 16
    layer = 4 * (312 * 312 + 312) + 2 * 312 * 1200 + 1200 + 312 + 4 * 312
    if rung == "head":
        assert tower.trained == head
    elif rung == "last_layer":
        assert tower.trained == head + layer
    else:
        assert tower.trained > head + 4 * layer
    again = train_two_tower(taste, config, progress=False, cache=False)
    assert (again.item_vectors == tower.item_vectors).all() and (again.curve == tower.curve).all()


def test_learns_the_taste(taste):
    tower = train_two_tower(taste, TwoTowerConfig(steps=60, users=32, hidden=64, dim=16), progress=False, cache=False)
    trained = evaluate(tower.recommender("双塔"), taste, ["recall@10"])
    popular = evaluate(Popularity(), taste, ["recall@10"])
    assert tower.curve[-1, 1] < tower.curve[0, 1]
    assert compare(trained.users["recall@10"], popular.users["recall@10"]).significant


def test_results_are_kept_and_the_judge_is_asked(taste, monkeypatch, tmp_path):
    monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path))
    asked = []
    judge = lambda vectors: asked.append(vectors.shape) or 0.5  # noqa: E731
    first = train_two_tower(taste, TwoTowerConfig(**QUICK), judge=judge, progress=False)
    assert asked == [(60, 16)] * 4 and first.curve.shape == (4, 3)
    second = train_two_tower(taste, TwoTowerConfig(**QUICK), judge=judge, progress=False)
    assert len(asked) == 4 and (first.item_vectors == second.item_vectors).all()
    assert second.cost.seconds == first.cost.seconds


def test_in_batch_losses_run(taste):
    for loss in ("in_batch", "in_batch_no_logq"):
        tower = train_two_tower(taste, TwoTowerConfig(loss=loss, **QUICK), progress=False, cache=False)
        assert np.isfinite(tower.curve).all()


def test_config_refuses_unknown_words():
    with pytest.raises(ValueError, match="rung"):
        TwoTowerConfig(rung="all")
    with pytest.raises(ValueError, match="loss"):
        TwoTowerConfig(loss="hinge")
    with pytest.raises(ValueError, match="lexical"):
        TwoTowerConfig(features="lexical", rung="whole")
    with pytest.raises(ValueError, match="both"):
        TwoTowerConfig(features="both", rung="last_layer")


def test_linear_head_starts_as_the_identity_and_fusion_adds_scores(taste):
    lexical = TwoTowerConfig(features="lexical", head="linear", steps=1, users=8, learning_rate=0.0, dropout=0.0)
    a = train_two_tower(taste, lexical, progress=False, cache=False)
    start = center(lexical_vectors(list(taste.dataset.items["text"])))
    cosine = unit_rows(start) @ unit_rows(start).T
    assert a.item_vectors @ a.item_vectors.T == pytest.approx(cosine, abs=1e-4)
    b = train_two_tower(taste, TwoTowerConfig(**QUICK), progress=False, cache=False)
    fused = a.fuse(b, 0.3).item_vectors
    expected = 0.3 * a.item_vectors @ a.item_vectors.T + 0.7 * b.item_vectors @ b.item_vectors.T
    assert fused @ fused.T == pytest.approx(expected, abs=1e-4)


def test_one_tower_reads_meaning_and_spelling(taste):
    texts = list(taste.dataset.items["text"])
    config = TwoTowerConfig(features="both", head="linear", steps=1, users=8, learning_rate=0.0, dropout=0.0)
    made = train_two_tower(taste, config, progress=False, cache=False).item_vectors
    meaning = whiten(Encoder("mini-bert-zh", max_length=config.max_length).encode(texts), strength=0.5)
    spelling = center(lexical_vectors(texts))
    both = np.hstack([MEANING_SCALE * meaning / meaning.std(), spelling / spelling.std()])
    assert made.shape == both.shape and made @ made.T == pytest.approx(unit_rows(both) @ unit_rows(both).T, abs=1e-3)


def test_user_text_hides_the_answer(taste):
    user = int(taste.test_users[0])
    history = taste.histories[user]
    full, hidden = user_text(taste, user), user_text(taste, user, without=int(history[-1]))
    assert full.startswith("30岁。喜欢：") and full.count("、") == 4
    assert full != hidden or len(set(taste.dataset.items["title"].iloc[history])) == 1


def test_pair_classifier_runs_and_reranks(taste):
    model = PairClassifier(pairs=48, batch_size=16, max_length=32).fit(taste)
    assert len(model.losses) >= 2 and np.isfinite(model.losses).all()
    users = taste.test_users[:3]
    candidates = np.tile(np.arange(5), (3, 1))
    ranked = model.rerank(users, candidates)
    assert (np.sort(ranked, axis=1) == candidates).all()
    batch = model.tokenize(users, [0, 1, 2])
    assert (batch["token_type_ids"].max(1).values == 1).all()  # two segments, not one raw string
