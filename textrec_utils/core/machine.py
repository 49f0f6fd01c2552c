"""What a figure owes to where it was made: the processor, the threads, the libraries."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path


def versions() -> dict[str, str]:
    """The installed versions of the libraries that numbers depend on most, and Python's."""
    names = ("torch", "transformers", "numpy", "pandas", "gensim", "jieba", "implicit", "scikit-learn")
    return {n: importlib.metadata.version(n) for n in names} | {"python": platform.python_version()}


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """The processor's model and the threads that torch takes, for the line beside a measured figure."""
    import torch

    info = Path("/proc/cpuinfo")  # elsewhere Python knows the model itself
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(encoding="utf-8"), re.M) if info.exists() else None
    return f"{found[1] if found else platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
