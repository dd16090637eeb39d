/* SPDX-License-Identifier: Apache-2.0 */
/* logs and events: what was said, and with -f what is being said. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "util/cleanup.h"
#include "util/str.h"
#include "util/time.h"

static bool print_bytes(void *ctx, const char *data, size_t n)
{
    (void)ctx;
    return fwrite(data, 1, n, stdout) == n && fflush(stdout) == 0;
}

static bool print_log_line(void *ctx, const char *event, const char *data)
{
    (void)ctx;
    (void)event;
    return puts(data) >= 0 && fflush(stdout) == 0;
}

int pm_verb_logs(struct pm_cli *cli)
{
    struct pm_events lines = {.fn = print_log_line};
    const char *pool = NULL;
    uint64_t n = 200, replica = 0;
    bool follow = false;
    pm_auto_free char *id = NULL, *path = NULL;
    struct pm_answer answer;

    for (int i = 1; i < cli->argc; i++) {
        const char *next = i + 1 < cli->argc ? cli->argv[i + 1] : NULL;

        if (strcmp(cli->argv[i], "-f") == 0)
            follow = true;
        else if (strcmp(cli->argv[i], "-n") == 0)
            n = pm_cli_number(next, "-n"), i++;
        else if (strcmp(cli->argv[i], "--replica") == 0)
            replica = pm_cli_number(next, "--replica"), i++;
        else if (!pool && cli->argv[i][0] != '-')
            pool = cli->argv[i];
        else
            pm_cli_usage(cli);
    }
    if (!pool)
        pm_cli_usage(cli);
    id = pm_encode(pool);
    path = pm_xasprintf("/v1/logs/%s?tail=%" PRIu64 "&replica=%" PRIu64 "%s", id, n, replica,
                        follow ? "&follow=1" : "");
    pm_cli_ask(cli, "GET", path, NULL, &answer, follow ? pm_events_feed : print_bytes, &lines);
    pm_events_fini(&lines);
    return 0;
}

/* Where the sentence is cut, all of it: its text is that, or what stands there behind the colon. */
static char *sentence(const json_t *event)
{
    const char *human = pm_text(event, "human", ""), *text = pm_text(event, "text", "");
    size_t n = strlen(human);

    if (!pm_str_ends(human, "…"))
        return pm_xstrdup(human);
    n -= strlen("…");
    for (size_t at = 0; at < n; at++) {
        if ((at == 0 || (at >= 2 && memcmp(human + at - 2, ": ", 2) == 0)) &&
            strncmp(human + at, text, n - at) == 0)
            return pm_xasprintf("%.*s%s", (int)at, human, text);
    }
    return pm_xstrdup(human);
}

static void print_event(const struct pm_cli *cli, const char *data)
{
    static const char *const colours[] = {"error", "\033[31m", "warn", "\033[33m", NULL};
    json_t *event = cli->json ? NULL : json_loads(data, 0, NULL);
    const char *level = pm_text(event, "level", ""), *on = "";
    pm_auto_free char *human = event ? sentence(event) : NULL;
    char time[40];

    if (!event) {
        puts(data);
        return;
    }
    for (size_t i = 0; colours[i] && cli->colour; i += 2)
        on = strcmp(colours[i], level) == 0 ? colours[i + 1] : on;
    printf("%s %s%-5s%s %s\n",
           pm_clock(time, sizeof(time), pm_text(event, "time", NULL), pm_wall_ms()), on, level,
           on[0] ? "\033[0m" : "", human);
    json_decref(event);
}

static bool on_event(void *ctx, const char *event, const char *data)
{
    if (strcmp(event, "missed") == 0)
        fprintf(stderr, "poolctl: some events were missed: %s\n", data);
    else if (strcmp(event, "hello") != 0)
        print_event(ctx, data);
    return fflush(stdout) == 0;
}

int pm_verb_events(struct pm_cli *cli)
{
    struct pm_events events = {.fn = on_event, .ctx = cli};
    bool follow = false;
    const char *pool = "", *level = cli->json ? "" : "info";
    pm_auto_free char *pool_text = NULL, *level_text = NULL, *path = NULL;
    uint64_t n = 50;
    struct pm_answer answer;

    for (int i = 1; i < cli->argc; i++) {
        const char *next = i + 1 < cli->argc ? cli->argv[i + 1] : NULL;

        if (strcmp(cli->argv[i], "-f") == 0)
            follow = true;
        else if (strcmp(cli->argv[i], "-n") == 0)
            n = pm_cli_number(next, "-n"), i++;
        else if (strcmp(cli->argv[i], "--pool") == 0 && next)
            pool = cli->argv[++i];
        else if (strcmp(cli->argv[i], "--level") == 0 && next)
            level = cli->argv[++i];
        else
            pm_cli_usage(cli);
    }
    pool_text = pm_encode(pool);
    level_text = pm_encode(level);
    path = pm_xasprintf("/v1/events?tail=%" PRIu64 "&follow=%d%s%s%s%s", n, follow,
                        pool[0] ? "&pool=" : "", pool_text, level[0] ? "&level=" : "", level_text);
    pm_cli_ask(cli, "GET", path, NULL, &answer, pm_events_feed, &events);
    pm_events_fini(&events);
    return 0;
}
