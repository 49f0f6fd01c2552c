"""`textrec lab`: the course in JupyterLab."""

import subprocess
import sys

import click

from textrec_utils.core.paths import notebooks_dir


@click.command(
    "lab",
    short_help="在 JupyterLab 里打开课程。",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[JupyterLab的选项]…")
def command(options: tuple[str, ...]) -> None:
    """在 JupyterLab 里打开课程；别的选项原样交给它，例如 textrec lab --no-browser --port 8889。"""
    sys.exit(subprocess.call([sys.executable, "-m", "jupyterlab", str(notebooks_dir()), *options]))
