# Only Python >= 3.11 and make are needed, no compiler. `make` prints the targets; each installs what it needs first.
#   make PYTHON=python3.12 test            another Python for .venv (where there is none yet)
#   make fast ARGS="-k folds"              arguments for pytest
#   make test CONSTRAINT="torch==2.6.* torchvision==0.21.*"     versions to install instead of the newest
#   make test LOCK=.ci/requirements.lock   exactly the versions that CI installs
#   make gpu GPU_PYTHON=python3.12         the Python that has torch with CUDA; it needs nothing of .venv

PYTHON ?= python3
GPU_PYTHON ?= python3
ARGS ?=
CONSTRAINT ?=
LOCK ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
VERSIONS := $(foreach version,$(CONSTRAINT),'$(version)') $(LOCK:%=-c %)

# What `make fast` leaves to `make test`: training, whole command lines, big figures and miniatures, killed processes,
# all checks of the contract.
LONG := training/* model/* explain/* kaggle/* test_line.py test_scale.py \
  competitions/*figures.py competitions/*miniature.py competitions/test_line* \
  decision/test_weights.py hooks/test_stranger*.py plugins/test_margin_losses.py plugins/test_split_files.py \
  reports/test_explore.py reports/test_report.py reliability/* \
  adapt/test_line.py contract/test_frozen.py decision/test_grades.py hooks/test_grades_and_numbers.py testing/* \
  test_examples.py

export NO_ALBUMENTATIONS_UPDATE = 1
# Spinning threads would make two busy processes eight times slower.
export OMP_WAIT_POLICY = PASSIVE

.PHONY: help demo lint format fast test test-slow surface freeze gpu gpu-rehearsal audit always

help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: export KIT_DATA = .demo/data
demo: export KIT_RUNS = .demo/runs
demo: export KIT_PLUGINS =
demo: .venv/installed-demo ## the whole line of commands on a synthetic miniature (3 minutes)
	$(BIN)/kit download histo --miniature
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

lint: .venv/installed-test ## ruff and mypy; changes nothing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv/installed-test ## let ruff mend and lay out the code
	$(BIN)/ruff check --fix --exit-zero
	$(BIN)/ruff format

fast: .venv/installed-test ## the quick tests, while you work
	$(BIN)/pytest -n 2 $(LONG:%=--ignore-glob='tests/%') $(ARGS)

test: lint ## what a change has to pass: lint and all tests but the slow ones
	$(BIN)/pytest -n 2 $(ARGS)

test-slow: .venv/installed-test ## the tests that take minutes each
	$(BIN)/pytest -m slow $(ARGS)

surface: .venv/installed-test ## record a change of the public surface: make surface WHAT="what changed"
	PYTHONPATH=.:plugins:competitions:tests $(BIN)/python -m helpers.public_surface "$(WHAT)"

freeze: .venv/installed-test ## keep wheels of new examples, which must go on working
	for example in examples/*; do (cd $$example && ls ../../tests/contract/wheels/$$(basename $$example | tr - _)-*.whl \
	  >/dev/null 2>&1 || ../../$(BIN)/python -m hatchling build -t wheel -d ../../tests/contract/wheels) || exit 1; done

gpu: ## all that is to be measured on a GPU, with the Python that has torch; nine minutes at most
	$(GPU_PYTHON) benchmarks/gpu/run.py $(ARGS)

gpu-rehearsal: .venv/installed-test ## the same on the CPU with tiny sizes (3 minutes); measures nothing
	$(BIN)/python benchmarks/gpu/run.py --rehearsal $(ARGS)

audit: .venv/created ## look the installed packages up among known advisories; needs a network
	@test -x .venv/audit/bin/pip-audit || { $(PYTHON) -m venv .venv/audit && \
	  .venv/audit/bin/python -m pip --disable-pip-version-check install -q 'pip-audit>=2.7,<3'; }
	@$(BIN)/python .ci/audit.py .venv/audit/bin/pip-audit "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

# The stamps say that an installation came to its end; a changed pyproject.toml (entry points!) asks for a new one.
.venv/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python >= 3.11 is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/installed-demo: .venv/created pyproject.toml $(if $(CONSTRAINT),always)
	$(PIP) install -e '.[offline-weights]' $(VERSIONS)
	@touch $@

# The scorer of ISIC 2018 builds one of its dependencies in C. Without a compiler the tests that need it are skipped.
.venv/installed-test: .venv/created pyproject.toml $(if $(CONSTRAINT),always)
	$(PIP) install -e '.[test]' $(VERSIONS)
	@$(PIP) install -q -e '.[isic]' $(VERSIONS) >.venv/isic.log 2>&1 || \
	  echo "The extra isic could not be installed (.venv/isic.log says why): the tests against its scorer are skipped."
	@touch $@
