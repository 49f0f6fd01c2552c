"""Texts to vectors with a pretrained BERT-like encoder, and the shape of the cloud that they make."""

from textrec_utils.core.faces import face_of

__getattr__, __all__ = face_of(__name__, {
    "batching": "by_length padded",
    "encoder": "Encoder",
    "fingerprint": "fingerprint_of weights_checksum",
    "lengths": "ReadingLength length_for",
    "loading": "DEFAULT_MODEL find_model load_pretrained quiet_loading",
    "pooling": "EVERY_POOLING POOLINGS pool_cls pool_cls_sep pool_first_last pool_mean",
    "precision": "autocast bf16_unit has_bf16 use_bf16",
    "space": "Whitening center mean_cosine principal_directions whiten",
})  # fmt: skip
