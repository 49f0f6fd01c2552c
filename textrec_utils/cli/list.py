"""`textrec list`: what there is."""

import csv

import click

from textrec_utils.core.paths import build_dir, project_data
from textrec_utils.course.chapters import chapters, the_report
from textrec_utils.course.meanings import SHARED, described
from textrec_utils.course.pages import is_made


@click.command("list", short_help="列出章节、参数、数据集、模型、结果表。")
def command() -> None:
    """列出章节和报告各自的参数、数据集、模型、随课程发布的结果表；报告的方法见 textrec report -h。"""
    from textrec_utils.shipped.tables import TABLES, about

    for chapter in chapters():
        page = build_dir() / "report" / f"{chapter.name}.html"
        click.echo(f"{'✓' if is_made(page) else '·'} {chapter.name:26} {chapter.title}")
        for line in described(chapter, shared=False):
            click.echo(f"    {line}")
    click.echo("\n许多章都有的参数：")
    for name, what in SHARED.items():
        click.echo(f"    {name}  {what}")
    click.echo("报告的参数：")
    for line in described(the_report()):
        click.echo(f"    {line}")
    with open(project_data() / "checksums.csv", encoding="utf-8") as file:  # every data set's files stand there
        datasets = dict.fromkeys(row["dataset"] for row in csv.DictReader(file))
    click.echo(f"数据集：{'、'.join(datasets)}，或自己的文件夹")
    models = [p.parent.name for p in sorted((project_data() / "models").glob("*/config.json"))]
    click.echo(f"自带模型：{'、'.join(models)}，或任何 Hugging Face 名字、本地文件夹")
    for name, what in TABLES.items():
        note = about(name)
        made = f"{note['date']} 用 {note['seconds']:,.0f} 秒做成" if note else f"还没有，用 textrec remake {name} 做"
        click.echo(f"结果表 {name}：{what}（{made}）")
