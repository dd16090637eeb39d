/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets, TCP and Unix, made here or handed over; and the taking of connections. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "http/internal.h"
#include "http/refusal.h"
#include "util/cleanup.h"
#include "util/str.h"

#define ALIVE_TRIES    20
#define ALIVE_PAUSE_MS 50

#define BACKLOG 4096

/* ---- connections ------------------------------------------------------------------------------------ */

/* No descriptor is left: with the spare one a caller can be taken and told, instead of waiting for ever. */
static void turn_away_with_spare(struct pm_http_server *server, int listen_fd)
{
    static const char object[] =
        "{\"error\":{\"code\":\"overloaded\",\"message\":\"too many connections are open\","
        "\"type\":\"server_error\",\"retriable\":true,\"retry_after_ms\":1000}}";
    char answer[512];
    int fd, n;

    if (server->spare_fd >= 0)
        (void)close(server->spare_fd);
    fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        n = snprintf(answer, sizeof(answer),
                     "HTTP/1.1 503 Service Unavailable\r\nX-Request-Id: %s-%llx\r\nContent-Type: "
                     "application/json\r\nRetry-After: 1\r\nretry-after-ms: 1000\r\nX-Backoff-Ms: "
                     "1000\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                     server->id_prefix, (unsigned long long)++server->n_ids, strlen(object),
                     object);
        server->counters.refused++;
        (void)send(fd, answer, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)shutdown(fd, SHUT_WR);
        /* What it sent already would turn the close into a reset. */
        (void)recv(fd, server->read_buffer, sizeof(server->read_buffer), MSG_DONTWAIT);
        (void)close(fd);
    }
    server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Over the limit: it is told, and its connection ends as after any refusal. Too many of those are just closed. */
static void turn_away(struct pm_http_server *server, const struct listener *listener, int fd)
{
    struct pm_exchange *exchange;

    if (server->n_turned >= PM_SERVER_TURNED_MAX) {
        server->counters.refused++;
        (void)close(fd);
        return;
    }
    exchange = pm_connection_new(server, listener, fd);
    if (!exchange)
        return;
    exchange->turned = true;
    server->n_turned++;
    pm_exchange_refuse_code(exchange, POOLMGR_E_OVERLOADED, "too many connections are open");
}

static void on_connections(struct pm_watch *watch, uint32_t events)
{
    struct listener *listener = pm_container_of(watch, struct listener, watch);
    struct pm_http_server *server = listener->server;

    (void)events;
    for (unsigned i = 0; i < PM_SERVER_ACCEPT_MAX; i++) {
        int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE)
                turn_away_with_spare(server, watch->fd);
            if (errno == ECONNABORTED || errno == EINTR)
                continue;
            return;
        }
        server->counters.accepted++;
        if (server->counters.connections - server->n_turned >= server->connections_max)
            turn_away(server, listener, fd);
        else
            (void)pm_connection_new(server, listener, fd);
    }
}

/* ---- sockets ---------------------------------------------------------------------------------------- */

static int fail_listen(const char *address, const char *what, struct poolmgr_error *err)
{
    return pm_fail_errno(err, POOLMGR_E_INVALID_REQUEST, errno, "cannot %s %s", what, address);
}

static int keep(struct pm_http_server *server, int fd, const char *address, bool is_unix,
                const char *unlink_path, struct poolmgr_error *err)
{
    struct listener *listener = pm_xalloc(sizeof(*listener));

    listener->server = server;
    listener->is_unix = is_unix;
    (void)pm_str_copy(listener->address, sizeof(listener->address), address);
    listener->unlink_path = pm_xstrdup(unlink_path);
    if (pm_watch_add(server->loop, &listener->watch, fd, EPOLLIN, on_connections) < 0) {
        free(listener->unlink_path);
        free(listener);
        return fail_listen(address, "watch", err);
    }
    pm_list_append(&server->listeners, &listener->link);
    return POOLMGR_OK;
}

static void format_address(const struct sockaddr_storage *from, char *to, size_t size)
{
    char text[INET6_ADDRSTRLEN] = "";

    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)from;

        (void)inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
        (void)snprintf(to, size, "%s:%u", text, ntohs(in->sin_port));
    } else {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)from;

        (void)inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof(text));
        (void)snprintf(to, size, "[%s]:%u", text, ntohs(in->sin6_port));
    }
}

/* "127.0.0.1:8080", "[::1]:8080", "localhost:8080" */
static bool split_address(const char *address, char *host, size_t size, const char **ret_port)
{
    const char *colon = strrchr(address, ':');
    uint64_t number;
    size_t n;

    if (!colon || !colon[1])
        return false;
    n = (size_t)(colon - address);
    if (n >= 2 && address[0] == '[' && address[n - 1] == ']') {
        address++;
        n -= 2;
    }
    if (n == 0 || n >= size)
        return false;
    memcpy(host, address, n);
    host[n] = '\0';
    if (!pm_parse_u64(colon + 1, &number) || number > 65535)
        return false;
    if (strcmp(host, "localhost") == 0)
        (void)pm_str_copy(host, size, "127.0.0.1");
    *ret_port = colon + 1;
    return true;
}

static int bind_tcp(const char *address, int *ret, struct poolmgr_error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    struct addrinfo *info = NULL;
    pm_auto_close int fd = -1;
    char host[64], holder[96];
    const char *port;
    int one = 1, r;

    if (!split_address(address, host, sizeof(host), &port) ||
        getaddrinfo(host, port, &hints, &info) != 0)
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST,
                       "'%s' is no address; write 127.0.0.1:8080 or [::1]:8080", address);

    fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (info->ai_family == AF_INET6)
            (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    }
    r = fd < 0 ? -1 : bind(fd, info->ai_addr, info->ai_addrlen);
    if (r == 0)
        r = listen(fd, BACKLOG); /* of two that bound the same port the second fails here */
    freeaddrinfo(info);
    if (r < 0 && errno == EADDRINUSE) {
        pm_port_holder((unsigned)atoi(port), holder, sizeof(holder));
        return pm_fail(err, POOLMGR_E_CONFLICT, "%s is in use%s%s", address, holder[0] ? ", " : "",
                       holder);
    }
    if (r < 0)
        return fail_listen(address, "listen on", err);
    *ret = pm_take_fd(&fd);
    return POOLMGR_OK;
}

/* Does somebody answer behind a socket's file? */
static bool socket_is_alive(const struct sockaddr_un *address)
{
    pm_auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
        return true;
    return errno != ECONNREFUSED &&
           errno != ENOENT; /* what we may not ask is not ours to replace */
}

/* A daemon that was killed while it launched something has left a child with its sockets, which it closes as soon as it has
 * become what it is to be. */
static bool socket_stays_alive(const struct sockaddr_un *address)
{
    const struct timespec pause = {.tv_nsec = ALIVE_PAUSE_MS * 1000000L};

    for (int i = 0; i < ALIVE_TRIES; i++) {
        if (!socket_is_alive(address))
            return false;
        (void)nanosleep(&pause, NULL);
    }
    return true;
}

static int bind_unix(const char *path, unsigned mode, int *ret, struct poolmgr_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    pm_auto_close int fd = -1;
    struct stat st;
    mode_t former;
    int r;

    if (!pm_str_copy(address.sun_path, sizeof(address.sun_path), path))
        return pm_fail(err, POOLMGR_E_PATH_TOO_LONG,
                       "the socket's path '%s' has %zu bytes; at most 107 work", path,
                       strlen(path));
    if (lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode))
            return pm_fail(err, POOLMGR_E_CONFLICT, "'%s' is there and is no socket", path);
        if (socket_stays_alive(&address))
            return pm_fail(err, POOLMGR_E_CONFLICT, "somebody listens on '%s' already", path);
        (void)unlink(path);
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail_listen(path, "make a socket for", err);
    former = umask(0777 & ~mode);
    r = bind(fd, (const struct sockaddr *)&address, sizeof(address));
    (void)umask(former);
    if (r < 0 || listen(fd, BACKLOG) < 0)
        return fail_listen(path, "listen on", err);
    *ret = pm_take_fd(&fd);
    return POOLMGR_OK;
}

int pm_http_server_listen(struct pm_http_server *server, const char *address, unsigned mode,
                          struct poolmgr_error *err)
{
    bool is_unix = pm_str_starts(address, "unix:");
    struct sockaddr_storage real;
    socklen_t n = sizeof(real);
    pm_auto_close int fd = -1;
    char text[128];
    int r;

    (void)pm_str_copy(text, sizeof(text), address);
    r = is_unix ? bind_unix(address + 5, mode, &fd, err) : bind_tcp(address, &fd, err);
    if (r < 0)
        return r;
    if (!is_unix && getsockname(fd, (struct sockaddr *)&real, &n) == 0)
        format_address(&real, text, sizeof(text));
    r = keep(server, fd, text, is_unix, is_unix ? address + 5 : NULL, err);
    if (r == POOLMGR_OK)
        (void)pm_take_fd(&fd);
    return r;
}

int pm_http_server_adopt(struct pm_http_server *server, int fd, struct poolmgr_error *err)
{
    struct sockaddr_storage real;
    socklen_t n = sizeof(real);
    char text[128];
    int accepting = 0;
    socklen_t size = sizeof(accepting);

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepting, &size) < 0 || !accepting ||
        getsockname(fd, (struct sockaddr *)&real, &n) < 0)
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "descriptor %d is no listening socket", fd);

    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    if (real.ss_family == AF_UNIX)
        (void)snprintf(text, sizeof(text), "unix:%s",
                       ((struct sockaddr_un *)(void *)&real)->sun_path);
    else
        format_address(&real, text, sizeof(text));
    return keep(server, fd, text, real.ss_family == AF_UNIX, NULL, err);
}

void pm_listener_close(struct listener *listener)
{
    pm_watch_remove(&listener->watch);
    (void)close(listener->watch.fd);
    if (listener->unlink_path)
        (void)unlink(listener->unlink_path);
    pm_list_remove(&listener->link);
    free(listener->unlink_path);
    free(listener);
}
