# SPDX-License-Identifier: Apache-2.0
"""ENGINE-2, ENGINE-3: any program as an engine, and what listens in its place is not believed."""
import http.server
import os
import signal
import threading

from poolmgr_test import Daemon, alive, wait_until

PYTHON = "/usr/bin/python3"

# argv: socket path or port. Answers 200 to /ready, and says what it was asked.
SERVER = r"""
import http.server, os, socketserver, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def address_string(self): return ""
    def answer(self, code, text):
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def do_GET(self): self.answer(200 if self.path == "/ready" else 404, b"{}")
    def do_POST(self):
        n = int(self.headers["Content-Length"])
        self.answer(200, b'{"path":"%s","body":%s}' % (self.path.encode(), self.rfile.read(n)))
class Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
where = sys.argv[1]
print("model", sys.argv[2], flush=True)
server = Unix(where, Handler) if "/" in where else http.server.ThreadingHTTPServer(("127.0.0.1", int(where)), Handler)
server.serve_forever()
"""


def command(tmp_path, script, *words, **more):
    path = tmp_path / "engine.py"
    path.write_text(script)
    return {"engines": {"own": {"family": "command", "argv": [PYTHON, str(path), *words], "ready": "/ready", **more}}}


def pool(tmp_path, **more):
    model = tmp_path / "weights.bin"
    model.write_bytes(b"anything")
    return {"model": str(model), "engine": "own", "devices": "cpu", **more}


def test_a_program_behind_a_socket_serves(daemon, tmp_path):
    d = daemon({"own": pool(tmp_path)}, command(tmp_path, SERVER, "${SOCKET}", "${MODEL}"))
    answer = d.chat("own")
    assert answer.status == 200 and answer.json()["path"] == "/v1/chat/completions"
    assert answer.json()["body"]["model"] == "own"
    assert d.pool_state("own")["replicas"][0]["endpoint_owner"] == "proved"
    assert "model %s/weights.bin" % tmp_path in d.log("own")


def test_a_program_behind_a_port_serves_and_is_proved(daemon, tmp_path):
    d = daemon({"own": pool(tmp_path)}, command(tmp_path, SERVER, "${PORT}", "${MODEL}"))
    assert d.chat("own").status == 200
    replica = d.pool_state("own")["replicas"][0]
    assert replica["endpoint"].startswith("http://127.0.0.1:") and replica["endpoint_owner"] == "proved"


def test_somebody_else_on_the_port_is_not_believed(daemon, tmp_path):
    """ENGINE-3: a squatter answers 200 on the engine's port; the pool does not become ready by it."""
    script = "import sys, time\nopen(sys.argv[2], 'w').write(sys.argv[1] + '\\n')\ntime.sleep(1000)\n"
    told = tmp_path / "port"
    d = daemon({"own": pool(tmp_path, start_stall="1500ms", restart="never")},
               command(tmp_path, script, "${PORT}", str(told)))
    s = d.open_chat("own")
    wait_until(lambda: told.exists() and told.read_text().endswith("\n"), 30, "the port")

    class Squatter(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            asked.set()

    asked = threading.Event()
    squatter = http.server.HTTPServer(("127.0.0.1", int(told.read_text())), Squatter)
    threading.Thread(target=squatter.serve_forever, daemon=True).start()
    try:
        assert asked.wait(20)
        d.wait("start_failed", seconds=30)
        assert d.count("instance_ready") == 0
    finally:
        squatter.shutdown()
        squatter.server_close()
        s.close()


def test_exit_78_is_not_tried_again(daemon, tmp_path):
    """SUP-6"""
    d = daemon({"own": pool(tmp_path)},
               command(tmp_path, "import sys\n"
                                 "print('no such weights', flush=True)\nsys.exit(78)\n"))
    answer = d.chat("own")
    assert answer.status == 503 and answer.json()["error"]["code"] == "pool_failed"
    assert "no such weights" in answer.json()["error"]["message"]
    assert d.chat("own").json()["error"]["code"] == "pool_failed"
    assert d.count("instance_starting") == 1


def test_a_deaf_program_with_helpers_is_killed_after_its_grace(either, tmp_path):
    """SUP-7: SIGTERM, grace, SIGKILL of the tree, also of a helper in a session of its own."""
    script = ("import os, signal, subprocess, sys\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
              "p = subprocess.Popen(['/bin/sleep', '1000'], start_new_session=True)\n"
              "open(sys.argv[2] + '.helper', 'w').write('%d\\n' % p.pid)\n" + SERVER)
    d = either({"own": pool(tmp_path, stop_grace="300ms")}, command(tmp_path, script, "${SOCKET}", "${MODEL}"))
    d.use("own")
    pid = d.pool_state("own")["replicas"][0]["pid"]
    helper = int((tmp_path / "weights.bin.helper").read_text())
    assert alive(pid) and alive(helper)
    assert d.post("/v1/pools/own/stop").status in (200, 202)
    d.wait("instance_stopped")
    assert not alive(pid) and not alive(helper)
    wait_until(lambda: not os.listdir(d.runtime + "/instances"), 10, "the end of its folder")


def test_a_killed_engine_is_seen_classed_and_started_again(either, tmp_path):
    """SUP-1, SUP-2: killed by somebody else, the first restart is at once."""
    d = either({"own": pool(tmp_path, start="preload")}, command(tmp_path, SERVER, "${SOCKET}", "${MODEL}"))
    first = d.wait("instance_ready")
    mark = d.mark()
    os.kill(first["pid"], signal.SIGKILL)
    crash = d.wait("instance_crashed", after=mark)
    assert crash["class"] == "killed" and crash["signal"] == 9
    second = d.wait("instance_ready", after=mark)
    assert second["pid"] != first["pid"]
    d.use("own")
