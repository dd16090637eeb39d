/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the server share; not for other rooms. */
#ifndef PM_HTTP_INTERNAL_H
#define PM_HTTP_INTERNAL_H

#include "http/server.h"
#include "util/buf.h"
#include "util/list.h"
#include "util/loop.h"

#define PM_SERVER_READ_SIZE  (64 * 1024)
#define PM_SERVER_ACCEPT_MAX 4096        /* connections taken in one turn */
#define PM_SERVER_BLOCK      (64 * 1024) /* of a chunked body */
#define PM_SERVER_ID_SIZE    129
#define PM_SERVER_TURNED_MAX 64 /* connections above the limit that are told so at once */

struct listener {
    struct pm_link link;
    struct pm_http_server *server;
    struct pm_watch watch;
    bool is_unix;
    char address[128]; /* "127.0.0.1:41233", "unix:/path" */
    char *unlink_path; /* NULL: nothing to remove */
};

struct pm_http_server {
    struct pm_loop *loop;
    struct pm_http_server_options options;
    const struct pm_http_handler *handler;
    void *ctx;
    struct pm_list listeners, connections;
    struct pm_list held;        /* connections that wait for body memory */
    struct pm_task resume_task; /* body memory came back */
    int spare_fd;
    uint64_t connections_max;
    uint64_t n_turned; /* turned away and not gone yet; they take no place */
    bool draining;
    struct pm_http_server_counters counters;
    uint64_t n_ids;
    char id_prefix[17];
    uint64_t date_s; /* of date_text */
    char date_text[40];
    struct pm_http_head head; /* scratch of one parse */
    char read_buffer[PM_SERVER_READ_SIZE];
};

enum connection_state {
    CONNECTION_HEAD, /* between requests, or in the middle of a head */
    CONNECTION_BODY,
    CONNECTION_HELD,   /* the body waits for memory */
    CONNECTION_ANSWER, /* the request is whole, or its answer has begun */
    CONNECTION_FLUSH,  /* the answer is whole; what is queued goes out */
    CONNECTION_LINGER, /* our side is shut; what still comes is thrown away */
    CONNECTION_CLOSED,
};

enum answer_framing { ANSWER_NONE, ANSWER_LENGTH, ANSWER_CHUNKED, ANSWER_CLOSE };

/* A connection and its one exchange. */
struct pm_exchange {
    struct pm_http_server *server;
    struct pm_link link, held_link;
    struct pm_watch watch;
    struct pm_timer timer;
    struct pm_task free_task, next_task;
    char local[128];
    bool is_unix;
    enum connection_state state;
    bool processing; /* the loop over requests runs: do not enter it again */
    bool active;     /* an owner knows this exchange */
    bool served;     /* a request before this one */
    bool turned;     /* it came over the limit */
    void *user;

    /* reading */
    struct pm_buf in; /* what was read … */
    size_t in_at;     /* … and is used up to here */
    struct pm_http_scan scan;
    char *head_bytes;          /* of the running request; its slices point here */
    struct pm_http_head *head; /* allocated as long as its lines are */
    char request_id[PM_SERVER_ID_SIZE];
    struct iovec *body;
    size_t n_body;
    uint64_t body_bytes;   /* received */
    uint64_t body_charged; /* of the server's budget */
    uint64_t held_bytes;   /* what it waits for */
    struct pm_http_chunked chunked;
    bool body_whole, wants_continue;
    uint64_t since_ms; /* of the state: accepted, first byte of the head, head whole … */
    uint64_t moved_ms; /* a byte came, or went */
    uint64_t lingered;

    /* answering */
    struct pm_buf out;
    size_t out_at; /* of `out`, sent already */
    int in_kernel; /* bytes that the client's kernel had not taken, when a write was last short */
    bool begun, head_open, close_after, was_high, drop_body;
    enum answer_framing framing;
    uint64_t answer_left;
};

/* connection.c */
struct pm_exchange *pm_connection_new(struct pm_http_server *server,
                                      const struct listener *listener, int fd);
/* Closes at once; `reset` with RST. The owner is told when it does not know yet. */
void pm_connection_close(struct pm_exchange *exchange, bool reset);
void pm_connection_set_state(struct pm_exchange *exchange, enum connection_state state);
void pm_connection_update(struct pm_exchange *exchange); /* what is watched, and the timer */
void pm_connection_linger(struct pm_exchange *exchange);
void pm_connection_wrote(struct pm_exchange *exchange); /* and something is still queued */

/* request.c */
void pm_connection_readable(struct pm_exchange *exchange);
/* Goes on with what was read: the next head, or the rest of a body. */
void pm_connection_go_on(struct pm_exchange *exchange);
void pm_request_own_id(struct pm_exchange *exchange);

/* body.c */
void pm_body_read(struct pm_exchange *exchange); /* what of it was read already */
bool pm_body_is_direct(const struct pm_exchange *exchange);
ssize_t pm_body_receive(struct pm_exchange *exchange); /* from the socket to its place */
void pm_body_resume_held(struct pm_http_server *server);

/* exchange.c */
static inline size_t pm_exchange_unread(const struct pm_exchange *exchange)
{
    return exchange->in.n - exchange->in_at;
}
void pm_exchange_flush(struct pm_exchange *exchange);
void pm_exchange_reset(struct pm_exchange *exchange); /* frees what the last request held */
void pm_exchange_tell_gone(struct pm_exchange *exchange);
/* The server's own refusals: the owner, if there is one, is told that the exchange is over. */
void pm_exchange_refuse_code(struct pm_exchange *exchange, int code, const char *text);
void pm_exchange_refuse_bare(struct pm_exchange *exchange, int status);

/* listener.c */
void pm_listener_close(struct listener *listener);

/* holder.c: "held by pid 4711 (nginx)", or "" when that cannot be seen. */
void pm_port_holder(unsigned port, char *to, size_t size);

#endif
