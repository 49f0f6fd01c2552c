"""A trained item tower as a folder that `SentenceTransformer(path)` and `AutoModel.from_pretrained(path)` load."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from textrec_utils.core.errors import DataError
from textrec_utils.core.files import atomic_folder
from textrec_utils.encoder.encoder import Encoder
from textrec_utils.encoder.loading import quiet_loading
from textrec_utils.encoder.makers import write_json, write_makers
from textrec_utils.encoder.pooling import MAKERS_POOLINGS
from textrec_utils.finetuning.config import TwoTowerConfig
from textrec_utils.finetuning.result import TwoTower

MARK = "textrec_tower.json"  # in every folder of ours: the tower's settings, and which files we wrote


def save_sentence_transformer(tower: TwoTower, folder: Path | str) -> Path:
    """Write encoder, pooling, head and normalisation; `SentenceTransformer(folder).encode(texts)` then gives the
    tower's item vectors, (texts, dim), and the mean of a history's vectors is the user.

    The scaling that the head reads its vectors by is a linear map, so it goes into the head's first layer:
    W ((x − mean) basis) + b = (W basisᵀ) x + (b − W basisᵀ mean).
    Raises DataError for towers whose item vectors no text encoder alone can give (`lexical`, `both`, fused ones), where
    another model stands under the encoder's name by now, and for folders that hold something else or can't be written.
    A folder of ours is replaced as a whole.
    """
    config = tower.config
    folder = check_export(config, folder)
    if "scale.basis" not in tower.weights:
        raise DataError("拼起来的塔不能导出成SentenceTransformer：请分别导出拼之前的每一座。")
    encoder = Encoder(tower.model, pooling=config.pooling, max_length=config.max_length, prefix=tower.prefix or "none")
    if tower.encoder and tower.encoder != encoder.fingerprint:
        raise DataError(f"{tower.model} 已不是当初训练时的那个编码器（指纹不同）：请换回原来的模型，或重新训练。")
    check_pooling(encoder.pooling)
    ours = ((n.removeprefix("encoder."), a) for n, a in tower.weights.items() if n.startswith("encoder."))
    found = encoder.model.load_state_dict({n: torch.from_numpy(a) for n, a in ours}, strict=False)
    if found.unexpected_keys:
        raise DataError(f"编码器 {tower.model} 里没有权重 {found.unexpected_keys[0]}：它不是当初训练的那个模型。")
    encoder.tokenizer.model_max_length = encoder.max_length
    makers, layers = encoder.makers, _dense_layers(tower)
    if makers.dim:  # the makers keep the first dimensions: the others are read at weight 0
        pooled = torch.zeros(1, encoder.width * len(encoder.pooling.split("+")))
        (weight, *rest), wide = layers[0], encoder.tail(pooled).shape[1]
        layers[0] = (np.pad(weight, ((0, 0), (0, wide - weight.shape[1]))), *rest)
    theirs = [kind for kind, _ in makers.tail]
    tail = [*theirs, *["Dense"] * len(layers), *["Normalize"] * (config.similarity != "dot")]
    told = {"prompt": encoder.prefix, "pools_prompt": makers.pools_prompt, "similarity_fn_name": "dot"}
    with atomic_folder(folder.resolve()) as new, quiet_loading():
        encoder.model.save_pretrained(new)
        encoder.tokenizer.save_pretrained(new)
        steps = write_makers(new, encoder.pooling, encoder.width, encoder.max_length, tail=tail, **told)
        for place, (_, before) in zip(steps, makers.tail):
            if before.is_dir():  # a normalisation may be a name alone
                shutil.copytree(before, place, dirs_exist_ok=True)
        for place, layer in zip(steps[len(theirs) :], layers):
            _dense(place, *layer)
        files = [MARK, *(path.name for path in new.iterdir())]
        write_json(new / MARK, {"settings": tower.settings(), "files": sorted(files)})
    return folder


def check_export(config: TwoTowerConfig, folder: Path | str) -> Path:
    """The folder, made where it wasn't there: what can't be saved is told before hours of training, not after."""
    if config.features != "encoder":
        raise DataError("只有 features=encoder 的双塔能导出成SentenceTransformer：词面向量不是编码器算出来的。")
    if config.pooling != "auto":
        check_pooling(config.pooling)
    return check_folder(folder, MARK)


def check_pooling(pooling: str) -> None:
    if wrong := [part for part in pooling.split("+") if part not in MAKERS_POOLINGS]:
        raise DataError(f"SentenceTransformer没有池化方式 {wrong[0]}；可用的有 {'、'.join(MAKERS_POOLINGS)}。")


def check_folder(folder: Path | str, mark: str) -> Path:
    """The folder, made where it wasn't there. DataError where it holds what the file `mark` in it doesn't name."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryDirectory(dir=folder.resolve().parent).cleanup()  # where the new one is made
        foreign = {path.name for path in folder.iterdir()} - _ours(folder / mark)
    except OSError as error:
        raise DataError(f"文件夹 {folder} 建不起来或读不了（{error.strerror}）：请换一个能写的文件夹。") from None
    if foreign:
        raise DataError(f"文件夹 {folder} 里有不是我们写的 {min(foreign)}，不覆盖：请换一个空文件夹。")
    return folder


def _ours(mark: Path) -> set[str]:
    try:
        return set(json.loads(mark.read_bytes())["files"])
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return set()


def _dense_layers(tower: TwoTower) -> list[tuple[np.ndarray, np.ndarray, str]]:
    """(weight (out, in), bias (out,), activation) of each layer between pooled vector and item vector."""
    w = tower.weights
    mean, basis = w["scale.mean"].astype(np.float64), w["scale.basis"].astype(np.float64)

    def behind_scaling(weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        joined = weight @ basis.T
        return joined, bias - joined @ mean

    identity, gelu = "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.GELU"
    if tower.config.head == "linear":
        weight = w["head.net.weight"].astype(np.float64)
        return [(*behind_scaling(weight + np.eye(len(weight)), w["head.net.bias"]), identity)]
    first = behind_scaling(w["head.net.1.weight"].astype(np.float64), w["head.net.1.bias"])
    return [(*first, gelu), (w["head.net.4.weight"], w["head.net.4.bias"], identity)]


def _dense(folder: Path, weight: np.ndarray, bias: np.ndarray, activation: str) -> None:
    shape = {"in_features": weight.shape[1], "out_features": weight.shape[0], "bias": True}
    write_json(folder / "config.json", shape | {"activation_function": activation})
    tensors = {"linear.weight": weight, "linear.bias": bias}
    save_file({n: np.ascontiguousarray(a, dtype=np.float32) for n, a in tensors.items()}, folder / "model.safetensors")
