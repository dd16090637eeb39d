/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seed that failed is told: what was put in and what came out, in the last steps, as far as it concerns the pool.
 * Before that, steps are left out one by one and in heaps, as long as the same sentence is still broken.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "util/cleanup.h"
#include "util/str.h"

#define LINES     4096
#define LINES_MAX 70 /* that are told */
#define RUNS_MAX  1500

struct line {
    uint64_t step, ms;
    int pool;
    char text[240];
};

struct story {
    struct line lines[LINES];
    size_t n;
};

void story_tell(struct sim *sim, int pool, const char *format, ...)
{
    struct line *line = &sim->story->lines[sim->story->n++ % LINES];
    va_list args;

    line->step = sim->step;
    line->ms = sim->now_ms;
    line->pool = pool;
    va_start(args, format);
    (void)vsnprintf(line->text, sizeof(line->text), format, args);
    va_end(args);
}

/* ---- shortening -------------------------------------------------------------------------------------------------- */

static bool breaks_the_same(struct sim *sim, uint64_t seed, uint64_t n_steps,
                            const struct sim_clause *clause)
{
    (void)sim_run(sim, seed, n_steps);
    return sim->broken == clause;
}

/* Leaves out [from, to); whether that was possible. */
static bool leave_out(struct sim *sim, unsigned char *left_out, uint64_t from, uint64_t to,
                      uint64_t seed, uint64_t n_steps, const struct sim_clause *clause)
{
    pm_auto_free unsigned char *before = pm_xalloc(to - from);

    memcpy(before, left_out + from, to - from);
    memset(left_out + from, 1, to - from);
    if (breaks_the_same(sim, seed, n_steps, clause))
        return true;
    memcpy(left_out + from, before, to - from);
    return false;
}

static void shorten(struct sim *sim, unsigned char *left_out, uint64_t seed, uint64_t n_steps,
                    uint64_t last, const struct sim_clause *clause)
{
    unsigned n_runs = 0;
    bool again;

    do {
        again = false;
        for (uint64_t size = (last + 1) / 2; size > 0; size /= 2) {
            for (uint64_t from = 1; from <= last && n_runs < RUNS_MAX; from += size) {
                uint64_t to = from + size <= last ? from + size : last + 1;

                if (memchr(left_out + from, 0, to - from) == NULL)
                    continue;
                n_runs++;
                again |= leave_out(sim, left_out, from, to, seed, n_steps, clause);
            }
        }
    } while (again && n_runs < RUNS_MAX);
}

/* ---- telling ----------------------------------------------------------------------------------------------------- */

static bool concerns(const struct line *line, int pool)
{
    return pool == SIM_NOBODY || line->pool == SIM_NOBODY || line->pool == pool;
}

static void print_lines(const struct sim *sim, const struct story *story)
{
    size_t first = story->n > LINES ? story->n - LINES : 0, n = 0, from = story->n;

    while (from > first && n < LINES_MAX) {
        from--;
        n += concerns(&story->lines[from % LINES], sim->broken_pool);
    }
    if (from > first)
        printf("  … %zu lines before\n", from);
    for (size_t i = from; i < story->n; i++) {
        const struct line *line = &story->lines[i % LINES];

        if (concerns(line, sim->broken_pool))
            printf("  %5" PRIu64 " %10.3f s  %s\n", line->step, (double)line->ms / 1000,
                   line->text);
    }
}

static uint64_t n_kept(const unsigned char *left_out, uint64_t last)
{
    uint64_t n = 0;

    for (uint64_t i = 1; i <= last; i++)
        n += !left_out[i];
    return n;
}

void story_of(struct sim *sim, uint64_t seed, uint64_t n_steps)
{
    pm_auto_free unsigned char *left_out = pm_xalloc(n_steps + 2);
    pm_auto_free struct story *story = pm_xalloc(sizeof(*story));
    const struct sim_clause *clause;
    uint64_t last;

    sim->left_out = NULL;
    (void)sim_run(sim, seed, n_steps);
    clause = sim->broken;
    if (!clause) {
        printf("seed %" PRIu64 ": nothing is broken\n", seed);
        return;
    }
    printf("SEED=%" PRIu64 " STEPS=%" PRIu64 " breaks INV-%d at step %" PRIu64 ": %s\n", seed,
           n_steps, clause->id, sim->broken_step, clause->sentence);
    last = sim->broken_step < n_steps ? sim->broken_step : n_steps;

    memset(left_out + last + 1, 1, n_steps + 1 - last);
    sim->left_out = left_out;
    shorten(sim, left_out, seed, n_steps, last, clause);
    sim->story = story;
    (void)sim_run(sim, seed, n_steps);
    sim->story = NULL;
    printf("  in %" PRIu64 " steps (mood: %s):\n", n_kept(left_out, last), sim->mood->name);
    print_lines(sim, story);
    printf("  %5" PRIu64 " %10.3f s  BROKEN, INV-%d: %s: %s\n        [%s]\n", sim->broken_step,
           (double)sim->broken_ms / 1000, sim->broken->id, sim->broken->sentence, sim->broken_text,
           sim->broken->condition);
    sim->left_out = NULL;
}
