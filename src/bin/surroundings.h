/* SPDX-License-Identifier: Apache-2.0 */
/* What a daemon does about the process it is: limits, systemd, its own place. */
#ifndef PM_BIN_SURROUNDINGS_H
#define PM_BIN_SURROUNDINGS_H

#include <stdbool.h>
#include <stdint.h>

/* Raises the soft limit of descriptors to the hard one; returns what it is now. */
uint64_t pm_raise_descriptors(void);
/* No core file, which would hold prompts. */
void pm_forbid_core_dumps(void);

/* "READY=1" and the like to systemd; nothing without NOTIFY_SOCKET. */
void pm_notify(const char *text);
/* How often systemd wants to hear from us, in ms; 0: never. */
uint64_t pm_watchdog_ms(void);
/* Descriptors 3 … 2 + n are listeners of systemd's; 0: none. Asked for once: it is taken out of the environment. */
unsigned pm_listen_fds(void);

/* A helper program by its name: beside this one, else in the folder it is installed in; the caller's. NULL: nowhere. */
char *pm_find_helper(const char *name);

#endif
