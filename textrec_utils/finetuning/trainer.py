"""One training run, and the state from which it can go on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from textrec_utils.core.checkpoint import Checkpoint, optimizer_tensors, restore_optimizer
from textrec_utils.core.cost import Cost, measure
from textrec_utils.core.errors import DataError
from textrec_utils.core.processes import Interrupts
from textrec_utils.finetuning.batches import Batches
from textrec_utils.finetuning.config import TwoTowerConfig
from textrec_utils.finetuning.distributed import share_signal, world
from textrec_utils.finetuning.features import Features, Material
from textrec_utils.finetuning.gradient_cache import GradientCache
from textrec_utils.finetuning.result import TwoTower
from textrec_utils.finetuning.towers import Towers
from textrec_utils.splits import Split

CURVE_POINTS = 10


class NotKept(Exception):
    """The store hasn't got what it was asked for."""


@dataclass
class Run:
    """One training; `train` gives its arrays. The fields are arguments of `train_two_tower`."""

    split: Split
    config: TwoTowerConfig
    material: Material
    judge: Callable[[TwoTower], float] | None = None
    patience: int = 0
    watch: Callable[[np.ndarray], None] | None = None
    log_dir: Path | str | None = None
    checkpoint: Checkpoint | None = None
    device: str = "cpu"
    progress: bool = False

    def _begin(self) -> None:
        """Towers, features, batches and optimizer as they start, or as the checkpoint has them."""
        config, profiles = self.config, self.material.profiles
        torch.manual_seed(config.seed)
        self.rng = np.random.default_rng(config.seed)
        self.features = Features(self.material, config)
        profiles = None if profiles is None else torch.from_numpy(profiles)
        self.towers = Towers(self.features.width, config, profiles).to(self.device)
        self.batches = Batches(self.split, config, self.rng, self.device)
        self.writer = tensorboard(self.log_dir) if self.log_dir else None
        opened = list(self.features.named_parameters().values())
        trained = list(self.towers.parameters())
        self.phases = [(config.steps, [{"params": trained, "lr": config.learning_rate}])]
        if opened:
            slow = {"params": trained, "lr": config.learning_rate / 10}
            self.phases.append((config.encoder_steps, [slow, {"params": opened, "lr": config.encoder_learning_rate}]))
        self.cached = GradientCache(self.features, config.chunk, opened)
        # What the head reads, for every item. While an encoder learns, only a step's rows are encoded anew; the others
        # are as they were at their last turn, the worse an approximation the farther the encoder moves.
        self.table = self.features.frozen.clone().to(self.device)
        self.total = sum(steps for steps, _ in self.phases)
        self.last = min(config.stop or self.total, self.total)
        self.look = max(1, self.total // CURVE_POINTS)
        self.done, self.phase, self.curve, self.losses = 0, -1, [], []
        self.best: dict[str, torch.Tensor] = {}
        self.earlier = Cost()
        self._resume()

    def _enter_phase(self) -> int:
        """Set up the phase that the next step belongs to; returns the step within it."""
        before, number = 0, 0
        while self.done >= before + self.phases[number][0]:
            before, number = before + self.phases[number][0], number + 1
        if number != self.phase:
            steps, groups = self.phases[number]
            self.optimizer = torch.optim.AdamW(
                [dict(g) for g in groups], weight_decay=self.config.weight_decay, fused=True
            )
            self.phase = number
        return self.done - before

    def _step(self) -> float:
        local = self._enter_phase()
        steps, groups = self.phases[self.phase]
        warm = max(1, round(0.1 * steps))  # then linearly down
        rate = min((local + 1) / warm, max(0.0, (steps - local) / max(1, steps - warm)))
        for group, base in zip(self.optimizer.param_groups, groups):
            group["lr"] = base["lr"] * rate
        self.towers.train()
        self.optimizer.zero_grad()
        value = sum(self._add_gradient(len(groups) > 1) for _ in range(self.config.accumulate)) / self.config.accumulate
        nn.utils.clip_grad_norm_([p for g in groups for p in g["params"]], 1.0)
        self.optimizer.step()
        return value

    def _add_gradient(self, encoder_learns: bool) -> float:
        batch, through_cache = self.batches.draw(encoder_learns), False
        read = self.table
        if encoder_learns:
            through_cache = len(batch.trained) > self.config.chunk or world()[0] > 1
            fresh = self.cached.vectors(batch.trained) if through_cache else self.features(batch.trained)
            read = read.index_put((batch.trained,), fresh)
            self.table[batch.trained] = fresh.detach()
        items = self.towers.head(read if batch.items is None else read[batch.items])
        loss = self.batches.loss(self.towers, items, batch)
        (loss / self.config.accumulate).backward()
        if through_cache:
            self.cached.backward()
        return loss.item()

    def train(self) -> dict[str, np.ndarray]:
        """Go (on) to the last step; gives the arrays that `TwoTower.of` reads, and `earlier`: seconds and MB of the
        parts before the last checkpoint that it went on from.

        Ctrl-C and SIGTERM end the run after the step in hand, with a checkpoint where there is a place for it.
        """
        self.clock = measure("train")
        with self.clock:
            return self._train()

    def refuse(self) -> dict[str, np.ndarray]:
        """Instead of `train` where a result is wanted from the store or not at all."""
        raise NotKept

    def _train(self) -> dict[str, np.ndarray]:
        self._begin()
        words = {"desc": f"训练 {self.config.rung}", "disable": not self.progress, "file": sys.stdout}
        with tqdm(total=self.last, initial=self.done, **words) as bar, Interrupts() as interrupts:
            while self.done < self.last and not self._no_longer_better():
                if self.done % self.look == 0 and self.config.hard_negatives:
                    self.batches.mine(self.towers, self.table)
                self.losses.append(self._step())
                self.done += 1
                bar.update()
                bar.set_postfix_str(f"损失 {self.losses[-1]:.3f}")
                if self.done % self.look == 0:
                    self._point()
                share_signal(interrupts, self.table.device)
                if self.checkpoint and (interrupts.asked or self.checkpoint.due):
                    self.save()
                interrupts.raise_if_asked()
        if self.patience and self.best:
            self._set_trained(self.best)
        result = self._result() | {"earlier": np.array([self.earlier.seconds, self.earlier.peak_mb])}
        if self.checkpoint:
            self.checkpoint.remove()
        if self.writer:
            self.writer.close()
        return result

    def _point(self) -> None:
        row = [self.done, float(np.mean(self.losses))]
        self.losses.clear()
        if self.judge is not None:
            row.append(float(self.judge(TwoTower.of(self._towers_now(), Cost(), self.config))))
        self.curve.append(row)
        if self.patience and row[2] >= max(r[2] for r in self.curve):
            self.best = {n: p.detach().clone() for n, p in self._trained().items()}
        if self.watch is not None:
            self.watch(np.array(self.curve))
        if self.writer:
            log(self.writer, [row])

    def _no_longer_better(self) -> bool:
        if not self.patience or not self.curve:
            return False
        # The head alone may stand still while an encoder is still to come: only the last phase can end a run early.
        late = sum(row[0] > self.total - self.phases[-1][0] for row in self.curve)
        values = [row[2] for row in self.curve]
        return min(late, len(values) - 1 - int(np.argmax(values))) >= self.patience

    def _trained(self) -> dict[str, nn.Parameter]:
        """All that is trained, by names that a file can hold."""
        towers = {f"towers.{n}": p for n, p in self.towers.named_parameters()}
        return towers | {f"encoder.{n}": p for n, p in self.features.named_parameters().items()}

    @torch.no_grad()
    def _set_trained(self, tensors: dict[str, torch.Tensor]) -> None:
        for name, parameter in self._trained().items():
            parameter.copy_(tensors[name])

    @torch.no_grad()
    def _towers_now(self) -> dict[str, np.ndarray]:
        """Item vectors and all that the user tower needs, by the towers as they stand, dropout off."""
        self.towers.eval()
        vectors = self.towers.head(self.table)
        arrays = {"item_vectors": vectors, "trained": torch.tensor([sum(p.numel() for p in self._reached())])}
        if self.config.user == "attention":
            arrays |= {"attention": vectors @ self.towers.query, "recency": self.towers.recency[None]}
        if self.towers.profile_map is not None:
            told = self.towers.profile_map(self.towers.profiles)
            arrays["profile_vectors"] = F.normalize(told, dim=1) if self.towers.head.unit else told
        width = 2 if self.judge is None else 3
        return {n: t.cpu().numpy() for n, t in arrays.items()} | {"curve": np.array(self.curve).reshape(-1, width)}

    @torch.no_grad()
    def _result(self) -> dict[str, np.ndarray]:
        if len(self.phases) > 1:
            self.table = self.features.all().to(self.table.device)
        weights = {f"head.{n}": p for n, p in self.towers.head.named_parameters()}
        if self.config.features == "encoder":
            weights |= {"scale.mean": self.features.mean, "scale.basis": self.features.basis}
            weights |= {f"encoder.{n}": p for n, p in self.features.merged().items()}
        return self._towers_now() | {n: t.detach().cpu().numpy() for n, t in weights.items()}

    def _reached(self) -> list[nn.Parameter]:
        """The parameters that had a step: a run that ended early may never have come to the encoder."""
        return [p for group in self.phases[max(self.phase, 0)][1] for p in group["params"]]

    def save(self) -> None:
        if world()[1]:  # all processes are in the same state: the first writes it down
            return
        tensors: dict[str, torch.Tensor] = self._trained() | optimizer_tensors(self.optimizer)
        tensors |= {f"best.{n}": t for n, t in self.best.items()}
        tensors |= {"table": self.table, "random": torch.get_rng_state()}
        if self.batches.mined is not None:
            tensors["mined"] = self.batches.mined
        spent = self.earlier + self.clock.so_far()
        state = {
            "spent": [spent.seconds, spent.peak_mb],
            "done": self.done, "curve": self.curve, "losses": self.losses,
            "numpy": self.rng.bit_generator.state, "queue": [int(r) for r in self.batches.queue],
        }  # fmt: skip
        self.checkpoint.save(tensors, state)

    @torch.no_grad()
    def _resume(self) -> None:
        kept = self.checkpoint.load() if self.checkpoint else None
        if kept is None:
            return
        tensors, state = kept
        self.done, self.curve, self.losses = max(state["done"] - 1, 0), state["curve"], state["losses"]
        self.earlier = Cost(*state["spent"], "train")
        self._enter_phase()  # the phase that the last step belonged to
        self.done = state["done"]
        self._set_trained(tensors)
        restore_optimizer(self.optimizer, tensors)
        self.best = {n[5:]: t.to(self.table.device) for n, t in tensors.items() if n.startswith("best.")}
        self.table = tensors["table"].to(self.table.device)
        self.batches.mined, self.batches.queue = tensors.get("mined"), state["queue"]
        self.rng.bit_generator.state = state["numpy"]
        torch.set_rng_state(tensors["random"])


def tensorboard(folder: Path | str):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise DataError("写TensorBoard日志要先装它：pip install tensorboard。") from None
    return SummaryWriter(str(folder))


def log(writer, curve) -> None:
    for step, *values in curve:
        for name, value in zip(("loss", "validation"), values):
            writer.add_scalar(name, value, int(step))
    writer.flush()
