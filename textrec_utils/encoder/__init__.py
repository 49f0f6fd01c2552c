"""Texts to vectors with a pretrained BERT-like encoder, and the shape of the cloud that they make."""

from textrec_utils.encoder.batching import by_length, padded
from textrec_utils.encoder.encoder import Encoder
from textrec_utils.encoder.fingerprint import fingerprint_of, weights_checksum
from textrec_utils.encoder.loading import DEFAULT_MODEL, find_model, load_pretrained, quiet_loading
from textrec_utils.encoder.pooling import POOLINGS, pool_cls, pool_cls_sep, pool_first_last, pool_mean
from textrec_utils.encoder.precision import autocast, bf16_unit, has_bf16, use_bf16
from textrec_utils.encoder.space import Whitening, center, mean_cosine, principal_directions, whiten

__all__ = [
    "DEFAULT_MODEL", "POOLINGS", "Encoder", "Whitening", "autocast", "bf16_unit", "by_length", "center", "find_model",
    "fingerprint_of", "has_bf16", "load_pretrained", "mean_cosine", "padded", "pool_cls", "pool_cls_sep",
    "pool_first_last", "pool_mean", "principal_directions", "quiet_loading", "use_bf16", "weights_checksum", "whiten",
]  # fmt: skip
