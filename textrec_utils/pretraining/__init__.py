"""Pretrain a small BERT from plain text: masked language modelling, distillation, then sentence pairs.

By stage: config → vocabulary → teacher (what the student shall meet) → batches, losses, steps → run (`Pretraining`)
→ export (the checkpoint that readers load). masked_lm goes on from any checkpoint with texts of one's own.
What it does not do: several machines, dynamic vocabularies, decoders.
"""

from textrec_utils.core.faces import face_of

__getattr__, __all__ = face_of(__name__, {
    "batches": "join_texts length_sorted_batches",
    "config": "PretrainConfig Stage read_config",
    "export": "center_output",
    "losses": "cosent_loss cosine_loss mask_tokens similarity_loss",
    "masked_lm": "adapt_to_texts train_masked_lm",
    "run": "Pretraining",
    "teacher": "student_targets teacher_embeddings",
    "vocabulary": "SPECIAL train_wordpiece",
})  # fmt: skip
