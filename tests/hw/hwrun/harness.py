# SPDX-License-Identifier: Apache-2.0
"""Runs groups of checks: each check alone, with a deadline, and what breaks in one is told as its finding."""
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback

from . import child
from .child import ChildFailed, Talk
from .report import Report

HERE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
ROOT = os.path.dirname(os.path.dirname(HERE))
LAST_SECONDS = 20   # kept for the group that must come last
PLACES = ("", "bin", "tests/hw", "tests/support", "src/bin", "src/cli", "src/proc", "src/gpu")


class Skip(Exception):
    """The machine, or this build, has not what the check needs."""


class OutOfTime(Exception):
    pass


def missing(facts):
    for fact in facts:
        if fact["fact"] in ("no_library", "no_nvml"):
            raise Skip("the driver does not work here: %s" % (fact.get("text") or fact))


class Harness:
    def __init__(self, options):
        self.options = options
        self.deadline = time.monotonic() + options.seconds
        self.limit = self.deadline
        self.report = Report(options.out)
        self.builds = [options.build] if options.build else [HERE] + [
            os.path.join(ROOT, "build", name) for name in ("release", "plain", "asan")]
        self.environment = {k: v for k, v in os.environ.items()
                            if not k.startswith(("CUDA_", "NVIDIA_", "POOLMGR_", "HW_"))}
        self.environment.update({"HW_NVML": options.nvml, "HW_CUDA": options.cuda, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
        for name in os.listdir(HERE):   # a folder of pack.sh may have lost its modes on the way
            path = os.path.join(HERE, name)
            if "." not in name and os.path.isfile(path) and not os.access(path, os.X_OK):
                os.chmod(path, 0o755)
        self.talks = []     # closed with the check that began them
        self.kept = []      # closed with the group
        self.kept_to_the_end = []
        self.shared = {}    # what a group learned that later ones need
        self.models = None
        self.hw = self.program("hw")
        if not self.hw:
            raise OSError("the helper 'hw' is not built; see %s" % os.path.join(HERE, "README.md"))

    # ---- programs -----------------------------------------------------------------------------------

    def program(self, name):
        for build in self.builds:
            for place in PLACES:
                path = os.path.join(build, place, name)
                if os.path.isfile(path):
                    return os.path.abspath(path)
        return None

    def model(self, name, *options):
        """A model of make_tiny_gguf.py; its folder is removed at the end."""
        makers = [p for p in (os.path.join(HERE, "make_tiny_gguf.py"), os.path.join(ROOT, "tools", "make_tiny_gguf.py"))
                  if os.path.exists(p)]
        if not makers:
            raise Skip("make_tiny_gguf.py is not here")
        self.models = self.models or tempfile.mkdtemp(prefix="pmhw-models-")
        path = os.path.join(self.models, name)
        if not os.path.exists(path):
            status, out, err = child.run([sys.executable, makers[0], path, *options], min(20, self.left()))
            if status != 0:
                raise ChildFailed("make_tiny_gguf.py: %s" % (out + err).strip()[-200:])
        return path

    def left(self):
        return self.limit - time.monotonic()

    def ask(self, *words, seconds=30, environment=None):
        """The facts of one helper. Where the machine has no library or driver that is a Skip; a crash is a finding."""
        status, out, err = child.run([self.hw, *words], min(seconds, self.left()), environment or self.environment)
        self.report.log("hw %s: %s\n%s%s" % (" ".join(words), child.how(status), out, err))
        found = child.facts_of(out)
        missing(found)
        if status != 0:
            raise ChildFailed("hw %s ended with %s %s" % (words[0], child.how(status), err.strip()[-200:]))
        return found

    def talk(self, *words, environment=None):
        try:
            talk = Talk([self.hw, *words], environment or self.environment, self.report.log, greets=words[0] == "look")
        except ChildFailed as e:
            missing(e.facts)
            raise
        self.talks.append(talk)
        return talk

    def smi(self, *words, seconds=20):
        """stdout of nvidia-smi."""
        status, out, err = child.run(shlex.split(self.options.smi) + list(words), min(seconds, self.left()))
        self.report.log("nvidia-smi %s: %s\n%s%s" % (" ".join(words), child.how(status), out, err))
        if status != 0:
            raise ChildFailed("nvidia-smi ended with %s: %s" % (child.how(status), (out + err).strip()[-200:]))
        return out

    # ---- groups -------------------------------------------------------------------------------------

    def run_group(self, name, module, last):
        self.report.begin(name, module.SENTENCE)
        self.limit = self.deadline - (0 if last else LAST_SECONDS)
        for check in module.CHECKS:
            self.run_check(check)
            self.close_all(self.talks)
        self.close_all(self.kept)

    def run_check(self, check):
        what = check.__doc__.strip().splitlines()[0].rstrip(".")
        if self.left() < 2:
            self.report.skip(what, "no time was left")
            return
        signal.alarm(max(2, int(self.left()) + 2))
        try:
            check(self)
        except Skip as e:
            self.report.skip(what, e)
        except OutOfTime as e:
            self.report.skip(what, e)
        except ChildFailed as e:
            self.report.check(what, False, e)
        except Exception as e:  # a check that is itself wrong is no proof of anything
            self.report.log(traceback.format_exc())
            self.report.check(what, False, "the check broke: %s: %s" % (type(e).__name__, e))
        finally:
            signal.alarm(0)

    def close(self):
        self.close_all(self.talks)
        self.close_all(self.kept)
        self.close_all(self.kept_to_the_end)
        if self.models:
            shutil.rmtree(self.models, ignore_errors=True)

    def close_all(self, some):
        while some:
            try:
                some.pop().close()
            except Exception:   # the next one is to be closed, too
                self.report.log(traceback.format_exc())
