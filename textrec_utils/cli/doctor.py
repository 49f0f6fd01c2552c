"""`textrec doctor`: is everything there that the course needs?"""

import os
import platform
import shutil
from pathlib import Path

import click

from textrec_utils import __version__
from textrec_utils.core.machine import versions
from textrec_utils.core.paths import cache_dir, project_root
from textrec_utils.course.chapters import CourseError


@click.command("doctor", short_help="检查版本、字体、磁盘、数据和模型。")
def command() -> None:
    """检查版本、字体、磁盘、数据和模型。"""
    from textrec_utils.encoder import DEFAULT_MODEL, find_model, has_bf16

    problems = []
    click.echo(f"textrec {__version__}，Python {platform.python_version()}，{platform.system()} {platform.machine()}")
    click.echo("，".join(f"{k} {v}" for k, v in versions().items() if k != "python"))
    try:
        from textrec_utils.plotting import use_cjk_font

        click.echo(f"字体：{use_cjk_font()}")
    except Exception as error:  # a doctor reports, it does not die
        problems.append(f"中文字体不可用（{error}），请重装 mplfonts")
    free = shutil.disk_usage(project_root()).free / 2**30
    click.echo(f"磁盘剩余 {free:.0f} GB，缓存 {cache_dir()}")
    if free < 2:
        problems.append("磁盘剩余不到 2 GB，请先清理")
    found = Path(find_model(DEFAULT_MODEL)).is_dir()
    fast = "可用" if has_bf16() else "不可用"
    click.echo(f"模型 {DEFAULT_MODEL}：{'找到' if found else '没有找到'}；bf16 {fast}")
    if not found:
        problems.append(f"找不到 data/models/{DEFAULT_MODEL}，请重新克隆仓库")
    kept = cache_dir() / "data" / "movielens-zh" / "u.data"
    click.echo(f"MovieLens：{'已在缓存' if kept.exists() else '尚未下载（首次使用时自动取得）'}")
    click.echo(f"镜像 TEXTREC_MIRROR：{os.environ.get('TEXTREC_MIRROR') or '未设置'}")
    if problems:
        raise CourseError("；".join(problems) + "。")
    click.echo("一切就绪。下一步：textrec report 或 textrec lab")
