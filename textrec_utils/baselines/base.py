"""What every recommender promises, and how it is kept on disk and read again."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from scipy import sparse

from textrec_utils.core.cost import Cost
from textrec_utils.core.errors import DataError
from textrec_utils.core.files import sha256_of, write_atomic
from textrec_utils.splits import Split

NOTE, ARRAYS = "recommender.json", "recommender.safetensors"
CSR = ("data", "indices", "indptr", "shape")


@dataclass(frozen=True)
class Product:
    """What a fitted method says as one product of tables, so that it can be served and explained without its class.

    score(u, j) = Σ over the history w(h) · history[h] · items[j], or users[u] · items[j], or scores[j].
    history, users, items: (…, dim), dense or csr; items None: the history's rows are scores themselves, dim = items.
    w(h): 0.5 ** (age in items / half_life), or even; mean: divided by their sum.
    """

    history: object = None
    items: object = None
    users: np.ndarray | None = None
    scores: np.ndarray | None = None
    half_life: float | None = None
    mean: bool = True


class Recommender:
    """Base of all methods: `fit` learns from `split.train` alone, `score` rates the whole catalogue.

    needs: what it must be given beside likes: "text", "time", "model". cold_items: can it tell new items (no training
    likes) apart? new_users: can it serve users without a history better than at random? fades: is a user's score a sum
    over the history, so that `half_life` may let the older likes count less? half_life: None weighs them evenly; h
    halves the weight every h items back in time (Ding & Li 2005, "Time weight collaborative filtering").
    cost: what making it took before `fit` (vectors, a trained tower); `evaluate` adds it to its own.
    SETTINGS: attributes that are keywords of the constructor, plain JSON values. FITTED: attributes that hold what it
    was given and learned, dense arrays or csr matrices (None: not there). parts: recommenders that it is made of.
    because: why an item stands in a list, in a few words for its reader, where no liked item can be named.
    """

    name = "recommender"
    needs: frozenset[str] = frozenset()
    cold_items = False
    new_users = False
    fades = False
    half_life: float | None = None
    cost = Cost()
    SETTINGS: tuple[str, ...] = ()
    FITTED: tuple[str, ...] = ()
    parts: Sequence[Recommender] = ()
    because = ""

    def _timed(self) -> frozenset[str]:
        return frozenset(["time"] * (self.half_life is not None))  # an order of the history that means something

    def fit(self, split: Split) -> Self:
        """Learn from the training part. Returns self."""
        raise NotImplementedError

    def hear(self, split: Split) -> Self:
        """Weigh the histories by another `half_life`, whatever else `fit` has learned as it is; for one that fades."""
        return self.fit(split)

    def fold_in(self, split: Split) -> Self:
        """The same, as it has learned, for other users: those whose histories are `split.train`; itself stays as it is.

        Raises DataError where a method knows nobody but the users whom it was trained on.
        """
        raise DataError(f"{self.name} 只认识训练时的用户，不能给别的历史推荐：请换一个方法，例如 ease。")

    def product(self) -> Product | None:
        """What `score` gives, as tables; None where it is not one product of tables."""
        return None

    def score(self, users: np.ndarray) -> np.ndarray:
        """(len(users), items) float32, higher is better; users are row numbers."""
        raise NotImplementedError

    def settings(self) -> dict[str, object]:
        """The settings as they were, for a table of results and for building the same again; plain JSON values."""
        return {name: getattr(self, name) for name in self.SETTINGS}

    def save(self, folder: Path | str) -> None:
        """Keep a fitted recommender: settings as JSON, arrays as safetensors, parts in folders of their own.

        Raises DataError before `fit`.
        """
        from safetensors.numpy import save

        arrays: dict[str, object] = {}
        for name in self.FITTED:
            if not hasattr(self, name):
                raise DataError(f"{self.name} 还没有学过，没有可存的：请先 fit，再 save。")
            value = getattr(self, name)
            if sparse.issparse(value):
                value = sparse.csr_matrix(value)
                arrays |= {f"{name}.{part}": getattr(value, part) for part in CSR}
            elif value is not None:
                arrays[name] = value
        data = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        note = {
            "class": type(self).__name__, "module": type(self).__module__, "name": self.name,
            "settings": self.settings(), "parts": len(self.parts), "sha256": sha256_of(data),
            "cost": [{"key": key, **vars(step)} for key, step in self.cost.steps.items()],
        }  # fmt: skip
        for number, part in enumerate(self.parts):
            part.save(Path(folder) / f"part{number}")
        write_atomic(Path(folder) / ARRAYS, data)
        write_atomic(Path(folder) / NOTE, json.dumps(note, ensure_ascii=False, indent=1).encode())

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """What `save` kept, ready to `score`; the class is found by its name. Raises DataError for anything else."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        folder = Path(folder)
        try:
            note, data = json.loads((folder / NOTE).read_bytes()), (folder / ARRAYS).read_bytes()
            kind = _class_of(note["module"], note["class"])
            if sha256_of(data) != note["sha256"] or not issubclass(kind, cls):
                raise ValueError
            # Copied: a file's arrays begin at any byte, and sums over them may then round another way.
            arrays = {name: array.copy() for name, array in load(data).items()}
            for name in {name.split(".")[0] for name in arrays if "." in name}:
                *parts, shape = (arrays.pop(f"{name}.{part}") for part in CSR)
                arrays[name] = sparse.csr_matrix(tuple(parts), shape=tuple(shape))
            model = kind._restored(note["settings"], dict.fromkeys(kind.FITTED) | arrays)
            model.parts = [Recommender.load(folder / f"part{number}") for number in range(note["parts"])]
            model.cost = sum((Cost(s["seconds"], s["peak_mb"], s["stage"], s["key"]) for s in note["cost"]), Cost())
        except DataError:  # a part of it, or a model that it reads, says more
            raise
        except (OSError, ImportError, AttributeError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise DataError(
                f"{folder} 里没有存好的 {cls.__name__}，或已损坏：请看看文件夹对不对，或重新存一次。"
            ) from error
        model.name = note["name"]
        return model

    @classmethod
    def _restored(cls, settings: dict[str, object], arrays: dict[str, object]) -> Self:
        """A recommender with these settings and arrays, without its constructor: what was prepared once stays so."""
        model = cls.__new__(cls)
        vars(model).update({name: settings[name] for name in cls.SETTINGS} | arrays)
        return model


def _class_of(module: str, name: str) -> type[Recommender]:
    # Of this package alone, or already there: a file shall not choose what runs.
    if module.startswith("textrec_utils.") and "__" not in module:
        importlib.import_module(module)
    kind = getattr(sys.modules[module], name)
    if not issubclass(kind, Recommender):
        raise TypeError
    return kind


def known_rows(users: np.ndarray, count: int) -> np.ndarray:
    """Row numbers of users as an array; IndexError for one that isn't among `count` (a negative one would wrap)."""
    users = np.asarray(users)
    wrong = users[(users < 0) | (users >= count)]
    if len(wrong):
        raise IndexError(f"没有第 {wrong[0]} 行的用户：用户行号从 0 到 {count - 1}。")
    return users
