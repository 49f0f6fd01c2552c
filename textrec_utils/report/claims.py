"""All comparisons that the report's conclusions rest on, made on the test and corrected as one family."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from textrec_utils.evaluation.results import Result
from textrec_utils.evaluation.statistics import holm
from textrec_utils.report.comparisons import Rivalry, Sides, peers, rivalries, sides_of, versus_each
from textrec_utils.report.groups import Grouping, groupings
from textrec_utils.report.methods import KINDS
from textrec_utils.report.run import Report

# Of new items: what reads the same texts without a model (as they come; centred and narrowed, as towers read them),
# what the tower of both reads without training, that tower, and no order at all.
NEW_RIVALS = ("tfidf_char", "lexical", "both", "two_tower_both", "random")


@dataclass(frozen=True)
class Contest:
    """A text method against NEW_RIVALS, by key, judged by a metric."""

    text: Result
    rivals: dict[str, Rivalry]
    metric: str


@dataclass(frozen=True)
class NewItems:
    """alone, mixed: where only new items are ranked and where all items are, each with the text method that is best
    there by validation: on another draw of new items, out of the training part."""

    report: Report
    alone: Contest
    mixed: Contest


@dataclass
class Claims:
    """first: the best by validation (None: too few users). peers: against it, the best of the other kinds and the
    second. rivals: the text method's. groups: p corrected. new: None where there are no new items to judge by.
    count: different comparisons, the family of Holm's correction."""

    sides: Sides
    first: Result | None
    peers: dict[str, Rivalry]
    rivals: dict[str, Rivalry]
    groups: list[Grouping] = field(default_factory=list)
    new: NewItems | None = None
    count: int = 0

    def words(self) -> str:
        """What the correction counts, in one sentence."""
        parts = {
            "第一名对其余各类的代表和第二名": len(self.peers), "文本方法对它的对手": len(self.rivals),
            "各组里文本方法对协同方法": sum(len(g.table) for g in self.groups),
            "新物品": len(self.new.alone.rivals) + len(self.new.mixed.rivals) if self.new else 0,
        }  # fmt: skip
        told = "、".join(f"{name}{n}次" for name, n in parts.items() if n)
        twice = "（同一对方法只算一次）" if self.count < sum(parts.values()) else ""
        return f"能写进结论的比较共{self.count}次：{told}{twice}。Holm校正把它们当作一家，一次校正到底。"


def gather(report: Report, cold: Report | None = None) -> Claims:
    """cold: the report on new items, if any. Raises TooLittleData as `sides_of` does."""
    sides = sides_of(report)
    first = None if report.few else report.best(*KINDS)
    claims = Claims(sides, first, peers(report), rivalries(report, sides), groupings(report, sides))
    of_new = cold or report
    if of_new.mixed and not of_new.few:
        claims.new = new_items(of_new)
    return corrected(claims)


def new_items(cold: Report) -> NewItems:
    """The test's new items choose nothing, unless there was too little for a validation."""

    def contest(where: Report) -> Contest:
        text = where.best("text")
        keys = [key for key in NEW_RIVALS if key in where.results and key != text.key]
        return Contest(text, versus_each(where, text, keys), where.main)

    plain = {key: unplaced for key, (unplaced, _) in cold.mixed.items()}
    mixed = replace(cold, results=plain, validation=cold.mixed_validation, k=cold.whole_k or cold.k)
    return NewItems(cold, contest(cold), contest(mixed))


def _family(claims: Claims) -> Iterator[tuple[object, float]]:
    """(what is compared, p) of every comparison; the same pair may come twice."""
    for first, others in ((claims.first, claims.peers), (claims.sides.text, claims.rivals)):
        for key, rivalry in others.items():
            yield frozenset((first.key, key)), rivalry.test.p_value
    for grouping in claims.groups:
        for group, p in zip(grouping.table["组"], grouping.table["p"]):
            yield (grouping.name, group), p
    if claims.new:
        for where in ("alone", "mixed"):
            for key, rivalry in getattr(claims.new, where).rivals.items():
                yield (where, key), rivalry.test.p_value


def corrected(claims: Claims) -> Claims:
    """The same, every p after Holm's correction over all of them."""
    raw = dict(_family(claims))
    p = dict(zip(raw, holm(list(raw.values())).tolist()))

    def told(of: dict[str, Rivalry], name) -> dict[str, Rivalry]:
        return {key: replace(rivalry, p=p[name(key)], among=len(raw)) for key, rivalry in of.items()}

    text, groups = claims.sides.text.key, []
    for g in claims.groups:
        groups.append(replace(g, table=g.table.assign(p=[p[g.name, group] for group in g.table["组"]])))
    new = claims.new
    if new:
        for where in ("alone", "mixed"):
            of = getattr(new, where)
            rivals = told(of.rivals, lambda key, where=where: (where, key))
            new = replace(new, **{where: replace(of, rivals=rivals)})
    ahead = told(claims.peers, lambda key: frozenset((claims.first.key, key)))
    rivals = told(claims.rivals, lambda key: frozenset((text, key)))
    return replace(claims, peers=ahead, rivals=rivals, groups=groups, new=new, count=len(raw))
