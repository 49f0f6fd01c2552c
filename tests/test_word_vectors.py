"""word2vec repeats, and document vectors equal their formulas."""

import numpy as np
import pytest

from textrec_utils.core import Cost
from textrec_utils.word_vectors import WordVectors, document_vectors, item_vectors, train_word2vec

DOCUMENTS = [
    ["外星人", "飞船", "地球"], ["侦探", "凶手", "侦探"], ["外星人", "入侵", "地球"], ["凶手", "线索"],
] * 8  # fmt: skip


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


@pytest.mark.parametrize("other", [
    {"dim": 9}, {"window": 4}, {"min_count": 3}, {"epochs": 2}, {"negative": 9}, {"sample": 1e-2}, {"ns_exponent": 0.5},
    {"seed": 1}, {"sequences": DOCUMENTS[::-1]}, {"sequences": [[*DOCUMENTS[0], *DOCUMENTS[1]], *DOCUMENTS[2:]]},
])  # fmt: skip
def test_whatever_the_vectors_depend_on_makes_new_ones(other, tmp_path):
    settings = {"sequences": DOCUMENTS, "dim": 8, "epochs": 1}
    for given in (settings, settings, settings | other):
        train_word2vec(**given)
    assert len(list((tmp_path / "word2vec").glob("*.safetensors"))) == 2


def test_words_may_hold_any_character():
    odd = [["a\1b", "换\n行", "z"], ["a\1b", "换\n行", "z"]] * 3
    split = [["a", "b", "换\n行", "z"], ["a", "b", "换\n行", "z"]] * 3
    for sequences in (odd, odd, split):
        assert set(train_word2vec(sequences, dim=4, epochs=1).index_to_key) == {w for s in sequences for w in s}


def test_vectors_carry_what_they_took():
    first, kept = (train_word2vec(DOCUMENTS, dim=8, epochs=1).cost for _ in range(2))
    assert first.seconds > 0 and (first + kept).seconds == first.seconds and list(first.by_stage()) == ["train"]


def test_document_vectors_by_hand():
    vectors = WordVectors(2, Cost())
    vectors.add_vectors(["侦探", "凶手"], np.array([[1, 0], [0, 1]], dtype=np.float32))
    mean = document_vectors([["侦探", "凶手", "侦探", "不在词表"]], vectors)
    assert mean[0] == pytest.approx([2 / 3, 1 / 3], abs=1e-6)
    documents = [["侦探", "凶手"], ["侦探"]]
    # idf: 凶手 is in 1 of 2 documents, ln(3/2) + 1 = 1.405465; 侦探 in both, ln(3/3) + 1 = 1.
    idf = document_vectors(documents, vectors, "idf")
    assert idf == pytest.approx(np.array([[0.415720, 0.584280], [1, 0]]), abs=1e-6)
    # sif: 侦探 makes 2 of 3 words, 0.001 / (0.001 + 2/3) = 0.00149775; 凶手 one, 0.001 / (0.001 + 1/3) = 0.00299103.
    # The rows are (0.333667, 0.666333) and (1, 0) before their strongest direction is taken out.
    sif = document_vectors(documents, vectors, "sif")
    assert sif == pytest.approx(np.array([[-0.156746, 0.517911], [0.083911, -0.277254]]), abs=1e-5)


def test_empty_documents_are_zero():
    vectors = train_word2vec(DOCUMENTS, dim=8, epochs=1)
    assert (document_vectors([[], ["不认识"]], vectors) == 0).all()
    assert (item_vectors(vectors, ["没有"]) == 0).all()


def test_refusals():
    with pytest.raises(ValueError, match="无法训练"):
        train_word2vec([["一次"]], min_count=2)
    with pytest.raises(ValueError, match="没有加权方式"):
        document_vectors(DOCUMENTS, train_word2vec(DOCUMENTS, dim=4, epochs=1), "max")
