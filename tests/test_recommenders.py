"""One contract, every recommender: what `Recommender` promises is tried on all of them alike.

The data: a checkerboard. Even users like even items, odd users odd ones; the text tells which, the first half of the
items is liked twice as often, and the last users have no history.
"""

import importlib
import json
import pkgutil
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import textrec_utils
from textrec_utils.baselines import (
    ALS,
    BM25,
    BPR,
    EASE,
    EASEWithText,
    HistoryMean,
    ItemKNN,
    Popularity,
    Random,
    RecentPopularity,
    Recommender,
    RP3Beta,
    TextPopularity,
    UserKNN,
    history_weights,
    tfidf_vectors,
)
from textrec_utils.baselines.factors import Factors
from textrec_utils.core import Cost
from textrec_utils.core.errors import DataError
from textrec_utils.datasets import Dataset
from textrec_utils.evaluation import evaluate
from textrec_utils.finetuning import TwoTowerConfig, train_two_tower
from textrec_utils.hybrids import Blend, Given, NewcomerPlaces, ReciprocalRankFusion, ZScoreBlend
from textrec_utils.pair_classifier import PairClassifier, TwoStage
from textrec_utils.ranking import recommend
from textrec_utils.splits import Split, make_split

ITEMS, OLD, NEW = 40, 40, 12  # users with and without a history
KINDS = ("绿茶，清香回甘", "登山鞋，防滑耐磨")
TEXTS = [f"{KINDS[i % 2]}，第{i}款" for i in range(ITEMS)]
EVERYONE = np.arange(OLD + NEW)


def board() -> Dataset:
    rng = np.random.default_rng(0)
    share = np.where(np.arange(ITEMS) < ITEMS // 2, 0.9, 0.45)
    rows = [
        (f"u{u}", f"i{i}", t)
        for u in range(OLD)
        for t, i in enumerate(
            rng.permutation(np.flatnonzero((np.arange(ITEMS) % 2 == u % 2) & (rng.random(ITEMS) < share)))
        )
    ]
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).assign(value=1.0)
    items = pd.DataFrame({"item_id": [f"i{i}" for i in range(ITEMS)], "title": TEXTS, "text": TEXTS})
    users = pd.DataFrame({"user_id": [f"u{u}" for u in EVERYONE], "text": "30岁"})
    return Dataset("board", items, users, interactions, "", "")


@pytest.fixture(scope="module")
def split():
    return make_split(board(), "random", fraction=0.3)


@pytest.fixture(scope="module")
def cold():
    return make_split(board(), "cold_items", fraction=0.3)


@dataclass(frozen=True)
class Case:
    """build(split, **settings): an unfitted recommender, by default with settings that suit the small board.

    learns: does it find the checkerboard? by_chance: does it tell apart what it knows nothing of, by drawn numbers,
    or a few of them? folds_in: does it serve users whom it wasn't trained on: exactly as if it had been, nearly, anyhow
    (by drawn numbers), or not at all? product: is its score one product of tables?
    """

    build: Callable[..., Recommender]
    learns: bool = True
    by_chance: bool = False
    folds_in: str = "exactly"
    product: bool = True


def content(vectors, name):
    def build(split, **settings):
        return HistoryMean(vectors, name, **settings or {"half_life": 5.0})

    return Case(build)


def blend(kind, *parts):
    def build(split, weights=(1, 2), parts=tuple({"name": part} for part in parts), **settings):
        made = [CASES[part["name"]].build(split, **{k: v for k, v in part.items() if k != "name"}) for part in parts]
        return kind(made, weights, **settings)

    return Case(build, product=False)


def two_tower(split, **settings):
    known, half_life = {field.name for field in fields(TwoTowerConfig)}, settings.get("served_half_life", 5.0)
    settings = {name: value for name, value in settings.items() if name in known} or {
        "features": "lexical",
        "steps": 80,
    }
    return train_two_tower(split, TwoTowerConfig(**settings), progress=False, cache=False).recommender(
        "双塔", half_life
    )


def two_stage(split, depth=2, parts=({"name": "EASE"}, {"name": "", "pairs": 8, "max_length": 24, "bf16": False})):
    first, second = ({name: value for name, value in part.items() if name != "name"} for part in parts)
    return TwoStage(CASES["EASE"].build(split, **first), PairClassifier(**second), depth)


def newcomer_places(split, parts=({"name": "EASE"}, {"name": "TF-IDF"}), **settings):
    made = [CASES[part["name"]].build(split, **{k: v for k, v in part.items() if k != "name"}) for part in parts]
    return NewcomerPlaces(made, **settings)


CASES: dict[str, Case] = {
    "随机": Case(
        lambda split, **s: Random(**s or {"seed": 3}), learns=False, by_chance=True, folds_in="anyhow", product=False
    ),
    "热门": Case(lambda split, **s: Popularity(**s), learns=False),
    "热门（由文字推断）": Case(lambda split, **s: TextPopularity(tfidf_vectors(TEXTS).toarray(), **s), learns=False),
    "此刻热门": Case(lambda split, **s: RecentPopularity(**s or {"hours": 48.0}), learns=False),
    "ItemKNN": Case(lambda split, **s: ItemKNN(**s or {"neighbours": 12, "shrink": 1.0})),
    "RP3β": Case(lambda split, **s: RP3Beta(**s or {"neighbours": 12, "half_life": 5.0})),
    "UserKNN": Case(
        lambda split, **s: UserKNN(**s or {"neighbours": 12, "shrink": 1.0}), folds_in="nearly", product=False
    ),
    "BM25": Case(lambda split, **s: BM25(TEXTS, **s or {"half_life": 5.0})),
    "EASE＋文字": Case(
        lambda split, **s: EASEWithText(
            tfidf_vectors(TEXTS), **s or {"regularization": 100.0, "weight": 10.0, "half_life": 5.0}
        )
    ),
    "EASE": Case(lambda split, **s: EASE(**s or {"regularization": 10.0})),
    "ALS": Case(lambda split, **s: ALS(**s or {"factors": 4, "iterations": 5, "seed": 1}), folds_in="nearly"),
    "BPR": Case(
        lambda split, **s: BPR(**s or {"factors": 4, "learning_rate": 0.1, "epochs": 20, "batch_size": 64}),
        by_chance=True,
        folds_in="not",
    ),
    "TF-IDF": content(tfidf_vectors(TEXTS), "TF-IDF"),
    "TF-IDF dense": content(tfidf_vectors(TEXTS).toarray(), "TF-IDF dense"),
    "ZScoreBlend": blend(ZScoreBlend, "EASE", "TF-IDF"),
    "ReciprocalRankFusion": blend(ReciprocalRankFusion, "热门", "ItemKNN"),
    "NewcomerPlaces": Case(newcomer_places, product=False),
    "Given": Case(
        lambda split, **s: Given("Given", EASE(10.0).fit(split).score(EVERYONE), **s), folds_in="not", product=False
    ),
    "双塔": Case(two_tower),
    "两段": Case(two_stage, by_chance=True, folds_in="not", product=False),
}


# Names that a shell and `-k` take; the cases' keys are the recommenders' own names.
IDS = {
    "RP3β": "RP3Beta",
    "EASE＋文字": "EASEWithText",
    "随机": "Random",
    "热门": "Popularity",
    "此刻热门": "RecentPopularity",
    "热门（由文字推断）": "TextPopularity",
    "TF-IDF dense": "TF-IDF-dense",
    "双塔": "UserTower",
    "两段": "TwoStage",
}


@pytest.fixture(params=CASES, ids=lambda name: IDS.get(name, name), scope="module")
def case(request) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def fitted(case, split) -> Recommender:
    return case.build(split).fit(split)


def auc(scores: np.ndarray, liked: np.ndarray, other: np.ndarray) -> float:
    """How often an item of `liked` stands above one of `other`; a tie counts one half."""
    a, b = scores[liked][:, None], scores[other][None]
    return float(((a > b) + 0.5 * (a == b)).mean())


def subclasses(kind: type) -> Iterator[type]:
    for below in kind.__subclasses__():
        yield below
        yield from subclasses(below)


def with_parts(model: Recommender) -> Iterator[Recommender]:
    yield model
    for part in model.parts:
        yield from with_parts(part)


def test_every_recommender_of_the_package_has_a_case(split):
    for found in pkgutil.walk_packages(textrec_utils.__path__, "textrec_utils."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    here = {kind for kind in subclasses(Recommender) if kind.__module__.startswith("textrec_utils.")}
    public = {kind for kind in here if not kind.__name__.startswith("_")} - {Blend, Factors}  # bases alone
    tried = {type(made) for case in CASES.values() for made in with_parts(case.build(split))}
    missing = {kind.__name__ for kind in public - tried}
    assert len(public) > 10 and not missing, "a new recommender: give it a case in CASES"
    assert all(IDS.get(name, name).isascii() for name in CASES), "give it an id in IDS, so that -k finds it"


class TestEveryRecommender:
    def test_scores_are_a_row_a_user(self, fitted):
        scores = fitted.score(EVERYONE)
        assert scores.shape == (len(EVERYONE), ITEMS) and scores.dtype == np.float32 and type(scores) is np.ndarray
        assert np.isfinite(scores).all()  # of the users without a history too
        assert fitted.score(np.array([9, 2])) == pytest.approx(scores[[9, 2]], rel=1e-5, abs=1e-6)

    def test_what_was_seen_is_not_recommended(self, fitted, split, cold, case):
        lists = recommend(fitted, split, 10)
        for user, row in zip(split.test_users, lists):
            assert not set(row) & set(split.histories[user]) and len(set(row)) == 10
        among_new = recommend(case.build(cold).fit(cold), cold, 10)
        assert cold.candidates[among_new].all()

    def test_a_user_who_is_not_there(self, fitted, split):
        with pytest.raises((IndexError, DataError)):
            fitted.score(np.array([0, len(EVERYONE)]))
        for wrong in (-1, len(EVERYONE)):
            with pytest.raises(IndexError, match=f"没有第 {wrong} 行的用户"):
                recommend(fitted, split, 5, np.array([wrong]))

    def test_two_fits_are_equal(self, case, fitted, split):
        assert np.array_equal(case.build(split).fit(split).score(EVERYONE), fitted.score(EVERYONE))
        again = fitted.score(EVERYONE)
        assert np.array_equal(fitted.fit(split).score(EVERYONE), again)  # what the first fit left has no say

    def test_only_the_training_part_teaches(self, case, fitted, split):
        moved = split.test.assign(item=(split.test["item"] + 7) % ITEMS)
        other = replace(split, test=moved, new_users=moved)
        assert np.array_equal(case.build(other).fit(other).score(EVERYONE), fitted.score(EVERYONE))

    def test_saved_and_loaded(self, fitted, tmp_path):
        fitted.save(tmp_path / "kept")
        for kind in (Recommender, type(fitted)):
            loaded = kind.load(tmp_path / "kept")
            assert type(loaded) is type(fitted) and np.array_equal(loaded.score(EVERYONE), fitted.score(EVERYONE))
            for told in ("name", "needs", "cold_items", "new_users"):
                assert getattr(loaded, told) == getattr(fitted, told), told
            assert loaded.settings() == fitted.settings() and loaded.cost.steps == fitted.cost.steps

    def test_settings_build_the_same_again(self, case, fitted, split):
        settings = fitted.settings()
        assert json.loads(json.dumps(settings)) == settings
        again = case.build(split, **json.loads(json.dumps(settings))).fit(split)
        assert again.settings() == settings and np.array_equal(again.score(EVERYONE), fitted.score(EVERYONE))

    def test_other_users_are_folded_in(self, case, fitted, split):
        """Those whom it was trained on, in another order and among fewer, as if they were new."""
        train = split.train[split.train["user"] < OLD]
        users = split.dataset.users.iloc[:OLD]
        other = replace(
            split, dataset=replace(split.dataset, users=users), train=train.assign(user=OLD - 1 - train["user"])
        )
        before = fitted.score(EVERYONE)
        if case.folds_in == "not":
            with pytest.raises(DataError, match="只认识训练时的用户"):
                fitted.fold_in(other)
            return
        found = fitted.fold_in(other).score(np.arange(OLD))[::-1]
        assert np.array_equal(fitted.score(EVERYONE), before)
        if case.folds_in == "nearly":  # ALS solves what training had only neared; UserKNN finds the same user again
            assert np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(found, before)]) > 0.9
        elif case.folds_in == "exactly":
            assert found == pytest.approx(before[:OLD], rel=1e-4, abs=1e-5)

    def test_its_product_is_its_score(self, case, fitted, split):
        product = fitted.product()
        assert (product is not None) == case.product
        if product is None:
            return
        if product.scores is not None:
            found = np.tile(product.scores, (len(EVERYONE), 1))
        else:
            rows = product.users
            if rows is None:
                even = split.train_matrix if not product.mean else history_weights(split)
                weights = even if product.half_life is None else history_weights(split, product.half_life)
                rows = weights @ product.history
            found = rows if product.items is None else rows @ product.items.T
            found = found.toarray() if sparse.issparse(found) else found
        assert found == pytest.approx(fitted.score(EVERYONE), rel=1e-4, abs=1e-5)

    def test_a_half_life_lets_older_likes_count_less(self, fitted, split):
        model = copy(fitted)
        if not model.fades:
            return

        def scores(half_life):
            model.half_life = half_life
            return model.hear(split).score(EVERYONE)

        even, long, short = (scores(half_life) for half_life in (None, 1e6, 0.1))
        for user in range(OLD):  # one by another factor, where the weights sum to 1
            assert long[user] / np.abs(long[user]).max() == pytest.approx(
                even[user] / np.abs(even[user]).max(), abs=1e-4
            )
        assert not np.allclose(short / np.abs(short).max(), even / np.abs(even).max(), atol=1e-2)

    def test_the_flag_on_new_items_is_true(self, case, cold):
        model = case.build(cold).fit(cold)
        new = np.flatnonzero(cold.candidates)
        scores = model.score(np.arange(OLD))
        assert (np.ptp(scores[:, new], axis=1) > 0).all() == (model.cold_items or case.by_chance)
        found = np.mean([auc(scores[u], new[new % 2 == u % 2], new[new % 2 != u % 2]) for u in range(OLD)])
        assert found > 0.9 if model.cold_items and case.learns else 0.25 < found < 0.75

    def test_the_flag_on_new_users_is_true(self, fitted):
        half = np.arange(ITEMS) < ITEMS // 2
        found = np.mean([auc(scores, half, ~half) for scores in fitted.score(np.arange(OLD, OLD + NEW))])
        assert found > 0.9 if fitted.new_users else 0.25 < found < 0.75

    def test_the_checkerboard_is_learned(self, case, fitted, split):
        scores = fitted.score(split.test_users)
        kinds = np.arange(ITEMS) % 2
        found = [
            auc(row, split.test_matrix[u].indices, np.flatnonzero(kinds != u % 2))
            for u, row in zip(split.test_users, scores)
        ]
        assert (np.mean(found) > 0.9) == case.learns


def test_a_cost_is_carried_and_kept(split, tmp_path):
    vectors = Cost(2.5, 100, "encode", key="texts")
    mean = HistoryMean(tfidf_vectors(TEXTS), "x", cost=vectors)
    both = ZScoreBlend([mean, HistoryMean(tfidf_vectors(TEXTS), "y", cost=vectors + Cost(1.0, 50, "train", key="y"))])
    assert both.cost.seconds == 3.5 and both.cost.peak_mb == 100  # the vectors once, though both parts read them
    both.fit(split).save(tmp_path)
    assert Recommender.load(tmp_path).cost.by_stage() == {"encode": 2.5, "train": 1.0}
    result = evaluate(mean, split, cost=vectors)  # told twice, counted once: a toy report said 4.96 s
    assert result.cost.by_stage()["encode"] == 2.5 and set(result.cost.by_stage()) == {"encode", "rank"}


@pytest.mark.parametrize("user", ["attention", "recency"])
def test_a_tower_that_was_read_again_takes_new_histories(split, tmp_path, user):
    config = TwoTowerConfig(features="lexical", steps=10, user=user)
    tower = train_two_tower(split, config, progress=False, cache=False).recommender("双塔").fit(split)
    tower.save(tmp_path)
    again = Recommender.load(tmp_path)
    assert again.product().users is not None and np.array_equal(again.score(EVERYONE), tower.score(EVERYONE))
    assert np.allclose(again.fold_in(split).score(EVERYONE), tower.score(EVERYONE), atol=1e-6)


def test_als_folds_in_as_its_library_does(split):
    from implicit.als import AlternatingLeastSquares

    model = ALS(factors=4, iterations=5, regularization=0.5, alpha=7.0).fit(split)
    peer = AlternatingLeastSquares(factors=4, regularization=0.5, alpha=7.0, use_cg=False)
    peer.user_factors, peer.item_factors = model._users, model._items
    wanted = peer.recalculate_user(np.arange(OLD), split.train_matrix[:OLD])
    assert model.fold_in(split)._users[:OLD] == pytest.approx(np.asarray(wanted), rel=1e-3, abs=1e-4)


def test_how_vectors_were_made_is_told_and_kept(split, tmp_path):
    mean = HistoryMean(tfidf_vectors(TEXTS), "x", settings={"segmentation": "jieba", "min_df": 1}).fit(split)
    told = {"segmentation": "jieba", "min_df": 1, "center": False, "normalize": True, "half_life": None}
    assert mean.settings() == told | {"cold_items": True}
    mean.save(tmp_path)
    assert Recommender.load(tmp_path).settings() == mean.settings()


def test_needs_and_flags_of_the_parts(split):
    known = HistoryMean(tfidf_vectors(TEXTS), "x", half_life=3.0)
    behaviour = HistoryMean(np.eye(ITEMS), "item2vec", cold_items=False)
    assert known.needs == {"text", "time"} and behaviour.needs == frozenset() and not behaviour.cold_items
    fusion = ReciprocalRankFusion([known, Popularity()])
    assert fusion.needs == {"text", "time"} and fusion.cold_items and fusion.new_users
    assert not ZScoreBlend([behaviour, EASE()]).cold_items


def test_what_is_no_recommender_is_refused_in_a_sentence(split, tmp_path):
    with pytest.raises(DataError, match="还没有学过"):
        EASE().save(tmp_path)
    with pytest.raises(DataError, match="没有存好的"):
        Recommender.load(tmp_path / "nothing")
    EASE().fit(split).save(tmp_path)
    with pytest.raises(DataError, match="没有存好的 ItemKNN"):
        ItemKNN.load(tmp_path)
    note = json.loads((tmp_path / "recommender.json").read_text(encoding="utf-8"))
    for wrong in ({"module": "os"}, {"class": "Split"}, {"class": "Nothing"}, {"sha256": "0"}, {"settings": {}}):
        (tmp_path / "recommender.json").write_text(json.dumps(note | wrong), encoding="utf-8")
        with pytest.raises(DataError, match="没有存好的"):
            Recommender.load(tmp_path)
    ZScoreBlend([EASE()]).fit(split).save(tmp_path / "blend")
    (tmp_path / "blend" / "part0" / "recommender.json").unlink()
    with pytest.raises(DataError, match="part0 里没有存好的"):
        Recommender.load(tmp_path / "blend")


def test_recommenders_of_a_reader(split, tmp_path):
    """A class in a notebook that has `fit` and `score` alone keeps the contract's defaults."""

    class Mine(Recommender):
        def fit(self, split: Split) -> "Mine":
            self.n_items = split.n_items
            return self

        def score(self, users):
            return np.tile(-np.arange(self.n_items, dtype=np.float32), (len(users), 1))

    result = evaluate(Mine(), split, name="我的", key="mine")
    assert result.parameters == {} and (result.method, result.key) == ("我的", "mine")
