# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: a raw client with times, percentiles.

Nothing here retries or smooths: a run that fails ends the benchmark with what was seen.
"""
import json
import pathlib
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "support"))

from poolmgr_test import BUILD, Daemon, ENGINE, FAULT_ENGINE, tiny_model  # noqa: E402,F401


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
