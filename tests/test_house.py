"""How the code is kept: layers without circles, files one can read, a place for everything."""

import ast
import importlib
import re
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

from setuptools import find_packages

from tests.notebook_text import NOTEBOOKS, cells

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "textrec_utils"
FILES = sorted(PACKAGE.rglob("*.py"))
CODE = [*FILES, *sorted((ROOT / "tests").glob("*.py")), *sorted((ROOT / "benchmarks").glob("*.py"))]

# From the ground up. A room may import its own layer and those above it in this list, never one below.
LAYERS = [
    ["core"],
    ["datasets"],
    ["splits", "text", "corpora"],
    ["baselines", "encoder", "word_vectors"],
    ["ranking"],
    ["evaluation", "plotting", "hybrids", "tuning", "pair_classifier"],
    ["losses", "finetuning", "export", "encoder_quality", "pretraining"],
    ["report"],
    ["serving"],
    ["shipped"],
    ["exercises"],
    ["course"],
    ["cli", "__main__"],
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def module_name(path: Path) -> str:
    """textrec_utils/finetuning/config.py is `finetuning.config`; a folder's face has the folder's name, the root ""."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def imports(path: Path) -> set[str]:
    """Modules of this package that a file imports, at its head or within a function (not for type checkers alone)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    skipped = {id(child) for block in blocks for statement in block.body for child in ast.walk(statement)}
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name}:{node.lineno} imports by a relative name"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from room import file` is the file; `from room import name` is the room's face
            found |= {n if n.partition(".")[2] in MODULES else node.module for n in inner}
    return {n.partition(".")[2] for n in found if n.partition(".")[0] == PACKAGE.name} & set(MODULES) - {""}


def test_arrows_go_down_and_never_in_a_circle():
    graph = {name: imports(path) - {name} for name, path in MODULES.items()}
    list(TopologicalSorter(graph).static_order())  # CycleError names the circle
    rooms = {}
    for name, used in graph.items():
        room = name.split(".")[0]
        rooms.setdefault(room, set()).update(n.split(".")[0] for n in used)
    assert not set(rooms) - {""} - set(LEVEL), "a new room: give it a layer in LAYERS"
    assert not rooms.pop("", set()), "textrec_utils/__init__.py imports nothing, so that each part loads alone"
    up = [f"{room} -> {used}" for room in rooms for used in rooms[room] if LEVEL[used] > LEVEL[room]]
    assert not up, "arrows that go up"
    list(TopologicalSorter({room: used - {room} for room, used in rooms.items()}).static_order())


def test_within_the_package_names_come_from_their_files():
    """Through a folder's face a file hangs on the whole folder: circles arise, and the store's keys grow wide."""
    faces = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    inner = [
        n for n, path in MODULES.items() if n not in faces and n.split(".")[0] not in ("cli", "course", "__main__")
    ]
    through = {name: sorted(imports(MODULES[name]) & faces) for name in inner}
    assert not {name: found for name, found in through.items() if found}


def test_imports_are_read_as_python_means_them(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "from textrec_utils import core\n"
        "from textrec_utils.core import measure\n"
        "from textrec_utils.core import files\n"
        "def later():\n    from textrec_utils.core.cost import Cost\n"
        "if TYPE_CHECKING:\n    from textrec_utils.core.seeds import seeded\n",
        encoding="utf-8",
    )
    assert imports(path) == {"core", "core.files", "core.cost"}


def test_files_are_short_enough_to_read():
    lines = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in FILES}
    long = {name: n for name, n in lines.items() if n > 350}
    assert not {name: n for name, n in lines.items() if n > 450}
    assert len(long) <= 0.1 * len(lines), long
    tests = {p.name: len(p.read_text(encoding="utf-8").splitlines()) for p in (ROOT / "tests").glob("*.py")}
    assert not {name: n for name, n in tests.items() if n > 500}


def test_lines_are_short_enough_to_read():
    lines = [(p, n, line) for p in CODE for n, line in enumerate(p.read_text(encoding="utf-8").splitlines(), start=1)]
    long = [f"{path.relative_to(ROOT)}:{n}" for path, n, line in lines if len(line) > 120]
    assert not long


def test_folders_lie_one_level_deep_and_are_installed():
    folders = {path.parent.relative_to(PACKAGE).as_posix() for path in FILES}
    assert not {f for f in folders if "/" in f}
    assert {f for f in folders if not (PACKAGE / f / "__init__.py").exists()} == set()
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    wanted = {"textrec_utils" if f == "." else f"textrec_utils.{f}" for f in folders}
    assert set(find_packages(ROOT, include=tools["packages"]["find"]["include"])) == wanted


def test_every_module_says_what_it_is_for():
    silent = [name for name, path in MODULES.items() if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert not silent


def test_no_room_is_a_drawer():
    assert not [name for name in MODULES if name.split(".")[-1] in {"utils", "helpers", "misc", "common"}]


def test_the_hook_before_a_commit_lints_as_the_environment_does():
    lock = re.search(r"^ruff==(\S+)", (ROOT / "requirements.lock").read_text("utf-8"), re.M)
    hook = re.search(r"ruff-pre-commit\s+rev: v(\S+)", (ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    assert hook[1] == lock[1]


def every_cell() -> list[tuple[str, dict]]:
    """(file name, cell) of every notebook."""
    return [(path.name, cell) for path in sorted(NOTEBOOKS.rglob("*.ipynb")) for cell in cells(path)]


def test_cells_that_only_phrase_are_folded_in_jupyterlab_too():
    for name, cell in every_cell():
        hidden = "hide-input" in cell["metadata"].get("tags", [])
        assert hidden == cell["metadata"].get("jupyter", {}).get("source_hidden", False), (name, cell["id"])


def test_what_notebooks_import_has_kept_its_address():
    trees = [(name, ast.parse("".join(cell["source"]))) for name, cell in every_cell() if cell["cell_type"] == "code"]
    wanted = {
        (name, node.module, alias.name)
        for name, tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == PACKAGE.name
        for alias in node.names
    }
    rooms = {(PACKAGE.name, name) for name in MODULES}  # `from textrec_utils import baselines`
    gone = [w for w in sorted(wanted) if w[1:] not in rooms and not hasattr(importlib.import_module(w[1]), w[2])]
    assert not gone
