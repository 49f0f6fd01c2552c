"""From a pretrained encoder to a recommender: the two-tower model and its trainer.

Two towers: item text -> encoder -> head -> item vector; user = weighted mean of the history's item vectors, or, without
a history, a vector of the profile text; score(u, i) = u · i / temperature.

A run passes the files in this order: config, features (texts read once), towers, batches, trainer (with gradient_cache
and distributed), result; `train` makes the run and keeps it. A run goes on after a kill from its last checkpoint to the
same numbers, and several processes (`torchrun`) share the encoding of a step. What it does not do: catalogues whose
item vectors don't fit in memory, id vectors (chapter 08).
"""

from textrec_utils.core.faces import face_of

__getattr__, __all__ = face_of(__name__, {
    "config": "MEANING_SCALE TwoTowerConfig",
    "distributed": "processes",
    "features": "lexical_vectors",
    "gradient_cache": "GradientCache",
    "result": "TwoTower UserTower",
    "towers": "Head Towers",
    "train": "early_stopping judge_on train_two_tower train_two_towers",
    "textrec_utils.losses": "in_batch_loss",
})  # fmt: skip
