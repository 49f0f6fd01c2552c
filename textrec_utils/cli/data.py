"""`textrec data`: one dataset fetched and checked."""

import click


@click.command("data", short_help="取得并检查一个数据集。")
@click.argument("name", metavar="数据集")
def command(name: str) -> None:
    """取得并检查一个数据集（名字或文件夹）。"""
    from textrec_utils.datasets import load_dataset

    data = load_dataset(name)
    users, items, interactions = (len(table) for table in (data.users, data.items, data.interactions))
    click.echo(f"{data.name}：{users:,} 用户，{items:,} 物品，{interactions:,} 交互")
    click.echo(f"来源：{data.source}\n许可：{data.licence}\n校验和：{data.checksum()}")
    for sentence in data.removed:
        click.echo(f"注意：{sentence}")


command.writes_to = "TEXTREC_CACHE"
