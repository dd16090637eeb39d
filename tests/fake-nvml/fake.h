/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPUs that are not there. Their state is one file, named by FAKE_NVML and mapped by everybody who has a part in it: the
 * library that pool-probe loads, fakegpu, which changes it, and the fault engine, which takes memory. Several processes
 * at once are fine, and one that is killed in the middle of a change is, too.
 */
#ifndef FAKE_NVML_FAKE_H
#define FAKE_NVML_FAKE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define FAKE_GPUS_MAX     16
#define FAKE_SLOTS        8 /* MIG slots of a GPU */
#define FAKE_HOLDINGS_MAX 512
#define FAKE_RULES_MAX    32
#define FAKE_EVENTS       64
#define FAKE_TEXT         96

struct fake_slot {
    bool used;
    char uuid[FAKE_TEXT];
    unsigned gi, ci;
    uint64_t total;
};

struct fake_gpu {
    char uuid[FAKE_TEXT], name[FAKE_TEXT];
    unsigned domain, bus, device;
    uint64_t total, reserved;
    int cc_major, cc_minor, compute_mode;
    bool mig_capable;
    unsigned mig_now, mig_pending;
    struct fake_slot slots[FAKE_SLOTS];
    int code;                                  /* what every call for it returns; 0: it works */
    bool gone;                                 /* not even counted any more */
    int recovery, remap_pending, remap_failed; /* -1: not supported */
    unsigned temperature, power_mw, utilisation, memory_utilisation;
    uint64_t ecc_errors, event_types;
};

/* Memory that a process has. One that never ran here lives until it is told otherwise. */
struct fake_holding {
    int pid; /* 0: this row is free */
    bool is_ours;
    uint64_t started; /* of ours: when, so that another one of the same number is another one */
    int gpu, slot;    /* slot -1: the GPU itself */
    uint64_t bytes;
    uint64_t dead_ms; /* since when it is known to be dead; its memory comes back after the lag */
};

/* What a function of the library does instead. */
struct fake_rule {
    char call[64]; /* "": this row is free */
    int code;      /* returned; 0: it works */
    unsigned delay_ms;
    bool hangs;
    unsigned left; /* how often; 0: until it is taken back */
};

struct fake_event {
    uint32_t serial;
    int gpu;
    uint64_t type, data;
    unsigned gi, ci;
};

struct fake_state {
    uint32_t magic, size;
    pthread_mutex_t lock;
    int n_gpus; /* in the library's order, which need not be that of the bus */
    struct fake_gpu gpus[FAKE_GPUS_MAX];
    struct fake_holding holdings[FAKE_HOLDINGS_MAX];
    struct fake_rule rules[FAKE_RULES_MAX];
    uint32_t event_serial; /* of the last one; waited for as a futex */
    struct fake_event events[FAKE_EVENTS];
    unsigned row_bytes; /* of a row of processes: 24, 32, 16 */
    unsigned lag_ms;    /* from the death of a process to the return of its memory */
    bool stub;          /* texts as the CUDA toolkit's library has them */
    bool bytes_hidden;  /* what processes use is not told */
    char driver[80];
    int cuda_version;
    uint64_t n_calls, n_inits;
};

/* Maps the file; NULL: there is none, or it is none of ours. */
struct fake_state *fake_open(const char *path);
/* Makes a file with n GPUs of that size. False: it cannot be written. */
bool fake_create(const char *path, int n, uint64_t size);

void fake_lock(struct fake_state *state);
void fake_unlock(struct fake_state *state);

/* The rest is called with the lock held. */

/* "GPU-…" or "MIG-…" (the beginning is enough), or a number in the bus's order. *ret_slot is -1 of a whole GPU. */
bool fake_find(struct fake_state *state, const char *name, int *ret_gpu, int *ret_slot);
/* What the dead had and what is due goes back first. */
uint64_t fake_free_bytes(struct fake_state *state, int gpu, int slot);
/* False: so much is not free. */
bool fake_take(struct fake_state *state, int gpu, int slot, int pid, uint64_t bytes);
/* All that a process has on a GPU (-1: on all); at once. */
void fake_give(struct fake_state *state, int gpu, int pid);
bool fake_is_alive(const struct fake_holding *holding);
/* Wakes whoever waits for it. */
void fake_tell(struct fake_state *state, const struct fake_event *event);
/* The rule of that name, made if there is none; NULL: there are too many. */
struct fake_rule *fake_rule(struct fake_state *state, const char *call, bool make);

#endif
