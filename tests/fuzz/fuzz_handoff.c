/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a handoff: an answer in good time; what is accepted can be registered, what is not says why. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/handoff.h"
#include "http/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void register_it(struct pm_pool_spec *spec, unsigned replica)
{
    const struct pm_core_options options = {.max_parallel_starts = 1};
    const struct pm_handoff handoff = {.spec = spec, .replica = replica, .answered = true};
    struct pm_core *core = pm_core_new(&options);
    struct pm_actions out = {0};
    struct pm_replica_view view;
    struct poolmgr_error err = {0};

    pm_core_begin(core, 1, &out);
    if (pm_core_handoff(core, &handoff, 2, &out, &err) < 0 ||
        !pm_core_replica(core, spec->id, replica, &view) || view.state != PM_READY ||
        view.slots_total != spec->n_slots)
        abort();
    pm_actions_fini(&out);
    pm_core_free(core);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pm_pool_spec *spec = NULL, *again = NULL;
    struct poolmgr_error err = {0};
    unsigned replica = 0, same = 0;
    int r = pm_handoff_parse((const char *)data, size, &spec, &replica, &err);

    if (r < 0) {
        if (spec || !err.message[0] || err.code != r)
            abort();
        return 0;
    }
    if (replica >= PM_HANDOFF_REPLICAS_MAX || spec->habits.ours || !spec->text ||
        !pm_pool_id_valid(spec->id) || !pm_http_endpoint_valid(spec->external.endpoint))
        abort();
    register_it(spec, replica);

    /* What is shown of it is a handoff, too. */
    if (pm_handoff_parse(spec->text, strlen(spec->text), &again, &same, &err) < 0 ||
        same != replica || strcmp(again->text, spec->text) != 0)
        abort();
    pm_pool_spec_unref(again);
    pm_pool_spec_unref(spec);
    return 0;
}
