"""The pair classifier gets two segments, hides the answer, and only reorders."""

import dataclasses

import numpy as np
import pytest
import torch

from textrec_utils.baselines import Popularity, Recommender
from textrec_utils.core import DataError
from textrec_utils.encoder import precision
from textrec_utils.pair_classifier import PairClassifier, TwoStage, user_text
from textrec_utils.ranking import recommend
from textrec_utils.splits import make_split

QUICK = {"pairs": 48, "batch_size": 16, "max_length": 32}


@pytest.fixture(scope="module")
def titled(taste):
    """The same tastes, each item with a title of its own; one title is very long."""
    items = taste.dataset.items.assign(title=["长" * 300, *(f"第{n}款" for n in range(1, 60))])
    return make_split(dataclasses.replace(taste.dataset, items=items), "leave_last_out")


@pytest.fixture(scope="module")
def fitted(titled):
    return TwoStage(Popularity(), PairClassifier(**QUICK), depth=4).fit(titled)


def test_user_text_hides_the_answer(titled):
    user = int(np.flatnonzero([0 not in history for history in titled.histories])[0])
    *_, a, b, c, d, e, f = titled.histories[user]
    assert user_text(titled, user) == f"30岁。喜欢：第{b}款、第{c}款、第{d}款、第{e}款、第{f}款"
    assert user_text(titled, user, without=int(f)) == f"30岁。喜欢：第{a}款、第{b}款、第{c}款、第{d}款、第{e}款"
    assert user_text(titled, user, without=int(d), titles=2) == f"30岁。喜欢：第{e}款、第{f}款"


def test_long_titles_leave_room_for_the_item(titled):
    reader = next(u for u, history in enumerate(titled.histories) if 0 in history[-5:])
    model = PairClassifier(**QUICK).fit(titled)
    assert np.isfinite(model.losses).all()
    batch = model.tokenize([reader], [1])
    first, second = ((batch["token_type_ids"] == kind) & (batch["attention_mask"] == 1) for kind in (0, 1))
    assert batch["input_ids"].shape == (1, 32)
    assert first.sum() <= 25 and second.sum() >= 7  # [CLS] 23 [SEP], and 6 of the item's with their [SEP]
    assert np.isfinite(model.score_pairs([reader] * 3, [0, 1, 2])).all()


def test_many_long_titles_of_latin_words(titled):
    model = PairClassifier(**QUICK).fit(titled)
    user = int(titled.test_users[0])
    model._words["titles"] = ["unbelievable adventures of the 2nd kind " * 8] * 60
    model._words["texts"][5] = "登山" * 200
    assert np.isfinite(model.score_pairs([user] * 2, [5, 6])).all()


def test_pair_classifier_runs_and_reranks(taste):
    model = PairClassifier(**QUICK).fit(taste)
    assert len(model.losses) >= 2 and np.isfinite(model.losses).all()
    users = taste.test_users[:3]
    candidates = np.tile(np.arange(5), (3, 1))
    ranked = model.rerank(users, candidates)
    assert (np.sort(ranked, axis=1) == candidates).all()
    few = candidates.copy()
    few[1, 2] = few[1, 4] = -1
    assert (model.rerank(users, few)[1, 3:] == -1).all() and sorted(model.rerank(users, few)[1, :3]) == [0, 1, 3]
    batch = model.tokenize(users, [0, 1, 2])
    assert (batch["token_type_ids"].max(1).values == 1).all()  # two segments, not one raw string


def test_scores_are_the_plain_models(titled, fitted, monkeypatch):
    """In passes by length and with a last layer for [CLS] alone: what the model says of each pair by itself."""
    model, users, items = fitted.classifier, titled.test_users[:8], np.arange(8)
    monkeypatch.setattr(model, "bf16", False)  # the plain model knows nothing of bfloat16
    model._words["texts"][3], kept = "短", model._words["texts"][3]
    with torch.inference_mode():
        logits = [model.model(**model.tokenize([u], [i])).logits[0] for u, i in zip(users, items)]
    made = model.score_pairs(users, items)
    assert made == pytest.approx([float(said[1] - said[0]) for said in logits], abs=1e-5)
    assert "BertLayer" in str(model.model.bert.encoder.layer[-1])  # as it was: it is saved and trained whole
    model.model.config.model_type = "another"
    assert made == pytest.approx(model.score_pairs(users, items), abs=1e-5)
    model.model.config.model_type, model._words["texts"][3] = "bert", kept


def test_a_reader_is_read_once(fitted):
    model, seen = fitted.classifier, []
    tokenizer = model.tokenizer
    model.tokenizer = lambda texts, *rest, **how: seen.append(len(texts)) or tokenizer(texts, *rest, **how)
    model.tokenizer.num_special_tokens_to_add = tokenizer.num_special_tokens_to_add
    one, many = model.tokenize([4], [7]), model.tokenize([3] * 6 + [4], [*range(6), 7])
    model.tokenizer = tokenizer
    assert seen == [1, 1, 2, 7] and one["input_ids"][0].tolist() == many["input_ids"][6].tolist()


def test_two_stages_reorder_the_first_places_and_keep_the_rest(titled, fitted):
    before, after = (recommend(model, titled, 10) for model in (Popularity().fit(titled), fitted))
    assert (np.sort(before[:, :4], axis=1) == np.sort(after[:, :4], axis=1)).all()
    assert (before[:, 4:] == after[:, 4:]).all() and (before[:, :4] != after[:, :4]).any()
    assert (fitted.classifier.rerank(titled.test_users, before[:, :4]) == after[:, :4]).all()


def test_two_fits_are_equal_and_leave_torchs_dice_alone(titled):
    torch.manual_seed(5)
    untouched = torch.rand(3)
    torch.manual_seed(5)
    first = PairClassifier(**QUICK).fit(titled)
    assert torch.equal(torch.rand(3), untouched)
    second = PairClassifier(**QUICK).fit(titled)
    assert first.losses == second.losses
    assert PairClassifier(**QUICK, seed=1).fit(titled).losses != first.losses


def test_saved_and_loaded_it_scores_the_same(titled, fitted, tmp_path):
    fitted.save(tmp_path / "both")
    torch.manual_seed(5)
    loaded = Recommender.load(tmp_path / "both")
    state = torch.get_rng_state()
    torch.manual_seed(5)
    assert torch.equal(state, torch.get_rng_state())
    assert isinstance(loaded, TwoStage) and (loaded.name, loaded.settings()) == (fitted.name, fitted.settings())
    users = titled.test_users[:5]
    assert (loaded.score(users) == fitted.score(users)).all()
    assert loaded.classifier.score(users[:2])[1, 7] == pytest.approx(fitted.classifier.score_pairs([users[1]], [7])[0])
    with pytest.raises(DataError, match="还没有学过"):
        PairClassifier().save(tmp_path / "none")


def test_negatives_from_candidates_and_a_watched_training(titled):
    rows = np.full((titled.n_users, 3), -1)
    rows[:, :2] = [7, 8]
    users, items, labels = PairClassifier(**QUICK)._sample(titled, np.random.default_rng(0), rows)
    assert set(items[labels == 0]) == {7, 8} and not titled.train_matrix[users[labels == 0], items[labels == 0]].any()
    seen = []
    whole = PairClassifier(**QUICK).fit(titled)
    model = PairClassifier(**QUICK)
    model.fit(titled, watch=lambda n: seen.append((n, model.model.training)) or model.score_pairs([0], [1]) is None)
    assert model.losses == whole.losses and [n for n, _ in seen][:2] == [16, 32] and not any(t for _, t in seen)
    assert PairClassifier(**QUICK).fit(titled, watch=lambda n: n >= 32).losses == whole.losses[:2]


def test_fewer_titles_another_split_and_the_lean_way(titled):
    lean = PairClassifier(**QUICK, lean=True, titles=1).fit(titled)
    assert np.isfinite(lean.losses).all() and lean.settings()["lean"] and "BertLayer" in str(lean.model)
    assert lean.model.config.attention_probs_dropout_prob == 0 and not lean.model.training
    user = next(u for u in titled.test_users if 0 not in titled.histories[u])
    text = lean.tokenizer.decode(lean.tokenize([user], [1])["input_ids"][0]).replace(" ", "")
    assert f"第{titled.histories[user][-1]}款" in text and f"第{titled.histories[user][-2]}款" not in text
    before = lean.score_pairs([user], [1])
    inner = titled.inner()  # its likes are others
    assert lean.read(inner).score_pairs([user], [1]) != before == lean.read(titled).score_pairs([user], [1])


def test_settings_say_which_precision_was_used(fitted, monkeypatch):
    monkeypatch.setattr(precision, "has_bf16", lambda device="cpu": True)
    assert PairClassifier().settings()["bf16"] is True and PairClassifier(bf16=False).settings()["bf16"] is False
    parts = fitted.settings()["parts"]
    assert fitted.settings()["depth"] == 4 and [part["name"] for part in parts] == ["热门", "句对分类"]
    assert parts[1]["pairs"] == 48 and parts[1]["model"] == "mini-bert-zh"
    assert fitted.needs == {"text", "model"} and (fitted.cold_items, fitted.new_users) == (False, True)
