"""Real behaviour and Chinese text under one contract: `load_dataset(name_or_path) -> Dataset`."""

from textrec_utils.core.errors import DataError
from textrec_utils.core.paths import project_data
from textrec_utils.datasets.caixin import ROBOT_READS
from textrec_utils.datasets.dataset import Dataset
from textrec_utils.datasets.movielens import film_text, load_film_texts
from textrec_utils.datasets.registry import DATASETS, load_dataset

__all__ = [
    "DATASETS", "ROBOT_READS", "DataError", "Dataset", "film_text", "load_dataset", "load_film_texts", "project_data",
]  # fmt: skip
