/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a file of measures: refused with a reason, or within its limits, and written again and read back as the
 * same. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/remembered.h"

#define NAME "00000000000000a7"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_one(const struct pm_remembered *remembered, size_t i)
{
    assert(remembered->records[i].identity == 0xa7);
    assert(pm_remembered_accepts(&remembered->records[i]));
    for (size_t k = 0; k < i; k++)
        assert(strcmp(remembered->records[i].device, remembered->records[k].device) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pm_remembered remembered, again;
    struct poolmgr_error err = {0};
    char *text;

    if (pm_remembered_read((const char *)data, size, NAME, &remembered, &err) < 0) {
        assert(err.code == POOLMGR_E_INVALID_REQUEST && err.message[0] != '\0');
        return 0;
    }

    assert(remembered.n > 0 && remembered.n <= PM_REMEMBERED_DEVICES_MAX);
    text = pm_remembered_write(&remembered);
    assert(pm_remembered_read(text, strlen(text), NAME, &again, &err) == POOLMGR_OK);
    assert(again.n == remembered.n && again.identity == 0xa7);
    for (size_t i = 0; i < again.n; i++) {
        check_one(&remembered, i);
        assert(memcmp(&again.records[i], &remembered.records[i], sizeof(*again.records)) == 0);
    }
    free(text);
    pm_remembered_fini(&remembered);
    pm_remembered_fini(&again);
    return 0;
}
