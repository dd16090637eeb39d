# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: a daemon in folders of its own, a raw client, percentiles.

Nothing here retries or smooths: a run that fails ends the benchmark with what was seen.
"""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("POOLMGR_BUILD", ROOT / "build" / "release"))
ENGINE = os.environ.get("POOLMGR_TEST_ENGINE", str(ROOT / "build" / "engine" / "usr" / "bin" / "llama-server"))


def tiny_model(*options):
    """A model of tools/make_tiny_gguf.py, made once for each set of options."""
    name = "tiny" + "".join(o.replace("-", "_") for o in options) + ".gguf"
    path = ROOT / "build" / "models" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["/usr/bin/python3", str(ROOT / "tools" / "make_tiny_gguf.py"), str(path), *options],
                       check=True, stdout=subprocess.DEVNULL)
    return str(path)


class Daemon:
    """orchestratord with a configuration of the benchmark's; events are collected as they come."""

    def __init__(self, config):
        self.folder = tempfile.mkdtemp(prefix="pmb-")
        os.chmod(self.folder, 0o700)
        path = os.path.join(self.folder, "config.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(config)
        env = {k: v for k, v in os.environ.items() if not k.startswith("POOLMGR_")}
        for kind in ("RUNTIME", "STATE", "CACHE", "LOG"):
            env["POOLMGR_%s_DIR" % kind] = os.path.join(self.folder, kind.lower())
        self.started = time.monotonic()
        self.process = subprocess.Popen([str(BUILD / "src" / "bin" / "orchestratord"), "--config", path,
                                         "--listen", "127.0.0.1:0", "--log-format", "json"],
                                        env=env, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.events = []
        self.changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()
        line = self.wait("daemon_started")
        self.port = int(line["listen"][0].rsplit(":", 1)[1])

    def _read(self):
        for raw in self.process.stderr:
            try:
                event = json.loads(raw)
            except ValueError:
                event = {"event": "?", "text": raw.decode(errors="replace")}
            event["seen"] = time.monotonic()
            with self.changed:
                self.events.append(event)
                self.changed.notify_all()
        with self.changed:
            self.events.append({"event": "end_of_events"})
            self.changed.notify_all()

    def wait(self, name, after=0, seconds=60, **fields):
        """The first event of that name at or behind index `after`."""
        deadline = time.monotonic() + seconds
        at = after
        with self.changed:
            while True:
                while at < len(self.events):
                    event = self.events[at]
                    at += 1
                    if event["event"] == name and all(event.get(k) == v for k, v in fields.items()):
                        return event
                    if event["event"] == "end_of_events":
                        raise SystemExit("the daemon ended: %s" % self.events[-6:-1])
                if not self.changed.wait(deadline - time.monotonic()) and time.monotonic() > deadline:
                    raise SystemExit("no %s within %d s; last events: %s" % (name, seconds, self.events[-5:]))

    def mark(self):
        with self.changed:
            return len(self.events)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)


def post(address, path, body):
    """Sends one request; returns (socket, time it was sent). `address`: a port or a socket's path."""
    data = json.dumps(body).encode()
    head = ("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            "Connection: close\r\n\r\n" % (path, len(data))).encode()
    if isinstance(address, int):
        s = socket.create_connection(("127.0.0.1", address))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        s = socket.socket(socket.AF_UNIX)
        s.connect(address)
    s.settimeout(120)
    sent = time.monotonic()
    s.sendall(head + data)
    return s, sent


def first_token(sock):
    """Reads to the first event that carries text; returns (when, everything so far)."""
    seen = b""
    while True:
        got = sock.recv(65536)
        now = time.monotonic()
        if not got:
            raise SystemExit("the answer ended without a token: %r" % seen[-400:])
        seen += got
        for line in seen.split(b"\n"):
            if line.startswith(b"data: {") and b'"content":"' in line and b'"content":""' not in line:
                return now, seen


def drain(sock):
    while sock.recv(65536):
        pass
    sock.close()


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def row(name, values, unit="ms"):
    print("%-52s p50 %7.2f  p95 %7.2f  max %7.2f %s  (%d runs)"
          % (name, percentile(values, 0.5), percentile(values, 0.95), max(values), unit, len(values)))
