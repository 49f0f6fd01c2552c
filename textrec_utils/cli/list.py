"""`textrec list`: what there is."""

import click

from textrec_utils.core.paths import build_dir, project_data
from textrec_utils.course.chapters import FILLED, Chapter, chapters, the_report


def _shown(chapter: Chapter) -> str:
    """What may be given with -p, with the defaults."""
    taken = {name: value for name, value in chapter.parameters().items() if name not in FILLED}
    return "，".join(f"{name}={value!r}" for name, value in taken.items())


@click.command("list", short_help="列出章节、参数、方法、数据集、模型、结果表。")
def command() -> None:
    """列出章节和报告各自的参数、报告的方法、数据集、模型、随课程发布的结果表。"""
    from textrec_utils.datasets import DATASETS
    from textrec_utils.report import PROFILES, methods_of
    from textrec_utils.shipped import TABLES, about

    for chapter in chapters():
        page = build_dir() / "report" / f"{chapter.name}.html"
        click.echo(f"{'✓' if page.exists() else '·'} {chapter.name:26} {chapter.title}")
        if chapter.parameters():
            click.echo(f"    {_shown(chapter)}")
    click.echo(f"\n报告参数：{_shown(the_report())}")
    for profile, name in PROFILES.items():
        click.echo(f"{name}方案 profile={profile}：{'、'.join(method.label for method in methods_of(profile))}")
    click.echo(f"数据集：{'、'.join(DATASETS)}，或自己的文件夹")
    models = [p.parent.name for p in sorted((project_data() / "models").glob("*/config.json"))]
    click.echo(f"自带模型：{'、'.join(models)}，或任何 Hugging Face 名字、本地文件夹")
    for name, what in TABLES.items():
        note = about(name)
        made = f"{note['date']} 用 {note['seconds']:,.0f} 秒做成" if note else f"还没有，用 textrec remake {name} 做"
        click.echo(f"结果表 {name}：{what}（{made}）")
