/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as an engine's log: read whole or byte by byte it says the same, of a bounded number of devices, whose
 * names end.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/buffers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct pm_buffers_of *of)
{
    assert(memchr(of->name, '\0', sizeof of->name) && memchr(of->where, '\0', sizeof of->where));
    assert(of->compute_bytes >= of->context_compute_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pm_buffers whole, bytes;

    memset(&whole, 0, sizeof whole);
    memset(&bytes, 0, sizeof bytes);
    pm_buffers_feed(&whole, (const char *)data, size);
    for (size_t i = 0; i < size; i++)
        pm_buffers_feed(&bytes, (const char *)data + i, 1);
    assert(whole.n_devices <= PM_SHARES_MAX && whole.n_devices == bytes.n_devices);
    assert(memcmp(whole.devices, bytes.devices, sizeof whole.devices) == 0);
    assert(memcmp(&whole.host, &bytes.host, sizeof whole.host) == 0);
    assert(whole.n_offloaded <= whole.n_layers);
    for (size_t i = 0; i < whole.n_devices; i++)
        check(&whole.devices[i]);
    check(&whole.host);
    return 0;
}
