"""Plain text and labelled sentence pairs from files, checked before they are trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textrec_utils.core.errors import DataError
from textrec_utils.core.files import sha256_of
from textrec_utils.datasets.tables import lines_of, rows_of
from textrec_utils.text import normalize


def checked_file(path: Path, checksum: str) -> Path:
    """The path, if the file is there and has this SHA-256 ("" = any); else a DataError that says what to do."""
    if not path.is_file():
        raise DataError(f"找不到文件 {path}：请把它放到那里，或指出它所在的文件夹（--corpora）。")
    if checksum and sha256_of(path) != checksum:
        raise DataError(f"{path.name} 与配置里的校验和不符：换回原来的文件，或改配置里的 SHA-256。")
    return path


def read_corpus(folder: Path | str, files: dict[str, str]) -> list[str]:
    """Normalised, distinct, non-empty lines of the files, in their order.

    files: name → SHA-256 ("" leaves a file unchecked). Raises DataError where a file is missing or other.
    """
    lines: dict[str, None] = {}
    for name, checksum in files.items():
        path = checked_file(Path(folder) / name, checksum)
        lines.update((text, None) for line in lines_of(path) if (text := normalize(line)))
    return list(lines)


@dataclass(frozen=True)
class Pairs:
    """Labelled sentence pairs of one source. label: (pairs,) float, higher = more alike."""

    name: str
    left: list[str]
    right: list[str]
    label: np.ndarray


def read_pairs(path: Path | str, checksum: str = "") -> Pairs:
    """Pairs from a table whose last three columns are sentence, sentence, number (tabs or commas, header or not).

    Raises DataError with file and line where a label is no number.
    """
    path = checked_file(Path(path), checksum)
    left, right, label = [], [], []
    for number, row in rows_of(path, "," if path.suffix == ".csv" else "\t"):
        if len(row) < 3:
            raise DataError(f"{path.name} 第 {number} 行只有 {len(row)} 列：要有句子、句子、分数三列。")
        try:
            value = math.nan if "_" in row[-1] else float(row[-1])  # Python itself reads 1_000 as a thousand
        except ValueError:
            if number == 1:  # a header
                continue
            value = math.nan
        if not math.isfinite(value):
            raise DataError(f"{path.name} 第 {number} 行的分数 {row[-1]!r} 不是数，请改好或删掉该行。")
        left.append(normalize(row[-3]))
        right.append(normalize(row[-2]))
        label.append(value)
    return Pairs(path.name, left, right, np.array(label))
