"""The pair classifier trained for longer than a chapter may, and what its re-ranking is worth (chapter 06).

It never trains on the validation likes, so that one training serves for the curve, the choices and the test.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd

from textrec_utils.baselines.content import HistoryMean, tfidf_vectors
from textrec_utils.baselines.ease import EASE
from textrec_utils.core.store import cached_arrays
from textrec_utils.datasets.dataset import Dataset
from textrec_utils.datasets.registry import load_dataset
from textrec_utils.evaluation.metrics import per_user
from textrec_utils.evaluation.statistics import compare
from textrec_utils.finetuning.config import TwoTowerConfig
from textrec_utils.finetuning.train import train_two_tower
from textrec_utils.pair_classifier import PairClassifier
from textrec_utils.ranking import recommend
from textrec_utils.shipped.seeds import METRICS
from textrec_utils.splits import Split, make_split
from textrec_utils.tuning import tune_all

DEPTH = 20  # places of the retriever's list that are put into a new order
BEHIND = 50  # negatives of the kind `candidates` come from so many places
SIZES = (1_200, 5_000, 20_000)  # pairs seen where the curve is measured
DRAWN = 24_000  # of popular negatives some are liked and fall out
TRIED = 960  # pairs of a training that only chooses
RATES = (5e-5, 1e-4, 2e-4)
HELD = 250  # readers whose validation like and one negative are the held-out pairs
WEIGHTS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)  # of the second score beside the retriever's, both z-scores of a list
LISTS = 80  # of the validation lists that hold the answer, those that the curve is told of
SETTINGS = {"titles": 3, "max_length": 80, "lean": True, "bf16": False, "pairs": DRAWN}
# METRICS of a list that holds the answer, at a place drawn at random.
CHANCE = np.array([(1 / np.log2(np.arange(2, 12))).sum(), 10.0]) / DEPTH
SECOND = ("classifier", "tower", "tfidf")
SEEDS = range(5)  # a quarter of an hour of a core each
PARTS = [{"part": "tuning"}, *({"part": "curve", "seed": seed} for seed in SEEDS), {"part": "rates"}, {"part": "test"}]


def film_texts(dataset: Dataset) -> Dataset:
    """Each film's text is its title, genres and synopsis: the reader's text names no year, director or cast either, and
    with them there would be no room for the synopsis."""
    items = dataset.items
    texts = items["title"] + "。类型：" + items["genres_zh"].str.replace("|", "、") + "。" + items["synopsis_zh"]
    return replace(dataset, items=items.assign(text=texts))


@dataclass(frozen=True)
class Lists:
    """The retriever's lists of a split's test users: `scores` and `items` (users, DEPTH), best first."""

    split: Split
    retriever: EASE
    items: np.ndarray
    scores: np.ndarray

    @property
    def answers(self) -> np.ndarray:
        """(users,) the item that each of them liked last."""
        return self.split.test.set_index("user")["item"].loc[self.split.test_users].to_numpy()

    @property
    def found(self) -> np.ndarray:
        """(users,) is the answer in the list? All others get 0 in whatever order, and needn't be scored."""
        return (self.items == self.answers[:, None]).any(1)

    def judged(self, scores: np.ndarray) -> pd.DataFrame:
        """Each user's METRICS of the lists in the order of these scores, (users, DEPTH)."""
        order = np.argsort(-scores, axis=1, kind="stable")
        users = self.split.test_users
        return per_user(np.take_along_axis(self.items, order, axis=1), self.split.test_matrix[users], METRICS)

    def of(self, score: np.ndarray) -> np.ndarray:
        """Of scores (users, all items) those of the lists' items."""
        return np.take_along_axis(score, self.items, axis=1)


@cache
def lists() -> tuple[Lists, Lists]:
    """On validation and on the test, by EASE as tuned in chapter 02."""
    split = make_split(film_texts(load_dataset("movielens-zh")), "leave_last_out", seed=0)
    setting = tune_all(("ease",), split, METRICS[0])["ease"].best
    made = []
    for part in (split.inner(), split):
        ease, users = EASE(**setting).fit(part), part.test_users
        items = recommend(ease, part, DEPTH)
        made.append(Lists(part, ease, items, np.take_along_axis(ease.score(users), items, axis=1)))
    return made[0], made[1]


def candidates() -> np.ndarray:
    """(users, BEHIND): the best of the retriever that the user doesn't like in training."""
    valid = lists()[0]
    everyone = replace(valid.split, test=valid.split.train.drop_duplicates("user"))  # whoever can be served
    rows = np.full((valid.split.n_users, BEHIND), -1)
    rows[everyone.test_users] = recommend(valid.retriever, everyone, BEHIND)
    return rows


def held_out(negatives: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(users, items, labels) of HELD readers: their validation like, and an item drawn as training draws negatives."""
    valid, rng = lists()[0], np.random.default_rng(0)
    readers = rng.permutation(len(valid.answers))[:HELD]
    users, liked = valid.split.test_users[readers], valid.answers[readers]
    rows, train = candidates(), valid.split.train["item"].to_numpy()
    likes = valid.split.train_matrix[users].toarray() > 0
    others = []
    for own, user, answer in zip(likes, users, liked):
        pool = train[~own[train]] if negatives == "popular" else rows[user]
        others.append(rng.choice(pool[pool != answer]))
    return np.tile(users, 2), np.concatenate([liked, others]), np.repeat([1, 0], len(users))


def told(model: PairClassifier, negatives: str) -> dict[str, float]:
    """Of held-out pairs, of which as many are liked as in training: loss (nat); `guess`, the loss of answering with
    that share; AUC, and that of the items' numbers of likes, `auc_likes`. auc_lists: AUC of the held-out pairs whose
    negatives come from the retriever's candidates."""
    p, likes = model.liked_share, lists()[0].split.likes
    users, items, labels = (part[: round(HELD / p)] for part in held_out(negatives))
    logits = model.score_pairs(users, items).astype(float)
    loss = np.logaddexp(0, np.where(labels == 1, -logits, logits)).mean()
    guess = -np.where(labels == 1, np.log(p), np.log(1 - p)).mean()
    users, others, kinds = held_out("candidates")
    return {
        "loss": loss, "guess": guess, "auc": _auc(logits, labels), "auc_likes": _auc(likes[items], labels),
        "auc_lists": _auc(model.score_pairs(users, others), kinds),
    }  # fmt: skip


def _auc(scores: np.ndarray, labels: np.ndarray) -> float:
    liked, others = scores[labels == 1][:, None], scores[labels == 0]
    return (liked > others).mean() + (liked == others).mean() / 2


def classified(model: PairClassifier, asked: Lists, which: np.ndarray) -> np.ndarray:
    """(users, DEPTH) the classifier's scores of the lists of `which` users (their rows), 0 for the others."""
    scores, model = np.zeros(asked.items.shape), model.read(asked.split)
    users = np.repeat(asked.split.test_users[which], DEPTH)
    scores[which] = model.score_pairs(users, asked.items[which].ravel()).reshape(-1, DEPTH)
    return scores


def some(asked: Lists) -> np.ndarray:
    """The rows of LISTS users whose lists hold the answer."""
    return np.sort(np.random.default_rng(0).permutation(np.flatnonzero(asked.found))[:LISTS])


def trained(negatives: str, rate: float, seed: int, sizes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """One training, looked at when it has seen so many pairs: `curve` (sizes, 7), the columns `CURVE`, of which NDCG@10
    is that of `some` validation lists in its order. Of more than one size also `valid` and `test`, its last scores of
    the lists; of one NDCG@10 is NaN."""
    depends = {"negatives": negatives, "rate": rate, "seed": seed, "sizes": list(sizes)}

    def compute() -> dict[str, np.ndarray]:
        valid, test = lists()
        model = PairClassifier(learning_rate=rate, seed=seed, **SETTINGS)
        curve, kept = [], {}

        def watch(seen: int) -> bool:
            if seen >= sizes[len(curve)]:
                value = np.nan
                if len(sizes) > 1:
                    value = valid.judged(classified(model, valid, some(valid)))[METRICS[0]][some(valid)].mean()
                curve.append([seen, value, *told(model, negatives).values()])
            return len(curve) == len(sizes)

        model.fit(valid.split, candidates=candidates() if negatives == "candidates" else None, watch=watch)
        if len(sizes) > 1:
            kept = {name: classified(model, part, part.found) for name, part in (("test", test), ("valid", valid))}
        return kept | {"curve": np.array(curve)}

    return cached_arrays("pairs", depends, compute).arrays


CURVE = ("pairs", METRICS[0], "loss", "guess", "auc", "auc_likes", "auc_lists")


def tuning() -> pd.DataFrame:
    """A row a training of TRIED pairs: the rate by the held-out loss, then the negatives by `auc_lists`; `chosen` is
    the one taken."""
    tried = [("popular", rate, dict(zip(CURVE, trained("popular", rate, 0, (TRIED,))["curve"][0]))) for rate in RATES]
    best = min(tried, key=lambda row: row[2]["loss"])
    tried.append(("candidates", best[1], dict(zip(CURVE, trained("candidates", best[1], 0, (TRIED,))["curve"][0]))))
    taken = max(best, tried[-1], key=lambda row: row[2]["auc_lists"])
    rows = [{"negatives": n, "rate": r, "seed": 0, **values} for n, r, values in tried]
    return pd.DataFrame(rows).assign(chosen=[row is taken for row in tried])


def chosen() -> tuple[str, float]:
    table = tuning()
    return tuple(table.loc[table["chosen"], ["negatives", "rate"]].iloc[0])


def curve(seed: int) -> pd.DataFrame:
    """`trained` as chosen: a row a size. own, random: NDCG@10 of the retriever's order of the same lists, and what is
    expected of a random one."""
    negatives, rate = chosen()
    made = pd.DataFrame(trained(negatives, rate, seed, SIZES)["curve"], columns=CURVE)
    valid = lists()[0]
    own = valid.judged(valid.scores)[METRICS[0]][some(valid)].mean()
    return made.assign(seed=seed, negatives=negatives, rate=rate, own=own, random=CHANCE[0])


def rates() -> pd.DataFrame:
    """The rate farthest from the chosen one, at the curve's second size: was the choice, made at TRIED pairs, sound?"""
    negatives, taken = chosen()
    rate = max(RATES, key=lambda other: abs(other - taken))
    made = pd.DataFrame(trained(negatives, rate, 0, SIZES[1:2])["curve"], columns=CURVE)
    return made.assign(negatives=negatives, rate=rate, seed=0)


def second_scores(name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What a method that isn't the retriever says of the lists' items, on validation and on the test."""
    valid, test = lists()
    if name == "classifier":
        made = trained(*chosen(), seed, SIZES)
        return made["valid"], made["test"]
    whole = make_split(load_dataset("movielens-zh"), "leave_last_out", seed=0)  # the films' whole texts
    if name == "tower":
        model = train_two_tower(whole.inner(), TwoTowerConfig(seed=seed), progress=False).recommender(name)
    else:
        model = HistoryMean(tfidf_vectors(list(whole.dataset.items["text"])), name)
    return tuple(part.of(model.fit(part.split).score(part.split.test_users)) for part in (valid, test))


def blended(first: np.ndarray, second: np.ndarray, weight: float) -> np.ndarray:
    def z(scores: np.ndarray) -> np.ndarray:
        spread = scores.std(axis=1, keepdims=True)
        return (scores - scores.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)

    return z(first) + weight * z(second)


def test() -> pd.DataFrame:
    """A row a method and seed: method (`own`, the retriever's order; `random`, what is expected of one; the second
    score alone, or `blend_` with the retriever's), weight as chosen on validation, METRICS.

    difference, low, high, p: NDCG@10 less that of `own`, each user's mean over the seeds, its 95% interval over users
    and the randomisation test; luck, luck_low, luck_high, luck_p: the same less that of `random`.
    """
    valid, asked = lists()
    own = asked.judged(asked.scores)
    chance = pd.DataFrame(asked.found[:, None] * CHANCE, columns=list(METRICS))
    methods = {"own": (0.0, [own]), "random": (np.nan, [chance])}
    for name in SECOND:
        scores = [second_scores(name, seed) for seed in (SEEDS if name != "tfidf" else [0])]
        methods[name] = (np.nan, [asked.judged(theirs) for _, theirs in scores])
        tried = [
            np.mean([valid.judged(blended(valid.scores, theirs, w))[METRICS[0]].mean() for theirs, _ in scores])
            for w in WEIGHTS
        ]
        weight = WEIGHTS[int(np.argmax(tried))]
        methods[f"blend_{name}"] = (weight, [asked.judged(blended(asked.scores, s, weight)) for _, s in scores])
    rows = []
    for name, (weight, judged) in methods.items():
        mean, paired = sum(r[METRICS[0]] for r in judged) / len(judged), {}
        for beside, other, before in (("difference", own, ""), ("luck", chance, "luck_")):
            paired |= compare(mean, other[METRICS[0]]).columns(beside, before)
        for seed, result in enumerate(judged):
            rows.append({"method": name, "seed": seed, "weight": weight} | result.mean().to_dict() | paired)
    return pd.DataFrame(rows)


def rows(part: str, seed: int = 0) -> pd.DataFrame:
    """`tuning()`, `curve(seed)`, `rates()` or `test()`, the column `part` before theirs."""
    made = {"tuning": tuning, "rates": rates, "test": test}.get(part, lambda: curve(seed))()
    made.insert(0, "part", part)
    return made
