"""Leaves in its workdir what a run does, in a moment, and goes wrong as it is told."""

import hashlib
import json
import os
import pathlib
import signal
import sys
import time


def main(flagfile, workdir):
    flags = dict(line[2:].split("=", 1) for line in flagfile.read_text().splitlines())
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / "trained").open("a") as count:
        count.write(f"{len(os.sched_getaffinity(0))}\n")
    (workdir / "run.flags").write_text(flagfile.read_text())
    act(flags["fault"], workdir)
    config = {"experiment": "quick", "data_fingerprint": "", **flags}
    (workdir / "config.json").write_text(json.dumps(config))
    score = {"none": 0.5, "batch": 0.7, "group": 0.51}[flags["norm"]]
    score += 0.01 * (int(flags["seed"]) % 3)
    rows = [
        {"step": i, "epoch": i, "validation/accuracy": score * i / 2} for i in (1, 2)
    ]
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    result = {
        "accuracy": score - 0.1,
        "loss": 1.1 - score,
        "validation": {"accuracy": score, "loss": 1 - score},
        "parameters_sha256": hashlib.sha256(flagfile.read_bytes()).hexdigest(),
        "parameters": 1,
        "class_names": [],
        "image_shape": [],
        "seconds": {"total": 0.1},
        "provenance": {"versions": {"jax": "0"}, "data": flags["dataset"]},
    }
    (workdir / "result.json").write_text(json.dumps(result))


def act(fault, workdir):
    if fault == "diverges":
        sys.exit("error: The loss or its gradient is not finite at step 3.")
    if fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "slow":
        (workdir / "running").write_text(str(os.getpid()))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        for _ in range(600):
            if (workdir.parents[2] / "go").exists():
                return
            time.sleep(0.05)


if __name__ == "__main__":
    main(*(pathlib.Path(argument.partition("=")[2]) for argument in sys.argv[1:3]))
