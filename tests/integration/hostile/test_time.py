# SPDX-License-Identifier: Apache-2.0
"""Half requests, silence, floods and departures: what a connection may cost, and when it ends."""
import time

import pytest

from cases import C, E, G, J, P, R, S, T, length
from poolmgr_test import wait_until
from yard import Reader, open_to, reset, say

pytestmark = pytest.mark.xdist_group("time")     # they share a yard

HALVES = {"H-09a": P + b"Content-Length: 14\r\n\r\n" + J, "H-09b": C + b"d\r\n" + J + E, "H-09c": C + b"d\r\n" + J + b"\r\n0\r\n",
          "H-09d": C + b"d\r\n" + J + b"\r\n0\r\n\r"}


@pytest.fixture(params=["tcp", "unix"])
def address(yard, request):
    yard.record()
    return yard.address(request.param)


def nothing_asked(yard):
    assert [entry for entry in yard.record() if entry["whole"]] == [] and yard.record("evil") == []


@pytest.mark.parametrize("id", HALVES)
def test_half_a_body_is_no_body_when_its_client_leaves(yard, address, id):
    for leave in (lambda s: s.close(), reset):
        sock = open_to(address)
        say(sock, [HALVES[id]])
        leave(sock)
    sock = open_to(address)
    say(sock, [G + E])
    assert Reader(sock).answer().status == 200
    nothing_asked(yard)


@pytest.mark.parametrize("id", HALVES)
def test_half_a_body_and_silence_is_a_request_timeout(yard, address, id):
    sock = open_to(address)
    say(sock, [HALVES[id]])
    reader = Reader(sock)
    answer = reader.answer()
    assert (answer.status, answer.code()) == (408, "request_timeout") and reader.at_end()
    nothing_asked(yard)


def test_a_dripping_head_is_a_request_timeout_and_a_silent_connection_is_closed(yard, address):
    """H-45 a, b"""
    silent, sock = open_to(address), open_to(address)
    begun = time.monotonic()
    reader = Reader(sock)
    for i in range(100):
        say(sock, [b"GET /v1/models HTTP/1.1\r\nX: "[i:i + 1] or b"a"])
        if reader.more(time.monotonic() + 0.2):
            break
    answer = reader.answer()
    assert (answer.status, answer.code()) == (408, "request_timeout") and reader.at_end()
    assert 4 < time.monotonic() - begun < 15
    assert Reader(silent).at_end()


def test_a_dripping_body_is_a_request_timeout(yard, address):
    """H-46: from body_idle on the mean must be 256 bytes a second."""
    sock = open_to(address)
    say(sock, [P + b"Content-Length: 1000\r\n\r\n"])
    reader = Reader(sock)
    for _ in range(60):
        say(sock, [b"a"])
        if reader.more(time.monotonic() + 0.5):
            break
    answer = reader.answer()
    assert (answer.status, answer.code()) == (408, "request_timeout") and reader.at_end()
    nothing_asked(yard)


def test_a_client_that_waits_for_continue_gets_it_and_must_then_send(yard, address):
    """H-36 c"""
    sock = open_to(address)
    say(sock, [P + b"Expect: 100-continue\r\nContent-Length: 13\r\n\r\n"])
    reader = Reader(sock)
    assert reader.answer().status == 100
    assert reader.answer().code() == "request_timeout" and reader.at_end()


@pytest.mark.parametrize("head", [P + b"Content-Length: 67108865\r\n", b"POST /nope HTTP/1.1\r\nHost: localhost\r\n" + length(S),
                                  P + b"X : 1\r\n" + length(S)], ids="acd")
def test_a_refusal_comes_without_a_continue(yard, address, head):
    """H-35: nothing but the refusal is said, although the body has not come."""
    sock = open_to(address)
    say(sock, [head + b"Expect: 100-continue\r\n\r\n"])
    reader = Reader(sock)
    assert reader.answer().status in (413, 404, 400) and reader.at_end()
    nothing_asked(yard)


def test_thousands_of_requests_in_one_go_are_answered_in_order(yard, address):
    """H-37"""
    sock = open_to(address)
    n, block = 3000, (G + b"X-Request-Id: %d\r\n\r\n")
    data = b"".join(block % i for i in range(n))
    sock.setblocking(False)
    reader, sent = Reader(sock), 0
    while sent < len(data):             # until nobody reads any more, or all is sent
        try:
            sent += sock.send(data[sent:sent + 65536])
        except BlockingIOError:
            if not reader.more(time.monotonic() + 0.3) and reader.ended:
                break
    sock.settimeout(10)
    for i in range(n):
        answer = reader.answer()
        assert answer.status == 200 and answer.headers["x-request-id"] == str(i)


def test_a_half_close_is_a_cancel_and_the_slot_comes_back(yard, address):
    """H-40 c"""
    import socket
    yard.script(("sleep", 2))
    try:
        sock = open_to(address)
        say(sock, [R])
        sock.shutdown(socket.SHUT_WR)
        assert Reader(sock).at_end(), "an answer came"
        yard.idle()
    finally:
        yard.script()


def test_a_flood_behind_a_running_stream_does_not_hurt_it(yard, address):
    """H-40 a"""
    sse = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    yard.script(("send", sse + "9\r\ndata: a\n\n\r\n"), ("sleep", 1), ("send", "9\r\ndata: b\n\n\r\n0\r\n\r\n"))
    try:
        sock = open_to(address)
        body = b'{"model":"m","stream":true}'
        say(sock, [P + length(body) + E + body])
        reader = Reader(sock)
        assert reader.more(time.monotonic() + 10)
        sock.setblocking(False)
        for _ in range(16):
            try:
                sock.send(b"A" * 65536)
            except BlockingIOError:
                break
        sock.settimeout(10)
        answer = reader.answer()
        assert (answer.status, answer.body, answer.broken) == (200, b"data: a\n\ndata: b\n\n", False)
        sock.close()
    finally:
        yard.script()
    yard.idle()


def test_connections_that_come_and_go_leave_no_descriptor(yard, address):
    """H-48 a, in small"""
    def descriptors():
        text = yard.daemon.get("/metrics").body.decode()
        return int(text.split("\npoolmgr_open_descriptors ")[1].split("\n")[0])

    before = descriptors()
    for _ in range(20):
        socks = [open_to(address) for _ in range(50)]
        for i, sock in enumerate(socks):
            if i % 2:
                say(sock, [b"GET /v1/mod"])
            reset(sock)
    wait_until(lambda: descriptors() <= before + 4, 30, "closed descriptors")


def test_a_load_balancers_probe_leaves_no_trace(yard, address):
    """P-08: OPTIONS / over HTTP/1.0, answered or reset."""
    sock = open_to(address)
    say(sock, [b"OPTIONS / HTTP/1.0\r\n\r\n"])
    answer = Reader(sock).answer()
    assert answer.status == 204 and answer.headers["allow"] == "GET, HEAD, OPTIONS"
    sock = open_to(address)
    mark = yard.daemon.mark()
    say(sock, [b"OPTIONS / HTTP/1.0\r\n\r\n"])
    reset(sock)
    assert yard.daemon.get("/livez").status == 200
    assert yard.daemon.count("request_cancelled", after=mark) == 0


def test_a_million_members_a_chunk_each_are_one_body(yard, address):
    """H-49 b, in small: 20,000 chunks of one byte arrive as one canonical body."""
    body = b'{"x":"' + b"a" * 20000 + b'","model":"m"}'
    sock = open_to(address)
    say(sock, [P + T + E + b"".join(b"1\r\n" + body[i:i + 1] + E for i in range(len(body))) + b"0\r\n\r\n"])
    assert Reader(sock).answer().status == 200
    (entry,) = yard.record()
    assert entry["body"].encode() == body and "chunked" not in entry["head"].lower()
