"""What a vector depends on beside its text: the weights, how the model uses them, how the text becomes tokens."""

from __future__ import annotations

import hashlib
import json

import torch
from tokenizers import Tokenizer

from textrec_utils.core.files import sha256_of

# Where a model lies, what it was saved by and as, say nothing about what it computes.
_NAMES = {"_name_or_path", "name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype"}


def fingerprint_of(model: torch.nn.Module, tokenizer, tail: torch.nn.Sequential | None = None) -> str:
    """SHA-256 over weights, configuration and tokenizer: where one differs, the same text is another vector.

    tail: the steps behind the pooling, where there are any.
    """
    config = {key: value for key, value in model.config.to_dict().items() if key not in _NAMES}
    parts = {"weights": weights_checksum(model), "config": config, "tokenizer": tokenizer_settings(tokenizer)}
    if tail is not None and len(tail):
        parts["tail"] = [str(tail), weights_checksum(tail)]
    return sha256_of(json.dumps(parts, sort_keys=True, default=str).encode())


def weights_checksum(model: torch.nn.Module) -> str:
    """SHA-256 over a model's weights: the same text under other weights is another vector.

    The pooler is left out: we never use it, and where a checkpoint has none, it is filled at random.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if "pooler." in name:
            continue
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def tokenizer_settings(tokenizer) -> dict[str, object]:
    """All that a tokenizer makes of a text follows from, less truncation and padding, which each call sets anew."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if isinstance(backend, Tokenizer):
        rules = json.loads(backend.to_str())
        del rules["truncation"], rules["padding"]
    else:
        rules = tokenizer.get_vocab()
    return {
        "class": type(tokenizer).__name__, "rules": rules, "special": tokenizer.special_tokens_map,
        "sides": [tokenizer.padding_side, tokenizer.truncation_side], "inputs": tokenizer.model_input_names,
        "lower": getattr(tokenizer, "do_lower_case", None),
    }  # fmt: skip
