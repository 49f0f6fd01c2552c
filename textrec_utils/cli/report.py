"""`textrec report`: the report on one's own data, with one's own parameters."""

import click

from textrec_utils.cli import parameters
from textrec_utils.cli.run import finish
from textrec_utils.course.chapters import CourseError, chosen, slug_of, the_report
from textrec_utils.course.jobs import run_many
from textrec_utils.course.runner import unchanged


def _settings() -> list[str]:
    from textrec_utils.report import PROFILES, methods_of

    profiles = [f"  {p}  {name}：{'、'.join(m.label for m in methods_of(p))}" for p, name in PROFILES.items()]
    return ["-p 的名字和默认值：", f"  {parameters.defaults(the_report())}", "profile 的方法：", *profiles]


@click.command("report", cls=parameters.WithParameters, settings=_settings, short_help="按参数生成报告。")
@parameters.option
@parameters.force
def command(pairs, force: bool) -> None:
    """按参数生成报告，例如 textrec report -p dataset caixin -p k 20；参数、默认值和方法见下面。"""
    ((report, given),) = chosen(("report",), pairs)
    if given and (force or not unchanged(report, given, slug_of(report, given))):
        _check(report.parameters() | given)
        if "model" in given:
            from textrec_utils.encoder import Encoder

            Encoder(str(given["model"]))
    finish(run_many(("report",), pairs, force))


def _check(values: dict) -> None:
    """What the data or the split can't do is told before a kernel starts."""
    from textrec_utils.datasets import load_dataset
    from textrec_utils.report import Report, open_split, threshold

    dataset = load_dataset(values["dataset"])
    if values["k"] > len(dataset.items):
        raise CourseError(f"report 的参数 k 至多是物品总数 {len(dataset.items)}，得到 {values['k']}。")
    asked = {"min_value": threshold(values.get("min_value", "auto")), "seed": values.get("seed", 0)}
    split = open_split(dataset, values.get("split", "auto"), **asked)
    for sentence in Report(split, values.get("profile", "full")).no_room_words():
        click.echo(f"注意：{sentence}。")
