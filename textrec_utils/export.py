"""A trained item tower as a folder that `SentenceTransformer(path)` and `AutoModel.from_pretrained(path)` load."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch

from textrec_utils.cache import write_atomic
from textrec_utils.datasets import DataError
from textrec_utils.encoder import Encoder, quiet_loading
from textrec_utils.finetuning import TwoTower, TwoTowerConfig

POOLING_NAMES = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}


def save_sentence_transformer(tower: TwoTower, folder: Path | str) -> Path:
    """Write encoder, pooling, head and normalisation; `SentenceTransformer(folder).encode(texts)` then gives the tower's
    item vectors, (texts, dim), and the mean of a history's vectors is the user.

    The scaling that the head reads its vectors by is a linear map, so it goes into the head's first layer:
    W ((x − mean) basis) + b = (W basisᵀ) x + (b − W basisᵀ mean).
    Raises DataError for towers whose item vectors no text encoder alone can give (`lexical`, `both`, fused ones) and for
    folders that hold something else or can't be written.
    """
    config = tower.config
    folder = check_export(config, folder)
    if "scale.basis" not in tower.weights:
        raise DataError("拼起来的塔不能导出成SentenceTransformer：请分别导出拼之前的每一座。")
    encoder = Encoder(tower.model, max_length=config.max_length)
    moved = {n.removeprefix("encoder."): torch.from_numpy(a) for n, a in tower.weights.items() if n.startswith("encoder.")}
    found = encoder.model.load_state_dict(moved, strict=False)
    if found.unexpected_keys:
        raise DataError(f"编码器 {tower.model} 里没有训练过的权重 {found.unexpected_keys[0]}：它不是当初训练的那个模型。")
    encoder.tokenizer.model_max_length = config.max_length
    for old in (*folder.glob("[0-9]*_Dense"), *folder.glob("[0-9]*_Normalize")):  # an earlier tower may have had more layers
        shutil.rmtree(old)
    with quiet_loading():
        encoder.model.save_pretrained(folder)
        encoder.tokenizer.save_pretrained(folder)
    layers = _dense_layers(tower)
    names = ["", "1_Pooling", *(f"{n}_Dense" for n in range(2, 2 + len(layers)))]
    kinds = ["Transformer", "Pooling", *["Dense"] * len(layers)]
    if config.similarity != "dot":
        names.append(f"{len(names)}_Normalize")
        kinds.append("Normalize")
    modules = [{"idx": n, "name": str(n), "path": p, "type": f"sentence_transformers.models.{k}"} for n, (p, k) in enumerate(zip(names, kinds))]
    _json(folder / "modules.json", modules)
    _json(folder / "sentence_bert_config.json", {"max_seq_length": config.max_length, "do_lower_case": False})
    prompts = {"prompts": {"item": tower.prefix}, "default_prompt_name": "item"} if tower.prefix else {}
    _json(folder / "config_sentence_transformers.json", {"similarity_fn_name": "dot", **prompts})
    width = {"word_embedding_dimension": encoder.dim}
    _json(folder / "1_Pooling" / "config.json", width | {name: way == config.pooling for way, name in POOLING_NAMES.items()})
    for name, (weight, bias, activation) in zip(names[2:], layers):
        _dense(folder / name, weight, bias, activation)
    if config.similarity != "dot":
        (folder / names[-1]).mkdir(exist_ok=True)
    return folder


def check_export(config: TwoTowerConfig, folder: Path | str) -> Path:
    """The folder, made where it wasn't there: what can't be saved is told before hours of training, not after."""
    folder = Path(folder)
    if config.features != "encoder":
        raise DataError("只有 features=encoder 的双塔能导出成SentenceTransformer：词面向量不是编码器算出来的。")
    if config.pooling not in POOLING_NAMES:
        raise DataError(f"SentenceTransformer没有池化方式 {config.pooling}；可用的有 {'、'.join(POOLING_NAMES)}。")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not (folder / "modules.json").is_file():
            raise DataError(f"文件夹 {folder} 里有别的文件，不覆盖：请换一个空文件夹。")
    except OSError as error:
        raise DataError(f"文件夹 {folder} 建不起来或读不了（{error.strerror}）：请换一个能写的文件夹。") from None
    return folder


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
    from safetensors.numpy import save

    shape = {"in_features": weight.shape[1], "out_features": weight.shape[0], "bias": True, "activation_function": activation}
    _json(folder / "config.json", shape)
    tensors = {"linear.weight": np.ascontiguousarray(weight, dtype=np.float32), "linear.bias": np.ascontiguousarray(bias, dtype=np.float32)}
    write_atomic(folder / "model.safetensors", save(tensors))


def _json(path: Path, value) -> None:
    write_atomic(path, json.dumps(value, ensure_ascii=False, indent=1).encode())
