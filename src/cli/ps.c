/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "util/cleanup.h"
#include "util/str.h"
#include "util/time.h"

/* What a person would want to know of this pool now. */
static char *note(const json_t *pool, uint64_t now_ms)
{
    const char *state = pm_text(pool, "state", "");
    const char *reason =
        pm_text(json_object_get(pool, "health"), "reason", pm_text(pool, "reason", ""));
    const json_t *replica = json_array_get(json_object_get(pool, "replicas"), 0);
    const json_t *last = json_object_get(replica, "last_error");
    const json_t *spec = json_object_get(pool, "spec");

    (void)now_ms;
    if (reason[0])
        return pm_xstrdup(reason);
    if (strcmp(state, "ready") == 0) {
        const char *ttl = pm_text(spec, "idle_ttl", "0");
        bool stays = strcmp(ttl, "0") == 0 || strcmp(pm_text(pool, "start", ""), "preload") == 0;

        return stays ? pm_xstrdup("") : pm_xasprintf("stops when idle for %s", ttl);
    }
    if (json_is_object(last) && strcmp(state, "cold") != 0)
        return pm_xstrdup(pm_text(last, "text", ""));
    if (strcmp(state, "cold") == 0)
        return pm_xstrdup("starts with the first request");
    return pm_xstrdup("");
}

static char *slots(const json_t *pool)
{
    if (strcmp(pm_text(pool, "state", ""), "ready") != 0)
        return pm_xstrdup("-");
    return pm_xasprintf("%" PRIu64 "/%" PRIu64, pm_number(pool, "active_leases"),
                        pm_number(pool, "slots_total"));
}

static char *tokens(const json_t *pool)
{
    const json_t *perf =
        json_object_get(json_array_get(json_object_get(pool, "replicas"), 0), "perf");
    const json_t *rate = json_object_get(perf, "tokens_per_s");

    return json_is_number(rate) ? pm_xasprintf("%.0f", json_number_value(rate)) : pm_xstrdup("-");
}

/* By its index, an instance with its slot, else by its id: what a mask may say. */
static void add_name(struct pm_buf *names, const json_t *device)
{
    const char *id = pm_text(device, "id", "?");

    if (!json_object_get(device, "index")) {
        pm_buf_adds(names, id);
        return;
    }
    pm_buf_addf(names, "%" PRIu64, pm_number(device, "index"));
    if (json_object_get(device, "mig_slot"))
        pm_buf_addf(names, ":%" PRIu64, pm_number(device, "mig_slot"));
}

/* Where its first engine with a plan runs; else what the file says, and what `auto` is here. */
static char *devices(const json_t *pool)
{
    const json_t *replicas = json_object_get(pool, "replicas");
    pm_auto_buf struct pm_buf ids = {0};

    for (size_t i = 0; i < json_array_size(replicas) && ids.n == 0; i++) {
        const json_t *on = json_object_get(json_array_get(replicas, i), "devices");

        for (size_t k = 0; k < json_array_size(on); k++) {
            pm_buf_adds(&ids, k > 0 ? "," : "");
            add_name(&ids, json_array_get(on, k));
        }
    }
    if (ids.n > 0)
        return pm_xstrdup(pm_buf_text(&ids));
    return pm_xstrdup(
        json_is_true(json_object_get(pool, "on_cpu")) ? "cpu" : pm_text(pool, "devices", "-"));
}

/* What is planned for all its engines. */
static char *vram(const json_t *pool)
{
    const json_t *replicas = json_object_get(pool, "replicas");
    uint64_t bytes = 0;
    char text[32];

    for (size_t i = 0; i < json_array_size(replicas); i++) {
        const json_t *on = json_object_get(json_array_get(replicas, i), "devices");

        for (size_t k = 0; k < json_array_size(on); k++)
            bytes += pm_number(json_array_get(on, k), "planned_bytes");
    }
    return pm_xstrdup(bytes > 0 ? pm_format_bytes(text, sizeof(text), bytes) : "-");
}

static void add_row(struct pm_table *table, const json_t *pool, uint64_t now_ms)
{
    char since[32];
    char **cells = pm_table_row(table);

    cells[0] = pm_xstrdup(pm_text(pool, "id", "?"));
    cells[1] = pm_xstrdup(pm_text(pool, "state", "?"));
    cells[2] = slots(pool);
    cells[3] = pm_xasprintf("%" PRIu64, pm_number(pool, "queue_depth"));
    cells[4] = devices(pool);
    cells[5] = vram(pool);
    cells[6] = tokens(pool);
    cells[7] = pm_xstrdup(pm_since(since, sizeof(since), pm_text(pool, "since_at", NULL), now_ms));
    cells[8] = note(pool, now_ms);
}

int pm_verb_ps(struct pm_cli *cli)
{
    static const char *const titles[] = {"POOL", "STATE", "SLOTS", "WAIT", "DEVICES",
                                         "VRAM", "TOK/S", "SINCE", "NOTE"};
    pm_auto_free char *id = cli->argc == 2 ? pm_encode(cli->argv[1]) : NULL;
    pm_auto_free char *path = id ? pm_xasprintf("/v1/pools/%s", id) : pm_xstrdup("/v1/pools");
    pm_auto_buf struct pm_buf out = {0};
    json_t *root;

    if (cli->argc > 2)
        pm_cli_usage(cli);
    root = pm_cli_ask_json(cli, "GET", path, NULL);
    if (cli->json) {
        pm_print_json(root);
    } else {
        const json_t *pools = json_object_get(root, "pools");
        size_t n = id ? 1 : json_array_size(pools);

        struct pm_table *table = pm_table_new(titles, PM_ARRAY_LEN(titles));

        for (size_t i = 0; i < n; i++)
            add_row(table, id ? root : json_array_get(pools, i), pm_wall_ms());
        pm_table_print(table, cli->columns, &out);
        fwrite(out.data, 1, out.n, stdout);
        pm_table_free(table);
    }
    json_decref(root);
    return 0;
}
