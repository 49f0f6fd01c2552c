"""`textrec remake`: a shipped table of results made anew."""

import click

from textrec_utils.cli import parameters


@click.command("remake", short_help="重做随课程发布的结果表。")
@click.argument("names", nargs=-1, required=True, metavar="表…")
@parameters.force
def command(names: tuple[str, ...], force: bool) -> None:
    """重做 data/results 里的表；有哪些表、各要多久见 textrec list。可以中断，再运行就接着来。"""
    from textrec_utils.shipped.remake import remake
    from textrec_utils.shipped.tables import about, path_of

    for name in names:
        about(name)  # a wrong name is told before hours of work
    for name in names:
        try:
            new = remake(name, click.echo, force=force)
        except KeyboardInterrupt as stop:
            raise type(stop)("已中断：做完的部分都存下了；同样的命令再运行一次就接着来。") from None
        click.echo(f"{path_of(name)}：{'已重做' if new else '代码、设置和各个库都没变，不用重做'}")


command.writes_to = "TEXTREC_CACHE"
