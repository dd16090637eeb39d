/* SPDX-License-Identifier: Apache-2.0 */
/* devices: what there is, what it has left, who uses it; and the end of a quarantine. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "util/cleanup.h"
#include "util/str.h"

static char *size_of(const json_t *object, const char *name)
{
    char text[32];

    if (!json_is_integer(json_object_get(object, name)))
        return pm_xstrdup("-");
    return pm_xstrdup(pm_format_bytes(text, sizeof(text), pm_number(object, name)));
}

/* "0", "0:1" of an instance, else the id: what a mask may say. */
static char *name_of(const json_t *device)
{
    const char *id = pm_text(device, "id", "?");

    if (!json_object_get(device, "index"))
        return pm_xstrdup(id);
    if (json_object_get(device, "mig_slot"))
        return pm_xasprintf("%llu:%llu", (unsigned long long)pm_number(device, "index"),
                            (unsigned long long)pm_number(device, "mig_slot"));
    return pm_xasprintf("%llu", (unsigned long long)pm_number(device, "index"));
}

/* Who is in the way, or what is wrong. */
static char *note_of(const json_t *device)
{
    const char *text = pm_text(device, "text", "");
    const json_t *users = json_object_get(device, "processes");
    pm_auto_buf struct pm_buf note = {0};
    char bytes[32];

    if (*text)
        pm_buf_adds(&note, text);
    else if (json_is_true(json_object_get(device, "mig_mode")))
        pm_buf_adds(&note, "in MIG mode: its instances are used");
    for (size_t i = 0; i < json_array_size(users); i++) {
        const json_t *user = json_array_get(users, i);

        if (*pm_text(user, "pool_id", ""))
            continue;
        pm_buf_addf(&note, "%s%s (pid %llu)", note.n > 0 ? "; " : "",
                    pm_text(user, "name", "a process"), (unsigned long long)pm_number(user, "pid"));
        if (json_object_get(user, "used_bytes"))
            pm_buf_addf(&note, " uses %s",
                        pm_format_bytes(bytes, sizeof(bytes), pm_number(user, "used_bytes")));
    }
    return pm_xstrdup(pm_buf_text(&note));
}

static void add_device(struct pm_table *table, const json_t *device)
{
    char **cells = pm_table_row(table);

    if (!cells)
        return;
    cells[0] = name_of(device);
    cells[1] = pm_xstrdup(pm_text(device, "name", "-"));
    cells[2] = pm_xstrdup(pm_text(device, "state", "?"));
    cells[3] = size_of(device, "vram_total_bytes");
    cells[4] = size_of(device, "vram_free_bytes");
    cells[5] = size_of(device, "planned_bytes");
    cells[6] = strcmp(cells[2], "ok") == 0 ? size_of(device, "left_bytes")
                                           : pm_xstrdup("-"); /* nothing starts there */
    cells[7] = note_of(device);
}

static void print_table(const struct pm_cli *cli, const json_t *root)
{
    static const char *const titles[] = {"DEVICE", "NAME",    "STATE", "MEMORY",
                                         "FREE",   "PLANNED", "LEFT",  "NOTE"};
    struct pm_table *table = pm_table_new(titles, PM_ARRAY_LEN(titles));
    const json_t *devices = json_object_get(root, "devices"), *cpu = json_object_get(root, "cpu");
    pm_auto_buf struct pm_buf out = {0};

    for (size_t i = 0; i < json_array_size(devices); i++)
        add_device(table, json_array_get(devices, i));
    if (cpu)
        add_device(table, cpu);
    pm_table_print(table, cli->columns, &out);
    fwrite(out.data, 1, out.n, stdout);
    pm_table_free(table);
}

static void print_driver(const json_t *driver)
{
    const char *state = pm_text(driver, "state", ""), *text = pm_text(driver, "text", "");

    if (strcmp(state, "none") == 0)
        printf("no GPU in this machine\n");
    else if (strcmp(state, "ok") == 0)
        printf("driver %s, CUDA %s\n", pm_text(driver, "version", "?"),
               pm_text(driver, "cuda", "?"));
    else if (*state)
        printf("driver: %s%s%s\n", state, *text ? ": " : "", text);
}

static int clear(struct pm_cli *cli)
{
    pm_auto_free char *id = pm_encode(cli->argv[2]);
    pm_auto_free char *path = pm_xasprintf("/v1/devices/%s/clear", id);
    json_t *device = pm_cli_ask_json(cli, "POST", path, NULL);

    if (cli->json)
        pm_print_json(device);
    else if (!cli->quiet)
        printf("%s: %s\n", cli->argv[2], pm_text(device, "state", "?"));
    json_decref(device);
    return 0;
}

int pm_verb_devices(struct pm_cli *cli)
{
    json_t *root;

    if (cli->argc == 3 && strcmp(cli->argv[1], "clear") == 0)
        return clear(cli);
    if (cli->argc != 1)
        pm_cli_usage(cli);

    root = pm_cli_ask_json(cli, "GET", "/v1/devices", NULL);
    if (cli->json) {
        pm_print_json(root);
    } else {
        print_table(cli, root);
        print_driver(json_object_get(root, "driver"));
    }
    json_decref(root);
    return 0;
}
