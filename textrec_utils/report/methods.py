"""The methods of the report, one entry each: what is added here appears in tables, figures and `textrec report -h`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch

from textrec_utils.baselines.base import Recommender
from textrec_utils.baselines.bm25 import BM25
from textrec_utils.baselines.content import HistoryMean, tfidf_vectors
from textrec_utils.baselines.ease import EASEWithText, needed_bytes
from textrec_utils.baselines.simple import Popularity, Random
from textrec_utils.core.cost import Cost, measure
from textrec_utils.core.errors import TooLittleData
from textrec_utils.core.processes import side_by_side
from textrec_utils.core.store import Cached
from textrec_utils.encoder.encoder import Encoder
from textrec_utils.encoder.loading import DEFAULT_MODEL
from textrec_utils.encoder.space import center, whiten
from textrec_utils.finetuning.config import TwoTowerConfig
from textrec_utils.finetuning.features import untrained
from textrec_utils.finetuning.result import TwoTower
from textrec_utils.finetuning.train import train_two_tower
from textrec_utils.finetuning.trainer import NotKept
from textrec_utils.hybrids import ZScoreBlend
from textrec_utils.report.own_tower import OwnTower
from textrec_utils.splits import Split
from textrec_utils.text import Segmenter, user_dictionary
from textrec_utils.tuning import GRIDS, Tuned, tune, tune_half_life
from textrec_utils.word_vectors import ITEM2VEC, document_vectors, item_vectors, train_word2vec

PROFILES = {"quick": "快速", "full": "完整"}
KINDS = {"non-personal": "非个性化方法", "behaviour": "协同方法", "text": "文本方法", "both": "合用文本和行为的方法"}
NEEDS = {
    "text": "物品没有文字",
    "time": "数据没有时间",
    "tuning": "协同方法没有调参",
    "budget": "budget是0",
}  # and what is said without
FUSION_WEIGHT = 0.3  # the encoder tower's share, chosen on validation splits of movielens-zh (chapter 06b, section 3)
WORD2VEC = {n: p.default for n, p in inspect.signature(train_word2vec).parameters.items() if p.default is not p.empty}
WEIGHTS = [3.0, 10.0, 30.0, 100.0, 300.0]  # of the texts beside the likes in EASE
TOWERS: dict[str, dict[str, str]] = {  # by method that adds it, what is not as the course's towers have it
    "two_tower": {},
    "two_tower_lexical": {"features": "lexical", "head": "linear", "rung": "head"},
    "two_tower_both": {"features": "both", "rung": "head"},
}
MANY = 10_000  # training likes from which another process is worth its start
SHARES = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]  # of the tower in the hybrid


@dataclass
class Workshop:
    """What methods are built from on one split; what several of them need is made once, when it is first asked for.

    tuned: settings chosen on validation, by method; without them the defaults. two_tower: settings of the towers.
    metric: what validation goes by. inner: the same on `split.inner()`, where methods that `fade` choose the half-life
    of the history; without it they weigh it evenly. chosen: by method, what building it chose. budget: of trainings.
    """

    split: Split
    model: str = DEFAULT_MODEL
    prefix: str = ""
    seed: int = 0
    tuned: Mapping[str, Tuned] = field(default_factory=dict)
    two_tower: TwoTowerConfig | None = None
    metric: str = "ndcg@10"
    inner: Workshop | None = None
    chosen: dict[str, Tuned] = field(default_factory=dict)
    budget: int = 0

    def __post_init__(self):
        self.texts = list(self.split.dataset.items["text"])

    def lacking(self, needs: Iterable[str]) -> list[str]:
        """Which of these needs, of a method or of a recommender, are not met. An encoder there always is."""
        met = {"text": any(map(str.strip, self.texts)), "time": self.split.dataset.has_time}
        met |= {"tuning": self.tuned, "budget": self.budget}
        return sorted(need for need in needs if not (met | {"model": True}).get(need))

    def build(self, method: Method) -> Recommender:
        """The method's recommender; one that fades and has no grid hears its history by the half-life that is best on
        the first inner split. What `chosen` holds already is not chosen anew. Raises TooLittleData where building it,
        or the recommender itself, needs what is not there."""
        self._refuse(method.needs)
        made = method.build(self)
        self._refuse(made.needs)
        if self.inner and made.fades and not (method.grid or method.key in self.chosen):
            tried = method.build(self.inner)

            found = tune_half_life(lambda: tried, self.split, self.metric, validations=1)
            self.chosen[method.key] = replace(found, cost=found.cost + tried.cost.beyond(made.cost, "train"))
        if method.key in self.chosen and "half_life" in self.chosen[method.key].best:
            made.half_life = self.half_life(method.key)
        return made

    def half_life(self, key: str) -> float | None:
        """Of a method that fades and has no grid; chosen now where it wasn't before."""
        if self.inner and key not in self.chosen:
            self.build(METHODS[key])
        return self.chosen[key].best["half_life"] if key in self.chosen else None

    def _refuse(self, needs: Iterable[str]) -> None:
        if lacking := self.lacking(needs):
            raise TooLittleData("、".join(NEEDS.get(need, f"没有 {need}") for need in lacking))

    @cached_property
    def encoder(self) -> Encoder:
        """Reads as the towers do."""
        config = self.two_tower or TwoTowerConfig()
        return Encoder(self.model, prefix=self.prefix, pooling=config.pooling, max_length=config.max_length)

    @property
    def reading(self) -> dict[str, object]:
        """How the encoder reads, for the settings of a method."""
        return {"pooling": self.encoder.pooling, "max_length": self.encoder.max_length}

    @cached_property
    def encoded(self) -> Cached:
        """The items' vectors, as `["vectors"]`, with their cost."""
        return self.encoder.encode_with_cost(self.texts)

    @cached_property
    def documents(self) -> tuple[list[list[str]], Cost]:
        """The items' texts as words, and what segmenting them took."""
        with measure("encode") as cost:
            segment = Segmenter(user_dictionary(self.split.dataset))
            documents = [segment(text) for text in self.texts]
        return documents, cost

    def tower(self, key: str = "two_tower", split: Split | None = None, **options) -> TwoTower:
        """One of TOWERS trained on this split or another; the store gives the same ones again."""
        config = replace(self.two_tower or TwoTowerConfig(seed=self.seed), **TOWERS[key])
        return train_two_tower(split or self.split, config, self.model, prefix=self.prefix, progress=False, **options)

    def baseline(self, key: str, **options) -> Recommender:
        """What the method's grid is of, as validation wants it."""
        settings = self.tuned[key].best if key in self.tuned else {}
        return GRIDS[METHODS[key].grid][0](**settings, **options)


@dataclass(frozen=True)
class Method:
    """One method of the report.

    key: its name in results and code. label: its name for readers. kind: one of KINDS. family: methods of a family
    share a marker in the figure of costs. build: the recommender, not yet fitted, from a workshop. profiles: those
    that run it. needs: of NEEDS, what building it needs; without them, or without what the built recommender says it
    needs, the method steps aside. encodes: reads the encoder's vectors, so that model and prefix belong to its
    settings. grid: of `tuning.GRIDS`, to be tried on validation first. memory: items -> bytes, of methods whose memory
    grows with the square of the items; what the machine hasn't got leaves them out before anything runs.
    """

    key: str
    label: str
    kind: str
    family: str
    build: Callable[[Workshop], Recommender]
    profiles: tuple[str, ...] = ("full",)
    needs: frozenset[str] = frozenset()
    encodes: bool = False
    grid: str | None = None
    memory: Callable[[int], int] | None = None


METHODS: dict[str, Method] = {}  # in the order in which they run


def register(method: Method) -> Method:
    """Add a method behind those that are there. Raises ValueError for unknown words and taken names."""
    given = {method.kind, *method.profiles, *method.needs, method.grid}
    if wrong := given - {*KINDS, *PROFILES, *NEEDS, *GRIDS, None}:
        raise ValueError(f"方法 {method.key} 的 {wrong} 不认识：请用 KINDS、PROFILES、NEEDS、GRIDS 里的词。")
    if method.key in METHODS or method.label in {m.label for m in METHODS.values()}:
        raise ValueError(f"方法 {method.key}（{method.label}）已经有了，请换一个 key 和 label。")
    METHODS[method.key] = method
    return method


def methods_of(profile: str) -> list[Method]:
    """A profile's methods, in the order in which they run. Raises ValueError for a profile that isn't there."""
    if profile not in PROFILES:
        raise ValueError(f"没有方案 {profile}；可用的有 {'、'.join(PROFILES)}。")
    return [method for method in METHODS.values() if profile in method.profiles]


# ---------------------------------------------------------------- how they are built


def _item2vec(w: Workshop) -> Recommender:
    ids = w.split.dataset.items["item_id"].to_numpy()
    histories = [ids[h].tolist() for h in w.split.histories if len(h) > 1]
    words = train_word2vec(histories, **ITEM2VEC, seed=w.seed)
    told = {"vectors": "item2vec"} | WORD2VEC | ITEM2VEC | {"seed": w.seed}
    return HistoryMean(item_vectors(words, ids), "item2vec", cost=words.cost, cold_items=False, settings=told)


def _tfidf(texts: list, segmentation: Cost | None = None) -> Recommender:
    """texts: strings, or lists of words with what segmenting took."""
    with measure("encode") as cost:
        vectors = tfidf_vectors(texts, list if segmentation else None)
    told = {"vectors": "tfidf", "segmentation": "jieba" if segmentation else "characters 1-2", "min_df": 1}
    return HistoryMean(vectors, "TF-IDF", cost=(segmentation or Cost()) + cost, settings=told)


def _bm25(texts: list[str]) -> Recommender:
    with measure("encode") as cost:
        made = BM25(texts)
    made.cost = cost
    return made


def _ease_with_text(w: Workshop) -> Recommender:
    """EASE as it was tuned; how much the texts weigh beside the likes is chosen on validation as well."""
    with measure("encode") as cost:
        vectors = tfidf_vectors(w.texts)
    own = w.tuned["ease"].best if "ease" in w.tuned else {}

    def build(**weight: float) -> Recommender:
        return EASEWithText(vectors, cost=cost, **own, **weight)

    if not own:
        return build()
    if "ease_text" not in w.chosen:
        w.chosen["ease_text"] = tune(build, {"weight": WEIGHTS}, w.split, w.tuned["ease"].metric)
    return build(**w.chosen["ease_text"].best)


def _word2vec(w: Workshop, weighting: str) -> Recommender:
    documents, segmentation = w.documents
    words = train_word2vec(documents, seed=w.seed)
    with measure("encode") as cost:
        vectors = document_vectors(documents, words, weighting)
    told = {"vectors": "word2vec", "segmentation": "jieba", "weighting": weighting} | WORD2VEC | {"seed": w.seed}
    return HistoryMean(vectors, f"word2vec {weighting}", cost=segmentation + words.cost + cost, settings=told)


def _half_whiten(vectors: np.ndarray) -> np.ndarray:
    return whiten(vectors, strength=0.5)


def _bert(w: Workshop, transform: Callable[[np.ndarray], np.ndarray]) -> Recommender:
    known = {np.asarray: {"transform": "none"}, _half_whiten: {"transform": "whiten", "strength": 0.5}}
    told = {"vectors": "encoder"} | w.reading | known.get(transform, {"transform": transform.__name__})
    return HistoryMean(transform(w.encoded["vectors"]), "BERT", cost=w.encoded.cost, settings=told)


def _untrained(w: Workshop, features: str) -> Recommender:
    """What a tower with these features reads, without the tower: what training adds is told beside it."""
    config = w.two_tower or TwoTowerConfig(seed=w.seed)
    return untrained(w.split, replace(config, features=features), w.model, w.prefix)


def _added_towers(w: Workshop) -> Recommender:
    """A tower on the encoder's vectors and one on lexical ones, their scores added."""
    return w.tower().fuse(w.tower("two_tower_lexical"), FUSION_WEIGHT).recommender("two_tower_lexical")


def _tower_of_both(w: Workshop, split: Split | None = None, half_life: float | None = None) -> Recommender:
    """One tower that reads the encoder's vectors and the lexical ones side by side."""
    return w.tower("two_tower_both", split).recommender("two_tower_both", half_life)


def _own(w: Workshop) -> Recommender:
    """What the data's own validation chooses of vectors, steps, half-life and popularity; or has chosen before."""
    config = w.two_tower or TwoTowerConfig(seed=w.seed)
    choice = OwnTower(w.split, config, w.model, w.prefix, w.metric, w.budget)
    if "own_tower" not in w.chosen:
        w.chosen["own_tower"] = choice.choose(fading=w.inner is not None)
    return choice.build(w.chosen["own_tower"].best, "own_tower")


def _hybrid(w: Workshop) -> Recommender:
    """The tower that reads both and the collaborative method that is best on validation, z-scores added (chapter 08).

    The tower's share is chosen there too, from a tower trained on the inner training part; the choice is not in the
    cost, the two parts are.
    """
    rivals = [key for key in w.tuned if METHODS[key].kind == "behaviour"]
    rival = max(rivals, key=lambda key: w.tuned[key].table.iloc[0, -1])
    half_life = w.half_life("two_tower_both")
    if "hybrid" not in w.chosen:
        w.chosen["hybrid"] = _shares(w, rival, half_life)
    share = w.chosen["hybrid"].best["share"]
    return ZScoreBlend(
        [_tower_of_both(w, half_life=half_life), METHODS[rival].build(w)], (share, 1 - share), name="hybrid"
    )


def _shares(w: Workshop, rival: str, half_life: float | None) -> Tuned:
    inner = w.split.inner()
    parts = [part.fit(inner) for part in (_tower_of_both(w, inner, half_life), METHODS[rival].build(w))]

    def blend(share: float) -> ZScoreBlend:
        return ZScoreBlend(parts, (share, 1 - share), fit_parts=False)

    # The parts were fitted on the first inner split, so that one alone can judge them.
    how = {"budget": len(SHARES), "validations": 1, "widen": 0}
    found = tune(blend, {"share": SHARES}, w.split, w.tuned[rival].metric, **how)
    return replace(found, cost=sum((part.cost for part in parts), found.cost))


def train_ahead(shops: Sequence[Workshop], keys: Iterable[str]) -> None:
    """Train what takes longest into the store, side by side; where that gains nothing, each waits for its turn."""
    slow = [key for key in ("two_tower_both", "item2vec", "two_tower", "two_tower_lexical") if key in keys]
    jobs = min(torch.get_num_threads(), len(slow))
    if jobs < 2 or len(shops[0].split.train) < MANY or shops[0].lacking(["text"]):
        return
    with suppress(TooLittleData):
        assert shops[0].encoded  # here, with all threads: the others read it from the store
        if not all(_kept(shop, key) for shop in shops for key in slow if key in TOWERS):
            words = [(shops[0], key) for key in ("word2vec_mean",) if key in keys]  # of texts alone: of no split
            side_by_side(_train, words + [(shop, key) for key in slow for shop in shops], jobs)


def _kept(shop: Workshop, key: str) -> bool:
    try:
        return bool(shop.tower(key, only_kept=True))
    except NotKept:
        return False


def _train(shop: Workshop, key: str) -> None:
    torch.set_num_threads(1)
    with suppress(TooLittleData):  # told where the method itself is built
        shop.tower(key) if key in TOWERS else METHODS[key].build(shop)


# ---------------------------------------------------------------- the registry

_SQUARE = {"memory": needed_bytes}
_EVERY, _TEXT = {"profiles": ("quick", "full")}, {"needs": frozenset({"text"})}
_BERT = _TEXT | {"encodes": True}
_TOWER, _TUNED, _BUDGET = _EVERY | _BERT, frozenset({"text", "tuning"}), frozenset({"text", "budget"})

for _method in (
    Method("random", "随机", "non-personal", "非个性化", lambda w: Random(w.seed), **_EVERY),
    Method("popularity", "热门", "non-personal", "非个性化", lambda w: Popularity(), **_EVERY),
    Method("recent", "此刻热门", "non-personal", "非个性化", lambda w: w.baseline("recent"), grid="recent",
           needs=frozenset({"time"}), **_EVERY),
    Method("itemknn", "ItemKNN", "behaviour", "协同", lambda w: w.baseline("itemknn"), grid="itemknn", **_EVERY),
    Method("userknn", "UserKNN", "behaviour", "协同", lambda w: w.baseline("userknn"), grid="userknn"),
    Method("rp3beta", "RP3β", "behaviour", "协同", lambda w: w.baseline("rp3beta"), grid="rp3beta"),
    Method("ease", "EASE", "behaviour", "协同", lambda w: w.baseline("ease"), grid="ease", **_EVERY, **_SQUARE),
    Method("als", "ALS", "behaviour", "协同", lambda w: w.baseline("als", seed=w.seed), grid="als"),
    Method("item2vec", "item2vec", "behaviour", "协同", _item2vec),
    Method("tfidf_word", "TF-IDF（词）", "text", "TF-IDF", lambda w: _tfidf(*w.documents), **_TEXT),
    Method("tfidf_char", "TF-IDF（字）", "text", "TF-IDF", lambda w: _tfidf(w.texts), **_EVERY, **_TEXT),
    Method("bm25_char", "BM25（字）", "text", "TF-IDF", lambda w: _bm25(w.texts), **_TEXT),
    Method("word2vec_mean", "word2vec 平均", "text", "词向量", lambda w: _word2vec(w, "mean"), **_TEXT),
    Method("word2vec_idf", "word2vec IDF 加权", "text", "词向量", lambda w: _word2vec(w, "idf"), **_TEXT),
    Method("word2vec_sif", "word2vec SIF", "text", "词向量", lambda w: _word2vec(w, "sif"), **_TEXT),
    Method("bert_mean", "BERT 均值池化", "text", "冻结的BERT", lambda w: _bert(w, np.asarray), **_BERT),
    Method("bert_center", "BERT 去均值", "text", "冻结的BERT", lambda w: _bert(w, center), **_TOWER),
    Method("bert_whiten", "BERT 白化", "text", "冻结的BERT", lambda w: _bert(w, _half_whiten), **_BERT),
    Method("lexical", "词面（冻结）", "text", "TF-IDF", lambda w: _untrained(w, "lexical"), **_EVERY, **_TEXT),
    Method("both", "BERT＋词面（冻结）", "text", "冻结的BERT", lambda w: _untrained(w, "both"), **_TOWER),
    Method("two_tower", "双塔（微调）", "text", "双塔", lambda w: w.tower().recommender("two_tower"), **_TOWER),
    Method("two_tower_lexical", "双塔＋词面（微调）", "text", "双塔", _added_towers, **_TOWER),
    Method("two_tower_both", "双塔读两样（微调）", "text", "双塔", _tower_of_both, **_TOWER),
    Method("own_tower", "文本（本数据选定）", "text", "双塔", _own, **_TOWER | {"needs": _BUDGET}),
    Method("ease_text", "EASE＋文字", "both", "融合", _ease_with_text, **_TEXT, **_SQUARE),
    Method("hybrid", "融合（双塔读两样＋协同）", "both", "融合", _hybrid, **_BERT | {"needs": _TUNED}),
):  # fmt: skip
    register(_method)
