/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was seen of the devices of this machine, and the frames in which pool-probe says it.
 *
 * A snapshot is the whole truth of one look: the state of the machine's driver, and each device with what is known
 * of it. Nothing in it is a difference to an earlier one. All memory is bytes.
 */
#ifndef PM_GPU_GPU_H
#define PM_GPU_GPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/words.h"
#include "plan/mask.h"
#include "util/buf.h"
#include "util/cleanup.h"
#include "util/error.h"

#define PM_GPU_TEXT_MAX      120           /* bytes of a foreign text */
#define PM_GPU_FRAME_MAX     (1024 * 1024) /* bytes of a frame's JSON */
#define PM_GPUS_MAX          256           /* devices of a snapshot: GPUs and MIG instances */
#define PM_GPU_PROCESSES_MAX 4096          /* rows of a snapshot, all devices together */
#define PM_GPU_NAMELESS      "nvidia:" /* and a number: the id of a GPU that never told its own */
#define PM_GPU_UNKNOWN       (-1)      /* a number that nobody tells */

/* What the machine's driver says as a whole. */
enum pm_node_state {
    PM_NODE_OK,
    PM_NODE_NONE,         /* no GPU hardware: nothing was asked */
    PM_NODE_NO_LIBRARY,   /* the library is not there, or lacks what we need */
    PM_NODE_STUB_LIBRARY, /* the one of the CUDA toolkit, which can only be linked with */
    PM_NODE_NO_DRIVER,    /* the driver is not loaded, or does not answer as one */
    PM_NODE_MISMATCH,     /* driver and library are of different versions */
    PM_NODE_BLOCKED,      /* the operating system keeps us from the devices */
    PM_NODE_UNRESPONSIVE, /* pool-probe hung, crashed or cannot be run */
    PM_NODE_STATE_COUNT
};

const char *pm_node_state_name(enum pm_node_state state); /* "ok", "none", "no_library", … */

/* Who uses a device. The number may belong to another pid namespace: a hint, never a key. */
struct pm_gpu_process {
    int pid;
    uint64_t bytes;
    bool bytes_known;
};

/* One device: a GPU, or a MIG instance. */
struct pm_gpu_seen {
    struct pm_gpu is;
    char name[96];
    enum pm_device_state state;
    char text[PM_GPU_TEXT_MAX + 1]; /* why it is not ok, and what to do; "" */
    uint64_t total_bytes, free_bytes;
    uint64_t
        driver_bytes; /* of the total, what the driver keeps for itself: never free, and nobody's; 0: unknown */
    bool free_known;
    int cc_major, cc_minor; /* compute capability; 0.0: unknown */
    int compute_mode;       /* 0 default, 2 prohibited, 3 exclusive */
    bool mig_pending;       /* its MIG mode changes with the next reset */
    struct pm_gpu_process *processes;
    size_t n_processes;
    bool
        processes_complete; /* nobody else uses it: the list was readable, and shows all namespaces */

    /* PM_GPU_UNKNOWN where nobody tells. */
    int temperature_c, power_mw, utilisation_percent, memory_percent;
    int64_t n_ecc_uncorrected;       /* since the driver was loaded */
    int remap_pending, remap_failed; /* of memory rows: 0 or 1 */
    int recovery; /* what the driver asks for: 0 none, 1 reset, 2 reboot, 3 drain peers, 4 drain and reset */
};

struct pm_gpu_snapshot {
    enum pm_node_state node;
    char text[PM_GPU_TEXT_MAX + 1]; /* why it is not ok, and what to do; "" */
    char driver[80];                /* version; "" unknown */
    int cuda_version;               /* 13000: 13.0; 0 unknown */
    size_t n;
    struct pm_gpu_seen *gpus; /* in PCI order, instances behind their GPU; ids are unique */
};

void pm_gpu_snapshot_fini(struct pm_gpu_snapshot *snapshot);

/* A copy of its own; *to is overwritten. */
void pm_gpu_snapshot_copy(struct pm_gpu_snapshot *to, const struct pm_gpu_snapshot *from);

bool pm_gpu_is_nameless(const char *id);

/* Whether both say the same, but for what changes all the time: temperature, power, utilisation. */
bool pm_gpu_snapshot_same(const struct pm_gpu_snapshot *a, const struct pm_gpu_snapshot *b);

/* The device of that id; NULL: none. */
struct pm_gpu_seen *pm_gpu_find(const struct pm_gpu_snapshot *snapshot, const char *id);

enum pm_gpu_event_kind {
    PM_GPU_EVENT_XID,
    PM_GPU_EVENT_ECC, /* an uncorrectable error of memory */
    PM_GPU_EVENT_MIG, /* its instances changed */
    PM_GPU_EVENT_UNAVAILABLE,
    PM_GPU_EVENT_RECOVERY, /* what it asks for changed */
    PM_GPU_EVENT_KIND_COUNT
};

struct pm_gpu_event {
    enum pm_gpu_event_kind kind;
    char id[PM_DEVICE_ID_MAX + 1]; /* of the GPU; of an instance's its parent */
    int xid;                       /* of XID; else 0 */
    int gi, ci;                    /* the instance's ids; PM_GPU_UNKNOWN: all of the GPU */
    int recovery; /* as in struct pm_gpu_seen, read behind the event; PM_GPU_UNKNOWN: nobody tells */
};

/* ---- frames ----------------------------------------------------------------------------------------- */

/*
 * A frame is four bytes, the length of what follows as a little-endian number of at most PM_GPU_FRAME_MAX, and one
 * JSON object: {"kind":"snapshot"|"event"|"heartbeat", …}. A heartbeat says that all is as in the last snapshot.
 * pool-probe answers each look it was asked for with a snapshot or a heartbeat; events come between them.
 */
enum pm_gpu_frame_kind {
    PM_GPU_FRAME_SNAPSHOT,
    PM_GPU_FRAME_EVENT,
    PM_GPU_FRAME_HEARTBEAT,
    PM_GPU_FRAME_KIND_COUNT
};

struct pm_gpu_frame {
    enum pm_gpu_frame_kind kind;
    struct pm_gpu_snapshot snapshot; /* of SNAPSHOT; else zeros */
    struct pm_gpu_event event;       /* of EVENT; else zeros */
};

void pm_gpu_frame_fini(struct pm_gpu_frame *frame);

/* The n bytes of a frame's JSON, without its length. What they hold is copied; pm_gpu_frame_fini() frees it.
 * POOLMGR_E_INVALID_REQUEST says which member is missing, wrong or too large; unknown members are passed over, so
 * that a newer pool-probe can say more. */
int pm_gpu_frame_read(const char *data, size_t n, struct pm_gpu_frame *ret,
                      struct poolmgr_error *err);

/* Takes the first frame off `in`: 1 and *ret, 0 when it is not whole yet, or POOLMGR_E_INVALID_REQUEST: the stream is
 * of no use any more. */
int pm_gpu_frame_take(struct pm_buf *in, struct pm_gpu_frame *ret, struct poolmgr_error *err);

/* Append a frame's JSON, without its length. Texts of strangers are made well-formed. */
void pm_gpu_write_snapshot(struct pm_buf *out, const struct pm_gpu_snapshot *snapshot);
void pm_gpu_write_event(struct pm_buf *out, const struct pm_gpu_event *event);
void pm_gpu_write_heartbeat(struct pm_buf *out);

#endif
