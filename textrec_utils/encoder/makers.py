"""How a model's makers mean it to be read, from the files that SentenceTransformer reads beside the weights.

`modules.json` says which steps follow each other: the transformer (`sentence_bert_config.json`), the pooling
(`1_Pooling`), then dense layers, LayerNorm, normalisation; `config_sentence_transformers.json` has the prompts. A
folder without `modules.json` is read as SentenceTransformer reads it: the mean of the tokens, of a decoder the last
token.
"""

from __future__ import annotations

import importlib
import inspect
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from textrec_utils.core.errors import DataError
from textrec_utils.encoder.pooling import MAKERS_POOLINGS, known_pooling

LENGTH_FILES = [f"sentence_{kind}_config.json" for kind in
                ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")]  # fmt: skip
SWITCHES = {  # of poolings, in their order side by side
    mode: f"pooling_mode_{name}" for mode, name in (
        ("cls", "cls_token"), ("max", "max_tokens"), ("mean", "mean_tokens"),
        ("mean_sqrt_len_tokens", "mean_sqrt_len_tokens"), ("weightedmean", "weightedmean_tokens"),
        ("lasttoken", "lasttoken"),
    )
}  # fmt: skip
TAIL = ("Dense", "LayerNorm", "Normalize", "Dropout")  # steps behind the pooling


@dataclass(frozen=True)
class Makers:
    """What a model's folder says of how it is read.

    transformer: the folder of weights and tokenizer. pooling: of EVERY_POOLING, several joined by +. max_length: tokens
    to read, None where nothing is said. prompts: by name. prompt: the one that stands before every text. pools_prompt:
    do the prompt's own tokens count in the pooling? lower: texts in lower case. dim: of the vector that is kept (its
    first so many), None for all. tail: what follows the pooling, folder by folder, None in a folder without modules.
    tokenizer, config: options for loading the two.
    """

    transformer: Path
    pooling: str
    max_length: int | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    prompt: str = ""
    pools_prompt: bool = True
    lower: bool = False
    dim: int | None = None
    tail: tuple[tuple[str, Path], ...] = ()
    tokenizer: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


def read_makers(folder: Path, name: str) -> Makers:
    """name: the model's, for refusals. Raises DataError for a damaged file and for steps that we can't do."""
    steps = read_json(folder / "modules.json", [])
    if not steps:
        return Makers(folder, _bare_pooling(folder), **_prompts(folder, name))
    kinds = []
    for step in steps:
        words = str(step.get("type", "")).split(".")
        kinds.append(words[-1] if words[0] == "sentence_transformers" else ".".join(words))
    places = [folder / str(step.get("path", "")) for step in steps]
    allowed = [("Transformer",), ("Pooling",), *[TAIL] * (len(kinds) - 2)]
    wrong = [kind for kind, those in zip(kinds, allowed) if kind not in those]
    if wrong or len(kinds) < 2:
        raise DataError(
            f"模型 {name} 的 modules.json 里有 {'、'.join(wrong or kinds)} 这样的步骤，这里只会先 Transformer、"
            f"Pooling，再 {'、'.join(TAIL)}：请换一个这样的模型，或用 SentenceTransformer 编码。"
        )
    transformer, pooling = places[:2]
    said = next((found for name in LENGTH_FILES if (found := read_json(transformer / name, {}))), {})
    task = said.get("transformer_task", "feature-extraction")
    if task != "feature-extraction":
        raise DataError(f"模型 {name} 不是给文本编码的（transformer_task 是 {task}）：请换一个句向量模型。")
    pools = read_json(pooling / "config.json", {})
    options = {}
    for of, older, newer in (("tokenizer", "tokenizer_args", "processor_kwargs"),
                             ("config", "config_args", "config_kwargs")):  # fmt: skip
        given = said.get(newer) or said.get(older) or {}
        options[of] = {key: value for key, value in given.items() if key != "trust_remote_code"}
    return Makers(
        transformer, _pooling(pools, name), said.get("max_seq_length"), **_prompts(folder, name),
        pools_prompt=pools.get("include_prompt", True), lower=bool(said.get("do_lower_case")),
        tail=tuple(zip(kinds[2:], places[2:])), **options,
    )  # fmt: skip


def read_json(path: Path, default: Any) -> Any:
    """A JSON file's content, `default` where there is no file. Raises DataError for a damaged one."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return default
    except (OSError, ValueError):
        raise DataError(f"模型的文件 {path} 不是完整的JSON，读不了：请重新下载这个文件。") from None


def _bare_pooling(folder: Path) -> str:
    config = read_json(folder / "config.json", {})
    causal = [name for name in config.get("architectures") or [] if name.endswith("ForCausalLM")][:1]
    return "lasttoken" if causal and config.get("is_causal", True) else "mean"


def _pooling(config: Mapping[str, Any], name: str) -> str:
    """As `1_Pooling/config.json` says it: one name or several, before 5.3 a switch for each."""
    modes = config.get("pooling_mode")
    if modes is None:
        modes = [mode for mode, switch in SWITCHES.items() if config.get(switch)] or ["mean"]
    pooling = "+".join([modes] if isinstance(modes, str) else modes)
    if not known_pooling(pooling):
        raise DataError(
            f"模型 {name} 的池化方式 {pooling} 这里不会：会的有 {'、'.join(MAKERS_POOLINGS)}，请升级或换模型。"
        )
    return pooling


def _prompts(folder: Path, name: str) -> dict[str, Any]:
    config = read_json(folder / "config_sentence_transformers.json", {}) if (folder / "modules.json").exists() else {}
    prompts = {key: text for key, text in (config.get("prompts") or {}).items() if text is not None}
    default = config.get("default_prompt_name")
    if default and default not in prompts:
        raise DataError(f"模型 {name} 的默认提示 {default} 不在它自己的 prompts 里：请改好它的配置。")
    return {"prompts": prompts, "prompt": prompts.get(default, ""), "dim": config.get("truncate_dim")}


class Residual(nn.Module):
    """A dense layer whose input is added to what it gives."""

    def __init__(self, inner: nn.Module, own: nn.Module):
        super().__init__()
        self.inner, self.own = inner, own

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) + self.own(x)


class Normalize(nn.Module):
    """Each row at length 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(x, dim=-1)


def tail_of(makers: Makers) -> nn.Sequential:
    """What follows the pooling, (batch, pooled) -> (batch, dim). Raises DataError where weights are missing."""
    return nn.Sequential(*(_step(kind, place) for kind, place in makers.tail if kind != "Dropout")).eval()


def _step(kind: str, folder: Path) -> nn.Module:
    config = read_json(folder / "config.json", {})
    elsewhere = {config.get(name) or "sentence_embedding" for name in ("module_input_name", "module_output_name")}
    if elsewhere != {"sentence_embedding"}:
        raise DataError(f"模型的 {folder.name} 不作用在句向量上，这里不会：请用 SentenceTransformer 编码，或换模型。")
    if kind == "Normalize":
        return Normalize()
    try:
        if kind == "LayerNorm":
            layer = nn.LayerNorm(config["dimension"])
            layer.load_state_dict(_weights(folder, "norm."))
            return layer
        inner = nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
        weights = _weights(folder, "")
        inner.load_state_dict({n[7:]: t for n, t in weights.items() if n.startswith("linear.")})
        made = nn.Sequential(inner, _activation(config.get("activation_function", "torch.nn.Tanh"), folder))
        if not config.get("use_residual"):
            return made
        own = nn.Identity()
        if inner.in_features != inner.out_features:
            own = nn.Linear(inner.in_features, inner.out_features, bias=False)
            own.load_state_dict({"weight": weights["residual.weight"]})
        return Residual(made, own)
    except (KeyError, TypeError, RuntimeError, OSError, SafetensorError) as error:
        said = str(error).strip().split("\n")[-1].strip()[:120]
        raise DataError(f"模型的 {folder.name} 读不全（{said}）：请重新下载这个文件夹。") from None


def _weights(folder: Path, prefix: str) -> dict[str, torch.Tensor]:
    if not (folder / "model.safetensors").exists() and (folder / "pytorch_model.bin").exists():
        raise DataError(
            f"模型的 {folder.name} 只有 pytorch_model.bin，它是pickle，打开时会执行里面的代码，这里不读："
            "请换一个有 model.safetensors 的版本。"
        )
    return {n.removeprefix(prefix): t.float() for n, t in load_file(folder / "model.safetensors").items()}


def _activation(name: str, folder: Path) -> nn.Module:
    """An activation of torch by its full name; nothing else is ever imported."""
    module, _, kind = name.rpartition(".")
    found = getattr(importlib.import_module(module), kind, None) if module.split(".")[0] == "torch" else None
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        raise DataError(f"模型的 {folder.name} 要用 {name}，它不是torch的激活函数，这里不运行：请换模型。")
    return found()


def write_makers(
    folder: Path, pooling: str, width: int, max_length: int, *, tail: Sequence[str] = (), prompt: str = "",
    pools_prompt: bool = True, **more: Any,
) -> list[Path]:  # fmt: skip
    """Write beside weights and tokenizer what `read_makers` and SentenceTransformer read; the empty folders of the
    tail's steps, for their own files. pooling: of MAKERS_POOLINGS, or several by +. width: of a token's vector. more:
    for `config_sentence_transformers.json`."""
    kinds = ["Transformer", "Pooling", *tail]
    places = ["", *(f"{n}_{kind}" for n, kind in enumerate(kinds) if n)]
    steps = [
        {"idx": n, "name": str(n), "path": place, "type": f"sentence_transformers.models.{kind}"}
        for n, (place, kind) in enumerate(zip(places, kinds))
    ]
    for place in places[1:]:
        (folder / place).mkdir()
    write_json(folder / "modules.json", steps)
    write_json(folder / LENGTH_FILES[0], {"max_seq_length": max_length, "do_lower_case": False})
    modes = pooling.split("+")
    how: dict[str, Any] = {switch: mode in modes for mode, switch in SWITCHES.items()}
    if modes != [mode for mode in SWITCHES if mode in modes]:  # switches know one order alone
        how = {"pooling_mode": modes}
    about = {"word_embedding_dimension": width, **how, "include_prompt": pools_prompt}
    write_json(folder / places[1] / "config.json", about)
    prompts = {"prompts": {"item": prompt}, "default_prompt_name": "item"} if prompt else {}
    if prompts or more:
        write_json(folder / "config_sentence_transformers.json", {**more, **prompts})
    return [folder / place for place in places[2:]]


def copy_makers(source: Path, target: Path) -> None:
    """The same beside other weights of the same model, e.g. those of a training that went on from it."""
    steps = read_json(source / "modules.json", [])
    if not steps or steps[0].get("path"):  # weights in a folder of their own: the other ones aren't there
        return
    for path in (source / str(step["path"]) for step in steps[1:]):
        if path.is_dir():
            shutil.copytree(path, target / path.name)
    for name in ("modules.json", "config_sentence_transformers.json", *LENGTH_FILES):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
