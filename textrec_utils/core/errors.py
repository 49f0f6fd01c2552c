"""Errors that are one sentence for a reader: what is wrong, where, and how to mend it."""


class TextrecError(Exception):
    """Base of all that the command line and the notebooks tell in one sentence, without a traceback."""


class DataError(TextrecError, ValueError):
    """Bad input: which file, which line, what is wrong, how to mend it."""


class TooLittleData(DataError):
    """The data are sound and still too few for this method or split. Others may go on."""


class TooMuchData(DataError):
    """The data are sound and too many for this method on this machine. Others may go on."""
