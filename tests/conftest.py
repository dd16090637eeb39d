# SPDX-License-Identifier: Apache-2.0
"""Fixtures of all Python tests. Run with Debian's own interpreter: /usr/bin/python3 -m pytest tests/integration"""
import os
import pathlib
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))

from poolmgr_test import Daemon, ENGINE, Engine, FakeGpus  # noqa: E402
from poolmgr_test.paths import ORCHESTRATORD, POOL_MANAGERD  # noqa: E402


def pytest_collection_modifyitems(items):
    for program in (ORCHESTRATORD, POOL_MANAGERD):
        if not os.access(program, os.X_OK):
            raise pytest.UsageError("%s is not built; see CONTRIBUTING.md" % program)
    if not os.access(ENGINE, os.X_OK):
        raise pytest.UsageError("no llama-server at %s; run tools/fetch_engine.sh build/engine, or set "
                                "POOLMGR_TEST_ENGINE" % ENGINE)


@pytest.fixture
def short_folder():
    """A folder with a short path, for sockets: theirs have at most 107 bytes, and tmp_path may be longer."""
    with tempfile.TemporaryDirectory(prefix="pmt-", dir="/tmp") as folder:
        yield folder


@pytest.fixture
def daemon():
    """daemon(pools, more…) makes a Daemon that is stopped, and proved to be gone, after the test."""
    yield from make_daemons("orchestratord")


@pytest.fixture(params=["orchestratord", "pool-managerd"])
def either(request):
    """The same with each of the two daemons: for tests that send no inference but Daemon.use()."""
    yield from make_daemons(request.param)


@pytest.fixture
def engine(tmp_path):
    """engine(faults…) starts one of the test's own; all are ended, and were alive until then unless the test killed
    them."""
    made = []

    def make(*args, **kwargs):
        made.append(Engine(tmp_path, *args, **kwargs))
        return made[-1]

    yield make
    for e in made:
        if e.process.poll() is None:
            e.kill()


@pytest.fixture
def gpus():
    """gpus(count, size) makes GPUs that are not there."""
    made = []

    def make(*args, **kwargs):
        made.append(FakeGpus(*args, **kwargs))
        return made[-1]

    yield make
    for g in made:
        g.close()


def make_daemons(program):
    made = []

    def make(*args, **kwargs):
        kwargs.setdefault("program", program)
        made.append(Daemon(*args, **kwargs))
        return made[-1]

    yield make
    problems = []
    for d in made:
        try:
            d.close()
        except Exception as e:  # pylint: disable=broad-except
            problems.append(e)
    if problems:
        raise problems[0]
