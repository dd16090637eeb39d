# SPDX-License-Identifier: Apache-2.0
"""Many at once: one start for all who wait, nobody overtaken, pools beside each other."""
import threading

from poolmgr_test import Daemon, TEXT, open_request, read_answer


def test_200_requests_to_a_cold_pool_make_one_start_and_none_is_overtaken(daemon):
    """LOAD-1, QUEUE-1, INV-9, INV-24"""
    d = daemon({"tiny": Daemon.pool(slots=4, start="on-demand")}, {"log": {"level": "debug"}})
    sockets = []
    for i in range(200):
        body = {"model": "tiny", "stream": i % 2 == 0, "messages": [{"role": "user", "content": "hi"}]}
        sockets.append(open_request(d.port, "POST", "/v1/chat/completions", body,
                                    {"X-Request-Id": "r-%03d" % i}, 120))

    answers = [None] * len(sockets)

    def read(i):
        answers[i] = read_answer(sockets[i], "POST")

    threads = [threading.Thread(target=read, args=(i,)) for i in range(len(sockets))]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)

    for i, answer in enumerate(answers):
        assert answer is not None and answer.status == 200 and answer.complete, (i, answer)
        assert answer.text().strip() == TEXT
    assert d.count("instance_starting") == 1
    assert d.count("instance_crashed") == 0

    # Who waited was granted in the order of arrival.
    queued = [e["request_id"] for e in d.events if e["event"] == "request_queued"]
    placed = [e["request_id"] for e in d.events if e["event"] == "request_placed"]
    waited = [r for r in placed if r in set(queued)]
    assert len(set(queued)) >= 196
    assert waited == [r for r in queued if r in set(waited)]
    assert len(waited) == len(queued)


def test_16_pools_start_at_once(daemon):
    """LOAD-1: starts on demand do not wait for each other."""
    names = ["p%02d" % i for i in range(16)]
    d = daemon({name: Daemon.pool(slots=1, args=["-t", "1"]) for name in names})
    sockets = {name: d.open_chat(name, stream=True) for name in names}
    for name, s in sockets.items():
        answer = read_answer(s, "POST")
        assert answer.complete and answer.text().strip() == TEXT, name
        assert answer.headers["x-pool"] == name
    assert d.count("instance_starting") == 16
    assert d.stop() == 0
    assert not d.left_over()


def test_1000_pools_that_come_at_once_are_each_answered(daemon):
    """REG-2, OP-1: more operations end in one turn than are kept, and nobody who waits for one is forgotten."""
    d = daemon({})
    sockets = [open_request(d.port, "PUT", "/v1/pools/p%03d" % i, Daemon.faulty("")) for i in range(1000)]
    assert [read_answer(s, "PUT").status for s in sockets] == [201] * 1000
    assert len(d.get("/v1/pools").json()["pools"]) == 1000
