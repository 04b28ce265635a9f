#!/usr/bin/env bash
# The battery for a machine with an NVIDIA card: build with CUDA, operations and golden logits on the card against the processor, speed beside
# PyTorch + PEFT where Python has them, and one small experiment on both. Writes target/gpu/report.md and report.json.
#
#   benches/gpu/run.sh                    DEVICE=cuda:1 and PYTHON=/path/to/python are taken from the environment
#   DEVICE=cpu QUICK=1 benches/gpu/run.sh tries the battery itself where there is no card; BUILT names a folder with both programs
set -uo pipefail
cd "$(dirname "$0")/../.."
device=${DEVICE:-cuda:0}
python=${PYTHON:-python3}
out=target/gpu
failed=0
mkdir -p "$out/parts"
rm -f "$out"/parts/* "$out/report.md" "$out/report.json"

features=()
case $device in
  cuda*)
    command -v nvidia-smi >/dev/null && nvidia-smi -L || { echo "no NVIDIA driver here: nvidia-smi is missing or sees no card" >&2; exit 1; }
    command -v nvcc >/dev/null || { echo "no CUDA toolkit here: nvcc is not on the path" >&2; exit 1; }
    features=(--features cuda)
    ;;
esac

part() { # name, command ..: runs it, keeps what it said, and goes on
  local name=$1 started=$SECONDS code
  shift
  echo "== $name" >&2
  "$@" >"$out/parts/$name.out" 2> >(tee "$out/parts/$name.err" >&2)
  code=$?
  echo "$name $code $((SECONDS - started))" >>"$out/parts/codes"
  [ $code -eq 0 ] || failed=1
  return $code
}

built=${BUILT:-target/release}
if [ -z "${BUILT:-}" ]; then
  part build cargo build --release -p bayeslora -p bayeslora-benches --bin bayeslora --bin gpu "${features[@]}" || exit 1
fi

part device "$built/gpu" --device "$device" --out "$out/parts" ${QUICK:+--quick}

if [[ $device == cuda* ]] && "$python" -c 'import torch, transformers, peft; assert torch.cuda.is_available()' 2>/dev/null; then
  part peer "$python" benches/gpu/peer.py
else
  echo "PyTorch + PEFT with a card are not there for $python: not measured" >&2
fi

# One small experiment on both: the same settings, other arithmetic, so scores agree to some thousandths.
for where in cpu "$device"; do
  folder=$out/experiment-${where//:/-}
  rm -rf "$folder"
  mkdir -p "$folder"
  model="{ path = \"$(pwd)/crates/models/tests/golden/tiny\" }"
  sed -e "s|^model = .*|model = $model|" -e 's/target-blocks = .*/target-blocks = [1, 2]/' \
    -e 's/max-train = .*/max-train = 240/' -e 's/max-test = .*/max-test = 120/' -e 's/max-shifted = .*/max-shifted = 40/' -e 's/resamples = .*/resamples = 50/' crates/cli/tests/movies.toml >"$folder/experiment.toml"
  part "experiment-${where//:/-}" "$built/bayeslora" run "$folder/experiment.toml" --device "$where"
done

python3 - "$out" "$device" <<'PY' || failed=1
import json
import pathlib
import sys

out, device = pathlib.Path(sys.argv[1]), sys.argv[2]
parts = out / "parts"
read = lambda path: path.read_text() if path.exists() else ""
report = json.loads(read(parts / "report.json") or "{}")
peers = [json.loads(line) for line in read(parts / "peer.out").splitlines() if line.startswith("{")]
steps = [line.split() for line in read(parts / "codes").splitlines()]
report["peers"] = peers
report["parts"] = [{"part": name, "exit": int(code), "seconds": int(seconds)} for name, code, seconds in steps]


def scores(where):
    found = {}
    for path in sorted((out / f"experiment-{where.replace(':', '-')}").glob("quick/units/*.json")):
        record = json.loads(path.read_text())
        for row in record["outcome"].get("rows", []):
            for domain in row["domains"]:
                for metric in ["accuracy", "nll"]:
                    if domain["scores"].get(metric) is not None:
                        found[f'{row["row"]}, {domain["domain"]}, {metric}'] = domain["scores"][metric]
    return found


here, there = scores("cpu"), scores(device)
report["experiment"] = {name: [value, there.get(name)] for name, value in here.items()}
apart = [abs(value - there[name]) for name, value in here.items() if name in there]
lines = [read(parts / "report.md"), "| part | exit code | seconds |\n|---|---|---|\n"]
lines += [f"| {part['part']} | {part['exit']} | {part['seconds']} |\n" for part in report["parts"]]
if peers:
    lines.append("\n| work | device | precision | tokens a second |\n|---|---|---|---|\n")
    lines += [f"| {p['what']} | {p['device']} | {p['precision']} | {p['tokens_per_second']:.0f} |\n" for p in peers]
lines.append(f"\nThe small experiment has {len(here)} scores on the processor and {len(there)} on {device}.\n")
if apart:
    lines.append(f"They are at most {max(apart):.2e} apart.\n")
(out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
(out / "report.md").write_text("".join(lines))
sys.exit(not here or len(apart) != len(here))
PY
echo "$out/report.md" >&2
exit $failed
