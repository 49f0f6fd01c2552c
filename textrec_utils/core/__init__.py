"""What every room stands on: paths, errors, whole files, costs, kept results, checkpoints, seeds, signals."""

from textrec_utils.core.cost import Cost, measure
from textrec_utils.core.errors import DataError, TextrecError, TooLittleData
from textrec_utils.core.files import sha256_of, write_atomic
from textrec_utils.core.paths import build_dir, cache_dir, project_data, project_root
from textrec_utils.core.processes import Interrupts, in_own_process
from textrec_utils.core.store import Cached, cached_arrays, cached_rows

__all__ = [
    "Cached", "Cost", "DataError", "Interrupts", "TextrecError", "TooLittleData", "build_dir", "cache_dir",
    "cached_arrays", "cached_rows", "in_own_process", "measure", "project_data", "project_root", "sha256_of",
    "write_atomic",
]  # fmt: skip
