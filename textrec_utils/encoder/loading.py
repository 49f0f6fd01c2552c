"""Pretrained models by name: those that come with the course, a folder, the hub. Never a pickle, never remote code."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError

from textrec_utils.core.errors import DataError
from textrec_utils.core.files import sha256_of
from textrec_utils.core.paths import project_data

DEFAULT_MODEL = "mini-bert-zh"


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
    return str(folder) if (folder / "config.json").is_file() else name


def load_pretrained(name: str, auto_class, **options):
    """`auto_class.from_pretrained` by our order, safetensors only, no remote code; one sentence if it fails.

    A model that comes with the course is held against its SHA256SUMS first. Raises DataError.
    """
    where = find_model(name)
    if auto_class.__name__ not in ("AutoTokenizer", "AutoConfig"):
        options |= {"use_safetensors": True, "dtype": torch.float32}
    if _shipped(name):
        _check_sums(name, Path(where))
    if not Path(where).is_dir():
        if not _is_hub_name(name):
            raise DataError(_unreachable(name, "没有这个文件夹"))
        if kept := hub_snapshot(name):
            try:
                return _loaded(str(kept), auto_class, options)
            except (OSError, ValueError, SafetensorError):
                pass  # only a part of it was fetched before
        _ask_hub(name)
        where, _, revision = name.partition("@")
        options |= {"revision": revision or "main"}
    try:
        return _loaded(where, auto_class, options)
    except (OSError, ValueError, SafetensorError) as error:
        raise DataError(_unreachable(name, str(error).strip().split("\n")[0][:160])) from None


def _loaded(where: str, auto_class, options: dict):
    made = auto_class.from_pretrained(where, trust_remote_code=False, local_files_only=Path(where).is_dir(), **options)
    # Without its files a tokenizer is made all the same, of special pieces alone: every word would be unknown.
    if auto_class.__name__ == "AutoTokenizer" and len(made) <= len(made.all_special_ids):
        raise OSError("没有分词器的词表")
    return made


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


def _ask_hub(name: str) -> None:
    """One short question whether the hub has this model; loading would try again and again for half a minute."""
    from huggingface_hub import HfApi

    model, _, revision = name.partition("@")
    try:
        HfApi().model_info(model, revision=revision or None, timeout=10)
    except Exception as error:  # offline, no such model, gated: each class has its own name
        raise DataError(_unreachable(name, f"模型站没有给出它：{type(error).__name__}")) from None


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
