"""Top-k equals a full sort on any scores; seen items, ties, faiss, variety, explanations."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from textrec_utils import ranking
from textrec_utils.baselines import HistoryMean, unit_rows
from textrec_utils.ranking import as_lines, dot_top_k, explain, faiss_top_k, mmr, recommend, top_k

odd = (st.just(-np.inf), st.just(np.inf), st.just(0.0), st.just(-0.0))
values = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6, width=32), *odd)


@settings(max_examples=200, deadline=None)
@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 12)), elements=values), st.integers(1, 14))
def test_equals_a_full_sort(scores, k):
    full = np.argsort(-(scores + 0.0), axis=1, kind="stable")[:, :k]  # stable: ties to the lower index
    full = np.where(np.isneginf(np.take_along_axis(scores, full, 1)), -1, full)
    full = np.pad(full, ((0, 0), (0, k - full.shape[1])), constant_values=-1)
    assert (top_k(scores, k) == full).all()


def test_articles_slice_is_wrong():
    scores = np.array([0.1, 0.9, 0.5, 0.7])
    assert top_k(scores, 2).tolist() == [[1, 3]]
    assert np.argsort(scores)[:-2][::-1].tolist() == [2, 0]  # the two worst, not the two best


def test_exclusion_and_refusals():
    seen = sparse.csr_matrix(np.array([[0, 1, 0, 0]]))
    assert top_k(np.array([[1.0, 9, 3, 2]]), 4, seen).tolist() == [[2, 3, 0, -1]]
    with pytest.raises(ValueError, match="NaN"):
        top_k(np.array([[np.nan, 1]]), 1)
    with pytest.raises(ValueError, match="k 至少是 1"):
        top_k(np.ones((1, 2)), 0)


def test_input_is_left_alone():
    scores = np.ones((1, 3), dtype=np.float32)
    top_k(scores, 2, sparse.csr_matrix(np.array([[1, 0, 0]])))
    assert (scores == 1).all()


def test_blocks_and_faiss_agree():
    rng = np.random.default_rng(0)
    users, items = rng.standard_normal((70, 16)).astype(np.float32), rng.standard_normal((300, 16)).astype(np.float32)
    ours, scores = dot_top_k(users, items, 9, block=32)
    theirs, their_scores = faiss_top_k(users, items, 9)
    assert (ours == theirs).all() and scores == pytest.approx(their_scores, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float32, (5, 2), elements=st.integers(-3, 3).map(float)),
    hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(2)), elements=st.integers(-3, 3).map(float)),
    st.integers(1, 9),
)
def test_search_in_blocks_of_items_is_exact(users, items, k):
    """Whole numbers, so that ties are many and products exact; three or four items a block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "ITEMS", 4)
        found, scores = dot_top_k(users, items, k, block=3)
    wanted = top_k(users @ items.T, k)
    assert (found == wanted).all()
    whole = np.take_along_axis(users @ items.T, np.maximum(wanted, 0), 1)
    assert (scores == np.where(wanted < 0, -np.inf, whole)).all()


def test_a_nan_in_a_late_block_is_refused(monkeypatch):
    monkeypatch.setattr(ranking, "ITEMS", 4)
    items = np.ones((10, 2), dtype=np.float32)
    items[9, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        dot_top_k(np.ones((2, 2)), items, 3)


def test_what_ranking_needs_beside_the_scores_is_small():
    """45 bytes a score it was."""
    scores = np.random.default_rng(0).integers(0, 9, (4096, 500)).astype(np.float32)  # many ties
    for exclude in (None, sparse.csr_matrix(scores == 8)):
        tracemalloc.start()
        found = top_k(scores, 20, exclude)
        assert tracemalloc.get_traced_memory()[1] < 0.7 * scores.nbytes
        tracemalloc.stop()
    wanted = np.argsort(-np.where(scores == 8, -np.inf, scores), axis=1, kind="stable")[:, :20]
    assert (found == wanted).all()  # in many blocks of rows


def test_more_asked_for_than_there_are():
    users, items = np.array([[1.0, 0]]), np.array([[2.0, 0], [3, 0]])
    found, scores = dot_top_k(users, items, 4)  # the last item's score stood where no item is
    assert found.tolist() == [[1, 0, -1, -1]] and scores.tolist() == [[3, 2, -np.inf, -np.inf]]
    assert faiss_top_k(users, items, 4)[0].tolist() == found.tolist()


def test_recommend_needs_no_full_matrix(leave_last_out):
    vectors = np.random.default_rng(0).standard_normal((leave_last_out.n_items, 8)).astype(np.float32)
    asked = []

    class Watched(HistoryMean):
        def score(self, users):
            asked.append(len(users))
            return super().score(users)

    model = Watched(vectors, "x").fit(leave_last_out)
    users = leave_last_out.test_users[:50]
    in_blocks = recommend(model, leave_last_out, 5, users, block=7)
    assert asked == [7] * 7 + [1]
    assert (in_blocks == recommend(model, leave_last_out, 5, users)).all() and asked[-1] == 50


def test_mmr():
    vectors = unit_rows(np.array([[1, 0], [1, 0.01], [0, 1.0]]))
    scores = np.array([1.0, 0.99, 0.5])
    assert mmr(scores, vectors, 2, trade_off=1.0).tolist() == [0, 1]
    assert mmr(scores, vectors, 2, trade_off=0.3).tolist() == [0, 2]
    for trade_off in (0.0, 0.9, 1.0):  # with 0 the barred item came three times: 0 · −inf is no number
        assert mmr(np.array([1.0, -np.inf, 0.5]), vectors, 3, trade_off).tolist() == [0, 2]
    assert mmr(np.array([0.5, 0.5, 0.5]), vectors, 3, 0.0).tolist() == [0, 2, 1]
    assert mmr(np.full(3, -np.inf), vectors, 3).tolist() == []
    with pytest.raises(ValueError, match="trade_off"):
        mmr(scores, vectors, 2, 2.0)


def test_explanation_adds_up(leave_last_out):
    vectors = unit_rows(np.random.default_rng(0).standard_normal((leave_last_out.n_items, 8)))
    user = leave_last_out.test_users[0]
    history = leave_last_out.histories[user]
    parts = explain(7, history, vectors, n=len(history))
    score = HistoryMean(vectors, "x", normalize=False).fit(leave_last_out).score(np.array([user]))[0, 7]
    assert sum(p for _, p in parts) == pytest.approx(score, abs=1e-5)
    assert [p for _, p in parts] == sorted((p for _, p in parts), reverse=True)


def test_lines_as_in_the_article(movielens):
    row = movielens.items.index[movielens.items["item_id"] == "1"][0]
    assert as_lines(movielens.items, np.array([row, -1])) == ["物品1: 玩具总动员"]
