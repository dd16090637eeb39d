#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""usage: mutants.py BUILD [--out=FILE] [--rounds=N] [--steps=N] [NAME …]

Deliberate bugs in src/core: each is built into a simulator of its own, and the simulator must catch it by an invariant
that the bug is against. A mutant whose old text is not found any more, or is found twice, is an error: change it with
the code. BUILD is a build folder that has tests/sim/simulator. Prints `ok` or `not ok` for each; FILE gets a line
`INV-9 name` for each that was caught, for the simulator's table.
"""
import concurrent.futures
import json
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]

# family, name, file of src/core, old text, new text, the invariants that may catch it
MUTANTS = [
    ("REG", "an-answer-counts-twice", "health.c",
     "    pm_unask(core, &place->probe);\n    place->instance.last_check_ms",
     "    place->instance.last_check_ms", {2, 7}),
    ("REG", "a-grant-is-no-change", "lease.c",
     "    slot->state = state;\n    pm_core_changed(slot->place->pool->core);",
     "    slot->state = state;", {1}),
    ("LEASE", "a-settling-slot-is-free", "placement.c",
     "return pm_place_slots_free(place) > 0 ?", "return pm_place_at_work(place) < place->slots_total ?", {5, 25}),
    ("LEASE", "a-closed-gate-is-open", "placement.c",
     "    if (place->gate_open)\n", "    if (place->state == PM_READY)\n", {4, 25}),
    ("HEALTH", "a-busy-engine-is-sick", "health.c",
     "    if (pm_place_leases(place) == 0)\n        place->instance.n_missed++;",
     "    place->instance.n_missed++;", {7}),
    ("LOAD", "two-fetches", "place.c",
     "    if (pool->staging.serial != 0)\n        return;", "    if (false)\n        return;", {9}),
    ("SUP", "the-second-failure-has-no-delay", "restart.c",
     "return clock->n < 2 || now_ms", "return clock->n < 3 || now_ms", {12}),
    ("SUP", "an-open-breaker-restarts", "want.c",
     "pm_place_n_after(place) < pool->spec->backoff.open_at", "true", {13}),
    ("SUP", "a-start-forgives-for-good", "command.c",
     "    pool->parked = false;\n    pool->has_keep_alive = false;",
     "    pool->parked = false;\n    pool->failed = false;\n"
     "    for (unsigned i = 0; i < pool->n_places; i++)\n"
     "        (void)pm_place_move(pool->places[i], PM_CAUSE_RESET, out);\n"
     "    pool->has_keep_alive = false;", {12, 15}),
    ("SUP", "half-a-grace", "place.c",
     "now_ms >= pm_add_ms(instance->signalled_ms, spec->stop_grace_ms)))",
     "now_ms >= pm_add_ms(instance->signalled_ms, spec->stop_grace_ms / 2)))", {16}),
    ("LOAD", "an-unfit-engine-is-let-in", "answers.c",
     "(void)pm_place_move(place, PM_CAUSE_UNFIT, out);", "(void)pm_place_move(place, PM_CAUSE_READY, out);", {6, 17}),
    ("DRAIN", "nobody-is-waited-for", "place.c",
     "    return place->n_running == 0;", "    return true;", {18}),
    ("DRAIN", "an-abort-keeps-the-intent", "drain.c",
     "    pm_pool_set_intent(op->pool, op->former);", "    (void)op->former;", {17, 18}),
    ("QUEUE", "the-last-is-first", "queue.c",
     "pm_list_append(&line->waiters, &waiter->link);", "pm_list_prepend(&line->waiters, &waiter->link);", {24}),
    ("LOAD", "any-device-will-do", "room.c",
     "left >= tightest || !pm_room_open(core, &way->shares, first) ||", "left >= tightest ||", {11}),
    ("LOAD", "a-mask-is-a-wish", "reach.c",
     "spec->where ? spec->where : core->everything", "core->everything", {11}),
    ("LOAD", "the-cpu-has-no-end", "ways.c", "return pm_cpu_weighs(core, spec);", "return false;", {11}),
    ("LOAD", "memory-of-others-is-free", "vram.c",
     "    pm_ledger_see(&core->ledger, (uint32_t)(device - core->devices),\n"
     "                  minus(free_bytes, device->is.reserve_bytes));\n", "", {10}),
    ("LOAD", "who-loads-has-loaded", "vram.c",
     "if (!share || place->instance.ready_ms == 0 ||\n"
     "            pm_device_of(core, number)->seen_ms < place->instance.ready_ms)", "if (!share)", {10}),
    ("LOAD", "an-estimate-without-the-weights", "lay.c",
     "pm_add_ms(split->used_bytes[row], context)", "pm_add_ms(split->kv_bytes[row], context)", {11}),
    ("LOAD", "a-measure-counts-at-once", "memory.c",
     "!place->room.held->way.estimated || !pm_place_is_up(place))", "!place->room.held->way.estimated)", {10}),
    ("EVICT", "who-has-just-come-goes", "evict.c",
     "(!idle && core->now_ms < resides_until(place))", "false", {21}),
    ("EVICT", "an-old-look-will-do", "evict.c",
     "    if (!asks_others || !is_old(claimant)) {", "    if (true) {", {21}),
    ("PLACE", "a-pin-is-a-wish", "placement.c",
     "    if (placement->pin && strcmp(", "    if (!placement && strcmp(", {17, 23, 25}),
    ("RELOAD", "a-reload-to-nothing", "reload.c",
     "    if (failure) {\n        refuse(pool, failure->code", "    if (false) {\n        refuse(pool, failure->code",
     {19}),
    ("STATE", "an-answer-before-the-disk", "drain.c",
     " ||\n             pool->is_behind;", ";", {26}),
    ("STATE", "a-full-disk-is-no-failure", "commit.c",
     "    if (failure)\n        refuse(op, failure, out);", "    if (false)\n        refuse(op, failure, out);",
     {26, 27}),
    ("OP", "it-runs-after-a-restart", "operations.c",
     "    pm_op_end(op, PM_OP_INTERRUPTED, NULL, out);\n}\n\nstatic void end_kind", "}\n\nstatic void end_kind", {28}),
    ("bounds", "a-start-nobody-gives-up", "want.c",
     "return pm_add_ms(pm_pool_waiterless_since(place->pool), place->pool->spec->abandon_after_ms);",
     "return PM_NEVER;", {33}),
    ("bounds", "an-idle-engine-that-nobody-looks-at", "compare.c",
     "case PM_SICK: return earlier(wanted_until_ms, pm_health_next_due(place));",
     "case PM_SICK: return pm_health_next_due(place);", {18, 34}),
    ("bounds", "a-waiter-that-nobody-wakes", "queue.c",
     "    pm_due_set(core, &waiter->due, pm_queue_deadline(wish->home, request));\n", "", {31}),
]


def compile_command(build, file):
    """How the build compiles a file of src/core, as an argument list without its input and output."""
    for entry in json.loads((build / "compile_commands.json").read_text()):
        if pathlib.Path(build, entry["file"]).resolve() == ROOT / "src/core" / file:
            words, skip = [], False
            for word in entry["command"].split(" "):
                if skip or word in ("-o", "-MF", "-MQ", "-c"):
                    skip = not skip
                elif word and word != "-MD":
                    words.append(word.replace("'", "").replace('\\"', '"'))
            return words
    raise SystemExit("mutants.py: %s is not built in %s" % (file, build))


def mutate(build, folder, mutant):
    """The object of the mutated file; its text when it cannot be made."""
    _, name, file, old, new, _ = mutant
    text = (ROOT / "src/core" / file).read_text()
    if text.count(old) != 1:
        return None, "the old text is found %d times in %s" % (text.count(old), file)
    source, obj = folder / file, folder / (file + ".o")
    source.write_text(text.replace(old, new))
    done = subprocess.run(compile_command(build, file) + ["-Wno-error", "-w", "-o", str(obj), "-c", str(source)],
                          cwd=build, capture_output=True, text=True)
    return (obj, None) if done.returncode == 0 else (None, "does not compile:\n" + done.stderr)


def run(build, mutant, rounds, steps):
    """(caught by, what to print); 0: not caught, None: an error."""
    folder = build / "mutants" / mutant[1]
    folder.mkdir(parents=True, exist_ok=True)
    obj, why = mutate(build, folder, mutant)
    if why:
        return None, why
    # Its symbols come first, so the library's own copy of the file is not taken.
    objects = sorted((build / "tests/sim/simulator.p").glob("*.o"))
    libraries = ["src/core/libcore.a", "src/plan/libplan.a", "src/util/libutil.a"]
    done = subprocess.run(["cc", "-o", str(folder / "simulator"), str(obj)] + [str(x) for x in objects] +
                          [str(build / x) for x in libraries], capture_output=True, text=True)
    if done.returncode != 0:
        return None, "does not link:\n" + done.stderr
    begun = time.monotonic()
    try:
        done = subprocess.run([str(folder / "simulator"), "--seed=1", "--rounds=%d" % rounds, "--steps=%d" % steps,
                               "--workers=1", "--until-broken"], capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return None, "runs for more than 300 s"
    if done.returncode == 0 or not done.stdout.startswith("broken INV-"):
        return (0, "not caught in %d seeds" % rounds) if done.returncode == 0 else (None, done.stdout + done.stderr)
    words = done.stdout.split()
    return int(words[1][4:]), "caught by %s in seed %s, %.1f s" % (words[1], words[3], time.monotonic() - begun)


def main():
    options = dict(x[2:].split("=", 1) for x in sys.argv[1:] if x.startswith("--"))
    words = [x for x in sys.argv[1:] if not x.startswith("--")]
    if not words:
        raise SystemExit(__doc__)
    build, names = pathlib.Path(words[0]).resolve(), set(words[1:])
    chosen = [x for x in MUTANTS if not names or x[1] in names]
    if names - {x[1] for x in chosen}:
        raise SystemExit("mutants.py: no mutant %s" % ", ".join(sorted(names - {x[1] for x in chosen})))
    caught, failed = [], 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(run, build, x, int(options.get("rounds", 4000)), int(options.get("steps", 600)))
                for x in chosen]
        for mutant, job in zip(chosen, jobs):
            by, text = job.result()
            good = by in mutant[5] if by else False
            if by and not good:
                text += ", expected INV-%s" % ", INV-".join(map(str, sorted(mutant[5])))
            print("%sok mutant %s (%s): %s" % ("" if good else "not ", mutant[1], mutant[0], text), flush=True)
            failed += not good
            if good:
                caught.append("INV-%d %s\n" % (by, mutant[1]))
    if "out" in options:
        pathlib.Path(options["out"]).write_text("".join(caught))
    print("# %d of %d mutants caught" % (len(caught), len(chosen)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
