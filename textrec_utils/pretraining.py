"""Pretrain a small BERT from plain text: masked language modelling, distillation, then sentence pairs.

`Pretraining` reads top to bottom: corpus → vocabulary → teacher vectors → stages of training → float16
checkpoint. Everything random follows from (seed, step), so a run that was stopped at any moment goes on
from its last checkpoint as if nothing had happened. `train_masked_lm` and `adapt_to_texts` go on from any
checkpoint with texts of one's own.
What it does not do: several machines, dynamic vocabularies, decoders.
"""

from __future__ import annotations

import dataclasses
import heapq
import json
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from tqdm import tqdm

from textrec_utils.baselines import unit_rows
from textrec_utils.cache import Interrupts, cache_dir, sha256_of, write_atomic
from textrec_utils.checkpoints import optimizer_tensors, restore_optimizer
from textrec_utils.corpora import checked_file, read_corpus, read_pairs
from textrec_utils.datasets import DataError
from textrec_utils.encoder import Encoder, has_bf16, pool_mean, quiet_loading, weights_checksum
from textrec_utils.encoder_quality import masked_characters, masked_language_model, special_pieces

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

# ---------------------------------------------------------------- configuration


@dataclass(frozen=True)
class Stage:
    """One stretch of training: so many steps with these losses.

    weights: of the losses `mlm`, `cosine`, `similarity` (both to the teacher) and `pairs`; 0 leaves one out.
    mask_rate: share of the tokens hidden from the model. clean: share of each batch's texts that stay unmasked; where
    it is above 0 only they are compared with the teacher, since later nobody hands the encoder masked texts (0: the
    teacher is compared with masked texts too, which teaches both from every text but vectors of the wrong input).
    Learning rate: linear warm-up over `warm_up_steps`,
    then a line to `final_share` of the peak. A long first stage at a constant rate (final_share = 1) may be made
    longer later, without spoiling what was done: only the last, decaying stage must wait for it.
    """

    name: str
    steps: int
    learning_rate: float
    batch_size: int = 128
    pair_batch: int = 64
    mask_rate: float = 0.15
    clean: float = 0.0
    warm_up_steps: int = 0
    final_share: float = 0.0
    weights: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        unknown = set(self.weights) - {"mlm", "cosine", "similarity", "pairs"}
        if unknown:
            raise DataError(f"阶段 {self.name} 的 weights 里没有 {'、'.join(sorted(unknown))}；有 mlm、cosine、similarity、pairs。")
        if not 0 <= self.clean < 1:
            raise DataError(f"阶段 {self.name} 的 clean 是 {self.clean}：它是不遮的文本所占的比例，从 0 到 1（不含 1）。")


@dataclass(frozen=True)
class PretrainConfig:
    """What a pretraining run depends on; `read_config` reads it from a TOML file.

    corpus: text files (one sentence a line, .xz allowed) under the corpora folder, with their SHA-256.
    pairs: files of labelled sentence pairs, likewise. center: the one of them whose sentences' mean vector the exported
    model has taken away ("": a sample of the corpus). model: fields of `transformers.BertConfig`.
    teacher: name or folder of any encoder that `Encoder` takes; empty for masked language modelling alone.
    vocabulary: a vocab.txt to use as it is, beside the config file; empty: one is trained.
    joined: this many long texts are made by joining sentences, so that late positions are trained too.
    interpolation: a; exported are (1 − a) · the weights before the last stage + a · those at its end (WiSE-FT,
    Wortsman et al. 2022): what a short tuning adds, with less of what it makes the model forget. 1: the end's alone.
    """

    corpus: dict[str, str]
    stages: tuple[Stage, ...]
    model: dict[str, int]
    seed: int = 0
    vocabulary: str = ""
    vocab_size: int = 8192
    min_frequency: int = 2
    held_out: int = 2000
    joined: int = 0
    max_length: int = 256
    teacher: str = ""
    teacher_prefix: str = ""
    pairs: dict[str, str] = field(default_factory=dict)
    center: str = ""
    interpolation: float = 1.0
    bank: int = 2048
    temperature: float = 0.05
    weight_decay: float = 0.01


def read_config(path: Path | str) -> PretrainConfig:
    """Read a run's TOML file. Raises DataError that names the file and the unknown or missing key."""
    path = Path(path)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        raw["stages"] = tuple(Stage(**stage) for stage in raw.get("stages", []))
        config = PretrainConfig(**raw)
        if config.vocabulary:
            config = dataclasses.replace(config, vocabulary=str(checked_file(path.parent / config.vocabulary, "")))
    except FileNotFoundError:
        raise DataError(f"找不到配置文件 {path}。") from None
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise DataError(f"配置文件 {path.name} 读不懂：{error}。可参照 data/models/mini-bert-zh/pretrain.toml。") from None
    if not config.stages:
        raise DataError(f"配置文件 {path.name} 里没有 [[stages]]：至少要有一个训练阶段。")
    return config


def _check(config: PretrainConfig, teacher: str = "") -> None:
    """Refuse stages that ask for what the configuration doesn't give."""
    for stage in config.stages:
        asked = {name for name, weight in stage.weights.items() if weight}
        if not asked:
            raise DataError(f"阶段 {stage.name} 没有一项损失的权重大于 0：在 weights 里至少给一项。")
        if asked & {"cosine", "similarity"} and not (teacher or config.teacher):
            raise DataError(f"阶段 {stage.name} 要向教师蒸馏，配置里却没有 teacher：给一个编码器的名字或文件夹，或把 cosine、similarity 设为 0。")
        if "pairs" in asked and not config.pairs:
            raise DataError(f"阶段 {stage.name} 要用句对，配置里却没有 [pairs]：补上文件，或把 pairs 设为 0。")
    if config.center and config.center not in config.pairs:
        raise DataError(f"center 是 {config.center}，[pairs] 里却没有这个文件：改成其中一个，或删去 center。")
    if not 0 <= config.interpolation <= 1:
        raise DataError(f"interpolation 是 {config.interpolation}：它是最后阶段结束时的权重所占的比例，从 0 到 1。")
    if config.max_length > config.model.get("max_position_embeddings", 512):
        raise DataError(f"max_length = {config.max_length} 超过了模型的位置上限 max_position_embeddings：改小前者或改大后者。")


# ---------------------------------------------------------------- corpus


def join_texts(sentences: Sequence[str], count: int, seed: int, max_chars: int = 250) -> list[str]:
    """`count` long texts, each 3 to 8 random sentences in a row, cut to max_chars characters."""
    rng = np.random.default_rng(seed)
    texts = []
    for size in rng.integers(3, 9, count):
        parts = [sentences[i] for i in rng.integers(0, len(sentences), size)]
        texts.append("".join(p if p[-1] in "。！？!?" else p + "。" for p in parts)[:max_chars])
    return texts


# ---------------------------------------------------------------- vocabulary


def train_wordpiece(texts: Iterable[str], vocab_size: int = 8192, min_frequency: int = 2):
    """A BERT tokenizer (WordPiece; every 汉字 is a token of its own, Latin letters and digits form pieces).

    Pieces grow by merging the most frequent neighbours (Schuster & Nakajima 2012; Sennrich et al. 2016), as in
    the `tokenizers` library, whose trainer however breaks ties by chance; here they go to the pair that sorts
    first, so that two runs give one vocabulary. Characters rarer than min_frequency, or for which there is no
    room, become [UNK]. Lower case. Returns a `transformers.BertTokenizer`.
    """
    from tokenizers import normalizers, pre_tokenizers
    from transformers import BertTokenizer

    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    characters: Counter[str] = Counter()
    for word, count in words.items():
        characters.update({character: count for character in dict.fromkeys(word)})
    ranked = sorted(((n, c) for c, n in characters.items() if n >= min_frequency), key=lambda pair: (-pair[0], pair[1]))
    kept = {c for _, c in ranked[: vocab_size - len(SPECIAL)]}
    pieces = dict.fromkeys(sorted(kept))
    longer = {word: n for word, n in sorted(words.items()) if len(word) > 1 and kept.issuperset(word)}
    inner = dict.fromkeys("##" + c for c in sorted({c for word in longer for c in word[1:]}))
    room = vocab_size - len(SPECIAL) - len(pieces) - len(inner)
    if room >= 0:
        pieces |= inner | dict.fromkeys(_merged_pieces(longer, room, min_frequency))
    ordered = sorted(pieces, key=lambda p: (p.startswith("##"), len(p), p))
    return BertTokenizer(vocab={piece: i for i, piece in enumerate(SPECIAL + ordered)}, do_lower_case=True)


def _merged_pieces(words: dict[str, int], room: int, min_frequency: int) -> list[str]:
    """At most `room` new pieces, by merging the most frequent pair of neighbouring pieces again and again."""
    counts = list(words.values())
    splits = [[word[0], *("##" + c for c in word[1:])] for word in words]
    pairs: Counter[tuple[str, str]] = Counter()
    where: dict[tuple[str, str], set[int]] = {}
    for i, split in enumerate(splits):
        for pair in zip(split, split[1:]):
            pairs[pair] += counts[i]
            where.setdefault(pair, set()).add(i)
    heap = [(-n, pair) for pair, n in pairs.items()]
    heapq.heapify(heap)
    made: dict[str, None] = {}
    while heap and len(made) < room:
        negative, best = heapq.heappop(heap)
        if pairs[best] != -negative:  # an old entry: the pair's count has changed since
            if pairs[best] >= min_frequency:
                heapq.heappush(heap, (-pairs[best], best))
            continue
        if pairs[best] < min_frequency:
            break
        joined = best[0] + best[1].removeprefix("##")
        made[joined] = None
        for i in sorted(where[best]):
            old = splits[i]
            for pair in zip(old, old[1:]):
                pairs[pair] -= counts[i]
            new, j = [], 0
            while j < len(old):
                both = j + 1 < len(old) and (old[j], old[j + 1]) == best
                new.append(joined if both else old[j])
                j += 2 if both else 1
            splits[i] = new
            for pair in zip(new, new[1:]):
                pairs[pair] += counts[i]
                if i not in where.setdefault(pair, set()):
                    where[pair].add(i)
                    heapq.heappush(heap, (-pairs[pair], pair))
    return list(made)


# ---------------------------------------------------------------- the teacher


def teacher_vectors(texts: Sequence[str], teacher: Encoder, folder: Path, *, progress: bool = True) -> np.ndarray:
    """The teacher's vectors of all texts, (texts, teacher dim) float16, kept in `folder` and continued after a stop."""
    key = _data_key(texts, teacher)
    path, note = folder / "teacher.f16", folder / "teacher.json"
    done = 0
    if path.exists() and note.exists():
        kept = json.loads(note.read_text())
        done = kept["done"] if kept["key"] == key else 0
    if not done:
        note.unlink(missing_ok=True)  # or a kill before the first chunk would leave an old note on new, empty vectors
    size = (len(texts), teacher.dim)
    store = np.memmap(path, np.float16, "r+" if done else "w+", shape=size)
    chunk = 4096
    with tqdm(total=len(texts), initial=done, desc="教师向量", unit="句", disable=not progress, file=sys.stdout, mininterval=10) as bar:
        while done < len(texts):
            part = texts[done : done + chunk]
            store[done : done + len(part)] = teacher.encode(part, cache=False)
            store.flush()
            done += len(part)
            write_atomic(note, json.dumps({"key": key, "done": done}).encode())
            bar.update(len(part))
    return np.asarray(store)


def _data_key(texts: Sequence[str], teacher: Encoder | None) -> str:
    """Checksum of what a run learns from: the texts, and which encoder's vectors of them."""
    return sha256_of("\0".join([*([teacher.fingerprint, teacher.prefix, teacher.pooling] if teacher else []), *texts]).encode())


def student_targets(vectors: np.ndarray, dim: int) -> np.ndarray:
    """Unit vectors for the student to meet: the teacher's, centred, turned to the student's width.

    Sentence encoders' vectors crowd in a narrow cone, so the mean is taken away first. A wider teacher is
    reduced to its `dim` strongest principal directions; a narrower one is filled up with zeros.
    vectors: (texts, teacher dim). Returns (texts, dim) float16.
    """
    x = unit_rows(vectors.astype(np.float32))
    x = _principal(x - x.mean(axis=0), dim)
    return unit_rows(x).astype(np.float16)


def teacher_embeddings(tokenizer, teacher: Encoder, dim: int, scale: float = 0.02) -> np.ndarray:
    """A first word-embedding table for the student: what the teacher's own table says of each of its pieces.

    A piece that the teacher splits gets the mean of the parts. Turned to the student's width like the sentence
    vectors and scaled to BERT's usual spread. Returns (vocabulary, dim) float32.
    """
    table = teacher.model.get_input_embeddings().weight.detach().cpu().numpy()
    pieces = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    split = teacher.tokenizer([piece.removeprefix("##") for piece in pieces], add_special_tokens=False)["input_ids"]
    # A SentencePiece teacher marks the start of a word with a piece of its own that means nothing.
    empty = {i for i in set().union(*split) if not teacher.tokenizer.decode([i]).strip()} | {teacher.tokenizer.unk_token_id}
    parts = [[i for i in ids if i not in empty] for ids in split]
    known = np.array([bool(ids) for ids in parts])
    rows = np.stack([table[ids].mean(axis=0) for ids in parts if ids])
    rows = _principal(rows - rows.mean(axis=0), dim)
    out = np.random.default_rng(0).normal(scale=scale, size=(len(pieces), dim))  # pieces that the teacher can't read
    out[known] = rows * (scale / rows.std())
    return out.astype(np.float32)


def _principal(x: np.ndarray, dim: int) -> np.ndarray:
    """Centred rows in their `dim` strongest directions, or filled up with zeros to dim."""
    if x.shape[1] <= dim:
        return np.pad(x, ((0, 0), (0, dim - x.shape[1])))
    value, basis = np.linalg.eigh((x.T @ x).astype(np.float64))
    basis = basis[:, np.argsort(value)[::-1][:dim]]
    basis *= np.sign(basis[np.abs(basis).argmax(0), np.arange(dim)])  # an eigenvector's sign is arbitrary
    return x @ basis.astype(np.float32)


# ---------------------------------------------------------------- losses


def mask_tokens(
    ids: torch.Tensor, maskable: torch.Tensor, rate: float, mask_id: int, vocab_size: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """BERT's corruption (Devlin et al. 2019): of the chosen tokens 80% [MASK], 10% another token, 10% as they are.

    ids: (batch, tokens). maskable: the same shape, True where a token may be chosen (no padding, no [CLS]).
    Returns the corrupted ids and chosen, a bool mask: the positions that the loss asks for.
    """
    chosen = (torch.rand(ids.shape, generator=generator) < rate) & maskable
    what = torch.rand(ids.shape, generator=generator)
    noise = torch.randint(len(SPECIAL), vocab_size, ids.shape, generator=generator)
    corrupted = torch.where(chosen & (what < 0.8), mask_id, ids)
    corrupted = torch.where(chosen & (what >= 0.9), noise, corrupted)
    return corrupted, chosen


def cosine_loss(student: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """1 − mean cosine. student, target: (batch, dim) unit vectors."""
    return 1 - (student * target).sum(-1).mean()


def similarity_loss(student: torch.Tensor, target: torch.Tensor, bank: torch.Tensor, temperature: float = 0.05) -> torch.Tensor:
    """KL divergence between teacher's and student's neighbourhoods (after SEED, Fang et al. 2021).

    Each sentence's similarities to the other sentences of the batch and to a bank of other teacher vectors,
    softened to a distribution: which sentences are near, not only where this one lies. The sentence itself
    is left out (SEED keeps it), else it takes all the weight. student, target: (batch, dim), bank: (bank, dim), unit vectors.
    """
    keys = torch.cat([target, bank])  # (batch + bank, dim)
    own = torch.zeros(len(target), len(keys), dtype=torch.bool)
    own.fill_diagonal_(True)
    of_teacher = (target @ keys.T / temperature).masked_fill(own.to(target.device), -1e4).softmax(-1)
    of_student = (student @ keys.T / temperature).masked_fill(own.to(target.device), -1e4).log_softmax(-1)
    return F.kl_div(of_student, of_teacher, reduction="batchmean")


def cosent_loss(left: torch.Tensor, right: torch.Tensor, label: torch.Tensor, scale: float = 20.0) -> torch.Tensor:
    """CoSENT (Su 2022): a pair with a higher label shall have a higher cosine than every pair with a lower one.

    log(1 + sum over label_i > label_j of exp(scale · (cos_j − cos_i))). left, right: (pairs, dim). label: (pairs,).
    """
    cosine = F.cosine_similarity(left, right) * scale  # (pairs,)
    difference = cosine[None, :] - cosine[:, None]  # [i, j] = cos_j − cos_i
    wrong = difference.masked_fill(label[:, None] <= label[None, :], -1e4)
    return torch.logsumexp(torch.cat([wrong.flatten(), wrong.new_zeros(1)]), dim=0)


# ---------------------------------------------------------------- batches


def length_sorted_batches(
    lengths: np.ndarray, batch_size: int, seed: Sequence[int], window: int = 50, max_tokens: int = 0
) -> list[np.ndarray]:
    """One epoch's batches of row numbers: random, but sentences of like length together, so little is padded.

    The order is random; within windows of `window` batches rows are sorted by length, then the batches are
    shuffled. Follows from seed alone. max_tokens: batches of long texts hold fewer rows, so that rows times
    longest stays below it (0: no limit).
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), window * batch_size):
        part = order[start : start + window * batch_size]
        part = part[np.argsort(lengths[part], kind="stable")]
        for i in range(0, len(part), batch_size):
            batch = part[i : i + batch_size]
            rows = max(2, max_tokens // int(lengths[batch[-1]])) if max_tokens else batch_size
            batches += [batch[j : j + rows] for j in range(0, len(batch), rows)]
    return [batches[i] for i in rng.permutation(len(batches)) if len(batches[i]) > 1]


class _Tokens:
    """All texts as token ids in one flat array: quick to pad, small to hold."""

    def __init__(self, tokenizer, texts: Sequence[str], max_length: int):
        rows: list[np.ndarray] = []
        for start in range(0, len(texts), 20_000):
            ids = tokenizer(list(texts[start : start + 20_000]), truncation=True, max_length=max_length)["input_ids"]
            rows += [np.array(row, dtype=np.uint16 if len(tokenizer) < 65_536 else np.int32) for row in ids]
        self.lengths = np.array([len(row) for row in rows])
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self.flat = np.concatenate(rows)

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """ids and mask, (rows, longest), padded with 0 = [PAD] to a multiple of 8 tokens.

        A CPU's matrix library compiles a kernel for each new shape: few shapes, few compilations.
        """
        longest = -(-int(self.lengths[rows].max()) // 8) * 8
        ids = np.zeros((len(rows), longest), dtype=np.int64)
        for i, row in enumerate(rows):
            ids[i, : self.lengths[row]] = self.flat[self.starts[row] : self.starts[row + 1]]
        mask = np.arange(longest)[None, :] < self.lengths[rows][:, None]
        return torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64))


# ---------------------------------------------------------------- the run


class Pretraining:
    """A run in a folder: prepares data once, trains stage after stage, keeps a checkpoint it can go on from.

    config: what to do. corpora: folder of the files that it names. folder: working folder (teacher vectors,
    checkpoint, curve). teacher: overrides config.teacher, e.g. with a local folder of the same model.
    """

    def __init__(
        self, config: PretrainConfig, corpora: Path | str, folder: Path | str, *, teacher: str = "", device: str = "cpu",
        progress: bool = True,
    ):  # fmt: skip
        from transformers import BertConfig, BertForMaskedLM

        self.config, self.device, self.progress = config, device, progress
        _check(config, teacher)
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._refuse_other_runs()
        sentences = read_corpus(corpora, config.corpus)
        if len(sentences) <= config.held_out:
            raise DataError(f"语料只有 {len(sentences)} 个句子，留出 {config.held_out} 句后没有可训练的了：减小 held_out。")
        cut = len(sentences) - config.held_out
        self.held_out = sentences[cut:]
        self.texts = sentences[:cut] + join_texts(sentences[:cut], config.joined, config.seed)
        self.tokenizer = self._tokenizer(sentences[:cut])
        self.special = special_pieces(self.tokenizer)
        self.tokens = _Tokens(self.tokenizer, self.texts, config.max_length)
        self.pairs = [read_pairs(Path(corpora) / name, checksum) for name, checksum in config.pairs.items()]
        torch.manual_seed(config.seed)
        bert = BertConfig(vocab_size=len(self.tokenizer), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **config.model)
        bert._attn_implementation = "eager"  # its backward pass is far quicker on a CPU for heads this narrow
        self.model = BertForMaskedLM(bert).to(device).train()
        self.targets = self._targets(teacher or config.teacher)
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=1e-4, betas=(0.9, 0.98), fused=True,
        )  # fmt: skip
        self.step, self.seconds, self.curve = 0, 0.0, []
        self._epoch: tuple[int, int, int, list[np.ndarray]] = (-1, -1, 0, [])  # stage, epoch, its first step, batches
        self._resume()

    def _tokenizer(self, sentences: list[str]):
        from transformers import BertTokenizer

        path = self.folder / "vocab.txt"
        if not path.exists() and self.config.vocabulary:
            write_atomic(path, Path(self.config.vocabulary).read_bytes())
        if not path.exists():
            made = train_wordpiece(sentences, self.config.vocab_size, self.config.min_frequency)
            pieces = sorted(made.get_vocab().items(), key=lambda item: item[1])
            write_atomic(path, "".join(piece + "\n" for piece, _ in pieces).encode())
        pieces = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        return BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, do_lower_case=True)

    def _targets(self, teacher: str) -> torch.Tensor | None:
        if not teacher or not any(s.weights.get("cosine") or s.weights.get("similarity") for s in self.config.stages):
            self._refuse_other_data(None)
            return None
        bf16 = self.device == "cpu" and has_bf16() or self.device.startswith("cuda")
        encoder = Encoder(teacher, prefix=self.config.teacher_prefix, max_length=self.config.max_length, device=self.device, bf16=bf16)
        self._refuse_other_data(encoder)  # before hours of teacher's work are overwritten
        start = teacher_embeddings(self.tokenizer, encoder, self.model.config.hidden_size)
        with torch.no_grad():
            self.model.get_input_embeddings().weight.copy_(torch.from_numpy(start))
        vectors = teacher_vectors(self.texts, encoder, self.folder, progress=self.progress)
        return torch.from_numpy(student_targets(vectors, self.model.config.hidden_size))

    @property
    def total_steps(self) -> int:
        return sum(stage.steps for stage in self.config.stages)

    # ---- checkpoint

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    @property
    def _before_last_stage(self) -> Path:
        return self.folder / "before_last_stage.safetensors"

    def _kept(self, path: Path | None = None) -> dict:
        """What the folder's checkpoint (or the file `path`) says of its run; empty where there is none."""
        path = path or self._checkpoint
        if not path.exists():
            return {}
        with safe_open(path, "pt") as f:
            return json.loads(f.metadata()["run"])

    def _refuse_other_runs(self) -> None:
        """Before anything is computed: a folder with another run's checkpoint is left as it is."""
        key = self._key()
        if self._kept().get("key", key) != key:
            raise DataError(f"{self.folder} 里的检查点属于另一份配置：换一个 --out 文件夹，或删去 {self._checkpoint.name}。")

    def _refuse_other_data(self, teacher: Encoder | None) -> None:
        """The configuration need not hold checksums of its files, and names its teacher only by name."""
        self.data = _data_key(self.texts, teacher)
        if self._kept().get("data", self.data) != self.data:
            raise DataError(f"{self.folder} 里的检查点是用另外的语料或教师训练的：换回原来的，或换一个 --out 文件夹，或删去 {self._checkpoint.name}。")

    def _resume(self) -> None:
        meta = self._kept()
        if not meta:
            return
        with safe_open(self._checkpoint, "pt") as f:
            tensors = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118 - not a dict
        self.model.load_state_dict({n[6:]: t for n, t in tensors.items() if n.startswith("model.")}, strict=False)
        restore_optimizer(self.optimizer, tensors)
        self.step, self.seconds, self.curve = meta["step"], meta["seconds"], meta["curve"]

    def _key(self) -> str:
        """Checksum of the configuration less what may still change: stages that lie ahead, and how weights are exported."""
        config = dataclasses.asdict(self.config)
        for name in ("stages", "vocabulary", "center", "interpolation"):  # the vocabulary in use stands in the folder
            del config[name]
        return sha256_of(json.dumps(config, sort_keys=True).encode())

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: p.detach().cpu().contiguous() for name, p in self.model.named_parameters()}

    @property
    def _last_stage_start(self) -> int:
        return self.total_steps - self.config.stages[-1].steps

    def _keep_weights_before_last_stage(self) -> None:
        from safetensors.torch import save

        meta = {"key": self._key(), "data": self.data, "step": self.step}
        write_atomic(self._before_last_stage, save(self._weights(), {"run": json.dumps(meta)}))

    def _interpolated(self) -> dict[str, torch.Tensor]:
        """The run's weights drawn towards those before its last stage, see `PretrainConfig.interpolation`."""
        share, weights, path = self.config.interpolation, self._weights(), self._before_last_stage
        if share == 1:
            return weights
        if self._kept(path) != {"key": self._key(), "data": self.data, "step": self._last_stage_start}:
            raise DataError(
                f"{self.folder} 里没有这次训练在最后阶段之前的权重（{path.name}）：把 interpolation 设为 1，或换一个 --out 文件夹重新训练。"
            )
        with safe_open(path, "pt") as f:
            return {name: (1 - share) * f.get_tensor(name) + share * weight for name, weight in weights.items()}

    def save_checkpoint(self) -> None:
        from safetensors.torch import save

        tensors = {f"model.{name}": tensor for name, tensor in self._weights().items()} | optimizer_tensors(self.optimizer)
        meta = {"key": self._key(), "data": self.data, "step": self.step, "seconds": self.seconds, "curve": self.curve}
        write_atomic(self._checkpoint, save(tensors, {"run": json.dumps(meta)}))

    # ---- training

    def train(self, *, until: int | None = None, checkpoint_minutes: float = 5.0, log_every: int = 100) -> None:
        """Go on to the last step (or to step `until`).

        Ctrl-C (and a polite kill) ends the run after the step in hand, with a checkpoint: saved in the middle
        of a step, weights and counter would not agree.
        """
        last = min(until or self.total_steps, self.total_steps)
        started = saved = time.monotonic()
        base, sums = self.seconds, {}
        with Interrupts() as interrupts, tqdm(
            total=self.total_steps, initial=self.step, desc="预训练", unit="步", disable=not self.progress, file=sys.stdout, mininterval=5
        ) as bar:
            while self.step < last and not interrupts.asked:
                if self.step == self._last_stage_start and self.config.interpolation < 1:
                    self._keep_weights_before_last_stage()
                for name, value in self._step().items():
                    sums.setdefault(name, []).append(value)
                self.step += 1
                self.seconds = base + time.monotonic() - started
                bar.update()
                if self.step % log_every == 0 or self.step == last:
                    self._log(sums, bar)
                    sums = {}
                if time.monotonic() - saved > checkpoint_minutes * 60:
                    self.save_checkpoint()
                    saved = time.monotonic()
            self.save_checkpoint()
        if interrupts.asked:
            raise KeyboardInterrupt

    def _log(self, sums: dict, bar) -> None:
        row = {"step": self.step, "seconds": round(self.seconds), **{n: float(np.mean(v)) for n, v in sums.items()}}
        if self.step % 500 == 0 or self.step == self.total_steps:
            row |= self.masked_accuracy(self.held_out[:500])
        self.curve.append(row)
        bar.set_postfix({n: f"{v:.3f}" for n, v in row.items() if n not in ("step", "seconds")})

    def _place(self) -> tuple[Stage, int, int]:
        """The present stage, its number, and the step within it."""
        done = self.step
        for number, stage in enumerate(self.config.stages):
            if done < stage.steps:
                return stage, number, done
            done -= stage.steps
        raise StopIteration

    def _step(self) -> dict[str, float]:
        stage, number, local = self._place()
        for group in self.optimizer.param_groups:
            group["lr"] = stage.learning_rate * _schedule(local, stage)
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        rows = self._rows(stage, number, local)
        losses = {}
        with torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16, enabled=self.device != "cpu" or has_bf16()):
            losses |= self._text_losses(stage, rows, generator)
            if stage.weights.get("pairs"):
                losses["pairs"] = self._pair_loss(stage)
        total = sum(stage.weights[name] * loss for name, loss in losses.items())
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _rows(self, stage: Stage, number: int, local: int) -> np.ndarray:
        """The rows of the stage's step `local`; epochs may differ by a few batches, so they are walked through."""
        kept_stage, epoch, first, batches = self._epoch
        if kept_stage != number or local < first:
            epoch, first, batches = -1, 0, []
        while local >= first + len(batches):
            epoch, first = epoch + 1, first + len(batches)
            batches = length_sorted_batches(
                self.tokens.lengths, stage.batch_size, (self.config.seed, number, epoch), max_tokens=60 * stage.batch_size
            )
            if not batches:
                raise DataError("语料太少：至少要有两条可训练的文本，batch_size 至少是 2。")
        self._epoch = (number, epoch, first, batches)
        return batches[local - first]

    def _text_losses(self, stage: Stage, rows: np.ndarray, generator: torch.Generator) -> dict[str, torch.Tensor]:
        ids, mask = self.tokens.batch(rows)
        inputs, compared = ids, torch.arange(len(rows))
        if stage.weights.get("mlm"):
            maskable = ~self.special[ids]
            if stage.clean:
                compared = torch.randperm(len(rows), generator=generator)[: max(1, int(stage.clean * len(rows)))]
                maskable[compared] = False
            inputs, chosen = mask_tokens(ids, maskable, stage.mask_rate, self.tokenizer.mask_token_id, len(self.tokenizer), generator)
        hidden = self._hidden(inputs, mask)  # (batch, tokens, dim)
        losses = {}
        if stage.weights.get("mlm"):
            row, column = chosen.nonzero(as_tuple=True)
            count = max(len(row) // 64 * 64, min(len(row), 64))  # few shapes, see _Tokens.batch
            row, column = row[:count], column[:count]
            logits = self.model.cls(hidden[row, column])  # (chosen, vocabulary): only where asked
            losses["mlm"] = F.cross_entropy(logits.float(), ids[row, column].to(self.device))
        if self.targets is not None and (stage.weights.get("cosine") or stage.weights.get("similarity")):
            student = F.normalize(pool_mean([hidden[compared].float()], mask[compared].to(self.device)), dim=-1)
            target = self.targets[torch.from_numpy(rows)[compared]].to(self.device).float()
            picked = torch.randint(0, len(self.targets), (self.config.bank,), generator=generator)
            losses["cosine"] = cosine_loss(student, target)
            with torch.autocast(self.device.split(":")[0], enabled=False):
                losses["similarity"] = similarity_loss(student, target, self.targets[picked].to(self.device).float(), self.config.temperature)
        return {name: loss for name, loss in losses.items() if stage.weights.get(name)}

    def _pair_loss(self, stage: Stage) -> torch.Tensor:
        rng = np.random.default_rng((self.config.seed, 7, self.step))
        source = self.pairs[rng.integers(len(self.pairs))]  # each source equally often: the small one has graded labels
        rows = rng.integers(0, len(source.left), stage.pair_batch)
        batch = self.tokenizer(
            [source.left[i] for i in rows] + [source.right[i] for i in rows], padding=True, truncation=True,
            max_length=self.config.max_length, pad_to_multiple_of=8, return_tensors="pt",  # few shapes, see _Tokens.batch
        )  # fmt: skip
        hidden = self._hidden(batch["input_ids"], batch["attention_mask"])
        vectors = pool_mean([hidden.float()], batch["attention_mask"].to(self.device))
        return cosent_loss(vectors[: len(rows)], vectors[len(rows) :], torch.from_numpy(source.label[rows]).float().to(self.device))

    def _hidden(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.model.bert(input_ids=ids.to(self.device), attention_mask=mask.to(self.device)).last_hidden_state

    def masked_accuracy(self, texts: Sequence[str]) -> dict[str, float]:
        """Share of held-out masked tokens guessed right (15% masked), and the loss."""
        self.model.eval()
        result = masked_characters(self.model, self.tokenizer, texts)
        self.model.train()
        return {"held_out_accuracy": result.accuracy, "held_out_loss": result.loss}

    def export(self, folder: Path | str) -> Path:
        """Write the checkpoint that readers load: float16 safetensors, config, tokenizer, SHA256SUMS; and curve.csv."""
        import copy

        import pandas as pd

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        model = copy.deepcopy(self.model).cpu().eval()
        model.load_state_dict(self._interpolated(), strict=False)  # the decoder is tied to the embeddings: one name of two
        typical = self.texts[:: max(1, len(self.texts) // 10_000)]
        if self.config.center:
            source = self.pairs[list(self.config.pairs).index(self.config.center)]
            typical = [*source.left, *source.right]
        center_output(model, self.tokenizer, typical)
        # Readers who fine-tune expect BERT's usual dropout; we trained without, having few passes over the texts.
        model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = 0.1
        self.tokenizer.model_max_length = model.config.max_position_embeddings  # so that longer texts bring a warning
        with quiet_loading():
            model.half().save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        write_atomic(folder / "vocab.txt", (self.folder / "vocab.txt").read_bytes())
        write_atomic(folder / "curve.csv", pd.DataFrame(self.curve).round(4).to_csv(index=False, lineterminator="\n").encode())
        names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"]
        sums = "".join(f"{sha256_of(folder / name)}  {name}\n" for name in names)
        write_atomic(folder / "SHA256SUMS", sums.encode())
        return folder


def _schedule(step: int, stage: Stage) -> float:
    """Factor on the learning rate: up to 1 within the warm-up, then down in a line to final_share."""
    warm = stage.warm_up_steps
    if step < warm:
        return (step + 1) / warm
    return 1 - (1 - stage.final_share) * (step - warm) / max(1, stage.steps - warm)


@torch.no_grad()
def center_output(model, tokenizer, texts: Sequence[str]) -> None:
    """Move a `BertForMaskedLM` in place so that the mean-pooled vectors of these texts have mean 0.

    Taking a vector away from every token's output takes it away from their mean; the output's last operation adds
    a bias, so the bias can carry it. The language-model head gets it back in its own bias: guesses stay as they were.
    """
    tokens = _Tokens(tokenizer, sorted(texts, key=len), model.config.max_position_embeddings)
    total = 0
    for start in range(0, len(texts), 256):
        ids, mask = tokens.batch(np.arange(start, min(start + 256, len(texts))))
        total = total + pool_mean([model.bert(input_ids=ids, attention_mask=mask).last_hidden_state], mask).sum(0)
    mean = total / len(texts)
    model.bert.encoder.layer[-1].output.LayerNorm.bias -= mean
    head = model.cls.predictions.transform.dense
    head.bias += head.weight @ mean


# ---------------------------------------------------------------- going on from a checkpoint


def train_masked_lm(
    model, tokenizer, texts: Sequence[str], *, steps: int, learning_rate: float = 3e-4, batch_size: int = 32,
    mask_rate: float = 0.15, max_length: int = 128, seed: int = 0, held_out: Sequence[str] = (), every: int = 0,
) -> list[dict[str, float]]:  # fmt: skip
    """Train a masked language model in place on texts: from scratch or on from a checkpoint.

    model, tokenizer: any `...ForMaskedLM` and its tokenizer. every: measure `held_out` after that many steps
    (and before the first). AdamW, linear warm-up over a tenth of the steps, then linear decay.
    Returns the curve: step, mean training loss since the last row, held-out loss and accuracy.
    Works where the model is (model.to("cuda") first for a GPU). Dropout draws from torch's own generator.
    Raises DataError without texts.
    """
    if not len(texts):
        raise DataError("没有可训练的文本：texts 是空的。")
    device = next(model.parameters()).device
    tokens = _Tokens(tokenizer, texts, max_length)
    special = special_pieces(tokenizer)
    stage = Stage("mlm", steps, learning_rate, warm_up_steps=max(1, steps // 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    generator = torch.Generator().manual_seed(seed)
    batches: list[np.ndarray] = []
    curve, losses = [], []

    def measure_now(step: int) -> None:
        row = {"step": step, "train_loss": float(np.mean(losses)) if losses else float("nan")}
        if held_out:
            model.eval()
            result = masked_characters(model, tokenizer, held_out)
            row |= {"held_out_loss": result.loss, "held_out_accuracy": result.accuracy}
        curve.append(row)
        losses.clear()

    if every:
        measure_now(0)
    for step in range(steps):
        if not batches:
            batches = length_sorted_batches(tokens.lengths, min(batch_size, len(texts)), (seed, step))[::-1]
        ids, mask = tokens.batch(batches.pop())
        inputs, chosen = mask_tokens(ids, mask.bool() & ~special[ids], mask_rate, tokenizer.mask_token_id, len(tokenizer), generator)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * _schedule(step, stage)
        model.train()
        loss = F.cross_entropy(_logits(model, inputs.to(device), mask.to(device), chosen.to(device)), ids[chosen].to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if every and ((step + 1) % every == 0 or step + 1 == steps):
            measure_now(step + 1)
    model.eval()
    return curve


def _logits(model, ids: torch.Tensor, mask: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """(chosen, vocabulary): scores at the chosen positions alone; a third of the work is saved where heads allow it."""
    head = getattr(model, "cls", None) or getattr(model, "lm_head", None)
    if head is None:
        return model(input_ids=ids, attention_mask=mask).logits[chosen]
    return head(model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state[chosen])


def adapt_to_texts(
    name: str, texts: Sequence[str], *, steps: int = 150, learning_rate: float = 2e-4, seed: int = 0, held_out: Sequence[str] = ()
) -> tuple[str, list[dict[str, float]]]:
    """Domain-adaptive pretraining (Gururangan et al. 2020): go on with masked language modelling on texts of one field.

    name: a checkpoint with a masked-language-model head. Returns the folder of the adapted checkpoint, which
    `Encoder` and `transformers` load, and the curve (see `train_masked_lm`). Kept in the cache.
    """
    from textrec_utils import __version__

    found = masked_language_model(name)
    if found is None:
        raise DataError(f"模型 {name} 没有掩码语言模型的输出层，不能继续预训练：换一个 ...ForMaskedLM 的模型。")
    model, tokenizer = found
    key = [__version__, sha256_of(Path(__file__)), weights_checksum(model), steps, learning_rate, seed, list(texts), list(held_out)]
    folder = cache_dir() / "models" / ("adapted-" + sha256_of(json.dumps(key, ensure_ascii=False).encode())[:24])
    note = folder / "curve.json"
    if note.is_file():
        kept = json.loads(note.read_text(encoding="utf-8"))
        if kept["sha256"] == sha256_of(folder / "model.safetensors"):
            return str(folder), kept["curve"]
    torch.manual_seed(seed)
    curve = train_masked_lm(model, tokenizer, texts, steps=steps, learning_rate=learning_rate, seed=seed, held_out=held_out, every=max(1, steps // 5))
    with quiet_loading():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    write_atomic(note, json.dumps({"curve": curve, "sha256": sha256_of(folder / "model.safetensors")}).encode())
    return str(folder), curve
