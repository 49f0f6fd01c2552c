"""`textrec export`: a method of the report as one folder that others serve from."""

import click

from textrec_utils.cli import parameters
from textrec_utils.cli.recommend import settings, trained


@click.command("export", cls=parameters.WithParameters, settings=settings, short_help="把一个方法导出成一个文件夹。")
@parameters.option
@click.option("--out", required=True, metavar="文件夹", help="写到哪里；我们写的旧文件夹会整个换掉。")
@click.option("--all-data", is_flag=True, help="用全部数据训练；不给就只用训练部分，和报告评测的一样。")
def command(pairs, out: str, all_data: bool) -> None:
    """把报告里的一个方法训练好，导出成一个文件夹，例如 textrec export -p method ease --all-data --out build/ease。

    里面有物品编号、向量或矩阵、用户向量的算法、版本、校验和、说明，和不装本课程也能运行的例子（分数是一次乘法的方法）。
    """
    from textrec_utils.export import check_folder
    from textrec_utils.serving import save
    from textrec_utils.serving.bundle import NOTE

    check_folder(out, NOTE)  # before the training
    try:
        service = trained("export", pairs, all_data)
        folder = save(service, out)
    except KeyboardInterrupt as stop:
        kept = f"{out} 没有动；选好的设置和训练好的模型都在缓存里，同样的命令再运行一次很快就到这里。"
        raise type(stop)(f"已中断：{kept}") from None
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    click.echo(f"{folder}：{service.label}，{size / 2**20:.1f} MB；怎样用见其中的 README.md 和 example.py。")


command.writes_to = "--out"
