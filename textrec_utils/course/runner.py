"""The runner: notebooks executed where their inputs have changed; whatever becomes of one, the others go on."""

import errno
import json
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import click

from textrec_utils.core.errors import TextrecError
from textrec_utils.core.files import atomic_path, sha256_of, write_atomic
from textrec_utils.core.paths import build_dir, notebooks_dir
from textrec_utils.course.chapters import Chapter, chosen, slug_of
from textrec_utils.course.index import build_index, log_path, read_state
from textrec_utils.course.pages import ANSWERS, write_page

CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)  # then no further chapter can be kept either
TELL_EVERY = 60.0  # seconds between two signs of life where no progress bar can move


@dataclass
class Outcome:
    """What became of one notebook."""

    name: str
    seconds: float = 0.0
    skipped: bool = False
    error: str = ""


def run_notebook(
    chapter: Chapter, parameters: Mapping[str, object], slug: str, *, force: bool = False, label: str = ""
) -> Outcome:
    """Execute a notebook to `build/notebooks/<slug>.ipynb` and HTML, unless its inputs have not changed.

    Whatever happens, finished files stay whole: the new ones are written beside and renamed. Any failure is an
    outcome with a log, except a disk that takes nothing more (OSError).
    """
    state_file, fingerprint, files, error = build_dir() / "state" / f"{slug}.json", "", {}, ""
    start = time.perf_counter()
    try:
        known = chapter.parameters()
        metrics = build_dir() / "report" / "metrics" / f"{slug}.csv"
        filled = {k: v for k, v in {"metrics_csv": str(metrics), "report_id": slug}.items() if k in known}
        fingerprint = chapter.fingerprint({**parameters, **filled})
        state = read_state(state_file)
        fresh = state.get("fingerprint") == fingerprint and not state.get("error") and _whole(state.get("files"))
        if fresh and not force:
            return Outcome(slug, state["seconds"], skipped=True)
        if filled:
            metrics.parent.mkdir(parents=True, exist_ok=True)
        executed, page = build_dir() / "notebooks" / f"{slug}.ipynb", build_dir() / "report" / f"{slug}.html"
        answers = page.with_name(f"{ANSWERS}{chapter.name}.html")
        _execute(chapter, {**parameters, **filled}, executed, label or slug)
        write_page(executed, page, chapter.name)
        if chapter.answers.exists():  # shown as committed: the answers were run when they were written
            write_page(chapter.answers, answers, chapter.name)
        made = [p for p in (executed, page, answers, metrics) if p.exists()]
        files = {str(p.relative_to(build_dir())): sha256_of(p) for p in made}
    except Exception as failure:
        if isinstance(failure, OSError) and failure.errno in CANNOT_WRITE:
            raise
        error = _tell(failure, chapter, bool(parameters or filled), slug)
    seconds = time.perf_counter() - start
    state = {
        "fingerprint": fingerprint, "seconds": round(seconds, 1), "error": error, "title": chapter.title,
        "chapter": chapter.name, "parameters": dict(parameters), "files": files,
    }  # fmt: skip
    write_atomic(state_file, json.dumps(state, ensure_ascii=False, indent=1).encode())
    return Outcome(slug, seconds, error=f"{error}；日志 {log_path(slug)}" if error else "")


def _whole(files: object) -> bool:
    """Are all files of an earlier run as they were left?"""
    if not isinstance(files, dict):
        return False
    paths = {build_dir() / name: digest for name, digest in files.items()}
    return all(p.exists() and sha256_of(p) == digest for p, digest in paths.items())


def _tell(failure: Exception, chapter: Chapter, extra_cell: bool, slug: str) -> str:
    """One sentence on what failed and where; the traceback goes to the log."""
    from nbclient.exceptions import DeadKernelError
    from papermill import PapermillExecutionError

    if isinstance(failure, TextrecError):  # already a sentence
        write_atomic(log_path(slug), str(failure).encode())
        return str(failure)
    if not isinstance(failure, PapermillExecutionError):
        write_atomic(log_path(slug), "".join(traceback.format_exception(failure)).encode())
        if isinstance(failure, DeadKernelError):
            where = _begun(failure, chapter, extra_cell)
            return f"内核中途没了{where}（多半是内存不够，或有一格让进程退出）"
        last = traceback.extract_tb(failure.__traceback__)[-1].name
        return f"没有完成（{last}）：{type(failure).__name__}: {' '.join(str(failure).split())}"
    text = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(failure.traceback))
    write_atomic(log_path(slug), f"{failure.source}\n\n{text}\n".encode())
    extra = _added(failure.cell_index, chapter, extra_cell)
    cell = f"第 {failure.cell_index + 1 - extra} 格（In [{failure.exec_count - extra}]）"
    return f"{cell}出错：{failure.ename}: {' '.join(str(failure.evalue).split())}"


def _added(index: int, chapter: Chapter, extra_cell: bool) -> bool:
    """Does papermill's own cell, which is not in the reader's notebook, stand before the cell at `index`?"""
    tagged = [n for n, c in enumerate(chapter.read()["cells"]) if "parameters" in c["metadata"].get("tags", [])]
    return bool(extra_cell and tagged and index > tagged[0])


def _begun(failure: Exception, chapter: Chapter, extra_cell: bool) -> str:
    """The last cell that began, from papermill's loop over the cells; "" where its code reads otherwise."""
    for frame, _ in traceback.walk_tb(failure.__traceback__):
        index = frame.f_locals.get("index")
        if frame.f_code.co_name == "papermill_execute_cells" and isinstance(index, int):
            return f"，停在第 {index + 1 - _added(index, chapter, extra_cell)} 格"
    return ""


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


@contextmanager
def _environment(**values: str):
    """Variables that a kernel started within the block inherits."""
    before = dict(os.environ)
    os.environ |= values
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def _execute(chapter: Chapter, parameters: dict[str, object], executed: Path, label: str) -> None:
    """Run by papermill: a kernel of this interpreter, quiet bars inside notebooks, hashes that do not change."""
    import logging

    import papermill

    logging.getLogger("papermill").setLevel(logging.ERROR)
    quiet = {"PYTHONHASHSEED": "0", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}
    cells = len(chapter.read()["cells"]) + bool(parameters)  # papermill puts those into a cell of their own
    with _environment(**quiet), atomic_path(executed) as temporary, _signs_of_life(label, cells) as bar:
        papermill.execute_notebook(
            str(chapter.path), str(temporary), parameters=parameters, kernel_name="python3", cwd=str(notebooks_dir()),
            progress_bar=bar, request_save_on_cell_execute=False, language="python",
            extra_arguments=["--IPKernelApp.log_level=50"],
        )  # fmt: skip


@contextmanager
def _one_at_a_time():
    """Two runs into one build folder: the later waits, and finds done what the earlier did. A disk without locks: both
    go on, each file stays whole."""
    from filelock import FileLock, Timeout

    lock = FileLock(build_dir() / "run.lock")
    with suppress(OSError):
        build_dir().mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=1)
        except Timeout:
            click.echo(f"另一个 textrec run 正在往 {build_dir()} 里写，等它跑完……", err=True)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def run_many(words: Iterable[str], given: Iterable[tuple[str, str]], force: bool) -> list[Outcome]:
    """Run chapters (all, and the report, where none is named), then build the index."""
    jobs = [(chapter, own, slug_of(chapter, own)) for chapter, own in chosen(words, given)]
    outcomes = []
    with _one_at_a_time():
        try:
            for n, (chapter, parameters, slug) in enumerate(jobs, start=1):
                outcome = run_notebook(chapter, parameters, slug, force=force, label=f"[{n}/{len(jobs)}] {slug}")
                outcomes.append(outcome)
                ended = "失败" if outcome.error else f"{outcome.seconds:.0f} 秒"
                click.echo(f"[{n}/{len(jobs)}] {slug}：{'未变，沿用上次结果' if outcome.skipped else ended}")
                if outcome.error:
                    click.echo(f"    {outcome.error}", err=True)
        except BaseException:
            with suppress(Exception):  # what stopped the run is told, not what it left behind
                build_index()
            raise
        build_index()
    return outcomes
