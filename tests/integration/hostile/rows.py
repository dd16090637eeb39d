# SPDX-License-Identifier: Apache-2.0
"""The rows of hostile and of honest bytes, and which of them are proved here; docs/hostile-cases.md is printed from it."""

ROWS = [
    ("H-01", "a length and chunks at once", ""), ("H-02", "a blank before the colon, `_` for `-`", ""),
    ("H-03", "any coding but exactly `chunked`", ""), ("H-04", "chunks in HTTP/1.0", ""),
    ("H-05", "two lengths", ""), ("H-06", "lengths that are no plain number", ""), ("H-07", "lengths over the cap", ""),
    ("H-08", "bytes behind a body", ""), ("H-09", "half a body", ""), ("H-10", "a body nobody announced", ""),
    ("H-11", "a body where none belongs", "under `/upstream` (not built)"), ("H-12", "bare LF, bare CR", ""),
    ("H-13", "bytes before the request line", ""), ("H-14", "blanks in the request line", ""),
    ("H-15", "targets that are no path", ""), ("H-16", "paths that two readers read differently", ""),
    ("H-17", "methods", ""), ("H-18", "versions and other protocols", ""), ("H-19", "controls in values", ""),
    ("H-20", "names that are no token, folded lines", ""), ("H-21", "Host: none, two, malformed", ""),
    ("H-22", "foreign Host and Origin", ""), ("H-23", "credentials", "all: needs keys"),
    ("H-24", "our headers and query keys, wrong or twice", ""), ("H-25", "request ids", ""),
    ("H-26", "coded bodies", "multipart (not built)"), ("H-27", "heads that are too large", ""),
    ("H-28", "chunk sizes", ""), ("H-29", "chunked bodies over the cap", ""),
    ("H-30", "line ends of chunks", ""), ("H-31", "chunk extensions", ""), ("H-32", "trailers", "d with keys"),
    ("H-33", "malformed trailers", ""), ("H-34", "expectations", ""),
    ("H-35", "refusals before `100 Continue`", "b: needs keys"), ("H-36", "`100 Continue` out of place", "d: see H-54"),
    ("H-37", "pipelined requests", ""), ("H-38", "bytes behind the last request", ""),
    ("H-39", "a refused request's body", "b: needs keys"), ("H-40", "more bytes and half-close while a stream runs", ""),
    ("H-41", "headers that must not reach the engine", ""), ("H-42", "nominating what decides", ""),
    ("H-43", "upgrades", ""), ("H-44", "an offer of h2c", ""), ("H-45", "slow heads", ""),
    ("H-46", "slow bodies", ""), ("H-47", "slow readers", ""),
    ("H-48", "many connections", ""), ("H-49", "body memory", ""),
    ("H-50", "an engine's framing", ""), ("H-51", "an engine's status line", ""), ("H-52", "an engine's headers", ""),
    ("H-53", "an engine's head without end", ""), ("H-54", "interim answers", ""),
    ("H-55", "headers of an engine that do not pass", "`cors_origins` (not built)"), ("H-56", "early refusals", ""),
    ("H-57", "an engine's chunks", ""), ("H-58", "an engine's extensions and trailers", ""),
    ("H-59", "answers that break off", ""), ("H-60", "stray bytes of an engine", ""),
    ("H-61", "answers without a length", ""),
    ("H-62", "answers that have no body", "d, e: HEAD under `/upstream` (not built)"),
    ("H-63", "silent engines", "d to f: need `commit_after`"), ("H-64", "a line that never ends", ""),
    ("H-65", "line ends of events", ""), ("H-66", "BOM, NUL and cut UTF-8 in events", ""),
    ("H-67", "comments and empty events", ""), ("H-68", "the end of a stream", ""),
    ("H-69", "events cut anywhere", ""), ("H-70", "streams that break anywhere", ""),
    ("H-71", "usage that cannot be", "e: needs our own `include_usage`"), ("H-72", "members given twice", ""),
    ("H-73", "`model` hidden and escaped", ""), ("H-74", "no `model`", ""), ("H-75", "types of members", ""),
    ("H-76", "names that are nearly ours", ""), ("H-77", "names that are no text", ""),
    ("H-78", "bodies that are no object", ""), ("H-79", "malformed JSON", ""), ("H-80", "depth and size", ""),
    ("H-81", "filters", "all: not built"), ("H-82", "control bodies", "PUT of pools (not built); start, stop, reset are"),
    ("H-83", "multipart: no closing boundary", "all: not built"), ("H-84", "multipart: boundaries", "all: not built"),
    ("H-85", "multipart: boundaries in data", "all: not built"), ("H-86", "multipart: `model`", "all: not built"),
    ("H-87", "multipart: file names", "all: not built"), ("H-88", "multipart: heads of parts", "all: not built"),
    ("P-01", "case, blanks, empty values, obs-text", ""), ("P-02", "chunks as proxies write them", ""),
    ("P-03", "`Expect: 100-continue`", ""), ("P-04", "no length, length 0", ""), ("P-05", "an empty line, pipelining", ""),
    ("P-06", "any Content-Type before JSON", ""), ("P-07", "HTTP/1.0", ""), ("P-08", "OPTIONS of load balancers", ""),
    ("P-09", "Host and Origin of this machine", ""), ("P-10", "headers of proxies", ""),
    ("P-11", "encoded paths, names with slashes, raw queries", "`/upstream` (not built)"),
    ("P-12", "HEAD; limits mean up to", ""),
    ("P-13", "honest JSON", ""), ("P-14", "credentials in any case", "all: needs keys"),
    ("P-15", "multipart", "all: not built"), ("P-16", "honest engines", ""),
]

INTRO = """# Bytes that must not get through, and honest bytes that must

Every row is a test that runs against the real daemon, over TCP and over the control socket: in one write, a byte a
write, cut in two, and as the second request of a connection (`HOSTILE_FULL=1` cuts at every byte). Behind the daemon
stand two scripted engines that record every byte and believe everything. What was sent and what came back is kept in
`build/evidence/hostile.md` by each run of `tests/integration/hostile`.

Malformed HTTP is answered with a bare status and the end of the connection. Everything else that is refused carries the
error object. What a body's content settles is answered when the body is whole, and the connection goes on.

A Unix socket knows no reset: a broken answer to an HTTP/1.0 client over the control socket ends like a whole one.

Whether a slow reader reads is known as far as its kernel tells: over TCP when its window opens again, over a Unix socket
when it has taken a whole block. Who takes less than that within `write_stall` is reset like one who takes nothing.

| row | about | proved | open |
| --- | --- | --- | --- |
"""


def page():
    return INTRO + "".join("| %s | %s | %s | %s |\n" % (id, about, "no" if still.startswith("all") else "yes", still) for id, about, still in ROWS)
