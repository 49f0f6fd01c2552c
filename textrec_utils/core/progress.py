"""What a long computation is at, told to whoever started it: in a file, since a notebook's own output is kept."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

STEP_FILE = "TEXTREC_STEP"  # names the file; without it nothing is told


def tell_step(step: str) -> None:
    """Say what begins now, in a word or two. A disk that takes nothing costs the word, not the computation."""
    if path := os.environ.get(STEP_FILE):
        with suppress(OSError):
            Path(path).write_text(step, encoding="utf-8")


def step_in(path: Path) -> str:
    """What was told last; "" where nothing was."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
