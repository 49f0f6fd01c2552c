"""The runner and the command line: `textrec run`, `report`, `data`, `list`, `doctor`, `pretrain`, `eval-encoder`, `lab`, `test`."""

from __future__ import annotations

import ast
import errno
import importlib.metadata
import json
import math
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from textrec_utils import __version__
from textrec_utils.cache import atomic_path, cache_dir, sha256_of, write_atomic

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
STATIC = Path(__file__).resolve().parent / "static"
SOLUTIONS = "solutions-"  # prefix of the pages of worked answers
TELL_EVERY = 60.0  # seconds between two signs of life where no progress bar can move


def build_dir() -> Path:
    """Where reports go: $TEXTREC_BUILD, or `build` in the checkout."""
    return Path(os.environ.get("TEXTREC_BUILD") or ROOT / "build")


class CourseError(click.ClickException):
    """One sentence for the reader, exit status 2."""

    exit_code = 2

    def show(self, file=None) -> None:
        click.echo(f"错误：{self.message}", err=True)


# ---------------------------------------------------------------- chapters and parameters


@dataclass(frozen=True)
class Chapter:
    """A notebook of the course: its file, its stem as name, its first heading as title."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    def read(self) -> dict:
        return json.loads(self.path.read_text(encoding="utf-8"))

    @property
    def title(self) -> str:
        for cell in self.read()["cells"]:
            found = re.search(r"^#\s+(.+)$", "".join(cell["source"]), re.M)
            if cell["cell_type"] == "markdown" and found:
                return found[1].strip()
        return self.name

    def parameters(self) -> dict[str, object]:
        """The literals of the cell tagged `parameters`, read without running anything."""
        for cell in self.read()["cells"]:
            if "parameters" in cell["metadata"].get("tags", []):
                values = {}
                for node in ast.parse("".join(cell["source"])).body:
                    if isinstance(node, ast.Assign):
                        values[node.targets[0].id] = ast.literal_eval(node.value)
                return values
        return {}

    def fingerprint(self, parameters: dict) -> str:
        """SHA-256 over all that the chapter's outputs depend on: its cells, our code and data, parameters, versions."""
        cells = [(c["cell_type"], "".join(c["source"])) for c in self.read()["cells"]]
        files = sorted(Path(__file__).parent.glob("*.py")) + sorted(p for p in (ROOT / "data").rglob("*") if p.is_file())
        inputs = {
            "cells": cells, "parameters": {k: str(v) for k, v in parameters.items()},
            "files": [(p.name, sha256_of(p)) for p in files], "versions": _versions(),
            "dataset": _folder_state(parameters.get("dataset")),
        }  # fmt: skip
        return sha256_of(json.dumps(inputs, sort_keys=True).encode())


def _folder_state(dataset: object) -> list:
    folder = Path(str(dataset))
    if dataset is None or not folder.is_dir():
        return []
    return [(p.name, sha256_of(p)) for p in sorted(folder.iterdir()) if p.is_file()]


def _versions() -> dict[str, str]:
    names = ("torch", "transformers", "numpy", "pandas", "gensim", "jieba", "implicit", "scikit-learn")
    return {n: importlib.metadata.version(n) for n in names} | {"python": platform.python_version()}


def chapters() -> list[Chapter]:
    """The course in reading order; the report is not a chapter."""
    return [Chapter(p) for p in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))]


def find_chapter(word: str) -> Chapter:
    """A chapter by its number (`3`, `03`) or name; CourseError names those there are."""
    names = [c.name for c in chapters()] + ["report"]
    start = f"{int(word):02d}_" if word.isdigit() else word
    found = [n for n in names if n == start or n.startswith(start)]
    if len(found) != 1:
        raise CourseError(f"没有章节 {word}：可用的有 {'、'.join(names)}。")
    return Chapter(NOTEBOOKS / f"{found[0]}.ipynb")


def check_parameters(chapter: Chapter, given: Iterable[tuple[str, str]]) -> dict[str, object]:
    """(name, text) pairs as typed values; refuses unknown names, wrong types and impossible values before anything runs.

    A folder named as data or model becomes an absolute path, since notebooks run in a folder of their own.
    """
    known = chapter.parameters()
    values: dict[str, object] = {}
    for name, text in given:
        _check_name(chapter.name, name, known)
        value = _typed(chapter.name, name, text, known[name])
        _check_value(chapter, name, value)
        values[name] = _folder(text) if name.startswith(("dataset", "model")) else value
    return values


def _check_name(owner: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise CourseError(f"{owner} 没有参数 {name}：可用的有 {'、'.join(known)}。")


def _folder(text: str) -> str:
    """The absolute path of a folder with data or a model; a dataset's or a hub's name stays as it is."""
    from textrec_utils.datasets import DATASETS

    path = Path(text).expanduser()
    return str(path.resolve()) if path.is_dir() and text not in DATASETS else text


def _check_value(chapter: Chapter, name: str, value: object) -> None:
    """Refuse what has the right type and still makes no sense: whole numbers are counts, but for the seed."""
    where = f"{chapter.name} 的参数 {name}"
    if name == "seed" and not 0 <= value < 2**32:
        raise CourseError(f"{where} 应在 0 到 {2**32 - 1} 之间，得到 {value}。")
    if (chapter.name, name) == ("report", "budget"):
        if value < 0:
            raise CourseError(f"{where} 至少是 0（0 表示协同方法不调参，用默认设置），得到 {value}。")
    elif type(value) is int and name != "seed" and value < 1:
        raise CourseError(f"{where} 至少是 1，得到 {value}。")
    if isinstance(value, float) and not math.isfinite(value):
        raise CourseError(f"{where} 应是有限的数，得到 {value}。")
    if chapter.name == "report" and name in ("split", "profile"):
        from textrec_utils.report import PROFILES
        from textrec_utils.splits import PROTOCOLS

        allowed = {"split": ("auto", *PROTOCOLS), "profile": tuple(PROFILES)}[name]
        if value not in allowed:
            raise CourseError(f"{where} 应是 {'、'.join(allowed)} 之一，得到 {value!r}。")


def _typed(owner: str, name: str, text: str, default: object) -> object:
    """A parameter's text as a value of its default's type; `owner`: whose parameter it is, for the sentence."""
    kinds = {bool: "true 或 false", int: "整数", float: "数", str: "文字", list: "用逗号隔开的列表"}
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(default, int):
            return int(text)
        if isinstance(default, float):
            return float(text)
        if isinstance(default, list):
            words = [w.strip() for w in text.strip("[]").split(",") if w.strip()]
            return [type(default[0])(w.strip("'\"")) for w in words] if default else words
        return text
    except (ValueError, KeyError):
        kind = kinds[type(default)]
        raise CourseError(f"{owner} 的参数 {name} 应是{kind}（默认 {default!r}），得到 {text!r}。") from None


# ---------------------------------------------------------------- running


@dataclass
class Outcome:
    """What became of one notebook."""

    name: str
    seconds: float = 0.0
    skipped: bool = False
    error: str = ""


def run_notebook(chapter: Chapter, parameters: dict[str, object], slug: str, *, force: bool = False, label: str = "") -> Outcome:
    """Execute a notebook to `build/notebooks/<slug>.ipynb` and HTML, unless its inputs have not changed.

    Whatever happens, finished files stay whole: the new ones are written beside and renamed.
    """
    state_file = build_dir() / "state" / f"{slug}.json"
    executed = build_dir() / "notebooks" / f"{slug}.ipynb"
    page = build_dir() / "report" / f"{slug}.html"
    fingerprint = chapter.fingerprint(parameters)
    state = json.loads(state_file.read_text(encoding="utf-8")) if state_file.exists() else {}
    fresh = state.get("fingerprint") == fingerprint and not state.get("error")
    if fresh and not force and all(p.exists() and sha256_of(p) == state.get(p.suffix) for p in (executed, page)):
        return Outcome(slug, state["seconds"], skipped=True)
    start = time.perf_counter()
    error = _execute(chapter, parameters, executed, slug, label)
    seconds = time.perf_counter() - start
    state = {
        "fingerprint": fingerprint, "seconds": round(seconds, 1), "error": error, "title": chapter.title,
        "chapter": chapter.name, "parameters": {k: v for k, v in parameters.items() if k != "metrics_csv"},
    }  # fmt: skip
    if not error:
        write_page(executed, page)
        answers = NOTEBOOKS / "solutions" / chapter.path.name
        if answers.exists():  # shown as committed: the answers were run when they were written
            write_page(answers, page.with_name(f"{SOLUTIONS}{slug}.html"))
        state |= {executed.suffix: sha256_of(executed), page.suffix: sha256_of(page)}
    write_atomic(state_file, json.dumps(state, ensure_ascii=False, indent=1).encode())
    return Outcome(slug, seconds, error=f"{error}；日志 {_log(slug)}" if error else "")


def _log(slug: str) -> Path:
    return build_dir() / "logs" / f"{slug}.log"


@contextmanager
def _signs_of_life(label: str, cells: int):
    """Options for papermill's bar; where it can't move (a file, a pipe) a line comes at the start and every minute."""
    if sys.stderr.isatty():
        yield {"desc": label, "unit": "格", "leave": False, "file": sys.stderr}
        return

    class Last:  # what the bar would show by now
        text = ""

        def write(self, text: str) -> None:
            self.text = text.strip() or self.text

        def flush(self) -> None:
            pass

    last, done, start = Last(), threading.Event(), time.perf_counter()

    def tell() -> None:
        while not done.wait(TELL_EVERY):
            click.echo(f"{label}：{last.text}，已用 {time.perf_counter() - start:.0f} 秒")

    click.echo(f"{label}：开始，共 {cells} 格")
    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield {"bar_format": "跑完 {n_fmt}/{total_fmt} 格", "mininterval": 0, "file": last}
    finally:
        done.set()
        thread.join()


def _execute(chapter: Chapter, parameters: dict, executed: Path, slug: str, label: str) -> str:
    """Run by papermill; returns "" or one sentence on what failed and where; the traceback goes to the log."""
    import logging

    import papermill

    logging.getLogger("papermill").setLevel(logging.ERROR)
    # Kernels of this interpreter, quiet bars inside notebooks, hashes that do not change.
    os.environ |= {"PYTHONHASHSEED": "0", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}
    cells = len(chapter.read()["cells"]) + bool(parameters)  # papermill puts those into a cell of their own
    try:
        with atomic_path(executed) as temporary, _signs_of_life(label or slug, cells) as bar:
            papermill.execute_notebook(
                str(chapter.path), str(temporary), parameters=parameters, kernel_name="python3", cwd=str(NOTEBOOKS),
                progress_bar=bar, request_save_on_cell_execute=False, language="python",
                extra_arguments=["--IPKernelApp.log_level=50"],
            )  # fmt: skip
        return ""
    except papermill.PapermillExecutionError as failure:
        text = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(failure.traceback))
        write_atomic(_log(slug), f"{failure.source}\n\n{text}\n".encode())
        # papermill's own cell is not in the reader's notebook: count without it
        tagged = [n for n, c in enumerate(chapter.read()["cells"]) if "parameters" in c["metadata"].get("tags", [])]
        extra = bool(parameters and tagged and failure.cell_index > tagged[0])
        cell = f"第 {failure.cell_index + 1 - extra} 格（In [{failure.exec_count - extra}]）"
        return f"{cell}出错：{failure.ename}: {' '.join(str(failure.evalue).split())}"


def run_many(words: tuple[str, ...], given: Iterable[tuple[str, str]], force: bool) -> list[Outcome]:
    """Run chapters (all, and the report, where none is named), then build the index."""
    chosen = [find_chapter(w) for w in words] or [*chapters(), Chapter(NOTEBOOKS / "report.ipynb")]
    checked = [(c, check_parameters(c, given)) for c in chosen]
    outcomes = []
    try:
        for n, (chapter, parameters) in enumerate(checked, start=1):
            slug = report_slug(parameters) if chapter.name == "report" else chapter.name
            if chapter.name == "report":
                metrics = build_dir() / "report" / "metrics" / f"{slug}.csv"
                metrics.parent.mkdir(parents=True, exist_ok=True)
                parameters = parameters | {"metrics_csv": str(metrics)}
            outcome = run_notebook(chapter, parameters, slug, force=force, label=f"[{n}/{len(checked)}] {slug}")
            outcomes.append(outcome)
            what = "未变，沿用上次结果" if outcome.skipped else ("失败" if outcome.error else f"{outcome.seconds:.0f} 秒")
            click.echo(f"[{n}/{len(checked)}] {slug}：{what}")
            if outcome.error:
                click.echo(f"    {outcome.error}", err=True)
    finally:
        build_index()
    return outcomes


def _shown(value: object) -> str:
    """A parameter for a reader: of a folder on this machine the name is enough."""
    return Path(str(value)).name if Path(str(value)).is_absolute() else str(value)


def report_slug(parameters: dict[str, object]) -> str:
    """`report`, or `report-…` with the parameters that differ from the notebook's own."""
    if not parameters:
        return "report"
    words = [_shown(v) if k == "dataset" else f"{k}-{_shown(v)}" for k, v in sorted(parameters.items())]
    return "report-" + re.sub(r"[^\w.\-]+", "_", "-".join(words))[:80]


# ---------------------------------------------------------------- pages


def write_page(notebook: Path, page: Path) -> None:
    """An executed notebook as one HTML page that is complete without a network."""
    import nbformat
    from traitlets.config import Config

    names = [c.name for c in chapters()]
    links = [("目录", "index.html")]
    if page.stem.startswith(SOLUTIONS):
        links.append(("回到这一章", f"{notebook.stem}.html"))
    elif notebook.stem in names:
        i = names.index(notebook.stem)
        if i > 0:
            links.append(("上一章", f"{names[i - 1]}.html"))
        if i + 1 < len(names):
            links.append(("下一章", f"{names[i + 1]}.html"))
    # Chapters are read with their code; a report goes to people who want the findings.
    findings_only = notebook.stem.startswith("report")
    config = Config({"HTMLExporter": {"embed_images": True, "exclude_input": findings_only, "exclude_output_prompt": findings_only}})
    exporter = _offline_exporter()(
        config=config, template_file="page.html.j2", extra_template_basedirs=[str(STATIC.parent)],
        extra_template_paths=[str(STATIC)], language_code="zh",
    )  # fmt: skip
    content = nbformat.read(notebook, as_version=4)
    content.metadata["title"] = Chapter(notebook).title
    _describe_figures(content.cells)
    resources = {"textrec_nav": links, "textrec_findings_only": findings_only}
    html, _ = exporter.from_notebook_node(content, resources=resources)
    # Links between notebooks become links between pages, which all lie in one folder.
    html = re.sub(r'href="(?:\./|\.\./)?([\w-]+)\.ipynb(#[^"]*)?"', r'href="\1.html\2"', html)
    html = re.sub(r'href="(?:\./)?solutions/([\w-]+)\.ipynb(#[^"]*)?"', rf'href="{SOLUTIONS}\1.html\2"', html)
    write_atomic(page, html.encode())
    asset = page.parent / "assets" / "mermaid.tiny.js"
    if not asset.exists():
        write_atomic(asset, (STATIC / "mermaid.tiny.js").read_bytes())


def _describe_figures(cells) -> None:
    """Give each figure an alternative text: its section, the first sentence before it, the titles and axes in its code."""
    heading = prose = ""
    for cell in cells:
        if cell.cell_type == "markdown":
            heading = ([heading] + re.findall(r"^#+\s+(.+)$", cell.source, re.M))[-1]
            lines = [line for line in cell.source.splitlines() if re.match(r"[^\s#|>`$<-]", line)]
            prose = re.sub(r"\$[^$]*\$|\]\([^)]*\)|[*`\[]", "", lines[0]).partition("。")[0] if lines else ""
            prose = " ".join(prose.split())
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                words = [heading, prose, "、".join(_labels(cell.source))]
                output.metadata.setdefault("image/png", {})["alt"] = "图：" + "。".join(filter(None, words))


def _labels(source: str) -> list[str]:
    """The titles and axis names that a cell's code gives to its figure, in the order of the code."""
    try:
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    except SyntaxError:  # a cell with magics
        return []
    found = []
    for call in calls:
        named = [k.value for k in call.keywords if k.arg in ("title", "xlabel", "ylabel")]
        if getattr(call.func, "attr", "") in ("set_title", "set_xlabel", "set_ylabel"):
            named += call.args[:1]
        found += [v for v in named if isinstance(v, ast.Constant) and isinstance(v.value, str) and v.value]
    return list(dict.fromkeys(v.value for v in sorted(found, key=lambda v: (v.lineno, v.col_offset))))


def _offline_exporter():
    import latex2mathml.converter
    from nbconvert import HTMLExporter
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        """Formulas become MathML, which browsers draw themselves."""

        def inline_math(self, body: str) -> str:
            return latex2mathml.converter.convert(body)

        def block_math(self, body: str) -> str:
            return latex2mathml.converter.convert(body, display="block")

    class OfflineExporter(HTMLExporter):
        def markdown2html(self, context, source):
            cell = context.get("cell", {})
            renderer = Renderer(
                escape=False, attachments=cell.get("attachments", {}), embed_images=True,
                path=str(NOTEBOOKS), anchor_link_text="¶",
            )  # fmt: skip
            return MarkdownWithMath(renderer=renderer).render(source)

        markdown2html.jinja_pass_arg = HTMLExporter.markdown2html.jinja_pass_arg

    return OfflineExporter


def build_index() -> Path:
    """`build/report/index.html` and `metrics.csv` from what lies in the build folder."""
    import jinja2
    import pandas as pd

    report = build_dir() / "report"
    states = {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in sorted((build_dir() / "state").glob("*.json"))}

    def entry(name: str, state: dict) -> dict:
        page = report / f"{name}.html"
        shown = "，".join(f"{k}={_shown(v)}" for k, v in state.get("parameters", {}).items())
        return {
            "name": name, "log": f"../logs/{name}.log" if _log(name).exists() else "",
            "title": state.get("title", name), "href": page.name if page.exists() else "", "seconds": round(state.get("seconds", 0)),
            "failed": state.get("error", ""), "parameters": shown or "默认参数",
        }  # fmt: skip

    rows = [entry(c.name, {"title": c.title} | states.get(c.name, {})) for c in chapters()]
    for row, chapter in zip(rows, chapters()):
        answers = report / f"{SOLUTIONS}{chapter.name}.html"
        row["answers"] = answers.name if answers.exists() else ""
    reports = [entry(n, s) for n, s in states.items() if s.get("chapter") == "report"]
    reports.sort(key=lambda row: row["name"] != "report")  # the default report first
    # The default report first, then the newest: the front page shows the first of them.
    files = sorted((report / "metrics").glob("*.csv"), key=lambda p: (p.stem != "report", -p.stat().st_mtime, p.stem))
    tables = [pd.read_csv(p) for p in files]
    glance = {}
    if tables:
        keys = ["dataset", "protocol", "method", "metric", "k", "parameters", "seed"]
        metrics = pd.concat(tables, ignore_index=True).drop_duplicates(keys, keep="last")
        write_atomic(report / "metrics.csv", metrics.to_csv(index=False).encode("utf-8-sig"))
        glance = _glance(metrics)
    template = jinja2.Environment(autoescape=True).from_string((STATIC / "index.html.j2").read_text(encoding="utf-8"))
    html = template.render(
        chapters=rows, reports=reports, glance=glance, version=__version__,
        python=platform.python_version(), made=time.strftime("%Y-%m-%d %H:%M"),
    )  # fmt: skip
    write_atomic(report / "index.html", html.encode())
    return report / "index.html"


def _glance(metrics) -> dict[str, object]:
    """Heading, columns, rows and note on the ten best methods of the first table in metrics.csv, for the index page."""
    from textrec_utils.evaluation import FEW_USERS

    first = metrics.iloc[0]
    if first["users"] < FEW_USERS:  # nobody wins there, as in the report itself
        return {}
    one = metrics[(metrics[["dataset", "protocol", "metric", "k"]] == first[["dataset", "protocol", "metric", "k"]]).all(axis=1)]
    one = one.sort_values("value", ascending=False).head(10)
    return {
        "heading": f"{first['dataset']}，{first['protocol']} 划分，k={first['k']}",
        "columns": ["方法", f"{first['metric']}@{first['k']}", "95% 区间", "秒"],
        "rows": [[r.method, f"{r.value:.4f}", f"[{r.low:.3f}, {r.high:.3f}]", f"{r.seconds:.1f}"] for r in one.itertuples()],
        "note": f"最好的 {len(one)} 个方法，{first['users']} 个用户，全量排序，区间为对用户自助抽样的 95%；秒数是第一次计算的，之后取自缓存。",
    }


# ---------------------------------------------------------------- the command line


class _Terminated(KeyboardInterrupt):
    """A polite kill (SIGTERM) ends a run as Ctrl-C does: whole files, and an index of what there is."""


def _terminate(*_) -> None:
    raise _Terminated


def _in_chinese(error: click.UsageError) -> click.ClickException:
    """Click's usual complaints in one Chinese sentence; the rest as they are."""
    usage = f"；写法见 {error.ctx.command_path} -h。" if error.ctx else "。"
    if isinstance(error, click.NoSuchOption):
        return CourseError(f"没有选项 {error.option_name}{usage}")
    if isinstance(error, click.MissingParameter) and error.param:
        return CourseError(f"缺少 {error.param.metavar or error.param.opts[0]}{usage}")
    if isinstance(error, click.BadOptionUsage) and "require" in error.message:
        needed = "名字和值两个词，例如 -p k 20" if error.option_name == "-p" else "一个值"
        return CourseError(f"选项 {error.option_name} 后面要有{needed}{usage}")
    extra = re.match(r"Got unexpected extra arguments? \((.*)\)", error.message)
    return CourseError(f"多出了 {extra[1]}{usage}") if extra else error


DISK = {"pretrain": "--out", "data": "TEXTREC_CACHE", "eval-encoder": "TEXTREC_CACHE", "finetune": "TEXTREC_CACHE 或 --out"}  # what each command writes to


class _Cli(click.Group):
    """Turns errors into one sentence and an exit status, Ctrl-C into 130 and a polite kill into 143."""

    def make_context(self, *args, **extra):
        try:
            return super().make_context(*args, **extra)
        except (click.NoSuchOption, click.BadOptionUsage) as error:
            raise _in_chinese(error) from None

    def resolve_command(self, ctx, args):
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise CourseError(f"没有命令 {args[0]}：可用的有 {'、'.join(self.list_commands(ctx))}。")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx):
        from textrec_utils.datasets import DataError

        before = None
        if threading.current_thread() is threading.main_thread():  # the only one that may hear signals
            before = signal.signal(signal.SIGTERM, _terminate)
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _in_chinese(error) from None
        except DataError as error:
            raise CourseError(str(error)) from None
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
                raise
            where = f"（{error.filename}）" if error.filename else ""
            other = DISK.get(ctx.invoked_subcommand, "TEXTREC_BUILD")
            raise CourseError(f"写不进磁盘{where}：{error.strerror}。已有的结果没有动；请腾出空间或换一个 {other} 后再运行。") from None
        except KeyboardInterrupt as stop:
            killed = isinstance(stop, _Terminated)
            click.echo(f"\n已{'被终止' if killed else '中断'}；跑完的章节都保留着，再次运行会接着来。", err=True)
            ctx.exit(143 if killed else 130)
        finally:
            if before is not None:
                signal.signal(signal.SIGTERM, before)


class _WithParameters(click.Command):
    """Takes `-p name=value` for `-p name value`: no parameter has an equals sign in its name."""

    def parse_args(self, ctx, args):
        words = []
        for before, word in zip(["", *args], args):
            words += word.split("=", 1) if before == "-p" and "=" in word else [word]
        return super().parse_args(ctx, words)


@click.group(cls=_Cli, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """《预训练语言模型与文本推荐》：运行课程、生成报告。"""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a Windows console may be GBK
            stream.reconfigure(errors="replace")


_parameter = click.option("-p", "pairs", multiple=True, nargs=2, metavar="名字 值", help="参数，可多次给出；也可写成 名字=值。")
_force = click.option("--force", is_flag=True, help="即使输入没变也重新运行。")


def _finish_run(outcomes: list[Outcome]) -> None:
    index = build_dir() / "report" / "index.html"
    click.echo(f"请打开 {index}")
    failed = [o.name for o in outcomes if o.error]
    if failed:
        raise CourseError(f"{'、'.join(failed)} 没有跑完，其余结果都已保留。")


@main.command(cls=_WithParameters)
@click.argument("words", nargs=-1, metavar="[章节]…")
@_parameter
@_force
def run(words: tuple[str, ...], pairs, force: bool) -> None:
    """运行章节（默认全部和报告），例如 textrec run 03 05。"""
    _finish_run(run_many(words, pairs, force))


@main.command(cls=_WithParameters)
@_parameter
@_force
def report(pairs, force: bool) -> None:
    """按参数生成报告，例如 textrec report -p dataset caixin -p k 20。"""
    from textrec_utils.datasets import load_dataset
    from textrec_utils.report import open_split

    notebook = Chapter(NOTEBOOKS / "report.ipynb")
    values = notebook.parameters() | check_parameters(notebook, pairs)
    # What the data, the split or the model can't do is told before a kernel starts.
    dataset = load_dataset(values["dataset"])
    if values["k"] > len(dataset.items):
        raise CourseError(f"report 的参数 k 至多是物品总数 {len(dataset.items)}，得到 {values['k']}。")
    open_split(dataset, values.get("split", "auto"), min_value=values.get("min_value", 0.0), seed=values.get("seed", 0))
    if "model" in dict(pairs):
        from textrec_utils.encoder import Encoder

        Encoder(str(values["model"]))
    _finish_run(run_many(("report",), pairs, force))


@main.command()
@click.argument("name", metavar="数据集")
def data(name: str) -> None:
    """取得并检查一个数据集（名字或文件夹）。"""
    from textrec_utils.datasets import load_dataset

    dataset = load_dataset(name)
    click.echo(f"{dataset.name}：{len(dataset.users):,} 用户，{len(dataset.items):,} 物品，{len(dataset.interactions):,} 交互")
    click.echo(f"来源：{dataset.source}\n许可：{dataset.licence}\n校验和：{dataset.checksum()}")
    for sentence in dataset.removed:
        click.echo(f"注意：{sentence}")


@main.command("list")
def list_() -> None:
    """列出章节、报告参数、数据集和模型。"""
    from textrec_utils.datasets import DATASETS, project_data

    for chapter in chapters():
        page = build_dir() / "report" / f"{chapter.name}.html"
        click.echo(f"{'✓' if page.exists() else '·'} {chapter.name:26} {chapter.title}")
    shown = "，".join(f"{k}={v!r}" for k, v in Chapter(NOTEBOOKS / "report.ipynb").parameters().items())
    click.echo(f"\n报告参数：{shown}")
    click.echo(f"数据集：{'、'.join(DATASETS)}，或自己的文件夹")
    models = [p.parent.name for p in sorted((project_data() / "models").glob("*/config.json"))]
    click.echo(f"自带模型：{'、'.join(models)}，或任何 Hugging Face 名字、本地文件夹")


@main.command()
def doctor() -> None:
    """检查版本、字体、磁盘、数据和模型。"""
    from textrec_utils.encoder import DEFAULT_MODEL, find_model, has_bf16

    problems = []
    click.echo(f"textrec {__version__}，Python {platform.python_version()}，{platform.system()} {platform.machine()}")
    click.echo("，".join(f"{k} {v}" for k, v in _versions().items() if k != "python"))
    try:
        from textrec_utils.plotting import use_cjk_font

        click.echo(f"字体：{use_cjk_font()}")
    except Exception as error:  # a doctor reports, it does not die
        problems.append(f"中文字体不可用（{error}），请重装 mplfonts")
    free = shutil.disk_usage(ROOT).free / 2**30
    click.echo(f"磁盘剩余 {free:.0f} GB，缓存 {cache_dir()}")
    if free < 2:
        problems.append("磁盘剩余不到 2 GB，请先清理")
    model = find_model(DEFAULT_MODEL)
    click.echo(f"模型 {DEFAULT_MODEL}：{'找到' if Path(model).is_dir() else '没有找到'}；bf16 {'可用' if has_bf16() else '不可用'}")
    if not Path(model).is_dir():
        problems.append(f"找不到 data/models/{DEFAULT_MODEL}，请重新克隆仓库")
    kept = cache_dir() / "data" / "movielens-zh" / "u.data"
    click.echo(f"MovieLens：{'已在缓存' if kept.exists() else '尚未下载（首次使用时自动取得）'}")
    click.echo(f"镜像 TEXTREC_MIRROR：{os.environ.get('TEXTREC_MIRROR') or '未设置'}")
    if problems:
        raise CourseError("；".join(problems) + "。")
    click.echo("一切就绪。下一步：textrec run 或 textrec lab")


@main.command()
@click.option("--config", "path", default="data/models/mini-bert-zh/pretrain.toml", show_default=True, help="训练配置（TOML）。")
@click.option("--corpora", required=True, help="语料所在的文件夹；文件名和校验和写在配置里。")
@click.option("--out", required=True, help="工作文件夹：词表、教师向量、检查点、曲线；再次运行从这里接着来。")
@click.option("--teacher", default="", help="教师编码器：名字或本地文件夹，代替配置里的 teacher。")
@click.option("--device", default="cpu", show_default=True, help="cpu、cuda 或 mps。")
def pretrain(path: str, corpora: str, out: str, teacher: str, device: str) -> None:
    """预训练一个小的中文BERT，随时可以中断，再运行就接着来。"""
    from textrec_utils.pretraining import Pretraining, read_config

    found = Path(path) if Path(path).is_file() else ROOT / path
    run = Pretraining(read_config(found), corpora, out, teacher=teacher, device=device)
    click.echo(f"{len(run.texts):,} 条文本，词表 {len(run.tokenizer):,}，第 {run.step:,} 步，共 {run.total_steps:,} 步")
    try:
        run.train()
    except KeyboardInterrupt:
        click.echo(f"\n已中断：第 {run.step:,} 步的检查点在 {out}，再次运行会从这里接着来。", err=True)
        sys.exit(130)
    click.echo(f"训练用了 {run.seconds / 60:.0f} 分钟。模型在 {run.export(Path(out) / 'model')}；用 textrec eval-encoder 量一量它。")


@main.command(cls=_WithParameters)
@click.option("--dataset", default="movielens-zh", show_default=True, help="数据集的名字，或装有自己数据的文件夹。")
@click.option("--split", "protocol", default="leave_last_out", show_default=True, help="划分方式。")
@click.option("--model", default="mini-bert-zh", show_default=True, help="编码器：名字或本地文件夹。")
@click.option("--prefix", default="", help="每条文本前加的字，例如 E5 要 'query: '。")
@_parameter
@click.option("--early-stopping", is_flag=True, help="先在验证集上定训练多少步，再用全部训练数据训练。")
@click.option("--metric", default="ndcg@10", show_default=True, help="报告和早停看的指标。")
@click.option("--out", default="", help="把训练好的物品塔存成SentenceTransformer也认得的文件夹。")
@click.option("--log-dir", default="", help="写TensorBoard日志的文件夹。")
@click.option("--device", default="cpu", show_default=True, help="cpu 或 cuda。")
def finetune(dataset, protocol, model, prefix, pairs, early_stopping, metric, out, log_dir, device) -> None:
    """微调双塔，例如 textrec finetune -p rung lora --out build/tower；-p 是TwoTowerConfig的各项。

    可以中断，再运行就接着来。几个进程一起：torchrun --nproc-per-node 2 -m textrec_utils.course finetune …
    """
    from textrec_utils import finetuning
    from textrec_utils.datasets import load_dataset
    from textrec_utils.evaluation import bootstrap_interval, evaluate, parse_metric
    from textrec_utils.export import check_export, save_sentence_transformer
    from textrec_utils.splits import make_split

    defaults = vars(finetuning.TwoTowerConfig())
    for name, _ in pairs:
        _check_name("finetune", name, defaults)
    try:
        config = finetuning.TwoTowerConfig(**{n: _typed("finetune", n, text, defaults[n]) for n, text in pairs})
        parse_metric(metric)
    except ValueError as error:
        raise CourseError(str(error)) from None
    if device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            raise CourseError(f"这台机器上没有可用的 {device}：请用 --device cpu。")
    if out:
        check_export(config, out)  # before hours of training
    data = load_dataset(_folder(dataset))
    split = make_split(data, protocol, seed=config.seed)
    try:
        with finetuning.processes(device) as device:
            first = int(os.environ.get("RANK", "0")) == 0
            options = {"prefix": prefix, "device": device}
            logs = Path(log_dir) if first and log_dir else None  # one process writes them
            if early_stopping:
                config, _ = finetuning.early_stopping(split, config, model, metric=metric, log_dir=logs and logs / "validation", **options)
                if first:
                    click.echo(f"早停：验证 {metric} 在第 {config.stop} 步最高。")
            tower = finetuning.train_two_tower(split, config, model, log_dir=logs, **options)
    except ValueError as error:
        raise CourseError(str(error)) from None
    except KeyboardInterrupt:
        click.echo("\n已中断：训练若已开始，到这一步的检查点已经存下；同样的命令再运行一次就接着走。", err=True)
        sys.exit(130)
    if not first:
        return
    found = evaluate(tower.recommender("双塔"), split, [metric])
    low, high = bootstrap_interval(found.users[metric])
    click.echo(
        f"{data.name}，{protocol}，{len(split.test_users):,} 位用户：{metric} = {found.mean(metric):.4f}，95% 区间 [{low:.4f}, {high:.4f}]；"
        f"训练了 {tower.trained:,} 个参数，{tower.cost.seconds:.0f} 秒"
    )
    if out:
        click.echo(f"物品塔在 {save_sentence_transformer(tower, out)}：SentenceTransformer(文件夹).encode(文字) 就是物品向量。")


@main.command("eval-encoder")
@click.argument("names", nargs=-1, required=True, metavar="名字…")
@click.option("--corpora", default=None, help="装有STS-B、LCQMC、新闻标题的文件夹；不给就用课程自写的小测试集。")
@click.option("--prefix", default="", help="每条文本前加的字，例如 E5 要 'query: '。")
@click.option("--bf16", is_flag=True, help="用bfloat16编码，大编码器快一倍。")
@click.option("--speed", is_flag=True, help="也量速度：与12层、宽768的BERT比。")
def eval_encoder(names: tuple[str, ...], corpora: str | None, prefix: str, bf16: bool, speed: bool) -> None:
    """给编码器打分：句子相似、同义问句、标题归类、猜字。"""
    import pandas as pd

    from textrec_utils.encoder_quality import LABELS, evaluate_encoder, read_eval_sets

    sets = read_eval_sets(corpora)
    rows = {name: evaluate_encoder(name, sets, prefix=prefix, bf16=bf16, speed=speed) for name in names}
    click.echo(f"测试集：{sets.name}（{len(sets.similarity.left):,} 对句子、{len(sets.paraphrase.left):,} 对问句、{len(sets.titles):,} 个标题）")
    click.echo(pd.DataFrame(rows).rename(LABELS).to_string(float_format=lambda v: f"{v:.4g}"))


@main.command()
def lab() -> None:
    """在 JupyterLab 里打开课程。"""
    sys.exit(subprocess.call([sys.executable, "-m", "jupyterlab", str(NOTEBOOKS)]))


@main.command()
@click.option("--fast", is_flag=True, help="只跑单元测试，不跑笔记本。")
def test(fast: bool) -> None:
    """运行全部测试：pytest，然后用 nbval 检查每个笔记本的输出。"""
    os.environ |= {"PYTHONHASHSEED": "0", "TOKENIZERS_PARALLELISM": "false"}
    codes = [subprocess.call([sys.executable, "-m", "pytest"], cwd=ROOT)]
    if not fast:
        # One notebook a core, each with one thread: quicker than all cores on one notebook after the other.
        os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        nbval = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=1200", "-p", "no:cacheprovider"]
        workers = ["-n", str(max(1, min(4, os.cpu_count() or 1))), "--dist", "loadfile"]
        # The largest first, which are about the longest: no core shall wait for one that came last.
        files = sorted(NOTEBOOKS.rglob("*.ipynb"), key=lambda path: -path.stat().st_size)
        files = [str(path) for path in files if ".ipynb_checkpoints" not in path.parts]
        codes.append(subprocess.call([sys.executable, "-m", "pytest", *nbval, *workers, *files], cwd=ROOT))
    if any(codes):
        raise CourseError("有测试没有通过，见上面的输出。")
    click.echo("测试全部通过。下一步：textrec run 生成报告，或 textrec lab 打开课程。")


if __name__ == "__main__":
    main()
