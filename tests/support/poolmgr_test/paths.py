# SPDX-License-Identifier: Apache-2.0
"""Where the programs under test are. POOLMGR_BUILD is a build folder, POOLMGR_TEST_ENGINE a llama-server."""
import fcntl
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("POOLMGR_BUILD", ROOT / "build" / "dev")).resolve()
ENGINE = os.environ.get("POOLMGR_TEST_ENGINE", str(ROOT / "build" / "engine" / "usr" / "bin" / "llama-server"))
ORCHESTRATORD = BUILD / "src" / "bin" / "orchestratord"
POOL_MANAGERD = BUILD / "src" / "bin" / "pool-managerd"
POOLCTL = BUILD / "src" / "cli" / "poolctl"
FAULT_ENGINE = BUILD / "tests" / "support" / "fault_engine"
FAKE_NVML = BUILD / "tests" / "fake-nvml" / "libnvidia-ml.so.1"
FAKEGPU = BUILD / "tests" / "fake-nvml" / "fakegpu"
POOL_PROBE = BUILD / "src" / "bin" / "pool-probe"
MODELS = ROOT / "build" / "models"

# What every tiny model says (tools/make_tiny_gguf.py).
TEXT = ("The quick brown fox starts one engine, checks its health, waits for every open stream, "
        "then lets it rest and tells you so again.")


def tiny_model(*options):
    """A model of tools/make_tiny_gguf.py, made once for each set of options."""
    name = "-".join(["tiny", *(o.lstrip("-") for o in options)]) + ".gguf"
    path = MODELS / name
    MODELS.mkdir(parents=True, exist_ok=True)
    with open(MODELS / ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            subprocess.run(["/usr/bin/python3", str(ROOT / "tools" / "make_tiny_gguf.py"), str(path), *options],
                           check=True, stdout=subprocess.DEVNULL)
    return str(path)
