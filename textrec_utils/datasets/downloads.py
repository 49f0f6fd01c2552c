"""Pinned files: SHA-256 in data/checksums.csv, checked after the download and again before every use.

A folder or base URL in $TEXTREC_MIRROR is asked first, as `<mirror>/<dataset>/<file>`.
"""

import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

from textrec_utils.core.errors import DataError
from textrec_utils.core.files import sha256_of, write_atomic
from textrec_utils.core.paths import cache_dir, project_data
from textrec_utils.core.store import locked
from textrec_utils.datasets.tables import read_table


def shipped(dataset: str) -> list[Path]:
    """The pinned files of a dataset that comes with the course (`data/<dataset>/`), in the order of data/checksums.csv.

    Raises DataError where one is missing or was changed.
    """
    paths = {project_data() / dataset / name: digest for name, digest in _checksums(dataset).items()}
    for path, digest in paths.items():
        if not path.is_file() or sha256_of(path) != digest:
            raise DataError(f"课程自带的文件 {path} 缺失或被改动（SHA-256 不符），请从仓库里恢复它。")
    return list(paths)


def fetch(dataset: str, *sources: str | Callable[[str], bytes]) -> list[Path]:
    """All pinned files of a dataset, in the cache, in the order of data/checksums.csv.

    sources: web addresses of the files' folder, or functions that give the bytes of a file by its name (the reader is
        told their docstrings); asked in their order, $TEXTREC_MIRROR first.
    Raises DataError where no source has a file with the right checksum.
    """
    mirror = os.environ.get("TEXTREC_MIRROR")
    sources = (f"{mirror}/{dataset}", *sources) if mirror else sources
    with locked("data", dataset):  # chapters that run side by side download it once
        return [_fetch_one(dataset, name, digest, sources) for name, digest in _checksums(dataset).items()]


def _checksums(dataset: str) -> dict[str, str]:
    path = project_data() / "checksums.csv"
    table = read_table(path)
    found = {row.file: row.sha256 for row in table[table["dataset"] == dataset].itertuples()}
    if not found:
        raise DataError(f"{path} 里没有数据集 {dataset} 的一行：请为它的每个文件加一行 {dataset},文件名,SHA-256。")
    return found


def _fetch_one(dataset: str, name: str, digest: str, sources: tuple[str | Callable[[str], bytes], ...]) -> Path:
    target = cache_dir() / "data" / dataset / name
    if target.exists():
        if sha256_of(target) == digest:
            return target
        print(f"缓存文件 {target} 已损坏（SHA-256 不符），重新获取。", file=sys.stderr)
    tried = []
    for source in sources:
        told = f"{source}/{name}" if isinstance(source, str) else source.__doc__
        try:
            data = read_source(told) if isinstance(source, str) else source(name)
        except Exception as error:  # network errors come in many classes; each is only "not from here"
            tried.append(f"{told}（{type(error).__name__}）")
            continue
        if sha256_of(data) == digest:
            write_atomic(target, data)
            return target
        tried.append(f"{told}（SHA-256 不符，文件损坏或被改动）")
    raise DataError(
        f"数据集 {dataset} 的文件 {name} 无法取得：{'；'.join(tried)}。"
        f"请联网后重试，或把它放进一个镜像文件夹（{dataset}/{name}）并设置 TEXTREC_MIRROR。"
    )


def read_source(source: str) -> bytes:
    """The bytes at a web address or a path."""
    if not re.match(r"https?://", source):
        return Path(source).expanduser().read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its progress bar asks for widgets, which we do not use
        import pooch

    pooch.get_logger().setLevel("ERROR")
    loader = pooch.HTTPDownloader(timeout=10)
    with tempfile.TemporaryDirectory() as folder:
        return Path(pooch.retrieve(source, known_hash=None, path=folder, fname="file", downloader=loader)).read_bytes()
