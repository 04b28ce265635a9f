# Thin wrappers: the system's LAPACK where it is missing, then cargo.
PROFILE ?= quick
# Profile quick: every method once, a trial of the program. PROFILE=practised: the table of the README.
EXPERIMENT = results/main-encoder/experiment.toml

.PHONY: results tune test report bench-peers lapack

results: lapack
	cargo run --release -p bayeslora -- theory --grid full
	cargo run --release -p bayeslora -- run $(EXPERIMENT) --profile $(PROFILE)

# Settings, searched on validation: `make tune PROFILE=rate`.
tune: lapack
	cargo run --release -p bayeslora -- tune $(EXPERIMENT) --profile $(PROFILE)

# Told how many threads there are, candle does not count processors before every product of a test.
test: lapack
	RAYON_NUM_THREADS=$${RAYON_NUM_THREADS:-$$(getconf _NPROCESSORS_ONLN)} cargo test --workspace

# The committed tables, figures and README block, from the committed records, and all results on two pages: seconds, no model.
report:
	cargo run --release -p bayeslora -- report --all

# This program beside PyTorch + PEFT on this machine: about 25 minutes, or ARGS=--quick; see benches/peers/README.md.
# PYTHON=/path/to/python takes an interpreter that has the requirements.
VENV = target/peers/venv
ifdef PYTHON
PEER = $(PYTHON)
bench-peers: lapack
else
PEER = $(VENV)/bin/python
bench-peers: lapack $(VENV)/installed
endif
	cargo run --release -p bayeslora-benches --bin peers -- --python $(PEER) $(ARGS)

$(VENV)/installed: benches/peers/requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet -r $<
	touch $@

# ndarray-linalg links the system's OpenBLAS.
lapack:
	@ls /usr/lib/*/libopenblas.so >/dev/null 2>&1 || ls /usr/lib/libopenblas.so >/dev/null 2>&1 || { \
	  echo "installing libopenblas-dev" >&2; \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq libopenblas-dev; \
	  else sudo apt-get update -qq && sudo apt-get install -y -qq libopenblas-dev; fi; }
