"""Where results are kept between chapters, and how a kept result earns trust again.

Every file is written beside its final name and then renamed, so that a killed run leaves
nothing half-written, and carries a SHA-256 that is checked before each use.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import platformdirs
import psutil


def cache_dir() -> Path:
    """The folder for downloads and computed vectors: $TEXTREC_CACHE, or the user's cache folder."""
    if os.environ.get("TEXTREC_CACHE"):
        return Path(os.environ["TEXTREC_CACHE"]).expanduser()
    return Path(platformdirs.user_cache_dir("textrec", appauthor=False))


def sha256_of(data: bytes | Path) -> str:
    """Hex SHA-256 of bytes, or of a file's content."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with open(data, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


@contextmanager
def atomic_path(path: Path):
    """Give a temporary name beside `path`; rename it to `path` if the block ends well, else remove it.

    On the disk before it is renamed: after a power cut the name would otherwise stand before an empty file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as f:
            os.fsync(f.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes) -> None:
    """Write bytes so that readers see the old file or the new one, never half of it."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


@dataclass
class Cost:
    """What a computation took: wall seconds, and megabytes of memory above the start (peak)."""

    seconds: float = 0.0
    peak_mb: float = 0.0


class measure:
    """Context manager that fills a `Cost`; memory is this process's resident set, sampled every 10 ms."""

    def __enter__(self) -> Cost:
        self.cost = Cost()
        self._process = psutil.Process()
        self._base = self._peak = self._process.memory_info().rss
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._start = time.perf_counter()
        self._thread.start()
        return self.cost

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self._peak = max(self._peak, self._process.memory_info().rss)

    def __exit__(self, *exc) -> None:
        self.cost.seconds = time.perf_counter() - self._start
        self._stop.set()
        self._thread.join()
        self._peak = max(self._peak, self._process.memory_info().rss)
        self.cost.peak_mb = (self._peak - self._base) / 2**20


def in_own_process(function: Callable, *arguments, **options):
    """`function(*arguments, **options)`, run in a new Python process that ends with it.

    For peaks of memory that can be compared: in a process that has worked before, a peak that fits into what earlier work
    has left doesn't show. Function, arguments and result must be picklable (nothing defined in a notebook).
    """
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(function, *arguments, **options).result()
        except BaseException:  # on Ctrl-C the end of this block would otherwise wait until all the work is done
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
            raise


class Interrupts:
    """While it lasts, Ctrl-C and a polite kill are noted in `asked` instead of breaking off a step."""

    def __enter__(self):
        self.asked, self._before = False, {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number, frame):
        self.asked = True

    def __exit__(self, *exc):
        for number, handler in self._before.items():
            signal.signal(number, handler)


@dataclass
class Cached:
    """Arrays with the cost of their first computation and whether they came from the cache."""

    arrays: dict[str, np.ndarray]
    cost: Cost = field(default_factory=Cost)
    from_cache: bool = False

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]


def cached_arrays(kind: str, key: Mapping, compute: Callable[[], Mapping[str, np.ndarray]]) -> Cached:
    """Return `compute()`'s arrays, from the cache where the same `kind` and `key` were computed before.

    key: everything the result depends on, as plain JSON values (names, seeds, checksums). The source
    file that holds `compute` counts too: changed code never meets old results.
    The cost of the first computation is kept too, so that a table of costs stays true
    when its rows come from the cache. A file whose checksum is wrong is computed anew.
    """
    from safetensors.numpy import load, save

    from textrec_utils import __version__

    source = Path(compute.__code__.co_filename)
    code = sha256_of(source) if source.is_file() else ""
    text = json.dumps({"version": __version__, "code": code, **key}, sort_keys=True, ensure_ascii=False)
    path = cache_dir() / kind / f"{sha256_of(text.encode())[:32]}.safetensors"
    note = path.with_suffix(".json")
    if path.exists() and note.exists():
        try:
            kept = json.loads(note.read_text(encoding="utf-8"))
            data = path.read_bytes()
            if kept["sha256"] == sha256_of(data):
                return Cached(load(data), Cost(kept["seconds"], kept["peak_mb"]), True)
        except (ValueError, KeyError, OSError):
            pass
        print(f"缓存文件 {path.name} 已损坏（校验和不符），重新计算。", file=sys.stderr)
    with measure() as cost:
        arrays = {name: np.ascontiguousarray(value) for name, value in compute().items()}
    data = save(arrays)
    try:
        write_atomic(path, data)
        kept = {"sha256": sha256_of(data), "seconds": cost.seconds, "peak_mb": cost.peak_mb, "key": json.loads(text)}
        write_atomic(note, json.dumps(kept, ensure_ascii=False, indent=1).encode())
    except OSError as error:  # a full or read-only disk costs the cache, not the result
        print(f"结果没有写进缓存 {path.parent}（{error.strerror}），下次会重新计算。", file=sys.stderr)
    return Cached(arrays, cost, False)
