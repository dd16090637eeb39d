/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What pool-probe does. Over one connected socket of stream type: frames go out (gpu/gpu.h), orders of one byte come
 * in. The first snapshot comes unasked; then every look that is asked for is answered with a snapshot, or with a
 * heartbeat where all is as it was. It ends by itself when the other end is closed, and behind a snapshot that says
 * that the driver cannot be used. It never initialises CUDA.
 */
#ifndef PM_GPU_SERVE_H
#define PM_GPU_SERVE_H

#define PM_PROBE_FD 3 /* where the socket is, by default */

enum pm_probe_order {
    PM_PROBE_LOOK = 'l', /* look now, and answer */
    PM_PROBE_END = 'e',
};

/* `nvml` and `root` as in struct pm_probe_options. Returns the exit status of the program, which ends at once: a thread
 * of it may still wait in the driver. */
int pm_probe_serve(int fd, const char *nvml, const char *root);

/* Prints one snapshot to standard output, as a line. */
int pm_probe_print(const char *nvml, const char *root);

#endif
