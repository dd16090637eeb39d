# SPDX-License-Identifier: Apache-2.0
"""One daemon of ours with folders of its own; its events are read from its log."""
import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

from .child import ChildFailed, end


class Service:
    def __init__(self, h, config, log_name):
        self.program = h.program("orchestratord")
        self.folder = tempfile.mkdtemp(prefix="pmhw-", dir="/tmp")
        self.log_path = os.path.join(h.report.folder, log_name)
        self.config = os.path.join(self.folder, "config.yaml")
        with open(self.config, "w", encoding="utf-8") as f:
            json.dump(config, f, indent=1)     # which YAML is
        environment = {k: v for k, v in h.environment.items() if not k.startswith("CUDA_")}
        for kind in ("RUNTIME", "STATE", "CACHE", "LOG"):
            environment["POOLMGR_%s_DIR" % kind] = os.path.join(self.folder, kind.lower())
        with open(self.log_path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([self.program, "--config", self.config, "--log-format", "json"],
                                            env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        try:
            started = self.wait("daemon_started", 30)
        except BaseException:
            self.close()    # nobody else will: the caller has none yet
            raise
        self.port = int([a for a in started["listen"] if not a.startswith("unix:")][0].rsplit(":", 1)[1])

    # ---- events -------------------------------------------------------------------------------------

    def events(self, name=None):
        found = []
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            for line in f:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if isinstance(event, dict) and name in (None, event.get("event")):
                    found.append(event)
        return found

    def wait(self, name, seconds, **fields):
        """The first event of that name and these fields."""
        def find():
            for event in self.events(name):
                if all(event.get(k) == v for k, v in fields.items()):
                    return event
            return None
        return self.until(find, seconds, "the event %s %s" % (name, fields or ""))

    def until(self, condition, seconds, what):
        deadline = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            if self.process.poll() is not None:
                raise ChildFailed("the daemon ended with %d: %s" % (self.process.returncode, self.last_words()))
            if time.monotonic() > deadline:
                raise ChildFailed("%s did not come within %.0f s" % (what, seconds))
            time.sleep(0.05)

    def last_words(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()[-400:].replace("\n", " ")

    # ---- asking -------------------------------------------------------------------------------------

    def ask(self, method, path, body=None, seconds=15):
        """(status, JSON or text)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request(method, path, None if body is None else json.dumps(body),
                               {"Content-Type": "application/json"} if body is not None else {})
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
        except OSError as e:
            raise ChildFailed("the daemon does not answer %s %s: %s" % (method, path, e)) from None
        finally:
            connection.close()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text

    def chat(self, pool, seconds=30, **more):
        return self.ask("POST", "/v1/chat/completions", dict(
            {"model": pool, "messages": [{"role": "user", "content": "hi"}]}, **more), seconds)

    def pool(self, name):
        return self.ask("GET", "/v1/pools/" + name)[1]

    def devices(self):
        status, answer = self.ask("GET", "/v1/devices")
        return answer.get("devices", []) if status == 200 and isinstance(answer, dict) else []

    def engine_pid(self, pool):
        for replica in self.pool(pool).get("replicas", []):
            if replica.get("pid"):
                return replica["pid"]
        return None

    def children(self, name):
        """Pids of children of the daemon whose program is called so."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open("/proc/%s/stat" % entry, encoding="utf-8", errors="replace") as f:
                    text = f.read()
            except OSError:
                continue
            command, rest = text[text.index("(") + 1:text.rindex(")")], text.rpartition(")")[2].split()
            if command == name[:15] and int(rest[1]) == self.process.pid and rest[0] not in "ZX":
                found.append(int(entry))
        return found

    # ---- end ----------------------------------------------------------------------------------------

    def stop(self, seconds=25):
        """The exit status; None when it had to be killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def close(self):
        self.stop()
        end(self.process)
        for pid in self.left_over():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        shutil.rmtree(self.folder, ignore_errors=True)

    def left_over(self):
        """Processes of its engines that still run: their environment names the folder, or their words do."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            try:
                with open("/proc/%s/cmdline" % entry, "rb") as f:
                    if self.folder.encode() in f.read():
                        found.append(int(entry))
            except OSError:
                continue
        return found
