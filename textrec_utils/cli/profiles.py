"""Which methods each profile of the report runs, for its help: read from the registry's source, since importing it
takes seconds (torch, scikit-learn, gensim) and help shall answer at once."""

import ast
from pathlib import Path

import textrec_utils

METHODS = Path(textrec_utils.__file__).parent / "report" / "methods.py"


class _Names(dict):
    """What the registry's own lines define; any other name, e.g. of a function, stands for itself."""

    def __missing__(self, name: str) -> object:
        return {"frozenset": frozenset}.get(name, name)


def _registered() -> tuple[dict[str, str], list[tuple[str, str, tuple[str, ...]]]]:
    """The profiles by key, and (key, label, its profiles) of each method, as the registry's source has them."""
    tree, names, plain = ast.parse(METHODS.read_text(encoding="utf-8")), _Names(), {"__builtins__": {}}
    for line in tree.body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]).strip("(").startswith(("_", "PROFILES")):
            exec(compile(ast.Module([line], []), METHODS.name, "exec"), dict(plain), names)
    found = []
    for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "Method"):
        options: dict[str, object] = {}
        for given in call.keywords:
            value = eval(compile(ast.Expression(given.value), METHODS.name, "eval"), dict(plain), names)
            options |= {given.arg: value} if given.arg else value
        found.append((call.args[0].value, call.args[1].value, options.get("profiles", ("full",))))
    return names["PROFILES"], found


def methods() -> list[tuple[str, str]]:
    """(key, label) of every method of the report; a test holds it to what `register` made."""
    return [(key, label) for key, label, _ in _registered()[1]]


def profiles() -> list[tuple[str, str, list[str]]]:
    """(key, name, labels of its methods in their order) of each profile; a test holds it to what `register` made."""
    names, every = _registered()
    return [(key, name, [label for _, label, of in every if key in of]) for key, name in names.items()]
