"""A room's face whose files load when one of their names is first asked for: what needs torch costs nothing until then,
so that the command line's help answers at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def face_of(room: str, files: Mapping[str, str]) -> tuple[Callable[[str], object], list[str]]:
    """(`__getattr__`, `__all__`) of a package. room: its `__name__`. files: by file of the room, or by a module's full
    name, the names that are taken from it, with blanks between them."""
    where = {name: file if "." in file else f"{room}.{file}" for file, names in files.items() for name in names.split()}

    def found(name: str) -> object:
        if name not in where:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(import_module(where[name]), name)

    return found, sorted(where)
