# SPDX-License-Identifier: Apache-2.0
"""Devices without a GPU: llama.cpp's ggml-rpc-server, one a device. An engine that is given their endpoints calls them
RPC0, RPC1, …, and says in its log how large the buffers are that it takes on each."""
import collections
import os
import re
import subprocess
import time

from .foreign import free_port
from .paths import ROOT

FOLDER = ROOT / "build" / "engine-rpc" / "usr" / "bin"
RPC_SERVER, RPC_ENGINE = FOLDER / "ggml-rpc-server", FOLDER / "llama-server"
BUFFER = re.compile(r"\w+\[([^\]]+)\] +(model|KV|RS|compute) buffer size = +([0-9.]+) MiB")


def rpc_is_here():
    return os.access(RPC_SERVER, os.X_OK)


class RpcDevice:
    """One server on a port of its own. `memory`: bytes that it may map, all together."""

    def __init__(self, memory=None):
        self.port, self.memory, self.process = free_port(), memory, None
        self.start()

    @property
    def endpoint(self):
        return "127.0.0.1:%d" % self.port

    def start(self):
        limit = ["prlimit", "--as=%d" % self.memory] if self.memory else []
        self.process = subprocess.Popen([*limit, str(RPC_SERVER), "-H", "127.0.0.1", "-p", str(self.port)],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while ":%04X " % self.port not in open("/proc/net/tcp", encoding="ascii").read():
            assert self.process.poll() is None and time.monotonic() < end, "ggml-rpc-server does not listen"
            time.sleep(0.02)

    def kill(self):
        self.process.kill()
        self.process.wait()


def buffers(log):
    """endpoint → {"model", "KV", "RS", "compute"} → MiB: of the last engine whose log this is."""
    found = collections.defaultdict(collections.Counter)
    for endpoint, what, mib in BUFFER.findall(log[log.rfind("load_tensors: loading"):]):
        found[endpoint][what] += float(mib)
    return found
