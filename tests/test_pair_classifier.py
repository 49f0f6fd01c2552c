"""The pair classifier gets two segments, hides the answer, and only reorders."""

import numpy as np

from textrec_utils.baselines import Popularity
from textrec_utils.pair_classifier import PairClassifier, TwoStage, user_text
from textrec_utils.ranking import recommend


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
    few = candidates.copy()
    few[1, 2] = few[1, 4] = -1
    assert (model.rerank(users, few)[1, 3:] == -1).all() and sorted(model.rerank(users, few)[1, :3]) == [0, 1, 3]
    batch = model.tokenize(users, [0, 1, 2])
    assert (batch["token_type_ids"].max(1).values == 1).all()  # two segments, not one raw string


def test_two_stages_reorder_the_first_places_and_keep_the_rest(taste):
    popular = Popularity()
    both = TwoStage(popular, PairClassifier(pairs=48, batch_size=16, max_length=32), depth=4).fit(taste)
    before, after = (recommend(model, taste, 10) for model in (popular, both))
    assert (np.sort(before[:, :4], axis=1) == np.sort(after[:, :4], axis=1)).all()
    assert (before[:, 4:] == after[:, 4:]).all() and (before[:, :4] != after[:, :4]).any()
    assert (both.classifier.rerank(taste.test_users, before[:, :4]) == after[:, :4]).all()
