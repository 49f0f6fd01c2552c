"""What a newcomer meets first: a quick quiet import, pins that agree, notebooks fit to publish."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


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


def test_import_is_quick_and_quiet():
    command = [sys.executable, "-c", "import textrec_utils"]
    subprocess.run(command, check=True)  # bytecode may not be there yet
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=True)
    assert time.perf_counter() - start < 5  # the bar is 1 s; machines under load get room
    assert done.stdout == done.stderr == b""


NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))


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


def test_every_chapter_has_solutions_and_links_that_exist():
    for path in (p for p in NOTEBOOKS if p.parent.name == "notebooks"):
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([\w/\-.]+\.ipynb)", text):
            assert (path.parent / target).exists(), f"{path.name} -> {target}"
        if path.stem != "report":
            assert (path.parent / "solutions" / path.name).exists()


def test_readmes_stand_in_step():
    english, chinese = ((ROOT / n).read_text(encoding="utf-8") for n in ("README.md", "README.zh-CN.md"))
    assert len(re.findall(r"^## ", english, re.M)) == len(re.findall(r"^## ", chinese, re.M)) > 4
    commands = [re.findall(r"^(?:make|textrec|git|conda) .*$", t, re.M) for t in (english, chinese)]
    assert commands[0] == commands[1] and "make report" in commands[0] and "make test" in commands[0]
