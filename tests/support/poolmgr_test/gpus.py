# SPDX-License-Identifier: Apache-2.0
"""GPUs that are not there: a file of them, and the tool that changes it (tests/fake-nvml)."""
import json
import os
import subprocess
import tempfile

from .paths import FAKE_NVML, FAKEGPU, ROOT


class FakeGpus:
    """`count` GPUs of one size, and nobody on them. `environment` is for whoever shall see them; the library's path is
    `library`, which `devices: {nvml: …}` of a configuration names."""

    library = str(FAKE_NVML)

    def __init__(self, count=1, size="24GiB"):
        handle, self.file = tempfile.mkstemp(prefix="pmt-gpus-", dir="/tmp")
        os.close(handle)
        # Wherever this test runs, pool-probe believes that it is shown the processes of all pid namespaces.
        self.environment = {"FAKE_NVML": self.file, "POOL_PROBE_ROOT": str(ROOT / "tests" / "trees" / "first-namespace")}
        self.tell("create", count, size)

    def tell(self, *words):
        """One verb of fakegpu; what it prints."""
        return subprocess.run([str(FAKEGPU), *(str(w) for w in words)], env={**os.environ, **self.environment},
                              check=True, capture_output=True, text=True).stdout

    def set(self, gpu, **members):
        self.tell("set", gpu, *("%s=%s" % pair for pair in members.items()))

    def option(self, **members):
        self.tell("option", *("%s=%s" % pair for pair in members.items()))

    def call(self, name, *what):
        """What a function of the library does instead: "code=15", "delay=500", "hang", "ok"."""
        self.tell("call", name, *what)

    def show(self):
        return json.loads(self.tell("show"))

    def free(self, gpu):
        return self.show()["gpus"][gpu]["free"]

    def users(self):
        """{pid: {UUID: bytes}} of those who live."""
        found = {}
        for row in self.show()["holdings"]:
            if not row["dead"]:
                device = found.setdefault(row["pid"], {})
                device[row["gpu"]] = device.get(row["gpu"], 0) + row["bytes"]
        return found

    @staticmethod
    def uuid(gpu):
        return "GPU-%08x-0000-4000-8000-%012x" % (0xfa000000 + gpu, gpu)

    def close(self):
        os.unlink(self.file)
