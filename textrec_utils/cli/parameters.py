"""What commands share. `-p name value` or `-p name=value` for what a notebook or a configuration calls a parameter:
`WithParameters` with `option` takes the pairs, `typed` (of `course/chapters.py`, where notebooks' are read the same
way) makes values of them. Options are a command's own switches: paths, `device`, `force`."""

import tomllib
from contextlib import contextmanager
from pathlib import Path

import click

from textrec_utils.course.chapters import CourseError
from textrec_utils.course.chapters import typed as typed


def _there(ctx, param, device: str) -> str:
    """The device as given. Raises CourseError, before anything is loaded, where this machine hasn't got it."""
    if device == "cpu":
        return device
    import torch

    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found = ["cpu", *["cuda"][:cards], *(f"cuda:{n}" for n in range(cards))]
    found += ["mps"] if torch.backends.mps.is_available() else []
    if device not in found:
        raise CourseError(f"这台机器上没有可用的 {device}：--device 可以是 {'、'.join(found)}。")
    return device


option = click.option(
    "-p", "pairs", multiple=True, nargs=2, metavar="名字 值", help="参数，可多次给出；也可写成 名字=值。"
)
params = click.option(
    "--params", "file", default="", metavar="文件", help="TOML文件，每行一个 名字 = 值；-p 给的优先。"
)
force = click.option("--force", is_flag=True, help="即使输入没变也重新运行。")
device = click.option(
    "--device", default="cpu", show_default=True, callback=_there, help="cpu、cuda、cuda:1（第二块卡）或 mps。"
)


class WithParameters(click.Command):
    """Takes `-p name=value` for `-p name value`: no parameter has an equals sign in its name.

    settings: gives lines on the parameters for the end of the help; called when help is asked for, so that it may
    import what is heavy.
    """

    def __init__(self, *args, settings=None, **extra):
        super().__init__(*args, **extra)
        self.settings = settings

    def parse_args(self, ctx, args):
        words = []
        for before, word in zip(["", *args], args):
            words += word.split("=", 1) if before == "-p" and "=" in word else [word]
        return super().parse_args(ctx, words)

    def format_epilog(self, ctx, formatter):
        if self.settings:  # unwrapped: click counts a Chinese character as one column
            formatter.write("\n" + "\n".join(self.settings()) + "\n")


def from_file(path: str) -> list[tuple[str, str]]:
    """(name, text) pairs of a TOML file with a line a parameter, as `-p` would give them. CourseError for a file that
    is none."""
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CourseError(f"{path} 读不了（{error.strerror}）：--params 要一个TOML文件。") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CourseError(
            f'{path} 不是TOML（{error}）：每行写 名字 = 值，文字加引号，例如 dataset = "caixin"。'
        ) from None
    if tables := [name for name, value in content.items() if isinstance(value, dict)]:
        raise CourseError(f"{path} 里的 [{tables[0]}] 用不上：每行写 名字 = 值，不分节。")
    return [(name, _text(value)) for name, value in content.items()]


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


@contextmanager
def one_sentence():
    """A ValueError about the reader's own settings is told as it stands."""
    try:
        yield
    except ValueError as error:
        raise CourseError(str(error)) from None
