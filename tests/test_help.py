"""Help answers at once: no command loads what is heavy before it is asked to work, and what help lists is true."""

import subprocess
import sys

import pytest

from textrec_utils.cli.main import COMMANDS
from textrec_utils.cli.profiles import methods, profiles
from textrec_utils.core.faces import face_of

HEAVY = ("torch", "transformers", "sentence_transformers", "sklearn", "scipy", "gensim", "implicit", "peft")
ASK = """
import sys
from click.testing import CliRunner
from textrec_utils.cli import main
asked = CliRunner().invoke(main, sys.argv[1:])
assert asked.exit_code == 0, asked.output
print(asked.output)
print("loaded:", *(name for name in {heavy} if name in sys.modules))
"""


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_loads_nothing_heavy(command):
    words = [sys.executable, "-c", ASK.format(heavy=HEAVY), *command.split(), "-h"]
    made = subprocess.run(words, capture_output=True, text=True, encoding="utf-8")
    assert made.returncode == 0, made.stderr
    assert made.stdout.splitlines()[-1] == "loaded:" and len(made.stdout) > 100


def test_the_reports_help_lists_the_methods_that_run():
    from textrec_utils.report import METHODS, PROFILES, methods_of

    listed = {key: (name, labels) for key, name, labels in profiles()}
    assert listed == {key: (name, [m.label for m in methods_of(key)]) for key, name in PROFILES.items()}
    assert methods() == [(method.key, method.label) for method in METHODS.values()]


def test_a_face_has_its_names_and_no_others():
    import textrec_utils.encoder
    import textrec_utils.finetuning
    import textrec_utils.pretraining

    for room in (textrec_utils.encoder, textrec_utils.finetuning, textrec_utils.pretraining):
        assert all(getattr(room, name) is not None for name in room.__all__)
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            room.nothing  # noqa: B018
    found, names = face_of("textrec_utils.core", {"files": "sha256_of", "textrec_utils.core.seeds": "seeded"})
    assert names == ["seeded", "sha256_of"] and found("sha256_of").__module__ == "textrec_utils.core.files"
