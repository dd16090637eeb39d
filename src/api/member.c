/* SPDX-License-Identifier: Apache-2.0 */
#include "api/member.h"

#include <stdio.h>
#include <string.h>

bool pm_member_ms(struct pm_call *call, const json_t *body, const char *name, bool *ret_there,
                  uint64_t *ret)
{
    const json_t *value = json_object_get(body, name);

    *ret_there = value != NULL;
    if (!value)
        return true;
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *ret = (uint64_t)json_integer_value(value);
        return true;
    }
    pm_call_fail(call, POOLMGR_E_INVALID_REQUEST, name,
                 "'%s' must be a whole number of milliseconds, not below 0", name);
    return false;
}

static void refuse_word(struct pm_call *call, const char *name, const char *const *words,
                        unsigned n_words)
{
    char list[128] = "";
    size_t n = 0;

    for (unsigned i = 0; i < n_words && n < sizeof(list); i++)
        n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s",
                              i == 0             ? ""
                              : i + 1 == n_words ? " or "
                                                 : ", ",
                              words[i]);
    pm_call_fail(call, POOLMGR_E_INVALID_REQUEST, name, "'%s' must be %s", name, list);
}

bool pm_member_word(struct pm_call *call, const json_t *body, const char *name,
                    const char *const *words, unsigned n_words, unsigned *ret)
{
    const json_t *value = json_object_get(body, name);

    if (!value)
        return true;
    for (unsigned i = 0; json_is_string(value) && i < n_words; i++) {
        if (strcmp(words[i], json_string_value(value)) == 0) {
            *ret = i;
            return true;
        }
    }
    refuse_word(call, name, words, n_words);
    return false;
}

bool pm_member_text(struct pm_call *call, const json_t *body, const char *name, const char **ret)
{
    const json_t *value = json_object_get(body, name);

    *ret = value ? json_string_value(value) : NULL;
    if (!value || (*ret && **ret))
        return true;
    pm_call_fail(call, POOLMGR_E_INVALID_REQUEST, name, "'%s' must be a text", name);
    return false;
}
