# SPDX-License-Identifier: Apache-2.0
"""Plain HTTP over a socket, so that a test sees what was really sent: complete, or broken off."""
import dataclasses
import json
import socket


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict
    body: bytes
    complete: bool      # the framing came to its end

    def json(self):
        return json.loads(self.body)

    def events(self):
        """The SSE events as (event, data); comments are left out."""
        out = []
        for block in self.body.decode("utf-8", "replace").replace("\r\n", "\n").split("\n\n"):
            name, data = "message", []
            for line in block.split("\n"):
                if line.startswith("event:"):
                    name = line[6:].strip()
                elif line.startswith("data:"):
                    data.append(line[5:].strip())
            if data:
                out.append((name, "\n".join(data)))
        return out

    def text(self):
        """The text of a chat answer, streamed or plain."""
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            parts = []
            for _, data in self.events():
                if data.startswith("{"):
                    for choice in json.loads(data).get("choices", []):
                        parts.append(choice.get("delta", {}).get("content") or choice.get("text") or "")
            return "".join(parts)
        choice = self.json()["choices"][0]
        return choice["message"]["content"] if "message" in choice else choice["text"]


def connect(address, seconds=60):
    """`address`: a port of 127.0.0.1, or the path of a Unix socket."""
    if isinstance(address, int):
        s = socket.create_connection(("127.0.0.1", address))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        s = socket.socket(socket.AF_UNIX)
        s.connect(str(address))
    s.settimeout(seconds)
    return s


def open_request(address, method, path, body=None, headers=None, seconds=60):
    """Sends a request and returns the socket."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    lines = ["%s %s HTTP/1.1" % (method, path), "Host: localhost", "Connection: close"]
    lines += ["%s: %s" % item for item in (headers or {}).items()]
    if body is not None or method in ("POST", "PUT"):
        lines.append("Content-Length: %d" % len(data))
    s = connect(address, seconds)
    s.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + data)
    return s


def read_head(s, seen=b""):
    while b"\r\n\r\n" not in seen:
        got = s.recv(65536)
        if not got:
            raise ConnectionError("no whole head: %r" % seen)
        seen += got
    head, rest = seen.split(b"\r\n\r\n", 1)
    lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(lines[0].split()[1]), headers, rest


def _dechunk(raw):
    """(body, complete)"""
    out = b""
    while True:
        line, found, rest = raw.partition(b"\r\n")
        if not found:
            return out, False
        n = int(line.split(b";")[0], 16)
        if n == 0:
            return out, rest == b"\r\n" or rest.endswith(b"\r\n\r\n")
        out += rest[:n]
        if len(rest) < n + 2:
            return out, False
        raw = rest[n + 2:]


def read_answer(s, method="GET"):
    """Reads to the end of the connection (ask for Connection: close)."""
    status, headers, raw = read_head(s)
    reset = False
    while True:
        try:
            got = s.recv(65536)
        except ConnectionResetError:
            reset = True
            break
        if not got:
            break
        raw += got
    s.close()
    if method == "HEAD" or status in (204, 304):
        return Answer(status, headers, raw, not raw)
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body, complete = _dechunk(raw)
        return Answer(status, headers, body, complete and not reset)
    if "content-length" in headers:
        return Answer(status, headers, raw, len(raw) == int(headers["content-length"]))
    return Answer(status, headers, raw, not reset)


def request(address, method, path, body=None, headers=None, seconds=60):
    return read_answer(open_request(address, method, path, body, headers, seconds), method)


def get(address, path, **more):
    return request(address, "GET", path, **more)


def post_json(address, path, body, **more):
    return request(address, "POST", path, body, **more)
