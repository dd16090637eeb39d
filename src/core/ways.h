/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways to run a spec on the devices that are known: which devices, and how much of each. Part of inner.h; see ways.c.
 */
#ifndef PM_CORE_WAYS_H
#define PM_CORE_WAYS_H

#include "core/core.h"
#include "plan/estimate.h"
#include "plan/split.h"
#include "util/list.h"

/* What a share is made of, as it was estimated. Zeros: it was declared. */
struct pm_part {
    uint64_t weights, kv, compute, context;
};

/* One way: a share for each device, in the order in which the engine shall see them. */
struct pm_way {
    struct pm_shares shares;
    bool estimated;                 /* the bytes are; else they were declared, or are unknown */
    unsigned n_layers;              /* of the model, and the output; 0: unknown */
    unsigned layers[PM_SHARES_MAX]; /* of each device */
    struct pm_part parts[PM_SHARES_MAX]; /* of each device */
    uint64_t
        mapped; /* on the CPU: bytes of its file that all who map it have in common; 0: its own alone */
    uint64_t spared; /* of these, what another engine carries for it: not in its share */
};

/* The last split that was asked for, by what was left on each device then. */
struct pm_split_memo {
    bool known, fits;
    uint64_t left[PM_SHARES_MAX];
    struct pm_way way;
};

enum pm_split_use { PM_SPLIT_NOW, PM_SPLIT_ONE_DAY, PM_SPLIT_USES };

/* What is known of a spec: made when it is first asked for, and anew when devices or what was measured changed. */
struct pm_ways {
    struct pm_link link;        /* in core->all_ways */
    struct pm_pool_spec *spec;  /* a reference */
    struct pm_model *model;     /* a reference; NULL: unknown */
    uint64_t size_bytes;        /* of all its files */
    bool few_outputs;           /* the program keeps room for the logits of one token a slot */
    uint64_t version;           /* of core->ways_version, that all below is of */
    struct poolmgr_error error; /* code 0: none; why its devices cannot be told */
    uint32_t *accounts;         /* of its mask */
    size_t n_accounts;
    bool estimated;
    struct pm_estimate estimate;
    struct pm_way *items; /* those that do not depend on what is free */
    size_t n;
    /* tensor_split: auto, with an estimate: these, by what is free */
    uint32_t split_accounts[PM_SHARES_MAX];
    size_t n_split; /* 0: it is not split */
    struct pm_split_memo memos[PM_SPLIT_USES];
    struct pm_way
        beside; /* on the CPU: as it is now, beside another engine that has the same file mapped */
};

/* What could be had of a device. */
typedef uint64_t (*pm_left_fn)(const void *ctx, uint32_t account);

/* Whether it needs room on a device, as far as is known by now; whether it runs on the CPU, asked for or not; whether that is
 * to be seen when the GPUs of this machine were looked for. */
bool pm_ways_needed(const struct pm_core *core, const struct pm_pool_spec *spec);
bool pm_ways_on_cpu(const struct pm_core *core, const struct pm_pool_spec *spec);
bool pm_ways_awaited(const struct pm_core *core, const struct pm_pool_spec *spec);
/* For want of a GPU; "" it is not so. Said where people are told of it (LOAD-5). */
const char *pm_ways_why_cpu(const struct pm_core *core, const struct pm_pool_spec *spec);
/* Never NULL; borrowed until the next input. */
const struct pm_ways *pm_ways_of(const struct pm_core *core, const struct pm_pool_spec *spec);
/* Whether its bytes are an estimate of a model, which may be another one by the next time. */
bool pm_ways_estimated(const struct pm_core *core, const struct pm_pool_spec *spec);
/* Whether all that it may use is among the devices of a mask. */
bool pm_ways_within(const struct pm_core *core, const struct pm_pool_spec *spec,
                    const struct pm_mask *mask);
/* The model of a spec is known now. */
void pm_ways_know(struct pm_core *core, const struct pm_pool_spec *spec, struct pm_model *model,
                  uint64_t size_bytes);
/* So is what runs it. */
void pm_ways_know_program(struct pm_core *core, const struct pm_pool_spec *spec, bool few_outputs);
/* Only limits lie between the two: the model and the program are the same. */
void pm_ways_inherit(struct pm_core *core, const struct pm_pool_spec *from,
                     const struct pm_pool_spec *to);
/* What is asked of an estimate of it, by all that is known. */
struct pm_estimate_ask pm_ways_ask(const struct pm_core *core, const struct pm_ways *ways);
/* The split of it that fits there; NULL: none does, or it is not to be split. */
const struct pm_way *pm_ways_split(const struct pm_core *core, const struct pm_pool_spec *spec,
                                   enum pm_split_use use, pm_left_fn left, const void *ctx);
/* What is missing on which device when all are empty; 0: it fits, or it is not to be split. */
uint64_t pm_ways_split_lacks(const struct pm_core *core, const struct pm_ways *ways,
                             uint32_t *ret_account);
/* The largest context of a request with which it would fit empty devices; 0: none, or nobody knows. */
uint64_t pm_ways_largest_context(const struct pm_core *core, const struct pm_ways *ways);
void pm_ways_changed(struct pm_core *core); /* all are to be made anew */
void pm_ways_fini(struct pm_core *core);

/* ask.c */
enum pm_split_mode pm_spec_split_mode(const struct pm_pool_spec *spec);
size_t pm_spec_ratios(const struct pm_pool_spec *spec, double *ret); /* PM_SHARES_MAX at most */
bool pm_spec_declares(const struct pm_pool_spec *spec);              /* bytes */
bool pm_spec_maps(const struct pm_pool_spec *spec); /* on the CPU its weights stay in their file */

/* reach.c: the devices of its mask, or the error why they cannot be told */
void pm_ways_resolve(const struct pm_core *core, struct pm_ways *ways);
bool pm_ways_account(const struct pm_core *core, const char *key, uint32_t *ret,
                     struct poolmgr_error *err); /* the one device that a key of a map names */

/* lay.c: the ways over these */
void pm_ways_lay(const struct pm_core *core, struct pm_ways *ways);

#endif
