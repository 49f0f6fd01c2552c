"""Films' texts to vectors beside sentence-transformers, and how long vectors take that are kept.

    python benchmarks/encoding.py [texts] [rounds] [rows kept]

Default: the 1,682 film texts by mini-bert-zh cut at 128 tokens, twice in turn; 100,000 kept rows. Tokenising counts for
both. Operations are those of the matrix products.
"""

import sys
import tempfile
import warnings
from unittest import mock

import numpy as np
import torch
from machine import in_turn, row

from textrec_utils.core import cached_rows
from textrec_utils.datasets import load_dataset
from textrec_utils.encoder import DEFAULT_MODEL, Encoder, find_model, has_bf16


def operations(encoder: Encoder, texts: list[str]) -> float:
    """2 a multiply-add: six linear maps a layer and token, and each token's scores with and sums over its text's."""
    tokens = encoder.tokenize(texts)["attention_mask"].sum(1).double()
    config = encoder.model.config
    linear = 4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
    return 2 * config.num_hidden_layers * float((tokens * linear + 2 * tokens**2 * config.hidden_size).sum())


def least_cosine(left: np.ndarray, right: np.ndarray) -> float:
    return float(((left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)).min())


def encoding(count: int, rounds: int) -> None:
    from sentence_transformers import SentenceTransformer

    texts = list(load_dataset("movielens-zh").items["text"])[:count]
    # The weights lie in float16 to be small; computed in that on a CPU, theirs would be slow for no fault of theirs.
    peer = SentenceTransformer(find_model(DEFAULT_MODEL), device="cpu", model_kwargs={"dtype": torch.float32})
    peer.max_seq_length = 128
    ours = {"float32": Encoder(DEFAULT_MODEL)} | ({"bf16": Encoder(DEFAULT_MODEL, bf16=True)} if has_bf16() else {})
    made = {}

    def run(name: str) -> None:
        made[name] = peer.encode(texts) if name == "peer" else ours[name].encode(texts, cache=False)

    seconds = in_turn(rounds, **{name: lambda name=name: run(name) for name in (*ours, "peer")})
    count = operations(ours["float32"], texts)
    for name, bar in {"float32": "1.1 ×", "bf16": "1.7 ×"}.items():
        if name not in ours:
            print("bf16: this processor doesn't multiply in it")
            continue
        what = (
            f"{len(texts):,} film texts, {name} (least cosine to theirs {least_cosine(made[name], made['peer']):.6f})"
        )
        row(what, seconds[name], bar, operations=count, sentence_transformers=seconds["peer"])


def kept(rows: int) -> None:
    """Only the store: how the rows were made does not matter."""
    texts = [f"{n}号，" + "一部关于友谊的电影。" * 14 for n in range(rows)]

    def make(new: list[str]) -> np.ndarray:
        return np.random.default_rng(0).random((len(new), 312), dtype=np.float32)

    with tempfile.TemporaryDirectory() as folder, mock.patch.dict("os.environ", TEXTREC_CACHE=folder):
        found = in_turn(3, kept=lambda: cached_rows("vectors", {}, texts, make))
        row(f"{rows:,} unchanged texts from the store", found["kept"], "1 s")


def main(texts: int = 1682, rounds: int = 2, rows: int = 100_000) -> None:
    encoding(texts, rounds)
    kept(rows)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    main(*map(int, sys.argv[1:]))
