"""Our trainer beside sentence-transformers': seconds a step, and memory of 4,096 pairs with cached gradients.

    pip install -e ".[bench]"
    python benchmarks/finetuning.py [speed | memory]

speed: same model, same pairs of films, same loss (in-batch softmax over cosines / .05), texts cut at 128 tokens, in
batches of 32, 128 and 256 pairs. The more pairs, the more often a popular film comes twice; we encode it once, they
each time.
memory: 4,096 pairs of sentences from the film texts; the loss is compared with one pass over all 8,192 texts at once.
"""

import itertools
import re
import sys
import tempfile
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO

import numpy as np
import torch
import torch.nn.functional as F

from textrec_utils.core import measure
from textrec_utils.datasets import load_dataset
from textrec_utils.encoder import DEFAULT_MODEL, Encoder, find_model, has_bf16
from textrec_utils.finetuning import GradientCache, TwoTowerConfig, train_two_tower
from textrec_utils.finetuning.features import Features, Material
from textrec_utils.losses import in_batch_loss
from textrec_utils.splits import make_split

TEMPERATURE = 0.05
BATCHES = {32: (2, 8, 2), 128: (1, 3, 1), 256: (1, 2, 1)}  # pairs: few steps, many steps, rounds


def per_step(run, batch: int) -> float:
    """Seconds a step: what many steps take more than few, so that loading and closing don't count."""
    few, many, _ = BATCHES[batch]
    seconds = []
    for steps in (few, many):
        started = time.perf_counter()
        run(steps)
        seconds.append(time.perf_counter() - started)
    return (seconds[1] - seconds[0]) / (many - few)


def ours(split, precision: str, batch: int):
    config = TwoTowerConfig(
        rung="whole", loss="in_batch_no_logq", question="cut", history=1, pairs=batch, items=2 * batch, chunk=2 * batch,
        temperature=TEMPERATURE, steps=0, encoder_steps=1000, precision=precision,
    )  # fmt: skip

    def run(steps: int) -> None:
        # `stop` and not `encoder_steps`: the catalogue is encoded once at the end in both runs, and drops out.
        train_two_tower(split, replace(config, stop=steps), progress=False, cache=False)

    return run


def theirs(split, precision: str, batch: int):
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.losses import MultipleNegativesRankingLoss

    texts = split.dataset.items["text"].to_numpy()
    pairs = np.concatenate([np.c_[h[:-1], h[1:]] for h in split.histories if len(h) > 1])
    pairs = np.random.default_rng(0).permutation(pairs)

    def run(steps: int) -> None:
        # The weights lie in float16 to be small; trained in that on a CPU, theirs would be slow for no fault of theirs.
        model = SentenceTransformer(find_model(DEFAULT_MODEL), device="cpu", model_kwargs={"dtype": torch.float32})
        model.max_seq_length = 128
        data = Dataset.from_dict(
            {"anchor": texts[pairs[: steps * batch, 0]], "positive": texts[pairs[: steps * batch, 1]]}
        )
        with tempfile.TemporaryDirectory() as folder:
            arguments = SentenceTransformerTrainingArguments(
                folder, per_device_train_batch_size=batch, max_steps=steps, learning_rate=1e-4, use_cpu=True,
                bf16=precision == "bf16",
                save_strategy="no", logging_strategy="no", report_to="none", disable_tqdm=True,
            )  # fmt: skip
            trainer = SentenceTransformerTrainer(
                model, arguments, data, loss=MultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE)
            )
            with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # it reports each run at length
                trainer.train()

    return run


def speed() -> None:
    split = make_split(load_dataset("movielens-zh"), "leave_last_out")
    Encoder(DEFAULT_MODEL).encode(list(split.dataset.items["text"]))  # both start from loaded, cached vectors
    for batch, precision in itertools.product(BATCHES, ("float32", *(["bf16"] if has_bf16() else []))):
        own, other = [], []
        for _ in range(BATCHES[batch][2]):  # in turn, so that a busy moment hits both
            own.append(per_step(ours(split, precision, batch), batch))
            other.append(per_step(theirs(split, precision, batch), batch))
        ratios = ", ".join(f"{b / a:.2f}" for a, b in zip(own, other))
        print(
            f"{batch} pairs, {precision}: ours {np.median(own) * 1000:.0f} ms a step, "
            f"sentence-transformers {np.median(other) * 1000:.0f} ms, "
            f"ratio {np.median(other) / np.median(own):.2f} (runs: {ratios}), "
            f"{torch.get_num_threads()} threads", flush=True,
        )  # fmt: skip


def sentence_pairs(count: int) -> list[str]:
    """`count` neighbouring sentences of the film texts: first all the left ones, then all the right ones."""
    lefts, rights = [], []
    for text in load_dataset("movielens-zh").items["text"]:
        sentences = [s for s in re.split("[。；，]", text) if len(s) > 3]
        lefts += sentences[:-1]
        rights += sentences[1:]
    chosen = np.random.default_rng(0).choice(len(lefts), size=count, replace=count > len(lefts))
    return [lefts[i] for i in chosen] + [rights[i] for i in chosen]


def memory(count: int = 4096, chunk: int = 64) -> None:
    texts = sentence_pairs(count)
    encoder = Encoder(DEFAULT_MODEL)
    material = Material(texts, encoder, encoder.encode(texts))
    features = Features(material, TwoTowerConfig(rung="whole", chunk=chunk, precision="float32"))
    nothing, target = torch.zeros(count, count, dtype=torch.bool), torch.arange(count)

    def loss_of(vectors: torch.Tensor) -> torch.Tensor:
        unit = F.normalize(vectors, dim=1)
        return in_batch_loss(unit[:count], unit[count:], target, nothing, TEMPERATURE, None)

    cached = GradientCache(features, chunk)
    with measure() as cost:
        loss = loss_of(cached.vectors(torch.arange(2 * count)))
        loss.backward()
        cached.backward()
    norm = torch.sqrt(sum((p.grad**2).sum() for p in features.named_parameters().values()))
    print(
        f"{count:,} pairs, gradients cached, chunks of {chunk}: {cost.seconds:.1f} s, peak +{cost.peak_mb:.0f} MB, "
        f"loss {loss:.6f}, gradient norm {norm:.5f}"
    )
    ids, mask = features.batch(range(2 * count))
    with measure() as cost, torch.no_grad():
        hidden = encoder.model(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        plain = loss_of((pooled - features.mean) @ features.basis)
    print(
        f"all {2 * count:,} texts in one pass, without gradient: {cost.seconds:.1f} s, "
        f"peak +{cost.peak_mb:.0f} MB, loss {plain:.6f}"
    )
    assert abs(loss.item() - plain.item()) < 1e-4


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for name in sys.argv[1:] or ["speed", "memory"]:
        {"speed": speed, "memory": memory}[name]()
