# SPDX-License-Identifier: Apache-2.0
"""Every hostile request of the table is refused as it must be, every honest one passes; in one write, a byte a write,
cut in two, and as the second request of a connection; over TCP and over the control socket (GW-5).

HOSTILE_FULL=1 cuts at every byte instead of at a few.
"""
import pytest

from cases import ANY, CASES, G
from yard import Reader, modes, open_to, say

pytestmark = pytest.mark.xdist_group("requests")     # they share a yard


def wanted(answer, expected):
    status, code = expected
    statuses = status if isinstance(status, tuple) else (status,)
    if answer is None or answer.status not in statuses:
        return False
    if code is ANY:
        return True
    if code is None:            # bare
        return answer.body == b"" and answer.headers.get("connection") == "close"
    return answer.code() == code


def converse(address, case, writes, before):
    """Says the case on a fresh connection and checks all that comes back; returns the answers."""
    sock = open_to(address)
    reader = Reader(sock)
    if before:
        say(sock, [before])
        assert reader.answer().status == 200, "the honest request before it"
    say(sock, writes)

    answers, expected = [], list(case.answers)
    while expected:
        answer = reader.answer(head_only=case.data.startswith(b"HEAD"))
        if expected[0] == (100, ANY) and answer is not None and answer.status != 100:
            expected.pop(0)         # the body was there already: no need to ask for it
        assert wanted(answer, expected.pop(0)), answer
        answers.append(answer)

    assert all("x-request-id" in a.headers for a in answers if a.status >= 200), answers
    if case.param:
        assert answers[-1].error().get("param", "").lower() == case.param.lower(), answers[-1].body
    if case.check:
        assert case.check(answers), answers
    if case.end == "close":
        assert reader.at_end(), "the connection goes on: %r" % reader.raw
    elif case.end == "stays":
        say(sock, [G + b"\r\n"])
        last = reader.answer()
        assert last is not None and last.status == 200, "the next request: %s" % last
    sock.close()
    return answers


def check_engines(yard, case, n):
    """What reached the engines in n conversations."""
    asked = yard.record("m")
    heads = "".join(entry["head"] for entry in asked).lower()
    assert yard.record("evil") == []
    assert "smuggled" not in heads
    for text in case.engine_not:
        names = [line.split(":")[0] + ":" for line in heads.split("\r\n")]
        assert text.lower() not in (names if text.endswith(":") else heads), heads
    if case.engine is not None:
        assert len(asked) == case.engine * n, "%d requests at the engine, not %d: %s" % (
            len(asked), case.engine * n, asked[:3])
        assert all(entry["whole"] for entry in asked)


@pytest.mark.parametrize("case", CASES, ids=[c.id for c in CASES])
def test_a_request_is_answered_as_the_table_says(yard, case):
    yard.record("m"), yard.record("evil")
    n = 0
    for transport, address in yard.transports.items():
        if case.tcp_only and transport != "tcp":
            continue
        ways = [(name, writes, b"") for name, writes in modes(case)]
        if not case.one_write:
            ways.append(("second", [case.data], G + b"\r\n"))
        for name, writes, before in ways:
            try:
                answers = converse(address, case, writes, before)
            except AssertionError as e:
                raise AssertionError("%s over %s, %s: %s" % (case.id, transport, name, e)) from e
            n += 1
            yard.sent.append((case.id, transport, name, case.data,
                              ", ".join("%d %s" % (a.status, a.code() or "") for a in answers).strip()))
    check_engines(yard, case, n)
