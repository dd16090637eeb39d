# SPDX-License-Identifier: Apache-2.0
"""One daemon with folders of its own, whose events are collected as they are told."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from . import http
from .paths import BUILD, ENGINE, FAULT_ENGINE, tiny_model
from .processes import instances_of, wait_until


class DaemonFailed(Exception):
    """It ended before it served; `status` and `text` say how."""

    def __init__(self, program, status, text):
        super().__init__("%s ended with %s: %s" % (program, status, text))
        self.status, self.text = status, text


class Daemon:
    """Use as a context manager. `pools`: the text of the `pools:` map, or a dict of name → dict (written as JSON,
    which YAML is); `more`: other top-level keys. The real engine is `llama`, the fault engine `fault`.
    `program`: orchestratord, or pool-managerd, which serves no inference. `wrapper`: words in front of the daemon's,
    of a program that becomes it."""

    def __init__(self, pools, more=None, folder=None, environment=None, arguments=(), start=True,
                 program="orchestratord", wrapper=()):
        self.program = program
        self.folder = folder or tempfile.mkdtemp(prefix="pmt-", dir="/tmp")
        os.chmod(self.folder, 0o700)
        self.config = os.path.join(self.folder, "config.yaml")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("POOLMGR_")}
        for kind in ("RUNTIME", "STATE", "CACHE", "LOG"):
            self.environment["POOLMGR_%s_DIR" % kind] = os.path.join(self.folder, kind.lower())
        self.environment["LLAMA_ARG_THREADS"] = "1"     # enough for tiny models; more only spin where tests share cores
        self.environment.update(environment or {})
        self.arguments, self.wrapper = list(arguments), list(wrapper)
        self.write_config(pools, more)
        self.process, self.port, self.events, self.raw = None, None, [], []
        self.changed = threading.Condition()
        if start:
            try:
                self.start()
            except BaseException:
                self.close()    # nobody else will: the caller has no Daemon yet
                raise

    # ---- configuration ------------------------------------------------------------------------------

    def write_config(self, pools, more=None):
        top = {"listen": ["127.0.0.1:0"]}
        top.update(more or {})
        engines = {"llama": {"family": "llama.cpp", "path": ENGINE},
                   "fault": {"family": "llama.cpp", "path": str(FAULT_ENGINE)}}
        engines.update(top.get("engines", {}))
        top["engines"] = engines
        if isinstance(pools, dict):
            top["pools"] = pools
            text = json.dumps(top, indent=1, ensure_ascii=False)
        else:
            text = "\n".join("%s: %s" % (k, json.dumps(v)) for k, v in top.items()) + "\npools:\n" + pools
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(text + "\n")

    @staticmethod
    def pool(engine="llama", model=None, **more):
        """A pool on the CPU with the tiny model."""
        spec = {"model": model or tiny_model(), "engine": engine, "devices": "cpu", "context": 512}
        spec.update(more)
        return spec

    @classmethod
    def faulty(cls, fault, **more):
        """A pool of the fault engine with these orders."""
        env = {"FAULT": fault}
        env.update(more.pop("env", {}))
        return cls.pool(engine="fault", env=env, **more)

    # ---- life ---------------------------------------------------------------------------------------

    def start(self, wait=True):
        # It is asked for JSON: a test reads events, not prose.
        self.process = subprocess.Popen([*self.wrapper, str(BUILD / "src" / "bin" / self.program),
                                         "--config", self.config, "--log-format", "json",
                                         *self.arguments],
                                        env=self.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        mark = self.mark()
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        if wait:
            event = self.wait("daemon_started", after=mark)
            ports = [a for a in event["listen"] if not a.startswith("unix:")]
            self.port = int(ports[0].rsplit(":", 1)[1])
        return self

    def _read(self, process):
        for line in process.stderr:
            try:
                event = json.loads(line)
            except ValueError:
                event = {"event": "", "text": line.decode(errors="replace")}
            with self.changed:
                event["seen"] = time.monotonic()
                self.raw.append(line.decode(errors="replace"))
                self.events.append(event)
                self.changed.notify_all()
        process.wait()
        with self.changed:
            self.events.append({"event": "(ended)", "pid": process.pid})
            self.changed.notify_all()

    @property
    def socket(self):
        return os.path.join(self.environment["POOLMGR_RUNTIME_DIR"], "control.sock")

    @property
    def runtime(self):
        return self.environment["POOLMGR_RUNTIME_DIR"]

    def log(self, pool, replica=0):
        path = os.path.join(self.environment["POOLMGR_LOG_DIR"], "%s.%d.log" % (pool, replica))
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def kill(self):
        """SIGKILL of the daemon alone; its engines go on."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds=60):
        """SIGTERM; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def left_over(self):
        """Processes of its engines that still run."""
        return instances_of(self.folder)

    def close(self):
        """Stops it and proves that nothing is left; for the end of every test."""
        try:
            if self.process and self.process.poll() is None:
                try:
                    self.stop()
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    raise
            if self.process:
                wait_until(lambda: not self.left_over(), 30, "the end of all engines %s" % self.left_over())
        finally:
            for pid in self.left_over():
                os.kill(pid, signal.SIGKILL)
            if not os.environ.get("POOLMGR_TEST_KEEP"):
                shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- events -------------------------------------------------------------------------------------

    def mark(self):
        """Where the events are now, for wait(after=…)."""
        with self.changed:
            return len(self.events)

    def wait(self, name, after=0, seconds=60, **fields):
        """The first event of that name (and these fields) at or behind index `after`."""
        deadline = time.monotonic() + seconds
        at = after
        with self.changed:
            while True:
                while at < len(self.events):
                    event = self.events[at]
                    at += 1
                    if event["event"] == name and all(event.get(k) == v for k, v in fields.items()):
                        return event
                    if event["event"] == "(ended)" and event["pid"] == self.process.pid:
                        raise DaemonFailed(self.program, self.process.returncode, "".join(self.raw[-20:]))
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError("no event %s %s within %d s; the last ones: %s"
                                         % (name, fields, seconds, "".join(self.raw[-8:])))
                self.changed.wait(left)

    def count(self, name, after=0, **fields):
        with self.changed:
            return sum(1 for e in self.events[after:]
                       if e["event"] == name and all(e.get(k) == v for k, v in fields.items()))

    # ---- asking -------------------------------------------------------------------------------------

    def get(self, path, **more):
        return http.get(self.port, path, **more)

    def post(self, path, body=None, **more):
        return http.request(self.port, "POST", path, body, **more)

    def chat(self, model, stream=False, seconds=60, headers=None, **more):
        body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}], **more}
        return http.request(self.port, "POST", "/v1/chat/completions", body, headers, seconds)

    def open_chat(self, model, stream=False, seconds=60, headers=None, **more):
        body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}], **more}
        return http.open_request(self.port, "POST", "/v1/chat/completions", body, headers, seconds)

    def use(self, pool, says=None):
        """Proves that the pool works: it answers a request; where there is no gateway, its start succeeds."""
        if self.program == "orchestratord":
            answer = self.chat(pool)
            assert answer.status == 200 and answer.complete, answer.body
            assert says is None or answer.text().strip() == says
        else:
            answer = self.post("/v1/pools/%s/start?wait=60s" % pool)
            assert (answer.status, answer.json()["state"]) == (200, "succeeded"), answer.body
            assert self.pool_state(pool)["health"]["ready"]

    def refusal(self, pool):
        """The error that a request to the pool gets; where there is no gateway, that its start ends with."""
        if self.program == "orchestratord":
            answer = self.chat(pool)
            assert answer.status == 503 and answer.complete, answer.body
            assert ("retry-after" in answer.headers) == ("x-should-retry" not in answer.headers)
        else:
            answer = self.post("/v1/pools/%s/start?wait=60s" % pool)
            assert answer.status in (200, 503), answer.body
        return answer.json()["error"]

    def pool_state(self, pool):
        return self.get("/v1/pools/" + pool).json()

    def wait_state(self, pool, state, seconds=60):
        return wait_until(lambda: self.pool_state(pool)["state"] == state, seconds, "%s being %s" % (pool, state))
