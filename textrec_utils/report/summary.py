"""A report in figures: what a program reads instead of the page, and bars that these figures must clear."""

from __future__ import annotations

import json
import math
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path

from textrec_utils.core.errors import DataError
from textrec_utils.core.files import write_atomic
from textrec_utils.core.machine import versions
from textrec_utils.evaluation.results import Result
from textrec_utils.report import advice, verdict
from textrec_utils.report.claims import Claims
from textrec_utils.report.comparisons import Rivalry
from textrec_utils.report.methods import METHODS
from textrec_utils.report.run import Report

FORMAT = 1  # of the file; grows when a name in it changes its meaning
AT_MOST = ("seconds", "peak_mb", "request_ms", "resident_mb")  # what should be small; metrics should be large


def summary(report: Report, claims: Claims, cold: Report | None = None, **told) -> dict:
    """What the page says, as plain JSON values: verdict, methods with intervals, comparisons, cautions, and how they
    came about. cold: the report on new items. told: parameters and the like, kept under their names.

    Numbers that don't exist (nan) are null. Methods are named by their keys, which stay when labels change.
    """
    ship = None if report.few else advice.chosen(report, claims)
    data = report.split.dataset
    made = {
        "format": FORMAT, "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "verdict": verdict.in_words(report, claims).splitlines(),
        "ship": ship and ship.key, "first": claims.first and claims.first.key, "text": claims.sides.text.key,
        "behaviour": claims.sides.behaviour.key, "main_metric": report.main, "protocol": report.split.protocol,
        "users": report.users, "candidates": report.candidates,
        "cautions": [*report.cautions, *(cold.cautions if cold else ())],
        "methods": _methods(report),
        "comparisons": [*_pairs(claims.first, claims.peers), *_pairs(claims.sides.text, claims.rivals)],
        "new_items": cold and {
            "main_metric": cold.main, "users": cold.users, "candidates": cold.candidates, "methods": _methods(cold),
            "among_all": {"main_metric": cold.whole_main} | {
                key: _number(plain.mean(cold.whole_main)) for key, (plain, _) in cold.mixed.items()
            },
        },
        "data": {"name": data.name, "checksum": data.checksum()}, "versions": versions(),
    }  # fmt: skip
    return made | told


def write(path: str | Path, *given, **told) -> None:
    """`summary` of the same into a JSON file."""
    text = json.dumps(summary(*given, **told), ensure_ascii=False, indent=1, allow_nan=False)
    write_atomic(Path(path), text.encode())


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _methods(report: Report) -> dict[str, dict]:
    """By key, best first by the main metric."""
    found = {}
    for result in sorted(report.results.values(), key=lambda r: -r.mean(report.main)):
        serving = report.serving[result.key]
        metrics = {}
        for name in result.users.columns:
            low, high = result.interval(name)
            metrics[name] = {"mean": _number(result.mean(name)), "low": _number(low), "high": _number(high)}
        search, cost = report.searches.get(result.key), result.cost
        found[result.key] = {
            "label": result.method, "kind": METHODS[result.key].kind, "metrics": metrics,
            "validation": report.validation.get(result.key), "seconds": round(cost.seconds, 2),
            "seconds_by_stage": {stage: round(spent, 2) for stage, spent in cost.by_stage().items()},
            "tuning_seconds": None if search is None else round(search, 2), "peak_mb": round(cost.peak_mb, 1),
            "request_ms": round(serving.ms, 2), "resident_mb": round(serving.mb, 2), "settings": result.parameters,
        }  # fmt: skip
    return found


def _pairs(first: Result | None, against: Mapping[str, Rivalry]) -> list[dict]:
    return [
        {
            "of": first.key, "against": key, "difference": r.test.difference, "low": r.test.low, "high": r.test.high,
            "p": r.test.p_value, "p_holm": r.p, "visible": _number(r.visible),
        }
        for key, r in against.items()
    ]  # fmt: skip


# ---------------------------------------------------------------- bars


def read_bars(path: str | Path) -> dict[str, dict[str, float]]:
    """{whose: {what: bar}} from a TOML file; whose: ship, first, text, behaviour or a method's key, and "report" for
    the bars outside a table. Raises DataError, in one sentence, for a file that is none of this."""
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path} 读不了（{error.strerror}）：--check 要一个TOML文件。") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f'{path} 不是TOML（{error}）：写法例如 [ship] 下面一行 "ndcg@10" = 0.08。') from None
    bars = {"report": {k: v for k, v in content.items() if not isinstance(v, dict)}}
    bars |= {whose: some for whose, some in content.items() if isinstance(some, dict)}
    for whose, some in bars.items():
        if whose not in ("report", "ship", "first", "text", "behaviour", *METHODS):
            raise DataError(f"{path} 里没有方法 {whose}：可用的有 ship、first、text、behaviour、{'、'.join(METHODS)}。")
        for what, bar in some.items():
            known = what in ("users", "cautions") if whose == "report" else what in AT_MOST or "@" in what
            if not known or isinstance(bar, bool) or not isinstance(bar, (int, float)):
                raise DataError(
                    f'{path} 里的 {what} = {bar!r} 不认识：方法下面可写指标（如 "ndcg@10"，至少）和 '
                    f"{'、'.join(AT_MOST)}（至多），表外可写 users（至少）和 cautions（至多），都是数。"
                )
    return bars


def missed(found: dict, bars: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The bars that a report, as `summary` gives it, doesn't clear: one sentence each; none where it clears all."""
    told = []
    for whose, some in bars.items():
        key = found.get(whose) if whose in ("ship", "first", "text", "behaviour") else whose
        method = found["methods"].get(key)
        for what, bar in some.items():
            if whose == "report":
                value, most = (found["users"], False) if what == "users" else (len(found["cautions"]), True)
            elif method is None:
                told.append(f"{whose} 没有结果，{what} 无从比")
                continue
            else:
                metric = method["metrics"].get(what)
                value, most = (metric and metric["mean"], False) if "@" in what else (method[what], True)
            name = whose if whose in ("report", key) else f"{whose}（{key}）"
            if value is None:
                told.append(f"{name} 的 {what} 没有量（报告的指标见页面旁边的 .json）")
            elif value > bar if most else value < bar:
                told.append(f"{name} 的 {what} 是 {value:.4g}，{'高于至多的' if most else '低于至少的'} {bar:g}")
    return told
