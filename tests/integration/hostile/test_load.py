# SPDX-License-Identifier: Apache-2.0
"""Slow readers, full memory and full listeners: what they cost, what they are told, and that nobody else is hurt."""
import os
import resource
import select
import time

import pytest

from cases import E, G, P, R, length
from poolmgr_test import wait_until
from test_answers import A, SSE, STREAM, chunked
from yard import Reader, Yard, memory_is_given_back, open_narrow, open_to, ready, say

KIB, MIB = 1 << 10, 1 << 20
HELD = 256 * KIB                # of memory a slow reader: 64 KiB, as much again of one read, and what the allocator adds

IMPATIENT = {"write_stall": "2s", "keep_alive": "1s", "body_idle": "5s", "stream_idle": "30s", "first_byte": "60s"}
PATIENT = {"write_stall": "120s", "keep_alive": "60s", "stream_idle": "120s", "first_byte": "120s"}


MOST = 40                       # limits.connections of a small place
LIFE = {"stall_timeout": "2s"}

pytestmark = pytest.mark.xdist_group("load")     # they share daemons


@pytest.fixture(scope="module", autouse=True)
def many_descriptors():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def sockets():
    """sockets(sock) is sock, closed in the end: a slow reader would hold up the daemon's own."""
    opened = []
    yield lambda sock: opened.append(sock) or sock
    for sock in opened:
        sock.close()


@pytest.fixture(scope="module")
def impatient():
    made = Yard(timeouts=IMPATIENT, pools={"m": {}, "life": LIFE, "breath": LIFE}, environment=memory_is_given_back())
    yield made
    made.close()


@pytest.fixture(scope="module")
def patient():
    made = Yard(timeouts=PATIENT, environment=memory_is_given_back(),
                pools={"m": {"slots": 1000}, "u": {"engine": "scripted-unix", "slots": 1000}})
    yield made
    made.close()


def both(place):
    return list(place.transports.values())


def head(n):
    return A + "Content-Length: %d\r\n\r\n" % n


def ask(pool, connect, address):
    body = b'{"model":"%s"}' % pool.encode()
    sock = connect(address)
    say(sock, [P + length(body) + E + body])
    return sock


def settled(place, pool, n):
    """n engines' connections have sent what they could, and no more of it is taken: how much each has."""
    before = []
    while True:
        time.sleep(0.3)
        now = [entry["filled"] for entry in place.look(pool)]
        if now == before and len(now) == n and all(now):
            return now
        before = now


# ---- slow readers -------------------------------------------------------------------------------------------


def test_a_client_that_reads_nothing_is_reset_and_its_engine_not_read_meanwhile(impatient, sockets):
    """H-47 a"""
    total, mark, before = 300 * MIB, impatient.daemon.mark(), impatient.memory()
    impatient.record()
    impatient.script(("send", head(total)), ("fill", "A", total, 60))
    begun = time.monotonic()
    readers = {address: Reader(sockets(ask("m", open_narrow, address))) for address in both(impatient)}
    for sent in settled(impatient, "m", 2):
        assert sent < total / 4, "the engine was read"
    assert impatient.memory() - before < 8 * MIB
    assert impatient.rests(0.5), "it spins"
    wait_until(lambda: impatient.daemon.count("request_cancelled", after=mark) == 2, 30, "the end of both")
    assert time.monotonic() - begun > 1.9
    for address, reader in readers.items():
        answer = reader.answer(30)
        assert answer.status == 200 and answer.broken
        assert reader.ended and (reader.reset or address == impatient.daemon.socket)
    impatient.script()
    impatient.idle()                # LEASE-2: its requests stop when their connection closes


def test_a_client_that_reads_slowly_goes_on(impatient, sockets):
    """H-47 b: for three times write_stall, a little all the time."""
    total = 300 * MIB
    impatient.record()
    impatient.script(("send", head(total)), ("fill", "A", total, 60))
    socks = [sockets(ask("m", open_narrow, address)) for address in both(impatient)]
    settled(impatient, "m", 2)
    end, got = time.monotonic() + 6, {sock: 0 for sock in socks}
    while time.monotonic() < end:
        for sock in socks:
            got[sock] += len(sock.recv(16 * KIB))
        time.sleep(0.1)
    assert impatient.daemon.pool_state("m")["active_leases"] == 2
    assert all(n < total / 4 for n in got.values())
    for sock in socks:
        sock.close()
    impatient.script()
    impatient.idle()


@pytest.mark.parametrize("pool,n,size,end", [("u", 1000, 384 * KIB, "fin"), ("m", 200, 384 * KIB, "fin"),
                                             ("m", 100, 8 * MIB, "rst")],
                         ids=["unix, ended", "tcp, ended", "tcp, reset"])
def test_slow_readers_of_engines_that_have_ended_cost_next_to_nothing(patient, sockets, pool, n, size, end):
    """H-47 c: the engines' connections are over, and what they sent is not read; nothing spins, little is held."""
    patient.record(pool)
    patient.script(("send", head(size)), ("fill", "A", size, 5 if end == "fin" else 0.5), (end,), pool=pool)
    before = patient.memory()
    # Over TCP the kernel itself would take all of the short answers.
    address = patient.daemon.socket if end == "fin" else patient.daemon.port
    readers = [Reader(sockets(ask(pool, open_narrow, address))) for _ in range(n)]
    wait_until(lambda: sum(entry["over"] for entry in patient.look(pool)) == n, 60, "the end of %d engines" % n)
    assert patient.daemon.pool_state(pool)["active_leases"] == n, "they were not slow"
    assert patient.memory() - before < n * HELD
    wait_until(lambda: patient.rests(1), 30, "a loop that rests")
    for reader in readers:
        if end == "fin":            # of a reset the kernel may lose what was under way
            answer = reader.answer(30)
            assert (answer.status, len(answer.body), answer.broken) == (200, size, False)
        else:
            reader.sock.close()
    patient.script(pool=pool)
    patient.idle(pool)


# ---- connections ----------------------------------------------------------------------------------------------


def test_a_connection_that_is_idle_after_an_answer_is_closed_without_a_byte(impatient, sockets):
    """H-45 c: after keep_alive."""
    for address in both(impatient):
        sock = sockets(open_to(address))
        reader = Reader(sock)
        for _ in range(2):          # each answer begins it anew
            say(sock, [G + E])
            assert reader.answer().status == 200
            begun = time.monotonic()
            assert not reader.more(begun + 0.5) and not reader.ended
        assert reader.at_end() and time.monotonic() - begun > 0.9


STREAMING = [("send", SSE + chunked("data: a\n\n", last=False)), ("wait",), ("send", chunked("data: b\n\n"))]


def begin_stream(place, sock):
    """Its reader; the first event is there."""
    place.script(*STREAMING)
    say(sock, [STREAM])
    reader = Reader(sock)
    assert reader.more(time.monotonic() + 10)
    place.script()
    return reader


def ends_well(place, reader):
    place.go()
    answer = reader.answer()
    return (answer.status, answer.body, answer.broken) == (200, b"data: a\n\ndata: b\n\n", False)


def serves(sock):
    say(sock, [G + E])
    answer = Reader(sock).answer()
    return answer is not None and answer.status == 200


def is_told(sock):
    """It is refused, whatever it says."""
    reader = Reader(sock)
    answer = reader.answer()
    return (answer.status, answer.code()) == (503, "overloaded") and answer.headers["connection"] == "close" and \
        int(answer.headers["retry-after"]) >= 1 and reader.at_end()


@pytest.fixture
def small():
    with Yard(limits={"connections": MOST}, timeouts=PATIENT, pools={"m": {}}) as made:
        yield made


@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_one_connection_more_than_the_limit_is_told_and_streams_are_not_hurt(small, sockets, transport):
    """H-48 b: limits.connections, over all listeners; when one leaves the next is served."""
    address = small.address(transport)

    def served():
        sock = sockets(open_to(address))
        return sock if serves(sock) else None

    reader = begin_stream(small, sockets(open_to(address)))
    # The last ones may have to wait for the ends of what made the stream.
    opened = [wait_until(served, 30, "a connection that is served") for _ in range(MOST - 1)]
    for other in both(small):
        assert is_told(sockets(open_to(other)))
    opened.pop().close()            # those that were told are still there, and take no place
    wait_until(served, 30, "a connection that is served")
    assert is_told(sockets(open_to(address)))
    for sock in opened:
        sock.close()
    assert ends_well(small, reader)


def test_without_descriptors_a_connection_is_told_and_streams_are_not_hurt(small, sockets):
    """H-48 b: EMFILE"""
    pid, address = small.daemon.process.pid, small.daemon.port
    reader = begin_stream(small, sockets(open_to(address)))
    former = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = max(int(fd) for fd in os.listdir("/proc/%d/fd" % pid))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 4, former[1]))
    served = []
    while serves(sock := sockets(open_to(address))):
        served.append(sock)
    assert is_told(sockets(open_to(address)))
    assert 0 < len(served) < MOST - 1, "it is the limit of connections"
    assert all(serves(sock) for sock in served)
    served.pop().close()
    wait_until(lambda: serves(sockets(open_to(address))), 30, "a connection that is served")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, former)
    assert ends_well(small, reader)


def test_an_engine_that_dies_with_its_only_request_is_a_502(small, sockets):
    """H-59 c"""
    small.script(("die",))
    answer = Reader(sockets(ask("m", open_to, small.daemon.port))).answer(30)
    assert (answer.status, answer.code()) == (502, "engine_crashed")


# ---- memory for bodies ------------------------------------------------------------------------------------------


def test_the_ninth_upload_waits_for_memory_and_is_then_told(impatient, sockets):
    """H-49 a: eight of 60 MiB are read, for nine 512 MiB are not enough; small ones are served meanwhile."""
    size, piece = 60 * MIB, b"a" * MIB
    impatient.record()
    mark = impatient.memory()
    eight = [sockets(open_to(both(impatient)[i % 2])) for i in range(8)]
    for sock in eight:
        say(sock, [P + b"Content-Length: %d\r\n\r\n" % size])
    for _ in range(59):
        for sock in eight:
            sock.sendall(piece)     # in turns: none of them is ever silent for long
    assert impatient.memory() - mark < 8 * 60 * MIB + 64 * MIB

    ninth = sockets(open_to(impatient.daemon.port))
    begun = time.monotonic()
    say(ninth, [P + b"Content-Length: %d\r\n\r\n" % size])
    ninth.setblocking(False)
    sent, reader = 0, Reader(ninth)
    while not reader.more(time.monotonic() + 0.2) and time.monotonic() - begun < 30:
        while ready(ninth, select.POLLOUT, 0.05) and sent < size:
            try:
                sent += ninth.send(piece[:size - sent])
            except (BrokenPipeError, ConnectionResetError):
                break               # the answer is there, and the end behind it
        for sock in eight:
            sock.sendall(b"a" * 1024)
        small = sockets(open_to(impatient.daemon.port))
        say(small, [R])
        assert Reader(small).answer().status == 200
    answer = reader.answer()
    assert (answer.status, answer.code()) == (503, "overloaded")
    assert sent < size / 2, "it was read"
    assert time.monotonic() - begun > 4.9

    assert {entry["size"] for entry in impatient.record()} == {len(b'{"model":"m"}')}
    eight.pop().close()             # its memory is free again
    last = sockets(open_to(impatient.daemon.port))
    body = b'{"model":"m","x":"%s"}' % (b"a" * (size - 20))
    for sock in eight:
        sock.sendall(b"a" * 1024)
    say(last, [P + length(body) + E, body])
    assert Reader(last).answer(30).status == 200


# ---- signs of life ------------------------------------------------------------------------------------------------


def test_comments_are_signs_of_life_of_an_engine(impatient, sockets):
    """H-67 a (of pool life), b (of pool breath), HEALTH-3b: an engine that sends nothing else is not hung; one that
    sends nothing is."""
    mark, readers, pings = impatient.daemon.mark(), {}, {"life": ": ping\n\n", "breath": ": ping\n"}
    for pool, ping in pings.items():
        impatient.script(("send", SSE), *[step for _ in range(16) for step in
                                          (("send", chunked(ping, last=False)), ("sleep", 0.3))], ("wait",), pool=pool)
        sock = sockets(open_to(impatient.daemon.port))
        body = b'{"model":"%s","stream":true}' % pool.encode()
        say(sock, [P + length(body) + E + body])
        readers[pool] = Reader(sock)
    for pool in pings:
        wait_until(lambda: [entry["waits"] for entry in impatient.look(pool)] == [1], 30, "the end of the comments")
        assert impatient.daemon.count("instance_stalled", after=mark, pool_id=pool) == 0
    for pool, ping in pings.items():
        impatient.daemon.wait("instance_stalled", after=mark, pool_id=pool)
        answer = readers[pool].answer(60)
        assert answer.broken and answer.body.startswith(ping.encode() * 16 + b"event: error\n")
