# SPDX-License-Identifier: Apache-2.0
"""The control API of the real daemon: routes, shapes, commands, events, logs, metrics, and who may ask (API-1, AUTH-1)."""
import json
import os
import shutil
import socket
import subprocess
import time

import pytest

from poolmgr_test import Daemon, open_request, read_answer, request, tiny_model, wait_until
from poolmgr_test.http import connect, read_head


def no_nulls(value, path="$"):
    """Unknown is absent: no answer has a null anywhere."""
    assert value is not None, path
    if isinstance(value, dict):
        for key, member in value.items():
            no_nulls(member, path + "." + key)
    if isinstance(value, list):
        for i, member in enumerate(value):
            no_nulls(member, "%s[%d]" % (path, i))


def refused(answer, status, code, param=None):
    assert (answer.status, answer.json()["error"]["code"]) == (status, code), answer.body
    assert answer.headers["x-request-id"]
    if param:
        assert answer.json()["error"]["param"] == param


class Sse:
    """Reads a stream of events as they come."""

    def __init__(self, address, path, seconds=30):
        self.socket = open_request(address, "GET", path, seconds=seconds)
        self.status, self.headers, rest = read_head(self.socket)
        assert self.status == 200 and self.headers["content-type"] == "text/event-stream"
        self.raw, self.text, self.ended = rest, b"", False

    def _dechunk(self):
        while True:
            line, found, rest = self.raw.partition(b"\r\n")
            if not found:
                return
            n = int(line, 16)
            if n == 0:
                self.ended = True
                return
            if len(rest) < n + 2:
                return
            self.text += rest[:n]
            self.raw = rest[n + 2:]

    def next(self):
        """(id, event, data); None at the end."""
        while True:
            self._dechunk()
            block, found, rest = self.text.partition(b"\n\n")
            if found:
                self.text = rest
                fields = dict(line.split(": ", 1) for line in block.decode().split("\n") if not line.startswith(":"))
                if fields:
                    return fields.get("id"), fields.get("event"), json.loads(fields["data"])
                continue
            if self.ended:
                return None
            got = self.socket.recv(65536)
            if not got:
                return None
            self.raw += got

    def wait(self, name):
        while True:
            got = self.next()
            assert got is not None, "the stream ended before %s" % name
            if got[1] == name:
                return got

    def close(self):
        self.socket.close()


# ---- looking --------------------------------------------------------------------------------------------


def test_models_are_listed_as_openai_does_with_state_context_and_aliases(either):
    """GW-1"""
    d = either({"m": Daemon.pool(aliases=["org/na me", "gpt-4o-mini"])})
    listed = d.get("/v1/models").json()
    no_nulls(listed)
    assert listed["object"] == "list"
    (model,) = listed["data"]
    assert model["id"] == "m" and model["object"] == "model" and isinstance(model["created"], int)
    assert (model["state"], model["context"], model["aliases"]) == ("cold", 512, ["org/na me", "gpt-4o-mini"])
    for path in ("/v1/models/org%2Fna%20me", "/v1/models/org/na%20me"):
        assert d.get(path).json()["id"] == "org/na me"
    refused(d.get("/v1/models/nope"), 404, "model_not_found")


def test_a_pool_shows_its_shape_cold_and_ready(either):
    """REG-1, HEALTH-1"""
    d = either({"m": Daemon.pool(slots=2)})
    cold = d.get("/v1/pools/m").json()
    no_nulls(cold)
    assert (cold["id"], cold["owner"], cold["intent"], cold["state"]) == ("m", "file", "enabled", "cold")
    assert cold["health"]["ready"] is False and cold["health"]["code"]
    assert "pid" not in cold["replicas"][0] and "idle_stop_at" not in cold and "size_bytes" not in cold["model"]

    answer = d.post("/v1/pools/m/start?wait=60s")
    assert answer.status == 200, answer.body
    ready = d.get("/v1/pools/m").json()
    no_nulls(ready)
    replica = ready["replicas"][0]
    assert ready["state"] == "ready" and ready["health"]["ready"] is True
    assert (ready["slots_total"], ready["slots_free"], ready["active_leases"]) == (2, 2, 0)
    assert replica["instance"].startswith("m.") and replica["pid"] > 1 and replica["endpoint_owner"] == "proved"
    assert replica["ready_at"].endswith("Z") and ready["spec"]["slots"] == 2
    assert ready["model"] == {"ref": tiny_model(), "size_bytes": os.stat(tiny_model()).st_size}
    assert ready["engine"]["name"] == "llama" and ready["engine"]["family"] == "llama.cpp"

    health = d.get("/v1/pools/m/health").json()
    no_nulls(health)
    assert health["ready"] is True and health["replicas"][0]["live"] is True
    refused(d.get("/v1/pools/nope"), 404, "not_found")
    refused(d.get("/v1/pools/nope/health"), 404, "not_found")


def test_pools_are_listed_by_id_with_a_snapshot_version_that_counts_up(either):
    """REG-3"""
    d = either({"zeta": Daemon.pool(), "alpha": Daemon.pool()})
    first = d.get("/v1/pools").json()
    assert [p["id"] for p in first["pools"]] == ["alpha", "zeta"]
    d.post("/v1/pools/alpha/start?wait=60s")
    assert d.get("/v1/pools").json()["snapshot_version"] > first["snapshot_version"]


# ---- commands -------------------------------------------------------------------------------------------


def test_a_start_is_an_operation_that_can_be_looked_at_and_waited_for(either):
    d = either({"m": Daemon.pool()})
    answer = d.post("/v1/pools/m/start")
    operation = answer.json()
    assert answer.status == 202 and operation["kind"] == "start" and operation["pool_id"] == "m"
    assert answer.headers["location"] == "/v1/operations/" + operation["id"]
    ended = d.get(answer.headers["location"] + "?wait=60s").json()
    no_nulls(ended)
    assert ended["state"] == "succeeded" and ended["ended_at"]
    assert d.get("/v1/operations").json()["operations"][0]["id"] == operation["id"]
    refused(d.get("/v1/operations/op-999"), 404, "not_found")
    refused(d.get("/v1/operations/999"), 404, "not_found")


def test_a_wait_that_ends_first_answers_202_and_the_operation_goes_on(either):
    d = either({"m": Daemon.faulty("load:delay=3000")})
    begun = time.monotonic()
    answer = d.post("/v1/pools/m/start?wait=200ms")
    assert answer.status == 202 and answer.json()["state"] == "running"
    assert time.monotonic() - begun < 3
    assert d.get(answer.headers["location"] + "?wait=60s").json()["state"] == "succeeded"


def test_a_stop_unloads_and_the_next_request_starts_again(either):
    d = either({"m": Daemon.pool()})
    d.use("m")
    answer = d.post("/v1/pools/m/stop?wait=60s", {"deadline_ms": 0})
    assert answer.status == 200 and answer.json()["state"] == "succeeded", answer.body
    assert d.pool_state("m")["state"] == "cold"
    d.use("m")


def test_a_reset_answers_at_once(daemon):
    d = daemon({"m": Daemon.pool()})
    answer = d.post("/v1/pools/m/reset", {"breaker": "forced-open"})
    assert answer.status == 200 and answer.json()["state"] == "succeeded"
    assert d.pool_state("m")["replicas"][0]["breaker"] == "forced-open"
    refused(d.chat("m"), 503, "breaker_open")
    assert d.post("/v1/pools/m/reset").status == 200
    assert d.pool_state("m")["replicas"][0]["breaker"] == "closed"


@pytest.mark.parametrize("path,body,param", [
    ("/v1/pools/m/stop", b'{"deadline_ms":"1s"}', "deadline_ms"),
    ("/v1/pools/m/stop", b'{"deadline_ms":-1}', "deadline_ms"),
    ("/v1/pools/m/stop", b'{"deadline":1}', "deadline"),
    ("/v1/pools/m/stop", b'{"deadline_ms":1,"deadline_ms":2}', None),
    ("/v1/pools/m/stop", b'[]', None),
    ("/v1/pools/m/stop", b'{} x', None),
    ("/v1/pools/m/start", b'{"x":1}', "x"),
    ("/v1/pools/m/reset", b'{"breaker":"open"}', "breaker"),
    ("/v1/pools/m/reset", b'{"breaker":5}', "breaker"),
    ("/v1/pools/m/start?wait=1e9", b"", "wait"),
    ("/v1/pools/m/start?wiat=1s", b"", "wiat"),
    ("/v1/pools/m/start?wait=1s&wait=2s", b"", "wait"),
])
def test_a_command_that_is_not_understood_changes_nothing(either, path, body, param):
    d = either({"m": Daemon.pool()})
    refused(d.post(path, body), 400, "invalid_request", param)
    assert d.pool_state("m")["state"] == "cold"
    assert d.get("/v1/operations").json()["operations"] == []


def test_commands_on_unknown_pools_are_not_found(either):
    d = either({"m": Daemon.pool()})
    for verb in ("start", "stop", "reset"):
        refused(d.post("/v1/pools/nope/" + verb), 404, "not_found")


def test_a_waiting_request_is_listed_and_can_be_cancelled(daemon):
    d = daemon({"m": Daemon.faulty("load:delay=20000")})
    sock = d.open_chat("m", headers={"X-Request-Id": "my-id"})
    wait_until(lambda: d.get("/v1/requests").json()["requests"], 30, "a request")
    (listed,) = d.get("/v1/requests").json()["requests"]
    no_nulls(listed)
    assert (listed["id"], listed["state"], listed["queue_position"], listed["stream"]) == ("my-id", "waiting", 0, False)
    assert d.post("/v1/requests/my-id/cancel").status == 200
    assert read_answer(sock).status >= 400
    wait_until(lambda: not d.get("/v1/requests").json()["requests"], 30, "no request")
    refused(d.post("/v1/requests/my-id/cancel"), 404, "not_found")


# ---- events ---------------------------------------------------------------------------------------------


def test_events_begin_with_hello_then_the_tail_then_what_happens(either):
    d = either({"m": Daemon.pool()})
    stream = Sse(d.port, "/v1/events?tail=1000&level=info")
    first = stream.next()
    assert first[1] == "hello" and first[2]["snapshot_version"] >= 0
    started = stream.wait("daemon_started")
    d.post("/v1/pools/m/start?wait=60s")
    ready = stream.wait("instance_ready")
    assert int(ready[0]) > int(started[0])
    assert ready[2]["pool_id"] == "m" and ready[2]["human"] and ready[2]["time"].endswith("Z")
    stream.close()


def test_events_are_filtered_by_pool_and_level_and_end_when_not_followed(either):
    d = either({"a": Daemon.pool(), "b": Daemon.pool()})
    d.post("/v1/pools/a/start?wait=60s")
    d.post("/v1/pools/b/start?wait=60s")
    stream = Sse(d.port, "/v1/events?tail=1000&pool=a&follow=0")
    seen = []
    while (got := stream.next()) is not None:
        seen.append(got)
    assert {e[2]["pool_id"] for e in seen[1:]} == {"a"}
    stream = Sse(d.port, "/v1/events?tail=1000&level=warn&follow=0")
    assert stream.next()[1] == "hello"
    while (got := stream.next()) is not None:
        assert got[2]["level"] in ("warn", "error")
    refused(d.get("/v1/events?level=loud"), 400, "invalid_request", "level")
    refused(d.get("/v1/events?tail=-1"), 400, "invalid_request", "tail")
    refused(d.get("/v1/events?pool=c"), 404, "not_found", "pool")


def test_a_slow_reader_of_events_is_told_what_it_missed_and_slows_nobody(daemon):
    d = daemon({"gone": Daemon.pool(model="/nowhere/model.gguf")})
    sock = connect(d.socket)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.sendall(b"GET /v1/events?tail=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    # Refusals of a pool that cannot start are events that need no engine. The reader takes none of them meanwhile.
    for _ in range(12):
        burst = connect(d.port)
        burst.sendall(b"".join(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16\r\n\r\n"
                               b'{"model":"gone"}' for _ in range(250)))
        seen = b""
        while seen.count(b'"pool_failed"') < 250:
            got = burst.recv(65536)
            assert got, seen[-500:]
            seen += got
        burst.close()
    assert d.get("/livez").status == 200
    sock.settimeout(10)     # less than the time between two comments
    seen = b""
    while b"event: missed" not in seen:
        got = sock.recv(65536)
        assert got, "the stream ended"
        seen += got
    sock.close()


# ---- logs -----------------------------------------------------------------------------------------------


def test_logs_show_the_last_lines_of_an_engine(either):
    d = either({"m": Daemon.pool()})
    assert d.get("/v1/logs/m").body == b""
    d.post("/v1/pools/m/start?wait=60s")
    wait_until(lambda: d.get("/v1/logs/m").body, 30, "a log")
    answer = d.get("/v1/logs/m?tail=1")
    assert answer.headers["content-type"].startswith("text/plain")
    assert len(answer.body.splitlines()) == 1
    assert d.get("/v1/logs/m?tail=0").body == b""
    refused(d.get("/v1/logs/nope"), 404, "not_found")
    refused(d.get("/v1/logs/m?replica=1"), 404, "not_found", "replica")


@pytest.mark.parametrize("accept,kind,mark", [("*/*", "text/event-stream", b"data: "), ("text/plain", "text/plain", b"")])
def test_a_followed_log_goes_on_over_a_rotation(either, accept, kind, mark):
    d = either({"m": Daemon.pool()})
    path = os.path.join(d.environment["POOLMGR_LOG_DIR"], "m.0.log")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as f:
        f.write("one\ntwo\n")
    sock = open_request(d.port, "GET", "/v1/logs/m?tail=1&follow=1", headers={"Accept": accept})
    _, headers, seen = read_head(sock)
    assert headers["content-type"].startswith(kind)

    def until(text, seen):
        while text not in seen:
            got = sock.recv(65536)
            assert got, seen
            seen += got
        return seen

    seen = until(mark + b"two\n", seen)
    assert b"one" not in seen
    with open(path, "a", encoding="ascii") as f:
        f.write("three\n")
        f.flush()
        os.rename(path, path + ".1")
        f.write("four\n")
    with open(path, "w", encoding="ascii") as f:
        f.write("five\n")
    seen = until(b"five\n", seen)
    assert [x for x in (b"three", b"four", b"five") if x in seen] == [b"three", b"four", b"five"]
    sock.close()


def test_a_log_is_sse_for_who_accepts_it(either):
    d = either({"m": Daemon.pool()})
    path = os.path.join(d.environment["POOLMGR_LOG_DIR"], "m.0.log")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(b"a\xff\rb\nc")
    answer = d.get("/v1/logs/m", headers={"Accept": "text/event-stream"})
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.body == "data: a\ufffd b\n\ndata: c\n\n".encode()


# ---- what it is -----------------------------------------------------------------------------------------


def test_probes_answer_ok_to_any_host(either):
    d = either({"m": Daemon.pool()})
    for path in ("/livez", "/readyz", "/health"):
        answer = d.get(path)
        assert (answer.status, answer.body) == (200, b"ok\n")
        sock = connect(d.port)
        sock.sendall(("GET %s HTTP/1.1\r\nHost: 10.1.2.3:8080\r\nConnection: close\r\n\r\n" % path).encode())
        assert read_answer(sock).status == 200


def test_metrics_pass_promtool_and_exist_at_zero(daemon):
    d = daemon({"m": Daemon.pool(), "n": Daemon.pool()})
    answer = d.get("/metrics")
    text = answer.body.decode()
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for pool in "mn":
        for name in ("poolmgr_active_leases", "poolmgr_queue_depth", "poolmgr_tasks_started_total",
                     "poolmgr_tasks_completed_total", "poolmgr_tokens_in_total", "poolmgr_tokens_out_total"):
            assert '\n%s{pool="%s"} 0\n' % (name, pool) in text
    if shutil.which("promtool"):
        done = subprocess.run(["promtool", "check", "metrics"], input=answer.body, capture_output=True, timeout=60,
                              check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert d.chat("m", stream=True).status == 200
    text = d.get("/metrics").body.decode()
    assert '\npoolmgr_tasks_completed_total{pool="m"} 1\n' in text
    assert '\npoolmgr_latency_first_token_seconds_count{pool="m"} 1\n' in text
    assert '\npoolmgr_pool_state{pool="m",state="ready"} 1\n' in text


def test_config_is_shown_and_meta_tells_the_real_ports(either):
    d = either({"m": Daemon.pool()})
    assert d.get("/v1/config").json()["pools"]["m"]["context"] == 512
    meta = d.get("/v1/meta").json()
    no_nulls(meta)
    assert "127.0.0.1:%d" % d.port in meta["listen"]
    assert meta["pid"] == d.process.pid and meta["version"]


def test_the_front_page_names_the_pools_and_the_next_command(either):
    d = either({"tiny": Daemon.pool()})
    text = d.get("/").body.decode()
    assert "tiny" in text and "cold" in text and "curl" in text


def test_every_listed_route_is_served(either):
    d = either({"m": Daemon.pool()})
    document = d.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path, item in document["paths"].items():
        for method in item:
            if path == "/v1/events":
                continue
            answer = request(d.port, method.upper(), path.replace("{id}", "m").replace("{pool}", "m")
                             .replace("{name}", "m"), b"{}" if method == "post" else None)
            if "x-pool" in answer.headers:
                continue    # the engine's own answer; it may not serve all of these
            assert answer.status not in (405, 501), (method, path)
            assert answer.status < 500, (method, path, answer.body)
            if answer.status < 300 and answer.headers.get("content-type", "").startswith("application/json"):
                no_nulls(answer.json())


# ---- methods and paths ----------------------------------------------------------------------------------


def test_unknown_paths_wrong_methods_and_parts_not_built_are_told_apart(either):
    d = either({"m": Daemon.pool()})
    refused(d.get("/nope"), 404, "not_found")
    answer = d.post("/v1/models", {})
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    for method, path in (("GET", "/v1/nodes"), ("GET", "/upstream/m/x")):
        answer = request(d.port, method, path)
        refused(answer, 501, "unsupported")
        assert method in answer.json()["error"]["message"]
    if d.program == "orchestratord":
        refused(d.post("/v1/audio/speech"), 501, "unsupported")


def test_the_control_port_serves_no_inference_and_says_where_to_go():
    """API-1: pool-managerd; the connection stays good, and nothing is started."""
    with Daemon({"m": Daemon.pool()}, program="pool-managerd") as d:
        for path in ("/v1/chat/completions", "/v1/embeddings", "/tokenize", "/v1/audio/speech"):
            answer = d.post(path, {"model": "m"})
            refused(answer, 404, "not_found")
            assert "gateway" in answer.json()["error"]["hint"]
        listed = d.get("/openapi.json").json()["paths"]
        assert "/v1/pools/{id}/start" in listed and "/v1/models" in listed and "/v1/chat/completions" not in listed
        meta = d.get("/v1/meta").json()
        assert (meta["name"], meta["profile"]) == ("pool-managerd", "node")
        assert d.pool_state("m")["state"] == "cold"
        assert d.get("/v1/requests").json() == {"requests": []}
        refused(d.post("/v1/requests/r/cancel"), 404, "not_found")
        assert 'poolmgr_tasks_started_total{pool="m"} 0' in d.get("/metrics").body.decode()


def test_options_tells_the_methods_and_head_is_get_without_its_body(daemon):
    d = daemon({"m": Daemon.pool()})
    answer = request(d.port, "OPTIONS", "/v1/chat/completions")
    assert (answer.status, answer.headers["allow"], answer.body) == (204, "POST, OPTIONS", b"")
    whole = d.get("/v1/models")
    head = request(d.port, "HEAD", "/v1/models")
    assert head.status == 200 and head.headers["content-length"] == whole.headers["content-length"] and head.body == b""
    assert request(d.port, "HEAD", "/v1/events").status == 200


def raw(address, text):
    sock = connect(address)
    sock.sendall(text.encode())
    return read_answer(sock)


def test_a_foreign_host_or_origin_is_refused_and_wakes_nothing(daemon):
    d = daemon({"m": Daemon.pool()})
    body = '{"model":"m"}'
    for head in ("Host: evil.example\r\n", "Host: localhost\r\nOrigin: http://evil.example\r\n",
                 "Host: localhost\r\nOrigin: null\r\n", "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n"):
        for line in ("POST /v1/chat/completions HTTP/1.1", "OPTIONS /v1/chat/completions HTTP/1.1"):
            answer = raw(d.port, "%s\r\n%sConnection: close\r\n%s\r\n%s" % (
                line, head, "Content-Length: 13\r\n" if line.startswith("POST") else "",
                body if line.startswith("POST") else ""))
            refused(answer, 403, "origin_refused")
            assert not [name for name in answer.headers if name.startswith("access-control")]
    assert d.pool_state("m")["state"] == "cold"
    assert raw(d.socket, "GET /v1/models HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").status == 200
    page = "Host: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:%d\r\n" % (d.port, d.port)
    assert raw(d.port, "GET /v1/models HTTP/1.1\r\n%sConnection: close\r\n\r\n" % page).status == 200


def test_allowed_hosts_of_the_configuration_pass(either):
    d = either({"m": Daemon.pool()}, {"allowed_hosts": ["gpu.example"]})
    assert raw(d.port, "GET /v1/models HTTP/1.1\r\nHost: gpu.example\r\nConnection: close\r\n\r\n").status == 200
    refused(raw(d.port, "GET /v1/models HTTP/1.1\r\nHost: gpu.evil\r\nConnection: close\r\n\r\n"), 403,
            "origin_refused")
