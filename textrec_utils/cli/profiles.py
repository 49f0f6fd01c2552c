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


def profiles() -> list[tuple[str, str, list[str]]]:
    """(key, name, labels of its methods in their order) of each profile; a test holds it to what `register` made."""
    tree, names, plain = ast.parse(METHODS.read_text(encoding="utf-8")), _Names(), {"__builtins__": {}}
    for line in tree.body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]).strip("(").startswith(("_", "PROFILES")):
            exec(compile(ast.Module([line], []), METHODS.name, "exec"), dict(plain), names)
    found: dict[str, list[str]] = {key: [] for key in names["PROFILES"]}
    for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "Method"):
        options: dict[str, object] = {}
        for given in call.keywords:
            value = eval(compile(ast.Expression(given.value), METHODS.name, "eval"), dict(plain), names)
            options |= {given.arg: value} if given.arg else value
        for key in options.get("profiles", ("full",)):
            found[key].append(call.args[1].value)
    return [(key, names["PROFILES"][key], labels) for key, labels in found.items()]
