# Everything runs in .venv, which is made when it is first needed and renewed when the dependencies change.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
STAMP := .venv/.installed
JOBS ?= 2
# one thread for each of the workers: more would wait for each other
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -q

.DEFAULT_GOAL := help
.PHONY: help demo test test-all bench gpu-check docs lint fix clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name one: make PYTHON=/path/to/python3" >&2; exit 2; }
	@test -x $(BIN)/python || { echo "making .venv (several minutes and about 7 GB once)"; $(PYTHON) -m venv .venv; }
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"  # the first that knows --group
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $@

demo: $(STAMP) ## turn the example photos into 3D faces
	$(BIN)/emoca demo

test: lint ## lint, types and the fast tests
	$(PYTEST) -m "not slow"

test-all: lint ## also the slow tests, and those of the extra ray
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[ray]'
	$(PYTEST)

ON_PHOTOS := benchmarks/landmark_fit.py benchmarks/quality.py
NO_SPEED := $(patsubst %,benchmarks/%.py,encoded_methods face_measures free_weights gpu_check large_poses long_clip \
	measured_parts open_emotion open_weights optimisation person_consistency refined_pictures refined_seeds \
	refinement_ablation refinement_runs results_table retrieval timing)

bench: $(STAMP) ## measure speed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	@set -e; for file in $(filter-out $(ON_PHOTOS) $(NO_SPEED),$(wildcard benchmarks/*.py)); do \
		echo "== $$file"; $(BIN)/python $$file; done; \
	for file in $(ON_PHOTOS); do echo "== $$file"; $(BIN)/python $$file examples/photos; done

gpu-check: $(STAMP) ## on a GPU: does it draw what it should, and how fast
	$(BIN)/python benchmarks/gpu_check.py

docs: $(STAMP) ## write the documentation to site/
	$(BIN)/python docs/make_site.py

lint: $(STAMP) ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: $(STAMP) ## mend the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove everything that was made
	rm -rf .venv build dist site demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
