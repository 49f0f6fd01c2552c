"""The runner of one notebook: executed where its inputs have changed; whatever becomes of it, others can go on."""

import errno
import json
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from textrec_utils.core.errors import TextrecError
from textrec_utils.core.escape import in_format
from textrec_utils.core.files import atomic_path, sha256_of, write_atomic
from textrec_utils.core.paths import build_dir, cache_dir, notebooks_dir
from textrec_utils.core.progress import STEP_FILE
from textrec_utils.course.chapters import FILLED, Chapter, title_of
from textrec_utils.course.index import log_path, read_state, state_path
from textrec_utils.course.pages import ANSWERS, write_page

# Then no further chapter can be kept either.
CANNOT_WRITE = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST,
)  # fmt: skip


@dataclass
class Outcome:
    """What became of one notebook."""

    name: str
    seconds: float = 0.0
    skipped: bool = False
    error: str = ""


def _metrics_path(slug: str) -> Path:
    return build_dir() / "report" / "metrics" / f"{slug}.csv"


def step_path(slug: str) -> Path:
    """Where a running notebook says what it is at."""
    return build_dir() / "state" / f"{slug}.step"


def summary_path(slug: str) -> Path:
    """A report in figures, beside its page."""
    return build_dir() / "report" / f"{slug}.json"


def _given(chapter: Chapter, parameters: Mapping[str, object], slug: str) -> dict[str, object]:
    """The parameters as the notebook gets them: with those that the runner fills in."""
    known = chapter.parameters()
    filled = {"metrics_csv": str(_metrics_path(slug)), "summary_json": str(summary_path(slug)), "report_id": slug}
    return {**parameters, **{k: v for k, v in filled.items() if k in known}}


def fingerprint_of(chapter: Chapter, parameters: Mapping[str, object], slug: str) -> str:
    """What a finished run of these is known by."""
    return chapter.fingerprint(_given(chapter, parameters, slug))


def unchanged(chapter: Chapter, parameters: Mapping[str, object], slug: str) -> dict:
    """What is known of the last run, where its inputs and its files are still what they were; else {}."""
    state = read_state(state_path(slug))
    with suppress(TextrecError):  # a damaged notebook; running it says so
        if state and not state["error"] and _whole(state.get("files")):
            if state.get("fingerprint") == fingerprint_of(chapter, parameters, slug):
                return state
    return {}


def run_notebook(
    chapter: Chapter, parameters: Mapping[str, object], slug: str, on_cell: Callable[[int], None]
) -> Outcome:
    """Execute a notebook to `build/notebooks/<slug>.ipynb` and HTML.

    Whatever happens, finished files stay whole: the new ones are written beside and renamed. Any failure is an
    outcome with a log, except a disk that takes nothing more (OSError). on_cell is told the place of each cell as it
    begins; what it raises, if it is no Exception, ends the run without a trace.
    """
    fingerprint, files, error, given, at = "", {}, "", dict(parameters), -1
    start = time.perf_counter()

    def begun(cell, cell_index: int) -> None:
        nonlocal at
        at = cell_index
        step_path(slug).unlink(missing_ok=True)  # the last cell's
        on_cell(at)

    try:
        given = _given(chapter, parameters, slug)
        fingerprint = chapter.fingerprint(given)
        metrics = _metrics_path(slug)
        if given != parameters:
            metrics.parent.mkdir(parents=True, exist_ok=True)
        executed, page = build_dir() / "notebooks" / f"{slug}.ipynb", build_dir() / "report" / f"{slug}.html"
        answers = page.with_name(f"{ANSWERS}{chapter.name}.html")
        step_path(slug).parent.mkdir(parents=True, exist_ok=True)
        step_path(slug).unlink(missing_ok=True)
        _execute(chapter, given, executed, begun, step_path(slug))
        write_page(executed, page, chapter.name, title_of(chapter, parameters))
        if chapter.answers.exists():  # shown as committed: the answers were run when they were written
            write_page(chapter.answers, answers, chapter.name)
        made = [p for p in (executed, page, answers, metrics, summary_path(slug)) if p.exists()]
        files = {str(p.relative_to(build_dir())): sha256_of(p) for p in made}
    except Exception as failure:
        on_cell(at)  # raises where the run was stopped: how its kernel ended then is no failure of the notebook's
        if isinstance(failure, OSError) and failure.errno in CANNOT_WRITE:
            raise
        error = _tell(failure, chapter, bool(given), slug, at)
    finally:
        with suppress(OSError):
            step_path(slug).unlink(missing_ok=True)
    seconds = time.perf_counter() - start
    state = {
        "fingerprint": fingerprint, "seconds": round(seconds, 1), "error": error, "title": chapter.title,
        "chapter": chapter.name, "parameters": dict(parameters), "files": files,
        "effective": effective(chapter, parameters),
    }  # fmt: skip
    write_atomic(state_path(slug), json.dumps(state, ensure_ascii=False, indent=1).encode())
    return Outcome(slug, seconds, error=f"{error}；日志 {log_path(slug)}" if error else "")


def effective(chapter: Chapter, parameters: Mapping[str, object]) -> dict[str, object]:
    """All parameters of a run, the notebook's own and those given; {} where a damaged notebook doesn't tell."""
    with suppress(TextrecError):
        return {k: v for k, v in (chapter.parameters() | dict(parameters)).items() if k not in FILLED}
    return {}


def _whole(files: object) -> bool:
    """Are all files of an earlier run as they were left?"""
    if not isinstance(files, dict):
        return False
    paths = {build_dir() / name: digest for name, digest in files.items()}
    return all(p.exists() and sha256_of(p) == digest for p, digest in paths.items())


def _tell(failure: Exception, chapter: Chapter, extra_cell: bool, slug: str, at: int) -> str:
    """One sentence on what failed and where; the traceback goes to the log. at: the last cell that began."""
    from nbclient.exceptions import DeadKernelError
    from papermill import PapermillExecutionError

    if isinstance(failure, TextrecError):  # already a sentence
        write_atomic(log_path(slug), str(failure).encode())
        return str(failure)
    if not isinstance(failure, PapermillExecutionError):
        write_atomic(log_path(slug), "".join(traceback.format_exception(failure)).encode())
        if isinstance(failure, DeadKernelError):
            where = f"，停在第 {at + 1 - _added(at, chapter, extra_cell)} 格" if at >= 0 else ""
            return f"内核中途没了{where}（多半是内存不够：用 --jobs 1 一章一章跑；或有一格让进程退出）"
        last = traceback.extract_tb(failure.__traceback__)[-1].name
        return f"没有完成（{last}）：{type(failure).__name__}: {' '.join(str(failure).split())}"
    text = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(failure.traceback))
    write_atomic(log_path(slug), f"{failure.source}\n\n{text}\n".encode())
    extra = _added(failure.cell_index, chapter, extra_cell)
    cell = f"第 {failure.cell_index + 1 - extra} 格（In [{failure.exec_count - extra}]）"
    number = re.match(r"\[Errno (\d+)\] (.*)", str(failure.evalue))
    if number and int(number[1]) in CANNOT_WRITE:
        return f"{cell}写不进磁盘（{number[2]}）；请腾出空间、改好权限，或用 TEXTREC_CACHE 换一个文件夹，再运行"
    return f"{cell}出错：{failure.ename}: {' '.join(str(failure.evalue).split())}"


def _added(index: int, chapter: Chapter, extra_cell: bool) -> bool:
    """Does papermill's own cell, which is not in the reader's notebook, stand before the cell at `index`?"""
    tagged = [n for n, c in enumerate(chapter.read()["cells"]) if "parameters" in c["metadata"].get("tags", [])]
    return bool(extra_cell and tagged and index > tagged[0])


def _execute(
    chapter: Chapter, parameters: dict[str, object], executed: Path, begun: Callable[[object, int], None], step: Path
) -> None:
    """Run by papermill with a kernel of this interpreter. Nothing here may change the process (its folder, its
    variables): other chapters run beside this one. step: where the notebook says what it is at."""
    import logging

    import papermill

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what goes wrong is told in one sentence
    with atomic_path(executed) as temporary:
        paths = map(in_format, (chapter.path, temporary))
        papermill.execute_notebook(
            *paths, parameters=parameters, kernel_name="python3", progress_bar=False,
            request_save_on_cell_execute=False, language="python", extra_arguments=["--IPKernelApp.log_level=50"],
            on_cell_start=begun, resources={"metadata": {"path": str(notebooks_dir())}},
            kernel_manager_class=_this_python(**{STEP_FILE: str(step), "TEXTREC_CACHE": str(cache_dir())}),
        )  # fmt: skip


def _this_python(**variables: str) -> type:
    """Kernels of the interpreter that runs this, whatever Python a kernelspec of the user calls python3; their figures
    go into the notebook, whatever MPLBACKEND says. variables: of such a kernel's environment, where a relative path
    would mean another folder."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    variables |= {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    own = KernelSpec(
        argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], language="python",
        display_name="Python 3", env={name: value.replace("$", "$$") for name, value in variables.items()},
    )  # fmt: skip

    class ThisPython(AsyncKernelManager):
        kernel_spec = own

    return ThisPython


def try_kernel() -> str:
    """The Python that notebooks run in, asked of a notebook that also draws. Raises what goes wrong."""
    import tempfile

    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    draws = "import sys, matplotlib.pyplot as plt\nplt.plot([1, 2])\nprint(sys.executable)"
    with tempfile.TemporaryDirectory() as folder:
        path, executed = Path(folder, "tried.ipynb"), Path(folder, "executed.ipynb")
        nbformat.write(new_notebook(cells=[new_code_cell(draws)]), path)
        _execute(Chapter(path), {}, executed, lambda **_: None, path.with_suffix(".step"))
        outputs = nbformat.read(executed, as_version=4).cells[0].outputs
    if not any("image/png" in output.get("data", {}) for output in outputs):
        raise RuntimeError("没有画出图")
    return next(output.text for output in outputs if output.get("name") == "stdout").strip()
