# SPDX-License-Identifier: Apache-2.0
"""An engine that believes everything: it records every byte, answers 200, or plays the answer it was told to.

    scripted_engine.py --port PORT | --socket PATH

GET /health is 200. GET /__record answers with what was asked since the last time, and forgets it; GET /__look does not
forget. POST /__answer takes {"steps": […], "early": false} for all later requests; {} is the plain 200 again. `early`:
the steps are played when the head is there. A step is one of

    ["send", "latin-1 text"]    ["fill", "text", times, seconds]: until nobody has taken anything for so long
    ["sleep", seconds]          ["wait"]: for one POST /__go
    ["fin"] ["rst"] ["die"]     ["old", step]: only on a connection that was used before

Of a large body only its length and its SHA-256 are recorded.
"""
import hashlib
import json
import os
import resource
import socket
import struct
import sys
import threading
import time

PLAIN = {"steps": None, "early": False}
BODY = b'{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"ok"}}]}'


BODY_KEPT = 1 << 20              # bytes of a body that are recorded


class Gone(Exception):
    pass


class Connection:
    def __init__(self, engine, conn):
        self.engine, self.conn, self.raw, self.n, self.entry = engine, conn, bytearray(), 0, {}

    def more(self):
        got = self.conn.recv(65536)
        if not got:
            raise Gone
        self.raw += got

    def take(self, n):
        while len(self.raw) < n:
            self.more()
        out = bytes(self.raw[:n])
        del self.raw[:n]
        return out

    def take_until(self, mark):
        while mark not in self.raw:
            self.more()
        return self.take(self.raw.index(mark) + len(mark))

    def body(self, head):
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            out = b""
            while True:
                n = int(self.take_until(b"\r\n").split(b";")[0], 16)
                if n == 0:
                    while self.take_until(b"\r\n") != b"\r\n":
                        pass
                    return out
                out += self.take(n)
                assert self.take(2) == b"\r\n"
        for line in lower.split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return self.take(int(line[15:]))
        return b""

    def fill(self, text, times, seconds):
        block, left = text.encode("latin-1") * max(1, 65536 // len(text)), len(text) * times
        self.conn.settimeout(seconds)
        try:
            while left:
                n = self.conn.send(block[:left])
                left -= n
                self.entry["filled"] += n
        except TimeoutError:
            pass
        self.conn.settimeout(None)

    def play(self, steps):
        for step in steps:
            if step[0] == "old":
                if self.n == 1:
                    continue
                step = step[1]
            if step[0] == "send":
                self.conn.sendall(step[1].encode("latin-1"))
            elif step[0] == "fill":
                self.fill(*step[1:])
            elif step[0] == "wait":
                self.entry["waits"] += 1
                self.engine.go.acquire()
            elif step[0] == "sleep":
                time.sleep(step[1])
            elif step[0] == "fin":
                raise Gone
            elif step[0] == "rst":
                self.conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raise Gone
            elif step[0] == "die":
                os._exit(7)

    def answer(self, body, kind=b"application/json"):
        self.conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s"
                          % (kind, len(body), body))

    def one(self):
        head = self.take_until(b"\r\n\r\n")
        target = head.split(b" ")[1]
        if target in (b"/__record", b"/__look"):
            self.body(head)
            self.answer(json.dumps(self.engine.told(forget=target == b"/__record")).encode())
            raise Gone
        if target == b"/__go":
            self.body(head)
            self.engine.go.release()
            self.answer(b"{}")
            raise Gone
        if target == b"/__answer":
            self.engine.script = {**PLAIN, **json.loads(self.body(head))}
            self.answer(b"{}")
            raise Gone
        if target == b"/health":
            self.answer(b'{"status":"ok"}')
            return
        script = self.engine.script
        self.n += 1
        entry = {"head": head.decode("latin-1"), "body": "", "whole": False, "from": id(self), "filled": 0, "waits": 0,
                 "over": False}
        self.entry = entry
        self.engine.add(entry)
        if script["early"]:
            self.play(script["steps"])
        body = self.body(head)
        entry["size"], entry["sha256"] = len(body), hashlib.sha256(body).hexdigest()
        if len(body) <= BODY_KEPT:
            entry["body"] = body.decode("latin-1")
        entry["whole"] = True
        if not script["early"]:
            if script["steps"] is None:
                self.answer(BODY)
            else:
                self.play(script["steps"])

    def run(self):
        try:
            while True:
                self.one()
        except (Gone, OSError):
            pass
        finally:
            self.conn.close()
            self.entry["over"] = True


class Engine:
    def __init__(self):
        self.script, self.record, self.lock, self.go = dict(PLAIN), [], threading.Lock(), threading.Semaphore(0)

    def add(self, entry):
        with self.lock:
            self.record.append(entry)

    def told(self, forget):
        with self.lock:
            out = self.record
            if forget:
                self.record = []
            return [dict(entry) for entry in out]


def main():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    threading.stack_size(256 << 10)
    if sys.argv[1] == "--port":
        listener = socket.create_server(("127.0.0.1", int(sys.argv[2])), backlog=1024)
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(sys.argv[2])
        listener.listen(1024)
    engine = Engine()
    while True:
        conn, _ = listener.accept()
        if conn.family == socket.AF_INET:
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=Connection(engine, conn).run, daemon=True).start()


main()
