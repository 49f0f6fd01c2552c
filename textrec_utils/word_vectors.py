"""Word vectors (gensim), and three ways from words to a document: mean, IDF weight, SIF."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import numpy as np
from gensim.models import KeyedVectors, Word2Vec
from scipy import sparse

from textrec_utils.core.cost import Cost
from textrec_utils.core.errors import TooLittleData
from textrec_utils.core.files import sha256_of
from textrec_utils.core.store import cached_arrays

WEIGHTINGS = ("mean", "idf", "sif")
# Of item2vec on histories of item ids: what chapter 03 (section 6) chose on validation of movielens-zh.
ITEM2VEC = {
    "dim": 50, "window": 50, "min_count": 1, "epochs": 40, "negative": 5, "sample": 1e-4, "ns_exponent": 0.5
}  # fmt: skip


class WordVectors(KeyedVectors):
    """gensim's vectors by word, with what training them took."""

    def __init__(self, vector_size: int, cost: Cost):
        super().__init__(vector_size)
        self.cost = cost


def train_word2vec(
    sequences: Sequence[Sequence[str]], *, dim: int = 100, window: int = 5, min_count: int = 2, epochs: int = 30,
    negative: int = 10, sample: float = 1e-3, ns_exponent: float = 0.75, seed: int = 0,
) -> WordVectors:  # fmt: skip
    """Skip-gram with negative sampling (Mikolov et al. 2013) on token sequences.

    One worker and a hash that does not depend on PYTHONHASHSEED, so that two runs give the same
    vectors. Also item2vec (Barkan & Koenigstein 2016): pass histories of item ids, with a window
    as long as a history and ns_exponent between −1 and 1.
    Raises TooLittleData where no word occurs min_count times.
    """
    counts = Counter(t for s in sequences for t in s)
    if not counts or max(counts.values()) < min_count:
        raise TooLittleData(f"没有出现至少 {min_count} 次的词，无法训练；请给更多文本或调低 min_count。")
    key = {
        "sequences": sha256_of(json.dumps([list(s) for s in sequences]).encode()), "dim": dim, "window": window,
        "min_count": min_count, "epochs": epochs, "negative": negative, "sample": sample,
        "ns_exponent": ns_exponent, "seed": seed,
    }  # fmt: skip

    def compute():
        model = Word2Vec(
            [list(s) for s in sequences], vector_size=dim, window=window, min_count=min_count, epochs=epochs, sg=1,
            negative=negative, sample=sample, ns_exponent=ns_exponent, seed=seed, workers=1, hashfxn=_stable_hash,
        )  # fmt: skip
        words = json.dumps(model.wv.index_to_key).encode()
        return {"vectors": model.wv.vectors, "words": np.frombuffer(words, dtype=np.uint8)}

    kept = cached_arrays("word2vec", key, compute)
    vectors = WordVectors(dim, kept.cost)
    words = json.loads(kept["words"].tobytes())
    vectors.add_vectors(words, kept["vectors"])
    for word in words:
        vectors.set_vecattr(word, "count", counts[word])
    return vectors


def _stable_hash(text: str) -> int:
    return int(sha256_of(text.encode())[:8], 16)


def document_vectors(documents: Sequence[Sequence[str]], vectors: KeyedVectors, weighting: str = "mean") -> np.ndarray:
    """(documents, dim) float32; a document without a known word is the zero vector.

    weighting:
        mean: every occurrence counts the same.
        idf: log((N + 1) / (df + 1)) + 1 per occurrence (scikit-learn's smooth IDF).
        sif: a / (a + p(w)) with a = 1e-3, then the first principal direction is taken out
            (Arora, Liang & Ma 2017).
    """
    if weighting not in WEIGHTINGS:
        raise ValueError(f"没有加权方式 {weighting!r}；可用的有 {'、'.join(WEIGHTINGS)}。")
    frequency = Counter(w for d in documents for w in d)
    document_frequency = Counter(w for d in documents for w in set(d))
    total, n = sum(frequency.values()), len(documents)

    def weight(word: str) -> float:
        if weighting == "mean":
            return 1.0
        if weighting == "idf":
            return float(np.log((n + 1) / (document_frequency[word] + 1)) + 1)
        return 1e-3 / (1e-3 + frequency[word] / total)

    known = [[vectors.key_to_index[w] for w in document if w in vectors.key_to_index] for document in documents]
    rows, words = np.repeat(np.arange(n), [len(k) for k in known]), np.concatenate([*known, []]).astype(np.int64)
    weights = np.array([weight(w) for w in vectors.index_to_key])[words]
    shares = weights / np.bincount(rows, weights, minlength=n)[rows]
    out = sparse.csr_matrix((shares, (rows, words)), shape=(n, len(vectors))) @ vectors.vectors
    out = out.astype(np.float32)
    if weighting == "sif":
        _, _, directions = np.linalg.svd(out, full_matrices=False)
        out -= np.outer(out @ directions[0], directions[0])
    return out


def item_vectors(vectors: KeyedVectors, item_ids: Sequence[str]) -> np.ndarray:
    """(items, dim): item2vec vectors in catalogue order; items never seen in training are zero."""
    out = np.zeros((len(item_ids), vectors.vector_size), dtype=np.float32)
    for row, item in enumerate(item_ids):
        if item in vectors:
            out[row] = vectors[item]
    return out
