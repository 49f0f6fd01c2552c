"""The methods that a report compares, by profile; the last room of the path from text to table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from textrec_utils.baselines import ALS, EASE, HistoryMean, ItemKNN, Popularity, Random, tfidf_vectors
from textrec_utils.cache import Cost, measure
from textrec_utils.encoder import DEFAULT_MODEL, Encoder, center, whiten
from textrec_utils.evaluation import Result, evaluate
from textrec_utils.finetuning import TwoTowerConfig, train_two_tower
from textrec_utils.splits import Split
from textrec_utils.text import Segmenter, user_dictionary
from textrec_utils.word_vectors import document_vectors, item_vectors, train_word2vec

FUSION_WEIGHT = 0.3  # the encoder tower's share, chosen on validation splits of movielens-zh (chapter 06, section 6)

PROFILES = {
    "quick": ("random", "popularity", "itemknn", "ease", "tfidf_char", "bert_center", "two_tower", "two_tower_lexical"),
    "full": (
        "random", "popularity", "itemknn", "ease", "als", "item2vec", "tfidf_word", "tfidf_char", "word2vec_mean",
        "word2vec_idf", "word2vec_sif", "bert_mean", "bert_center", "bert_whiten", "two_tower", "two_tower_lexical",
    ),
}  # fmt: skip
TEXT_METHODS = ("tfidf_word", "tfidf_char", "word2vec_mean", "word2vec_idf", "word2vec_sif", "bert_mean", "bert_center", "bert_whiten", "two_tower", "two_tower_lexical")  # fmt: skip
COLLABORATIVE = ("itemknn", "ease", "als", "item2vec")
NAMES = {
    "random": "随机", "popularity": "热门", "itemknn": "ItemKNN", "ease": "EASE", "als": "ALS", "item2vec": "item2vec",
    "tfidf_word": "TF-IDF（词）", "tfidf_char": "TF-IDF（字）", "word2vec_mean": "word2vec 平均",
    "word2vec_idf": "word2vec IDF 加权", "word2vec_sif": "word2vec SIF", "bert_mean": "BERT 均值池化",
    "bert_center": "BERT 去均值", "bert_whiten": "BERT 白化", "two_tower": "双塔（微调）", "two_tower_lexical": "双塔＋词面（微调）",
}  # fmt: skip


def run_profile(
    split: Split, profile: str, metrics: Sequence[str], *, model: str = DEFAULT_MODEL, prefix: str = "", seed: int = 0,
    two_tower: TwoTowerConfig | None = None, progress: bool = True,
) -> Iterator[Result]:  # fmt: skip
    """Run a profile's methods one by one, each with the whole cost of its vectors. Yields results."""
    if profile not in PROFILES:
        raise ValueError(f"没有方案 {profile}；可用的有 {'、'.join(PROFILES)}。")
    texts = list(split.dataset.items["text"])
    kept: dict[str, object] = {}
    for method in PROFILES[profile]:
        recommender, cost = _build(method, split, texts, kept, model, prefix, seed, two_tower, progress)
        yield evaluate(recommender, split, metrics, name=NAMES[method], cost=cost)


def _build(method, split, texts, kept, model, prefix, seed, two_tower, progress):
    """(recommender, cost so far); `kept` shares tokens, word vectors and text vectors between methods."""
    if method == "random":
        return Random(seed), None
    if method in ("popularity", "itemknn", "ease"):
        return {"popularity": Popularity, "itemknn": ItemKNN, "ease": EASE}[method](), None
    if method == "als":
        return ALS(seed=seed), None
    if method.startswith("two_tower"):
        config = two_tower or TwoTowerConfig(seed=seed)
        tower = train_two_tower(split, config, model, prefix=prefix, progress=progress)
        if method == "two_tower_lexical":
            lexical = replace(config, features="lexical", head="linear", rung="head")
            tower = tower.fuse(train_two_tower(split, lexical, progress=progress), FUSION_WEIGHT)
        return tower.recommender(NAMES[method]), tower.cost
    if method == "item2vec":
        ids = split.dataset.items["item_id"].to_numpy()
        histories = [ids[h].tolist() for h in split.histories if len(h) > 1]
        words = train_word2vec(histories, window=50, min_count=1, epochs=20, ns_exponent=0.5, sample=1e-4, seed=seed)
        return HistoryMean(item_vectors(words, ids), NAMES[method]), words.cost
    if method.startswith("bert"):
        encoded = Encoder(model, prefix=prefix).encode_with_cost(texts, progress=progress)
        transform = {"bert_mean": lambda v: v, "bert_center": center, "bert_whiten": lambda v: whiten(v, strength=0.5)}
        return HistoryMean(transform[method](encoded["vectors"]), NAMES[method]), encoded.cost
    if method == "tfidf_char":
        with measure() as cost:
            vectors = tfidf_vectors(texts)
        return HistoryMean(vectors, NAMES[method]), cost
    if "documents" not in kept:
        with measure() as kept["segmentation"]:
            segment = Segmenter(user_dictionary(split.dataset))
            kept["documents"] = [segment(t) for t in texts]
    documents, segmentation = kept["documents"], kept["segmentation"]
    if method == "tfidf_word":
        with measure() as cost:
            vectors = tfidf_vectors(documents, segment=lambda document: document)
    else:
        words = train_word2vec(documents, seed=seed)
        with measure() as cost:
            vectors = document_vectors(documents, words, method.removeprefix("word2vec_"))
        cost = Cost(cost.seconds + words.cost.seconds, max(cost.peak_mb, words.cost.peak_mb))
    return HistoryMean(vectors, NAMES[method]), Cost(cost.seconds + segmentation.seconds, max(cost.peak_mb, segmentation.peak_mb))
