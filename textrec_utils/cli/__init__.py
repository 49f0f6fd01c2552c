"""The command line. A new command: a file here with a click command `command` (`eval_encoder.py` is the model to copy,
`parameters.py` has what all share: `-p`, `--device`, `typed`), and its name in `COMMANDS` of `main.py`."""

from textrec_utils.cli.main import main

__all__ = ["main"]
