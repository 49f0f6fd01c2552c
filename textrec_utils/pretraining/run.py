"""The run: corpus → vocabulary → teacher vectors → stages of training → a checkpoint to export.

Everything random follows from (seed, step), so a run that was stopped at any moment goes on from its last
checkpoint as if nothing had happened.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from textrec_utils.core.checkpoint import Checkpoint, optimizer_tensors, restore_optimizer
from textrec_utils.core.errors import DataError, TooLittleData
from textrec_utils.core.files import sha256_of, write_atomic
from textrec_utils.core.processes import Interrupts
from textrec_utils.core.seeds import seeded
from textrec_utils.corpora import read_corpus, read_pairs
from textrec_utils.encoder.encoder import Encoder
from textrec_utils.encoder.pooling import pool_mean
from textrec_utils.encoder.precision import autocast, use_bf16
from textrec_utils.encoder_quality import masked_characters, special_pieces
from textrec_utils.pretraining.batches import Tokens, join_texts, length_sorted_batches
from textrec_utils.pretraining.config import PretrainConfig, Stage, check_config, config_key, stages_key
from textrec_utils.pretraining.export import export
from textrec_utils.pretraining.losses import cosent_loss, cosine_loss, mask_tokens, masked_loss, similarity_loss, update
from textrec_utils.pretraining.teacher import student_targets, teacher_embeddings, teacher_key, teacher_vectors
from textrec_utils.pretraining.vocabulary import train_wordpiece

CHECKPOINT, BEFORE_LAST_STAGE = "checkpoint.safetensors", "before_last_stage.safetensors"


class Pretraining:
    """A run in a folder: prepares data once, trains stage after stage, keeps a checkpoint it can go on from.

    config: what to do. corpora: folder of the files that it names. folder: working folder (teacher vectors,
    checkpoint, curve). teacher: overrides config.teacher, e.g. with a local folder of the same model.
    """

    def __init__(
        self, config: PretrainConfig, corpora: Path | str, folder: Path | str, *,
        teacher: str = "", device: str = "cpu", progress: bool = True,
    ):  # fmt: skip
        check_config(config, teacher)
        self.config, self.device, self.progress, self.data = config, device, progress, {}
        self.bf16 = use_bf16("auto", device)
        self.precision = "bf16" if self.bf16 else "float32"  # numbers depend on it: the curve and the export tell
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"文件夹 {folder} 建不起来（{error.strerror}）：请换一个能写的文件夹。") from None
        self._state_kept()  # another run's folder is left as it is, before anything is computed
        sentences = read_corpus(corpora, config.corpus)
        if len(sentences) <= config.held_out:
            words = f"语料只有 {len(sentences)} 个句子，留出 {config.held_out} 句后没有可训练的了"
            raise TooLittleData(f"{words}：减小 held_out。")
        cut = len(sentences) - config.held_out
        self.held_out = sentences[cut:]
        self.texts = sentences[:cut] + join_texts(sentences[:cut], config.joined, config.seed)
        self.tokenizer = self._tokenizer(sentences[:cut])
        self.special = special_pieces(self.tokenizer)
        self.tokens = Tokens(self.tokenizer, self.texts, config.max_length)
        self.pairs = [read_pairs(Path(corpora) / name, checksum) for name, checksum in config.pairs.items()]
        with seeded(config.seed):
            self.model = self._new_model()
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

        path, note, config = self.folder / "vocab.txt", self.folder / "vocab.json", self.config
        made_from = {"vocabulary": sha256_of(Path(config.vocabulary))} if config.vocabulary else {
            "sentences": sha256_of("\n".join(sentences).encode()), "vocab_size": config.vocab_size,
            "min_frequency": config.min_frequency,
        }  # fmt: skip
        key = json.dumps(made_from, indent=1).encode()
        if not (path.is_file() and note.is_file() and note.read_bytes() == key):
            if (self.folder / CHECKPOINT).exists():  # trained on the vocabulary that would be overwritten
                words = "词表不是由这些语料和设置得来的，或来自旧版本；数据不同"
                raise DataError(f"{self.folder} 属于另一次训练（{words}）：换回原来的，或换一个文件夹。")
            note.unlink(missing_ok=True)  # a kill between the two files must not leave an old note on a new vocabulary
            if config.vocabulary:
                write_atomic(path, Path(config.vocabulary).read_bytes())
            else:
                made = train_wordpiece(sentences, config.vocab_size, config.min_frequency)
                pieces = sorted(made.get_vocab().items(), key=lambda item: item[1])
                write_atomic(path, "".join(piece + "\n" for piece, _ in pieces).encode())
            write_atomic(note, key)
        pieces = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        return BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, do_lower_case=True)

    def _new_model(self) -> torch.nn.Module:
        from transformers import BertConfig, BertForMaskedLM

        dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        bert = BertConfig(vocab_size=len(self.tokenizer), **dropout, **self.config.model)
        bert._attn_implementation = "eager"  # its backward pass is far quicker on a CPU for heads this narrow
        return BertForMaskedLM(bert).to(self.device).train()

    def _targets(self, teacher: str) -> torch.Tensor | None:
        """The teacher's vectors of all texts; the model's word embeddings begin with the teacher's."""
        asked = any(s.weights.get("cosine") or s.weights.get("similarity") for s in self.config.stages)
        encoder = None
        if teacher and asked:
            encoder = Encoder(
                teacher, prefix=self.config.teacher_prefix, max_length=self.config.max_length, device=self.device,
                bf16=self.bf16,
            )  # fmt: skip
        pairs = [[source.left, source.right, source.label.tolist()] for source in self.pairs]
        learnt = [self.texts, self.tokenizer.get_vocab(), pairs]
        self.data = {"数据": sha256_of(json.dumps(learnt, sort_keys=True).encode())}
        self.data["教师、精度、设备或代码"] = teacher_key(encoder) if encoder else ""
        self._state_kept()  # before hours of another teacher's work are overwritten
        if encoder is None:
            return None
        dim = self.model.config.hidden_size
        with torch.no_grad():
            start = teacher_embeddings(self.tokenizer, encoder, dim)
            self.model.get_input_embeddings().weight.copy_(torch.from_numpy(start))
        vectors = teacher_vectors(self.texts, encoder, self.folder, progress=self.progress)
        return torch.from_numpy(student_targets(vectors, dim))

    @property
    def total_steps(self) -> int:
        return sum(stage.steps for stage in self.config.stages)

    # ---- checkpoint

    def _checkpoint(self, step: int | None = None, name: str = CHECKPOINT) -> Checkpoint:
        """The file `name` as this run's after `step` steps; None: as far as can be told without them."""
        # Files need not have a checksum in the configuration, and a teacher has only a name there.
        parts = {"配置": config_key(self.config), **self.data}
        if step is not None:
            parts["已经开始的阶段"] = stages_key(self.config.stages, step)
        return Checkpoint(self.folder / name, parts)

    def _state_kept(self) -> dict | None:
        """What the folder's checkpoint says of its run, or None. DataError where it is another run's."""
        state = self._checkpoint().state()
        return state and self._checkpoint(state["step"]).state()

    def _resume(self) -> None:
        found = self._state_kept() and self._checkpoint().load()
        if not found:
            return
        tensors, state = found
        self.model.load_state_dict({n[6:]: t for n, t in tensors.items() if n.startswith("model.")}, strict=False)
        restore_optimizer(self.optimizer, tensors)
        self.step, self.seconds, self.curve = state["step"], state["seconds"], state["curve"]

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: p.detach().cpu().contiguous() for name, p in self.model.named_parameters()}

    @property
    def _last_stage_start(self) -> int:
        return self.total_steps - self.config.stages[-1].steps

    def _interpolated(self) -> dict[str, torch.Tensor]:
        """The run's weights drawn towards those before its last stage, see `PretrainConfig.interpolation`."""
        share, weights, start = self.config.interpolation, self._weights(), self._last_stage_start
        if share == 1:
            return weights
        found = self._checkpoint(start, BEFORE_LAST_STAGE).load()
        if not found or found[1]["step"] != start:
            raise DataError(
                f"{self.folder} 里没有这次训练在最后阶段之前的权重（{BEFORE_LAST_STAGE}）："
                "把 interpolation 设为 1，或换一个 --out 文件夹重新训练。"
            )
        return {name: (1 - share) * found[0][name] + share * weight for name, weight in weights.items()}

    def save_checkpoint(self) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self._weights().items()}
        state = {"step": self.step, "seconds": self.seconds, "curve": self.curve, "precision": self.precision}
        self._checkpoint(self.step).save(tensors | optimizer_tensors(self.optimizer), state, needed=True)

    # ---- training

    def train(self, *, until: int | None = None, checkpoint_minutes: float = 5.0, log_every: int = 100) -> None:
        """Go on to the last step (or to step `until`).

        Ctrl-C (KeyboardInterrupt) and a polite kill (Terminated) end the run after the step in hand, with a
        checkpoint: saved in the middle of a step, weights and counter would not agree.
        """
        last = min(until or self.total_steps, self.total_steps)
        started = saved = time.monotonic()
        base, sums = self.seconds, {}
        bar = {"desc": "预训练", "unit": "步", "disable": not self.progress, "file": sys.stdout, "mininterval": 5}
        with Interrupts() as interrupts, tqdm(total=self.total_steps, initial=self.step, **bar) as bar:
            while self.step < last and not interrupts.asked:
                if self.step == self._last_stage_start and self.config.interpolation < 1:
                    kept = self._checkpoint(self.step, BEFORE_LAST_STAGE)
                    kept.save(self._weights(), {"step": self.step}, needed=True)
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
        interrupts.raise_if_asked()

    def _log(self, sums: dict, bar) -> None:
        row = {"step": self.step, "seconds": round(self.seconds), **{n: float(np.mean(v)) for n, v in sums.items()}}
        if self.step % 500 == 0 or self.step == self.total_steps:
            self.model.eval()
            result = masked_characters(self.model, self.tokenizer, self.held_out[:500])
            self.model.train()
            row |= {"held_out_accuracy": result.accuracy, "held_out_loss": result.loss}
        bar.set_postfix({n: f"{v:.3f}" for n, v in row.items() if n not in ("step", "seconds")})
        self.curve.append(row | {"precision": self.precision})

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
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        rows = self._rows(stage, number, local)
        with autocast(self.device, self.bf16):
            losses = self._text_losses(stage, rows, generator)
            if stage.weights.get("pairs"):
                losses["pairs"] = self._pair_loss(stage)
        total = sum(stage.weights[name] * loss for name, loss in losses.items())
        update(self.model, self.optimizer, total, stage.rate(local))
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _rows(self, stage: Stage, number: int, local: int) -> np.ndarray:
        """The rows of the stage's step `local`; epochs may differ by a few batches, so they are walked through."""
        kept_stage, epoch, first, batches = self._epoch
        if kept_stage != number or local < first:
            epoch, first, batches = -1, 0, []
        while local >= first + len(batches):
            epoch, first = epoch + 1, first + len(batches)
            seed, limit = (self.config.seed, number, epoch), 60 * stage.batch_size
            batches = length_sorted_batches(self.tokens.lengths, stage.batch_size, seed, max_tokens=limit)
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
            mask_id = self.tokenizer.mask_token_id
            inputs, chosen = mask_tokens(ids, maskable, stage.mask_rate, mask_id, len(self.tokenizer), generator)
        hidden = self._hidden(inputs, mask)  # (batch, tokens, dim)
        losses = {}
        if stage.weights.get("mlm"):
            row, column = chosen.nonzero(as_tuple=True)
            count = max(len(row) // 64 * 64, min(len(row), 64))  # few shapes, see `padded`
            row, column = row[:count], column[:count]
            logits = self.model.cls(hidden[row, column])  # (chosen, vocabulary): only where asked
            losses["mlm"] = masked_loss(logits, ids[row, column].to(self.device))
        if self.targets is not None and (stage.weights.get("cosine") or stage.weights.get("similarity")):
            student = F.normalize(pool_mean([hidden[compared].float()], mask[compared].to(self.device)), dim=-1)
            target = self.targets[torch.from_numpy(rows)[compared]].to(self.device).float()
            picked = torch.randint(0, len(self.targets), (self.config.bank,), generator=generator)
            bank = self.targets[picked].to(self.device).float()
            losses["cosine"] = cosine_loss(student, target)
            with autocast(self.device, False):
                losses["similarity"] = similarity_loss(student, target, bank, self.config.temperature)
        return {name: loss for name, loss in losses.items() if stage.weights.get(name)}

    def _pair_loss(self, stage: Stage) -> torch.Tensor:
        rng = np.random.default_rng((self.config.seed, 7, self.step))
        source = self.pairs[rng.integers(len(self.pairs))]  # each source equally often: the small one has graded labels
        rows = rng.integers(0, len(source.left), stage.pair_batch)
        batch = self.tokenizer(
            [source.left[i] for i in rows] + [source.right[i] for i in rows], padding=True, truncation=True,
            max_length=self.config.max_length, pad_to_multiple_of=8, return_tensors="pt",  # few shapes, see `padded`
        )  # fmt: skip
        hidden = self._hidden(batch["input_ids"], batch["attention_mask"])
        vectors = pool_mean([hidden.float()], batch["attention_mask"].to(self.device))
        label = torch.from_numpy(source.label[rows]).float().to(self.device)
        return cosent_loss(vectors[: len(rows)], vectors[len(rows) :], label)

    def _hidden(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.model.bert(input_ids=ids.to(self.device), attention_mask=mask.to(self.device)).last_hidden_state

    def export(self, folder: Path | str) -> Path:
        """Write the checkpoint that readers load: float16 safetensors, config, tokenizer, SHA256SUMS; and curve.csv.

        Raises DataError for a folder that holds anything but an earlier export.
        """
        typical = self.texts[:: max(1, len(self.texts) // 10_000)]
        if self.config.center:
            source = self.pairs[list(self.config.pairs).index(self.config.center)]
            typical = [*source.left, *source.right]
        pieces = (self.folder / "vocab.txt").read_bytes()
        precisions = sorted({row["precision"] for row in self.curve})
        about = {"steps": self.step, "seconds": round(self.seconds), "precision": precisions}
        return export(
            Path(folder), self.model, self._interpolated(), self.tokenizer, pieces, typical=typical, curve=self.curve,
            about=about,
        )  # fmt: skip
