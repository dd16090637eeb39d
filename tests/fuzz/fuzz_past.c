/* SPDX-License-Identifier: Apache-2.0 */
/* A file of STATE/past: refused with a reason, or what was read is what is written again. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/past.h"

#define NOW_MS UINT64_C(1790000000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct poolmgr_error err = {0};
    struct pm_past past, again;
    char *text;

    if (pm_past_read((const char *)data, size, "a", NOW_MS, &past, &err) < 0) {
        assert(err.code == POOLMGR_E_INVALID_REQUEST && err.message[0] != '\0');
        return 0;
    }

    assert(past.n > 0 && past.n <= PM_PAST_REPLICAS_MAX);
    for (size_t i = 0; i < past.n; i++)
        assert(past.replicas[i].n_answers == 0 || past.replicas[i].decode_ms >= 0.5);
    text = pm_past_write(&past, NOW_MS);
    if (text) {
        assert(pm_past_read(text, strlen(text), "a", NOW_MS, &again, &err) == POOLMGR_OK);
        assert(again.n == past.n && again.identity == past.identity);
        for (size_t i = 0; i < again.n; i++) {
            assert(again.replicas[i].n_failures == past.replicas[i].n_failures);
            assert(strcmp(again.replicas[i].last_error.text, past.replicas[i].last_error.text) ==
                   0);
        }
    }
    free(text);
    return 0;
}
