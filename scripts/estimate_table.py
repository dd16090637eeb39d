#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Estimates against a real engine: writes docs/estimates.md.

    estimate_table.py POOLCTL ENGINE_FOLDER [--out FILE] [--only WORD]

For each model of tools/make_models.py, in several settings and on one to three devices (a ggml-rpc-server
each), `poolctl plan` is asked first; then llama-server is started with the flags of that plan, and its own
lines about its buffers are read. The models in their published shapes are not loaded: of them llama-server
says what it would take, when it looks whether they fit.
"""
import argparse
import collections
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import make_models  # noqa: E402

MIB = 1 << 20
PLENTY = 64 << 30                      # bytes of each device: what fits is not the question here
PRINTED = 0.0051                       # MiB: the engine rounds each line to two digits

# devices, tokens of one request, slots, more for poolctl plan, the same for the engine
SETTINGS = [
    (1, 4096, 1, [], []),
    (1, 2048, 4, ["--unified"], ["-kvu"]),
    (1, 8192, 2, ["--cache-k", "q8_0", "--cache-v", "q8_0"], ["-ctk", "q8_0", "-ctv", "q8_0"]),
    (2, 8192, 1, [], []),
    (2, 4096, 3, ["--cache-k", "q4_0", "--cache-v", "q4_0"], ["-ctk", "q4_0", "-ctv", "q4_0"]),
    (3, 4096, 2, ["--ubatch", "256"], ["-ub", "256"]),
    (3, 8192, 1, [], []),
]
# Of the published shapes.
LARGE = [(1, 8192, 1, [], []), (2, 8192, 1, [], []), (3, 8192, 1, [], []),
         (2, 32768, 4, ["--ubatch", "1024"], ["-ub", "1024"])]

BUFFER = re.compile(r"(\w+?)(?:\[([^\]]+)\])? +(model|KV|RS|compute) buffer size = +([0-9.]+) MiB")
PROJECTED = re.compile(r"- (\w+\d) .*\| *\d+ = +\d+ \+ \( *\d+ = +(\d+) \+ +(\d+) \+ +(\d+)\)")

Row = collections.namedtuple("Row", "model arch recipe setting estimated engine")
Parts = collections.namedtuple("Parts", "weights kv compute n_lines")      # MiB, of one device


def free_ports(n):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Servers:
    """One ggml-rpc-server a device."""

    def __init__(self, folder, n):
        ports = free_ports(n)
        self.endpoints = ["127.0.0.1:%d" % port for port in ports]
        self.processes = [subprocess.Popen([os.path.join(folder, "usr/bin/ggml-rpc-server"), "-H", "127.0.0.1",
                                            "-p", str(port)],
                                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                          for port in ports]
        time.sleep(0.5)
        for process in self.processes:
            if process.poll() is not None:
                sys.exit("estimate_table.py: ggml-rpc-server ended with %d" % process.returncode)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()


def ask(poolctl, engine, path, setting):
    """The plan: even ratios over all devices."""
    n, context, slots, more, _ = setting
    ratios = "[" + ",".join(["%.9f" % (1 / n)] * (n - 1) + ["%.9f" % (1 - (n - 1) * round(1 / n, 9))]) + "]"
    command = [poolctl, "--json", "plan", path, "--engine", engine, "--ctx", str(context), "--parallel", str(slots),
               "--machine", ",".join(["%dMiB" % (PLENTY // MIB)] * n), "--split", ratios if n > 1 else "none"] + more
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if not done.stdout:
        sys.exit("estimate_table.py: %s\n%s" % (" ".join(command), done.stderr))
    return json.loads(done.stdout)


def estimated(plan):
    return [Parts(d["weights_bytes"] / MIB, d["kv_bytes"] / MIB, d["compute_bytes"] / MIB, 0) for d in plan["devices"]]


def run(engine, path, endpoints, args, pattern, last):
    """The engine's lines that match, until one that ends them; then it is killed. None: it ended by itself."""
    command = [engine, "-lv", "4", "-m", path, "--host", "127.0.0.1", "--port", "0", "--no-ui", "--no-warmup",
               "--rpc", ",".join(endpoints)] + args
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
                               env=dict(os.environ, GGML_NO_BACKTRACE="1"))
    found, complete, errors = [], False, []
    for line in process.stderr:
        found += pattern.findall(line)
        if " E " in line:
            errors.append(line.strip())
        if last in line:
            complete = True
            break
    process.kill()
    process.wait()
    if not complete:
        print("  refused: %s" % (errors[0] if errors else "no reason"), flush=True)
    return found if complete else None


def measured(engine, path, endpoints, plan, setting):
    found = run(engine, path, endpoints, plan["args"] + setting[4], BUFFER, "listening on http")
    if found is None:
        return None
    parts = []
    for endpoint in endpoints:
        sums = collections.Counter()
        for _, where, what, mib in found:
            if where == endpoint:
                sums[what] += float(mib)
                sums["lines"] += 1
        parts.append(Parts(sums["model"], sums["KV"] + sums["RS"], sums["compute"], sums["lines"]))
    return parts


def projected(engine, path, endpoints, plan, setting):
    args = [word for word in plan["args"] if word not in ("-fit", "off")]
    found = run(engine, path, endpoints, args + setting[4] + ["-fit", "on"], PROJECTED, "- Host ")
    if not found or len(found) < len(endpoints):
        return None
    return [Parts(float(w), float(kv), float(c), 0) for _, w, kv, c in found[:len(endpoints)]]


def rows(poolctl, engine, folder, endpoints, names, settings, measure):
    for name in names:
        path = make_models.write(folder, name)
        model = make_models.MODELS[name]()
        for setting in settings:
            if setting[1] > model.ctx:
                setting = (setting[0], model.ctx) + setting[2:]
            plan = ask(poolctl, engine, path, setting)
            parts = measure(engine, path, endpoints[:setting[0]], plan, setting)
            if parts is None:
                continue
            row = Row(name, model.arch, model.recipe, setting, estimated(plan), parts)
            print("%-24s %s %+.1f %%" % (name, setting[:3], 100 * error(row)), flush=True)
            yield row
        os.unlink(path)


# ---- judging and writing -----------------------------------------------------------------------------------

def total(parts):
    return sum(p.weights + p.kv + p.compute for p in parts)


def error(row):
    return total(row.estimated) / total(row.engine) - 1


def exact(row):
    """Weights and KV of each device, as far as the engine prints them."""
    return all(abs(e.weights - m.weights) <= PRINTED * m.n_lines and abs(e.kv - m.kv) <= PRINTED * m.n_lines
               for e, m in zip(row.estimated, row.engine))


def short(row):
    """Devices that would get less than the engine takes."""
    return sum(e.weights + e.kv + e.compute < m.weights + m.kv + m.compute - 1
               for e, m in zip(row.estimated, row.engine))


def line(row):
    n, context, slots, more, _ = row.setting
    words = [w.lstrip("-") for w in more if w not in ("--cache-k", "--cache-v")]
    e, m = ([sum(getattr(p, part) for p in parts) for part in ("weights", "kv", "compute")]
            for parts in (row.estimated, row.engine))
    return "| %s | %d | %d × %d | %s | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %+.1f %% |" % (
        row.model, n, context, slots, " ".join(dict.fromkeys(words)) or "f16", e[0], m[0], e[1], m[1], e[2], m[2],
        100 * error(row))


HEAD = """| model | devices | context × slots | cache, other | weights: est. | engine | KV: est. | engine | compute: est. | engine | total |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


def summary(found):
    within = sum(abs(error(row)) <= 0.1 for row in found)
    return within, sum(map(exact, found)), sum(map(short, found))


def write(out, version, small, large):
    within, n_exact, n_short = summary(small)
    text = open(os.path.join(ROOT, "scripts", "estimates.md.in")).read()
    values = {
        "VERSION": version, "N": len(small), "WITHIN": within, "PERCENT": "%.0f" % (100 * within / len(small)),
        "EXACT": n_exact, "SHORT": n_short, "N_MODELS": len({row.model for row in small}),
        "N_ARCHS": len({row.arch for row in small}), "MEAN": "%.1f" % (100 * sum(abs(error(r)) for r in small) / len(small)),
        "WORST": "%+.1f" % (100 * max((error(row) for row in small), key=abs)),
        "TABLE": HEAD + "\n" + "\n".join(map(line, small)),
        "N_LARGE": len(large), "LARGE_WORST": "%+.1f" % (100 * max((error(row) for row in large), key=abs)) if large else "-",
        "LARGE": HEAD + "\n" + "\n".join(map(line, large)),
    }
    for name, value in values.items():
        text = text.replace("@%s@" % name, str(value))
    with open(out, "w") as f:
        f.write(text)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("poolctl")
    p.add_argument("engine", help="folder that tools/fetch_engine.sh made, with llama.cpp-tools-extra and "
                                  "libggml0-backend-rpc")
    p.add_argument("--out", default=os.path.join(ROOT, "docs", "estimates.md"))
    p.add_argument("--only", default="", help="models whose name has this word")
    a = p.parse_args()
    engine = os.path.join(a.engine, "usr/bin/llama-server")
    version = subprocess.run([engine, "--version"], stderr=subprocess.PIPE, text=True).stderr
    version = re.search(r"version: (.*)", version).group(1)
    names = [name for name in make_models.MODELS if a.only in name]
    with Servers(a.engine, 3) as servers, tempfile.TemporaryDirectory() as folder:
        common = (a.poolctl, engine, folder, servers.endpoints)
        small = list(rows(*common, [n for n in names if not n.endswith("-real")], SETTINGS, measured))
        large = list(rows(*common, [n for n in names if n.endswith("-real")], LARGE, projected))
    for row in small:
        if not exact(row):
            print("not exact: %s %s\n  estimated %s\n  engine    %s" % (row.model, row.setting[:4], row.estimated, row.engine))
        if short(row):
            print("short: %s %s\n  estimated %s\n  engine    %s" % (row.model, row.setting[:4], row.estimated, row.engine))
    if not small:
        sys.exit("estimate_table.py: no row")
    within, n_exact, n_short = summary(small)
    write(a.out, version, small, large)
    print("%d rows: %d within 10 %%, %d with exact weights and KV, %d devices short; %s"
          % (len(small), within, n_exact, n_short, a.out))
    if within < 0.9 * len(small) or n_exact < len(small):
        sys.exit(1)


if __name__ == "__main__":
    main()
