"""A trained two-tower model, and the recommender that serves by it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from scipy import sparse

from textrec_utils.baselines.base import Product, Recommender, known_rows
from textrec_utils.baselines.content import unit_rows
from textrec_utils.baselines.history import history_weights
from textrec_utils.core.cost import Cost
from textrec_utils.encoder.loading import DEFAULT_MODEL
from textrec_utils.finetuning.config import ENCODED, TwoTowerConfig
from textrec_utils.splits import Split


@dataclass
class TwoTower:
    """A trained two-tower model: item vectors ready for a dot product, the learning curve, the cost.

    item_vectors: (items, dim), of length 1 unless similarity is `dot`. curve: (points, 2 or 3): step, training loss
    since the last point and, where a judge was given, what it said. trained: number of trained parameters. cost:
    encoding and training, each step once. precision: of the encoder's passes with gradient, `float32` or `bf16`.
    encoder: fingerprint of the encoder that the training began with, "" where none was read.
    weights: the trained tensors by name, for `save_sentence_transformer`. profile_vectors: (users, dim) or None.
    attention: (items,) logits and the exponent r of the age, or None. fused: settings of what `fuse` put beside it.
    """

    item_vectors: np.ndarray
    curve: np.ndarray
    trained: int
    cost: Cost
    config: TwoTowerConfig
    model: str = DEFAULT_MODEL
    prefix: str = ""
    precision: str = "float32"
    encoder: str = ""
    weights: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    profile_vectors: np.ndarray | None = None
    attention: tuple[np.ndarray, float] | None = None
    fused: list[dict[str, object]] = field(default_factory=list)

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], cost: Cost, config: TwoTowerConfig, *origin: str) -> TwoTower:
        """From the arrays that a run gives. origin: model, prefix, precision, encoder."""
        tower = cls(arrays["item_vectors"], arrays["curve"], int(arrays["trained"][0]), cost, config, *origin)
        tower.weights = {n: a for n, a in arrays.items() if n.startswith(("head.", "encoder.", "scale."))}
        tower.profile_vectors = arrays.get("profile_vectors")
        if "attention" in arrays:
            tower.attention = arrays["attention"], float(arrays["recency"][0])
        return tower

    @property
    def best_step(self) -> int:
        """The step of the curve's best judged point. Raises ValueError where no judge was given."""
        if self.curve.shape[1] < 3:
            raise ValueError("曲线上没有验证分数：训练时没有给 judge。")
        return int(self.curve[self.curve[:, 2].argmax(), 0])

    def settings(self) -> dict[str, object]:
        """The settings as they were: the config's fields, model, prefix, the precision used, and what was fused."""
        origin = {"model": self.model, "prefix": self.prefix, "precision_used": self.precision}
        return self.config.to_dict() | origin | ({"fused_with": self.fused} if self.fused else {})

    def fuse(self, other: TwoTower, weight: float = 0.5) -> TwoTower:
        """Both models' item vectors side by side, so that one dot product adds up both scores.

        weight: this model's share: (√weight · a, √(1 − weight) · b), again of length 1.
        Raises ValueError where the two don't weigh a history alike: one mean of joined vectors would serve neither.
        """
        if self.attention or other.attention or self._user_settings() != other._user_settings():
            raise ValueError(
                "两座塔的用户向量算法不同（user、history、half_life、profile、similarity），不能拼成一座；"
                "请用ZScoreBlend融合分数。"
            )

        def joined(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return np.hstack([np.sqrt(weight) * a, np.sqrt(1 - weight) * b]).astype(np.float32)

        both, trained = joined(self.item_vectors, other.item_vectors), self.trained + other.trained
        fused = TwoTower(both, self.curve, trained, self.cost + other.cost, self.config, self.model, self.prefix)
        fused.fused = [*self.fused, {"weight": weight} | other.settings()]
        if self.config.profile:
            fused.profile_vectors = joined(self.profile_vectors, other.profile_vectors)
        return fused

    def _user_settings(self) -> tuple:
        c = self.config
        return c.user, c.history, c.half_life if c.user == "recency" else 0, c.profile, c.similarity == "dot"

    def recommender(self, name: str, half_life: float | None = None) -> UserTower:
        """The user tower and the dot product, as `evaluate` takes them; it carries the tower's cost and settings.

        half_life: of the history when it serves, whatever the tower was trained with; for one that `fades`.
        """
        return UserTower(self, name, half_life)


class UserTower(Recommender):
    """user = weighted mean of the history's item vectors (`TwoTowerConfig.user`), or the profile's; score = u · i.

    The plain mean of whole histories stays as long as it is: the score is then a mean over the history (chapter 07),
    and `half_life` may weigh it.
    """

    cold_items = True
    FITTED = ("_items", "_users", "_logits", "_decay")

    def __init__(self, tower: TwoTower, name: str, half_life: float | None = None):
        self.name, self.cost, self._settings, self.half_life = name, tower.cost, tower.settings(), half_life
        self._items, self._profiles = tower.item_vectors, tower.profile_vectors
        self._logits, self._decay = (None, None) if tower.attention is None else map(np.asarray, tower.attention)
        if half_life is not None and not self.fades:
            raise ValueError("half_life 只能给 user='mean'、不截历史、不读资料的塔；别的塔训练时就定好了历史的权重。")

    @property
    def fades(self) -> bool:
        c = self._settings
        return c["user"] == "mean" and not c["history"] and not c["profile"]

    @property
    def needs(self) -> frozenset[str]:
        c = self._settings
        reads = {part["features"] for part in (c, *c.get("fused_with", ()))}
        timed = c["user"] != "mean" or c["history"] or c["question"] == "cut"
        encodes, reads = c["profile"] or reads & {*ENCODED}, c["profile"] or reads - {"ids", "random"}
        return frozenset(["text"] * bool(reads) + ["model"] * bool(encodes) + ["time"] * bool(timed)) | self._timed()

    @property
    def new_users(self) -> bool:
        return bool(self._settings["profile"])

    def settings(self) -> dict[str, object]:
        return self._settings | ({} if self.half_life is None else {"served_half_life": self.half_life})

    def weights(self, split: Split) -> sparse.csr_matrix:
        """(users, items) float32: what each item of a history counts in the user's vector; rows sum to 1."""
        user, half_life, latest = (self._settings[name] for name in ("user", "half_life", "history"))

        def attend(history: np.ndarray, age: np.ndarray) -> np.ndarray:
            logits = self._logits[history] - self._decay * np.log1p(age)
            return np.exp(logits - logits.max())

        weigh = attend if user == "attention" else None
        return history_weights(split, half_life if user == "recency" else self.half_life, weigh=weigh, latest=latest)

    def fit(self, split: Split) -> Self:
        config = self._settings
        self._users = self.weights(split) @ self._items
        if config["similarity"] != "dot" and not self.fades:
            self._users = unit_rows(self._users)
        if self._profiles is not None:
            empty = np.array([len(h) == 0 for h in split.histories])
            self._users[empty] = self._profiles[empty]
        return self

    def fold_in(self, split: Split) -> Self:
        """Of users without a history nothing is known, also where the tower reads profiles."""
        made = copy(self)
        made._profiles = None
        return made.fit(split)

    def product(self) -> Product:
        if self.fades:
            return Product(self._items, self._items, half_life=self.half_life)
        return Product(users=self._users, items=self._items)

    def score(self, users: np.ndarray) -> np.ndarray:
        return self._users[known_rows(users, len(self._users))] @ self._items.T

    @classmethod
    def _restored(cls, settings: dict[str, object], arrays: dict[str, object]) -> Self:
        model = super()._restored(settings, arrays)
        model._settings = {name: value for name, value in settings.items() if name != "served_half_life"}
        model.half_life, model._profiles = settings.get("served_half_life"), None
        return model
