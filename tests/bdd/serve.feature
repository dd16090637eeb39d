Feature: An engine answers on demand
  As somebody with one machine and one YAML file
  I want engines to start when they are needed, and to be told the truth when they fail.

  Scenario: The first request starts the engine (LOAD-1, GW-4)
    Given a pool "fox" with the real engine
    And the pool "fox" is "cold"
    When a client asks "fox" for a streamed chat answer
    Then the client receives the known text
    And the stream is complete
    And the pool "fox" is "ready"
    And exactly 1 engine was started for "fox"

  Scenario: Everybody waits for one start (LOAD-1, QUEUE-1)
    Given a pool "fox" with the real engine and 2 slots
    When 20 clients ask "fox" at once
    Then 20 clients receive the known text
    And exactly 1 engine was started for "fox"

  Scenario: An engine that is not needed any more leaves (LOAD-6, SUP-7)
    Given a pool "fox" with the real engine that may be idle for "300ms"
    When a client asks "fox" for a plain chat answer
    Then the client receives the known text
    And the event "instance_stopped" is told for "fox"
    And the pool "fox" is "cold"
    And no process of "fox" is left

  Scenario: A preloaded pool is ready before anybody asks (LOAD-1)
    Given a preloaded pool "fox" with the real engine
    Then the event "instance_ready" is told for "fox"
    And the pool "fox" is "ready"

  Scenario: A stream whose engine dies never looks complete (GW-3a, SUP-1)
    Given a pool "frail" whose engine dies after 200 bytes of a stream
    When a client asks "frail" for a streamed chat answer
    Then the stream is broken off
    And what arrived ends with an error event "engine_crashed"
    And the event "instance_crashed" is told for "frail"

  Scenario: A crashed engine comes back by itself (SUP-2, SUP-3)
    Given a preloaded pool "fox" with the real engine
    And the event "instance_ready" is told for "fox"
    When the engine of "fox" is killed
    Then the event "instance_crashed" is told for "fox"
    And the event "instance_ready" is told for "fox" again
    And a client asks "fox" for a plain chat answer
    And the client receives the known text

  Scenario: A model that is not there is said so, and tried once only (HEALTH-5, SUP-6)
    Given a pool "lost" with the real engine and the model file "/nowhere/lost.gguf"
    When a client asks "lost" for a plain chat answer
    Then the client is refused with 503 "pool_failed"
    And the message names "/nowhere/lost.gguf"
    And the pool "lost" is "failed"

  Scenario: A client that gives up while it waits costs nothing (LOAD-4)
    Given a pool "slow" whose engine loads for "2000ms"
    When a client asks "slow" for a plain chat answer and leaves after it waits
    Then the pool "slow" has nobody waiting
    And another client asks "slow" and is answered

  Scenario: Stopped by hand, started by the next request (OP-1)
    Given a preloaded pool "fox" with the real engine
    And the event "instance_ready" is told for "fox"
    When an operator stops "fox" with poolctl
    Then the pool "fox" is "cold"
    And no process of "fox" is left
    When a client asks "fox" for a plain chat answer
    Then the client receives the known text
