/* SPDX-License-Identifier: Apache-2.0 */
/* The table of a place: what its state becomes when something happens. Data; docs/lifecycle.md is printed from it. */
#ifndef PM_CORE_TABLE_H
#define PM_CORE_TABLE_H

#include <stddef.h>

#include "core/words.h"

/* What can happen to a place. */
enum pm_cause {
    PM_CAUSE_START,          /* wanted up, and every permit says yes */
    PM_CAUSE_REFUSED,        /* wanted up, but the clock says not yet */
    PM_CAUSE_STAGED,         /* the model is there and good */
    PM_CAUSE_STAGING_FAILED, /* it is not; whether for good stands in the verdict */
    PM_CAUSE_NEVER_FITS,     /* no device is large enough for it */
    PM_CAUSE_ROOM,           /* room granted: spawned in the same step */
    PM_CAUSE_UNWANTED,       /* not wanted any more, before there was a process */
    PM_CAUSE_SPAWN_FAILED,   /* the engine could not be launched */
    PM_CAUSE_READY,          /* its endpoint is ours and its health said 200 */
    PM_CAUSE_UNFIT,          /* it is up, and not as it was planned */
    PM_CAUSE_START_TIMEOUT,  /* start_max or start_stall is over */
    PM_CAUSE_STOP,           /* wanted empty and emptied, or wanted down: the first signal */
    PM_CAUSE_MISSED,         /* `fall` probes missed without a lease */
    PM_CAUSE_RECOVERED,      /* `rise` good probes */
    PM_CAUSE_HEALTH,         /* sick for sick_restart */
    PM_CAUSE_STALL,          /* no sign of life, or three request limits in a row */
    PM_CAUSE_DRIVER,         /* a driver error of a live engine */
    PM_CAUSE_DOOMED,         /* doomed by one, and emptied, at its deadline, or hanging */
    PM_CAUSE_DEVICE,         /* a device of its is lost or must be reset */
    PM_CAUSE_EXIT,           /* the engine's process ended */
    PM_CAUSE_CHILDLESS,      /* nothing of its tree is left */
    PM_CAUSE_VRAM_BACK,      /* what it used of a device is free again */
    PM_CAUSE_VRAM_LATE,      /* it is not, after 10 s */
    PM_CAUSE_DELAY_OVER,     /* the restart clock lets it go on */
    PM_CAUSE_RESET,          /* an operator's reset, or a changed file */
    PM_CAUSE_SIBLING_FAILED, /* another replica failed for good */
    PM_CAUSE_ADOPTED,        /* an engine of a former daemon lives here */
    PM_CAUSE_ANSWERS,        /* an engine that is not ours answers its probe */
    PM_CAUSE_GONE,   /* one that is not ours is gone: nobody listens, or its process ended */
    PM_CAUSE_LET_GO, /* one that is not ours is ours to look at no more */
    PM_CAUSE_COUNT
};

/* Where a try ends is decided by how it ended: cold, backoff or failed. */
#define PM_SETTLE  (PM_STATE_COUNT + 1)
#define PM_NOWHERE (-1)

/* A state, PM_SETTLE, or PM_NOWHERE: this cause means nothing in this state. */
int pm_place_next(enum pm_state state, enum pm_cause cause);

const char *pm_cause_name(enum pm_cause cause);    /* "start-timeout" */
const char *pm_cause_actions(enum pm_cause cause); /* what is done then; for docs */

/* The table as Markdown, one row a state and cause; the caller frees it. */
char *pm_place_table_markdown(void);
/* The same as a diagram of Mermaid, one edge for all causes between two states; the caller frees it. What leaves a state
 * as it is has no edge. */
char *pm_place_diagram_mermaid(void);

/* What commands do to each other (meeting.c), as Markdown; the caller frees it. */
char *pm_meetings_markdown(void);

#endif
