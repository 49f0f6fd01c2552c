"""The one store of results between chapters, and how a kept result earns trust again.

A key is built in one place from all that a result depends on: what the caller names (checksums, settings, seeds),
the source of every module of this package that the computation passes through, and the versions of the libraries
that those modules import. Files are whole, carry a digest of their arrays that is checked before each use, and two
processes that want the same result make it once.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import inspect
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from textrec_utils.core.cost import Cost, measure
from textrec_utils.core.files import atomic_folder, sha256_of, write_atomic
from textrec_utils.core.paths import cache_dir

PACKAGE = "textrec_utils"
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "faiss": "faiss-cpu"}
ROWS_A_FILE = 4096  # a kill while many texts are encoded costs at most so many
FOLDER_SUMS = "sums.json"
FILES_A_TABLE = 16  # more small files than these are put together


@dataclass
class Cached:
    """Arrays with the cost of their first computation and whether they came from the store."""

    arrays: dict[str, np.ndarray]
    cost: Cost = field(default_factory=Cost)
    from_cache: bool = False

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]


# ---------------------------------------------------------------- the key


@cache
def _imports(module: str) -> tuple[str, frozenset[str], frozenset[str]]:
    """(source checksum, modules of this package, libraries) that a module's source imports anywhere."""
    parts = module.split(".")[1:]
    path = Path(__file__).resolve().parents[1].joinpath(*parts)
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    own, libraries = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.split(".")[0] != PACKAGE:
                libraries.add(name.split(".")[0])
            elif name != PACKAGE and _is_module(name):
                own.add(name)
    return sha256_of(path), frozenset(own), frozenset(libraries - set(sys.stdlib_module_names))


def _is_module(name: str) -> bool:
    path = Path(__file__).resolve().parents[1].joinpath(*name.split(".")[1:])
    return path.is_dir() or path.with_suffix(".py").is_file()


def code_key(module: str) -> dict[str, dict[str, str]]:
    """Checksums of a module's source and of all of this package that it imports, directly or not, and the versions
    of the libraries that these import."""
    sources, libraries, open_ = {}, set(), {module}
    while open_:
        name = open_.pop()
        sources[name], own, used = _imports(name)
        libraries |= used
        open_ |= own - set(sources)
    versions = {"python": ".".join(platform.python_version_tuple()[:2])}
    for library in sorted(libraries):
        if found := _version(importlib.metadata.version, _DISTRIBUTIONS.get(library, library)):
            versions[library] = found
    return {"sources": dict(sorted(sources.items())), "libraries": versions}


@cache
def _version(ask: Callable[[str], str], distribution: str) -> str:
    """The version of an installed distribution, "" for none; asked once, since what a process has loaded stays."""
    try:
        return ask(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def make_key(kind: str, depends: Mapping, compute: Callable) -> str:
    """The name of a result: a SHA-256 over its kind, `depends` (plain JSON values) and the code behind `compute`."""
    module = compute.__module__
    if module.split(".")[0] == PACKAGE:
        code = code_key(module)
    else:  # defined in a notebook or a test: its own source is all there is
        code = {"source": inspect.getsource(compute)}
    parts = {"kind": kind, "depends": dict(depends), "code": code}
    return sha256_of(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode())


# ---------------------------------------------------------------- files


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def _write(path: Path, arrays: dict[str, np.ndarray], note: Mapping) -> bool:
    from safetensors.numpy import save

    try:
        write_atomic(path, save(arrays, {"sha256": _digest(arrays), "note": json.dumps(dict(note))}))
        return True
    except OSError as error:  # a full or read-only disk costs the cache, not the result
        print(f"结果没有写进缓存 {path.parent}（{error.strerror}），下次会重新计算。", file=sys.stderr)
        return False


def _read(path: Path, say: bool = True) -> tuple[dict[str, np.ndarray], dict] | None:
    """(arrays, note) of a kept file; None where there is none, or it is damaged, which is said."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, "np") as f:
            about, arrays = f.metadata(), {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118
        if about["sha256"] == _digest(arrays):
            return arrays, json.loads(about["note"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        pass
    if say:
        print(f"缓存文件 {path.name} 已损坏（校验和不符），重新计算。", file=sys.stderr)
    return None


@contextmanager
def locked(kind: str, key: str):
    """One process at a time makes the result `key`; where the disk takes no lock, everyone makes its own."""
    from filelock import FileLock, Timeout

    path = cache_dir() / "locks" / f"{kind}-{key[:32]}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=5)
        except Timeout:
            if not os.environ.get("TEXTREC_QUIET"):  # chapters side by side: the words would stand in a page
                print("另一个进程正在算同样的结果，等它算完……", file=sys.stderr)
            lock.acquire()
    except OSError:
        yield
        return
    try:
        yield
    finally:
        lock.release()


# ---------------------------------------------------------------- results


def cached_arrays(
    kind: str,
    depends: Mapping,
    compute: Callable[[], Mapping[str, np.ndarray]],
    *,
    stage: str = "train",
    cache: bool = True,
) -> Cached:
    """`compute()`'s arrays, from the store where the same were computed before.

    depends: everything the result depends on beside code and libraries, as plain JSON values. stage: of the cost.
    The cost of the first computation is kept too, so that a table of costs stays true when its rows come from the
    store. A damaged file is said and computed anew. cache=False: computed and not kept.
    """

    def made() -> tuple[dict[str, np.ndarray], Cost]:
        with measure(stage) as cost:
            arrays = {name: np.ascontiguousarray(value) for name, value in compute().items()}
        return arrays, cost

    if not cache:
        return Cached(*made())
    key = make_key(kind, depends, compute)
    path = cache_dir() / kind / f"{key[:32]}.safetensors"
    found = _read(path, say=False)
    if found is None:
        with locked(kind, key):
            found = _read(path)  # another process may have made it meanwhile
            if found is None:
                return _made_and_kept(path, key, stage, made)
    arrays, note = found
    return Cached(arrays, Cost(note["seconds"], note["peak_mb"], stage, key), True)


def _made_and_kept(path: Path, key: str, stage: str, made: Callable) -> Cached:
    arrays, cost = made()
    _write(path, arrays, {"seconds": cost.seconds, "peak_mb": cost.peak_mb})
    return Cached(arrays, Cost(cost.seconds, cost.peak_mb, stage, key))


def cached_folder(kind: str, depends: Mapping, make: Callable[[Path], None]) -> Path:
    """The folder that `make` filled, from the store where the same was made before: for what is loaded by its path.

    make: gets an empty folder. Readers see the whole folder or none; its files' checksums are compared before each use.
    """
    key = make_key(kind, depends, make)
    folder = cache_dir() / kind / key[:32]
    if not _is_whole(folder):
        with locked(kind, key):
            if not _is_whole(folder):
                if folder.exists():
                    print(f"缓存文件夹 {folder.name} 已损坏（校验和不符），重新计算。", file=sys.stderr)
                with atomic_folder(folder) as new:
                    make(new)
                    files = [path for path in sorted(new.rglob("*")) if path.is_file()]
                    sums = {path.relative_to(new).as_posix(): sha256_of(path) for path in files}
                    write_atomic(new / FOLDER_SUMS, json.dumps(sums).encode())
    return folder


def _is_whole(folder: Path) -> bool:
    try:
        sums = json.loads((folder / FOLDER_SUMS).read_text(encoding="utf-8"))
        return all(sha256_of(folder / name) == checksum for name, checksum in sums.items())
    except (OSError, ValueError, AttributeError):
        return False


def cached_rows(
    kind: str,
    depends: Mapping,
    texts: Sequence[str],
    compute: Callable[[list[str]], np.ndarray],
    *,
    stage: str = "encode",
    cache: bool = True,
) -> Cached:
    """One row of numbers a text, as `["vectors"]`: each text is computed once, so that one new item costs one.

    compute: (n,) distinct texts -> (n, dim) float32. The cost is the sum of what these texts took when they were
    new. A row may differ in its last bits (about 1e-7) by which texts it was computed beside.
    """
    texts = list(texts)
    if not cache:
        with measure(stage) as cost:
            vectors = compute(texts)
        return Cached({"vectors": vectors}, cost)
    key = make_key(kind, depends, compute)
    folder = cache_dir() / kind / key[:32]
    asked = [hashlib.sha256(text.encode()).digest() for text in texts]
    table = _Rows(folder)
    missing = table.missing(asked)
    if missing:
        with locked(kind, key):
            table = _Rows(folder, mend=True)  # another process may have made them meanwhile
            missing = table.missing(asked)
            for start in range(0, len(missing), ROWS_A_FILE):
                part = missing[start : start + ROWS_A_FILE]
                with measure(stage) as cost:
                    rows = compute([texts[i] for i in part])
                table.add([asked[i] for i in part], rows, cost)
            table.tidy()
    rows, seconds = table.rows(asked)
    step = sha256_of(key.encode() + b"".join(asked))
    return Cached({"vectors": rows}, Cost(seconds, table.peak_mb, stage, step), not missing)


class _Rows:
    """All rows kept in a folder of files, by the SHA-256 of their text. mend: remove damaged files, and say so."""

    def __init__(self, folder: Path, mend: bool = False):
        self.folder, self.peak_mb = folder, 0.0
        self.parts: list[dict[str, np.ndarray]] = []
        self.files: list[Path] = []
        self.place: dict[bytes, int] = {}  # of a name among the rows of all parts
        self.count = 0
        for path in sorted(folder.glob("*.safetensors")):
            found = _read(path, say=mend)
            if found:
                self.files.append(path)
                self._hold(found[0], found[1]["peak_mb"])
            elif mend:
                path.unlink(missing_ok=True)

    def _hold(self, part: dict[str, np.ndarray], peak_mb: float) -> None:
        names = part["names"].tobytes()
        self.place |= {names[32 * i : 32 * i + 32]: self.count + i for i in range(len(part["names"]))}
        self.count += len(part["names"])
        self.parts.append(part)
        self.peak_mb = max(self.peak_mb, peak_mb)

    def missing(self, asked: Sequence[bytes]) -> list[int]:
        """Places in `asked` of texts without a row, each text once."""
        first: dict[bytes, int] = {}
        for i, name in enumerate(asked):
            if name not in self.place:
                first.setdefault(name, i)
        return list(first.values())

    def add(self, names: Sequence[bytes], rows: np.ndarray, cost: Cost) -> None:
        seconds = np.full(len(rows), cost.seconds / max(1, len(rows)), dtype=np.float64)
        as_bytes = np.frombuffer(b"".join(names), dtype=np.uint8).reshape(-1, 32)
        part = {"names": as_bytes, "rows": np.ascontiguousarray(rows, dtype=np.float32), "seconds": seconds}
        self._hold(part, cost.peak_mb)
        path = self.folder / f"{_digest(part)[:32]}.safetensors"
        if _write(path, part, {"peak_mb": cost.peak_mb}):
            self.files.append(path)

    def tidy(self) -> None:
        """Put many small files together."""
        if len(self.files) <= FILES_A_TABLE:
            return
        whole = {name: np.concatenate([part[name] for part in self.parts]) for name in self.parts[0]}
        path = self.folder / f"{_digest(whole)[:32]}.safetensors"
        if _write(path, whole, {"peak_mb": self.peak_mb}):
            for old in self.files:
                if old != path:
                    old.unlink(missing_ok=True)

    def rows(self, asked: Sequence[bytes]) -> tuple[np.ndarray, float]:
        """(rows of the asked texts, seconds that the distinct ones of them took)."""
        if not asked:
            return np.zeros((0, 0), dtype=np.float32), 0.0
        place = np.array([self.place[name] for name in asked])
        rows = np.empty((len(asked), self.parts[0]["rows"].shape[1]), dtype=np.float32)
        seconds, start = np.zeros(self.count), 0
        for part in self.parts:  # one after the other: joined, all would be held twice
            stop = start + len(part["rows"])
            here = np.flatnonzero((place >= start) & (place < stop))
            rows[here] = part["rows"][place[here] - start]
            seconds[start:stop], start = part["seconds"], stop
        return rows, float(seconds[np.unique(place)].sum())
