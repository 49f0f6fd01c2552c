"""word2vec repeats, and document vectors equal their formulas."""

import numpy as np
import pytest

from textrec_utils.word_vectors import document_vectors, item_vectors, train_word2vec

DOCUMENTS = [["外星人", "飞船", "地球"], ["侦探", "凶手", "侦探"], ["外星人", "入侵", "地球"], ["凶手", "线索"]] * 8


@pytest.fixture(autouse=True)
def fresh_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path))


def test_two_runs_give_the_same_vectors(monkeypatch, tmp_path):
    first = train_word2vec(DOCUMENTS, dim=8, epochs=3)
    kept = train_word2vec(DOCUMENTS, dim=8, epochs=3)
    monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path / "other"))
    again = train_word2vec(DOCUMENTS, dim=8, epochs=3)
    assert (first["地球"] == again["地球"]).all() and (first["地球"] == kept["地球"]).all()
    assert first.index_to_key == again.index_to_key == kept.index_to_key


def test_document_vectors_by_hand():
    vectors = train_word2vec(DOCUMENTS, dim=8, epochs=1)
    mean = document_vectors([["侦探", "凶手", "侦探", "不在词表"]], vectors)
    assert mean[0] == pytest.approx((2 * vectors["侦探"] + vectors["凶手"]) / 3, abs=1e-6)
    documents = [["侦探", "凶手"], ["侦探"]]
    idf = {w: np.log(3 / (df + 1)) + 1 for w, df in (("侦探", 2), ("凶手", 1))}
    expected = (idf["侦探"] * vectors["侦探"] + idf["凶手"] * vectors["凶手"]) / sum(idf.values())
    assert document_vectors(documents, vectors, "idf")[0] == pytest.approx(expected, abs=1e-6)
    sif = document_vectors(DOCUMENTS, vectors, "sif")
    assert np.linalg.svd(sif)[1][-1] < 1e-4 and sif.shape == (32, 8)


def test_empty_documents_are_zero():
    vectors = train_word2vec(DOCUMENTS, dim=8, epochs=1)
    assert (document_vectors([[], ["不认识"]], vectors) == 0).all()
    assert (item_vectors(vectors, ["没有"]) == 0).all()


def test_refusals():
    with pytest.raises(ValueError, match="无法训练"):
        train_word2vec([["一次"]], min_count=2)
    with pytest.raises(ValueError, match="没有加权方式"):
        document_vectors(DOCUMENTS, train_word2vec(DOCUMENTS, dim=4, epochs=1), "max")
