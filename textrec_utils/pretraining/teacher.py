"""What the student shall meet: the teacher's vectors of all texts, and its word embeddings to begin with."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from textrec_utils.baselines.content import unit_rows
from textrec_utils.core.files import sha256_of, write_atomic
from textrec_utils.core.store import code_key
from textrec_utils.encoder.encoder import Encoder
from textrec_utils.encoder.space import principal_directions


def teacher_key(teacher: Encoder) -> str:
    """Checksum of all that a teacher's vectors depend on but the texts: its precision, device and our code too."""
    how = [teacher.fingerprint, teacher.prefix, teacher.pooling, teacher.max_length, teacher.bf16]
    return sha256_of(json.dumps([how, teacher.device.split(":")[0], code_key(__name__)], sort_keys=True).encode())


def _kept(note: Path) -> dict:
    """What the note beside the vectors says; {} where there is none, or it is damaged."""
    try:
        kept = json.loads(note.read_text(encoding="utf-8"))
        return {"key": kept["key"], "done": int(kept["done"])}
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return {}


def teacher_vectors(texts: Sequence[str], teacher: Encoder, folder: Path, *, progress: bool = True) -> np.ndarray:
    """The teacher's vectors of all texts, (texts, teacher dim) float16, kept in `folder` and continued after a stop."""
    key = sha256_of(json.dumps([teacher_key(teacher), list(texts)]).encode())
    path, note = folder / "teacher.f16", folder / "teacher.json"
    kept = _kept(note) if path.exists() else {}
    done = kept["done"] if kept.get("key") == key else 0
    if not done:
        note.unlink(missing_ok=True)  # or a kill before the first chunk would leave an old note on new, empty vectors
    size = (len(texts), teacher.dim)
    store = np.memmap(path, np.float16, "r+" if done else "w+", shape=size)
    chunk = 4096
    bar = {"desc": "教师向量", "unit": "句", "disable": not progress, "file": sys.stdout, "mininterval": 10}
    with tqdm(total=len(texts), initial=done, **bar) as bar:
        while done < len(texts):
            part = texts[done : done + chunk]
            store[done : done + len(part)] = teacher.encode(part, cache=False)
            store.flush()
            done += len(part)
            write_atomic(note, json.dumps({"key": key, "done": done}).encode())
            bar.update(len(part))
    return np.asarray(store)


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
    empty = {i for i in set().union(*split) if not teacher.tokenizer.decode([i]).strip()}
    empty.add(teacher.tokenizer.unk_token_id)
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
    _, basis = principal_directions(x.T @ x, dim)
    return x @ basis.astype(np.float32)
