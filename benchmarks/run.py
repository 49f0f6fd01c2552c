"""All benchmarks, one after the other, with short settings: `make bench`.

    python benchmarks/run.py [name …]

Nothing else should run on the machine. A script that fails is named at the end and doesn't stop the others.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
# Words for those whose defaults take long.
SHORT = {"metrics": ["10000", "5000"], "finetuning": ["speed"], "encoding": ["600"]}


def main(*names: str) -> None:
    scripts = [path for path in sorted(HERE.glob("*.py")) if path.stem not in ("machine", "run")]
    failed = []
    for path in scripts:
        if names and path.stem not in names:
            continue
        print(f"\n== {path.stem}", flush=True)
        if subprocess.run([sys.executable, str(path), *SHORT.get(path.stem, [])]).returncode:
            failed.append(path.stem)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
