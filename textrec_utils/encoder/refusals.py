"""Why a model can't be had, in one sentence with its own remedy: each cause was met, and each has another way out."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from textrec_utils.core.errors import DataError
from textrec_utils.encoder.makers import read_json

LFS = b"version https://git-lfs"  # how a pointer begins that stands where a file should be
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
PIECES = ("sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "sentencepiece.model")
PROXIES = ("all_proxy", "https_proxy", "http_proxy")


def check_files(folder: Path, name: str) -> None:
    """Refuse what can be seen before anything is loaded. folder: of the weights. Raises DataError."""
    if not (folder / "config.json").is_file():
        raise DataError(
            f"模型 {name} 的文件夹里没有 config.json，不知道是什么模型：请给 transformers 存下的整个文件夹。"
        )
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        with open(path, "rb") as file:
            if file.read(len(LFS)) == LFS:
                raise DataError(
                    f"模型 {name} 的 {path.name} 是Git LFS的指针，不是文件本身：请装好 git-lfs，"
                    "在那个文件夹里运行 git lfs pull，或重新下载它。"
                )
    if any(folder.glob("*.safetensors")):
        return
    for path in (path for kind in PICKLES for path in sorted(folder.glob(kind))):
        raise DataError(
            f"模型 {name} 只有 {path.name}，没有 model.safetensors；前者是pickle，打开时会执行里面的代码，这里不读："
            "请换一个有 safetensors 的版本，或在你信任它的机器上用 save_pretrained 另存一次。"
        )


def of_loading(error: Exception, folder: Path, name: str) -> str:
    """What transformers said, made a sentence. folder: from which it tried to load."""
    told = " ".join(str(error).split())
    pieces = [file for file in PIECES if (folder / file).exists()]
    if pieces and not (folder / "tokenizer.json").exists() and not importlib.util.find_spec("sentencepiece"):
        return (
            f"模型 {name} 的分词器只有 {pieces[0]}，读它要 sentencepiece：请 pip install sentencepiece protobuf，"
            "或换一个带 tokenizer.json 的版本。"
        )
    if isinstance(error, SafetensorError):
        return f"模型 {name} 的权重文件不完整，也许下载时断了：请重新下载。"
    if "mismatched" in told or "size mismatch" in told:
        return f"模型 {name} 的权重和 config.json 对不上，大小不同：请从同一个地方重新下载两个文件。"
    if "trust_remote_code" in told or "custom code" in told or read_json(folder / "config.json", {}).get("auto_map"):
        return f"模型 {name} 要运行它自带的代码，这里从不运行别人的代码：请换一个 transformers 自带结构的模型。"
    if "does not recognize this architecture" in told or "Unrecognized model" in told:
        return (
            f"模型 {name} 的结构这个版本的 transformers 不认识：请升级 transformers，或检查 config.json 的 model_type。"
        )
    missing = [part for part in ("sentencepiece", "tiktoken", "protobuf") if part in told]
    if isinstance(error, ImportError) and missing:
        return f"读模型 {name} 的分词器要 {missing[0]}：请 pip install {missing[0]}。"
    return ""


def of_hub(error: Exception, name: str, default: str) -> str:
    """Why the hub didn't give a model. default: the model that comes with the course."""
    kinds = {type(part).__name__ for part in _causes(error)}
    elsewhere = f"用课程自带的 {default}，或给一个装有 config.json 和 model.safetensors 的本地文件夹"
    socks = next((v for v in _proxies() if v.startswith("socks")), "")
    if socks and any("socksio" in str(part) for part in _causes(error)):
        return (
            f"要经SOCKS代理（{socks}）去取模型 {name}，却没有装 socksio：请 pip install socksio，或去掉代理的环境变量。"
        )
    if "GatedRepoError" in kinds:
        return f"模型 {name} 要先在模型站同意它的条款：同意后用 hf auth login 登录，或{elsewhere}。"
    if "RevisionNotFoundError" in kinds:
        return f"模型站上的 {name.partition('@')[0]} 没有版本 {name.partition('@')[2]}：请检查 @ 后面写的版本。"
    if kinds & {"RepositoryNotFoundError", "HFValidationError"}:
        return f"模型站上没有 {name}，本地也没有这个文件夹：请检查拼写（私有的模型要先 hf auth login），或{elsewhere}。"
    if "ProxyError" in kinds:
        return f"代理 {'、'.join(_proxies())} 没有接通，取不到模型 {name}：请检查代理的环境变量，或{elsewhere}。"
    return ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _proxies() -> list[str]:
    return [value for name in PROXIES if (value := os.environ.get(name) or os.environ.get(name.upper()))]
