"""Pretrained models by name: those that come with the course, a folder, the hub. Never a pickle, never remote code."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError

from textrec_utils.core.errors import DataError
from textrec_utils.core.files import sha256_of
from textrec_utils.core.paths import project_data
from textrec_utils.encoder.makers import read_json, read_makers
from textrec_utils.encoder.refusals import check_files, of_hub, of_loading

DEFAULT_MODEL = "mini-bert-zh"
READ = ["*.json", "*.txt", "*.model", "*.safetensors"]  # of a model on the hub
NOT_READ = ["onnx/*", "openvino/*", "*.bin", "*/checkpoint-*"]


def _shipped(name: str) -> Path | None:
    try:
        folder = project_data() / "models" / name
    except DataError:  # a plain wheel; any other model can still be had
        if name == DEFAULT_MODEL:
            raise
        return None
    return folder if Path(name).name == name and (folder / "config.json").is_file() else None


def find_model(name: str) -> str:
    """The folder of a model, or its hub name where no folder has it.

    Looked for in this order: `data/models/<name>`, so that a folder which happens to bear a shipped model's name
    never stands in for it (write ./name for that one), a local folder, the hub's local cache, the hub itself
    (HF_ENDPOINT is honoured). A hub name may say which revision: `owner/model@commit`.
    """
    folder = _shipped(name) or Path(name).expanduser()
    return str(folder) if any((folder / file).is_file() for file in ("config.json", "modules.json")) else name


def model_folder(name: str) -> Path:
    """The folder that holds all of a model's files, fetched where no disk has it yet; one that comes with the course
    is held against its SHA256SUMS first. Raises DataError."""
    where = Path(find_model(name))
    if _shipped(name):
        _check_sums(name, where)
    if where.is_dir():
        return where
    if not _is_hub_name(name):
        folder = Path(name).expanduser()
        raise DataError(_unreachable(name, "文件夹里没有 config.json" if folder.is_dir() else "没有这个文件夹"))
    kept = hub_snapshot(name)
    return kept if kept and _is_whole(kept, name) else _fetched(name)


def load_pretrained(name: str, auto_class, **options):
    """`auto_class.from_pretrained` by our order, safetensors only, no remote code; one sentence if it fails.

    Of an encoder–decoder the encoder alone. Raises DataError, also where the file lacks weights of the model: they
    would be drawn at random. What a head for a new task lacks, and a pooler, which we never use, may be drawn.
    """
    whole = model_folder(name)
    folder = read_makers(whole, name).transformer
    check_files(folder, name)
    weights = auto_class.__name__ not in ("AutoTokenizer", "AutoConfig")
    try:
        if weights:
            options |= {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
        made = _encoder_of(folder, auto_class).from_pretrained(
            folder, trust_remote_code=False, local_files_only=True, **options
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError,
            SafetensorError) as error:  # fmt: skip
        why = of_loading(error, folder, name)
        raise DataError(why or _unreachable(name, str(error).strip().split("\n")[0][:160])) from None
    # Without its files a tokenizer is made all the same, of special pieces alone: every word would be unknown.
    if auto_class.__name__ == "AutoTokenizer" and len(made) <= len(made.all_special_ids):
        raise DataError(of_loading(OSError(), folder, name) or _unreachable(name, "没有分词器的词表"))
    if not weights:
        return made
    model, found = made
    _check_weights(name, model, found, auto_class)
    return model


def _encoder_of(folder: Path, auto_class):
    """The class that loads it: of the T5 family without the decoder, as SentenceTransformer takes it."""
    if auto_class.__name__ != "AutoModel":
        return auto_class
    import transformers

    kind = {"t5": "T5", "mt5": "MT5", "umt5": "UMT5", "longt5": "LongT5"}.get(
        read_json(folder / "config.json", {}).get("model_type")
    )
    return getattr(transformers, f"{kind}EncoderModel") if kind else auto_class


def _check_weights(name: str, model, found: Mapping, auto_class) -> None:
    lacking = {key for key in found["missing_keys"] if "pooler." not in key}
    lacking |= {str(key[0] if isinstance(key, (tuple, list)) else key) for key in found["mismatched_keys"]}
    if auto_class.__name__ not in ("AutoModel", "AutoModelForMaskedLM"):  # a head for a new task is drawn
        lacking = {key for key in lacking if key.startswith(f"{model.base_model_prefix}.")}
    if lacking:
        first, more = min(lacking), f" 等 {len(lacking)} 项" if len(lacking) > 1 else ""
        raise DataError(
            f"模型 {name} 的权重不全，缺 {first}{more}，补上的只能是随机数：请重新下载，或换一个完整的模型。"
        )


def hub_snapshot(name: str) -> Path | None:
    """The folder in which the hub's local cache keeps `owner/model` or `owner/model@revision`; it bears the commit's
    name. None where the cache doesn't have it."""
    from huggingface_hub import snapshot_download

    model, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(model, revision=revision or None, local_files_only=True))
    except (OSError, ValueError):
        return None


def _check_sums(name: str, folder: Path) -> None:
    sums = folder / "SHA256SUMS"
    listed = [line.split() for line in sums.read_text().splitlines()] if sums.is_file() else []
    for digest, file in listed or [("", sums.name)]:
        try:
            about = (folder / file).stat()
            whole = _sum_of(folder / file, about.st_size, about.st_mtime_ns) == digest
        except OSError:
            whole = False
        if not whole:
            raise DataError(
                f"课程自带的模型 {name} 已损坏（{file} 与 SHA256SUMS 不符）：请重新克隆课程，"
                f"或用 git checkout -- data/models/{name} 取回原来的文件。"
            )


@cache
def _sum_of(path: Path, size: int, changed: int) -> str:
    return sha256_of(path)


def _is_whole(snapshot: Path, name: str) -> bool:
    """Does the hub's local cache hold all of a model that we read? Programs that fetch the weights alone leave out what
    the makers say of pooling; that a model has none of it the cache knows, where somebody has asked."""
    from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache

    if not any(snapshot.rglob("*.safetensors")):
        return False
    steps = read_json(snapshot / "modules.json", None)
    if steps is not None:
        places = [snapshot / step["path"] for step in steps if step["path"] and "Normalize" not in step["type"]]
        return all((place / "config.json").exists() for place in places)
    asked = try_to_load_from_cache(name.partition("@")[0], "modules.json", revision=snapshot.name)
    return asked is _CACHED_NO_EXIST


def _fetched(name: str) -> Path:
    """The model's files from the hub: one short question whether it has them, since loading would try again and again
    for half a minute. Raises DataError."""
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError

    model, _, revision = name.partition("@")
    which = {"revision": revision or None}  # by the name that is asked for: the cache keeps where it pointed
    try:
        HfApi().model_info(model, **which, timeout=10)
        folder = snapshot_download(model, **which, allow_patterns=READ, ignore_patterns=NOT_READ)
        with suppress(EntryNotFoundError):  # the cache remembers that there is none
            hf_hub_download(model, "modules.json", **which)
        return Path(folder)
    except Exception as error:  # offline, no such model, gated: each class has its own name
        why = of_hub(error, name, DEFAULT_MODEL)
        kept = hub_snapshot(name)
        if not why and kept and any(kept.rglob("*.safetensors")):
            why = (
                f"本机缓存里的模型 {name} 不全，看不出制作者怎样池化，又连不上模型站（{type(error).__name__}）："
                "请联网再运行一次，把它补全。"
            )
        raise DataError(why or _unreachable(name, f"模型站没有给出它：{type(error).__name__}")) from None


def _is_hub_name(name: str) -> bool:
    return not name.startswith((".", "/", "~")) and "\\" not in name


def _unreachable(name: str, why: str) -> str:
    first = "重新克隆课程" if name == DEFAULT_MODEL else f"用课程自带的 {DEFAULT_MODEL}"
    return (
        f"模型 {name} 取不到（{why}）。三个办法：{first}；"
        "给一个装有 config.json 和 model.safetensors 的本地文件夹；联网后重试（可设 HF_ENDPOINT 指向镜像站）。"
    )


class quiet_loading:
    """Hold back transformers' loading bars and reports on heads that we leave out on purpose."""

    def __enter__(self):
        from transformers.utils import logging

        self._level, self._bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()

    def __exit__(self, *exc):
        from transformers.utils import logging

        logging.set_verbosity(self._level)
        if self._bars:
            logging.enable_progress_bar()
