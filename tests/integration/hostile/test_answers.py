# SPDX-License-Identifier: Apache-2.0
"""What an engine may answer, and what of it reaches a client: nothing that is not HTTP, never half of something that
looks whole, only whole SSE events (GW-3a, DATA-PLANE's rules of the codec towards engines)."""
import time

import pytest

from cases import G, J, P, R, length
from yard import Reader, open_to, say

pytestmark = pytest.mark.xdist_group("answers")  # they share a yard

A = "HTTP/1.1 200 OK\r\n"
T = "Transfer-Encoding: chunked\r\n"
SSE = A + "Content-Type: text/event-stream\r\n" + T + "\r\n"
HELLO = A + "Content-Length: 5\r\n\r\nhello"
ONE_0 = R.replace(b"HTTP/1.1", b"HTTP/1.0")
STREAM = P + length(b'{"model":"m","stream":true}') + b'\r\n{"model":"m","stream":true}'


def chunked(*texts, last=True):
    return "".join("%x\r\n%s\r\n" % (len(t), t) for t in texts) + ("0\r\n\r\n" if last else "")


def send(text, *more):
    return [("send", text), *more]


@pytest.fixture(params=["tcp", "unix"])
def ask(yard, request):
    """ask(steps, early=False, data=R): (the answer, its reader). The engine is plain again afterwards."""
    opened = []

    def ask(steps, early=False, data=R):
        yard.record()
        yard.script(*steps, early=early)
        sock = open_to(yard.address(request.param))
        opened.append(sock)
        say(sock, [data])
        reader = Reader(sock)
        answer = reader.answer()
        yard.sent.append((request.node.name.partition("[")[2].rstrip("]"), request.param, "engine's answer",
                          repr(steps).encode(), "%s %s%s" % (answer.status, answer.code() or "",
                                                             " broken" if answer.broken else "")))
        return answer, reader

    yield ask
    yard.script()
    for sock in opened:
        sock.close()


def next_is_good(yard, reader):
    yard.script()
    say(reader.sock, [G + b"\r\n"])
    answer = reader.answer()
    return answer is not None and answer.status == 200


HEADS = {
    "H-50a": A + "Content-Length: 5\r\n" + T + "\r\nhello", "H-50aa": A + T + "Content-Length: 5\r\n\r\nhello",
    "H-50b": A + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "H-50ba": A + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    **{"H-50c%d" % i: A + "Content-Length: %s\r\n\r\nhello" % x
       for i, x in enumerate(("5, 5", "+5", "-1", "5x", "", "9" * 20))},
    "H-50d": A + "Transfer-Encoding: gzip, chunked\r\n\r\nhello", "H-50da": A + "Transfer-Encoding: identity\r\n\r\nhello",
    "H-50db": A + T + T + "\r\n5\r\nhello\r\n0\r\n\r\n",
    "H-50e": "HTTP/1.0 200 OK\r\n" + T + "\r\n5\r\nhello\r\n0\r\n\r\n",
    **{"H-51" + c: x + "\r\nContent-Length: 5\r\n\r\nhello" for c, x in zip("abcdefghi", (
        "HTP/1.1 200 OK", "HTTP/2 200 OK", "HTTP/1.2 200 OK", "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 099 OK",
        "HTTP/1.1 600 OK", "HTTP/1.1  200 OK", "ICY 200 OK"))},
    "H-51j": "\r\n" + HELLO, "H-51k": "warning: x\n" + HELLO, "H-51l": "\0" + HELLO,
    **{"H-52" + c: A + x + "Content-Length: 5\r\n\r\nhello" for c, x in zip("abcdefgh", (
        "X: a\n", "X: a\rSet-Cookie: b\r\n", "X: a\0b\r\n", "X: a\r\n b\r\n", "X : a\r\n", "NoColon\r\n", "N(: a\r\n",
        "Content-Type: a\r\nContent-Type: b\r\n"))},
    "H-53a": A + "X: " + "a" * 66000 + "\r\n\r\n", "H-53b": A + "X: a\r\n" * 101 + "\r\n", "H-53c": "A" * 70000,
    "H-54e": "HTTP/1.1 100 Continue\r\n\r\n" * 17 + HELLO,
    "H-54f": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "H-63c": A + "Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n" + T + "\r\n" + chunked("x"),
}


@pytest.mark.parametrize("id", HEADS)
def test_a_head_that_is_not_http_is_a_502_and_nothing_of_it_passes(yard, ask, id):
    answer, reader = ask(send(HEADS[id]))
    assert (answer.status, answer.code()) == (502, "bad_engine_answer"), answer
    assert b"hello" not in answer.body and not {"x", "set-cookie"} & set(answer.headers)
    assert len(yard.record()) == 1, "it was retried"
    assert next_is_good(yard, reader)
    yard.idle()


GOOD = {
    "H-54a": ("HTTP/1.1 100 Continue\r\n\r\n" + HELLO, b"hello"),
    "H-54b": ("HTTP/1.1 102 Processing\r\n\r\n" + HELLO, b"hello"),
    "H-54c": ("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + HELLO, b"hello"),
    "H-54d": ("HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" + HELLO, b"hello"),
    "H-58": (A + T + "\r\n5;a=b\r\nhello\r\n0\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\n\r\n", b"hello"),
    "H-60a": (HELLO + "XYZ", b"hello"), "H-60b": (HELLO + HELLO, b"hello"),
    "P-16a": ("HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    "P-16b": ("HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    "P-16c": ("HTTP/1.1 200 d\xe9j\xe0\r\ncontent-length: 5\r\nX-Empty:\r\n\r\nhello", b"hello"),
    "P-16d": (A + "Content-Length: 0\r\n\r\n", b""),
    "P-16e": (A + "Content-Type: TEXT/EVENT-STREAM;charset=utf-8\r\n" + T + "\r\n" +
              chunked("data: a\n\nda", "ta: b\n\n"), b"data: a\n\ndata: b\n\n"),
    "H-65a": (SSE + chunked("data: a\r\rdata: b\r\r"), b"data: a\r\rdata: b\r\r"),
    "H-65b": (SSE + chunked("data: a\r\n\ndata: b\r\r\n"), b"data: a\r\n\ndata: b\r\r\n"),
    "H-66a": (SSE + chunked("\xef\xbb\xbfdata: a\n\n"), b"\xef\xbb\xbfdata: a\n\n"),
    "H-66b": (SSE + chunked("data: \0\x01\n\n"), b"data: \0\x01\n\n"),
    "H-66c": (SSE + chunked("data: \xff\n\n"), b"data: \xff\n\n"),
    "H-66d": (SSE + chunked('data: "\xc3', '\xa9"\n\n'), b'data: "\xc3\xa9"\n\n'),
    "H-67c": (SSE + chunked("data\n\n", "data:\n\n", "foo: x\n\n", ":\n\n", "\n\n\n", "id: \0\n\n", "retry: 1\n\n"),
              b"data\n\ndata:\n\nfoo: x\n\n:\n\n\n\n\nid: \0\n\nretry: 1\n\n"),
    "H-68a": (SSE + chunked('data: {"a":1}\n\ndata: [DONE]'), b'data: {"a":1}\n\ndata: [DONE]'),
    "H-68c": (SSE + chunked("data: [DONE]\n\n", "data: x\n\n"), b"data: [DONE]\n\ndata: x\n\n"),
}


@pytest.mark.parametrize("id", GOOD)
def test_an_honest_answer_passes_byte_for_byte(yard, ask, id):
    text, body = GOOD[id]
    answer, reader = ask(send(text))
    assert (answer.status, answer.body, answer.broken) == (200, body, False)
    assert "set-cookie" not in answer.headers and b";" not in answer.headers.get("transfer-encoding", "").encode()
    assert next_is_good(yard, reader)
    yard.idle()


UNTIL_CLOSE = {"H-61a": A + "\r\nhello", "H-61d": "HTTP/1.0 200 OK\r\n\r\nhello",
               "H-61e": "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
               "H-61f": "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello"}


@pytest.mark.parametrize("id", UNTIL_CLOSE)
def test_an_answer_whose_end_is_the_connections_end_is_framed_anew(yard, ask, id):
    answer, reader = ask(send(UNTIL_CLOSE[id], ("fin",)))
    assert (answer.status, answer.body, answer.broken) == (200, b"hello", False)
    assert next_is_good(yard, reader)


CUT = {
    **{"H-57" + c: A + T + "\r\n5\r\nhello\r\n" + x for c, x in zip("abcd", ("0x5\r\n", "000000005\r\n", "5\n",
                                                                           "5;x\ny\r\n"))},
    "H-57e": A + T + "\r\n5\r\nhello\r\n5\r\nworldX\r\n", "H-57g": A + T + "\r\n5\r\nhello\r\n0\r\nX : 1\r\n\r\n",
    "H-59a": A + "Content-Length: 100\r\n\r\n" + "h" * 50, "H-59b": A + T + "\r\n5\r\nhello\r\n5",
    "H-59ba": A + T + "\r\n5\r\nhello\r\n5\r\nwo", "H-59bb": A + T + "\r\n5\r\nhello\r\n",
    "H-59bc": A + T + "\r\n5\r\nhello\r\n0\r\n",
}


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("id", CUT)
def test_a_broken_answer_never_looks_whole(yard, ask, id, how):
    answer, reader = ask(send(CUT[id], ("sleep", 0.1), (how,)))
    assert answer.status == 200 and answer.broken, answer
    assert b"X" not in answer.body and b"x" not in answer.body
    assert reader.at_end()
    yard.idle()


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_broken_answer_is_a_reset_for_an_http_1_0_client(yard, ask, how, request):
    if "unix" in request.node.name:
        pytest.skip("a Unix socket has no reset: its end is all that can be seen")
    answer, _ = ask(send(CUT["H-59bb"], ("sleep", 0.1), (how,)), data=ONE_0)
    assert answer.status == 200 and answer.broken


TWO = 'data: {"a":1}\n\ndata: {"b":2}\n\n'


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_only_whole_events_pass_wherever_a_stream_breaks(yard, ask, how):
    """H-70, H-68b, H-61c"""
    for n in (1, 7, 13, 14, 15, 16, 20, 28, 29):
        answer, reader = ask(send(SSE + chunked(TWO[:n], last=False), ("sleep", 0.05), (how,)), data=STREAM)
        body = answer.body.decode()
        whole = TWO[:n].rpartition("\n\n")[0] + "\n\n" if "\n\n" in TWO[:n] else ""
        assert answer.status == 200 and answer.broken, (n, answer)
        assert body.startswith(whole + "event: error\n"), (n, body)
        assert '"engine_crashed"' in body[len(whole):].replace(" ", "") or '"bad_engine_answer"' in body, (n, body)
        assert reader.at_end()
    yard.idle()


def test_hop_by_hop_and_our_own_headers_of_an_engine_do_not_pass(yard, ask):
    """H-55"""
    answer, reader = ask(send(A + "Connection: X-A\r\nX-A: 1\r\nKeep-Alive: timeout=9\r\nUpgrade: x\r\n"
                              "Proxy-Authenticate: x\r\nTrailer: y\r\nX-Request-Id: theirs\r\nX-Pool: theirs\r\n"
                              "X-Queue-Wait-Ms: 9\r\nAccess-Control-Allow-Origin: http://evil\r\n"
                              "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 5\r\n\r\nhello"))
    assert (answer.status, answer.body) == (200, b"hello")
    assert not {"x-a", "keep-alive", "upgrade", "proxy-authenticate", "trailer",
                "access-control-allow-origin", "x-queue-wait-ms"} & set(answer.headers)
    assert answer.headers["x-pool"] == "m" and answer.headers["x-request-id"] != "theirs"
    assert next_is_good(yard, reader)
    answer, _ = ask(send("HTTP/1.1 307 Moved\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n"))
    assert (answer.status, answer.headers["location"]) == (307, "http://evil/")


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_an_early_refusal_by_the_engine_passes(yard, ask, how):
    """H-56: it answers and closes while the body is half written."""
    big = b'{"model":"m","x":"' + b"a" * (8 << 20) + b'"}'
    answer, _ = ask(send("HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", ("sleep", 0.3),
                         (how,)), early=True, data=P + length(big) + b"\r\n" + big)
    assert (answer.status, answer.body) == (413, b"no")


@pytest.mark.parametrize("text", [
    "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 204 No Content\r\n" + T + "\r\n" + chunked("x"),
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello"])
def test_an_answer_that_has_no_body_passes_its_head_alone_at_once(yard, ask, text):
    """H-62 a to c"""
    answer, reader = ask(send(text))
    assert answer.status in (204, 304) and "transfer-encoding" not in answer.headers
    assert answer.status == 304 or "content-length" not in answer.headers
    assert next_is_good(yard, reader)


DRIP = [step for c in A for step in (("send", c), ("sleep", 0.4))]
SILENT = {"H-63a": ([("sleep", 8)], R, b""), "H-53d": (DRIP, R, b""),
          "H-63b": (send(SSE + chunked("data: a\n\n", last=False), ("sleep", 8)), STREAM, b"data: a\n\n")}


@pytest.mark.parametrize("id", SILENT)
def test_silence_ends_as_engine_timeout(yard, ask, id):
    steps, data, before = SILENT[id]
    begun = time.monotonic()
    answer, reader = ask(steps, data=data)
    assert 2 < time.monotonic() - begun < 8
    if before:
        assert answer.status == 200 and answer.broken and reader.at_end()
        assert answer.body.startswith(before + b"event: error\n") and b"engine_timeout" in answer.body
    else:
        assert (answer.status, answer.code()) == (504, "engine_timeout")
    # Three limits in a row, with no success between, would end the engine as stalled.
    assert ask(send(HELLO))[0].status == 200


def test_a_stray_answer_on_an_idle_connection_answers_nobody(yard, ask):
    """H-60 c, d: the next request has its own answer."""
    for stray in (HELLO.replace("hello", "stray"), "HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n"):
        ask(send(HELLO, ("sleep", 0.2), ("send", stray)))
        time.sleep(0.4)
        answer, _ = ask(send(HELLO.replace("hello", "right")))
        assert answer.body == b"right"


def test_events_cut_anywhere_are_the_same_events(yard, ask):
    """H-69, H-65 c"""
    text = 'data: {"a":1}\r\n\r\ndata: [DONE]\n\n'
    answer, _ = ask([("send", SSE)] + [("send", chunked(c, last=False)) for c in text] + [("send", "0\r\n\r\n")],
                    data=STREAM)
    assert (answer.body, answer.broken) == (text.encode(), False)
    many = "".join("data: %d\n\n" % i for i in range(20000))
    answer, _ = ask(send(SSE + chunked(many)), data=STREAM)
    assert answer.body == many.encode()


@pytest.mark.parametrize("usage", ['{"completion_tokens":-1}', '{"completion_tokens":1e999}', '{"completion_tokens":"9"}',
                                   '{"completion_tokens":%s}' % ("9" * 60000)], ids="abcd")
def test_usage_that_cannot_be_moves_no_counter(yard, ask, usage):
    """H-71 a to d"""
    def counted():
        text = yard.daemon.get("/metrics").body.decode()
        return [line for line in text.split("\n") if line.startswith("poolmgr_tokens_") and 'pool="m"' in line]

    before = counted()
    event = 'data: {"choices":[],"usage":%s}\n\n' % usage
    answer, _ = ask(send(SSE + chunked(event)), data=STREAM)
    assert answer.status == 200 and not answer.broken
    assert counted() == before
