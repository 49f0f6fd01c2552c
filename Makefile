# Thin face of the `textrec` command (on Windows call that: see README).
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif

.PHONY: report course test test-data bench lint lab doctor clean

report: .venv/ready  ## the default report, and build/report/index.html
	$(BIN)/textrec report

course: .venv/ready  ## every chapter and the report, side by side
	$(BIN)/textrec run

test: .venv/ready  ## all tests, then every notebook's outputs
	$(BIN)/textrec test

test-data: .venv/ready  ## what needs other data sets than the default one (see README: TEXTREC_MIRROR)
	$(BIN)/textrec test --data

bench: .venv/ready  ## the table of speeds, each row beside a named peer
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -e ".[bench]"
	$(BIN)/python benchmarks/run.py

lint: .venv/ready  ## style of the package, tests and benchmarks
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

lab: .venv/ready  ## open the course in JupyterLab
	$(BIN)/textrec lab

doctor: .venv/ready  ## versions, fonts, disk, data, model
	$(BIN)/textrec doctor

# Not compiled: of 300 MB of sources a third is ever imported, and Python compiles that as it comes.
.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and '需要 Python 3.11 或更新：make PYTHON=python3.11 ...')"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -c "open('.venv/ready', 'w').close()"

clean:  ## remove what was built; the environment and the download cache stay
	rm -rf build
