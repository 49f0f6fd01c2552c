"""What a pretraining run depends on, read from a TOML file and refused where its parts don't fit together."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from textrec_utils.core.errors import DataError
from textrec_utils.core.files import sha256_of
from textrec_utils.corpora import checked_file


@dataclass(frozen=True)
class Stage:
    """One stretch of training: so many steps with these losses.

    weights: of the losses `mlm`, `cosine`, `similarity` (both to the teacher) and `pairs`; 0 leaves one out.
    mask_rate: share of the tokens hidden from the model. clean: share of each batch's texts that stay unmasked; where
    it is above 0 only they are compared with the teacher, since later nobody hands the encoder masked texts (0: the
    teacher is compared with masked texts too, which teaches both from every text but vectors of the wrong input).
    Learning rate: linear warm-up over `warm_up_steps`, then a line to `final_share` of the peak. A stage at a constant
    rate (final_share = 1) may be made longer while it is the last that has begun; a decaying one may not.
    """

    name: str
    steps: int
    learning_rate: float
    batch_size: int = 128
    pair_batch: int = 64
    mask_rate: float = 0.15
    clean: float = 0.0
    warm_up_steps: int = 0
    final_share: float = 0.0
    weights: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        unknown = set(self.weights) - {"mlm", "cosine", "similarity", "pairs"}
        if unknown:
            names = "、".join(sorted(unknown))
            raise DataError(f"阶段 {self.name} 的 weights 里没有 {names}；有 mlm、cosine、similarity、pairs。")
        if not 0 <= self.clean < 1:
            raise DataError(f"阶段 {self.name} 的 clean 是 {self.clean}：它是不遮的文本的比例，从 0 到 1（不含 1）。")

    def rate(self, step: int) -> float:
        """Learning rate at a step of the stage."""
        warm = self.warm_up_steps
        if step < warm:
            return self.learning_rate * ((step + 1) / warm)
        return self.learning_rate * (1 - (1 - self.final_share) * (step - warm) / max(1, self.steps - warm))


@dataclass(frozen=True)
class PretrainConfig:
    """What a pretraining run depends on; `read_config` reads it from a TOML file.

    corpus: text files (one sentence a line, .xz allowed) under the corpora folder, with their SHA-256.
    pairs: files of labelled sentence pairs, likewise. center: the one of them whose sentences' mean vector the exported
    model has taken away ("": a sample of the corpus). model: fields of `transformers.BertConfig`.
    teacher: name or folder of any encoder that `Encoder` takes; empty for masked language modelling alone.
    vocabulary: a vocab.txt to use as it is, beside the config file; empty: one is trained.
    joined: this many long texts are made by joining sentences, so that late positions are trained too.
    interpolation: a; exported are (1 − a) · the weights before the last stage + a · those at its end (WiSE-FT,
    Wortsman et al. 2022): what a short tuning adds, with less of what it makes the model forget. 1: the end's alone.
    """

    corpus: dict[str, str]
    stages: tuple[Stage, ...]
    model: dict[str, int]
    seed: int = 0
    vocabulary: str = ""
    vocab_size: int = 8192
    min_frequency: int = 2
    held_out: int = 2000
    joined: int = 0
    max_length: int = 256
    teacher: str = ""
    teacher_prefix: str = ""
    pairs: dict[str, str] = field(default_factory=dict)
    center: str = ""
    interpolation: float = 1.0
    bank: int = 2048
    temperature: float = 0.05
    weight_decay: float = 0.01


def read_config(path: Path | str) -> PretrainConfig:
    """Read a run's TOML file. Raises DataError that names the file and the unknown or missing key."""
    path = Path(path)
    known = "data/models/mini-bert-zh/pretrain.toml"
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        raw["stages"] = tuple(Stage(**stage) for stage in raw.get("stages", []))
        config = PretrainConfig(**raw)
        if not all(isinstance(part, dict) for part in (config.corpus, config.model, config.pairs)):
            raise TypeError("corpus、model、pairs 应是表，例如 [corpus]")
        if config.vocabulary:
            config = dataclasses.replace(config, vocabulary=str(checked_file(path.parent / config.vocabulary, "")))
    except FileNotFoundError:
        raise DataError(f"找不到配置文件 {path}。") from None
    except OSError as error:
        raise DataError(f"配置文件 {path} 读不了（{error.strerror}）：给一个TOML文件，可参照 {known}。") from None
    except UnicodeDecodeError:
        raise DataError(f"配置文件 {path.name} 不是UTF-8：请用编辑器另存为UTF-8。") from None
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise DataError(f"配置文件 {path.name} 读不懂：{error}。可参照 {known}。") from None
    if not config.stages:
        raise DataError(f"配置文件 {path.name} 里没有 [[stages]]：至少要有一个训练阶段。")
    return config


# Whole numbers and their least values; then numbers and the range they lie in.
_LEAST = {
    "seed": 0, "vocab_size": 6, "min_frequency": 1, "held_out": 1, "joined": 0, "max_length": 3, "bank": 0,
    "steps": 1, "batch_size": 1, "pair_batch": 1, "warm_up_steps": 0, "hidden_size": 1, "num_hidden_layers": 1,
    "num_attention_heads": 1, "intermediate_size": 1, "max_position_embeddings": 3,
}  # fmt: skip
_RANGE = {
    "interpolation": (0, 1), "temperature": (1e-6, math.inf), "weight_decay": (0, math.inf),
    "learning_rate": (0, math.inf), "mask_rate": (0, 1), "final_share": (0, 1),
}  # fmt: skip


def _check_numbers(where: str, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        whole = isinstance(value, int) and not isinstance(value, bool)
        if name in _LEAST and not (whole and value >= _LEAST[name]):
            raise DataError(f"{where} {name} 是 {value!r}：它应是整数，至少 {_LEAST[name]}。")
        low, high = _RANGE.get(name, (0, 0))
        number = (whole or isinstance(value, float)) and math.isfinite(value)
        if name in _RANGE and not (number and low <= value <= high):
            up_to = f"从 {low} 到 {high}" if high < math.inf else "有限，不小于 0" if not low else "有限，大于 0"
            raise DataError(f"{where} {name} 是 {value!r}：它应是一个数，{up_to}。")


def check_config(config: PretrainConfig, teacher: str = "") -> None:
    """Refuse numbers that no training can have, and stages that ask for what the configuration doesn't give."""
    _check_numbers("配置里的", vars(config))
    _check_numbers("[model] 里的", config.model)
    width, heads = config.model.get("hidden_size", 768), config.model.get("num_attention_heads", 12)  # BERT's own
    if width % heads:
        raise DataError(f"[model] 里的 hidden_size = {width} 不是 num_attention_heads = {heads} 的倍数：改其中一个。")
    for stage in config.stages:
        _check_numbers(f"阶段 {stage.name} 的", vars(stage))
        asked = {name for name, weight in stage.weights.items() if weight}
        if not asked:
            raise DataError(f"阶段 {stage.name} 没有一项损失的权重大于 0：在 weights 里至少给一项。")
        if asked & {"cosine", "similarity"} and not (teacher or config.teacher):
            wanted = "给一个编码器的名字或文件夹，或把 cosine、similarity 设为 0"
            raise DataError(f"阶段 {stage.name} 要向教师蒸馏，配置里却没有 teacher：{wanted}。")
        if "pairs" in asked and not config.pairs:
            raise DataError(f"阶段 {stage.name} 要用句对，配置里却没有 [pairs]：补上文件，或把 pairs 设为 0。")
    if config.center and config.center not in config.pairs:
        raise DataError(f"center 是 {config.center}，[pairs] 里却没有这个文件：改成其中一个，或删去 center。")
    if config.max_length > config.model.get("max_position_embeddings", 512):
        raise DataError(
            f"max_length = {config.max_length} 超过了模型的位置上限 max_position_embeddings：改小前者或改大后者。"
        )


def config_key(config: PretrainConfig) -> str:
    """Checksum of the configuration less its stages, see `stages_key`, and less what is only asked at the export."""
    parts = dataclasses.asdict(config)
    for name in ("stages", "vocabulary", "center", "interpolation"):  # the vocabulary in use stands in the folder
        del parts[name]
    return sha256_of(json.dumps(parts, sort_keys=True).encode())


def stages_key(stages: tuple[Stage, ...], step: int) -> str:
    """Checksum of the stages that have begun by `step`: those ahead may still change.

    Of a stage at a constant rate that is under way nothing done so far depends on its length: it may be made longer.
    """
    begun = []
    for stage in stages:
        if step <= 0:
            break
        begun.append(dataclasses.asdict(stage))
        if step <= stage.steps and stage.final_share == 1:
            del begun[-1]["steps"]
        step -= stage.steps
    return sha256_of(json.dumps(begun, sort_keys=True).encode())
