"""Files and folders that are whole or not there, and their checksums."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from contextlib import contextmanager
from pathlib import Path


def sha256_of(data: bytes | Path) -> str:
    """Hex SHA-256 of bytes, or of a file's content."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with open(data, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _beside(path: Path) -> Path:
    # Not the process number alone: two threads, or two machines on one shared disk, may write the same name.
    stem = path.stem.encode(errors="surrogateescape")[:80].decode(errors="ignore")
    return path.with_name(f".{stem}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part{path.suffix}")


@contextmanager
def atomic_path(path: Path):
    """Give a temporary name beside `path`; rename it to `path` if the block ends well, else remove it.

    On the disk before it is renamed: after a power cut the name would otherwise stand before an empty file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        yield temporary
        with open(temporary, "rb+") as f:
            os.fsync(f.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path):
    """Give a new folder beside `path` that takes its place if the block ends well; readers never see half of it.

    What stood at `path` before goes once the new folder is whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = _beside(path), _beside(path)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
    finally:
        for leftover in (temporary, old):
            shutil.rmtree(leftover, ignore_errors=True)


def why_not_kept(folder: Path, need: float = 0.0) -> str:
    """Why a folder, made if it isn't there, can't take `need` more bytes; "" where it can. Tried with a file: rights,
    a full disk and a quota show in nothing else."""
    try:
        with atomic_path(folder / "tried") as temporary:
            temporary.write_bytes(b"0" * 2**16)
        (folder / "tried").unlink()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return f"{folder} 写不进（{error.strerror}）"
    return f"{folder} 只剩 {free / 2**20:.0f} MB，至少要 {need / 2**20:.0f} MB" if free < need else ""


def write_atomic(path: Path, data: bytes) -> None:
    """Write bytes so that readers see the old file or the new one, never half of it."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
