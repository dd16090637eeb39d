/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a pool's record: refused with a reason, or written again and read back as the same. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct pm_pool_record *a, const struct pm_pool_record *b)
{
    assert(strcmp(a->pool_id, b->pool_id) == 0 && a->owner == b->owner && a->intent == b->intent);
    assert(a->has_operation == b->has_operation && a->operation == b->operation);
    assert(a->kind == b->kind);
    assert((a->spec_text == NULL) == (b->spec_text == NULL));
    assert(!a->spec_text || strcmp(a->spec_text, b->spec_text) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pm_pool_record record, again;
    struct poolmgr_error err = {0};
    char *text = NULL;

    if (pm_record_read((const char *)data, size, "a", &record, &err) < 0) {
        assert(err.code == POOLMGR_E_INVALID_REQUEST && err.message[0] != '\0');
        return 0;
    }

    assert(record.owner < PM_OWNER_COUNT && record.intent < PM_INTENT_COUNT);
    /* Indented it may be larger than what is kept. */
    if (pm_record_write(&record, &text, &err) == POOLMGR_OK && text) {
        assert(pm_record_read(text, strlen(text), "a", &again, &err) == POOLMGR_OK);
        check_same(&record, &again);
        pm_record_fini(&again);
    }
    free(text);
    pm_record_fini(&record);
    return 0;
}
