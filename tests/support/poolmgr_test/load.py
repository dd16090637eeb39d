# SPDX-License-Identifier: Apache-2.0
"""Clients under whom something happens, and how often it shall happen."""
import os
import threading
import time

from .processes import wait_until

# The long form of what is proved by repetition; `make test` does the short one.
FULL = os.environ.get("POOLMGR_TEST_FULL", "") not in ("", "0")


def times(short, full):
    return full if FULL else short


class Load:
    """Streams on every pool, `width` at once and one behind the other, until end(); each is `whole`, `broken`, or was
    turned away with one of the codes `refusals`."""

    def __init__(self, d, names, width=2, refusals=()):
        self.ended, self.lock = False, threading.Lock()
        self.n_whole, self.n_refused, self.broken = {n: 0 for n in names}, 0, []
        self.threads = [threading.Thread(target=self._ask, args=(d, n, refusals)) for n in names for _ in range(width)]
        for t in self.threads:
            t.start()

    def _ask(self, d, name, refusals):
        while not self.ended:
            try:
                answer = d.chat(name, stream=True)
                whole = answer.status == 200 and answer.complete and answer.body.endswith(b"data: [DONE]\n\n")
                turned_away = answer.status in (429, 503) and answer.json()["error"]["code"] in refusals
                what = (answer.status, answer.body[-300:])
            except OSError as e:
                whole, turned_away, what = False, False, e
            with self.lock:
                if whole:
                    self.n_whole[name] += 1
                elif turned_away:
                    self.n_refused += 1
                else:
                    self.broken.append((name, what))
            if turned_away:
                time.sleep(0.05)    # as a client does that was told to come back

    def wait_for_more(self, names=None, n=3):
        """Until each of them has answered n more."""
        before = dict(self.n_whole)
        wait_until(lambda: all(self.n_whole[name] >= before[name] + n for name in names or before), 120, "more answers")

    def end(self):
        """Lets them finish; the broken ones."""
        self.ended = True
        for t in self.threads:
            t.join()
        return self.broken
