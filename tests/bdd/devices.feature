Feature: Every model on the GPUs that are meant for it, and never a byte more than fits
  As somebody who owns GPUs
  I want models to lie where I said, as far as there is room,
  and to be told in bytes and by name what is in the way.

  # The GPUs are not there, but a driver that says so is, and it keeps books of who holds what (tests/fake-nvml). Each
  # engine takes its memory as llama.cpp does: where its environment and its arguments say.

  # ---- masks -------------------------------------------------------------------------------------------

  Scenario: Pools stay on the GPUs of their masks, and nothing spills (MASK-1, PLACE-1, PLACE-2, LOAD-5)
    Given a machine with 2 GPUs of "24GiB"
    And a pool "left" on the GPUs "0" with a model of "18GiB"
    And a pool "right" on the GPUs "1" with a model of "8GiB"
    And a pool "more" on the GPUs "0" with a model of "10GiB"
    And the pools "left" and "right" serve the name "any" together
    When clients ask "left", "right" one after the other
    Then "left" holds memory of exactly the GPUs "0", and sees no others
    And "right" holds memory of exactly the GPUs "1", and sees no others
    When a client asks "any" for the devices "1"
    Then the answer comes from "right"
    # GPU 1 has room for it, and GPU 0 has none.
    When clients ask "more" one after the other
    Then "more" holds memory of exactly the GPUs "0", and sees no others
    And only "left" was evicted
    And "right" holds memory of exactly the GPUs "1", and sees no others

  Scenario: A mask of a GPU that is not there is refused by name, and no other GPU is taken instead (MASK-1, HEALTH-5)
    Given a machine with 2 GPUs of "24GiB"
    And a pool "far" on the GPUs "7" with a model of "1GiB"
    When a client asks "far" for a plain chat answer
    Then the client is refused with 503 "pool_failed"
    And the message names "GPU 7"
    And exactly 0 engines were started for "far"

  # ---- splits ------------------------------------------------------------------------------------------

  Scenario: Ratios for unequal GPUs: the smallest of them caps the context for all (SPLIT-1, LOAD-2)
    Given a machine with GPUs of "24GiB" and "12GiB"
    And a pool "deep" over the GPUs "0,1" with a model of "12GiB" and 32 layers
    And "deep" is split by "0.5,0.5"
    And "deep" has a context of 131072 tokens
    When a client asks "deep" for a plain chat answer
    Then the client is refused with 503 "never_fits"
    And the message names "GPU 1"
    And the message names "bytes are missing"
    And the largest context that fits is told
    When "deep" is given the largest context that was told
    And a client asks "deep" for a plain chat answer
    Then the client receives the known text
    And "deep" lies on its GPUs with 17 and 16 layers, and so say the books of the GPUs
    # Half of it lies on each. The small GPU is full, the large one is far from it.
    And no room for 1024 tokens more is left on GPU 1, and "9GiB" or more on GPU 0
    When an operator reloads "deep" with 256 tokens more
    Then the reload has failed and names "GPU 1"
    And the engine of "deep" is still the same

  Scenario: A model that no single GPU has room for is spread where its pool allows that (SPLIT-1, MASK-1, LOAD-5)
    Given a machine with GPUs of "24GiB" and "12GiB"
    And a pool "wide" over the GPUs "0,1" with a model of "28GiB" and 32 layers
    And "wide" is split by "auto"
    And a pool "small" over the GPUs "0,1" with a model of "6GiB" and 32 layers
    And "small" is split by "auto"
    # One GPU is enough, and the smaller one that is.
    When clients ask "small" one after the other
    Then "small" holds memory of exactly the GPUs "1", and sees no others
    When clients ask "wide" one after the other
    Then only "small" was evicted
    And "wide" holds memory of exactly the GPUs "0,1", and sees no others
    And all 33 layers of "wide" are on GPUs, most of them on GPU 0

  Scenario: What fits no single GPU and is not to be split is refused, to the byte (LOAD-2, VRAM-1, SUP-6)
    Given a machine with GPUs of "24GiB" and "12GiB"
    And a pool "big" over the GPUs "0,1" with a model of "28GiB" and 32 layers
    When a client asks "big" for a plain chat answer
    Then the client is refused with 503 "never_fits"
    And the message names "GPU 0"
    And exactly 0 engines were started for "big"
    When GPU 0 becomes larger by 1 byte less than was missing
    And a client asks "big" for a plain chat answer
    Then the client is refused with 503 "never_fits"
    And the message names "1 byte is missing"
    When GPU 0 becomes larger by 1 byte
    And clients ask "big" one after the other
    Then "big" holds memory of exactly the GPUs "0", and sees no others

  # ---- room --------------------------------------------------------------------------------------------

  Scenario: Three models of 10 GiB and a GPU of 24: the third takes the place of the one used longest ago (EVICT-1, VRAM-1)
    Given a machine with 1 GPU of "24GiB"
    And a pool "a" on the GPUs "0" with a model of "10GiB"
    And a pool "b" on the GPUs "0" with a model of "10GiB"
    And a pool "c" on the GPUs "0" with a model of "10GiB"
    When clients ask "a", "b", "a", "c" one after the other
    Then only "b" was evicted
    And the pool "b" is "cold"
    And GPU 0 is in the hands of "a", "c" and nobody else

  Scenario: The memory of a neighbour's process is planned around, and the process is named (VRAM-1, HEALTH-5)
    Given a machine with 2 GPUs of "24GiB"
    And process 999999 of somebody else holds "16GiB" of GPU 0
    And a pool "free" on the GPUs "0,1" with a model of "10GiB"
    And a pool "near" on the GPUs "0" with a model of "10GiB"
    When clients ask "free" one after the other
    Then "free" holds memory of exactly the GPUs "1", and sees no others
    And poolctl shows process 999999 with "16.0 GiB" on its GPU
    When a client who has "1s" asks "near" for a plain chat answer
    Then the client is refused with 503 "queue_timeout"
    And the message names "16.0 GiB on GPU 0 belong to processes that are not ours"
    And the pool "free" is "ready"
    When process 999999 ends
    And clients ask "near" one after the other
    Then "near" holds memory of exactly the GPUs "0", and sees no others

  Scenario: Memory that does not come back makes its GPU suspect until it does (SUP-7)
    Given a machine with 1 GPU of "24GiB"
    And a pool "fox" on the GPUs "0" with a model of "10GiB"
    And a pool "next" on the GPUs "0" with a model of "1GiB"
    And clients ask "fox" one after the other
    And the memory of engines that end does not come back
    When an operator stops "fox" with poolctl
    Then the event "device_suspect" is told for GPU 0
    When a client waits for an answer of "next"
    Then the pool "next" is "waiting"
    And exactly 0 engines were started for "next"
    When the memory of engines that end comes back
    Then the event "device_cleared" is told for GPU 0
    And who waits receives the known text

  # ---- what breaks -------------------------------------------------------------------------------------

  Scenario: A GPU falls off the bus: its engines end at once, and nobody else notices (DEV-1, SUP-8, HEALTH-5)
    Given a machine with 2 GPUs of "24GiB"
    And a pool "left" on the GPUs "0" with a model of "1GiB"
    And a pool "right" on the GPUs "1" with a model of "1GiB"
    And the streams of "left", "right" stay open until their engines may go on
    And 1 client streams from "left"
    When GPU 0 falls off the bus
    Then the event "device_lost" is told for GPU 0
    And the 1 stream is broken off, with an error event "engine_crashed" at its end
    And no process of "left" is left
    When a client asks "left" for a plain chat answer
    Then the client is refused with 503 "device_lost"
    And the message names "GPU 0 is lost"
    And nothing is held against "left"
    But another client streams from "right" to the end

  Scenario: An error that only the driver tells empties the engine and starts it again with backoff (SUP-2, SUP-8)
    Given a machine with 1 GPU of "24GiB"
    And a pool "fox" on the GPUs "0" with a model of "1GiB"
    And the streams of "fox" stay open until their engines may go on
    And 1 client streams from "fox"
    When the driver tells XID 31 of GPU 0
    Then the event "xid" is told for "fox"
    And the pool "fox" is not ready, and its last error is of class "driver"
    When the engine of "fox" may go on
    Then the 1 stream is complete
    And the next engine of "fox" was started "500ms" after the crash or later
    And the GPU 0 is "ok"

  # ---- with a GPU, without one, and with one that does not work ------------------------------------------

  Scenario: Without a GPU `auto` is the CPU, and it is said (LOAD-5, DEV-1)
    Given a machine without a GPU
    And a pool "fox" with the real engine on the devices "auto"
    When a client asks "fox" for a plain chat answer
    Then the client receives the known text
    And it is told of "fox" that it starts "on the CPU: there is no GPU in this machine"
    And "poolctl ps" shows "fox" on the devices "cpu"

  Scenario: A GPU that is there and does not work is a failure, and no reason for the CPU (LOAD-5, DEV-1)
    Given a machine with 1 GPU of "24GiB"
    And its driver is not loaded
    And a pool "fox" with the real engine on the devices "auto"
    And a pool "cpu" with the real engine
    When a client asks "fox" for a plain chat answer
    Then the client is refused with 503 "device_lost"
    And the message names "the driver is not loaded"
    And exactly 0 engines were started for "fox"
    But another client asks "cpu" and is answered

  Scenario: Where only GPUs are allowed nothing runs on the CPU (LOAD-5)
    Given a machine without a GPU
    And only GPUs are allowed
    And a pool "fox" with the real engine on the devices "auto"
    When a client asks "fox" for a plain chat answer
    Then the client is refused with 503 "never_fits"
    And the message names "gpu_only"
    And exactly 0 engines were started for "fox"
