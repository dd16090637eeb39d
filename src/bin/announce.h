/* SPDX-License-Identifier: Apache-2.0 */
/* What a daemon says of itself: events, and a few lines for a person at a terminal. */
#ifndef PM_BIN_ANNOUNCE_H
#define PM_BIN_ANNOUNCE_H

#include "bin/program.h"
#include "config/config.h"
#include "http/server.h"
#include "manager/sink.h"

/* An event of the daemon's own. text may be NULL. */
void pm_announce(struct pm_sink *sink, enum pm_event_kind kind, const char *program,
                 const char *human, const char *text);

/* What is set but has no effect yet, or is unwise. */
void pm_announce_warnings(struct pm_sink *sink, const char *program,
                          const struct pm_config *config);
/* Too few descriptors. */
void pm_announce_descriptors(struct pm_sink *sink, const char *program, uint64_t n_descriptors);

/* daemon_started with the real ports; on a terminal also the address, the pools and a line to copy. */
void pm_announce_start(struct pm_sink *sink, const struct pm_program *program,
                       const struct pm_config *config, const struct pm_http_server *server);

#endif
