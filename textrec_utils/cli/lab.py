"""`textrec lab`: the course in JupyterLab."""

import subprocess
import sys

import click

from textrec_utils.core.paths import notebooks_dir


@click.command("lab", short_help="在 JupyterLab 里打开课程。")
def command() -> None:
    """在 JupyterLab 里打开课程。"""
    sys.exit(subprocess.call([sys.executable, "-m", "jupyterlab", str(notebooks_dir())]))
