"""What a newcomer meets first: a quick quiet import, pins that agree, notebooks fit to publish."""

import ast
import importlib.metadata
import json
import re
import subprocess
import sys

import pytest

from textrec_utils.core.paths import notebooks_dir, project_data, project_root
from textrec_utils.course.chapters import chapters, the_report
from textrec_utils.datasets import DATASETS

ROOT = project_root()


def pins(text: str) -> dict[str, str]:
    return {m[1].lower().replace("_", "-"): m[2] for m in re.finditer(r"^\s*-?\s*([\w.\-]+)==([\w.]+)", text, re.M)}


def test_environment_and_lock_agree():
    lock = pins((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    conda = pins((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert conda and all(lock.get(name) == version for name, version in conda.items())


def test_lock_covers_and_satisfies_pyproject():
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = pins((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    conda = pins((ROOT / "environment.yml").read_text(encoding="utf-8"))
    for line in project["dependencies"] + project["optional-dependencies"]["dev"]:
        requirement = Requirement(line)
        assert lock[requirement.name.lower()] in requirement.specifier, line
        assert requirement.name.lower() in conda, line


def imported(path) -> set[str]:
    """The packages, outside Python and ours, that a file imports, at its head or within a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"textrec_utils", "tests"}


@pytest.mark.parametrize("folder, extras", [("textrec_utils", []), ("tests", ["dev"])])
def test_what_is_imported_is_declared(folder, extras):
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["dependencies"] + [line for extra in extras for line in project["optional-dependencies"][extra]]
    declared = {Requirement(line).name.lower().replace("_", "-") for line in lines}
    by_import = importlib.metadata.packages_distributions()
    missing = {
        f"{path.name}: {name}"
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "make_rectools_figures.py"  # lives in a venv of its own
        for name in imported(path)
        if not {d.lower().replace("_", "-") for d in by_import.get(name, [name])} & declared
    }
    assert not missing


def test_import_is_light_and_quiet():
    code = "import textrec_utils, sys; assert not {'numpy', 'pandas', 'torch', 'click'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=ROOT)
    assert done.stdout == done.stderr == b""


def test_running_notebooks_does_not_load_a_grammar_of_addresses():
    """Nine tenths of the time that nbformat takes to import."""
    code = "import sys, textrec_utils.course, papermill; assert 'lark' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


NOTEBOOKS = sorted(notebooks_dir().rglob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_notebook_is_fit_to_publish(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert path.stat().st_size < 1_000_000
    code = [c for c in notebook["cells"] if c["cell_type"] == "code" and "".join(c["source"]).strip()]
    assert [c["execution_count"] for c in code] == list(range(1, len(code) + 1)), "not executed from top to bottom"
    outputs = [o for c in code for o in c["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    assert not re.search(r"/(root|home|work|tmp|Users)/\w", json.dumps(outputs)), "a path of one machine in an output"
    assert max(len("".join(c["source"]).splitlines()) for c in code) <= 20
    if path.parent.name == "notebooks":
        tags = [t for c in code for t in c["metadata"].get("tags", [])]
        assert tags.count("parameters") == 1
        assert any("# NBVAL_CHECK_OUTPUT" in "".join(c["source"]) for c in code)
    named = set(notebook["metadata"].get("textrec", {}).get("datasets", []))
    source = "\n".join("".join(c["source"]) for c in code)
    assert all(f'"{name}"' in source and not (project_data() / name).exists() for name in named), "needs, not shipped"


def test_every_chapter_has_solutions_and_links_that_exist():
    for path in (p for p in NOTEBOOKS if p.parent.name == "notebooks"):
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([\w/\-.]+\.ipynb)", text):
            assert (path.parent / target).exists(), f"{path.name} -> {target}"
        if path.stem != "report":
            assert (path.parent / "solutions" / path.name).exists()


def test_a_chapter_in_two_halves_is_read_in_order():
    names = [c.name for c in chapters()]
    assert names.index("02b_evaluation") == names.index("02_classical_baselines") + 1


def test_readmes_stand_in_step():
    english, chinese = ((ROOT / n).read_text(encoding="utf-8") for n in ("README.md", "README.zh-CN.md"))
    assert len(re.findall(r"^## ", english, re.M)) == len(re.findall(r"^## ", chinese, re.M)) > 4
    commands = [re.findall(r"^(?:make|textrec|git|conda) .*$", t, re.M) for t in (english, chinese)]
    assert commands[0] == commands[1] and "make report" in commands[0] and "make test" in commands[0]
    # The first columns of the tables, less their heads: chapters, files, data sets.
    names = [re.findall(r"^\| ([^|]*[\]`][^|]*) \|", t, re.M) for t in (english, chinese)]
    assert names[0] == names[1] and len(names[0]) > len(DATASETS) + len(chapters())
    assert {f"`{name}`" for name in DATASETS} <= set(names[0])
    linked = {re.search(r"\((.*)\)", name)[1] for name in names[0] if name.startswith("[")}
    assert linked == {f"notebooks/{c.path.name}" for c in [*chapters(), the_report()]}


def test_what_contributing_names_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:textrec_utils|tests|benchmarks|data|notebooks)/[a-z_\d/.\-]*)`", text))
    assert len(paths) > 10 and not [path for path in paths if not (ROOT / path).exists()]
