/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an engine of llama.cpp says in its log of the memory it took, device by device (VRAM-1). New builds say it at
 * `-lv 4` only. Numbers are told in MiB with two digits behind the point: a value is right to 5,243 bytes.
 */
#ifndef PM_ENGINE_BUFFERS_H
#define PM_ENGINE_BUFFERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plan/ledger.h"
#include "util/error.h"

#define PM_BUFFERS_LINE_MAX 512               /* bytes of a line that are looked at */
#define PM_BUFFERS_FILE_MAX (4 * 1024 * 1024) /* bytes of a log that are read */

struct pm_buffers_of {
    char name[64]; /* "CUDA0", "RPC1"; "" the host */
    char where
        [64]; /* in brackets behind it: an RPC device's endpoint, which its buffers are named by */
    uint64_t weights_bytes, kv_bytes, recurrent_bytes;
    uint64_t compute_bytes;         /* of all its contexts */
    uint64_t context_compute_bytes; /* of the one told last; part of the former */
};

/* Zeros are an engine that has said nothing yet. */
struct pm_buffers {
    size_t n_devices; /* in the order in which the engine uses them: that of its visible list */
    struct pm_buffers_of devices[PM_SHARES_MAX], host;
    bool knows_weights, knows_layers, knows_compute; /* weights are all told before the latter */
    unsigned n_offloaded, n_layers; /* "offloaded 33/33 layers": the output is one of them */
    /* its own: */
    char line[PM_BUFFERS_LINE_MAX];
    size_t n_line;
};

/* What came of the log, cut anywhere. */
void pm_buffers_feed(struct pm_buffers *buffers, const char *data, size_t n);

/* A log from one byte on; where it was rotated since, from there in its former file. It blocks for as long as the disk
 * does: for the helper thread. POOLMGR_E_NOT_FOUND: it cannot be read. */
int pm_buffers_read(const char *path, uint64_t from, struct pm_buffers *ret,
                    struct poolmgr_error *err);

/* Its weights are told, and all of them are on the host: it was built without what its devices need (LOAD-5). */
bool pm_buffers_on_host(const struct pm_buffers *buffers);

#endif
