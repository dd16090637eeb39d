/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a configuration: an answer in good time, errors that fit, and what is accepted can be shown. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pm_config_errors errors;
    struct pm_config *config = NULL;
    struct poolmgr_error err = {0};
    struct pm_buf out = {0};
    int r = pm_config_parse((const char *)data, size, "f", "/", NULL, &config, &errors, &err);

    if (r == 0) {
        if (errors.n || !config->text)
            abort();
        pm_config_describe(config, &out);
        pm_buf_fini(&out);
        pm_config_free(config);
        return 0;
    }
    if (config || !err.message[0] || (errors.n == 0 && r == POOLMGR_E_CONFIG_INVALID))
        abort();
    for (size_t i = 0; i < errors.n; i++) {
        if (memchr(errors.items[i].message, '\0', sizeof(errors.items[i].message)) == NULL)
            abort();
    }
    return 0;
}
