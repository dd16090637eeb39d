# SPDX-License-Identifier: Apache-2.0
"""Large bodies, floods of requests and lines without end: limits mean up to, and what does not fit is never kept."""
import hashlib
import select
import time

import pytest

from cases import C, E, G, J, P, R, length, post
from poolmgr_test import wait_until
from test_answers import SSE, STREAM, A, chunked
from yard import Reader, Yard, memory_is_given_back, open_narrow, open_to, ready, say

MIB = 1 << 20
CAP = 64 * MIB
FLAT = 32 * MIB                 # memory may move by this much where it is to stay as it is

pytestmark = pytest.mark.xdist_group("sizes")    # they share a daemon


@pytest.fixture(scope="module")
def place():
    """A daemon that gives memory back, so that it can be measured."""
    made = Yard(environment=memory_is_given_back(), timeouts={"write_stall": "60s", "body_idle": "30s", "stream_idle": "3s"})
    yield made
    made.close()


@pytest.fixture(params=["tcp", "unix"])
def address(place, request):
    place.record()
    yield place.address(request.param)
    place.script()
    place.idle()


def string_of(size):
    """A body of so many bytes that is mostly one string."""
    frame = b'{"model":"m","x":"%s"}'
    return frame % (b"a" * (size - len(frame) + 2))


# ---- bodies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [60 * MIB, CAP], ids=["H-80c", "P-12"])
def test_a_body_up_to_the_cap_reaches_the_engine_whole(place, address, size):
    """H-80 c: a string of 60 MiB; P-12: a body of exactly 64 MiB."""
    body = string_of(size)
    sock = open_to(address)
    before = place.cpu()
    say(sock, [P + length(body) + E, body])
    reader = Reader(sock)
    assert reader.answer(60).status == 200
    assert place.cpu() - before < 20, "the time is not linear"
    say(sock, [G + E])
    assert reader.answer().status == 200
    (entry,) = place.record()
    assert (entry["size"], entry["sha256"]) == (size, hashlib.sha256(body).hexdigest())


def test_chunks_over_the_cap_are_answered_when_the_sum_passes_it(place, address):
    """H-29 b: 1,025 chunks of 64 KiB; the last one's size line is too much."""
    sock = open_to(address)
    chunk = b"a" * 65536
    say(sock, [C + b"10000\r\n" + b'{"model":"m","x":"' + chunk[18:] + E])
    for _ in range(CAP // 65536 - 1):
        sock.sendall(b"10000\r\n" + chunk + E)      # all these are taken
    reader = Reader(sock)
    assert not reader.more(time.monotonic() + 0.2), reader.raw
    say(sock, [b"10000\r\n"])
    answer = reader.answer(30)
    assert (answer.status, answer.code()) == (413, "too_large") and reader.at_end()
    assert place.record() == []


def test_chunks_up_to_the_cap_are_a_body(place, address):
    """P-12, chunked"""
    body = string_of(CAP)
    sock = open_to(address)
    say(sock, [C])
    for at in range(0, CAP, 65536):
        say(sock, [b"10000\r\n" + body[at:at + 65536] + E])
    say(sock, [b"0\r\n\r\n"])
    assert Reader(sock).answer(60).status == 200
    (entry,) = place.record()
    assert (entry["size"], entry["sha256"]) == (CAP, hashlib.sha256(body).hexdigest())


# ---- requests -----------------------------------------------------------------------------------------------


def send_until_full(sock, data, seconds):
    """How much of it was taken before nothing was for so long."""
    sock.setblocking(False)
    sent = 0
    while sent < len(data) and ready(sock, select.POLLOUT, seconds):
        try:
            sent += sock.send(data[sent:sent + 65536])
        except BlockingIOError:
            pass
    return sent


def test_ten_thousand_requests_whose_answers_nobody_reads_are_not_read_either(place, address):
    """H-37: reading stops, memory stays as it is; then every answer comes, in order."""
    n, padding = 10000, b"X-Padding: " + b"a" * 4800 + E     # more than all buffers of the kernel
    data = memoryview(b"".join(G + padding + b"X-Request-Id: %d\r\n\r\n" % i for i in range(n)))
    before = place.memory()
    sock = open_narrow(address)
    sent = send_until_full(sock, data, 0.5)
    assert sent < len(data), "all was read"
    assert place.memory() - before < FLAT
    wait_until(lambda: place.rests(0.5), 30, "a loop that rests")
    reader = Reader(sock)
    for i in range(n):
        if sent < len(data):
            try:
                sent += sock.send(data[sent:sent + 65536])
            except BlockingIOError:
                pass
        answer = reader.answer(30)
        assert answer.status == 200 and answer.headers["x-request-id"] == str(i), i
    assert place.memory() - before < FLAT


# ---- streams ------------------------------------------------------------------------------------------------


def test_a_line_that_never_ends_is_held_up_to_64_kib_and_then_passed_as_it_comes(place, address):
    """H-64; a later break is a FIN only."""
    held, over = "data: " + "A" * 64000, "A" * 2000
    place.script(("send", SSE + chunked(held, last=False)), ("wait",), ("send", chunked(over, last=False)), ("wait",),
                 ("send", chunked("B", last=False)), ("wait",), ("fill", chunked("C" * 1000, last=False), 16000, 60),
                 ("wait",), ("fin",))
    sock = open_to(address)
    say(sock, [STREAM])
    reader = Reader(sock)
    waits_for(place, 1)
    assert not reader.more(time.monotonic() + 0.3), "it was not held"

    place.go()
    body = read_body(reader, len(held) + len(over))
    assert body == (held + over).encode()
    waits_for(place, 2)
    place.go()
    assert read_body(reader, 1) == b"B", "it was held again"

    before = place.memory()
    waits_for(place, 3)
    place.go()
    assert read_body(reader, 16000 * 1000) == b"C" * 16000000
    assert place.memory() - before < FLAT
    waits_for(place, 4)
    place.go()
    assert reader.at_end(), "something behind the break: %r" % reader.raw[:200]


def test_a_line_that_never_ends_is_no_silence(place):
    """H-64: it lasts longer than stream_idle, and goes on as long as it comes."""
    drip = [step for _ in range(14) for step in (("send", chunked("A" * 100, last=False)), ("sleep", 0.25))]
    place.script(("send", SSE + chunked("data: " + "A" * 66600, last=False)), *drip, ("send", chunked("\n\n")))
    sock = open_to(place.daemon.port)
    say(sock, [STREAM])
    answer = Reader(sock).answer(30)
    place.script()
    assert not answer.broken and answer.body == b"data: " + b"A" * 68000 + b"\n\n", answer.body[-200:]


def waits_for(place, n):
    wait_until(lambda: sum(entry["waits"] for entry in place.look()) == n, 30, "the engine at its pause %d" % n)


def read_body(reader, n):
    """The next n bytes of a chunked body, its head before them; nothing may follow."""
    deadline, parts = time.monotonic() + 30, []
    while n > 0:
        line = reader._until(b"\r\n", deadline)
        assert line is not None, "the body ended %d bytes early" % n
        if line.startswith(b"HTTP/1.1"):
            assert reader._until(b"\r\n\r\n", deadline) is not None
            continue
        size = int(line, 16)
        parts.append(reader._take(size, deadline))
        assert reader._take(2, deadline) == b"\r\n"
        n -= size
    assert n == 0 and reader.raw == b"", "more came than was sent"
    return b"".join(parts)


def test_comments_pass_at_once_but_a_stream_of_nothing_else_is_silent(place, address):
    """H-67 a (of pool m), b (of pool evil): they do not move stream_idle."""
    readers = {}
    for pool, ping in (("m", ": ping\n\n"), ("evil", ": ping\n")):
        place.script(("send", SSE + chunked("data: a\n\n", last=False)),
                     *[step for _ in range(60) for step in (("send", chunked(ping, last=False)), ("sleep", 0.2))],
                     pool=pool)
        sock = open_to(address)
        say(sock, [STREAM if pool == "m" else post(b'{"model":"evil","stream":true}')])
        readers[pool] = Reader(sock), b"data: a\n\n" + ping.encode()
    begun = time.monotonic()
    for reader, begin in readers.values():
        while reader.raw.count(b": ping\n") < 3:
            assert reader.more(begun + 10)
        assert b"event: error" not in reader.raw, "they came with the end"
    for reader, begin in readers.values():
        answer = reader.answer(30)
        assert answer.broken and reader.at_end() and answer.body.startswith(begin)
        before, _, error = answer.body.partition(b"event: error\n")
        assert before.count(b": ping\n") > 4 and b"engine_timeout" in error
    assert time.monotonic() - begun < 10, "the comments moved it"
    for pool, body in (("m", J), ("evil", b'{"model":"evil"}')):    # a success: three limits in a row would be a stall
        place.script(pool=pool)
        sock = open_to(address)
        say(sock, [post(body)])
        assert Reader(sock).answer().status == 200


# ---- connections to engines -----------------------------------------------------------------------------------


def test_a_reset_behind_an_answer_without_length_is_a_cut(place, address):
    """H-61 b: only a FIN is its end."""
    for text in (A + "\r\nhello", "HTTP/1.0 200 OK\r\n\r\nhello"):
        place.script(("send", text), ("sleep", 0.2), ("rst",))
        sock = open_to(address)
        say(sock, [R])
        reader = Reader(sock)
        answer = reader.answer()
        assert (answer.status, answer.body, answer.broken) == (200, b"hello", True) and reader.at_end()


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_kept_connection_that_ends_without_a_byte_costs_nobody_his_answer(place, address, how):
    """H-59 c: replayed once, on a fresh one."""
    place.script(("old", (how,)), ("send", A + "Content-Length: 5\r\n\r\nhello"))
    sock = open_to(address)
    reader, asked = Reader(sock), []
    for _ in range(2):
        say(sock, [R])
        answer = reader.answer()
        assert (answer.status, answer.body) == (200, b"hello")
        asked.append(place.record())
    assert len(asked[1]) == 2 and asked[1][0]["from"] == asked[0][-1]["from"], asked


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_fresh_connection_that_ends_without_a_byte_is_a_502(place, address, how):
    """H-59 c: the request was the engine's only one, so it is not tried again."""
    place.script((how,))
    sock = open_to(address)
    say(sock, [P + length(string_of(2 * MIB)) + E + string_of(2 * MIB)])
    answer = Reader(sock).answer()
    assert answer.status == 502 and answer.error()["retriable"] is False, answer
    assert len(place.record()) == 1
