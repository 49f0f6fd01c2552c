"""Masked language modelling alone: train a model in place, or go on from a checkpoint with texts of one field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from textrec_utils.core.errors import DataError, TooLittleData
from textrec_utils.core.files import write_atomic
from textrec_utils.core.seeds import seeded
from textrec_utils.core.store import cached_folder
from textrec_utils.encoder.fingerprint import fingerprint_of
from textrec_utils.encoder.lengths import most_tokens
from textrec_utils.encoder.loading import model_folder, quiet_loading
from textrec_utils.encoder.makers import copy_makers
from textrec_utils.encoder_quality import masked_characters, masked_language_model, masked_logits, special_pieces
from textrec_utils.pretraining.batches import Tokens, length_sorted_batches
from textrec_utils.pretraining.config import Stage
from textrec_utils.pretraining.losses import mask_tokens, masked_loss, update


def train_masked_lm(
    model, tokenizer, texts: Sequence[str], *, steps: int, learning_rate: float = 3e-4, batch_size: int = 32,
    mask_rate: float = 0.15, max_length: int = 128, seed: int = 0, held_out: Sequence[str] = (), every: int = 0,
) -> list[dict[str, float]]:  # fmt: skip
    """Train a masked language model in place on texts: from scratch or on from a checkpoint.

    model, tokenizer: any `...ForMaskedLM` and its tokenizer. every: measure `held_out` after that many steps
    (and before the first). AdamW, linear warm-up over a tenth of the steps, then linear decay. All that is random
    follows from seed, dropout too. Works where the model is (model.to("cuda") first for a GPU).
    Returns the curve: step, mean training loss since the last row, held-out loss and accuracy.
    Raises TooLittleData without texts, or where the tokenizer knows not one character of them.
    """
    if not len(texts):
        raise TooLittleData("没有可训练的文本：texts 是空的。")
    device = next(model.parameters()).device
    most = most_tokens(model)
    tokens = Tokens(tokenizer, texts, min(max_length, most))
    special = special_pieces(tokenizer)
    if special[tokens.flat.astype(np.int64)].all():
        raise TooLittleData("没有可训练的文本：texts 里没有一个字在分词器的词表里。")
    stage = Stage("mlm", steps, learning_rate, warm_up_steps=max(1, steps // 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01, fused=True)
    generator = torch.Generator().manual_seed(seed)
    batches: list[np.ndarray] = []
    curve, losses = [], []

    def measure_now(step: int) -> None:
        row = {"step": step, "train_loss": float(np.mean(losses)) if losses else float("nan")}
        if held_out:
            model.eval()
            result = masked_characters(model, tokenizer, held_out, max_length=min(128, most))
            row |= {"held_out_loss": result.loss, "held_out_accuracy": result.accuracy}
        curve.append(row)
        losses.clear()

    if every:
        measure_now(0)
    with seeded(seed):
        for step in range(steps):
            if not batches:
                batches = length_sorted_batches(tokens.lengths, min(batch_size, len(texts)), (seed, step))[::-1]
            ids, mask = tokens.batch(batches.pop())
            maskable = mask.bool() & ~special[ids]
            inputs, chosen = mask_tokens(ids, maskable, mask_rate, tokenizer.mask_token_id, len(tokenizer), generator)
            model.train()
            logits = masked_logits(model, inputs.to(device), mask.to(device), chosen.to(device))
            loss = masked_loss(logits, ids[chosen].to(device))
            update(model, optimizer, loss, stage.rate(step))
            losses.append(float(loss.detach()))
            if every and ((step + 1) % every == 0 or step + 1 == steps):
                measure_now(step + 1)
    model.eval()
    return curve


def adapt_to_texts(
    name: str, texts: Sequence[str], *, steps: int = 150, learning_rate: float = 2e-4, seed: int = 0,
    held_out: Sequence[str] = (),
) -> tuple[str, list[dict[str, float]]]:  # fmt: skip
    """Domain-adaptive pretraining (Gururangan et al. 2020): go on with masked language modelling on texts of one field.

    name: a checkpoint with a masked-language-model head. Returns the folder of the adapted checkpoint, which
    `Encoder` and `transformers` load, and the curve (see `train_masked_lm`). Kept in the cache.
    """
    with seeded(seed):  # loading draws too, where a checkpoint lacks weights
        found = masked_language_model(name)
    if found is None:
        raise DataError(f"模型 {name} 没有掩码语言模型的输出层，不能继续预训练：换一个 ...ForMaskedLM 的模型。")
    model, tokenizer = found
    how = {"steps": steps, "learning_rate": learning_rate, "seed": seed}
    data = {"texts": list(texts), "held_out": list(held_out), "model": fingerprint_of(model, tokenizer)}

    def adapt(folder: Path) -> None:
        curve = train_masked_lm(model, tokenizer, texts, held_out=held_out, every=max(1, steps // 5), **how)
        with quiet_loading():
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        copy_makers(model_folder(name), folder)
        write_atomic(folder / "curve.json", json.dumps(curve).encode())

    folder = cached_folder("adapted", how | data, adapt)
    return str(folder), json.loads((folder / "curve.json").read_text(encoding="utf-8"))
