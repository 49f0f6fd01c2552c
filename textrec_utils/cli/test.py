"""`textrec test`: the tests, then every notebook's outputs."""

import os
import subprocess
import sys

import click

from textrec_utils.core.machine import cores
from textrec_utils.core.paths import notebooks_dir, project_root
from textrec_utils.course.chapters import Chapter, CourseError, usual_seconds, why_not


@click.command("test", short_help="运行全部测试，检查每个笔记本的输出。")
@click.option("--fast", is_flag=True, help="只跑单元测试，不跑笔记本。")
@click.option("--data", "only_data", is_flag=True, help="只跑要用另外取得的数据集的测试和笔记本。")
def command(fast: bool, only_data: bool) -> None:
    """运行全部测试：pytest，然后用 nbval 检查每个笔记本的输出。"""
    quiet = os.environ | {"PYTHONHASHSEED": "0", "TOKENIZERS_PARALLELISM": "false"}
    # One test or notebook a core, each with one thread: quicker than all cores on one after the other.
    quiet |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    side_by_side = [sys.executable, "-m", "pytest", "-n", str(min(4, cores()))]
    marked = ["-m", "needs_data"] if only_data else []
    tests = [*side_by_side, "--dist", "worksteal", *marked]
    commands = [tests]
    if not fast:
        nbval = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=1200", "-p", "no:cacheprovider"]
        # A file is one piece of work. The longest first: no core shall wait for one that came last.
        files = sorted(notebooks_dir().rglob("*.ipynb"), key=usual_seconds, reverse=True)
        files = [path for path in files if ".ipynb_checkpoints" not in path.parts]
        files = [path for path in files if Chapter(path).datasets or not only_data]
        # Without its data a long notebook would run for nothing: there would be nothing to compare.
        lacking = {path: " ".join(filter(None, map(why_not, Chapter(path).datasets))) for path in files}
        for path, reason in lacking.items():
            if reason:
                click.echo(f"{path.name}：不检查，因为缺数据。{reason}")
        files = [str(path) for path in files if not lacking[path]]
        commands += [[*side_by_side, *nbval, "--dist", "loadfile", "--no-loadscope-reorder", *files]] if files else []
    codes = [subprocess.run(command, cwd=project_root(), env=quiet).returncode for command in commands]
    if any(codes):
        raise CourseError("有测试没有通过，见上面的输出。")
    click.echo("测试全部通过。下一步：textrec report 生成报告，或 textrec lab 打开课程。")
