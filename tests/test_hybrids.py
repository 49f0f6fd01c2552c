"""Fusions: the formulas by hand, and sense on real data."""

import numpy as np
import pytest
from scipy import sparse

from textrec_utils.baselines import EASE, HistoryMean, Popularity, Recommender, tfidf_vectors
from textrec_utils.evaluation import evaluate
from textrec_utils.hybrids import NewcomerPlaces, ReciprocalRankFusion, ZScoreBlend
from textrec_utils.splits import make_split


class Fixed(Recommender):
    """Scores that are given."""

    def __init__(self, name, scores):
        self.name, self._scores, self.fitted = name, np.asarray(scores, dtype=np.float32), 0

    def fit(self, split):
        self.fitted += 1
        return self

    def score(self, users):
        return self._scores[users]


class Half:
    """What a fusion asks of a split: candidates, and what was seen."""

    candidates = np.array([True, True, True, False])
    train_matrix = sparse.csr_matrix((2, 4))


class Seen(Half):
    """The same, but the first user has had item 0."""

    train_matrix = sparse.csr_matrix(np.array([[1, 0, 0, 0], [0, 0, 0, 0]]))


A = Fixed("甲", [[3, 2, 1, 100], [0, 0, 0, 0]])
B = Fixed("乙", [[10, 30, 20, 5], [1, 2, 3, 4]])


def test_z_scores_by_hand():
    blend = ZScoreBlend([A, B], [1, 2]).fit(Half())
    # 甲: (1.2247, 0, −1.2247); 乙: (−1.2247, 1.2247, 0), counted twice
    assert blend.score(np.array([0]))[0, :3] == pytest.approx([-1.224745, 2.449490, -1.224745], abs=1e-5)
    alone = ZScoreBlend([B], [2]).fit(Half())  # 甲 can't tell the second user's items apart: it adds nothing
    assert blend.score(np.array([1])) == pytest.approx(alone.score(np.array([1])))
    assert blend.name == "甲＋乙" and blend.settings()["weights"] == [1.0, 2.0]


def test_reciprocal_ranks_by_hand():
    fusion = ReciprocalRankFusion([A, B], constant=60).fit(Half())
    first = fusion.score(np.array([0]))[0, :3]
    assert first == pytest.approx([0.0322665, 0.0325225, 0.0320020], abs=1e-7)  # ranks 1 2 3 and 3 1 2: 1/61 + 1/63, …
    second = fusion.score(np.array([1]))[0, :3]  # ties share rank 2
    assert second == pytest.approx([0.0320020, 0.0322581, 0.0325225], abs=1e-7)


def test_what_was_seen_takes_no_rank():
    first = ReciprocalRankFusion([A, B], constant=60).fit(Seen()).score(np.array([0]))[0]
    assert first[1:3] == pytest.approx([2 / 61, 2 / 62], abs=1e-7)
    blend = ZScoreBlend([A]).fit(Seen()).score(np.array([0]))[0]
    assert blend[1:3] == pytest.approx([1, -1], abs=1e-5)  # (2, 1) less their mean, over their deviation


def test_scale_does_not_matter():
    users = np.array([0, 1])
    loud = Fixed("响", B.score(users) * 1000 + 7)
    for kind in (ZScoreBlend, ReciprocalRankFusion):
        assert kind([A, loud]).fit(Half()).score(users) == pytest.approx(
            kind([A, B]).fit(Half()).score(users), abs=1e-4
        )


def test_parts_are_fitted_only_where_asked():
    part = Fixed("丙", [[1, 2, 3, 4]])
    ZScoreBlend([part], fit_parts=False).fit(Half())
    assert part.fitted == 0
    ZScoreBlend([part]).fit(Half())
    assert part.fitted == 1
    with pytest.raises(ValueError, match="1 个权重"):
        ZScoreBlend([A, B], [1])
    with pytest.raises(ValueError, match="至少要有一个"):
        ReciprocalRankFusion([])


def test_on_new_items_the_fusion_is_the_text(movielens):
    """Collaborative scores of items without interactions are all equal: what remains is the text's order."""
    split = make_split(movielens, "cold_items")
    text = HistoryMean(tfidf_vectors(list(movielens.items["text"])), "TF-IDF")
    alone = evaluate(text, split, ["ndcg@10"])
    for fusion in (ZScoreBlend([EASE(), text]), ReciprocalRankFusion([Popularity(), text])):
        assert evaluate(fusion, split, ["ndcg@10"]).mean("ndcg@10") == pytest.approx(alone.mean("ndcg@10"), abs=1e-3)


class Arrived(Half):
    """Items 3 and 4 have just come; of four users one has liked nothing, one item 0, two items 0 and 1."""

    candidates = np.ones(6, dtype=bool)
    train_matrix = sparse.csr_matrix(np.array([[0] * 6, [1, 0, 0, 0, 0, 0], *[[1, 1, 0, 0, 0, 0]] * 2]))
    cold = np.array([False, False, False, True, True, False])


def order(model, user):
    scores = model.score(np.array([user]))[0]
    unseen = Arrived.train_matrix[[user]].toarray()[0] == 0
    return [i for i in np.argsort(-scores, kind="stable").tolist() if unseen[i]]


def test_newcomers_have_the_last_places_of_those_who_have_liked_most():
    ranks = Fixed("甲", [[6, 5, 4, 0.1, 0.2, 3]] * 4)
    model = NewcomerPlaces([ranks], after=0, over=0.5, most=3, k=3).fit(Arrived())
    assert model.places(np.arange(4)).tolist() == [0, 0, 2, 2]  # a third has liked less than they: 3 · (1/3) / 0.5 = 2
    assert order(model, 0) == [0, 1, 2, 5, 4, 3]  # no place: newcomers at the end, the better one first
    assert order(model, 2) == [2, 4, 3, 5]
    one = NewcomerPlaces([ranks], after=0, over=1, most=3, k=3).fit(Arrived())
    assert one.places(np.arange(4)).tolist() == [0, 0, 1, 1] and order(one, 2) == [2, 5, 4, 3]
    assert NewcomerPlaces([ranks], after=0.5, over=0.2, most=3).fit(Arrived()).places(np.arange(4)).tolist() == [0] * 4
    other = Fixed("乙", [[0, 0, 0, 2, 1, 0]] * 4)
    both = NewcomerPlaces([ranks, other], after=0, over=0.5, most=3, k=3).fit(Arrived())
    assert order(both, 2) == [2, 3, 4, 5] and both.settings()["parts"][1]["name"] == "乙"
    given = NewcomerPlaces([ranks], new=np.eye(6, dtype=bool)[5], after=0, over=0.5, most=3, k=3).fit(Arrived())
    assert order(given, 2) == [2, 4, 5, 3]  # one newcomer can't fill two places: it has the last
    for wrong in ({"over": 0}, {"after": 1}, {"most": 11}):
        with pytest.raises(ValueError, match="over 大于 0"):
            NewcomerPlaces([ranks], **wrong)


def test_where_nothing_is_new_or_all_is_the_order_stays(taste):
    ease = EASE().fit(taste)
    plain = evaluate(ease, taste, ["ndcg@5"], fit=False).ranked
    for new in (np.zeros(taste.n_items, dtype=bool), np.ones(taste.n_items, dtype=bool)):
        model = NewcomerPlaces([ease], new=new, after=0, over=0.1, most=5, k=5, fit_parts=False).fit(taste)
        assert (evaluate(model, taste, ["ndcg@5"], fit=False).ranked == plain).all()
