"""`textrec doctor`: is everything there that the course needs? Each thing is tried, not looked up."""

import os
import platform
import warnings
from pathlib import Path

import click

from textrec_utils import __version__
from textrec_utils.core.errors import TextrecError
from textrec_utils.core.files import why_not_kept
from textrec_utils.core.machine import versions
from textrec_utils.core.paths import build_dir, cache_dir
from textrec_utils.course.chapters import CourseError

ROOM = 2 * 2**30  # bytes that should be free


class Ill(Exception):
    """What is wrong and how to mend it, in one sentence."""


def _kept(folder: Path, name: str) -> str:
    if why := why_not_kept(folder, ROOM):
        raise Ill(f"{why}；请腾出空间、改好权限，或用 {name} 换一个文件夹")
    return f"{folder}，写得进"


def _font() -> str:
    """Drawn: a letter that the font lacks is a warning."""
    from textrec_utils.plotting import plt, use_cjk_font

    name = use_cjk_font()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plt.figure(figsize=(1, 1))
        figure.text(0, 0, "推荐，“−1”β")
        figure.canvas.draw()
        plt.close(figure)
    return name


def _kernel() -> str:
    from textrec_utils.course.runner import try_kernel

    return f"{try_kernel()}，跑得起来，画得出图"


def _model() -> str:
    from textrec_utils.encoder import DEFAULT_MODEL, Encoder, has_bf16

    Encoder(DEFAULT_MODEL).encode(["推荐"])
    return f"{DEFAULT_MODEL}，编码得出；bf16 {'可用' if has_bf16() else '不可用'}"


def _shipped_data() -> str:
    from textrec_utils.datasets import load_dataset

    load_dataset("kuairec")
    return "kuairec 读得进，校验和相符"


def _movielens() -> str:
    from textrec_utils.datasets import load_dataset

    if not (cache_dir() / "data" / "movielens-zh").is_dir():
        return "尚未下载（首次使用时自动取得）"
    load_dataset("movielens-zh")
    return "已在缓存，校验和相符"


CHECKS = {  # what, how, and what to do where the check itself breaks
    "字体": (_font, "请重装 mplfonts"),
    "缓存文件夹": (lambda: _kept(cache_dir(), "TEXTREC_CACHE"), "请用 TEXTREC_CACHE 换一个文件夹"),
    "报告文件夹": (lambda: _kept(build_dir(), "TEXTREC_BUILD"), "请用 TEXTREC_BUILD 换一个文件夹"),
    "内核": (_kernel, "请在这个环境里重装 ipykernel 和 matplotlib-inline"),
    "模型": (_model, "请重新克隆仓库"),
    "自带的数据": (_shipped_data, "请重新克隆仓库"),
    "MovieLens": (_movielens, "请删掉缓存里的 data/movielens-zh，它会重新下载"),
}


@click.command("doctor", short_help="逐样试一遍：字体、文件夹、内核、模型、数据。")
def command() -> None:
    """逐样试一遍：字体画不画得出，缓存和报告的文件夹写不写得进，内核跑不跑得起来，模型和数据读不读得进。"""
    problems = []
    click.echo(f"textrec {__version__}，Python {platform.python_version()}，{platform.system()} {platform.machine()}")
    click.echo("，".join(f"{k} {v}" for k, v in versions().items() if k != "python"))
    for what, (check, remedy) in CHECKS.items():
        try:
            click.echo(f"{what}：{check()}")
        except Exception as error:  # a doctor reports, it does not die
            told = str(error).rstrip("。") if isinstance(error, (Ill, TextrecError)) else ""
            problems.append(f"{what}：{told or f'{remedy}（{type(error).__name__}: {error}）'}")
            click.echo(f"{what}：不行")
    click.echo(f"镜像 TEXTREC_MIRROR：{os.environ.get('TEXTREC_MIRROR') or '未设置'}")
    if problems:
        raise CourseError("；".join(" ".join(problem.split()) for problem in problems) + "。")
    click.echo("一切就绪。下一步：textrec report 或 textrec lab")
