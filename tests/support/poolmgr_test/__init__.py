# SPDX-License-Identifier: Apache-2.0
"""What the tests and benchmarks share: paths, models, a daemon in folders of its own, raw HTTP, processes.

Only the standard library. Waiting is always for something that is told, with a wide deadline.
"""
from .daemon import Daemon, DaemonFailed
from .foreign import Engine, free_port
from .gpus import FakeGpus
from .http import Answer, get, open_request, post_json, read_answer, request
from .load import FULL, Load, times
from .paths import BUILD, ENGINE, FAULT_ENGINE, POOLCTL, ROOT, TEXT, tiny_model
from .processes import alive, instances_of, wait_until
from .rpc import RPC_ENGINE, RpcDevice, buffers, rpc_is_here

__all__ = ["Answer", "BUILD", "Daemon", "DaemonFailed", "ENGINE", "Engine", "FAULT_ENGINE", "FULL", "FakeGpus", "Load", "POOLCTL",
           "ROOT", "RPC_ENGINE", "RpcDevice", "TEXT", "alive", "buffers", "free_port", "get", "instances_of",
           "open_request", "post_json", "read_answer", "request", "rpc_is_here", "times", "tiny_model", "wait_until"]
