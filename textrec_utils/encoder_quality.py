"""How well does an encoder understand Chinese? Sentence similarity, paraphrases, headlines, masked characters, speed.

The questions come from small sets that we wrote ourselves (`data/encoder_eval`), or from the usual public
ones where their files are at hand. Anything that turns texts into vectors can be measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

from textrec_utils.baselines.content import unit_rows
from textrec_utils.core.errors import DataError
from textrec_utils.core.paths import project_data
from textrec_utils.core.seeds import seeded
from textrec_utils.corpora import Pairs, checked_file, read_corpus, read_pairs
from textrec_utils.datasets.tables import read_table, rows_of
from textrec_utils.encoder.batching import Batch, passes, without_gradient
from textrec_utils.encoder.encoder import Encoder
from textrec_utils.encoder.loading import load_pretrained, quiet_loading
from textrec_utils.encoder.precision import autocast
from textrec_utils.encoder.space import center
from textrec_utils.text import HAN, normalize

# ---------------------------------------------------------------- reading


@dataclass(frozen=True)
class EvalSets:
    """What an encoder is asked: graded pairs, yes/no pairs, classified titles, sentences to guess characters in."""

    name: str
    similarity: Pairs
    paraphrase: Pairs
    titles: list[str]
    classes: np.ndarray
    sentences: list[str]


def read_eval_sets(corpora: Path | str | None = None, held_out: int = 2000) -> EvalSets:
    """Our own small sets, or (given a folder) STS-B-zh validation, LCQMC dev, headlines, the corpus's last sentences.

    corpora: folder with pairs/stsb_zh_valid.tsv, pairs/lcqmc_dev.tsv, headlines_dev.tsv, sentences.txt.xz.
    """
    if corpora is None:
        folder = project_data() / "encoder_eval"
        titles = read_table(folder / "headlines.csv")
        return EvalSets(
            "课程自写", read_pairs(folder / "similarity.csv"), read_pairs(folder / "paraphrase.csv"),
            [normalize(t) for t in titles.title], titles.category.to_numpy(),
            [normalize(t) for t in read_table(folder / "sentences.csv").sentence],
        )  # fmt: skip
    folder = Path(corpora)
    headlines = []
    for number, row in rows_of(checked_file(folder / "headlines_dev.tsv", ""), "\t"):
        if len(row) < 2:
            raise DataError(f"headlines_dev.tsv 第 {number} 行没有制表符：每行要有标题、制表符、类别。")
        headlines.append((normalize(row[0]), row[1]))
    pairs = [read_pairs(folder / "pairs" / name) for name in ("stsb_zh_valid.tsv", "lcqmc_dev.tsv")]
    return EvalSets(
        "公开验证集", *pairs, [title for title, _ in headlines], np.array([category for _, category in headlines]),
        read_corpus(folder, {"sentences.txt.xz": ""})[-held_out:],
    )  # fmt: skip


LABELS = {
    "similarity": "句子相似（Spearman）", "paraphrase": "同义问句（AUC）", "titles": "标题十类（10近邻准确率）",
    "masked": "猜字（15%被遮）", "masked_loss": "猜字损失（nat）", "speed": "句/秒", "ratio": "是12×768的几倍快",
}  # fmt: skip

# ---------------------------------------------------------------- measuring


def pair_cosines(encode: Callable[[list[str]], np.ndarray], pairs: Pairs) -> np.ndarray:
    """Cosine of each pair's two vectors, (pairs,). A zero vector has cosine 0 with all."""
    left, right = (unit_rows(encode(side)) for side in (pairs.left, pairs.right))
    return (left * right).sum(1)


def spearman(cosines: np.ndarray, label: np.ndarray) -> float:
    """Spearman's rank correlation, the usual figure for graded pairs (STS)."""
    from scipy.stats import spearmanr

    return float(spearmanr(cosines, label).statistic)


def auc(cosines: np.ndarray, label: np.ndarray) -> float:
    """Area under the ROC curve: how often a pair that means the same has the higher cosine."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(label, cosines))


def neighbour_accuracy(vectors: np.ndarray, classes: np.ndarray, k: int = 10) -> float:
    """Leave-one-out accuracy of the majority class among the k nearest texts by cosine of centred vectors.

    A tie goes to the class whose members are nearer in sum. vectors: (texts, dim). classes: (texts,).
    """
    unit = unit_rows(center(np.asarray(vectors, dtype=np.float32)))
    names, code = np.unique(classes, return_inverse=True)
    k = min(k, len(unit) - 1)
    hits = 0
    for start in range(0, len(unit), 1000):
        scores = unit[start : start + 1000] @ unit.T  # (block, texts)
        rows = np.arange(len(scores))
        scores[rows, start + rows] = -np.inf
        near = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        votes = np.zeros((len(scores), len(names)))
        for j in range(k):
            votes[rows, code[near[:, j]]] += 1 + 1e-3 * scores[rows, near[:, j]]
        hits += int((votes.argmax(1) == code[start : start + len(scores)]).sum())
    return hits / len(unit)


@dataclass(frozen=True)
class Masked:
    """accuracy: share of masked 汉字 guessed right (NaN where the vocabulary has no single 汉字 to ask for).
    loss: mean cross-entropy in nats over all masked tokens. han_loss: over the masked 汉字 alone (NaN without any)."""

    accuracy: float
    loss: float
    characters: int
    han_loss: float


def special_pieces(tokenizer) -> torch.Tensor:
    """(vocabulary,) bool: True for [PAD], [CLS] and the like, which are never hidden."""
    special = torch.zeros(len(tokenizer), dtype=torch.bool)
    special[tokenizer.all_special_ids] = True
    return special


def masked_characters(
    model, tokenizer, texts: Sequence[str], rate: float = 0.15, seed: int = 0, batch_size: int = 64,
    max_length: int = 128,
) -> Masked:  # fmt: skip
    """Hide `rate` of the tokens behind [MASK] and let a masked language model guess them.

    model: a `...ForMaskedLM` with its tokenizer. Accuracy counts 汉字 alone (blanks, Latin, punctuation and
    [UNK] would flatter or blur it); perplexity is exp(loss).
    """
    generator = torch.Generator().manual_seed(seed)
    han = torch.zeros(len(tokenizer), dtype=torch.bool)
    for piece, i in tokenizer.get_vocab().items():
        han[i] = len(piece) == 1 and bool(HAN.match(piece))
    special = special_pieces(tokenizer)
    rows = []
    for start in range(0, len(texts), batch_size):  # the draws follow the order of the texts, the passes their lengths
        part = list(texts[start : start + batch_size])
        batch = tokenizer(part, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
        chosen = (torch.rand(batch["input_ids"].shape, generator=generator) < rate) & ~special[batch["input_ids"]]
        rows += zip(batch["input_ids"], batch["attention_mask"], chosen)
    whole = [pad_sequence(list(part), batch_first=True) for part in zip(*rows)]
    whole = dict(zip(("truth", "attention_mask", "chosen"), whole))
    device = str(next(model.parameters()).device)
    loss, tokens, right, count, lost = torch.zeros(5, len(texts), dtype=torch.float64)  # each text's

    def ask(rows: np.ndarray, batch: Batch) -> None:
        chosen, truth = batch["chosen"], batch["truth"][batch["chosen"]]
        ids = batch["truth"].masked_fill(chosen, tokenizer.mask_token_id)
        logits = masked_logits(model, *(part.to(device) for part in (ids, batch["attention_mask"], chosen))).cpu()
        row, is_han = torch.from_numpy(rows)[chosen.nonzero()[:, 0]], han[truth].double()
        each = F.cross_entropy(logits.float(), truth, reduction="none").double()
        loss.index_add_(0, row, each)
        lost.index_add_(0, row, is_han * each)
        tokens.index_add_(0, row, torch.ones_like(is_han))
        right.index_add_(0, row, is_han * (logits.argmax(-1) == truth))
        count.index_add_(0, row, is_han)

    if rows:
        without_gradient(ask, passes(whole, batch_size, device), device, False)
    loss, tokens, right, count, lost = (float(part.sum()) for part in (loss, tokens, right, count, lost))
    accuracy, han_loss = (right / count, lost / count) if count else (float("nan"), float("nan"))
    return Masked(accuracy, loss / max(tokens, 1), int(count), han_loss)


def masked_logits(model, ids: torch.Tensor, mask: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """(chosen, vocabulary): scores at the chosen positions alone; a third of the work is saved where heads allow it."""
    head = getattr(model, "cls", None) or getattr(model, "lm_head", None)
    if head is None:
        return model(input_ids=ids, attention_mask=mask).logits[chosen]
    return head(model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state[chosen])


def speed_ratio(encoder: Encoder, texts: Sequence[str], rounds: int = 3) -> tuple[float, float]:
    """(texts per second, ratio to a 12-layer, 768-wide BERT), best of interleaved rounds.

    Both get the same tokens in the same batches, in the same precision; the base has random weights, since
    they cost the same. Tokenising counts for both.
    """
    from transformers import BertConfig, BertModel

    with seeded(0):
        base = BertModel(BertConfig(vocab_size=max(21_128, len(encoder.tokenizer)))).eval().to(encoder.device)
    times: dict[object, list[float]] = {encoder.model: [], base: []}
    for model, seconds in times.items():
        _run(encoder, model, texts[: encoder.batch_size])  # warm
        seconds.clear()
    for _ in range(rounds):
        for model, seconds in times.items():
            start = time.perf_counter()
            _run(encoder, model, texts)
            seconds.append((time.perf_counter() - start) / len(texts))
    own, other = (min(seconds) for seconds in times.values())
    return 1 / own, other / own


def _run(encoder: Encoder, model, texts: Sequence[str]) -> None:
    with torch.inference_mode(), autocast(encoder.device, encoder.bf16):
        for _, batch in passes(encoder.tokenize(texts), encoder.batch_size, encoder.device):
            model(**batch)


def evaluate_vectors(encode: Callable[[list[str]], np.ndarray], sets: EvalSets) -> dict[str, float]:
    """Similarity (Spearman), paraphrase (AUC), titles (10-NN accuracy) of any function from texts to vectors."""
    return {
        "similarity": spearman(pair_cosines(encode, sets.similarity), sets.similarity.label),
        "paraphrase": auc(pair_cosines(encode, sets.paraphrase), sets.paraphrase.label),
        "titles": neighbour_accuracy(encode(sets.titles), sets.classes),
    }


def evaluate_encoder(
    name: str, sets: EvalSets, *, prefix: str = "", pooling: str = "auto", max_length: int | str = "auto",
    bf16: bool = False, speed: bool = False,
) -> dict[str, float]:  # fmt: skip
    """`evaluate_vectors` of a pretrained encoder, and `masked` where it has a language-model head.

    prefix, pooling, max_length: as for `Encoder`. speed: also `speed` and `ratio`, see `speed_ratio`.
    """
    encoder = Encoder(name, prefix=prefix, pooling=pooling, max_length=max_length, bf16=bf16)
    row = evaluate_vectors(lambda texts: encoder.encode(texts), sets)
    found = masked_language_model(name)
    if found:
        result = masked_characters(*found, sets.sentences, max_length=min(128, encoder.most))
        row |= {"masked": result.accuracy, "masked_loss": result.loss}
    if speed:
        row |= dict(zip(("speed", "ratio"), speed_ratio(encoder, sets.titles[:256])))
    return row


def masked_language_model(name: str):
    """(model, tokenizer) with the language-model head, or None where the checkpoint has no such head."""
    from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer

    with quiet_loading():
        config = load_pretrained(name, AutoConfig)
        if not any(a.endswith("ForMaskedLM") for a in config.architectures or []):
            return None
        return load_pretrained(name, AutoModelForMaskedLM).eval(), load_pretrained(name, AutoTokenizer)
