/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/ggml.h"

#include <assert.h>
#include <strings.h>

#include "util/cleanup.h"

static const struct pm_ggml_type types[] = {
    [0] = {"F32", 1, 4},         [1] = {"F16", 1, 2},         [2] = {"Q4_0", 32, 18},
    [3] = {"Q4_1", 32, 20},      [6] = {"Q5_0", 32, 22},      [7] = {"Q5_1", 32, 24},
    [8] = {"Q8_0", 32, 34},      [9] = {"Q8_1", 32, 36},      [10] = {"Q2_K", 256, 84},
    [11] = {"Q3_K", 256, 110},   [12] = {"Q4_K", 256, 144},   [13] = {"Q5_K", 256, 176},
    [14] = {"Q6_K", 256, 210},   [15] = {"Q8_K", 256, 292},   [16] = {"IQ2_XXS", 256, 66},
    [17] = {"IQ2_XS", 256, 74},  [18] = {"IQ3_XXS", 256, 98}, [19] = {"IQ1_S", 256, 50},
    [20] = {"IQ4_NL", 32, 18},   [21] = {"IQ3_S", 256, 110},  [22] = {"IQ2_S", 256, 82},
    [23] = {"IQ4_XS", 256, 136}, [24] = {"I8", 1, 1},         [25] = {"I16", 1, 2},
    [26] = {"I32", 1, 4},        [27] = {"I64", 1, 8},        [28] = {"F64", 1, 8},
    [29] = {"IQ1_M", 256, 56},   [30] = {"BF16", 1, 2},       [34] = {"TQ1_0", 256, 54},
    [35] = {"TQ2_0", 256, 66},   [39] = {"MXFP4", 32, 17},    [40] = {"NVFP4", 64, 36},
    [41] = {"Q1_0", 128, 18},    [42] = {"Q2_0", 64, 18},
};

static_assert(PM_ARRAY_LEN(types) == PM_GGML_TYPES, "the header says how many");

const struct pm_ggml_type *pm_ggml_type(uint64_t id)
{
    return id < PM_ARRAY_LEN(types) && types[id].name ? &types[id] : NULL;
}

const struct pm_ggml_type *pm_ggml_cache_type(uint64_t id)
{
    switch (id) {
    case 0:  /* f32 */
    case 1:  /* f16 */
    case 2:  /* q4_0 */
    case 3:  /* q4_1 */
    case 6:  /* q5_0 */
    case 7:  /* q5_1 */
    case 8:  /* q8_0 */
    case 20: /* iq4_nl */
    case 30: /* bf16 */ return &types[id];
    default: return NULL;
    }
}

bool pm_ggml_find_cache_type(const char *name, unsigned *ret_id)
{
    for (unsigned id = 0; id < PM_GGML_TYPES; id++) {
        const struct pm_ggml_type *type = pm_ggml_cache_type(id);

        if (type && strcasecmp(type->name, name) == 0) {
            *ret_id = id;
            return true;
        }
    }

    return false;
}

bool pm_ggml_bytes(const struct pm_ggml_type *type, uint64_t n, uint64_t *ret)
{
    uint64_t n_blocks = n / type->n_elements + (n % type->n_elements != 0);

    return !__builtin_mul_overflow(n_blocks, type->n_bytes, ret);
}
