"""What a figure owes to where it was made: the processor, the threads, the libraries."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
LIMITS = (  # of a container, what it uses, and what of that it would give back: cgroup 2, cgroup 1
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)


def versions() -> dict[str, str]:
    """The installed versions of the libraries that numbers depend on most, and Python's."""
    names = ("torch", "transformers", "numpy", "pandas", "gensim", "jieba", "implicit", "scikit-learn")
    return {n: importlib.metadata.version(n) for n in names} | {"python": platform.python_version()}


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int:
    """Bytes that this process may still take: what the machine has free, or less where a container's limit says so."""
    free = psutil.virtual_memory().available
    for limit, used, spare in LIMITS:
        try:
            most, now = (int((CGROUPS / name).read_text()) for name in (limit, used))
            told = (CGROUPS / limit).with_name("memory.stat").read_text()
            free = min(free, most - now + int(re.search(rf"^{spare} (\d+)$", told, re.M)[1]))
        except (OSError, ValueError, TypeError):  # another kind of container, or none, or one without a limit
            continue
    return max(0, free)


def machine() -> str:
    """The processor's model and the threads that torch takes, for the line beside a measured figure."""
    import torch

    info = Path("/proc/cpuinfo")  # elsewhere Python knows the model itself
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(encoding="utf-8"), re.M) if info.exists() else None
    return f"{found[1] if found else platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
