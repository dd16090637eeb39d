/* SPDX-License-Identifier: Apache-2.0 */
/* One request over a blocking socket, read with the same strict codec that the daemon uses. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/cli.h"
#include "http/codec.h"
#include "util/cleanup.h"
#include "util/str.h"

#define BODY_MAX  (256u * 1024 * 1024)
#define ANSWER_MS 2000 /* for an answer itself, on a busy machine */

/* ---- where the daemon is ---------------------------------------------------------------------------- */

static char *users_socket(void)
{
    const char *folder = getenv("POOLMGR_RUNTIME_DIR"), *xdg = getenv("XDG_RUNTIME_DIR");

    if (folder && folder[0])
        return pm_xasprintf("%s/control.sock", folder);
    if (geteuid() == 0)
        return pm_xstrdup("/run/poolmgr/control.sock");
    if (xdg && xdg[0])
        return pm_xasprintf("%s/poolmgr/control.sock", xdg);
    return pm_xasprintf("/tmp/poolmgr-%u/control.sock", (unsigned)geteuid());
}

static int connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (!pm_str_copy(address.sun_path, sizeof(address.sun_path), path))
        pm_cli_die(2, "the socket's path '%s' is longer than 107 bytes", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

static int connect_tcp(const char *url)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    pm_auto_free char *host = pm_xstrdup(url + strlen("http://"));
    struct addrinfo *info = NULL;
    char *colon, *name = host;
    int fd = -1;

    host[strcspn(host, "/")] = '\0';
    colon = strrchr(host, ':');
    if (!colon)
        pm_cli_die(2, "'%s' names no port; write http://host:port", url);
    *colon = '\0';
    if (name[0] == '[' && name[strlen(name) - 1] == ']') {
        name++;
        name[strlen(name) - 1] = '\0';
    }
    if (getaddrinfo(name, colon + 1, &hints, &info) != 0)
        pm_cli_die(PM_EXIT_NO_DAEMON, "nobody is known as '%s'", name);
    for (const struct addrinfo *at = info; at && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) < 0) {
            (void)close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(info);
    return fd;
}

bool pm_cli_daemon_answers(void)
{
    pm_auto_free char *own = users_socket();
    pm_auto_close int fd = connect_unix(own);

    if (fd < 0)
        fd = connect_unix("/run/poolmgr/control.sock");
    return fd >= 0;
}

static int connect_daemon(const struct pm_cli *cli)
{
    pm_auto_free char *own = NULL;
    const char *where = cli->url;
    int fd;

    if (where && where[0]) {
        if (pm_str_starts(where, "unix:"))
            fd = connect_unix(where + 5);
        else if (pm_str_starts(where, "http://"))
            fd = connect_tcp(where);
        else
            pm_cli_die(2, "'%s' is no address; write http://host:port or unix:/path", where);
    } else {
        where = own = users_socket();
        fd = connect_unix(own);
        if (fd < 0 && strcmp(own, "/run/poolmgr/control.sock") != 0)
            fd = connect_unix("/run/poolmgr/control.sock");
    }
    if (fd < 0)
        pm_cli_die(
            PM_EXIT_NO_DAEMON,
            "no daemon answers at %s; start orchestratord or pool-managerd, or name it with --url",
            where);
    return fd;
}

/* ---- one request ------------------------------------------------------------------------------------ */

static void send_request(int fd, const char *method, const char *path, const char *body)
{
    pm_auto_buf struct pm_buf out = {0};
    const char *key = getenv("POOLMGR_API_KEY");
    size_t at = 0;

    pm_buf_addf(&out, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", method, path);
    if (key && key[0])
        pm_buf_addf(&out, "Authorization: Bearer %s\r\n", key);
    if (body)
        pm_buf_addf(&out, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                    strlen(body));
    pm_buf_addf(&out, "\r\n%s", body ? body : "");
    while (at < out.n) {
        ssize_t n = send(fd, out.data + at, out.n - at, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            pm_cli_die(PM_EXIT_NO_DAEMON, "the daemon closed the connection");
        at += (size_t)n;
    }
}

/* A connection, and how long its next bytes are waited for; -1: for ever. */
struct line {
    int fd, patience_ms;
    bool streams;
};

/* Whoever reads a stream may leave meanwhile (`events -f | head`), as SIGPIPE would tell later. */
static void wait_for_bytes(const struct line *line)
{
    struct pollfd fds[] = {{.fd = line->fd, .events = POLLIN}, {.fd = STDOUT_FILENO}};
    int n;

    do {
        n = poll(fds, line->streams ? 2 : 1, line->patience_ms);
    } while (n < 0 && errno == EINTR);
    if (n == 0)
        pm_cli_die(PM_EXIT_WAIT_ENDED, "the daemon does not answer");
    if (fds[0].revents == 0 && (fds[1].revents & (POLLERR | POLLHUP))) {
        (void)raise(SIGPIPE);
        _exit(1);
    }
}

static size_t receive(const struct line *line, char *to, size_t size)
{
    ssize_t n;

    wait_for_bytes(line);
    do {
        n = recv(line->fd, to, size, 0);
    } while (n < 0 && errno == EINTR);
    return n > 0 ? (size_t)n : 0;
}

/* Reads the head; what came behind it stays in `in`. */
static void read_head(const struct line *line, enum pm_http_method method, struct pm_buf *in,
                      struct pm_http_head *head)
{
    struct pm_http_scan scan = {0};
    char buffer[8192];
    long length;

    while ((length = pm_http_parse_response(in->data, in->n, &scan, method, head)) == 0) {
        size_t n = receive(line, buffer, sizeof(buffer));

        if (n == 0)
            pm_cli_die(PM_EXIT_NO_DAEMON, "the daemon closed the connection without an answer");
        pm_buf_add(in, buffer, n);
    }
    if (length < 0)
        pm_cli_die(1, "what answers there is not poolmgr");
    pm_buf_consume(in, (size_t)length);
}

/* Gives the body on until its end; false: it was broken off. */
static bool read_body(const struct line *line, const struct pm_http_head *head, struct pm_buf *in,
                      bool (*sink)(void *ctx, const char *data, size_t n), void *ctx)
{
    struct pm_http_chunked chunked = {0};
    uint64_t left = head->content_length;
    char buffer[65536];

    if (head->framing == PM_BODY_NONE)
        return true;
    for (;;) {
        size_t n_used = in->n, n_body = in->n;
        int r = 0;

        if (head->framing == PM_BODY_CHUNKED)
            r = pm_http_chunked_decode(&chunked, in->data, in->n, UINT64_MAX / 2, &n_used, &n_body);
        else if (head->framing == PM_BODY_LENGTH)
            left -= n_body;
        if (r < 0 || (n_body && !sink(ctx, in->data, n_body)))
            return r >= 0;
        if (r == 1 || (head->framing == PM_BODY_LENGTH && left == 0))
            return true;
        pm_buf_clear(in);
        n_used = receive(line, buffer, sizeof(buffer));
        if (n_used == 0)
            return head->framing == PM_BODY_UNTIL_CLOSE;
        pm_buf_add(in, buffer, n_used);
    }
}

static bool keep(void *ctx, const char *data, size_t n)
{
    struct pm_buf *body = ctx;

    if (body->n + n > BODY_MAX)
        pm_cli_die(1, "the answer is larger than 256 MiB");
    pm_buf_add(body, data, n);
    return true;
}

/* All that is wrong in a file, a line each. */
static void print_errors(const json_t *errors)
{
    const json_t *one;
    size_t i;

    json_array_foreach(errors, i, one)
    {
        if (json_object_get(one, "line"))
            fprintf(stderr, "%s:%" PRIu64 ":%" PRIu64 ": ", pm_text(one, "file", ""),
                    pm_number(one, "line"), pm_number(one, "column"));
        fprintf(stderr, "%s\n", pm_text(one, "message", ""));
    }
}

/* The object of a refusal, as `what (byte n); hint`. */
static void die_of_refusal(const struct pm_cli *cli, const struct pm_answer *answer)
{
    json_t *root = json_loadb(answer->body.data, answer->body.n, 0, NULL);
    const json_t *error = json_object_get(root, "error");
    const char *code = pm_text(error, "code", "");
    int status = pm_status_by_name(code);
    const char *hint = pm_text(error, "hint", "");
    char where[24] = "";

    if (json_object_get(error, "offset"))
        (void)snprintf(where, sizeof where, " (byte %" PRIu64 ")", pm_number(error, "offset"));
    if (cli->json && root)
        pm_print_json(root);
    if (!error)
        pm_cli_die(1, "the daemon answers %d", answer->status);
    if (json_array_size(json_object_get(error, "errors")) > 1)
        print_errors(json_object_get(error, "errors"));
    pm_cli_die(status ? pm_status(status)->exit_code : 1, "%s%s%s%s",
               pm_text(error, "message", code), where, hint[0] ? "; " : "", hint);
}

/* What is not streamed is answered at once, or when an operation's wait is over, which is never longer. */
static int patience(const struct pm_cli *cli)
{
    return cli->timeout_ms < INT_MAX - ANSWER_MS ? (int)cli->timeout_ms + ANSWER_MS : -1;
}

void pm_cli_ask(struct pm_cli *cli, const char *method, const char *path, const char *body,
                struct pm_answer *ret, bool (*sink)(void *ctx, const char *data, size_t n),
                void *ctx)
{
    static struct pm_http_head head;
    pm_auto_close int fd = connect_daemon(cli);
    pm_auto_buf struct pm_buf in = {0};
    enum pm_http_method number = strcmp(method, "POST") == 0 ? PM_POST : PM_GET;
    struct line line = {.fd = fd, .patience_ms = sink ? -1 : patience(cli), .streams = sink};
    bool streams, whole;

    *ret = (struct pm_answer){0};
    send_request(fd, method, path, body);
    read_head(&line, number, &in, &head);
    ret->status = head.status;
    streams = sink && head.status < 300;
    whole = read_body(&line, &head, &in, streams ? sink : keep, streams ? ctx : &ret->body);
    if (ret->status >= 400)
        die_of_refusal(cli, ret);
    if (!whole)
        pm_cli_die(1, "the answer was broken off");
}

json_t *pm_cli_ask_json(struct pm_cli *cli, const char *method, const char *path, const char *body)
{
    struct pm_answer answer;
    json_t *root;

    pm_cli_ask(cli, method, path, body, &answer, NULL, NULL);
    root = json_loadb(answer.body.data, answer.body.n, 0, NULL);
    pm_buf_fini(&answer.body);
    if (!root)
        pm_cli_die(1, "what answers there is not poolmgr");
    return root;
}
