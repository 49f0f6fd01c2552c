"""`textrec run`: chapters executed and shown."""

import click

from textrec_utils.cli import parameters
from textrec_utils.core.paths import build_dir
from textrec_utils.course.chapters import CourseError, chapters
from textrec_utils.course.jobs import run_many
from textrec_utils.course.meanings import described
from textrec_utils.course.runner import Outcome


def _settings() -> list[str]:
    lines = ["每一章自己的参数、默认值、含义（报告的见 textrec report -h）："]
    for chapter in chapters():
        lines += [f"  {chapter.name}", *(f"    {line}" for line in described(chapter))]
    return lines


@click.command("run", cls=parameters.WithParameters, settings=_settings, short_help="运行章节，默认全部和报告。")
@click.argument("words", nargs=-1, metavar="[章节]…")
@parameters.option
@parameters.force
@click.option("--jobs", default=0, type=click.IntRange(0), help="同时跑几章；默认和处理器的核一样多，内存不够就少些。")
def command(words: tuple[str, ...], pairs, force: bool, jobs: int) -> None:
    """运行章节（默认全部和报告，几章同时），例如 textrec run 03 05，或 textrec run 00 -p k 3；参数见 textrec list。"""
    finish(run_many(words, pairs, force, jobs))


def finish(outcomes: list[Outcome]) -> None:
    """Say where the pages are; CourseError where a notebook failed."""
    click.echo(f"请打开 {build_dir() / 'report' / 'index.html'}")
    failed = [o.name for o in outcomes if o.error]
    if failed:
        raise CourseError(f"{'、'.join(failed)} 没有跑完，其余结果都已保留。")
