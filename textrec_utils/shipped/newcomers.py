"""A new film among all films: what each method makes of 0, 1, 2, … likes, with and without places kept for newcomers,
five seeds (chapter 08)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
from scipy import sparse

from textrec_utils.baselines.content import HistoryMean, tfidf_vectors
from textrec_utils.baselines.ease import EASE, EASEWithText
from textrec_utils.baselines.simple import Popularity, Random
from textrec_utils.datasets.registry import load_dataset
from textrec_utils.evaluation.metrics import per_user
from textrec_utils.evaluation.statistics import compare
from textrec_utils.finetuning.config import TwoTowerConfig
from textrec_utils.finetuning.features import untrained
from textrec_utils.finetuning.train import train_two_towers
from textrec_utils.hybrids import Given, NewcomerPlaces, ZScoreBlend
from textrec_utils.ranking import top_k
from textrec_utils.splits import Split, make_split

K, FILMS, ANSWERS, LEAST = 10, 50, 30, 80  # films drawn for either group, their likes kept to judge by, and in all
# Tried on the validation films; chosen is what `chosen` says of them.
SHARES, AFTER, OVER = (0.5, 0.7), (0.3, 0.45, 0.6, 0.75), (0.05, 0.2, 0.4)
CHOSEN = {"share": 0.7, "after": 0.3, "over": 0.2}
LOSS = 0.03  # of the old films' NDCG that newcomers may cost, beside the tower alone
EASE_REGULARIZATION = 100.0  # what the tuning of chapter 02 takes
METRIC = f"ndcg@{K}"
READS = ("ids", "both")
SEEDED = ("tower_ids", "tower_both", "hybrid")
LEVELS = {"demand": (0, 1, 5, 50, 100), "equal": (1, 5, 50)}  # nothing released is the same either way
VALIDATION = (1, 50)
PARTS = [{"group": "validation", "release": "demand", "likes": n} for n in VALIDATION]
PARTS += [{"group": "test", "release": release, "likes": n} for release, some in LEVELS.items() for n in some]


@cache
def _drawn() -> tuple[Split, pd.DataFrame, np.ndarray, dict[str, np.ndarray]]:
    """Everyone's last like apart, the other likes with their turn among their film's, films' counts, the two groups."""
    split = make_split(load_dataset("movielens-zh"), "leave_last_out", seed=0)
    # Who comes first is drawn: by time, one early user would open most of the films.
    turn = split.train.sample(frac=1, random_state=0).groupby("item").cumcount()
    pairs = split.train.assign(turn=turn)
    enough = np.flatnonzero(split.likes >= LEAST)
    films = np.random.default_rng(0).choice(enough, 2 * FILMS, replace=False)
    return split, pairs, split.likes, {"validation": np.sort(films[:FILMS]), "test": np.sort(films[FILMS:])}


def world(group: str, release: str, likes: int) -> tuple[Split, np.ndarray, sparse.csr_matrix]:
    """The split in which the films of a group have few likes, which films these are, and what is never recommended.

    release: `equal`, each film has `likes`; `demand`, that many on average, each in proportion to all that it will
    have. The films' last ANSWERS likes are the test part, `new_users` is everyone's last like among the other films;
    the films of the other group are not there. Likes that are still to come are no answers and not recommended.
    """
    split, pairs, count, groups = _drawn()
    new, absent = (np.isin(np.arange(split.n_items), groups[g]) for g in (group, next(o for o in groups if o != group)))
    shown = np.full(split.n_items, np.inf)
    shown[new] = likes if release == "equal" else np.round(likes * count[new] / count[new].mean())
    shown[new] = np.minimum(shown[new], count[new] - ANSWERS)
    turn, item = pairs["turn"].to_numpy(), pairs["item"].to_numpy()
    held = new[item] & (turn >= count[item] - ANSWERS)
    there = ~absent[item] & (turn < shown[item])
    old = split.test[~(new | absent)[split.test["item"]]].reset_index(drop=True)
    train, answers = (pairs[mask].drop(columns="turn").reset_index(drop=True) for mask in (there, held))
    made = replace(split, train=train, test=answers, new_users=old, candidates=~absent)
    return made, new, made.matrix(pairs[~held])


def judged(scores: np.ndarray, made: Split, new: np.ndarray, barred: sparse.csr_matrix) -> dict[str, np.ndarray]:
    """NDCG@10 of users with a history: new films `among` themselves, `mixed` among all, and `old` films among all."""
    known = np.diff(made.train_matrix.indptr) > 0
    scores = np.where(made.candidates, scores, -np.inf)

    def asked(truth: sparse.csr_matrix, open_: np.ndarray, barred: sparse.csr_matrix) -> np.ndarray:
        users = np.flatnonzero((np.diff(truth.indptr) > 0) & known)
        ranked = top_k(np.where(open_, scores[users], -np.inf), K, exclude=barred[users])
        return per_user(ranked, truth[users], [METRIC])[METRIC].to_numpy()

    everything, last = np.ones_like(new), made.matrix(made.new_users)
    return {
        "among": asked(made.test_matrix, new, barred),
        "mixed": asked(made.test_matrix, everything, barred),
        "old": asked(last, everything, made.train_matrix),
    }


def places_of(setting: dict[str, float]) -> str:
    """`share+after+over`, as tables name a setting."""
    return "+".join(f"{value:g}" for value in setting.values())


def lists(made: Split, new: np.ndarray, seed: int, settings: Sequence[dict]) -> dict[tuple[str, str], np.ndarray]:
    """{(method, places): (users, items) scores}, `none` for no places, else `share+after+over` of a setting.

    With places: of each method, of `ease_tfidf` (old films by EASE, new ones by TF-IDF), and of `hybrid` (old films by
    the tower and EASE, z-scores added, `share` of the tower's; new ones by the tower). Only towers depend on the seed:
    with others than 0 nothing else is given.
    """
    towers = train_two_towers(made, [TwoTowerConfig(features=reads, seed=seed) for reads in READS], progress=False)
    models = {f"tower_{reads}": tower.recommender(reads) for reads, tower in zip(READS, towers)}
    vectors = tfidf_vectors(list(made.dataset.items["text"]))
    models |= {"ease": EASE(EASE_REGULARIZATION), "tfidf": HistoryMean(vectors, "tfidf")}
    # what `tower_both` reads, untrained: places and reading without training
    models |= {"frozen_both": untrained(made, TwoTowerConfig(features="both"))}
    models |= {"ease_text": EASEWithText(vectors, regularization=EASE_REGULARIZATION)}
    models |= {"popularity": Popularity(), "random": Random()}
    everyone = np.arange(made.n_users)
    given = {name: Given(name, model.fit(made).score(everyone)) for name, model in models.items()}
    pairs = {name: [part] for name, part in given.items()} | {"ease_tfidf": [given["ease"], given["tfidf"]]}
    found = {(name, "none"): part.score(everyone) for name, part in given.items()}
    established = replace(made, candidates=made.candidates & ~new)
    for setting in settings:
        share, rule = setting["share"], {name: setting[name] for name in ("after", "over")}
        blend = ZScoreBlend([given["tower_both"], given["ease"]], (share, 1 - share), fit_parts=False).fit(established)
        pairs["hybrid"] = [Given("hybrid", blend.score(everyone)), given["tower_both"]]
        found["hybrid", "none"] = pairs["hybrid"][0].score(everyone)
        for name, parts in pairs.items() if len(settings) == 1 else [("hybrid", pairs["hybrid"])]:
            model = NewcomerPlaces(parts, new=new, k=K, fit_parts=False, **rule).fit(made)
            found[name, places_of(setting)] = model.score(everyone)
    return found if not seed else {key: scores for key, scores in found.items() if key[0] in SEEDED}


def chosen(table: pd.DataFrame) -> dict[str, float]:
    """The setting with the best new films, the mean over `VALIDATION`, among those whose old films lose at most LOSS
    beside the tower alone."""
    seen = table[table["group"] == "validation"].groupby(["method", "places"])[["mixed", "old"]].mean()
    alone, tried = seen.loc[("tower_both", "none"), "old"], seen.loc["hybrid"].drop("none", errors="ignore")
    best = tried[tried["old"] >= (1 - LOSS) * alone].sort_values(["mixed", "old"]).index[-1]
    return dict(zip(CHOSEN, map(float, best.split("+"))))


def rows(group: str, release: str, likes: int, seeds: Sequence[int] = range(5)) -> pd.DataFrame:
    """A row a method, places and seed: group, release, likes, method, places as in `lists`, seed, and `among`, `mixed`,
    `old` as `judged` says, each the mean over users.

    difference, low, high, p: `mixed` less that of TF-IDF without places, each user's mean over the seeds; beside,
    beside_low, beside_high, beside_p: less that of `hybrid` with the places `CHOSEN`.
    """
    made, new, barred = world(group, release, likes)
    settings = [CHOSEN]
    if group == "validation":
        settings = [dict(zip(CHOSEN, values)) for values in product(SHARES, AFTER, OVER)]
    found: dict[tuple, dict[int, dict]] = {}
    for seed in seeds:
        for key, scores in lists(made, new, seed, settings).items():
            found.setdefault(key, {})[seed] = judged(scores, made, new, barred)
    mean = {key: np.mean([r["mixed"] for r in by_seed.values()], axis=0) for key, by_seed in found.items()}
    plain, whole, table = mean["tfidf", "none"], mean["hybrid", places_of(CHOSEN)], []
    for (method, places), by_seed in found.items():
        test = {}
        for name, before, other in (("difference", "", plain), ("beside", "beside_", whole)):
            test |= compare(mean[method, places], other).columns(name, before)
        label = {"group": group, "release": release, "likes": likes, "method": method, "places": places}
        for seed, values in by_seed.items():
            table.append(label | {"seed": seed} | {name: value.mean() for name, value in values.items()} | test)
    return pd.DataFrame(table)
