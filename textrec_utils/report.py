"""What a report compares, on which split, and the sentences that depend on what came out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from textrec_utils.baselines import HistoryMean, Popularity, Random, tfidf_vectors
from textrec_utils.cache import Cost, measure
from textrec_utils.datasets import DataError, Dataset
from textrec_utils.encoder import DEFAULT_MODEL, Encoder, center, whiten
from textrec_utils.evaluation import Result, evaluate
from textrec_utils.finetuning import TwoTower, TwoTowerConfig, train_two_tower
from textrec_utils.hybrids import Given, ZScoreBlend
from textrec_utils.splits import Split, make_split
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
    "hybrid": "融合（双塔合读＋协同）",
}  # fmt: skip

PROFILE_NAMES = {"quick": "快速", "full": "完整"}
SPLIT_NAMES = {"leave_last_out": "留最后一条", "temporal": "按时间", "cold_items": "新物品", "random": "随机"}


def open_split(dataset: Dataset, protocol: str = "auto", *, min_value: float = 0.0, seed: int = 0) -> Split:
    """The split that a report stands on.

    protocol: one of `splits.PROTOCOLS`, or auto: by time for caixin (news), the last liking of each user for other
    data with times, random without. min_value: an interaction of at least this value is a like; 0: the dataset's own
    threshold. Raises DataError where the data don't allow the protocol, or leave a single user to judge by.
    """
    if protocol == "auto":
        timed = "temporal" if dataset.name == "caixin" else "leave_last_out"
        protocol = timed if dataset.has_time else "random"
    split = make_split(dataset, protocol, min_value=min_value or None, seed=seed)
    if len(split.test_users) < 2:
        raise DataError(f"{dataset.name} 只有 1 位能评测的用户，一个人的口味分不出方法的高下；请换一份用户更多的数据，只想要一份推荐列表的话，第 00 章有写法。")
    return split


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
        return _hybrid(split, kept["two_tower_both"], tuned, _both(config), model, prefix, seed, progress)
    if method.startswith("two_tower"):
        if method == "two_tower_both":
            tower = kept[method] = train_two_tower(split, _both(config), model, prefix=prefix, progress=progress)
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


def _both(config: TwoTowerConfig) -> TwoTowerConfig:
    """The same tower, reading the encoder's vectors and the spelling side by side."""
    return replace(config, features="both", rung="head")


def _collaborative(method: str, tuned: Mapping[str, Tuned], seed: int):
    settings = tuned[method].best if method in tuned else {}
    return GRIDS[method][0](**settings, **({"seed": seed} if method == "als" else {}))


def _hybrid(
    split: Split, tower: TwoTower, tuned: Mapping[str, Tuned], config: TwoTowerConfig, model: str, prefix: str, seed: int, progress: bool
):  # fmt: skip
    """The tower that reads both and the collaborative method that is best on validation, z-scores added (chapter 08).

    The tower's share is chosen there too, from a tower trained on the inner training part; the choice is not in the
    cost, the two parts are.
    """
    method = max(tuned, key=lambda name: tuned[name].table.iloc[0, -1])
    inner, everyone = split.inner(), np.arange(split.n_users)
    parts = [train_two_tower(inner, config, model, prefix=prefix, progress=progress).recommender(NAMES["two_tower_both"]), _collaborative(method, tuned, seed)]
    scores = [Given(part.name, part.fit(inner).score(everyone)) for part in parts]
    chosen = tune(lambda w: ZScoreBlend(scores, (w, 1 - w), fit_parts=False), {"w": SHARES}, split, tuned[method].metric).best["w"]
    parts = [tower.recommender(NAMES["two_tower_both"]), _collaborative(method, tuned, seed)]
    return ZScoreBlend(parts, (chosen, 1 - chosen), name=NAMES["hybrid"]), tower.cost


# ---------------------------------------------------------------- sentences


def tie_words(results: Sequence[Result], metric: str) -> str:
    """What to say of the methods that know nothing of new items; "" where popularity itself can tell them apart.

    results: of a split whose candidates are all new, random and popularity among them.
    """
    by_name = {r.method: r for r in results}
    popular, chance = (by_name[NAMES[m]] for m in ("popularity", "random"))
    if (popular.ranked != popular.ranked[0]).any():
        return ""
    same = "、".join(r.method for r in results if np.array_equal(r.ranked, popular.ranked))
    got, luck = popular.mean(metric), chance.mean(metric)
    word = "高一些" if got > luck else "低一些" if got < luck else "正好一样"
    return (
        f"{same}给每件新物品的分数都一样，全是平手，只好照一个与内容无关的固定次序排，人人拿到同一份列表。这份列表的{metric}是{got:.4f}，"
        f"全看排在前面的碰巧是哪几件：可能比随机（每人另抽一份，{luck:.4f}）高，也可能低，这一次{word}，说明不了方法的好坏。"
    )


def cost_words(cost: Cost) -> str:
    """Seconds and megabytes of a method, for a sentence."""
    return f"{f'{cost.seconds:.1f}秒' if cost.seconds >= 0.1 else '不到0.1秒'}、多占{cost.peak_mb:.0f}MB"


def speed_words(text: Cost, other: Cost) -> str:
    """How the text method's time compares with another's: a ratio only where both took a second or more."""
    more = text.seconds - other.seconds
    if abs(more) < 1:
        return "快慢相差不到1秒"
    if min(text.seconds, other.seconds) < 1:
        return f"文本方法{'多' if more > 0 else '少'}用{abs(more):.0f}秒"
    ratio = text.seconds / other.seconds
    if 0.67 < ratio < 1.5:
        return "两者用时差不多"
    return f"文本方法用了约{ratio:.0f}倍的时间" if ratio >= 10 else f"文本方法用了约{ratio:.1f}倍的时间"
