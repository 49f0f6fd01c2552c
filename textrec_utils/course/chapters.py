"""The notebooks of the course: which there are, what parameters they take, what their outputs depend on."""

import ast
import importlib.metadata
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click

from textrec_utils.core.errors import DataError, TextrecError
from textrec_utils.core.files import sha256_of
from textrec_utils.core.machine import versions
from textrec_utils.core.paths import notebooks_dir, project_data, project_root

FILLED = ("metrics_csv", "summary_json", "report_id")  # parameters that the runner fills in where a notebook has them


# About what each notebook takes alone with one thread, by its name's beginning; for the order of running alone, so
# that old figures cost little: `textrec test` prints new ones, `textrec run` remembers its own.
SECONDS = {
    "00": 35, "01": 45, "02": 92, "02b": 50, "03": 70, "04": 160, "04b": 230, "05": 130, "06": 310, "06b": 300,
    "07": 55, "08": 330, "09": 250, "report": 350, "solutions/06": 110,
}  # fmt: skip


class CourseError(click.ClickException, TextrecError):
    """One sentence for the reader, exit status 2."""

    exit_code = 2

    def show(self, file=None) -> None:
        click.echo(f"错误：{self.message}", err=True)


# ---------------------------------------------------------------- notebooks


@dataclass(frozen=True)
class Chapter:
    """A notebook of the course: its file, its stem as name, its first heading as title."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def answers(self) -> Path:
        """The notebook with the worked answers; the report has none."""
        return self.path.parent / "solutions" / self.path.name

    def read(self) -> dict:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            cells = [{"cell_type": "raw", "source": "", "metadata": {}} | cell for cell in content["cells"]]
            if not all(isinstance(cell["metadata"], dict) for cell in cells):
                raise TypeError
            return content | {"cells": cells}
        except (ValueError, KeyError, TypeError):
            where = f"notebooks/{self.path.name}"
            raise CourseError(f"{where} 不是完整的笔记本，读不了：请用 git checkout {where} 取回它。") from None

    def cells(self) -> list[dict]:
        """The cells; of a damaged notebook none: it shall not keep the others from being listed and run."""
        try:
            return self.read()["cells"]
        except CourseError:
            return []

    @property
    def title(self) -> str:
        for cell in self.cells():
            found = re.search(r"^#\s+(.+)$", "".join(cell["source"]), re.M)
            if cell["cell_type"] == "markdown" and found:
                return found[1].strip()
        return self.name

    @property
    def datasets(self) -> list[str]:
        """The data sets that the outputs as committed need and that the course doesn't ship."""
        return list(self.read().get("metadata", {}).get("textrec", {}).get("datasets", []))

    def parameters(self) -> dict[str, object]:
        """The literals of the cell tagged `parameters`, read without running anything."""
        values = {}
        for cell in self.cells():
            if "parameters" in cell["metadata"].get("tags", []):
                try:
                    for node in ast.parse("".join(cell["source"])).body:
                        if isinstance(node, ast.Assign):
                            values[node.targets[0].id] = ast.literal_eval(node.value)
                except (SyntaxError, ValueError, AttributeError):
                    raise CourseError(f"{self.name} 的参数一格读不懂：每行只能是“名字 = 字面值”。") from None
                break
        return values

    def fingerprint(self, parameters: Mapping[str, object]) -> str:
        """SHA-256 over all that the chapter's pages depend on: its cells and answers, our code, templates and data,
        the lock file, parameters, the folders that these name, versions."""
        content, root = self.read(), project_root()
        own = [*(root / "textrec_utils").rglob("*"), *project_data().rglob("*"), root / "requirements.lock"]
        folders = [Path(str(v)) for k, v in parameters.items() if k.startswith(("dataset", "model"))]
        named = [p for folder in folders if folder.is_dir() for p in folder.rglob("*")]
        files = [(p, p.stat()) for p in sorted({self.answers, *own, *named}) if _counts(p)]
        inputs = {
            "cells": [(c["cell_type"], "".join(c["source"]), c["metadata"].get("tags")) for c in content["cells"]],
            "parameters": {k: str(v) for k, v in parameters.items()}, "versions": _installed(),
            "TEXTREC_BF16": os.environ.get("TEXTREC_BF16", ""),
            "files": [(os.path.relpath(p, root), _sum(p, about.st_mtime_ns, about.st_size)) for p, about in files],
            "mirror": os.environ.get("TEXTREC_MIRROR") if self.datasets else None,
        }  # fmt: skip
        return sha256_of(json.dumps(inputs, sort_keys=True).encode())


def _counts(path: Path) -> bool:
    return path.is_file() and path.suffix != ".pyc" and not path.name.startswith(".")


@cache  # all notebooks depend on the same files
def _sum(path: Path, changed: int, size: int) -> str:
    return sha256_of(path)


@cache  # reading them takes a third of a second
def _installed() -> dict[str, str]:
    """The installed version of every library that this package declares (the lock only says what should be installed),
    and Python's."""
    found = versions()
    for line in importlib.metadata.requires("textrec-utils") or ():
        name = re.match(r"[\w.\-]+", line)[0]
        if "extra ==" not in line:
            found[name] = importlib.metadata.version(name)
    return found


def chapters() -> list[Chapter]:
    """The course in reading order; the report is not a chapter."""
    return [Chapter(p) for p in sorted(notebooks_dir().glob("[0-9][0-9]*_*.ipynb"))]


@cache
def why_not(dataset: str) -> str:
    """Why a data set can't be had; "" where it can."""
    from textrec_utils.datasets import load_dataset

    try:
        load_dataset(dataset)
        return ""
    except DataError as error:
        return str(error)


def usual_seconds(notebook: Path) -> float:
    """About how long a notebook takes; of an unknown one a minute."""
    folder = f"{notebook.parent.name}/" if notebook.parent.name == "solutions" else ""
    return SECONDS.get(folder + notebook.stem.partition("_")[0], 60)


def the_report() -> Chapter:
    return Chapter(notebooks_dir() / "report.ipynb")


def find_chapter(word: str) -> Chapter:
    """A chapter by its number (`3`, `03`, `2b`) or name; CourseError names those there are."""
    every = [*chapters(), the_report()]
    number = re.fullmatch(r"(\d+)([a-z]?)", word, re.A)
    start = f"{int(number[1]):02d}{number[2]}_" if number else word
    found = [c for c in every if c.name == start or c.name.startswith(start)]
    if len(found) != 1:
        raise CourseError(f"没有章节 {word}：可用的有 {'、'.join(c.name for c in every)}。")
    return found[0]


# ---------------------------------------------------------------- parameters


def chosen(words: Iterable[str], given: Iterable[tuple[str, str]]) -> list[tuple[Chapter, dict[str, object]]]:
    """The chapters named (all, and the report, where none is), each with what was given and differs from its own.

    Where only some of several have a parameter the refusal says which.
    """
    found, given = [find_chapter(word) for word in words] or [*chapters(), the_report()], list(given)
    for chapter in found if given else ():
        chapter.read()  # of a damaged notebook it isn't known what it takes
    for name, text in given:
        have = [c.name.partition("_")[0] for c in found if name in c.parameters() and name not in FILLED]
        lack = [c.name for c in found if name not in c.parameters()]
        if have and lack:
            only = f"请只运行有它的，例如 textrec run {have[0]} -p {name} {text}"
            raise CourseError(f"参数 {name} 不是每一章都有：{'、'.join(have)} 有，{'、'.join(lack)} 没有；{only}。")
    jobs = []
    for chapter in found:
        own = chapter.parameters()
        jobs.append((chapter, {k: v for k, v in check_parameters(chapter, given).items() if v != own[k]}))
    return jobs


def check_parameters(chapter: Chapter, given: Iterable[tuple[str, str]]) -> dict[str, object]:
    """(name, text) pairs as typed values; refused before anything runs: unknown names, wrong types, impossible values.

    A folder named as data or model becomes an absolute path, since notebooks run in a folder of their own.
    """
    given = list(given)
    if given:
        chapter.read()  # damaged: told as such
    known = {name: value for name, value in chapter.parameters().items() if name not in FILLED}
    values = typed(chapter.name, known, given)
    for name, value in values.items():
        _check_value(chapter, name, value)
    return values


def typed(owner: str, known: Mapping[str, object], given: Iterable[tuple[str, str]]) -> dict[str, object]:
    """(name, text) pairs as values of the types of `known`, the defaults; `owner`: whose they are, for the sentence."""
    values: dict[str, object] = {}
    for name, text in given:
        if name not in known:
            raise CourseError(f"{owner} 没有参数 {name}：可用的有 {'、'.join(known)}。")
        value = _typed(owner, name, text, known[name])
        values[name] = _folder(name, text) if name.startswith(("dataset", "model")) and value == text else value
    return values


def _folder(parameter: str, text: str) -> str:
    """The absolute path of a folder with data or a model; a data set's name, or that of a model that ships with the
    course or lies on the hub, stays as it is (./name is the folder)."""
    from textrec_utils.datasets import DATASETS

    path = Path(text).expanduser()
    shipped = Path(text).name == text and (project_data() / "models" / text / "config.json").is_file()
    name = text in DATASETS if parameter.startswith("dataset") else shipped
    return str(path.resolve()) if path.is_dir() and not name else text


def _check_value(chapter: Chapter, name: str, value: object) -> None:
    """Refuse what has the right type and still makes no sense: whole numbers are counts, but for the seed."""
    where = f"{chapter.name} 的参数 {name}"
    if isinstance(value, list):
        for one in value:
            _check_value(chapter, name, one)
    if name == "seed" and not 0 <= value < 2**32:
        raise CourseError(f"{where} 应在 0 到 {2**32 - 1} 之间，得到 {value}。")
    if (chapter.name, name) == ("report", "budget"):
        if value < 0:
            raise CourseError(f"{where} 至少是 0（0 表示协同方法不调参，用默认设置），得到 {value}。")
    elif type(value) is int and name != "seed" and value < 1:
        raise CourseError(f"{where} 至少是 1，得到 {value}。")
    if isinstance(value, float) and not math.isfinite(value):
        raise CourseError(f"{where} 应是有限的数，得到 {value}。")
    if (chapter.name, name) == ("report", "min_value"):
        from textrec_utils.report.run import threshold

        try:
            threshold(value)
        except DataError as error:
            raise CourseError(f"{chapter.name} 的参数 {error}") from None
    if chapter.name == "report" and name in ("pooling", "max_length"):
        from textrec_utils.finetuning.config import TwoTowerConfig

        try:
            TwoTowerConfig(**{name: value})
        except ValueError as error:
            raise CourseError(f"{chapter.name} 的参数 {error}") from None
    if chapter.name == "report" and name in ("split", "profile"):
        from textrec_utils.report import PROFILES
        from textrec_utils.splits import GIVEN, PROTOCOLS

        allowed = {"split": ("auto", *PROTOCOLS, GIVEN), "profile": tuple(PROFILES)}[name]
        if value not in allowed:
            raise CourseError(f"{where} 应是 {'、'.join(allowed)} 之一，得到 {value!r}。")


def _typed(owner: str, name: str, text: str, default: object) -> object:
    kinds = {bool: "true 或 false", int: "整数", float: "数", list: "用逗号隔开的列表", tuple: "用逗号隔开的列表"}
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(default, (int, float)):
            return type(default)(text)
        if isinstance(default, (list, tuple)):
            words = [w.strip() for w in text.strip("[]()").split(",") if w.strip()]
            return [type(default[0])(w.strip("'\"")) for w in words] if default else words
        return text
    except (ValueError, KeyError):
        kind = kinds[type(default)]
        raise CourseError(f"{owner} 的参数 {name} 应是{kind}（默认 {default!r}），得到 {text!r}。") from None


def shown(value: object, parts: int = 1) -> str:
    """A parameter for a reader: of a folder on this machine the name is enough, or its last `parts`."""
    path = Path(str(value))
    return "/".join(path.parts[-parts:]) if path.is_absolute() else str(value)


def title_of(chapter: Chapter, parameters: Mapping[str, object], parts: int = 1) -> str:
    """The title of a run's page; a report's tells what it was made of, since all have one heading."""
    if chapter.name != "report":
        return chapter.title
    values: dict[str, object] = {"dataset": ""}
    with suppress(CourseError):  # a damaged notebook keeps no other page from its title
        values |= chapter.parameters()
    data = shown((values | dict(parameters))["dataset"], parts)
    return "，".join([f"报告：{data}", *(f"{k}={shown(v, parts)}" for k, v in parameters.items() if k != "dataset")])


def slug_of(chapter: Chapter, parameters: Mapping[str, object]) -> str:
    """The name of what a run makes: the chapter's, and the parameters that differ from the notebook's own.

    A checksum of them is added where others could give the same words: folders of one name, what was cut or can't
    stand in a file's name, values that hold the sign between two words.
    """
    if not parameters:
        return chapter.name
    from textrec_utils.datasets import DATASETS

    pairs = sorted(parameters.items())
    plain = all(re.fullmatch(r"[a-z0-9_.]+|True|False", str(v)) or v in DATASETS for _, v in pairs)
    words = [shown(v) if k == "dataset" else f"{k}-{shown(v)}" for k, v in pairs]
    name = re.sub(r"[^\w.\-]+", "_", "-".join([chapter.name, *words]))
    if plain and len(name) <= 80:
        return name
    cut = name[:80].encode()[:120].decode(errors="ignore")  # disks count bytes, and 255 of them are all that they take
    return f"{cut}-{sha256_of(json.dumps(pairs, ensure_ascii=False).encode())[:8]}"
