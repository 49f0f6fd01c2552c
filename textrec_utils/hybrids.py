"""Several recommenders as one: blended scores, blended ranks, places kept for newcomers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy

import numpy as np

from textrec_utils.baselines.base import Recommender
from textrec_utils.core.cost import Cost
from textrec_utils.splits import Split


class Given(Recommender):
    """Scores that were computed before, (users, items): trying another weight in a blend then costs next to nothing.

    That is 4 bytes a score; where there are many users, give a blend the fitted part itself and `fit_parts=False`.
    What made them isn't known here, so its flags promise nothing.
    """

    FITTED = ("_scores",)

    def __init__(self, name: str, scores: np.ndarray):
        self.name, self._scores = name, scores

    def fit(self, split: Split) -> Given:
        return self

    def score(self, users: np.ndarray) -> np.ndarray:
        return np.asarray(self._scores[users], dtype=np.float32)


class Blend(Recommender):
    """Base of the fusions: fits every part (where asked to) and remembers who may be recommended.

    parts: fitted or unfitted recommenders. weights: one a part, any scale; None: all the same.
    fit_parts: False where the parts were fitted on this very split before.
    It costs what its parts cost, needs what they need, and knows what one of them knows.
    """

    SETTINGS = ("weights",)
    FITTED = ("_candidates", "_seen")
    _fit_parts = True

    def __init__(
        self, parts: Sequence[Recommender], weights: Sequence[float] | None = None, *,
        name: str = "", fit_parts: bool = True,
    ):  # fmt: skip
        if not parts:
            raise ValueError("融合至少要有一个推荐器。")
        if weights is not None and len(weights) != len(parts):
            raise ValueError(f"{len(parts)} 个推荐器给了 {len(weights)} 个权重；两者要一样多。")
        self.parts, self._fit_parts = list(parts), fit_parts
        self.weights = [float(w) for w in weights] if weights is not None else [1.0] * len(parts)
        self.name = name or "＋".join(part.name for part in parts)
        self.cost = sum((part.cost for part in parts), Cost())

    needs = property(lambda self: frozenset().union(*(part.needs for part in self.parts)))
    cold_items = property(lambda self: any(part.cold_items for part in self.parts))
    new_users = property(lambda self: any(part.new_users for part in self.parts))

    def settings(self) -> dict[str, object]:
        """Its own, and under `parts` each part's with its name."""
        return super().settings() | {"parts": [{"name": part.name, **part.settings()} for part in self.parts]}

    def fit(self, split: Split) -> Blend:
        if self._fit_parts:
            for part in self.parts:
                part.fit(split)
        self._candidates, self._seen = split.candidates, split.train_matrix
        return self

    def fold_in(self, split: Split) -> Blend:
        made = copy(self)
        made.parts, made._seen = [part.fold_in(split) for part in self.parts], split.train_matrix
        return made

    def score(self, users: np.ndarray) -> np.ndarray:
        return sum(self.added(users), 0.0).astype(np.float32)

    def added(self, users: np.ndarray) -> Iterator[np.ndarray]:
        """(users, items) float64 of each part: what it adds to the score."""
        # Only what can be recommended is compared: most parts score the history itself highest.
        open_ = self._candidates & (self._seen[users].toarray() == 0)  # (users, items)
        for part, weight in zip(self.parts, self.weights):
            yield weight * self._comparable(np.asarray(part.score(users), dtype=np.float64), open_)

    def _comparable(self, scores: np.ndarray, open_: np.ndarray) -> np.ndarray:
        """(users, items) scores of one part on a scale that all parts share; open_: bool, what may be recommended."""
        raise NotImplementedError


class ZScoreBlend(Blend):
    """score = Σ weight · (s − mean) / std, mean and std over what may be recommended to the user.

    A part that knows nothing of a user gives every item the same score; it then adds nothing.
    """

    def _comparable(self, scores: np.ndarray, open_: np.ndarray) -> np.ndarray:
        count = np.maximum(open_.sum(axis=1, keepdims=True), 1)
        centred = scores - np.where(open_, scores, 0).sum(axis=1, keepdims=True) / count
        spread = np.sqrt(np.where(open_, centred**2, 0).sum(axis=1, keepdims=True) / count)
        return centred / np.where(spread > 1e-12, spread, np.inf)


class ReciprocalRankFusion(Blend):
    """score = Σ weight / (constant + rank) (Cormack, Clarke & Buettcher 2009); rank 1 is a part's best among what
    may be recommended to the user.

    Asks for ranks alone, so no scale can spoil it. Items with equal scores share their mean rank: a part that
    can't tell them apart shall not prefer the first of them.
    """

    SETTINGS = ("weights", "constant")

    def __init__(
        self, parts: Sequence[Recommender], weights: Sequence[float] | None = None, *,
        constant: float = 60.0, name: str = "", fit_parts: bool = True,
    ):  # fmt: skip
        super().__init__(parts, weights, name=name, fit_parts=fit_parts)
        self.constant = constant

    def _comparable(self, scores: np.ndarray, open_: np.ndarray) -> np.ndarray:
        from scipy.stats import rankdata

        ranks = rankdata(-np.where(open_, scores, -np.inf), axis=1)
        return 1.0 / (self.constant + ranks)


class NewcomerPlaces(Blend):
    """The last places of a list are kept for items that have just come: the more of them, the more a user has liked.

    What few have had a chance to like scores low beside what everyone knows, whoever would like it: scores compare
    within each of the two groups, not across. Whoever has liked much has had the best of the old, and loses least by
    new ones.
    parts: what ranks the established items and, where a second one is given, what ranks the newcomers. new: (items,)
    bool; None: what has no training like. Of the first k places the last ⌊most · min(1, max(0, f − after) / over)⌋
    are newcomers', where f is the share of users who have liked fewer items than this one; further newcomers come after
    everything else. most: None is half of k. The scores are minus ranks.
    """

    SETTINGS = ("after", "over", "most", "k")  # the defaults: chosen on validation films of movielens-zh (chapter 08)
    FITTED = ("_candidates", "_seen", "_new", "_lengths")

    def __init__(
        self, parts: Sequence[Recommender], *, new: np.ndarray | None = None, after: float = 0.3, over: float = 0.2,
        most: int | None = None, k: int = 10, name: str = "", fit_parts: bool = True,
    ):  # fmt: skip
        most = k // 2 if most is None else most
        if len(parts) > 2 or not 0 <= after < 1 or not over > 0 or not 0 <= most <= k:
            got = f"{len(parts)}个、{after}、{over}、{most}"
            raise ValueError(f"一个或两个推荐器，after 从 0 到 1，over 大于 0，most 至多 k（{k}）；得到{got}。")
        super().__init__(parts, name=name, fit_parts=fit_parts)
        self.after, self.over, self.most, self.k, self._given = after, over, most, k, new

    def fit(self, split: Split) -> NewcomerPlaces:
        self._new = split.cold if self._given is None else self._given
        lengths = np.diff(split.train_matrix.indptr)
        self._lengths = np.sort(lengths[lengths > 0])
        return super().fit(split)

    def places(self, users: np.ndarray) -> np.ndarray:
        """(users,) how many of the first k places are kept for newcomers."""
        lengths = np.diff(self._seen.indptr)[users]
        share = np.searchsorted(self._lengths, lengths) / max(1, len(self._lengths))
        return np.floor(self.most * np.clip((share - self.after) / self.over, 0, 1) + 1e-9).astype(int)

    def score(self, users: np.ndarray) -> np.ndarray:
        seen = self._seen[users]
        open_ = self._candidates & (seen.toarray() == 0)  # (users, items)
        old = np.asarray(self.parts[0].score(users))
        new = old if len(self.parts) == 1 else np.asarray(self.parts[1].score(users))
        established = open_ & ~self._new
        old_rank, new_rank = _ranks(old, established), _ranks(new, open_ & self._new)
        highest = np.where(established, old, -np.inf).max(axis=1, initial=-np.inf)
        lowest = np.where(established, old, np.inf).min(axis=1, initial=np.inf)
        old_rank[highest <= lowest] = 0  # it tells nothing apart for them: no order shall come of the rows' own
        kept = np.minimum(self.places(users), (open_ & self._new).sum(axis=1))[:, None]
        place = np.where(new_rank < kept, self.k - kept + new_rank, old.shape[1] + new_rank)
        place = np.where(self._new, place, old_rank + kept * (old_rank >= self.k - kept))
        return -place.astype(np.float32)


def _ranks(scores: np.ndarray, among: np.ndarray) -> np.ndarray:
    """(users, items) ranks from 0, best first, of those in `among`, then all others; ties in the order of items."""
    order = np.argsort(-np.where(among, scores, -np.inf), axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(scores.shape[1])[None], axis=1)
    return ranks
