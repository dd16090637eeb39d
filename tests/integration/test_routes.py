# SPDX-License-Identifier: Apache-2.0
"""Names that several pools serve, and what a request wishes among them, with real daemons and engines."""
import threading

from poolmgr_test import Daemon, wait_until


def both(**more):
    return {name: Daemon.pool(aliases=["both"], **more) for name in ("a", "b")}


def chat(d, model, **headers):
    return d.chat(model, headers={name.replace("_", "-"): value for name, value in headers.items()})


def refusal(answer):
    return answer.status, answer.json()["error"]["code"]


def test_an_alias_of_two_pools_starts_one_and_is_served_by_it(daemon):
    """SPEC Route, LIFECYCLE 2 row 9: of cold pools one is started at a time."""
    d = daemon(both())
    answers = [None] * 6
    threads = [threading.Thread(target=lambda i=i: answers.__setitem__(i, chat(d, "both"))) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [answer.status for answer in answers] == [200] * 6
    assert {answer.headers["x-pool"] for answer in answers} == {"a"}
    assert d.count("instance_starting") == 1
    assert d.pool_state("b")["state"] == "cold"


def test_who_may_not_be_served_by_one_pool_is_served_by_the_other(daemon):
    """LIFECYCLE 4: elsewhere"""
    d = daemon({"a": Daemon.pool(aliases=["both"], model="/nowhere/missing.gguf"), "b": Daemon.pool(aliases=["both"])})
    answer = chat(d, "both")
    assert answer.status == 200 and answer.headers["x-pool"] == "b"
    assert d.pool_state("a")["state"] == "failed"
    assert refusal(chat(d, "a")) == (503, "pool_failed")
    answer = chat(d, "both", X_Placement="pin=a")
    assert refusal(answer) == (503, "pin_unmet") and answer.headers["x-should-retry"] == "false"


def test_a_request_is_placed_as_it_wishes(daemon):
    """PLACE-2"""
    d = daemon(both())
    assert chat(d, "both", X_Placement="pin=b").headers["x-pool"] == "b"
    assert chat(d, "both").headers["x-pool"] == "b"  # which is up
    assert chat(d, "both", X_Placement="avoid=b").headers["x-pool"] == "a"
    assert chat(d, "both", X_Placement="prefer=b").headers["x-pool"] == "b"
    assert chat(d, "both", X_Placement="mask=cpu; fallback=no").status == 200
    assert refusal(chat(d, "both", X_Placement="mask=0")) == (503, "pin_unmet")
    assert refusal(chat(d, "a", X_Placement="pin=b")) == (503, "pin_unmet")
    answer = chat(d, "both", X_Placement="pin=a; pin=b")
    assert refusal(answer) == (400, "invalid_request") and answer.json()["error"]["param"] == "X-Placement"


def test_placement_is_explained_and_nothing_is_changed(daemon):
    """PLACE-1, INV-25"""
    d = daemon(both())
    asleep = d.post("/v1/placement", {"model": "both"}).json()
    assert asleep["waits"] is True and "chosen" not in asleep
    assert asleep["candidates"] == [{"pool_id": "a", "replica_id": 0, "refused_by": "health"},
                                    {"pool_id": "b", "replica_id": 0, "refused_by": "health"}]
    assert d.count("instance_starting") == 0
    assert chat(d, "b").status == 200 and chat(d, "a").status == 200

    version = d.get("/v1/pools").json()["snapshot_version"]
    both_up = d.post("/v1/placement", {"model": "both", "avoid": ["a"]}).json()
    assert both_up["chosen"] == {"pool_id": "b", "replica_id": 0} and both_up["decided_by"] == "only"
    assert both_up["candidates"][1] == {"pool_id": "a", "replica_id": 0, "refused_by": "avoid"}
    assert d.post("/v1/placement", {"model": "both", "prefer": ["b"]}).json()["chosen"]["pool_id"] == "b"
    assert d.post("/v1/placement", {"model": "both", "pin": "z"}).json()["error"]["code"] == "pin_unmet"
    assert d.get("/v1/pools").json()["snapshot_version"] == version

    assert refusal(d.post("/v1/placement", {"model": "nobody"})) == (404, "model_not_found")
    for member, value in (("model", 5), ("pin", []), ("prefer", "a"), ("prefer", [1]), ("avoid", ["a"] * 65), ("mask", 0),
                          ("fallback", "no"), ("where", "a")):
        answer = d.post("/v1/placement", {member: value})
        assert refusal(answer) == (400, "invalid_request") and answer.json()["error"]["param"] == member


def test_models_list_a_shared_alias_once_with_what_it_stands_for(daemon):
    d = daemon({"a": Daemon.pool(aliases=["both", "mine"]), "b": Daemon.pool(aliases=["both"], context=256)})
    models = d.get("/v1/models").json()["data"]
    assert [model["id"] for model in models] == ["a", "both", "b"]
    assert models[1]["pools"] == ["a", "b"] and models[1]["context"] == 256 and models[1]["state"] == "cold"
    assert "pools" not in models[0] and models[0]["aliases"] == ["both", "mine"]
    assert chat(d, "b").status == 200
    one = d.get("/v1/models/both").json()
    assert one["state"] == "ready" and one["id"] == "both"


def test_a_pool_shows_how_fast_it_answers(daemon):
    """REG-1: perf hints from real streams"""
    d = daemon({"tiny": Daemon.pool()})
    assert d.chat("tiny", stream=True).status == 200
    perf = wait_until(lambda: d.pool_state("tiny")["replicas"][0].get("perf"), what="hints")
    assert perf["tokens_per_s"] > 0 and perf["first_token_ms"] > 0


def test_a_full_queue_tells_how_long_the_wait_would_be(daemon):
    """QUEUE-3"""
    d = daemon({"slow": Daemon.faulty("request:delay=500", slots=1, queue={"requests": 1})})
    assert d.chat("slow").status == 200  # so long does one take
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(d.chat("slow"))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    full = [answer for answer in answers if answer.status == 429]
    assert full and all(int(answer.headers["x-queue-eta-ms"]) > 0 for answer in full)
    assert all(refusal(answer) == (429, "queue_full") for answer in full)
