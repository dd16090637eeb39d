# SPDX-License-Identifier: Apache-2.0
"""Where hostile cases run: one daemon with two scripted engines, and ways to say bytes to it and read what comes back."""
import dataclasses
import json
import os
import pathlib
import select
import socket
import struct
import time

from poolmgr_test import Daemon, http, wait_until
from poolmgr_test.http import connect

HERE = pathlib.Path(__file__).resolve().parent
FULL = os.environ.get("HOSTILE_FULL") == "1"
SHORT_CUTS = 2                  # positions at which a request is cut in two in the short form
BYTEWISE_MAX = 4096
CPU_AT_REST = 0.3               # of a core
PATIENCE = 10                   # seconds for what must come

TIMEOUTS = {"head": "5s", "body_idle": "3s", "keep_alive": "30s", "first_byte": "3s", "stream_idle": "3s",
            "write_stall": "10s", "connect": "1s"}


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict
    body: bytes
    broken: bool = False            # it ended before its framing did

    def code(self):
        try:
            return json.loads(self.body)["error"]["code"]
        except (ValueError, KeyError, TypeError):
            return None

    def error(self):
        return json.loads(self.body)["error"]


def ready(sock, event, seconds):
    """select() knows only small descriptors."""
    poll = select.poll()
    poll.register(sock, event)
    return bool(poll.poll(seconds * 1000))


class Reader:
    """Reads answers one after the other from a connection."""

    def __init__(self, sock):
        self.sock, self.raw, self.ended, self.reset = sock, b"", False, False

    def more(self, deadline):
        """False: nothing more comes, or not in time."""
        if self.ended:
            return False
        left = deadline - time.monotonic()
        if left <= 0 or not ready(self.sock, select.POLLIN, left):
            return False
        try:
            got = self.sock.recv(65536)
        except ConnectionResetError:
            got, self.reset = b"", True
        self.raw += got
        self.ended = not got
        return bool(got)

    def _until(self, mark, deadline):
        while mark not in self.raw:
            if not self.more(deadline):
                return None
        part, _, self.raw = self.raw.partition(mark)
        return part

    def _take(self, n, deadline):
        while len(self.raw) < n:
            if not self.more(deadline):
                return None
        part, self.raw = self.raw[:n], self.raw[n:]
        return part

    def _chunks(self, deadline):
        body = b""
        while True:
            line = self._until(b"\r\n", deadline)
            if line is None:
                return body, True
            n = int(line, 16)           # our own chunks have no extensions
            if n == 0:
                return body, self._until(b"\r\n", deadline) is None
            data = self._take(n, deadline)
            if data is None:
                return body + self.raw, True
            body += data
            if self._take(2, deadline) != b"\r\n":
                return body, True

    def answer(self, seconds=PATIENCE, head_only=False):
        """The next answer; None when there is none."""
        deadline = time.monotonic() + seconds
        head = self._until(b"\r\n\r\n", deadline)
        if head is None:
            return None
        lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        status = int(lines[0].split(" ")[1])
        if head_only or status < 200 or status in (204, 304):
            return Answer(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            body, broken = self._chunks(deadline)
            return Answer(status, headers, body, broken)
        if "content-length" in headers:
            n = int(headers["content-length"])
            body, broken = self._take(n, deadline), False
            if body is None:
                body, self.raw, broken = self.raw, b"", True
            return Answer(status, headers, body, broken)
        while self.more(deadline):
            pass
        body, self.raw = self.raw, b""
        return Answer(status, headers, body, self.reset)

    def at_end(self, seconds=PATIENCE):
        """True when the connection ends without another byte."""
        deadline = time.monotonic() + seconds
        while self.more(deadline):
            pass
        return self.ended and not self.raw


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


USUAL = {"m": {"aliases": ["org/na me", "n" * 256, "\U0001f600"]}, "evil": {}}


def memory_is_given_back():
    """A sanitizer keeps freed memory for a while; where memory is measured it is not to."""
    options = [os.environ.get("ASAN_OPTIONS", ""), "quarantine_size_mb=1", "thread_local_quarantine_size_kb=64",
               "allocator_release_to_os_interval_ms=100"]
    return {"ASAN_OPTIONS": ":".join(o for o in options if o)}


class Yard:
    """`timeouts` and `limits` of the configuration; `pools`: name → what it has beside the usual."""

    def __init__(self, timeouts=None, limits=None, pools=None, environment=None):
        pools = pools or USUAL
        script = ["/usr/bin/python3", str(HERE / "scripted_engine.py")]
        usual = {"family": "command", "ready": "/health", "cancel": "all"}
        pool = {"engine": "scripted", "devices": "cpu", "slots": 64, "idle_ttl": "0"}
        self.daemon = Daemon(
            {name: {**pool, **more} for name, more in pools.items()},
            {"engines": {"scripted": {**usual, "argv": script + ["--port", "${PORT}"]},
                         "scripted-unix": {**usual, "argv": script + ["--socket", "${SOCKET}"]}},
             "allowed_hosts": ["gpu.example"], "timeouts": {**TIMEOUTS, **(timeouts or {})}, "limits": limits or {},
             "log": {"level": "info"}}, environment=environment)
        self.engines = {}
        self.sent = []              # rows of the evidence
        for name in pools:
            self.start(name)

    def start(self, pool):
        answer = self.daemon.post("/v1/pools/%s/start?wait=60s" % pool)
        assert answer.json()["state"] == "succeeded", answer.body
        endpoint = self.daemon.pool_state(pool)["replicas"][0]["endpoint"]
        self.engines[pool] = endpoint[5:] if endpoint.startswith("unix:") else int(endpoint.rsplit(":", 1)[1])

    def close(self):
        died = self.daemon.process.poll()
        self.daemon.close()
        assert died is None, "the daemon died: %s" % "".join(self.daemon.raw[-60:])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def transports(self):
        return {"tcp": self.daemon.port, "unix": self.daemon.socket}

    def address(self, transport):
        return self.transports[transport]

    def record(self, pool="m"):
        """What the engine was asked since the last time."""
        return http.get(self.engines[pool], "/__record").json()

    def look(self, pool="m"):
        """The same, and it is not forgotten."""
        return http.get(self.engines[pool], "/__look").json()

    def go(self, pool="m", n=1):
        """One ["wait"] of the engine goes on."""
        for _ in range(n):
            http.request(self.engines[pool], "POST", "/__go", {})

    def script(self, *steps, early=False, pool="m"):
        """What the engine answers from now on; no steps: the plain 200."""
        body = {"steps": [list(s) for s in steps], "early": early} if steps else {}
        http.request(self.engines[pool], "POST", "/__answer", body)

    def idle(self, pool="m"):
        """No lease is left."""
        wait_until(lambda: self.daemon.pool_state(pool)["active_leases"] == 0, 30, "leases of %s at 0" % pool)

    # ---- what it costs ------------------------------------------------------------------------------

    def memory(self):
        """Resident bytes of the daemon."""
        with open("/proc/%d/statm" % self.daemon.process.pid, encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def cpu(self):
        """Seconds of CPU it has used."""
        with open("/proc/%d/stat" % self.daemon.process.pid, encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def runs(self):
        """It wants a core at this moment, whether it has one or not."""
        pid = self.daemon.process.pid
        with open("/proc/%d/task/%d/stat" % (pid, pid), encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "R"

    def rests(self, seconds):
        """While nobody does anything it next to never runs. Of a spinning loop a busy machine would hide the time that
        it uses, but not that it always wants to run."""
        begun, used, looks = time.monotonic(), self.cpu(), []
        while time.monotonic() < begun + seconds:
            looks.append(self.runs())
            time.sleep(0.02)
        return (self.cpu() - used) / (time.monotonic() - begun) < CPU_AT_REST and sum(looks) < len(looks) / 2


def modes(case):
    """(name, [writes]) of one case."""
    yield "one write", [case.data]
    if case.one_write or len(case.data) >= BYTEWISE_MAX:
        return
    yield "a byte a write", [case.data[i:i + 1] for i in range(len(case.data))]
    n = len(case.data)
    if FULL:
        cuts = range(1, n)
    else:
        cuts = sorted({1 + (n - 2) * (i + 1) // (SHORT_CUTS + 1) for i in range(SHORT_CUTS)})
    for cut in cuts:
        yield "cut at %d" % cut, [case.data[:cut], case.data[cut:]]


def say(sock, writes):
    """Sends; what the other side does not want any more is not our fault."""
    for data in writes:
        try:
            sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return


def open_to(address):
    return connect(address, PATIENCE)


def open_narrow(address):
    """A connection whose kernel keeps next to nothing of what is not read."""
    if not isinstance(address, int):
        return open_to(address)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    sock.settimeout(PATIENCE)
    sock.connect(("127.0.0.1", address))
    return sock
