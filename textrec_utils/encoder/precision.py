"""bfloat16 where the machine multiplies in it: about twice as fast, with slightly other numbers."""

from __future__ import annotations

import os
from pathlib import Path

import torch

CPU_INFO = Path("/proc/cpuinfo")


def bf16_unit(device: str = "cpu") -> str:
    """What multiplies bfloat16 here: `amx_bf16`, `avx512_bf16`, `cuda`, or "" for nothing known.

    The environment variable TEXTREC_BF16=0 says no for every device: set it where runs on unlike machines
    shall give the same numbers. A processor is known by Linux' /proc/cpuinfo alone; elsewhere it counts as without.
    """
    if os.environ.get("TEXTREC_BF16", "1") == "0":
        return ""
    if device.startswith("cuda"):
        return "cuda" if torch.cuda.is_bf16_supported(including_emulation=False) else ""
    try:
        flags = set(CPU_INFO.read_text().split()) if device == "cpu" else set()
    except OSError:
        return ""
    return next((unit for unit in ("amx_bf16", "avx512_bf16") if unit in flags), "")


def has_bf16(device: str = "cpu") -> bool:
    """Does this device multiply bfloat16 in hardware?"""
    return bool(bf16_unit(device))


def use_bf16(setting: str | bool | None = "auto", device: str = "cpu") -> bool:
    """A setting made a decision. setting: `bf16` or True, `float32` or False, `auto` or None: where `has_bf16`.

    What `auto` came to belongs into a result's settings: its numbers depend on it.
    """
    known = {"bf16": True, True: True, "float32": False, False: False, "auto": None, None: None}
    if setting not in known:
        raise ValueError(f"没有精度 {setting!r}；可用的有 float32、bf16、auto。")
    return has_bf16(device) if known[setting] is None else known[setting]


def autocast(device: str, enabled: bool) -> torch.autocast:
    """A block in which matrix products run in bfloat16, or (not enabled) in what the tensors have."""
    return torch.autocast(device.split(":")[0], dtype=torch.bfloat16, enabled=enabled)
