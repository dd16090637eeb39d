/* SPDX-License-Identifier: Apache-2.0 */
/* devices: what is known of them, and the end of a quarantine. */
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

static void add_device(struct pm_table *table, const json_t *device)
{
    char **cells = pm_table_row(table);

    if (!cells)
        return;
    cells[0] = pm_xstrdup(pm_text(device, "id", "?"));
    cells[1] = pm_xstrdup(pm_text(device, "state", "?"));
    cells[2] = size_of(device, "vram_total_bytes");
    cells[3] = size_of(device, "vram_free_bytes");
    cells[4] = size_of(device, "planned_bytes");
    cells[5] = size_of(device, "reserve_bytes");
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
    static const char *const titles[] = {"DEVICE", "STATE", "VRAM", "FREE", "PLANNED", "RESERVE"};
    pm_auto_buf struct pm_buf out = {0};
    const json_t *devices;
    json_t *root;

    if (cli->argc == 3 && strcmp(cli->argv[1], "clear") == 0)
        return clear(cli);
    if (cli->argc != 1)
        pm_cli_usage(cli);

    root = pm_cli_ask_json(cli, "GET", "/v1/devices", NULL);
    devices = json_object_get(root, "devices");
    if (cli->json) {
        pm_print_json(root);
    } else {
        struct pm_table *table = pm_table_new(titles, PM_ARRAY_LEN(titles));

        for (size_t i = 0; i < json_array_size(devices); i++)
            add_device(table, json_array_get(devices, i));
        pm_table_print(table, cli->columns, &out);
        fwrite(out.data, 1, out.n, stdout);
        pm_table_free(table);
    }
    json_decref(root);
    return 0;
}
