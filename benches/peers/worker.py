"""PyTorch and PEFT as the peer: one process, one configuration, driven by lines of JSON.

    python worker.py JOB.json

Answers `ready` once everything is loaded, then one line per command: `warm` (compile, touch memory), `run` (the timed work),
`outputs` (what the last run computed, as raw f32). The kinds of work lie beside this file: predict.py, ask.py, train.py, layer.py.
"""

import json
import os
import resource
import sys
import time


def peak_bytes():
    """Largest resident size of this process. `VmHWM` starts anew at exec, where `ru_maxrss` keeps the parent's."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def answer(**reply):
    print(json.dumps(reply), file=PIPE, flush=True)


# Libraries print; only answers go to the orchestrator.
PIPE = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    try:
        import peft
        import torch
        import transformers
    except ImportError as error:
        answer(reply="failed", reason=f"{error}; install benches/peers/requirements.txt")
        return 1
    import ask
    import layer
    import predict
    import train

    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        work = {"predict": predict.Predict, "ask": ask.Ask, "train": train.Train, "layer": layer.Layer}[job["kind"]](job)
    except Exception as error:  # noqa: BLE001: whatever is wrong is the orchestrator's to report
        answer(reply="failed", reason=f"{type(error).__name__}: {error}"[:600])
        return 1
    versions = {module.__name__: module.__version__ for module in (torch, transformers, peft)}
    versions["python"] = sys.version.split()[0]
    settings = f"{torch.get_num_threads()} intra-op and {torch.get_num_interop_threads()} inter-op threads, " \
        f"{torch.backends.cpu.get_cpu_capability()}, MKL {torch.backends.mkl.is_available()}, " \
        f"oneDNN {torch.backends.mkldnn.is_available()}"
    answer(reply="ready", versions=versions, settings=settings, peak_bytes=peak_bytes())
    for line in sys.stdin:
        command = json.loads(line)
        try:
            if command["command"] == "outputs":
                work.outputs().tofile(command["path"])
                answer(reply="written")
                continue
            started = time.perf_counter()
            # A training run times its own steps; everything else is timed whole.
            measured = (work.warm if command["command"] == "warm" else work.run)() or {}
            seconds = measured.pop("seconds", time.perf_counter() - started)
            answer(reply="ran", seconds=seconds, peak_bytes=peak_bytes(), **measured)
        except Exception as error:  # noqa: BLE001
            answer(reply="failed", reason=f"{type(error).__name__}: {error}"[:600])
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
