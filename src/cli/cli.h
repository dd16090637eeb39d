/* SPDX-License-Identifier: Apache-2.0 */
/* poolctl: what its verbs share. One process, one verb, blocking sockets; every function may end with exit(). */
#ifndef PM_CLI_CLI_H
#define PM_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"
#include "util/error.h"

#define PM_EXIT_NO_DAEMON  4
#define PM_EXIT_WAIT_ENDED 5

struct pm_cli {
    const char *url; /* as given, or from POOLMGR_URL; NULL: a control socket */
    bool json, quiet, no_wait;
    bool colour, terminal;
    unsigned columns;
    uint64_t timeout_ms;
    int argc; /* of the verb, its name at 0 */
    char **argv;
};

struct pm_verb {
    const char *name;
    const char *usage; /* behind the name */
    const char *help;
    int (*run)(struct pm_cli *cli);
};

extern const struct pm_verb pm_verbs[]; /* ends with a row without name */

/* verbs.c's rows, one file each */
int pm_verb_ps(struct pm_cli *cli);
int pm_verb_start(struct pm_cli *cli);
int pm_verb_stop(struct pm_cli *cli);
int pm_verb_drain(struct pm_cli *cli);
int pm_verb_resume(struct pm_cli *cli);
int pm_verb_reload(struct pm_cli *cli);
int pm_verb_placement(struct pm_cli *cli);
int pm_verb_plan(struct pm_cli *cli);
int pm_verb_reset(struct pm_cli *cli);
int pm_verb_logs(struct pm_cli *cli);
int pm_verb_events(struct pm_cli *cli);
int pm_verb_devices(struct pm_cli *cli);
int pm_verb_requests(struct pm_cli *cli);
int pm_verb_operations(struct pm_cli *cli);
int pm_verb_config(struct pm_cli *cli);
int pm_verb_preflight(struct pm_cli *cli);
int pm_verb_run(struct pm_cli *cli);
int pm_verb_version(struct pm_cli *cli);

/* ---- talking (transport.c) -------------------------------------------------------------------------- */

struct pm_answer {
    int status;
    struct pm_buf body;
};

/* One request. With `sink` the body of a 200 is given to it as it comes (false ends it), else it is kept. Ends the
 * program with PM_EXIT_NO_DAEMON where nobody listens, and with the code's exit status for an answer >= 400. */
void pm_cli_ask(struct pm_cli *cli, const char *method, const char *path, const char *body,
                struct pm_answer *ret, bool (*sink)(void *ctx, const char *data, size_t n),
                void *ctx);
/* Somebody listens where a daemon is looked for when no URL is given. */
bool pm_cli_daemon_answers(void);
/* The same as pm_cli_ask(), parsed. The caller owns the value. */
json_t *pm_cli_ask_json(struct pm_cli *cli, const char *method, const char *path, const char *body);

/* POST /v1/pools/POOL/VERB, and waiting for its operation (control.c); the exit status. */
/* The same for any path that begins an operation; `what` is what people call it. */
int pm_cli_operate(struct pm_cli *cli, const char *what, const char *path, const char *body);
int pm_cli_command(struct pm_cli *cli, const char *pool, const char *verb, const char *body);

/* ---- telling (format.c) ----------------------------------------------------------------------------- */

/* "poolctl: what; hint" to stderr, and the exit status. */
__attribute__((__noreturn__, __format__(__printf__, 2, 3))) void pm_cli_die(int status,
                                                                            const char *format,
                                                                            ...);
__attribute__((__noreturn__)) void pm_cli_usage(const struct pm_cli *cli);

/* Rows of cells; columns as wide as their widest cell, the last one cut at the terminal's width. Pure. */
#define PM_COLUMNS_MAX 10
struct pm_table {
    char *(*cells)[PM_COLUMNS_MAX]; /* owned; NULL is empty */
    size_t n_rows, capacity, n_columns;
};
struct pm_table *pm_table_new(const char *const *titles, size_t n_columns);
void pm_table_free(struct pm_table *table);
/* The next row, of NULLs; good until the one after it is asked for. */
char **pm_table_row(struct pm_table *table);
void pm_table_print(const struct pm_table *table, unsigned columns, struct pm_buf *out);

/* A member as text or number, or the otherwise. Borrowed. */
const char *pm_text(const json_t *object, const char *name, const char *otherwise);
uint64_t pm_number(const json_t *object, const char *name);
void pm_print_json(const json_t *value);
/* A preflight as text: a line a check, grouped, the fix on its own line. */
void pm_print_preflight(const json_t *root, bool colour, struct pm_buf *out);
/* Percent-encoded for a path. */
char *pm_encode(const char *text);
/* "12m" since an RFC 3339 instant; "-" when it cannot be read. */
const char *pm_since(char *to, size_t size, const char *instant, uint64_t now_ms);
/* "14:54:10.893" of an RFC 3339 instant, in local time; with the date when that is not today's. */
const char *pm_clock(char *to, size_t size, const char *instant, uint64_t now_ms);
/* A number behind -n and its like; ends the program when it is none. */
uint64_t pm_cli_number(const char *text, const char *what);

/* One `event:`, `data:` pair a call; returns false to end. */
struct pm_events {
    struct pm_buf line;
    char event[64];
    struct pm_buf data;
    bool (*fn)(void *ctx, const char *event, const char *data);
    void *ctx;
};
bool pm_events_feed(void *events, const char *data, size_t n);
void pm_events_fini(struct pm_events *events);

#endif
