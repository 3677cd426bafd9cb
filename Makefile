# Every target but gpu-check installs what it needs into .venv first.
PYTHON ?= python3
VENV := .venv
VLLM := .venv-vllm
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SPACE := search_spaces/quickstart.yaml
# Where it is set, each process of a sweep compiles the project again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install sweep test test-slow test-vllm ui bench gpu-check tiny

help:  ## Show the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing strictune, Ray, torch, TRL, MLflow and the like into $(VENV): two to six minutes."
	@# On a terminal pip shows how far it is; elsewhere its progress would be thousands of lines.
	if [ -t 1 ]; then quiet=; else quiet=--quiet; fi; $(BIN)/python -m pip install $$quiet \
		--disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

install: $(INSTALLED)  ## Create .venv and install into it.

sweep: $(INSTALLED)  ## Run the quickstart sweep (minutes, no GPU needed).
	$(BIN)/strictune run $(SPACE) --resume

test: $(INSTALLED)  ## Run lint, types and the tests, whole sweeps on the tiny model included.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not ray and not slow and not vllm" -n 2 --dist worksteal
	$(BIN)/pytest -m "ray and not slow and not vllm" -n 2 --dist worksteal

test-slow: $(INSTALLED)  ## Run what takes minutes: servers that go away, growth of scoring time.
	$(BIN)/pytest -m "slow and not vllm" -n 2 --dist worksteal

$(VLLM)/.installed: tests/real_vllm/install.sh
	@echo "Installing vLLM for CPUs into $(VLLM): some minutes, 4 GB."
	bash tests/real_vllm/install.sh $(VLLM) $(PYTHON)
	touch $@

test-vllm: $(INSTALLED) $(VLLM)/.installed  ## Try rollouts against vLLM itself, on CPUs: half an hour.
	STRICTUNE_VLLM=$(CURDIR)/$(VLLM)/bin/vllm OMP_NUM_THREADS=1 $(BIN)/pytest -m vllm tests/real_vllm \
		--junitxml=vllm.xml

ui: $(INSTALLED)  ## Open the MLflow pages on http://127.0.0.1:5000.
	mkdir -p runs
	$(BIN)/strictune track pages
	$(BIN)/mlflow ui --host 127.0.0.1 --port 5000 --backend-store-uri sqlite:///runs/mlflow.db

bench: $(INSTALLED)  ## Time steps against a bare TRL script, and packed trials; MODELS="..." ROUNDS=3.
	for race in rollouts packing; do $(BIN)/python -W ignore tests/bench/bench_$$race.py \
		$(if $(MODELS),--models $(MODELS)) $(if $(ROUNDS),--rounds $(ROUNDS)) || exit; done

# Installs nothing: each part of it says what it lacks.
gpu-check:  ## Check NF4, speed, packing and memory on a GPU; ONLY=nf4,speed MODELS="..." OUT=FILE.
	$(firstword $(wildcard $(BIN)/python) $(PYTHON)) tests/gpu/check_gpu.py \
		$(if $(ONLY),--only $(ONLY)) $(if $(OUT),--out $(OUT)) $(MODELS)

tiny: $(INSTALLED)  ## Rebuild the committed models builtin:tiny and builtin:tiny_citing.
	$(BIN)/python -m trainables.tiny
	$(BIN)/python -m trainables.tiny.citing
