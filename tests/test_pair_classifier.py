"""The pair classifier gets two segments, hides the answer, and only reorders."""

import numpy as np

from textrec_utils.pair_classifier import PairClassifier, user_text


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
