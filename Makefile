# The usual targets are demo, test, quality and bench. Each first creates .venv and installs the package, if needed.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-gpu quality bench fuzz faults reference

TOY := --config configs/toy.yaml
OUT := outputs/demo

demo: .venv/installed
	$(BIN)/python scripts/make_toy_data.py $(TOY)
	$(BIN)/python scripts/infer.py $(TOY) output=$(OUT)/unpaired
	$(BIN)/python scripts/evaluate_toy.py $(TOY) predictions=$(OUT)/unpaired output=$(OUT)/against_truth
	$(BIN)/python scripts/attention_error.py $(TOY) layers=all output=$(OUT)/attention
	$(BIN)/python scripts/preprocess_sift.py $(TOY) output=$(OUT)/matches
	$(BIN)/python scripts/train.py $(TOY) output=$(OUT)/train data.matches=$(OUT)/matches
	$(BIN)/python scripts/attention_error.py $(TOY) layers=all checkpoint=$(OUT)/train/model output=$(OUT)/attention_tuned
	$(BIN)/python scripts/infer.py $(TOY) checkpoint=$(OUT)/train/model output=$(OUT)/tuned_unpaired
	$(BIN)/python scripts/infer.py $(TOY) checkpoint=$(OUT)/train/model output=$(OUT)/tuned_paired setting=paired
	$(BIN)/python scripts/evaluate.py $(TOY) predictions.shipped=$(OUT)/unpaired predictions.tuned=$(OUT)/tuned_unpaired output=$(OUT)/scores_unpaired
	$(BIN)/python scripts/compare_results.py $(TOY) predictions.shipped=$(OUT)/unpaired predictions.tuned=$(OUT)/tuned_unpaired output=$(OUT)/scores_unpaired
	$(BIN)/python scripts/evaluate.py $(TOY) predictions.tuned=$(OUT)/tuned_paired output=$(OUT)/scores_paired setting=paired
	$(BIN)/python scripts/report.py output=$(OUT)

test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto -m "not gpu"

# The tests that require a GPU with CUDA, one after the other, because they measure time and memory.
test-gpu: .venv/installed
	$(BIN)/python -m pytest -m gpu tests/gpu

# Try broken inputs of every kind, about 15 minutes. CASE=<first letters of an id> runs a part, e.g. CASE=pictures.
fuzz: .venv/installed
	OMP_NUM_THREADS=1 PYTHONPATH=.:tests $(BIN)/python -m robustness.fuzz $(if $(CASE),"$(CASE)")

# Try kills, full disks and concurrent writers with every long script, about 15 minutes. CASE works as above.
faults: .venv/installed
	OMP_NUM_THREADS=1 PYTHONPATH=.:tests $(BIN)/python -m robustness.faults $(if $(CASE),"$(CASE)")

# Write docs/configuration.md, the reference of all keys.
reference: .venv/installed
	$(BIN)/python -m siftvton.reference > docs/configuration.md

quality: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# What is measured again before a release, about 17 minutes (estimated). Each file in benchmarks/ says what it measures.
bench: .venv/installed
	$(BIN)/python benchmarks/toy_matches.py 40
	$(BIN)/python benchmarks/preprocessing.py
	$(BIN)/python benchmarks/supervision.py
	$(BIN)/python benchmarks/supervision.py memory
	$(BIN)/python benchmarks/guided_step.py
	$(BIN)/python benchmarks/guided_step.py memory
	$(BIN)/python benchmarks/training_step.py --size toy --rounds 3

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[app,dev,lora,tracking]"
	touch $@
