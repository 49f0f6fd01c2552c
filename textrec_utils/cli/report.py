"""`textrec report`: the report on one's own data, with one's own parameters."""

import json
from pathlib import Path

import click

from textrec_utils.cli import parameters
from textrec_utils.cli.profiles import profiles
from textrec_utils.cli.run import finish
from textrec_utils.course.chapters import CourseError, chosen, slug_of, the_report
from textrec_utils.course.jobs import run_many
from textrec_utils.course.meanings import described
from textrec_utils.course.runner import summary_path, unchanged

BARS = (
    "--check 的文件，例如（指标至少这么高，时间和内存至多这么多；过了退出状态是0，没过是1，别的错是2）：",
    "  users = 200             # 至少几位测试用户；cautions：至多几条“当心”",
    "  [ship]                  # 先上的方法；也可以是 first（验证集上最好的）、text、behaviour 或方法的键，如 ease",
    '  "ndcg@10" = 0.08        # 报告里的任何一个指标',
    "  seconds = 120           # 还有 peak_mb、request_ms、resident_mb",
)


def _settings() -> list[str]:
    listed = [f"  {key}  {name}：{'、'.join(labels)}" for key, name, labels in profiles()]
    own = [f"  {line}" for line in described(the_report())]
    return ["-p 的名字、默认值、含义：", *own, "profile 的方法：", *listed, *BARS]


@click.command("report", cls=parameters.WithParameters, settings=_settings, short_help="按参数生成报告。")
@parameters.option
@parameters.params
@parameters.force
@click.option("--check", "bars", default="", metavar="文件", help="TOML文件，写着指标的门槛；不够时退出状态是1。")
def command(pairs, file: str, force: bool, bars: str) -> None:
    """按参数生成报告，例如 textrec report -p dataset caixin -p k 20；参数、默认值和方法见下面。

    页面旁边还有同名的 .json：结论、主表和区间、参数、版本、校验和、用时，给程序读。
    """
    pairs = [*(parameters.from_file(file) if file else ()), *pairs]
    wanted = _bars(bars) if bars else {}  # a wrong file is told before minutes of work
    ((report, given),) = chosen(("report",), pairs)
    if given and (force or not unchanged(report, given, slug_of(report, given))):
        _check(report.parameters() | given)
        if reads := {name: given[name] for name in ("prefix", "pooling", "max_length") if name in given} | (
            {"name": given["model"]} if "model" in given else {}
        ):
            from textrec_utils.encoder import Encoder

            Encoder(**reads)
    finish(run_many(("report",), pairs, force))
    if wanted:
        _hold_to(wanted, summary_path(slug_of(report, given)))


def _bars(path: str) -> dict:
    from textrec_utils.report.summary import read_bars

    return read_bars(path)


def _hold_to(bars: dict, path: Path) -> None:
    """Exit status 1, and what is not cleared, where a report misses a bar."""
    from textrec_utils.report.summary import missed

    if told := missed(json.loads(path.read_text(encoding="utf-8")), bars):
        for sentence in told:
            click.echo(f"没有过门槛：{sentence}。", err=True)
        raise click.exceptions.Exit(1)
    click.echo("门槛都过了。")


def _check(values: dict) -> None:
    """What the data or the split can't do is told before a kernel starts."""
    from textrec_utils.datasets import load_dataset
    from textrec_utils.report import Report, open_split, threshold

    dataset = load_dataset(values["dataset"], on_missing=values.get("on_missing", "refuse"))
    if values["k"] > len(dataset.items):
        raise CourseError(f"report 的参数 k 至多是物品总数 {len(dataset.items)}，得到 {values['k']}。")
    asked = {"min_value": threshold(values.get("min_value", "auto")), "seed": values.get("seed", 0)}
    split = open_split(dataset, values.get("split", "auto"), **asked)
    for sentence in Report(split, values.get("profile", "full")).no_room_words():
        click.echo(f"注意：{sentence}。")
