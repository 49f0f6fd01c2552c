"""From a pretrained encoder to a recommender: the two-tower model and its trainer.

Two towers: item text -> encoder -> head -> item vector; user = weighted mean of the history's item vectors, or, without
a history, a vector of the profile text; score(u, i) = u · i / temperature.

A run passes the files in this order: config, features (texts read once), towers, batches, trainer (with gradient_cache
and distributed), result; `train` makes the run and keeps it. A run goes on after a kill from its last checkpoint to the
same numbers, and several processes (`torchrun`) share the encoding of a step. What it does not do: catalogues whose
item vectors don't fit in memory, id vectors (chapter 08).
"""

from textrec_utils.finetuning.config import MEANING_SCALE, TwoTowerConfig
from textrec_utils.finetuning.distributed import processes
from textrec_utils.finetuning.features import lexical_vectors
from textrec_utils.finetuning.gradient_cache import GradientCache
from textrec_utils.finetuning.result import TwoTower, UserTower
from textrec_utils.finetuning.towers import Head, Towers
from textrec_utils.finetuning.train import early_stopping, judge_on, train_two_tower, train_two_towers
from textrec_utils.losses import in_batch_loss

__all__ = [
    "MEANING_SCALE", "GradientCache", "Head", "TwoTower", "TwoTowerConfig", "Towers", "UserTower", "early_stopping",
    "in_batch_loss", "judge_on", "lexical_vectors", "processes", "train_two_tower",
    "train_two_towers",
]  # fmt: skip
