"""The group of commands, and the one place where errors become a sentence and an exit status."""

import errno
import importlib
import re
import signal
import sys
import threading
from pathlib import Path

import click

from textrec_utils import __version__
from textrec_utils.core.errors import TextrecError
from textrec_utils.core.paths import build_dir, cache_dir, notebooks_dir, project_data
from textrec_utils.core.processes import Terminated
from textrec_utils.course.chapters import CourseError
from textrec_utils.course.runner import CANNOT_WRITE

COMMANDS = (
    "run", "report", "recommend", "export", "data", "list", "doctor", "pretrain", "finetune", "eval-encoder", "remake",
    "lab", "test",
)  # fmt: skip


def _terminate(*_) -> None:
    raise Terminated


def _in_chinese(error: click.UsageError, path: str) -> click.ClickException:
    """Click's usual complaints in one Chinese sentence; the rest as they are. path: of the command that was called."""
    usage = f"；写法见 {error.ctx.command_path if error.ctx else path} -h。"
    if isinstance(error, click.NoSuchOption):
        return CourseError(f"没有选项 {error.option_name}{usage}")
    if isinstance(error, click.MissingParameter) and error.param:
        return CourseError(f"缺少 {error.param.metavar or error.param.opts[0]}{usage}")
    if isinstance(error, click.BadOptionUsage) and "require" in error.message:
        needed = "名字和值两个词：-p 名字 值" if error.option_name == "-p" else "一个值"
        return CourseError(f"选项 {error.option_name} 后面要有{needed}{usage}")
    if isinstance(error, click.BadParameter) and error.param:
        kind = error.param.type
        wanted = f"应是不小于{kind.min}的整数" if isinstance(kind, click.IntRange) else error.message
        return CourseError(f"选项 {error.param.opts[0]} 的值不对：{wanted}{usage}")
    extra = re.match(r"Got unexpected extra arguments? \((.*)\)", error.message)
    return CourseError(f"多出了 {extra[1]}{usage}") if extra else error


def _folder_of(error: OSError) -> str:
    """The variable that names the folder in which a file couldn't be written; "" where that is in neither."""
    for name, folder in (("TEXTREC_CACHE", cache_dir()), ("TEXTREC_BUILD", build_dir())):
        if error.filename and Path(str(error.filename)).absolute().is_relative_to(folder):
            return name
    return ""


class _Cli(click.Group):
    """Loads a command's file when it is asked for. Turns errors into one sentence and an exit status, Ctrl-C into 130
    and a polite kill into 143."""

    def list_commands(self, ctx):
        return list(COMMANDS)

    def get_command(self, ctx, name):
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"textrec_utils.cli.{name.replace('-', '_')}").command

    def make_context(self, info_name, args, parent=None, **extra):
        try:
            return super().make_context(info_name, args, parent, **extra)
        except (click.NoSuchOption, click.BadOptionUsage) as error:
            raise _in_chinese(error, str(info_name)) from None

    def resolve_command(self, ctx, args):
        if not args[0].startswith("-") and args[0] not in COMMANDS:
            raise CourseError(f"没有命令 {args[0]}：可用的有 {'、'.join(COMMANDS)}。")
        plain_wheel = not (notebooks_dir().is_dir() and project_data().is_dir())
        if plain_wheel and not set(ctx.help_option_names) & set(args):
            raise CourseError("这份安装里没有笔记本和数据：请克隆课程的仓库，在里面运行 pip install -e . 后再来。")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx):
        before = None
        if threading.current_thread() is threading.main_thread():  # the only one that may hear signals
            before = signal.signal(signal.SIGTERM, _terminate)
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _in_chinese(error, f"{ctx.command_path} {ctx.invoked_subcommand or ''}".strip()) from None
        except TextrecError as error:
            raise CourseError(str(error)) from None
        except OSError as error:
            if error.errno not in CANNOT_WRITE and not (error.errno == errno.ENOENT and _folder_of(error)):
                raise
            own = getattr(self.get_command(ctx, ctx.invoked_subcommand or ""), "writes_to", "TEXTREC_BUILD")
            other = _folder_of(error) or own
            where = f"（{error.filename}）" if error.filename else ""
            kept = f"已有的结果没有动；请腾出空间或换一个 {other} 后再运行。"
            raise CourseError(f"写不进磁盘{where}：{error.strerror}。{kept}") from None
        except KeyboardInterrupt as stop:  # a command may have said in it what it leaves behind
            killed = isinstance(stop, Terminated)
            what = f"已{'被终止' if killed else '中断'}"
            said = stop.args[0] if stop.args else f"{what}；跑完的章节都保留着，再次运行会接着来。"
            click.echo(f"\n{said.replace('已中断', what)}", err=True)
            ctx.exit(143 if killed else 130)
        finally:
            if before is not None:
                signal.signal(signal.SIGTERM, before)


@click.group(cls=_Cli, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """《预训练语言模型与文本推荐》：运行课程、生成报告。"""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a Windows console may be GBK
            stream.reconfigure(errors="replace")
