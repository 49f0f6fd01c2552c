"""`textrec report`: the report on one's own data, with one's own parameters."""

import click

from textrec_utils.cli import parameters
from textrec_utils.cli.run import finish
from textrec_utils.course.chapters import CourseError, check_parameters, the_report
from textrec_utils.course.runner import run_many


@click.command("report", cls=parameters.WithParameters, short_help="按参数生成报告。")
@parameters.option
@parameters.force
def command(pairs, force: bool) -> None:
    """按参数生成报告，例如 textrec report -p dataset caixin -p k 20；参数和默认值见 textrec list。"""
    from textrec_utils.datasets import load_dataset
    from textrec_utils.encoder import Encoder
    from textrec_utils.report import open_split, threshold

    values = the_report().parameters() | check_parameters(the_report(), pairs)
    # What the data, the split or the model can't do is told before a kernel starts.
    dataset = load_dataset(values["dataset"])
    if values["k"] > len(dataset.items):
        raise CourseError(f"report 的参数 k 至多是物品总数 {len(dataset.items)}，得到 {values['k']}。")
    asked = {"min_value": threshold(values.get("min_value", "auto")), "seed": values.get("seed", 0)}
    open_split(dataset, values.get("split", "auto"), **asked)
    if "model" in dict(pairs):
        Encoder(str(values["model"]))
    finish(run_many(("report",), pairs, force))
