/* SPDX-License-Identifier: Apache-2.0 */
/* One pair of functions an id: `at` before an action is booked, `after` at the end of a step. */
#ifndef PM_TESTS_SIM_INVARIANTS_H
#define PM_TESTS_SIM_INVARIANTS_H

#include "sim.h"

#define OF(kind) (1U << (kind))

void inv1_after(struct sim *sim);
void inv3_at(struct sim *sim, const struct pm_action *action);
void inv3_after(struct sim *sim);
void inv4_at(struct sim *sim, const struct pm_action *action);
void inv5_at(struct sim *sim, const struct pm_action *action);
void inv6_after(struct sim *sim);
void inv7_at(struct sim *sim, const struct pm_action *action);
void inv7_after(struct sim *sim);
void inv8_after(struct sim *sim);

void inv9_at(struct sim *sim, const struct pm_action *action);
void inv10_at(struct sim *sim, const struct pm_action *action);
void inv10_after(struct sim *sim);
void inv11_at(struct sim *sim, const struct pm_action *action);
void inv21_at(struct sim *sim, const struct pm_action *action);
void inv22_after(struct sim *sim);
void inv35_after(struct sim *sim);
void inv12_at(struct sim *sim, const struct pm_action *action);
void inv12_after(struct sim *sim);
void inv13_at(struct sim *sim, const struct pm_action *action);
void inv14_after(struct sim *sim);
void inv15_after(struct sim *sim);
void inv16_at(struct sim *sim, const struct pm_action *action);

void inv17_at(struct sim *sim, const struct pm_action *action);
void inv17_after(struct sim *sim);
void inv18_after(struct sim *sim);
void inv27_after(struct sim *sim);
void inv26_at(struct sim *sim, const struct pm_action *action);
void inv18_at(struct sim *sim, const struct pm_action *action);
void inv19_spec(struct sim *sim, int pool);
void inv19_succeeds(struct sim *sim, int pool);
void inv19_at(struct sim *sim, const struct pm_action *action);
void inv19_after(struct sim *sim);
void inv20_after(struct sim *sim);
void inv23_at(struct sim *sim, const struct pm_action *action);
void inv23_after(struct sim *sim);
void inv24_at(struct sim *sim, const struct pm_action *action);
void inv28_at(struct sim *sim, const struct pm_action *action);

void inv31_at(struct sim *sim, const struct pm_action *action);
void inv31_after(struct sim *sim);
void inv32_after(struct sim *sim);
void inv33_after(struct sim *sim);
void inv34_after(struct sim *sim);

/* These are asked by the driver, since they put something in themselves. */
void inv2_nothing(struct sim *sim);
void inv13_request(struct sim *sim, int request, bool was_free);
void inv25_at(struct sim *sim, const struct pm_action *action);

/* What was explained before a request came. */
struct sim_choice {
    bool asked, may_reopen; /* a gate that was closed, since nobody wanted the pool */
    int pool, code;
    unsigned replica;
};
void inv25_explain(struct sim *sim, const struct pm_request *request, struct sim_choice *ret);
void inv25_request(struct sim *sim, int request, const struct sim_choice *choice);
void inv26_restarted(struct sim *sim);
void inv28_restarted(struct sim *sim);
void inv29_second_look(struct sim *sim);
void inv30_early_look(struct sim *sim);

void invariants_at(struct sim *sim, const struct pm_action *action);
void invariants_after(struct sim *sim);

/* Each pool that is there; each replica of one. */
#define EACH_POOL(sim, i)                                                                          \
    for (int(i) = 0; (i) < (sim)->books.n_pools; (i)++)                                            \
        if (!(sim)->books.pools[i].there) {                                                        \
        } else
#define EACH_REPLICA(pool, k) for (unsigned(k) = 0; (k) < (pool)->spec->n_replicas; (k)++)

#endif
