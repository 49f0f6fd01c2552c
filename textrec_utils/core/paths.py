"""Where things lie: the checkout, its data, the cache, the reports."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from textrec_utils.core.errors import DataError


def project_root() -> Path:
    """The checkout: the folder that holds the package, the notebooks and the data."""
    return Path(__file__).resolve().parents[2]


def project_data() -> Path:
    """The course's own `data` folder (beside the package in a checkout). Raises DataError in a plain wheel."""
    folder = project_root() / "data"
    if not folder.is_dir():
        raise DataError(f"没有课程的数据 {folder}：请克隆课程的仓库，在里面运行 pip install -e . 后再来。")
    return folder


def notebooks_dir() -> Path:
    """Where the course's notebooks lie: $TEXTREC_NOTEBOOKS, or `notebooks` in the checkout."""
    return Path(os.environ.get("TEXTREC_NOTEBOOKS") or project_root() / "notebooks")


def cache_dir() -> Path:
    """The folder for downloads and computed results: $TEXTREC_CACHE, or the user's cache folder."""
    if os.environ.get("TEXTREC_CACHE"):
        return Path(os.environ["TEXTREC_CACHE"]).expanduser().absolute()
    return Path(platformdirs.user_cache_dir("textrec", appauthor=False))


def build_dir() -> Path:
    """Where reports go: $TEXTREC_BUILD, or `build` in the checkout."""
    return Path(os.environ.get("TEXTREC_BUILD") or project_root() / "build").expanduser().absolute()
