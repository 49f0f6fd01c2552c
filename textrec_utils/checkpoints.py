"""An optimizer's state as plain tensors, which a safetensors file can hold."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The state of each parameter that has had a step, as `optimizer.<number of the parameter>.<name>`, on the CPU."""
    state = optimizer.state_dict()["state"]
    return {f"optimizer.{n}.{name}": torch.as_tensor(value).cpu() for n, kept in state.items() for name, value in kept.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put back what `optimizer_tensors` gave; learning rates and the like stay as the optimizer has them."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for full_name, value in tensors.items():
        kind, _, rest = full_name.partition(".")
        if kind == "optimizer":
            number, name = rest.split(".")
            state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
