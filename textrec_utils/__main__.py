"""`python -m textrec_utils …`: the command line where no `textrec` is on the path, e.g. under torchrun."""

from textrec_utils.cli import main

if __name__ == "__main__":
    main()
