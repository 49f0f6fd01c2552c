"""Pretrain a small BERT from plain text: masked language modelling, distillation, then sentence pairs.

By stage: config → vocabulary → teacher (what the student shall meet) → batches, losses, steps → run (`Pretraining`)
→ export (the checkpoint that readers load). masked_lm goes on from any checkpoint with texts of one's own.
What it does not do: several machines, dynamic vocabularies, decoders.
"""

from textrec_utils.pretraining.batches import join_texts, length_sorted_batches
from textrec_utils.pretraining.config import PretrainConfig, Stage, read_config
from textrec_utils.pretraining.export import center_output
from textrec_utils.pretraining.losses import cosent_loss, cosine_loss, mask_tokens, similarity_loss
from textrec_utils.pretraining.masked_lm import adapt_to_texts, train_masked_lm
from textrec_utils.pretraining.run import Pretraining
from textrec_utils.pretraining.teacher import student_targets, teacher_embeddings
from textrec_utils.pretraining.vocabulary import SPECIAL, train_wordpiece

__all__ = [
    "SPECIAL", "PretrainConfig", "Pretraining", "Stage", "adapt_to_texts", "center_output", "cosent_loss",
    "cosine_loss", "join_texts", "length_sorted_batches", "mask_tokens", "read_config", "similarity_loss",
    "student_targets", "teacher_embeddings", "train_masked_lm", "train_wordpiece",
]  # fmt: skip
