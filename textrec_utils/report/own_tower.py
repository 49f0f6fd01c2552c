"""A text method that the data's own validation chooses: which vectors, how many steps of a head on them, how much the
recent likes count, how much popularity. Vectors as they are stand among the candidates: training can't lose there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from textrec_utils.baselines.base import Recommender
from textrec_utils.baselines.content import HistoryMean, tfidf_vectors
from textrec_utils.baselines.prior import TextPopularity
from textrec_utils.core.cost import Cost, measure
from textrec_utils.core.store import cached_arrays
from textrec_utils.encoder.loading import DEFAULT_MODEL
from textrec_utils.evaluation.results import evaluate
from textrec_utils.finetuning.config import TwoTowerConfig
from textrec_utils.finetuning.features import frozen_table, read_texts
from textrec_utils.finetuning.result import TwoTower
from textrec_utils.finetuning.train import train_two_tower
from textrec_utils.finetuning.trainer import CURVE_POINTS
from textrec_utils.hybrids import ZScoreBlend
from textrec_utils.splits import Split
from textrec_utils.tuning import HALF_LIVES, VALIDATIONS, Tuned

VECTORS = {"tfidf": "TF-IDF（字）", "lexical": "词面", "encoder": "BERT", "both": "BERT＋词面"}
LOOKS = (1, 2, 4, 7, 10)  # of the curve's ten points, those that are candidates
# A linear head begins at the vectors' own ranking; what it has learned serves plain means of histories. Temperature and
# rate: by validation on douban-movies and kuairec, where popularity stands beside the tower.
HEAD = {"features": "both", "head": "linear", "rung": "head", "user": "mean", "history": 0, "profile": False}
HEAD |= {"temperature": 0.2, "learning_rate": 2e-3}
STEPS = 100  # of its schedule
PRIORS = (0.0, 0.3, 0.6, 1.0, 2.0)  # weights of popularity beside the history's score, both as z-scores
PLAIN = {"vectors": "tfidf", "steps": 0, "half_life": None, "prior": 0.0}
MANY_ITEMS = 5_000  # with more, a training takes so long that two inner splits must do


@dataclass
class Looks:
    """A judge for one training that judges nothing: it keeps the item vectors at LOOKS, by step."""

    split: Split
    every: int  # steps between two points of the curve
    seen: int = 0
    vectors: dict[int, np.ndarray] = field(default_factory=dict)

    def __call__(self, tower: TwoTower) -> float:
        self.seen += 1
        if self.seen in LOOKS:
            self.vectors[self.seen * self.every] = tower.item_vectors.astype(np.float16)
        return 0.0


def simplest(values: Sequence[Sequence[np.ndarray]]) -> int:
    """Which candidate to take: the first that the best doesn't surely beat, that is by more than one standard error
    (Breiman et al. 1984) and on every inner split.

    values: by candidate, simplest first, each user's value on each inner split. The error is of the paired difference:
    over users or, where there are several splits and they differ more, over splits.
    """
    best = highest(values)
    for number, parts in enumerate(values[:best]):
        gaps = [above - part for above, part in zip(values[best], parts)]
        means = [gap.mean() for gap in gaps]
        if np.mean(means) <= standard_error(gaps) or min(means) <= 0:
            return number
    return best


def highest(values: Sequence[Sequence[np.ndarray]]) -> int:
    """Of the same, the candidate with the highest mean over splits; the first of equals."""
    return int(np.argmax([np.mean([part.mean() for part in parts]) for parts in values]))


def effort(setting: dict) -> tuple[float, ...]:
    """How much of a setting is learned from likes, by which settings are ordered: steps, popularity, half-life. Vectors
    as they are have learned nothing of them, whichever they are."""
    half_life = setting["half_life"]
    return setting["steps"], setting["prior"], 0.0 if half_life is None else 1 / half_life


def standard_error(gaps: Sequence[np.ndarray]) -> float:
    """Of the mean over splits of the means over users."""
    count = len(gaps)
    users = np.sqrt(sum(gap.var(ddof=1) / len(gap) for gap in gaps if len(gap) > 1)) / count
    splits = np.std([gap.mean() for gap in gaps], ddof=1) / np.sqrt(count) if count > 1 else 0.0
    return float(max(users, splits))


def validations(split: Split) -> int:
    """On how many inner splits a choice is made. Never on one: how much they differ, of time or of items that are drawn
    as new, no number of users tells."""
    return VALIDATIONS if split.n_items <= MANY_ITEMS else 2


@dataclass
class OwnTower:
    """What is chosen from on one split. config: of the head, its schedule cut to STEPS. budget: trainings, at most."""

    split: Split
    config: TwoTowerConfig
    model: str = DEFAULT_MODEL
    prefix: str = ""
    metric: str = "ndcg@10"
    budget: int = VALIDATIONS

    def __post_init__(self):
        self.config = replace(self.config, **HEAD, steps=min(STEPS, self.config.steps))

    def vectors(self, kind: str) -> tuple[np.ndarray, Cost]:
        """One of VECTORS, and what it took."""
        if kind == "tfidf":
            with measure("encode") as cost:
                made = tfidf_vectors(list(self.split.dataset.items["text"]))
            return made, cost
        return frozen_table(self.split, replace(self.config, features=kind), self.model, self.prefix)

    def choose(self, *, fading: bool = False) -> Tuned:
        """The setting to take; the test stays unseen.

        Tried are vectors and steps; on the best of them half-lives (where `fading`), then weights of popularity; with
        these all vectors and steps again. Of all that was tried, by `effort` and then by the mean, `simplest` is taken.
        The table has it first, then the others in the order in which they were tried. From the store where the same
        was chosen before.
        Raises TooLittleData where the data can't be parted once more.
        """
        inners = self.split.inners(min(validations(self.split), self.budget))
        encoder = read_texts(self.split, self.config, self.model, self.prefix, "cpu").encoder  # before the clock
        depends = {
            "数据": self.split.fingerprint, "设置": self.config.read(), "编码器": encoder.fingerprint,
            "前缀": self.prefix, "指标": self.metric, "验证": len(inners), "半衰期": fading,
        }  # fmt: skip

        def packed() -> dict[str, np.ndarray]:
            return {"json": np.frombuffer(json.dumps(self._search(inners, fading)).encode(), np.uint8)}

        made = cached_arrays("own_tower", depends, packed, stage="tune")
        tried = json.loads(made["json"].tobytes())
        table = pd.DataFrame([row["setting"] for row in tried]).astype({"half_life": object})
        for n in range(len(inners)):
            table[f"#{n}"] = [row["values"][n] for row in tried]
        table[f"验证 {self.metric}"] = table[[f"#{n}" for n in range(len(inners))]].mean(axis=1)
        return Tuned(tried[0]["setting"], table, self.metric, (), made.cost)

    def _search(self, inners: Sequence[Split], fading: bool) -> list[dict]:
        """[{setting, values: on each inner split}, …], the chosen one first."""
        tables = {kind: self.vectors(kind)[0] for kind in VECTORS}
        looks = [Looks(inner, max(1, self.config.steps // CURVE_POINTS)) for inner in inners]
        for look in looks:
            train_two_tower(
                look.split, self.config, self.model, prefix=self.prefix, judge=look, progress=False, cache=False
            )
        priors = [TextPopularity(tables["both"]).fit(inner) for inner in inners]
        tried: list[tuple[dict, list[np.ndarray]]] = []  # each user's value on each inner split

        def values(setting: dict) -> list[np.ndarray]:
            steps, found = setting["steps"], []
            for look, prior in zip(looks, priors):
                vectors = look.vectors[steps].astype(np.float32) if steps else tables[setting["vectors"]]
                history = HistoryMean(vectors, "", half_life=setting["half_life"]).fit(look.split)
                model = joined(history, prior, setting, fit_parts=False)
                found.append(evaluate(model, look.split, [self.metric]).users[self.metric].to_numpy())
            return found

        def attempt(**choices: list) -> None:
            """Try these values, side by side, in the best setting so far."""
            best = tried[highest([users for _, users in tried])][0] if tried else PLAIN
            for several in zip(*choices.values()):
                setting = best | dict(zip(choices, several))
                if setting not in [known for known, _ in tried]:
                    tried.append((setting, values(setting)))

        steps = list(looks[0].vectors)
        kinds = {"vectors": [*VECTORS, *["both"] * len(steps)], "steps": [0] * len(VECTORS) + steps}
        attempt(**kinds)
        if fading:
            attempt(half_life=HALF_LIVES)
        attempt(prior=list(PRIORS))
        attempt(**kinds)
        order = sorted(tried, key=lambda pair: (effort(pair[0]), -np.mean([users.mean() for users in pair[1]])))
        best = order[simplest([users for _, users in order])][0]
        rows = [{"setting": s, "values": [float(part.mean()) for part in users]} for s, users in tried]
        return sorted(rows, key=lambda row: row["setting"] != best)

    def build(self, setting: dict, name: str) -> Recommender:
        """The recommender of a chosen setting, its head trained on all of the split's training part."""
        table, read = self.vectors("both") if setting["prior"] else (None, Cost())
        if setting["steps"]:
            config = replace(self.config, stop=setting["steps"])
            tower = train_two_tower(self.split, config, self.model, prefix=self.prefix, progress=False)
            history = tower.recommender(name, setting["half_life"])
        else:
            vectors, cost = self.vectors(setting["vectors"])
            told = {"vectors": setting["vectors"], "chosen": "validation"}
            history = HistoryMean(vectors, name, half_life=setting["half_life"], cost=cost, settings=told)
        made = joined(history, TextPopularity(table), setting, name)
        made.cost = made.cost + read
        return made


def trained(parameters: Mapping[str, object]) -> bool:
    """Has the recommender of these settings a trained tower in it?"""
    return any("rung" in part for part in (parameters, *parameters.get("parts", ())))


def in_words(setting: Mapping[str, object]) -> str:
    """A setting as a reader wants it told.

    >>> in_words({"vectors": "both", "steps": 0, "half_life": None, "prior": 0.0})
    'BERT＋词面的向量，没有训练'
    >>> in_words({"vectors": "both", "steps": 40, "half_life": 5.0, "prior": 0.6})
    'BERT＋词面的向量，上面的线性头训练40步，半衰期5件，热度的权重0.6'
    """
    told = [f"{VECTORS[setting['vectors']]}的向量"]
    told += [f"上面的线性头训练{setting['steps']}步" if setting["steps"] else "没有训练"]
    if setting["half_life"]:
        told.append(f"半衰期{setting['half_life']:g}件")
    if setting["prior"]:
        told.append(f"热度的权重{setting['prior']:g}")
    return "，".join(told)


def candidates(found: Tuned) -> pd.DataFrame:
    """What was chosen from: vectors and steps, each with the half-life and the weight that went best with it; of the
    chosen ones, the chosen."""
    figure = found.table.columns[-1]
    rows = found.table.assign(chosen=found.table.index == 0)
    rows = rows.sort_values(["chosen", figure], ascending=False, kind="stable").drop_duplicates(["vectors", "steps"])
    rows = rows.iloc[np.lexsort((rows["vectors"].map(list(VECTORS).index), rows["steps"]))]
    return pd.DataFrame({
        "向量": rows["vectors"].map(VECTORS), "训练（步）": rows["steps"],
        "半衰期": ["不减" if h is None or h != h else f"{h:g}" for h in rows["half_life"]],
        "热度的权重": rows["prior"], figure: rows[figure].round(4), "选中": np.where(rows["chosen"], "✓", ""),
    }).reset_index(drop=True)  # fmt: skip


def joined(history: Recommender, prior: TextPopularity, setting: dict, name: str = "", **options) -> Recommender:
    """The history's score and, where the setting gives it a weight, popularity. options: of the blend."""
    weights = (1.0, setting["prior"])
    return ZScoreBlend([history, prior], weights, name=name, **options) if setting["prior"] else history
