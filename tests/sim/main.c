/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: simulator [--seed=N] [--rounds=N] [--steps=N] [--workers=N] [--mutants=FILE] [--until-broken] [--clauses]
 *
 * Runs seeds N, N+1, … in several processes, first those that failed once. Prints the table of invariants, a line
 * `ok` or `not ok` for each, and the story of the first seeds that failed. From a thousand seeds on, what was never
 * asked is a failure, and the properties are asked, too.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"
#include "util/error.h"
#include "util/str.h"

#define WORKERS_MAX 16
#define BROKEN_MAX  8
#define CLAUSES_MAX 512
#define STORIES     3
#define WHOLE_FROM  1000 /* seeds: from here on everything must come up */

struct options {
    uint64_t first, n_rounds, n_steps;
    unsigned n_workers;
    bool whole; /* all must come up */
    bool kept;  /* those that failed once are run, too */
    bool until_broken, clauses;
    const char *mutants;
};

/* What one worker found; in memory that its parent sees. */
struct result {
    uint64_t n_seeds, n_steps;
    uint64_t clauses[CLAUSES_MAX];
    uint64_t seeds_of[SIM_INVARIANTS];
    struct {
        uint64_t seed, n_steps;
        int id;
    } broken[BROKEN_MAX];
    unsigned n_broken;
    struct sim_seen seen;
};

/* Seeds that failed once are run first. */
static const struct {
    uint64_t seed, n_steps;
} kept[] = {
#include "kept.h"
};

static size_t n_clauses(void)
{
    return (size_t)(__stop_sim_clauses - __start_sim_clauses);
}

/* ---- running ------------------------------------------------------------------------------------------------------- */

static void count_seed(struct result *result, const uint64_t *before)
{
    bool asked[SIM_INVARIANTS] = {false};

    for (size_t i = 0; i < n_clauses(); i++) {
        if (__start_sim_clauses[i].n > before[i])
            asked[__start_sim_clauses[i].id] = true;
    }
    for (int id = 1; id < SIM_INVARIANTS; id++)
        result->seeds_of[id] += asked[id];
}

static void run_one(struct result *result, uint64_t seed, uint64_t n_steps)
{
    static uint64_t before[CLAUSES_MAX];

    for (size_t i = 0; i < n_clauses(); i++)
        before[i] = __start_sim_clauses[i].n;
    if (!sim_run(&sim_here, seed, n_steps)) {
        result->broken[result->n_broken].seed = seed;
        result->broken[result->n_broken].n_steps = n_steps;
        result->broken[result->n_broken++].id = sim_here.broken->id;
    }
    result->n_seeds++;
    result->n_steps += sim_here.step;
    count_seed(result, before);
}

static void work(const struct options *options, unsigned worker, struct result *result)
{
    if (options->kept) {
        for (size_t i = worker; i < PM_ARRAY_LEN(kept); i += options->n_workers)
            run_one(result, kept[i].seed, kept[i].n_steps);
    }
    for (uint64_t i = worker; i < options->n_rounds; i += options->n_workers) {
        if (result->n_broken == BROKEN_MAX || (options->until_broken && result->n_broken > 0))
            break;
        run_one(result, options->first + i, options->n_steps);
    }
    for (size_t i = 0; i < n_clauses(); i++)
        result->clauses[i] = __start_sim_clauses[i].n;
    result->seen = sim_seen;
}

static bool run_workers(const struct options *options, struct result *results)
{
    pid_t pids[WORKERS_MAX];
    bool well = true;
    int status;

    if (options->n_workers == 1) {
        work(options, 0, &results[0]);
        return true;
    }

    for (unsigned i = 0; i < options->n_workers; i++) {
        pids[i] = fork();
        if (pids[i] < 0) {
            perror("fork");
            exit(2);
        }
        if (pids[i] == 0) {
            work(options, i, &results[i]);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < options->n_workers; i++) {
        while (waitpid(pids[i], &status, 0) < 0 && errno == EINTR)
            ;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            printf("not ok worker %u ended by itself, in seed %" PRIu64 " or the next\n", i,
                   options->first + results[i].n_seeds);
            well = false;
        }
    }
    return well;
}

static void add_all(uint64_t *to, const uint64_t *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] += from[i];
}

static void add_result(struct result *sum, const struct result *result)
{
    sum->n_seeds += result->n_seeds;
    sum->n_steps += result->n_steps;
    add_all(sum->clauses, result->clauses, n_clauses());
    add_all(sum->seeds_of, result->seeds_of, SIM_INVARIANTS);
    add_all((uint64_t *)&sum->seen, (const uint64_t *)&result->seen,
            sizeof(sum->seen) / sizeof(uint64_t));
    for (unsigned i = 0; i < result->n_broken && sum->n_broken < BROKEN_MAX; i++)
        sum->broken[sum->n_broken++] = result->broken[i];
}

/* ---- the table ------------------------------------------------------------------------------------------------------ */

static bool was_broken(const struct result *sum, int id)
{
    for (unsigned i = 0; i < sum->n_broken; i++) {
        if (sum->broken[i].id == id)
            return true;
    }
    return false;
}

/* How many mutants were caught by it: lines `INV-9 name` of the file that sim-mutants left. */
static uint64_t n_mutants(const char *path, int id)
{
    FILE *file = path ? fopen(path, "re") : NULL;
    uint64_t n = 0;
    char line[256];

    if (!file)
        return 0;
    while (fgets(line, sizeof(line), file))
        n += pm_str_starts(line, "INV-") && atoi(line + 4) == id;
    (void)fclose(file);
    return n;
}

static unsigned n_never_asked(const struct result *sum, int id)
{
    unsigned n = 0;

    for (size_t i = 0; i < n_clauses(); i++) {
        if (__start_sim_clauses[i].id != id || sum->clauses[i] > 0)
            continue;
        printf("# INV-%d was never asked: %s\n", id, __start_sim_clauses[i].sentence);
        n++;
    }
    return n;
}

static uint64_t n_asked(const struct result *sum, int id)
{
    uint64_t n = 0;

    for (size_t i = 0; i < n_clauses(); i++)
        n += __start_sim_clauses[i].id == id ? sum->clauses[i] : 0;
    return n;
}

static void print_clauses(const struct result *sum)
{
    for (int id = 1; id < SIM_INVARIANTS; id++) {
        for (size_t i = 0; i < n_clauses(); i++) {
            if (__start_sim_clauses[i].id == id)
                printf("# INV-%-2d %12" PRIu64 "  %s\n", id, sum->clauses[i],
                       __start_sim_clauses[i].sentence);
        }
    }
}

static unsigned print_table(const struct options *options, const struct result *sum)
{
    unsigned n_failed = 0;

    printf("# %-7s %-7s %8s %13s %8s  %s\n", "id", "family", "seeds", "asked", "mutants",
           "sentence");
    for (int id = 1; id < SIM_INVARIANTS; id++) {
        const struct sim_invariant *invariant = &sim_invariants[id];
        bool holds = !was_broken(sum, id);

        if (options->whole && !invariant->missing && n_never_asked(sum, id) > 0)
            holds = false;
        if (invariant->missing) {
            printf("# INV-%-3d %-7s %8s %13s %8s  %s: %s\n", id, invariant->family, "-", "-", "-",
                   invariant->sentence, invariant->missing);
            continue;
        }
        printf("%sok INV-%d %-6s %8" PRIu64 " %13" PRIu64 " %8" PRIu64 "  %s\n",
               holds ? "" : "not ", id, invariant->family, sum->seeds_of[id], n_asked(sum, id),
               n_mutants(options->mutants, id), invariant->sentence);
        n_failed += !holds;
    }
    return n_failed;
}

/* ---- what came up at all ---------------------------------------------------------------------------------------------- */

/* Told by the shell, the gateway or the API, not by the core. */
static const enum pm_event_kind not_by_core[] = {
    PM_EV_DAEMON_STARTED,    PM_EV_DAEMON_STOPPING,   PM_EV_CONFIG_APPLIED, PM_EV_CONFIG_REFUSED,
    PM_EV_CONFIG_WARNING,    PM_EV_REQUEST_CANCELLED, PM_EV_STREAM_STARTED, PM_EV_STREAM_ENDED,
    PM_EV_REQUEST_ABANDONED, PM_EV_REQUEST_RETRIED,   PM_EV_STRAY_KILLED,   PM_EV_STORE_FAILED,
};

/* Engines that are not ours have no world yet. */
static const enum pm_event_kind not_yet[] = {PM_EV_HANDOFF_ACCEPTED, PM_EV_HANDOFF_REFUSED,
                                             PM_EV_HANDOFF_WITHDRAWN};

static const int refusals[] = {
    POOLMGR_E_QUEUE_FULL,   POOLMGR_E_QUEUE_DROPPED,   POOLMGR_E_QUEUE_TIMEOUT,
    POOLMGR_E_POOL_FAILED,  POOLMGR_E_START_FAILED,    POOLMGR_E_START_TIMEOUT,
    POOLMGR_E_BREAKER_OPEN, POOLMGR_E_SHUTTING_DOWN,   POOLMGR_E_DRAINING,
    POOLMGR_E_DISABLED,     POOLMGR_E_MODEL_NOT_FOUND, POOLMGR_E_OVERLOADED,
    POOLMGR_E_PIN_UNMET,    POOLMGR_E_NEVER_FITS,      POOLMGR_E_DEVICE_LOST,
};

static bool is_told_by_others(enum pm_event_kind kind)
{
    for (size_t i = 0; i < PM_ARRAY_LEN(not_by_core); i++) {
        if (not_by_core[i] == kind)
            return true;
    }
    for (size_t i = 0; i < PM_ARRAY_LEN(not_yet); i++) {
        if (not_yet[i] == kind)
            return true;
    }
    return false;
}

static unsigned missed(const char *what, const char *name, uint64_t n)
{
    if (n > 0)
        return 0;
    printf("# never came up: %s %s\n", what, name);
    return 1;
}

static unsigned n_unseen(const struct sim_seen *seen)
{
    unsigned n = 0;
    char number[16];

    for (int i = 0; i <= PM_ACT_STOPPED; i++) {
        (void)snprintf(number, sizeof(number), "%d", i);
        if (i != PM_ACT_FOLLOW)
            n += missed("action", number, seen->actions[i]);
    }
    for (int i = 0; i < PM_STATE_COUNT; i++)
        n += missed("state", pm_state_name((enum pm_state)i), seen->states[i]);
    for (int i = 0; i < PM_EV_COUNT; i++) {
        if (!is_told_by_others((enum pm_event_kind)i))
            n += missed("event", pm_event_row((enum pm_event_kind)i)->name, seen->events[i]);
    }
    for (int i = PM_CLASS_STAGING; i < PM_CLASS_GONE; i++)
        n += missed("class", pm_class_name((enum pm_class)i), seen->classes[i]);
    for (size_t i = 0; i < PM_ARRAY_LEN(refusals); i++)
        n += missed("refusal", pm_status(refusals[i])->name, seen->refusals[-refusals[i]]);
    return n;
}

/* ---- main -------------------------------------------------------------------------------------------------------------- */

static double seconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static struct options parse(int argc, char **argv)
{
    static const struct option names[] = {
        {"seed", required_argument, NULL, 's'},    {"rounds", required_argument, NULL, 'r'},
        {"steps", required_argument, NULL, 't'},   {"workers", required_argument, NULL, 'w'},
        {"mutants", required_argument, NULL, 'm'}, {"until-broken", no_argument, NULL, 'u'},
        {"clauses", no_argument, NULL, 'c'},       {NULL, 0, NULL, 0},
    };
    struct options options = {
        .first = 1, .n_rounds = 12000, .n_steps = 900, .n_workers = 2, .whole = true};
    bool rounds = false, seed = false;
    int option;

    while ((option = getopt_long(argc, argv, "", names, NULL)) >= 0) {
        switch (option) {
        case 's':
            options.first = strtoull(optarg, NULL, 10);
            seed = true;
            break;
        case 'r':
            options.n_rounds = strtoull(optarg, NULL, 10);
            rounds = true;
            break;
        case 't': options.n_steps = strtoull(optarg, NULL, 10); break;
        case 'w': options.n_workers = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'm': options.mutants = optarg; break;
        case 'u': options.until_broken = true; break;
        case 'c': options.clauses = true; break;
        default: exit(2);
        }
    }
    if (seed && !rounds)
        options.n_rounds = 1;
    options.kept = !seed && !options.until_broken;
    if (options.n_rounds < WHOLE_FROM || options.until_broken)
        options.whole = false;
    if (options.n_workers == 0 || options.n_workers > WORKERS_MAX ||
        options.n_workers > options.n_rounds)
        options.n_workers = 1;
    return options;
}

static struct result *shared(unsigned n)
{
    void *memory = mmap(NULL, n * sizeof(struct result), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
    return memory;
}

int main(int argc, char **argv)
{
    struct options options = parse(argc, argv);
    struct result *results = shared(options.n_workers), sum = {0};
    double begun = seconds(), took;
    unsigned n_failed;

    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    n_failed = run_workers(&options, results) ? 0 : 1;
    for (unsigned i = 0; i < options.n_workers; i++)
        add_result(&sum, &results[i]);
    took = seconds() - begun;
    if (options.until_broken && sum.n_broken > 0)
        printf("broken INV-%d seed %" PRIu64 " steps %" PRIu64 "\n", sum.broken[0].id,
               sum.broken[0].seed, sum.broken[0].n_steps);
    if (options.until_broken)
        return sum.n_broken > 0 || n_failed > 0 ? 1 : 0;

    if (options.clauses)
        print_clauses(&sum);
    n_failed += print_table(&options, &sum);
    if (options.whole) {
        unsigned unseen = n_unseen(&sum.seen);

        printf("%sok every action, event, state, class and refusal came up\n",
               unseen ? "not " : "");
        n_failed += unseen > 0;
        n_failed += sim_properties();
    }
    for (unsigned i = 0; i < sum.n_broken && i < STORIES; i++)
        story_of(&sim_here, sum.broken[i].seed, sum.broken[i].n_steps);
    printf("# %" PRIu64 " seeds, %" PRIu64 " steps in %.1f s by %u processes; %u%s seeds failed\n",
           sum.n_seeds, sum.n_steps, took, options.n_workers, sum.n_broken,
           sum.n_broken == BROKEN_MAX ? " or more" : "");
    return n_failed || sum.n_broken ? 1 : 0;
}
