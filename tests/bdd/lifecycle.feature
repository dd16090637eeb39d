Feature: Engines come, go and change, and nobody loses an answer
  As somebody who looks after a machine
  I want to drain, reload and crowd pools while people use them,
  and to be told what happened in words that are true.

  # ---- what a pool manager must do first ---------------------------------------------------------------

  Scenario: A preload that fails leaves its pool unready, and the last error names the cause (HEALTH-2, HEALTH-5, LOAD-1, LOAD-2, LOAD-3)
    Given the devices "0" with "24GiB" each
    And a preloaded pool "lost" with the real engine and the model file "/nowhere/lost.gguf"
    And a preloaded pool "weak" whose engine ends with code 7 while it loads
    And a preloaded pool "huge" that needs "30GiB"
    And a preloaded pool "fox" with the real engine
    Then the pool "lost" is "failed"
    And the pool "lost" is not ready, and its last error names "/nowhere/lost.gguf"
    And the pool "weak" is "backoff"
    And the pool "weak" is not ready, and its last error names "status 7"
    And the pool "huge" is "failed"
    And the pool "huge" is not ready, and its last error names "7516192768 bytes"
    But the pool "fox" is "ready"

  # Here the engine tells it; what the driver alone tells, of an engine that lives on, is in devices.feature.
  Scenario: A driver error makes a running pool unready, empties it, and it starts again with backoff (SUP-2, SUP-8)
    Given a preloaded pool "gpu" whose engine meets a driver error with its second request
    And the pool "gpu" is "ready"
    When 1 client streams from "gpu"
    And a client waits for an answer of "gpu"
    Then the event "instance_crashed" is told for "gpu"
    And the pool "gpu" is not ready, and its last error is of class "driver"
    And nobody holds a slot of "gpu"
    And the 1 stream is broken off, with an error event "engine_crashed" at its end
    And the next engine of "gpu" was started "1500ms" after the crash or later
    And who waits receives the known text

  Scenario: An engine that keeps crashing is held by its breaker, and it is said so (SUP-3, SUP-4)
    Given a preloaded pool "shaky" whose engine dies as soon as it is ready
    And a preloaded pool "fox" with the real engine
    Then the event "storm" is told for "shaky"
    And the event "breaker_opened" is told for "shaky"
    And the breaker of "shaky" is "open"
    And at most 10 engines were started for "shaky"
    When a client who has "1s" asks "shaky" for a plain chat answer
    Then the client is refused with 503 "breaker_open"
    And the refusal says when it is worth to ask again
    But another client asks "fox" and is answered

  Scenario: Pools stay on the devices of their masks (MASK-1, PLACE-1, PLACE-2)
    Given the devices "0,1" with "24GiB" each
    And a pool "left" on the devices "0" that needs "20GiB"
    And a pool "right" on the devices "1" that needs "10GiB"
    And a pool "both" on the devices "0,1" that needs "2GiB"
    And a pool "more" on the devices "0" that needs "10GiB"
    And the pools "left" and "right" serve the name "any" together
    When clients ask "left", "right", "both" one after the other
    Then "left" runs on exactly the devices "0"
    And "right" runs on exactly the devices "1"
    And "both" runs on exactly the devices "0,1"
    When a client asks "any" for the devices "1"
    Then the answer comes from "right"
    # There is room for it on 1, and none on 0.
    When clients ask "more" one after the other
    Then "more" runs on exactly the devices "0"
    And the pool "left" is "cold"
    And the pool "right" is "ready"
    And the pool "both" is "ready"

  # Ratios, and GPUs that are found, are in devices.feature. Here the sizes are declared, and so is what it needs.
  Scenario: Of unequal devices the smallest one is the bound (LOAD-2)
    Given the devices "0" with "24GiB" and "1" with "8GiB"
    And a pool "wide" on the devices "0,1" that needs "10GiB"
    When a client asks "wide" for a plain chat answer
    Then the client is refused with 503 "never_fits"
    And the message names "device 1"
    And the message names "3221225472 bytes"
    And exactly 0 engines were started for "wide"

  # ---- preload -----------------------------------------------------------------------------------------

  Scenario: A preloaded pool is not ready before its engine is, and who comes early waits (LOAD-1, HEALTH-2)
    Given a preloaded pool "slow" whose engine loads for "1500ms"
    And the daemon tells everything
    When the pool "slow" is "starting"
    Then the pool "slow" is not ready
    And the daemon itself is ready
    When a client asks "slow" for a plain chat answer
    Then the client receives the known text
    And the pool "slow" is "ready"
    And no request of "slow" was placed before its engine was ready

  Scenario: No more than two load before somebody asks (LOAD-1)
    Given a preloaded pool "a" whose engine loads for "300ms"
    And a preloaded pool "b" whose engine loads for "300ms"
    And a preloaded pool "c" whose engine loads for "300ms"
    And a preloaded pool "d" whose engine loads for "300ms"
    Then the pools "a", "b", "c", "d" became ready, and no more than 2 were loading at once

  # ---- drain -------------------------------------------------------------------------------------------

  Scenario: A drain lets running streams end, refuses who comes, and stays (DRAIN-1, DRAIN-2)
    Given a pool "fox" with 4 slots whose streams stay open until the engine may go on
    And 4 clients stream from "fox"
    When an operator begins to drain "fox"
    And a client asks "fox" for a plain chat answer
    Then the client is refused with 503 "draining"
    When the engine of "fox" may go on
    Then the 4 streams are complete
    And the drain has succeeded, and cut nothing
    And the pool "fox" is "cold"
    And the intent of "fox" is "disabled"
    And no process of "fox" is left
    When an operator resumes "fox"
    And a client asks "fox" for a plain chat answer
    Then the client receives the known text

  Scenario: At the deadline of a drain what still runs is cut, and told so (DRAIN-2)
    Given a pool "fox" with 2 slots whose streams stay open until the engine may go on
    And 2 clients stream from "fox"
    When an operator drains "fox" with "--deadline 300ms"
    Then the drain has succeeded by force, with 2 leases left
    And the 2 streams are broken off, with an error event "draining" at their end
    And the pool "fox" is "cold"

  Scenario: A drain that shall not cut is given up at its deadline, and nothing has changed (DRAIN-2)
    Given a pool "fox" with 2 slots whose streams stay open until the engine may go on
    And 1 client streams from "fox"
    When an operator drains "fox" with "--deadline 200ms --on-deadline abort"
    Then the drain has failed with "has_leases"
    And the intent of "fox" is "enabled"
    When the engine of "fox" may go on
    Then the 1 stream is complete
    And another client asks "fox" and is answered
    And the engine of "fox" is still the same

  Scenario: A drained pool stays drained over the death of the daemon (DRAIN-2, STATE-1)
    Given a pool "fox" with the real engine
    And a client has asked "fox"
    When an operator drains "fox" with "--then hold"
    And the daemon is killed and started again
    Then the intent of "fox" is "draining"
    And the engine of "fox" is still the same
    When a client asks "fox" for a plain chat answer
    Then the client is refused with 503 "draining"
    When an operator resumes "fox"
    And a client asks "fox" for a plain chat answer
    Then the client receives the known text

  # ---- reload ------------------------------------------------------------------------------------------

  Scenario: A good model takes over while people stream from the old one (RELOAD-1)
    Given a pool "fox" with 2 slots whose streams stay open until the engine may go on
    And 2 clients stream from "fox"
    When an operator reloads "fox" with another model
    Then the reload has succeeded
    And the engine of "fox" is another one
    When the engine of "fox" may go on
    Then the 2 streams are complete
    And the former engine of "fox" ends
    And another client asks "fox" and is answered

  Scenario: A reload to a model that is not there changes nothing (RELOAD-1)
    Given a pool "fox" with the real engine
    And a client has asked "fox"
    When an operator reloads "fox" with the model "/nowhere/new.gguf"
    Then the reload has failed and names "/nowhere/new.gguf"
    And the engine of "fox" is still the same
    And another client asks "fox" and is answered

  Scenario: A new engine that never becomes ready is given up in time, and the old one serves all the while (RELOAD-1, LOAD-3)
    Given a pool "fox" whose engine loads for "1ms"
    And clients ask "fox" again and again
    When an operator reloads "fox" with an engine that "load:hang"
    Then the reload has failed with "start_timeout"
    And the engine of "fox" is still the same
    And nobody lost an answer

  Scenario: Where the new engine needs the place of the old one, its failure leads back (RELOAD-1)
    Given the devices "0" with "24GiB" each
    And a pool "fox" that needs "20GiB" whose engine loads for "1ms"
    And clients ask "fox" again and again
    When an operator reloads "fox" with an engine that "load:exit=9"
    Then the reload has failed and was rolled back
    And the pool "fox" is "ready"
    And the engine of "fox" is another one
    And nobody lost an answer

  Scenario: Where the old engine cannot be emptied in time, it stays (RELOAD-1)
    Given the devices "0" with "24GiB" each
    And a pool "fox" that needs "20GiB" whose streams stay open until the engine may go on
    And 1 client streams from "fox"
    When an operator reloads "fox" with another model and "--deadline 300ms"
    Then the reload has failed with "has_leases"
    When the engine of "fox" may go on
    Then the 1 stream is complete
    And the engine of "fox" is still the same
    And another client asks "fox" and is answered

  # ---- slots and queues --------------------------------------------------------------------------------

  Scenario: Leases are never below zero and never beyond the slots (LEASE-1, LEASE-2, INV-3)
    Given a pool "fox" with 2 slots whose streams stay open until the engine may go on
    And somebody counts the leases of "fox" all the time
    When 12 clients come for "fox", some leave, the engine is killed, and the others are answered
    Then the leases of "fox" were between 0 and 2 at any time
    And nobody holds a slot of "fox"

  Scenario: A full queue refuses who comes (QUEUE-2)
    Given a pool "fox" with 1 slot whose streams stay open until the engine may go on
    And the queue of "fox" takes 1 request, and then it does "reject"
    And 1 client streams from "fox"
    When an "interactive" client waits for "fox"
    And a client asks "fox" for a plain chat answer
    Then the client is refused with 429 "queue_full"
    And the refusal names the policy "reject"
    When the engine of "fox" may go on
    Then the 1 stream is complete
    And the "interactive" client receives the known text

  Scenario: A full queue drops the oldest batch request for a person, and never the other way round (QUEUE-2)
    Given a pool "fox" with 1 slot whose streams stay open until the engine may go on
    And the queue of "fox" takes 1 request, and then it does "drop-lru"
    And 1 client streams from "fox"
    When a "batch" client waits for "fox"
    And an "interactive" client waits for "fox"
    Then the "batch" client is refused with 429 "queue_dropped"
    And the refusal names the policy "drop-lru"
    When a "batch" client comes to "fox"
    Then the "batch" client is refused with 429 "queue_full"
    When the engine of "fox" may go on
    Then the 1 stream is complete
    And the "interactive" client receives the known text

  Scenario: One cold start serves everybody, by whatever name (LOAD-1, INV-9)
    Given a pool "fox" whose engine loads for "500ms"
    And the pool "fox" is also called "quick"
    When 10 clients ask "fox" and 10 ask "quick" at once
    Then 20 clients receive the known text
    And exactly 1 engine was started for "fox"

  # ---- room --------------------------------------------------------------------------------------------

  Scenario: Who comes takes the room of the idle one that was used longest ago (EVICT-1)
    Given the devices "0" with "24GiB" each
    And a pool "a" that needs "10GiB"
    And a pool "b" that needs "10GiB"
    And a pool "c" that needs "10GiB"
    When clients ask "a", "b", "a", "c" one after the other
    Then only "b" was evicted
    And the pool "a" is "ready"
    And the pool "b" is "cold"
    And the pool "c" is "ready"

  Scenario: A busy pool gives way when its streams have ended, and none is cut (EVICT-2)
    Given the devices "0" with "24GiB" each
    And a busy pool gives way after "300ms"
    And a pool "busy" that needs "20GiB" whose streams stay open until the engine may go on
    And a pool "next" that needs "20GiB"
    And 2 clients stream from "busy"
    When a client waits for an answer of "next"
    And the event "evict_claimed" is told for "busy"
    Then the pool "next" is "waiting"
    When the engine of "busy" may go on
    Then the 2 streams are complete
    And who waits receives the known text
    And only "busy" was evicted

  # ---- engines of others -------------------------------------------------------------------------------

  Scenario: An engine that somebody else started serves, and is left alone (REG-4)
    Given an engine that somebody else started
    When it is handed over as "far"
    Then the pool "far" is "ready"
    When a client asks "far" for a plain chat answer
    Then the client receives the known text
    And exactly 0 engines were started for "far"
    When an operator tries to stop "far"
    Then the operator is refused with "is not ours"
    When an operator drains "far" with "--then stop"
    Then the drain has succeeded, and cut nothing
    When a client asks "far" for a plain chat answer
    Then the client is refused with 503 "disabled"
    When the daemon is stopped
    Then the engine of somebody else still runs

  Scenario: A handoff of an engine that is not there makes nothing ready (REG-4)
    Given an engine that somebody else started and that is dead
    When it is handed over as "far"
    Then the handoff is refused with 503 "engine_gone"
    And there is no pool "far"
