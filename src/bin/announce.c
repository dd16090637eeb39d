/* SPDX-License-Identifier: Apache-2.0 */
#include "bin/announce.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "util/cleanup.h"

#define DESCRIPTORS_WISHED 65536 /* two for each stream */

void pm_announce(struct pm_sink *sink, enum pm_event_kind kind, const char *program,
                 const char *human, const char *text)
{
    struct pm_event event;

    pm_event_init(&event, kind, program);
    pm_event_human(&event, "%s %s", program, human);
    if (text)
        pm_event_text(&event, text);
    pm_sink_tell(sink, &event);
}

void pm_announce_warnings(struct pm_sink *sink, const char *program, const struct pm_config *config)
{
    pm_auto_buf struct pm_buf text = {0};
    size_t i;

    for (i = 0; i < config->no_effect_yet.n; i++)
        pm_buf_addf(&text, "%s%s", i > 0 ? ", " : "", config->no_effect_yet.items[i]);

    if (text.n > 0)
        pm_announce(sink, PM_EV_CONFIG_WARNING, program,
                    "was given settings that have no effect in this version", pm_buf_text(&text));

    for (i = 0; i < config->warnings.n; i++)
        pm_announce(sink, PM_EV_CONFIG_WARNING, program, "was given settings that are unwise",
                    config->warnings.items[i]);
}

void pm_announce_descriptors(struct pm_sink *sink, const char *program, uint64_t n_descriptors)
{
    pm_auto_buf struct pm_buf text = {0};

    if (n_descriptors >= DESCRIPTORS_WISHED)
        return;

    pm_buf_addf(&text, "may open %" PRIu64 " descriptors: about %" PRIu64 " streams at once",
                n_descriptors, n_descriptors / 2);
    pm_announce(sink, PM_EV_CONFIG_WARNING, program, pm_buf_text(&text),
                "raise the hard limit: ulimit -Hn, or LimitNOFILE= of the unit");
}

static void greet(const struct pm_program *program, const struct pm_config *config,
                  const char *address)
{
    size_t i;

    if (program->has_gateway)
        printf("\nserving at http://%s/v1\n", address);
    else
        printf("\ncontrolled at http://%s/v1/pools\n", address);
    for (i = 0; i < config->n_pools; i++)
        printf("  %s  (%s)\n", config->pools[i]->id,
               config->pools[i]->model.main ? config->pools[i]->model.main : "no model");
    if (config->n_pools > 0 && !program->has_gateway)
        printf("try:\n  curl -s -X POST 'http://%s/v1/pools/%s/start?wait=60s'\n\n", address,
               config->pools[0]->id);
    else if (config->n_pools > 0)
        printf(
            "try:\n  curl -sN http://%s/v1/chat/completions -d '{\"model\":\"%s\",\"stream\":true,"
            "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}'\n\n",
            address, config->pools[0]->id);
    fflush(stdout);
}

void pm_announce_start(struct pm_sink *sink, const struct pm_program *program,
                       const struct pm_config *config, const struct pm_http_server *server)
{
    pm_auto_buf struct pm_buf listen = {0};
    struct pm_event event;
    const char *address;
    size_t i;

    for (i = 0; (address = pm_http_server_address(server, i)); i++)
        pm_buf_addf(&listen, "%s%s", i > 0 ? " " : "", address);

    pm_event_init(&event, PM_EV_DAEMON_STARTED, program->name);
    pm_event_human(&event, "%s " PM_VERSION " %s %zu pool%s", program->name,
                   program->has_gateway ? "serves" : "manages", config->n_pools,
                   config->n_pools == 1 ? "" : "s");
    event.pid = (int)getpid();
    event.fields |= PM_EF_PID | PM_EF_LISTEN;
    (void)pm_str_copy(event.text, sizeof event.text, pm_buf_text(&listen));
    pm_sink_tell(sink, &event);

    address = pm_http_server_address(server, 0);
    if (isatty(STDOUT_FILENO) && address && !pm_str_starts(address, "unix:"))
        greet(program, config, address);
}
