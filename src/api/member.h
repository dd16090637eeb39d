/* SPDX-License-Identifier: Apache-2.0 */
/* Members of a control body, checked as they are read. False: the call was answered with 400, `param` names it. */
#ifndef PM_API_MEMBER_H
#define PM_API_MEMBER_H

#include "api/call.h"

/* A number of milliseconds; *ret_there says whether it is there at all. One that no clock can count is refused. */
bool pm_member_ms(struct pm_call *call, const json_t *body, const char *name, bool *ret_there,
                  uint64_t *ret);

/* One of n words; *ret stays as it is when the member is absent. */
bool pm_member_word(struct pm_call *call, const json_t *body, const char *name,
                    const char *const *words, unsigned n_words, unsigned *ret);

/* A text that is not empty, borrowed from the body; *ret is NULL when it is absent. */
bool pm_member_text(struct pm_call *call, const json_t *body, const char *name, const char **ret);

#endif
