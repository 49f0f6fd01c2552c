"""One file in which a run that may be killed keeps its state; it knows whose it is and refuses what isn't its own."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from textrec_utils.core.errors import DataError
from textrec_utils.core.files import write_atomic

if TYPE_CHECKING:
    import torch

MARK = "textrec checkpoint"


class Checkpoint:
    """A run's tensors and plain state in one safetensors file.

    identity: what the run is known by, part by part, e.g. {"配置": …, "数据": …}; a file whose part differs is
    refused by that part's name. seconds: `due` is True so long after the last `save`.
    given: the reader named the path. Then a file that is no checkpoint, or another run's, raises DataError and
    stays as it is. Else the path is ours, named by the identity, and what can't be read there is made anew.
    """

    def __init__(self, path: Path | str, identity: Mapping[str, str], *, seconds: float = 30.0, given: bool = True):
        self.path, self.identity, self.given = Path(path), dict(identity), given
        self.seconds, self.saved = seconds, time.monotonic()

    @property
    def due(self) -> bool:
        return time.monotonic() - self.saved > self.seconds

    def state(self) -> dict | None:
        """What the file says of its run; None where there is none."""
        found = self._open()
        return found and found[1]

    def load(self) -> tuple[dict[str, torch.Tensor], dict] | None:
        """(tensors, state) of the run so far, or None where there is none."""
        found = self._open(tensors=True)
        return found and (found[0], found[1])

    def _open(self, tensors: bool = False) -> tuple[dict[str, torch.Tensor], dict] | None:
        from safetensors import SafetensorError, safe_open

        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as f:
                note = f.metadata() or {}
                loaded = {name: f.get_tensor(name) for name in f.keys()} if tensors else {}  # noqa: SIM118
            if note.get("format") != MARK:
                raise ValueError
            identity, state = json.loads(note["identity"]), json.loads(note["state"])
        except (SafetensorError, OSError, KeyError, ValueError):
            if self.given:
                raise DataError(
                    f"{self.path} 不是训练的检查点，或已损坏；不覆盖它：请换一个路径，或自己删去它。"
                ) from None
            print(f"检查点 {self.path.name} 读不出来，从头训练。", file=sys.stderr)
            return None
        other = [part for part, value in self.identity.items() if identity.get(part) != value]
        if other:
            raise DataError(
                f"{self.path} 属于另一次训练（{'、'.join(other)}不同）：换回原来的，或换一个路径，或删去它。"
            )
        return loaded, state

    def save(self, tensors: Mapping[str, torch.Tensor], state: Mapping, *, needed: bool = False) -> None:
        """Write the state down. needed: a full disk is an error; else it costs the checkpoint, not the run."""
        from safetensors.torch import save

        self.saved = time.monotonic()
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        note = {"format": MARK, "identity": json.dumps(self.identity), "state": json.dumps(dict(state))}
        try:
            write_atomic(self.path, save(kept, note))
        except OSError as error:
            if needed:
                raise
            words = f"检查点没有写进 {self.path.parent}（{error.strerror}）；训练继续，中断后要从头来。"
            print(words, file=sys.stderr)

    def remove(self) -> None:
        """Remove the file of a run that is done."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError:
            pass


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The state of each parameter that has had a step, as `optimizer.<number of the parameter>.<name>`, on the CPU."""
    import torch

    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{number}.{name}": torch.as_tensor(value).cpu()
        for number, kept in state.items()
        for name, value in kept.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put back what `optimizer_tensors` gave; learning rates and the like stay as the optimizer has them."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for full_name, value in tensors.items():
        kind, _, rest = full_name.partition(".")
        if kind == "optimizer":
            number, name = rest.split(".")
            state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
