"""No test touches what a reader has: not the cache (downloads apart), not the reports."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from textrec_utils.core import cached_arrays
from textrec_utils.core.paths import build_dir, cache_dir, project_root


def test_results_of_tests_are_kept_in_a_folder_of_the_session():
    result = cached_arrays("own_cache", {}, lambda: {"x": np.zeros(2)})
    assert not result.from_cache  # a session begins with an empty cache
    assert list((cache_dir() / "own_cache").iterdir())
    assert (cache_dir() / "data").is_dir()
    assert cache_dir().parent == build_dir().parent and cache_dir().parent.name.startswith("textrec-tests-")


@pytest.mark.parametrize("options", [[], ["-n", "1"]])
def test_a_session_leaves_the_readers_cache_as_it_was(tmp_path, options):
    """The test above, run with a reader's cache and reports that we can look at afterwards."""
    kept = tmp_path / "reader" / "data" / "kept"
    kept.parent.mkdir(parents=True)
    kept.write_text("downloaded")
    (tmp_path / "reader" / "own_cache").mkdir()
    own = {
        "TEXTREC_CACHE": str(tmp_path / "reader"),
        "TEXTREC_BUILD": str(tmp_path / "reports"),
        "TMPDIR": str(tmp_path),
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    test = f"{Path(__file__)}::test_results_of_tests_are_kept_in_a_folder_of_the_session"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, test]
    done = subprocess.run(command, cwd=project_root(), env=clean | own, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    left = sorted(path.relative_to(tmp_path).as_posix() for path in (tmp_path / "reader").rglob("*"))
    assert left == ["reader/data", "reader/data/kept", "reader/own_cache"] and kept.read_text() == "downloaded"
    assert not (tmp_path / "reports").exists() and not list(tmp_path.glob("textrec-tests-*"))
