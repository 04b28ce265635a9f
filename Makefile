# Thin wrappers: the system's LAPACK where it is missing, then cargo.
PROFILE ?= quick
EXPERIMENT = results/movies-minilm/experiment.toml

.PHONY: results test report lapack

results: lapack
	cargo run --release -p bayeslora -- theory --grid full
	cargo run --release -p bayeslora -- run $(EXPERIMENT) --profile $(PROFILE)
	cargo run --release -p bayeslora -- geometry $(EXPERIMENT) --profile $(PROFILE)

test: lapack
	cargo test --workspace

# The committed tables, figures and README block, from the committed records: seconds, no model.
report:
	cargo run --release -p bayeslora -- report $(EXPERIMENT) --profile full --readme README.md

# ndarray-linalg links the system's OpenBLAS.
lapack:
	@ls /usr/lib/*/libopenblas.so /usr/lib/libopenblas.so >/dev/null 2>&1 || { \
	  echo "installing libopenblas-dev" >&2; \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq libopenblas-dev; \
	  else sudo apt-get update -qq && sudo apt-get install -y -qq libopenblas-dev; fi; }
