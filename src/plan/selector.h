/* SPDX-License-Identifier: Apache-2.0 */
/* The variables by which programs choose among the devices of a machine: the plan alone says what stands in them. */
#ifndef PM_PLAN_SELECTOR_H
#define PM_PLAN_SELECTOR_H

#include <stdbool.h>
#include <stddef.h>

struct pm_selector {
    const char *name;
    const char *
        nothing; /* as what it hides every device of its kind; NULL: it only says how to count or to choose */
};

extern const struct pm_selector pm_selectors[];
extern const size_t pm_n_selectors;

bool pm_is_selector(const char *name);

#endif
