/* SPDX-License-Identifier: Apache-2.0 */
/* The table of verbs: dispatch, help and docs/poolctl.md come from it. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

const struct pm_verb pm_verbs[] = {
    {"ps", "[POOL]", "what is served, and how it is", pm_verb_ps},
    {"start", "POOL…", "start engines, and wait until they are ready", pm_verb_start},
    {"stop", "POOL… [--now]",
     "unload; running requests end first. The next request starts it again", pm_verb_stop},
    {"drain", "POOL [--deadline 5m] [--on-deadline stop|abort] [--then stop|hold]",
     "take nothing new, let running requests end, and keep it down (hold: up, but closed)",
     pm_verb_drain},
    {"resume", "POOL…", "undo a drain", pm_verb_resume},
    {"reload",
     "POOL [--model REF] [--engine-version V] [--file F] [--deadline 5m] [--on-deadline "
     "abort|stop]",
     "change model or settings; the old ones go on serving if the new ones fail", pm_verb_reload},
    {"placement",
     "explain MODEL [--pin POOL] [--prefer POOL,…] [--avoid POOL,…] [--mask M] [--no-fallback]",
     "where a request would go now, and why", pm_verb_placement},
    {"plan",
     "REF|POOL [--ctx N] [--parallel N] [--machine 24,12] [--devices MASK] [--split "
     "none|auto|balanced] "
     "[--reserve 1GiB] [--cache-k TYPE] [--cache-v TYPE] [--unified] [--ubatch N] [--compute SIZE] "
     "[--engine FILE] [--svg FILE]",
     "does a model fit, where, with which flags; of a file without a daemon, and with --machine "
     "without a GPU",
     pm_verb_plan},
    {"reset", "POOL [--breaker forced-open|closed|disabled]", "forget failures and try again",
     pm_verb_reset},
    {"logs", "POOL [-f] [-n 200] [--replica 0]", "what its engine says", pm_verb_logs},
    {"events", "[-f] [-n 50] [--pool POOL] [--level info]", "what happened; -f: what happens",
     pm_verb_events},
    {"devices", "[clear ID]", "devices and their memory; clear: end a quarantine", pm_verb_devices},
    {"requests", "[cancel ID]", "requests that wait and run", pm_verb_requests},
    {"operations", "[ID | cancel ID]", "long commands", pm_verb_operations},
    {"config", "check [FILE] | show | reload | schema",
     "read a file as the daemon would; what the daemon runs with; let it read its file again; the "
     "JSON Schema",
     pm_verb_config},
    {"preflight", "[--mode external|binary|container|package|source|models]",
     "is this machine fit: what is missing, and the command that mends it; exit status 1 where it "
     "is not. Works without a daemon",
     pm_verb_preflight},
    {"run", "POOL [PROMPT]", "ask, and print the answer as it comes; the prompt may be piped in",
     pm_verb_run},
    {"version", "", "of poolctl and of the daemon", pm_verb_version},
    {0},
};

void pm_cli_usage(const struct pm_cli *cli)
{
    for (const struct pm_verb *verb = pm_verbs; verb->name; verb++) {
        if (strcmp(verb->name, cli->argv[0]) == 0)
            fprintf(stderr, "usage: poolctl %s %s\n", verb->name, verb->usage);
    }
    fflush(NULL);
    _exit(2);
}
