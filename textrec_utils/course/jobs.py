"""Chapters run side by side, the longest first, each in a kernel of its own; one bar over all of them."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import click
import psutil

from textrec_utils.core.files import why_not_kept
from textrec_utils.core.machine import cores, free_memory
from textrec_utils.core.paths import build_dir, cache_dir
from textrec_utils.core.processes import Interrupts
from textrec_utils.core.progress import STEP_FILE, step_in
from textrec_utils.course.chapters import Chapter, CourseError, chosen, slug_of, usual_seconds
from textrec_utils.course.index import build_index, read_state, state_path
from textrec_utils.course.runner import Outcome, run_notebook, step_path, unchanged

TELL_EVERY = 60.0  # seconds between two signs of life where no progress bar can move
PATIENCE = 5.0  # seconds that a kernel has after Ctrl-C to keep what it can
MEMORY = 2.5e9  # bytes that a chapter may take
PAGES = 20 * 2**20  # bytes on the disk that a chapter's notebook and pages may take
RESULTS = 200 * 2**20  # and what it computes, in the cache
QUIET = {"PYTHONHASHSEED": "0", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}
QUIET |= {"TEXTREC_QUIET": "1"}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Stopped(BaseException):
    """In the thread of a chapter whose run was stopped."""


@dataclass
class _Job:
    """A chapter to run and how far it is: `at` cells are done, `told` is when that was last said (0: not begun)."""

    label: str
    chapter: Chapter
    parameters: dict[str, object]
    slug: str
    at: int = 0
    begun: bool = False  # has a cell begun?
    started: float = 0.0
    told: float = 0.0

    def __post_init__(self):
        self.cells = len(self.chapter.cells()) + bool(self.parameters)  # papermill puts those into one of their own
        known = read_state(state_path(self.slug))
        self.known = bool(known) and not known["error"]
        self.expected = known["seconds"] if self.known else usual_seconds(self.chapter.path)

    def told_now(self, now: float) -> str:
        """How far it is, what it is at, and about how long is left: by its own last run, or what its kind takes."""
        words, spent = [f"跑完 {self.at}/{self.cells} 格"], now - self.started
        if step := step_in(step_path(self.slug)):
            words.append(f"正在{step}")
        words.append(f"已用 {spent:.0f} 秒")
        return "，".join([*words, self.left(spent)])

    def left(self, spent: float) -> str:
        if spent < self.expected and self.known:
            return f"照上次算还要约 {self.expected - spent:.0f} 秒"
        if spent < self.expected and not self.parameters:
            return f"照通常的 {self.expected:.0f} 秒算，还要约 {self.expected - spent:.0f} 秒"
        usual = "上次" if self.known else "默认的设置通常"
        return f"{usual}共用 {self.expected:.0f} 秒"


def run_many(
    words: Iterable[str], given: Iterable[tuple[str, str]], force: bool = False, side_by_side: int = 0
) -> list[Outcome]:
    """Run chapters (all, and the report, where none is named), then build the index.

    side_by_side: how many at a time; 0: as many as there are cores, and memory for.
    """
    every = {slug_of(chapter, own): (chapter, own) for chapter, own in chosen(words, given)}
    outcomes, todo = {}, []
    with _one_at_a_time():
        for n, (slug, (chapter, parameters)) in enumerate(every.items(), start=1):
            label = f"[{n}/{len(every)}] {slug}"
            if not force and (state := unchanged(chapter, parameters, slug)):
                outcomes[slug] = Outcome(slug, state["seconds"], skipped=True)
                click.echo(f"{label}：未变，沿用上次结果")
            else:
                todo.append(_Job(label, chapter, parameters, slug))
        todo.sort(key=lambda job: -job.expected)  # so that no core waits at the end for a long one that came last
        side_by_side = side_by_side or min(cores(), int(free_memory() / MEMORY))
        try:
            if todo:
                _make_sure_of_room(len(todo))
                outcomes |= _run(todo, max(1, min(side_by_side, len(todo))))
        except BaseException:
            with suppress(Exception):  # what stopped the run is told, not what it left behind
                build_index()
            raise
        build_index()
    return [outcomes[slug] for slug in every]


def _make_sure_of_room(count: int) -> None:
    """Folders that can't take what `count` chapters make are told before these run, not minutes later."""
    folders = (("TEXTREC_BUILD", build_dir(), count * PAGES), ("TEXTREC_CACHE", cache_dir(), RESULTS))
    for name, folder, need in folders:
        if why := why_not_kept(folder, need):
            raise CourseError(f"{why}；请腾出空间、改好权限，或用 {name} 换一个文件夹，再运行。已有的结果没有动。")


def _run(todo: list[_Job], side_by_side: int) -> dict[str, Outcome]:
    """Each job in a thread of its own, which waits for its kernel; this one shows how far they are, and hears
    signals."""
    from tqdm import tqdm

    stop, outcomes = threading.Event(), {}
    bar = tqdm(
        total=sum(job.cells for job in todo), unit="格", leave=False, file=sys.stderr, disable=not sys.stderr.isatty()
    )
    alone = {} if side_by_side == 1 else {name: str(max(1, cores() // side_by_side)) for name in THREADS}
    with _environment(QUIET, alone), ThreadPoolExecutor(side_by_side) as pool:
        running = {pool.submit(_run_one, job, stop): job for job in todo}
        try:
            while running:
                done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                _show(bar, todo, running.values(), len(outcomes))
                for future in done:
                    job, outcome = running[future], future.result()
                    del running[future]
                    outcomes[job.slug], job.at = outcome, job.cells
                    with tqdm.external_write_mode():
                        click.echo(f"{job.label}：{'失败' if outcome.error else f'{outcome.seconds:.0f} 秒'}")
                        if outcome.error:
                            click.echo(f"    {outcome.error}", err=True)
        except BaseException:
            stop.set()
            _end(running)
            raise
        finally:
            bar.close()
    return outcomes


def _run_one(job: _Job, stop: threading.Event) -> Outcome:
    def on_cell(at: int) -> None:
        if stop.is_set():
            raise Stopped
        job.at, job.begun = max(at, job.at), True

    if stop.is_set():
        raise Stopped
    job.started = time.perf_counter()
    return run_notebook(job.chapter, job.parameters, job.slug, on_cell)


def _show(bar, todo: list[_Job], running: Iterable[_Job], finished: int) -> None:
    """The bar moved; where it can't move (a file, a pipe), a line when a chapter begins and every minute."""
    begun, now = [job for job in running if job.started], time.perf_counter()
    bar.n = sum(min(job.at, job.cells) for job in todo)
    at = [f"{job.slug} {step_in(step_path(job.slug))}".strip() for job in begun]
    left = f"，{begun[0].left(now - begun[0].started)}" if len(begun) == len(todo) == 1 else ""
    bar.set_description(f"{finished}/{len(todo)} {'、'.join(at)}{left}")
    for job in begun if bar.disable else ():
        if not job.told:
            click.echo(f"{job.label}：开始，共 {job.cells} 格")
        elif now - job.told > TELL_EVERY:
            click.echo(f"{job.label}：{job.told_now(now)}")
        else:
            continue
        job.told = now


def _end(running: dict[Future, _Job]) -> None:
    """End the kernels of a stopped run. Ctrl-C first, so that training keeps its checkpoint and no half file is left;
    what goes on after that is killed, at a second Ctrl-C at once. They don't hear the terminal's own. One that is only
    starting is killed: it would print where in Python's own start it was."""
    import logging

    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # that a kernel died is no news here
    for future in running:
        future.cancel()
    asked: dict[int, float] = {}
    not_begun = {str(step_path(job.slug)) for job in running.values() if not job.begun}
    with Interrupts() as again:
        while not all(future.done() for future in running):
            for kernel in psutil.Process().children():
                with suppress(psutil.Error):  # it has just ended by itself
                    if not any("ipykernel" in word for word in kernel.cmdline()):
                        continue
                    starting = _told(kernel, STEP_FILE) in not_begun
                    if kernel.pid not in asked and not starting and sys.platform != "win32":
                        kernel.send_signal(signal.SIGINT)
                    elif starting or again.asked or time.perf_counter() - asked.get(kernel.pid, 0) > PATIENCE:
                        for process in (*kernel.children(recursive=True), kernel):
                            process.kill()
                    asked.setdefault(kernel.pid, time.perf_counter())
            wait(running, timeout=0.2)


def _told(process: psutil.Process, variable: str) -> str:
    """What a process was started with; "" where the system doesn't let one look."""
    with suppress(psutil.Error, OSError):
        return process.environ().get(variable, "")
    return ""


@contextmanager
def _environment(*values: dict[str, str]):
    """Variables that kernels started within the block inherit."""
    before = dict(os.environ)
    for some in values:
        os.environ |= some
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


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
