"""Seconds until a command has answered: importing the package, help, the list, and runs in which nothing has changed.

    python benchmarks/commands.py

The runs find the state of a finished course in a folder of their own: the committed notebooks stand for executed ones.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import in_turn, row

from textrec_utils.core.files import sha256_of
from textrec_utils.course.chapters import chapters, the_report
from textrec_utils.course.index import state_path
from textrec_utils.course.runner import fingerprint_of


def pretend_finished(build: Path) -> None:
    """The state that `textrec run` leaves in `build` when all has been run."""
    os.environ["TEXTREC_BUILD"] = str(build)
    for chapter in (*chapters(), the_report()):
        executed = build / "notebooks" / chapter.path.name
        executed.parent.mkdir(parents=True, exist_ok=True)
        executed.write_bytes(chapter.path.read_bytes())
        fingerprint = fingerprint_of(chapter, {}, chapter.name)
        files = {f"notebooks/{executed.name}": sha256_of(executed)}
        state = {
            "fingerprint": fingerprint, "seconds": 1.0, "error": "", "title": chapter.title, "chapter": chapter.name,
            "parameters": {}, "files": files,
        }  # fmt: skip
        state_path(chapter.name).parent.mkdir(parents=True, exist_ok=True)
        state_path(chapter.name).write_text(json.dumps(state), encoding="utf-8")


def main() -> None:
    def python(*words: str):
        return lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True)

    with tempfile.TemporaryDirectory() as folder:
        pretend_finished(Path(folder))
        textrec = ("-m", "textrec_utils")
        seconds = in_turn(
            5, python=python("-c", "pass"), package=python("-c", "import textrec_utils"),
            help=python(*textrec, "--help"), list=python(*textrec, "list"), report=python(*textrec, "report"),
            course=python(*textrec, "run"),
        )  # fmt: skip
        done = subprocess.run([sys.executable, *textrec, "run"], capture_output=True, check=True).stdout.decode()
        assert done.count("未变") == len(chapters()) + 1, done
    base = seconds.pop("python")
    bars = {"package": "1 s", "help": "1 s", "list": "1 s", "report": "5 s", "course": "5 s"}
    names = {
        "package": "import textrec_utils", "help": "textrec --help", "list": "textrec list",
        "report": "textrec report, nothing changed", "course": "textrec run, nothing changed",
    }  # fmt: skip
    for key, taken in seconds.items():
        row(f"{names[key]} (of it Python itself {base:.2f} s)", taken, bars[key])


if __name__ == "__main__":
    main()
