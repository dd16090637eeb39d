# SPDX-License-Identifier: Apache-2.0
"""The table of hostile and of honest requests: bytes in, what must happen. One entry is one variant of a row.

`answers` is the list of what comes back: (status, code) with an error object, (status, None) bare, (200, ANY) a good
answer. `end` is "close" (the end of the connection, nothing more is parsed) or "stays" (the next good request is
answered). `engine` is how many requests reach the engine of pool m; the engine of `evil` never sees one.
"""
import dataclasses

ANY = "any"
P = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
G = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n"
T = b"Transfer-Encoding: chunked\r\n"
J = b'{"model":"m"}'
S = b"GET /upstream/m/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
E = b"\r\n"


def length(body):
    return b"Content-Length: %d\r\n" % len(body)


def post(body, more=b""):
    return P + more + length(body) + E + body


def get(more):
    return G + more + E


R = post(J)
C = P + T + E


@dataclasses.dataclass
class Case:
    id: str
    data: bytes
    answers: list
    end: str
    engine: int = 0
    param: str = None
    tcp_only: bool = False
    one_write: bool = False         # too large, or about what comes in one piece: not cut
    engine_body: bytes = None       # what the engine must have got
    engine_not: tuple = ()          # what the engine must not see
    check: object = None            # of the answers


CASES = []


def case(id, data, answers, end, **more):
    if isinstance(answers, int):
        answers = [(answers, None)]
    elif isinstance(answers, tuple):
        answers = [answers]
    CASES.append(Case(id, data, answers, end, **more))


def variants(row, datas, answers, end, **more):
    for letter, data in zip(letters(), datas):
        case(row + letter, data, answers, end, **more)


def letters():
    for first in ("", *"abcdefgh"):
        for letter in "abcdefghijklmnopqrstuvwxyz":
            yield first + letter


BAD = (400, "invalid_request")

# ---- framing ----------------------------------------------------------------------------------------------

variants("H-01", [P + h + b"\r\n0\r\n\r\n" + S for h in (b"Content-Length: 13\r\n" + T, T + b"Content-Length: 13\r\n",
                                                        b"Content-Length: 0\r\n" + T)], 400, "close")
variants("H-02", [P + b"Content-Length : 13\r\n\r\n" + J, P + b"Content-Length\t: 13\r\n\r\n" + J,
                  b"POST /v1/chat/completions HTTP/1.1\r\nHost : localhost\r\n" + length(J) + E + J,
                  post(J, b"X-A : 1\r\n"),
                  P + b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + S,
                  post(J, b"Content_Length: 5\r\n"), post(J, b"Transfer_Encoding: chunked\r\n")], 400, "close")
variants("H-03", [P + b"Transfer-Encoding: " + x + b"\r\n\r\n0\r\n\r\n" + S for x in (
    b"identity", b"chunked, gzip", b"chunked, chunked", b"chunked,", b",chunked", b"xchunked", b"chunked;q=1",
    b'"chunked"', b"", b"\x0bchunked", b"\xa0chunked", b"chunk\0ed",
    b"chunked\r\nTransfer-Encoding: identity", b"identity\r\nTransfer-Encoding: chunked",
    b"chunked\r\nTransfer-Encoding: chunked", b"chunked\r\nTransfer-Encoding:")], 400, "close")
variants("H-03z", [P + b"Transfer-Encoding: " + x + b"\r\n\r\n0\r\n\r\n" + S for x in (b"gzip, chunked", b"x, chunked")],
         501, "close")
variants("H-04", [b"POST /v1/chat/completions HTTP/1.0\r\n" + x + b"\r\n0\r\n\r\n" + S for x in (
    T, T + b"Connection: keep-alive\r\n", T + b"Content-Length: 5\r\n")], 400, "close")
variants("H-05", [P + x + E + J for x in (b"Content-Length: 13\r\nContent-Length: 14\r\n",
                                          b"Content-Length: 13\r\nContent-Length: 13\r\n",
                                          b"Content-Length: 0\r\ncontent-length: 13\r\n")], 400, "close")
variants("H-06", [P + b"Content-Length: " + x + b"\r\n\r\n" + J for x in (
    b"+13", b"-13", b"-0", b"13, 13", b"13,14", b"0xd", b"1 3", b"1_3", b"13;", b"13.0", b'"13"', b"", b"\xa013",
    b"13\x0b", b"013", b"00")], 400, "close")
variants("H-07", [P + b"Content-Length: " + x + b"\r\n\r\n" + J for x in (
    b"67108865", b"9223372036854775808", b"18446744073709551629", b"9" * 1000)], (413, "too_large"), "close")
case("H-08a", R + b"XYZ\r\n\r\n", [(200, ANY), (400, None)], "close", engine=1)
case("H-08b", P + b"Content-Length: 5\r\n\r\n" + J, [BAD, (400, None)], "close")
case("H-08c", P + b"Content-Length: 0\r\n\r\n" + J, [BAD, (400, None)], "close")
variants("H-10", [P + E + J, P + E + S], BAD, "close")
for letter, head in zip("abcd", (G, b"HEAD /livez HTTP/1.1\r\nHost: localhost\r\n",
                                 b"OPTIONS /v1/models HTTP/1.1\r\nHost: localhost\r\n",
                                 b"DELETE /v1/pools/x HTTP/1.1\r\nHost: localhost\r\n")):
    case("H-11" + letter, head + length(S) + E + S, (400, ANY if letter == "b" else "invalid_request"), "close")
case("H-11e", G + T + E + b"%x\r\n" % len(S) + S + b"\r\n0\r\n\r\n", BAD, "close")

# ---- request line -----------------------------------------------------------------------------------------

variants("H-12", [b"GET /v1/models HTTP/1.1\nHost: localhost\r\n\r\n", G + b"X: a\n\r\n", G + b"X: a\r\n\n",
                  b"GET /v1/models HTTP/1.1\nHost: localhost\n\n", b"\n" + G + E,
                  b"GET /v1/models HTTP/1.1\rHost: localhost\r\n\r\n",
                  b"GET\r/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n",
                  b"GET /v1/models HTTP/1.1\r\r\nHost: localhost\r\n\r\n",
                  get(b"X: a\rContent-Length: 5\r\n"), get(b"X: a\r\r\n"), get(b"X\r: a\r\n")], 400, "close")
variants("H-13", [x + G + E for x in (b" ", b"\t", b"\0", b"\xef\xbb\xbf", b"\r", b"\r\n\r\n")], 400, "close")
variants("H-14", [x + b"\r\nHost: localhost\r\n\r\n" for x in (
    b"GET  /v1/models HTTP/1.1", b"GET\t/v1/models HTTP/1.1", b"GET /v1/models\x0cHTTP/1.1",
    b"GET /v1/models  HTTP/1.1", b"GET /v1/models HTTP/1.1 ", b"GET /v1/mo dels HTTP/1.1", b"GET /v1/models",
    b"GET HTTP/1.1")], 400, "close")


def target(t, method=b"GET"):
    return method + b" " + t + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"


variants("H-15", [target(x) for x in (b"http://localhost/v1/models", b"http://evil/v1/models", b"localhost:8080", b"*")]
         + [target(b"*", b"OPTIONS")] + [target(x) for x in (b"v1/models", b"?x", b"\\v1\\models", b"/v1/models#x")]
         + [target(b"/v1/mo" + bytes([x]) + b"dels") for x in (*range(0, 0x20), 0x7f, *range(0x80, 0x100))],
         400, "close")
variants("H-16", [target(x) for x in (b"/v1/../v1/pools", b"/v1/%2e%2e/pools", b"/upstream/m/.%2E/x",
                                      b"/v1/models/%00", b"/v1/models/%zz", b"/v1/models/%4")], BAD, "stays")
for letter, x in zip("ghijklm", (b"//v1/models", b"/v1//models", b"/V1/models", b"/v1/models/", b"/v1%2Fmodels",
                                 b"/v1/%256dodels", b"/v1;a/models")):
    case("H-16" + letter, target(x), (404, "not_found"), "stays")
variants("H-17", [target(b"/v1/models", b"PATCH"), target(b"/v1/models", b"TRACE"),
                  b"CONNECT localhost:80 HTTP/1.1\r\n\r\n", target(b"/v1/models", b"get"),
                  target(b"/v1/models", b"BREW"), b"A" * 65536], 501, "close")
case("H-17g", target(b"/v1/models", b"G@T"), 400, "close")
case("H-17h", target(b"/v1/models", b"G\xc3T"), 400, "close")
case("H-17i", target(b"/v1/chat/completions", b"PUT"), (405, "method_not_allowed"), "stays",
     check=lambda a: a[-1].headers["allow"] == "POST, OPTIONS")
case("H-17j", target(b"/v1/models", b"POST"), (405, "method_not_allowed"), "stays",
     check=lambda a: a[-1].headers["allow"] == "GET, HEAD, OPTIONS")


def version(v):
    return b"GET /v1/models " + v + b"\r\nHost: localhost\r\n\r\n"


variants("H-18", [version(x) for x in (b"HTTP/2.0", b"HTTP/1.2", b"HTTP/0.9")], 505, "close")
case("H-18d", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [((505, 501), None)], "close")
for letter, x in zip("efghij", (b"HTTP/1.10", b"HTTP/01.1", b"http/1.1", b"HTTP/1,1", b"HTTP/1.", b"HTTPS/1.1")):
    case("H-18" + letter, version(x), 400, "close")
for letter, x in zip("klmn", (b"\x16\x03\x01\x02\0\x01", b"\r\n\r\n\0\r\nQUIT\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
                              b"SSH-2.0-x\r\n")):
    case("H-18" + letter, x, [((400, 501), None)], "close")

# ---- headers ----------------------------------------------------------------------------------------------

variants("H-19", [get(b"X-A: a" + bytes([x]) + b"b\r\n") for x in (*range(0, 9), 0x0b, 0x0c, *range(0x0e, 0x20), 0x7f)],
         400, "close")
variants("H-20", [get(x + E) for x in (b": x", b"Na me: x", b"Na\0me: x", b"N\xc3\xa4me: x", b'"N": x', b"N(x): y",
                                       b"N\x7f: x", b"NoColon", b" ", b"X: a\r\n b", b"X: a\r\n\tb",
                                       b"Transfer-Encoding:\r\n chunked")]
         + [b"GET /v1/models HTTP/1.1\r\n Host: localhost\r\n\r\n",
            b"GET /v1/models HTTP/1.1\r\n\tContent-Length: 5\r\nHost: localhost\r\n\r\n"], 400, "close")
variants("H-21", [b"GET /v1/models HTTP/1.1\r\n" + x + E for x in (
    b"", b"Host: localhost\r\nHost: localhost\r\n", b"Host: localhost\r\nHost: evil\r\n",
    *(b"Host: " + h + E for h in (b"localhost, evil", b"local host", b"localhost/x", b"u@localhost", b"localhost:99999",
                                  b"localhost:8a", b"[::1", b"local\x80host", b"")))], 400, "close")
ORIGIN = (403, "origin_refused")


def no_cors(answers):
    return not [h for h in answers[-1].headers if h.startswith("access-control")]


def hosted(lines, method=b"POST"):
    body = length(J) + E + J if method == b"POST" else b"Access-Control-Request-Method: POST\r\n\r\n"
    return method + b" /v1/chat/completions HTTP/1.1\r\n" + lines + body


for letter, x in zip("abcd", (b"evil.example", b"localhost.evil.example", b"127.0.0.1.nip.io", b"0.0.0.0:8080")):
    case("H-22" + letter, hosted(b"Host: " + x + E), ORIGIN, "close", tcp_only=True, check=no_cors)
    case("H-22j" + letter, hosted(b"Host: " + x + E, b"OPTIONS"), ORIGIN, "stays", tcp_only=True, check=no_cors)
for letter, x in zip("efghi", (b"http://evil.example", b"null", b"http://localhost.evil.example",
                               b"http://localhost:3000", b"http://localhost\r\nOrigin: http://localhost")):
    lines = b"Host: localhost\r\nOrigin: " + x + E
    case("H-22" + letter, hosted(lines), ORIGIN, "close", check=no_cors)
    case("H-22j" + letter, hosted(lines, b"OPTIONS"), ORIGIN, "stays", check=no_cors)
case("H-22k", b"GET /upstream/m/ HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n\r\n", ORIGIN, "stays",
     check=no_cors)
for letter, x, param in (("a", b"X-Deadline-Ms: -1", "X-Deadline-Ms"),
                         ("b", b"X-Deadline-Ms: 99999999999999999999", "X-Deadline-Ms"),
                         ("c", b"X-Priority: root", "X-Priority"),
                         ("d", b"X-Placement: pin=a; pin=b", "X-Placement"),
                         ("da", b"X-Placement:", "X-Placement"), ("db", b"X-Placement: pin=a;", "X-Placement"),
                         ("dc", b"X-Placement: Pin=a", "X-Placement"), ("dd", b"X-Placement: pin=a,b", "X-Placement"),
                         ("df", b"X-Placement: pin=m; fallback=maybe", "X-Placement"),
                         ("dg", b"X-Placement: prefer=m," + b"m," * 16 + b"m", "X-Placement"),
                         ("dh", b"X-Placement: pin=m; " + b" " * 1024, "X-Placement"),
                         ("ea", b"X-Deadline-Ms: 1000\r\nX-Deadline-Ms: 1000", "X-Deadline-Ms"),
                         ("ec", b"X-Placement: pin=m\r\nX-Placement: pin=m", "X-Placement"),
                         ("eb", b"X-Priority: batch\r\nX-Priority: batch", "X-Priority"),
                         ("f", b"Content-Type: application/json\r\nContent-Type: text/plain", "Content-Type")):
    case("H-24" + letter, post(J, x + E), BAD, "close", param=param)
case("H-24de", post(J, b"X-Placement: mask=0 1" + E), (400, "mask_syntax"), "close", param="X-Placement")
case("H-24g", target(b"/v1/events?tail=-1"), BAD, "stays", param="tail")
case("H-24h", target(b"/v1/operations/op-1?wait=1e9"), BAD, "stays", param="wait")
case("H-24i", target(b"/v1/models?a=1&a=2"), BAD, "stays", param="a")


def replaced(answers):
    id = answers[-1].headers["x-request-id"]
    return len(id) <= 128 and id not in ("", "a b", 'a"b', "x", "y") and "\xff" not in id


variants("H-25", [post(J, b"X-Request-Id: " + x + E) for x in (b"a" * 129, b"a b", b'a"b', b"a\xffb", b"",
                                                              b"x\r\nX-Request-Id: y")], (200, ANY), "stays", engine=1,
         check=replaced)
case("H-25g", post(J, b"traceparent: 00-zz-1\r\n"), (200, ANY), "stays", engine=1, engine_not=("00-zz-1",))
variants("H-26", [post(J, b"Content-Encoding: " + x + E) for x in (b"gzip", b"br")],
         (415, "unsupported_media_type"), "close")
BIG = (431, "header_too_large")
case("H-27a", get(b"X: " + b"a" * (65537 - len(get(b"X: \r\n"))) + E), BIG, "close", one_write=True)
case("H-27b", get(b"X: " + b"A" * 65536 + E), BIG, "close", one_write=True)
case("H-27c", get(b"A" * 65536 + b": x\r\n"), BIG, "close", one_write=True)
case("H-27d", get(b"X: a\r\n" * 100), BIG, "close")
case("H-27e", P + b"A" * 70000, BIG, "close", one_write=True)
case("H-27f", target(b"/" + b"a" * 8192), 414, "close", one_write=True)

# ---- chunks, trailers, expectations -----------------------------------------------------------------------

variants("H-28", [C + x + E + J + b"\r\n0\r\n\r\n" + S for x in (
    b"0xd", b"+d", b"-d", b" d", b"d ", b"\td", b"", b"g", b"d.0", b"0_d", b"00000000d", b"10000000d",
    b"1" + b"0" * 15 + b"d")] + [C + b"d\r\n" + J + E + x + b"\r\n\r\n" + S for x in (b"-0", b"+0")], 400, "close")
case("H-28z", C + b"0" * 70000 + E + J + b"\r\n0\r\n\r\n" + S, 400, "close", one_write=True)
case("H-29a", C + b"ffffffff\r\n", (413, "too_large"), "close")
variants("H-30", [C + x + b"0\r\n\r\n" + S for x in (
    b"d\n" + J, b"d\r" + J, b"d\r\r\n" + J, b"\nd\r\n" + J, b"d\r\n" + J + b"X\r\n", b"d\r\n" + J,
    b"d\r\n" + J + b"\n", b"d\r\n" + J + b"\r", b"c\r\n" + J + E, b"e\r\n" + J + E)], 400, "close")
variants("H-31", [C + b"d" + x + E + J + b"\r\n0\r\n\r\n" for x in (
    b";x\ny", b";x\ry", b";\0", b";=x", b";", b';a="x', b";" + b"a" * 257)]
         + [C + b"".join(b"1;" + b"a" * 200 + E + (J + b" " * 13)[i:i + 1] + E for i in range(26)) + b"0\r\n\r\n"], 400, "close")


def trailed(x):
    return C + b"d\r\n" + J + b"\r\n0\r\n" + x


variants("H-32", [trailed(x + b"\r\n\r\n") for x in (
    b"Content-Length: 100", b"Transfer-Encoding: chunked", b"Host: evil", b"Authorization: Bearer k",
    b"Content-Type: text/plain", b"X-Request-Id: x")], (200, ANY), "stays", engine=1,
         engine_not=("100", "evil", "Bearer k", "text/plain"))
variants("H-33", [trailed(x + E) for x in (b"X : 1\r\n", b"X: 1\n", b" X: 1\r\n", b"X\r\n", b"X: \0\r\n", b": x\r\n")],
         400, "close")
case("H-33g", trailed(b"X: " + b"a" * 4200 + b"\r\n\r\n"), BIG, "close", one_write=True)
case("H-33h", trailed(b"X: a\r\n" * 33 + E), BIG, "close")
variants("H-34", [P + b"Expect: " + x + E + length(J) + E + J for x in (
    b"200-ok", b"100-continue, x", b"100-continue;q=1", b"", b"100-continue\r\nExpect: 100-continue")],
         (417, "expectation_failed"), "close")
EXPECT = b"Expect: 100-continue\r\n"
case("H-35a", P + EXPECT + b"Content-Length: 67108865\r\n\r\n" + S, (413, "too_large"), "close")
case("H-35c", b"POST /nope HTTP/1.1\r\nHost: localhost\r\n" + EXPECT + length(S) + E + S, (404, "not_found"), "close")
case("H-35d", P + EXPECT + b"X : 1\r\n" + length(S) + E + S, 400, "close")
case("H-36a", b"POST /v1/chat/completions HTTP/1.0\r\n" + EXPECT + length(J) + E + J, (200, ANY), "close", engine=1)
case("H-36b", G + EXPECT + E, (200, ANY), "stays")

# ---- connections ------------------------------------------------------------------------------------------

case("H-38a", P + b"Connection: close\r\n" + length(J) + E + J + S, (200, ANY), "close", engine=1)
case("H-38b", G + E + b"GARBAGE\r\n\r\n", [(200, ANY), ((400, 501), None)], "close")
case("H-39a", b"POST /nope HTTP/1.1\r\nHost: localhost\r\n" + length(S) + E + S, (404, "not_found"), "close")
case("H-39c", b"POST /v1/chat/completions HTTP/1.1\r\nHost: evil.example\r\n" + length(S) + E + S, ORIGIN, "close",
     tcp_only=True)
case("H-39d", b"PUT /v1/models HTTP/1.1\r\nHost: localhost\r\n" + length(S) + E + S, (405, "method_not_allowed"),
     "close")
case("H-41a", post(J, b"Connection: X-A, x-b\r\nX-A: 1\r\nX-B: 2\r\n"), (200, ANY), "stays", engine=1,
     engine_not=("x-a:", "x-b:"))
case("H-41b", post(J, b"Keep-Alive: 1\r\nTE: trailers\r\nTrailer: x\r\nProxy-Connection: x\r\n"
                      b"Proxy-Authorization: x\r\nProxy-X: y\r\n"), (200, ANY), "stays", engine=1,
     engine_not=("keep-alive:", "te:", "trailer:", "proxy-connection:", "proxy-authorization:", "proxy-x:"))
case("H-41c", post(J, b"Authorization: Bearer client-key\r\nx-api-key: client-key\r\nCookie: a=b\r\n"
                      b"Accept-Encoding: gzip\r\n" + EXPECT), [(100, ANY), (200, ANY)], "stays", engine=1,
     engine_not=("client-key", "cookie:", "origin:", "accept-encoding:", "expect:"))
variants("H-42", [post(J, b"Connection: " + x + E) for x in (
    b"Host", b"Content-Length", b"Transfer-Encoding", b"Content-Type", b"Authorization", b"a," * 33)], 400, "close")
variants("H-43", [post(J, b"Connection: Upgrade\r\nUpgrade: " + x + E) for x in (
    b"websocket", b"TLS/1.0", b"foo", b"websocket, h2c")], (501, "unsupported"), "close")
case("H-44", post(J, b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"),
     (200, ANY), "stays", engine=1, engine_not=("upgrade:", "http2-settings:"))

# ---- JSON -------------------------------------------------------------------------------------------------


def json_row(row, bodies, answers, end="stays", **more):
    for letter, body in zip(letters(), bodies):
        case(row + letter, post(body), answers, end, **more)


json_row("H-72", [b'{"model":"m","model":"evil"}', b'{"model":"m","model":"m"}', b'{"model":"m","mod\\u0065l":"evil"}',
                  b'{"stream":true,"model":"m","stream":false}', b'{"model":"m","Model":"evil"}'], BAD)
json_row("H-73", [b'{"mod\\u0065l":"m"}', b'{"\\u006D\\u006f\\u0064\\u0065\\u006c":"\\u006d"}',
                  b'{"x":{"model":"evil"},"model":"m"}', b'{"messages":[{"model":"evil"}],"model":"m"}',
                  b'{"x":"model","model":"m"}', b'{"x":"\\",\\"model\\":\\"evil","model":"m"}'], (200, ANY), engine=1)
case("H-73g", post(b'{"x":"' + b"\\\\" * 65536 + b'","model":"m"}'), (200, ANY), "stays", engine=1, one_write=True)
json_row("H-74", [b'{"Model":"m"}', b'{"model ":"m"}', b'{"model\\u0000":"m"}', b'{"mode":"m"}',
                  b'{"model' + b"A" * 28 + b'":"m"}'], BAD, param="model")
case("H-74f", post(b'{"model' + b"A" * 70000 + b'":"m"}'), BAD, "stays", one_write=True, param="model")
case("H-74g", post(b'{"x":{"model":"m"}}'), BAD, "stays", param="model")
json_row("H-75", [b'{"model":5}', b'{"model":true}', b'{"model":[]}', b'{"model":{"model":"m"}}', b'{"model":null}',
                  b'{"model":"m","stream":"true"}', b'{"model":"m","stream":1}', b'{"model":"m","stream":{}}',
                  b'{"model":"m","keep_alive":"5x"}', b'{"model":"m","keep_alive":-2}',
                  b'{"model":"m","keep_alive":1e99}', b'{"model":"m","keep_alive":1,"keep_alive":2}'], BAD)
json_row("H-76", [b'{"model":"' + x + b'"}' for x in (b"", b"a" * 257, b"a" * 300, b"m\\u0000x", b"m ", b"M", b"../m")],
         (404, "model_not_found"))
json_row("H-77", [b'{"model":"' + x + b'"}' for x in (b"\\ud800", b"\\udc00\\ud800", b"\xff", b"\xc1\xad", b"m\n",
                                                      b"\\x6d", b"\\u00g0")], BAD)
json_row("H-78", [b"", b" \r\n\t" * 1000, b"[]", b'"model"', b"null", J[:-1], b'{"model":"m"]', J + b"x",
                  J + b'{"model":"evil"}', J + b"\0{}", b"\xef\xbb\xbf" + J, J.decode().encode("utf-16")], BAD)
json_row("H-79", [b'{"a" "model":"m"}', b'{model:"m"}', b"{'model':'m'}", b'{"model":"m",}',
                  b'{"a":/*"model":"evil",*/1,"model":"m"}', b'{"a":NaN,"model":"m"}'], [((400, 200), ANY)],
         engine=None)
case("H-80a", post(b'{"x":' + b"[" * 10000 + b"]" * 10000 + b',"model":"m"}'), BAD, None, one_write=True)
case("H-80b", post(b'{"a":' * 1000000), BAD, None, one_write=True)
case("H-80d", post(b"{" + b",".join(b'"%d":1' % i for i in range(200000)) + b',"model":"m"}'), (200, ANY), "stays",
     engine=1, one_write=True)
case("H-80e", post(b'{"x":' + b"1" * 1000000 + b',"model":"m"}'), (200, ANY), "stays", engine=1, one_write=True)
variants("H-82z", [b"POST /v1/pools/m/stop HTTP/1.1\r\nHost: localhost\r\n" + length(x) + E + x for x in (
    b'{"deadline_ms":1,"deadline_ms":1}', b'{"x":1}', b"[]", b"null", b"{}x", b"{}{}", b"{}\0", b"\xef\xbb\xbf{}",
    b'{"x":"\\u0000"}', b'{"x":' + b"[" * 3000)], BAD, "stays")

# ---- must pass --------------------------------------------------------------------------------------------

GOOD = (200, ANY)
variants("P-01", [b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nCONTENT-LENGTH: 13\r\n\r\n" + J,
                  P.replace(b"Host: ", b"Host:") + length(J) + E + J,
                  P + b"Content-Length:\t13 \t\r\n\r\n" + J,
                  P + b"Transfer-encoding: Chunked\r\n\r\nd\r\n" + J + b"\r\n0\r\n\r\n",
                  post(J, b"X-A:\r\n"), post(J, b"X-A: \t\r\n"), post(J, b'X-Title: caf\xe9\t"x"\r\n'),
                  post(J, b"Accept: a\r\nAccept: b\r\n"), post(J, b"Connection: ,keep-alive,\r\n")], GOOD, "stays",
         engine=1)
variants("P-01z", [post(J, x + E) for x in (b"Connection: keep-alive, close",
                                            b"Connection: keep-alive\r\nConnection: close", b"Connection: ,close,")],
         GOOD, "close", engine=1)
variants("P-02", [C + x + E + J + b"\r\n" + y for x, y in (
    (b"D", b"0\r\n\r\n"), (b"0000000d", b"0\r\n\r\n"), (b'd;a=b;c="x;\\"y"', b"0\r\n\r\n"), (b"d ;a = b", b"0\r\n\r\n"),
    (b"d", b"000;x\r\n\r\n"), (b"d", b"0\r\nX-Sum: 1\r\n\r\n"))], GOOD, "stays", engine=1)
case("P-02g", b"POST /v1/pools/m/start HTTP/1.1\r\nHost: localhost\r\n" + T + E + b"0\r\n\r\n", [((200, 202), ANY)],
     "stays")
variants("P-03", [P + x + length(J) + E + J for x in (EXPECT, b"Expect: 100-Continue\r\n")],
         [(100, ANY), (200, ANY)], "stays", engine=1)
case("P-04a", b"POST /v1/pools/m/start HTTP/1.1\r\nHost: localhost\r\n\r\n", [((200, 202), ANY)], "stays")
case("P-04b", b"POST /v1/pools/m/start HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
     [((200, 202), ANY)], "stays")
case("P-04c", get(b"Content-Length: 0\r\n"), GOOD, "stays")
case("P-05a", E + G + E, GOOD, "stays")
case("P-05b", G + E + R + G + E, [GOOD, GOOD, GOOD], "stays", engine=1)
variants("P-06", [post(J, x) for x in (b"Content-Type: application/x-www-form-urlencoded\r\n",
                                       b"Content-Type: application/json; charset=UTF-8\r\n", b"")], GOOD, "stays",
         engine=1)


def no_chunks(answers):
    return "transfer-encoding" not in answers[-1].headers


variants("P-07", [b"GET /v1/models HTTP/1.0\r\n" + x + E for x in (b"", b"Host:\r\n", b"Connection: close\r\n",
                                                                   b"Connection: Keep-Alive\r\n")], GOOD, "close",
         check=no_chunks)
case("P-08b", b"OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n\r\n", (204, ANY), "stays",
     check=lambda a: a[-1].headers["allow"] == "POST, OPTIONS")
variants("P-09", [b"GET /v1/models HTTP/1.1\r\nHost: " + x + b"\r\n\r\n" for x in (
    b"LOCALHOST:8080", b"127.0.0.1", b"[::1]:8080", b"localhost:", b"gpu.example")], GOOD, "stays")
variants("P-09z", [b"GET " + x + b" HTTP/1.1\r\nHost: 10.9.8.7\r\n\r\n" for x in (b"/livez", b"/readyz", b"/health")],
         GOOD, "stays")
case("P-09y", b"GET /v1/models HTTP/1.1\r\nHost: localhost:8080\r\nOrigin: http://localhost:8080\r\n\r\n", GOOD, "stays")
case("P-09x", get(b"Sec-Fetch-Mode: cors\r\n"), GOOD, "stays")
variants("P-10", [post(J, x + E) for x in (
    b"Connection: upgrade", b"Connection: TE\r\nTE: gzip", b"TE: trailers", b"Proxy-Connection: keep-alive",
    b"X-Forwarded-For: 1.2.3.4\r\nVia: 1.1 x", b"session_id: a")], GOOD, "stays", engine=1)
variants("P-11", [target(x) for x in (b"/v1/%6dodels", b"/v1/models/org%2Fna%20me", b"/v1/models/org/na%20me",
                                      b'/v1/models?{}^"<>[]|', b"/v1/models?",
                                      b"/v1/models?" + b"a" * 7980)], GOOD, "stays")
variants("P-12", [b"HEAD /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HEAD /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"],
         GOOD, "stays")
case("P-12c", get(b"X: " + b"a" * (65536 - len(get(b"X: \r\n"))) + E), GOOD, "stays", one_write=True)
case("P-12d", get(b"X: a\r\n" * 99), GOOD, "stays")
case("P-12e", post(b'{"model":"' + b"n" * 256 + b'"}'), GOOD, "stays", engine=1)
case("P-13a", post(b'{"x":"' + b"a" * (20 << 20) + b'","model":"m"}'), GOOD, "stays", engine=1, one_write=True)
variants("P-13b", [post(x) for x in (b' { "model" : "m" } \r\n\t ', b'{"stream":null,"model":"m"}',
                                     b'{"model":"\\ud83d\\ude00"}', b'{"messages":"model","model":"m"}',
                                     b'{"x":{"a":1,"a":2},"model":"m"}')], GOOD, "stays", engine=1)
