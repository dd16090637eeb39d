/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at a machine for a preflight. Nothing is created, changed or waited for: files are read, folders asked for
 * their room and modes, the kernel for what it would refuse. It may take as long as a disk takes to answer, so a daemon
 * looks on its helper thread.
 */
#ifndef PM_PROVISION_GATHER_H
#define PM_PROVISION_GATHER_H

#include "provision/facts.h"
#include "util/loop.h"

struct pm_gather_model {
    char pool[PM_ID_MAX + 1];
    bool on_cpu; /* else: only where there is no GPU */
    struct pm_strv files;
};

/* What is to be looked at: a value on its own, so that another thread may look while the configuration goes. */
struct pm_gather {
    char *
        root; /* in front of every path, so that a recorded tree can be looked at; "" this machine */
    char *path; /* PATH, where programs are */
    char *
        nvml; /* of the driver's library where the configuration names one; NULL: where the system has it */
    char *folders[PM_FOLDER_COUNT];
    struct pm_strv listen; /* the control socket too */
    struct pm_engine_facts
        *engines; /* of those with PM_PROGRAM_MISSING the program is looked for */
    size_t n_engines;
    struct pm_gather_model *models;
    size_t n_models;
};

/* root may be NULL: this machine. */
void pm_gather_init(const struct pm_config *config, const char *root, struct pm_gather *ret);
void pm_gather_fini(struct pm_gather *gather);

/* All facts but the driver's own words. *ret is to be given to pm_facts_fini(). Any thread. */
void pm_facts_gather(const struct pm_gather *gather, struct pm_facts *ret);

/* ---- the driver's own words -------------------------------------------------------------------------- */

/* There is something of NVIDIA's here, or may be, or the library was named: the driver is to be asked. */
bool pm_driver_to_be_asked(const struct pm_gather *gather, const struct pm_facts *facts);

/* The path of pool-probe, beside this program or where it is installed; NULL: it is not there. The caller's. */
char *pm_find_pool_probe(void);

#define PM_ASK_DRIVER_MS 20000 /* the driver's first answer may take seconds */

/*
 * Runs `pool-probe --once` and reads what it says. nvml: path of the library; NULL or "": where the system has it. on_answer is called once, on the loop, never from inside this call;
 * the snapshot is the callee's to keep or to give to pm_gpu_snapshot_fini(). A child that does not answer in time is
 * killed, and not waited for where it hangs in the kernel. Freed before: on_answer is not called.
 */
struct pm_driver_ask;
struct pm_driver_ask *pm_driver_ask_new(struct pm_loop *loop, const char *program, const char *nvml,
                                        uint64_t deadline_ms,
                                        void (*on_answer)(void *ctx, enum pm_asked how,
                                                          const char *text,
                                                          struct pm_gpu_snapshot *snapshot),
                                        void *ctx);
void pm_driver_ask_free(struct pm_driver_ask *ask); /* also after on_answer; NULL is fine */

/* Notes an answer in the facts; the snapshot is theirs from now on. */
void pm_facts_answered(struct pm_facts *facts, enum pm_asked how, const char *text,
                       struct pm_gpu_snapshot *snapshot);

#endif
