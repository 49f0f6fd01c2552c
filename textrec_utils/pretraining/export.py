"""The checkpoint that readers load: float16 weights around mean 0, config, tokenizer, how to read, curve, checksums."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from textrec_utils.core.files import atomic_folder, sha256_of, write_atomic
from textrec_utils.encoder.lengths import LEAST
from textrec_utils.encoder.loading import quiet_loading
from textrec_utils.encoder.makers import LENGTH_FILES, write_makers
from textrec_utils.encoder.pooling import pool_mean
from textrec_utils.export import check_folder
from textrec_utils.pretraining.batches import Tokens

MARK = "textrec_pretraining.json"  # in every folder of ours: how it was trained, and which files we wrote


def export(
    folder: Path, model, weights: Mapping[str, torch.Tensor], tokenizer, pieces: bytes, *, typical: Sequence[str],
    curve: list[dict], about: Mapping[str, object],
) -> Path:  # fmt: skip
    """Write the model with these weights into a folder; the mean vector of the typical texts is taken away.

    about: what the mark shall tell of the run. Raises DataError for a folder that holds something else or can't be
    written; an earlier export is replaced as a whole.
    """
    folder = check_folder(folder, MARK)
    model = copy.deepcopy(model).cpu().eval()
    model.load_state_dict(weights, strict=False)  # the decoder is tied to the embeddings: one name of two
    center_output(model, tokenizer, typical)
    # Readers who fine-tune expect BERT's usual dropout; we trained without, having few passes over the texts.
    model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = 0.1
    tokenizer.model_max_length = model.config.max_position_embeddings  # so that longer texts bring a warning
    with atomic_folder(folder.resolve()) as new, quiet_loading():
        model.half().save_pretrained(new)
        tokenizer.save_pretrained(new)
        (new / "vocab.txt").write_bytes(pieces)
        pd.DataFrame(curve).round(4).to_csv(new / "curve.csv", index=False, lineterminator="\n")
        write_makers(new, "mean", model.config.hidden_size, LEAST)
        names = ["1_Pooling/config.json", "config.json", "model.safetensors", "modules.json", LENGTH_FILES[0],
                 "tokenizer.json", "tokenizer_config.json", "vocab.txt"]  # fmt: skip
        sums = "".join(f"{sha256_of(new / name)}  {name}\n" for name in names)
        write_atomic(new / "SHA256SUMS", sums.encode())
        files = sorted([MARK, *(path.name for path in new.iterdir())])
        write_atomic(new / MARK, json.dumps({**about, "files": files}, ensure_ascii=False, indent=1).encode())
    return folder


@torch.no_grad()
def center_output(model, tokenizer, texts: Sequence[str]) -> None:
    """Move a `BertForMaskedLM` in place so that the mean-pooled vectors of these texts have mean 0.

    Taking a vector away from every token's output takes it away from their mean; the output's last operation adds
    a bias, so the bias can carry it. The language-model head gets it back in its own bias: guesses stay as they were.
    """
    tokens = Tokens(tokenizer, sorted(texts, key=len), model.config.max_position_embeddings)
    total = 0
    for start in range(0, len(texts), 256):
        ids, mask = tokens.batch(np.arange(start, min(start + 256, len(texts))))
        total = total + pool_mean([model.bert(input_ids=ids, attention_mask=mask).last_hidden_state], mask).sum(0)
    mean = total / len(texts)
    model.bert.encoder.layer[-1].output.LayerNorm.bias -= mean
    head = model.cls.predictions.transform.dense
    head.bias += head.weight @ mean
