"""The front page of what was run, and all numbers of all reports in one table."""

import json
import math
import platform
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import click

from textrec_utils import __version__
from textrec_utils.core.escape import in_csv
from textrec_utils.core.files import write_atomic
from textrec_utils.core.paths import build_dir
from textrec_utils.course.chapters import chapters, shown, the_report, title_of
from textrec_utils.course.pages import ANSWERS, STATIC, is_made, write_documents

# A report's later number takes the place of its earlier one; reports never take each other's.
KEYS = ["report", "min_value", "dataset", "protocol", "method", "metric", "k", "parameters", "seed"]
NUMBERS = ["value", "low", "high", "users", "seconds"]  # what the front page shows

STATE = {"title": str, "chapter": str, "parameters": dict, "seconds": (int, float), "error": str}


def log_path(slug: str) -> Path:
    return build_dir() / "logs" / f"{slug}.log"


def state_path(slug: str) -> Path:
    return build_dir() / "state" / f"{slug}.json"


def read_state(path: Path) -> dict:
    """What is known of an earlier run; {} where there is none, or the file is damaged or says it another way."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        whole = isinstance(state, dict) and all(isinstance(state.get(k), kind) for k, kind in STATE.items())
        return state if whole and math.isfinite(state["seconds"]) else {}
    except (OSError, ValueError):
        return {}


def build_index() -> Path:
    """`build/report/index.html` and `metrics.csv` from what lies in the build folder."""
    import jinja2

    report = build_dir() / "report"
    states = {p.stem: read_state(p) for p in sorted((build_dir() / "state").glob("*.json"))}

    def entry(name: str, state: dict, parts: int = 1) -> dict:
        page, answers = report / f"{name}.html", report / f"{ANSWERS}{name}.html"
        figures = page.with_suffix(".json")
        given = "，".join(f"{k}={shown(v, parts)}" for k, v in state.get("parameters", {}).items())
        return {
            "name": name, "log": f"../logs/{name}.log" if log_path(name).exists() else "",
            "title": state.get("title", name), "href": page.name if is_made(page) else "",
            "answers": answers.name if is_made(answers) else "", "seconds": round(state.get("seconds", 0)),
            "figures": figures.name if figures.exists() else "",
            "failed": state.get("error", ""), "parameters": given or "默认参数",
        }  # fmt: skip

    rows = []
    for chapter in chapters():
        rows.append(entry(chapter.name, {"title": chapter.title} | states.get(chapter.name, {})))
        others = [n for n, s in states.items() if s.get("chapter") == chapter.name and n != chapter.name]
        rows += [entry(name, states[name]) for name in others]
    not_run = [c for c in chapters() if not is_made(report / f"{c.name}.html") and c.name not in states]
    titles = _told_apart({n: s["parameters"] for n, s in states.items() if s.get("chapter") == "report"})
    reports = [entry(name, states[name] | {"title": title}, parts) for name, (title, parts) in titles.items()]
    reports.sort(key=lambda row: row["name"] != "report")  # the default report first
    template = jinja2.Environment(autoescape=True).from_string((STATIC / "index.html.j2").read_text(encoding="utf-8"))
    made = template.render(
        chapters=rows, reports=reports, not_run=len(not_run), chapters_total=len(chapters()),
        glance=_gather_metrics(report), documents=write_documents(), version=__version__,
        python=platform.python_version(), made=time.strftime("%Y-%m-%d %H:%M"),
    )  # fmt: skip
    write_atomic(report / "index.html", made.encode())
    asset = report / "assets" / "mermaid.tiny.js"
    if not asset.exists():
        write_atomic(asset, (STATIC / asset.name).read_bytes())
    return report / "index.html"


def _told_apart(reports: Mapping[str, Mapping[str, object]]) -> dict[str, tuple[str, int]]:
    """{name: (title, how many folders of its paths are told)}: no two titles are alike, though folders' names be.

    reports: their parameters by name.
    """
    found, every = {}, the_report()
    for parts in range(1, 10):
        titles = {name: title_of(every, parameters, parts) for name, parameters in reports.items()}
        count = Counter(titles.values())
        alone = {name: (title, parts) for name, title in titles.items() if count[title] == 1 or parts == 9}
        found = alone | found
    return {name: found[name] for name in reports}


def _gather_metrics(report: Path) -> dict[str, object]:
    """Write metrics.csv; returns what the front page shows of it."""
    import pandas as pd

    tables = []
    # The default report first, then the newest: the front page shows the first of them.
    for path in sorted((report / "metrics").glob("*.csv"), key=lambda p: (p.stem != "report", -p.stat().st_mtime)):
        try:
            table = pd.read_csv(path, dtype={"dataset": str})
            for name, value in (("min_value", float("nan")), ("report", path.stem)):  # older tables lack them
                if name not in table:
                    table.insert(0, name, value)
            table = table[[*KEYS, *(c for c in table if c not in KEYS)]].astype({c: float for c in NUMBERS})
        except (ValueError, KeyError):  # empty or cut short
            click.echo(f"注意：{path} 读不了，metrics.csv 里没有这份报告；用 --force 再跑一次就有了。", err=True)
            continue
        tables.append(table.drop_duplicates(KEYS, keep="last"))
    tables = [table for table in tables if len(table)]
    if not tables:
        return {}
    metrics = pd.concat(tables, ignore_index=True).drop_duplicates(KEYS)
    words = [c for c in metrics if not pd.api.types.is_numeric_dtype(metrics[c])]
    safe = metrics.assign(**{c: metrics[c].map(in_csv, na_action="ignore") for c in words})
    write_atomic(report / "metrics.csv", safe.to_csv(index=False).encode("utf-8-sig"))
    return _glance(metrics)


def _glance(metrics) -> dict[str, object]:
    """Heading, columns, rows and note on the ten best methods of the first table in metrics.csv, for the front page."""
    from textrec_utils.evaluation import FEW_USERS

    first, same = metrics.iloc[0], ["report", "dataset", "protocol", "metric", "k"]
    if first["users"] < FEW_USERS:  # nobody wins there, as in the report itself
        return {}
    one = metrics[(metrics[same] == first[same]).all(axis=1)].sort_values("value", ascending=False).head(10)
    rows = [[r.method, f"{r.value:.4f}", f"[{r.low:.3f}, {r.high:.3f}]", f"{r.seconds:.1f}"] for r in one.itertuples()]
    return {
        "heading": f"{first['dataset']}，{first['protocol']} 划分，k={first['k']}",
        "columns": ["方法", f"{first['metric']}@{first['k']}", "95% 区间", "秒"],
        "rows": rows,
        "note": f"最好的 {len(one)} 个方法，{first['users']:.0f} 个用户，全量排序，区间为对用户自助抽样的 95%；"
        "秒数是第一次计算的，之后取自缓存。",
    }
