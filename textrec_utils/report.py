"""The methods that a report compares, by profile; the last room of the path from text to table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from textrec_utils.baselines import HistoryMean, Popularity, Random, tfidf_vectors
from textrec_utils.cache import Cost, measure
from textrec_utils.encoder import DEFAULT_MODEL, Encoder, center, whiten
from textrec_utils.evaluation import Result, evaluate
from textrec_utils.finetuning import TwoTower, TwoTowerConfig, train_two_tower
from textrec_utils.hybrids import Given, ZScoreBlend
from textrec_utils.splits import Split
from textrec_utils.text import Segmenter, user_dictionary
from textrec_utils.tuning import GRIDS, Tuned, tune
from textrec_utils.word_vectors import document_vectors, item_vectors, train_word2vec

FUSION_WEIGHT = 0.3  # the encoder tower's share, chosen on validation splits of movielens-zh (chapter 06, section 6)

PROFILES = {
    "quick": ("random", "popularity", "itemknn", "ease", "tfidf_char", "bert_center", "two_tower", "two_tower_lexical", "two_tower_both"),
    "full": (
        "random", "popularity", "itemknn", "ease", "als", "item2vec", "tfidf_word", "tfidf_char", "word2vec_mean",
        "word2vec_idf", "word2vec_sif", "bert_mean", "bert_center", "bert_whiten", "two_tower", "two_tower_lexical", "two_tower_both", "hybrid",
    ),
}  # fmt: skip
TEXT_METHODS = ("tfidf_word", "tfidf_char", "word2vec_mean", "word2vec_idf", "word2vec_sif", "bert_mean", "bert_center", "bert_whiten", "two_tower", "two_tower_lexical", "two_tower_both")  # fmt: skip
COLLABORATIVE = ("itemknn", "ease", "als", "item2vec")
TUNED = ("itemknn", "ease", "als")  # the baselines whose settings are chosen on validation
SHARES = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]  # of the tower in the hybrid
NAMES = {
    "random": "随机", "popularity": "热门", "itemknn": "ItemKNN", "ease": "EASE", "als": "ALS", "item2vec": "item2vec",
    "tfidf_word": "TF-IDF（词）", "tfidf_char": "TF-IDF（字）", "word2vec_mean": "word2vec 平均",
    "word2vec_idf": "word2vec IDF 加权", "word2vec_sif": "word2vec SIF", "bert_mean": "BERT 均值池化",
    "bert_center": "BERT 去均值", "bert_whiten": "BERT 白化", "two_tower": "双塔（微调）", "two_tower_lexical": "双塔＋词面（微调）", "two_tower_both": "双塔合读（微调）",
    "hybrid": "融合（双塔＋协同）",
}  # fmt: skip


def tune_baselines(split: Split, profile: str, metric: str, *, budget: int = 12, seed: int = 0) -> dict[str, Tuned]:
    """Settings of the profile's collaborative baselines, each chosen on validation from at most `budget`.

    Raises DataError where the training part is too small to be split once more.
    """
    return {method: tune(*GRIDS[method], split, metric, budget=budget, seed=seed) for method in TUNED if method in PROFILES[profile]}


def run_profile(
    split: Split, profile: str, metrics: Sequence[str], *, model: str = DEFAULT_MODEL, prefix: str = "", seed: int = 0,
    two_tower: TwoTowerConfig | None = None, tuned: Mapping[str, Tuned] | None = None, progress: bool = True,
) -> Iterator[Result]:  # fmt: skip
    """Run a profile's methods one by one, each with the whole cost of its vectors. Yields results.

    tuned: from `tune_baselines`; without it the baselines run with their defaults, and no hybrid is made, since
    its weight can't be chosen. What tuning took is not in the costs: no method's is.
    """
    if profile not in PROFILES:
        raise ValueError(f"没有方案 {profile}；可用的有 {'、'.join(PROFILES)}。")
    texts = list(split.dataset.items["text"])
    kept: dict[str, object] = {}
    for method in PROFILES[profile]:
        if method == "hybrid" and not tuned:
            continue
        recommender, cost = _build(method, split, texts, kept, model, prefix, seed, two_tower or TwoTowerConfig(seed=seed), tuned or {}, progress)
        yield evaluate(recommender, split, metrics, name=NAMES[method], cost=cost)


def _build(method, split, texts, kept, model, prefix, seed, config, tuned, progress):
    """(recommender, cost so far); `kept` shares tokens, word vectors and text vectors between methods."""
    if method == "random":
        return Random(seed), None
    if method == "popularity":
        return Popularity(), None
    if method in TUNED:
        return _collaborative(method, tuned, seed), None
    if method == "hybrid":
        return _hybrid(split, kept["two_tower"], tuned, config, model, prefix, seed, progress)
    if method.startswith("two_tower"):
        if method == "two_tower_both":
            tower = train_two_tower(split, replace(config, features="both", rung="head"), model, prefix=prefix, progress=progress)
            return tower.recommender(NAMES[method]), tower.cost
        tower = kept["two_tower"] = train_two_tower(split, config, model, prefix=prefix, progress=progress)
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


def _collaborative(method: str, tuned: Mapping[str, Tuned], seed: int):
    settings = tuned[method].best if method in tuned else {}
    return GRIDS[method][0](**settings, **({"seed": seed} if method == "als" else {}))


def _hybrid(
    split: Split, tower: TwoTower, tuned: Mapping[str, Tuned], config: TwoTowerConfig, model: str, prefix: str, seed: int, progress: bool
):  # fmt: skip
    """The tower and the collaborative method that is best on validation, their z-scores added (chapter 08).

    The tower's share is chosen there too, from a tower trained on the inner training part; the choice is not in the
    cost, the two parts are.
    """
    method = max(tuned, key=lambda name: tuned[name].table.iloc[0, -1])
    inner, everyone = split.inner(), np.arange(split.n_users)
    parts = [train_two_tower(inner, config, model, prefix=prefix, progress=progress).recommender(NAMES["two_tower"]), _collaborative(method, tuned, seed)]
    scores = [Given(part.name, part.fit(inner).score(everyone)) for part in parts]
    chosen = tune(lambda w: ZScoreBlend(scores, (w, 1 - w), fit_parts=False), {"w": SHARES}, split, tuned[method].metric).best["w"]
    parts = [tower.recommender(NAMES["two_tower"]), _collaborative(method, tuned, seed)]
    return ZScoreBlend(parts, (chosen, 1 - chosen), name=NAMES["hybrid"]), tower.cost
