/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of `poolctl plan` share. */
#ifndef PM_CLI_PLAN_H
#define PM_CLI_PLAN_H

#include "api/planning.h"
#include "cli/cli.h"

/* ---- planask.c: what can be asked without a daemon --------------------------------------------------- */

/* "24,12" (GiB) or "11800MiB,24GiB"; ends the program when it is none. Returns how many; at most PM_SHARES_MAX. */
size_t pm_plan_read_machine(const char *text, uint64_t free_bytes[PM_SHARES_MAX]);

/* The devices of this machine, whether they can be used or not, which pool-probe is asked for; ends the program where nobody
 * can be asked, or what there is cannot be told. 0: there is no GPU hardware. *ret is the caller's. */
size_t pm_plan_look_at_machine(struct pm_planning_device **ret);

/* What is free of this machine's memory; ends the program where nobody can say. */
uint64_t pm_plan_look_at_memory(void);
bool pm_plan_is_cpu(const char *devices);  /* a mask that means no GPU */
bool pm_plan_is_auto(const char *devices); /* "auto", or NULL */

/* Those of n that a mask means, in its order; NULL, "auto": that can be used. Ends the program when it means none of them, or too
 * many. */
size_t pm_plan_choose(const char *text, const struct pm_planning_device *devices, size_t n,
                      struct pm_planning_device chosen[PM_SHARES_MAX]);

/* What a llama-server knows, by its --help; ends the program when it cannot be run. */
struct pm_plan_engine {
    bool knows_fit;   /* it moves layers by itself unless -fit off says no */
    bool few_outputs; /* it keeps room for the logits of one token a slot, not of a whole step */
};
struct pm_plan_engine pm_plan_look_at_engine(const char *program);

/* ---- planview.c: answers of pm_planning_answer(), and of POST /v1/plan, for people -------------------- */

/* "does not fit: device 0 lacks 1.11 GiB (1193914368 bytes); the largest context that fits is 3584 tokens" */
void pm_plan_print_verdict(const json_t *answer, struct pm_buf *out);
/* Model, a bar of memory for each device, flags. columns 0: no terminal. */
void pm_plan_print(const json_t *answer, unsigned columns, bool colour, struct pm_buf *out);
/* Which of its numbers were measured; nothing where all are estimated. */
void pm_plan_print_measured(const json_t *answer, struct pm_buf *out);
void pm_plan_draw(const json_t *answer, struct pm_buf *out); /* the same as SVG */

#endif
