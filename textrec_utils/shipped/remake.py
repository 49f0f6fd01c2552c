"""A shipped table made anew, part by part: what was finished before Ctrl-C comes from the store."""

from __future__ import annotations

import importlib
import io
import json
import time
from collections.abc import Callable
from types import ModuleType

import numpy as np

from textrec_utils.core.files import sha256_of, write_atomic
from textrec_utils.core.machine import machine, versions
from textrec_utils.core.store import Cached, cached_arrays, make_key
from textrec_utils.shipped.tables import about, path_of


def remake(name: str, tell: Callable[[str], object] = print, *, force: bool = False) -> bool:
    """Write `data/results/NAME.csv` and `.json`; False where neither code, settings nor libraries have changed.

    tell: gets a line a part. force: computed also where nothing changed, and not from the store.
    """
    note = about(name)  # DataError for a name that isn't there
    table = importlib.import_module(f"textrec_utils.shipped.{name}")
    code = make_key(name, {"parts": table.PARTS}, table.rows)
    whole = path_of(name).exists() and sha256_of(path_of(name)) == note.get("sha256")
    if whole and note.get("code") == code and not force:
        return False
    frames, seconds = [], 0.0
    for n, part in enumerate(table.PARTS, start=1):
        made = _made(name, table, part, force)
        frames.append(_frame(made["csv"]))
        seconds += made.cost.seconds
        said = "，".join(f"{key}={value}" for key, value in part.items())
        tell(f"[{n}/{len(table.PARTS)}] {said}：{made.cost.seconds:.0f} 秒{'（已有）' if made.from_cache else ''}")
    import pandas as pd

    whole = pd.concat(frames, ignore_index=True)
    content = _csv(whole)
    note = {
        "command": f"textrec remake {name}", "date": time.strftime("%Y-%m-%d"), "seconds": round(seconds, 1),
        "machine": machine(), "versions": versions(), "rows": len(whole), "sha256": sha256_of(content), "code": code,
        "seeds": sorted({int(seed) for seed in whole["seed"]}) if "seed" in whole else [],
    }  # fmt: skip
    write_atomic(path_of(name), content)
    write_atomic(path_of(name, ".json"), (json.dumps(note, ensure_ascii=False, indent=1) + "\n").encode())
    return True


def _made(name: str, table: ModuleType, part: dict, force: bool) -> Cached:
    """One part as the bytes of its CSV."""

    def compute() -> dict[str, np.ndarray]:
        return {"csv": np.frombuffer(_csv(table.rows(**part)), dtype=np.uint8)}

    compute.__module__ = table.rows.__module__  # the code that the part depends on
    return cached_arrays(f"shipped-{name}", part, compute, cache=not force)


def _csv(frame) -> bytes:
    return frame.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode()


def _frame(content: np.ndarray):
    import pandas as pd

    return pd.read_csv(io.BytesIO(content.tobytes()), keep_default_na=False, na_values=[""])
