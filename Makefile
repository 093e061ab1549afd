# make demo    trains a small model on drawn people and shows what it learned
# make test    the whole test suite, with coverage
# make lint    style of Python and C++
# make bench   the operator against the forms that others use, as ratios
#
# Each sets up what it needs: a virtual environment in .venv with the tested versions, and the
# compiled operator. SEED=1 (2, ...) repeats the demo with another seed.

PYTHON ?= python3
SEED ?= 0
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := outputs/demo$(SEED)
SOURCES := setup.py $(wildcard grouppose/ops/csrc/*/*)

.PHONY: demo test lint bench
demo test lint bench: $(READY)

$(VENV)/.installed: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

$(READY): $(VENV)/.installed pyproject.toml $(SOURCES)
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps -e .
	touch $@

demo:
	$(BIN)/python main.py -c config/demo.py \
	  --coco_path outputs/people --output_dir $(DEMO) --seed $(SEED) --amp
	$(BIN)/python main.py -c config/demo.py --coco_path outputs/people --output_dir $(DEMO) \
	  --resume $(DEMO)/checkpoint_best_regular.pth --eval

test:
	$(BIN)/python -m coverage erase
	$(BIN)/python -m pytest --cov --cov-report=term

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(shell find grouppose/ops/csrc -type f)

bench:
	$(BIN)/python benchmarks/msda.py
