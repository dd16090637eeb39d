# SPDX-License-Identifier: Apache-2.0
"""Engines of the test's own, as somebody else would start them: for handoffs and external engines."""
import os
import pathlib
import socket
import subprocess
import time

from .http import open_request, read_head
from .paths import FAULT_ENGINE
from .processes import wait_until


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Engine:
    """A fault engine of the test's own, on a port of its own."""

    def __init__(self, folder, faults="", port=None, slots=2):
        self.orders = pathlib.Path(folder) / ("orders-%d" % time.monotonic_ns())
        self.orders.write_text(faults, encoding="ascii")
        self.port = port or free_port()
        self.slots = slots
        self.process = None
        self.start()

    def start(self):
        env = {**os.environ, "FAULT_FILE": str(self.orders)}
        env.pop("LLAMA_API_KEY", None)
        self.process = subprocess.Popen([str(FAULT_ENGINE), "--host", "127.0.0.1", "--port", str(self.port),
                                         "-np", str(self.slots), "-a", "their-name"], env=env,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self.answers, 30, "the engine's health")

    def answers(self):
        try:
            with open_request(self.port, "GET", "/health", seconds=2) as s:
                return read_head(s)[0] == 200   # it keeps connections open
        except OSError:
            return False

    def document(self, pool="far", **more):
        doc = {"version": 1, "pool": pool, "replica": 0, "engine": "llama.cpp", "engine_version": "b1",
               "endpoint": "http://127.0.0.1:%d" % self.port, "model": "their-name", "device_mask": "0",
               "slots": self.slots, "pid": self.process.pid}
        doc.update(more)
        return {k: v for k, v in doc.items() if v is not None}

    def kill(self):
        self.process.kill()
        self.process.wait()
