/* SPDX-License-Identifier: Apache-2.0 */
/* Who listens where, by /proc/net; nothing is bound and nobody is called. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "http/holder.h"
#include "provision/gatherinner.h"
#include "util/cleanup.h"
#include "util/str.h"

#define TCP_LISTEN_STATE 0x0a
#define UNIX_ACCEPTS     0x10000 /* __SO_ACCEPTCON, of the column Flags */

/* An address as 16 bytes, as IPv6 writes those of IPv4. */
struct address {
    struct in6_addr ip;
    unsigned port;
};

static void map_v4(uint32_t in_network_order, struct in6_addr *ret)
{
    *ret = (struct in6_addr){0};
    ret->s6_addr[10] = ret->s6_addr[11] = 0xff;
    memcpy(&ret->s6_addr[12], &in_network_order, 4);
}

/* "127.0.0.1:8080", "[::1]:8080", "localhost:8080" */
static bool read_address(const char *text, struct address *ret)
{
    const char *colon = strrchr(text, ':');
    char host[64];
    struct in_addr v4;
    uint64_t port;

    if (!colon || !pm_parse_u64(colon + 1, &port) || port > 65535 ||
        (size_t)(colon - text) >= sizeof(host))
        return false;
    ret->port = (unsigned)port;
    (void)snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
    if (host[0] == '[') {
        host[strcspn(host, "]")] = '\0';
        return inet_pton(AF_INET6, host + 1, &ret->ip) == 1;
    }
    if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &v4) != 1)
        return false;
    map_v4(v4.s_addr, &ret->ip);
    return true;
}

/* As the kernel prints it: 32-bit words in the machine's order. */
static bool read_hex(const char *hex, struct in6_addr *ret)
{
    uint32_t words[4];
    int n = sscanf(hex, "%8x%8x%8x%8x", &words[0], &words[1], &words[2], &words[3]);

    if (n == 1)
        map_v4(words[0], ret);
    else if (n == 4)
        memcpy(ret, words, sizeof(*ret));
    return n == 1 || n == 4;
}

static bool is_any(const struct in6_addr *ip)
{
    struct in6_addr any_v4;

    map_v4(0, &any_v4);
    return IN6_IS_ADDR_UNSPECIFIED(ip) || memcmp(ip, &any_v4, sizeof(any_v4)) == 0;
}

/* Could both be listened on? A listener on all addresses of IPv6 mostly has those of IPv4, too. */
static bool collide(const struct address *a, const struct address *b)
{
    return a->port == b->port &&
           (memcmp(&a->ip, &b->ip, sizeof(a->ip)) == 0 || is_any(&a->ip) || is_any(&b->ip));
}

/* The inode of a socket that listens there; 0: none. */
static unsigned long tcp_listener(const char *root, const char *table, const struct address *wanted)
{
    pm_auto_free char *text = pm_look_text(root, table);

    for (char *rest = text, *line; rest && (line = strsep(&rest, "\n"));) {
        struct address local;
        unsigned long inode;
        unsigned state;
        char hex[40];

        if (sscanf(line, " %*d: %39[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*u %*u %lu",
                   hex, &local.port, &state, &inode) == 4 &&
            state == TCP_LISTEN_STATE && read_hex(hex, &local.ip) && collide(&local, wanted))
            return inode;
    }
    return 0;
}

static unsigned long unix_listener(const char *root, const char *path)
{
    pm_auto_free char *text = pm_look_text(root, "/proc/net/unix");

    for (char *rest = text, *line; rest && (line = strsep(&rest, "\n"));) {
        unsigned long inode;
        unsigned flags;
        int n = 0;

        if (sscanf(line, "%*x: %*x %*x %x %*x %*x %lu %n", &flags, &inode, &n) == 2 && n > 0 &&
            (flags & UNIX_ACCEPTS) && strcmp(line + n, path) == 0)
            return inode;
    }
    return 0;
}

static void find_holder(const char *root, unsigned long inode, struct pm_listen_facts *listener)
{
    struct pm_holder holder;

    listener->taken = inode != 0;
    if (!inode || !pm_socket_holder(root, inode, &holder))
        return;
    listener->pid = holder.pid;
    (void)pm_str_copy(listener->holder, sizeof(listener->holder), holder.name);
    listener->ours = strcmp(listener->holder, "orchestratord") == 0 ||
                     strcmp(listener->holder, "pool-managerd") == 0;
}

static void look_at_unix(const char *root, const char *path, struct pm_listen_facts *listener)
{
    pm_auto_free char *full = pm_xasprintf("%s%s", root, path);
    struct stat status;

    if (lstat(full, &status) == 0 && !S_ISSOCK(status.st_mode))
        listener->is_no_socket = true;
    else
        find_holder(root, unix_listener(root, path), listener);
}

static void look_at_tcp(const char *root, const char *address, struct pm_listen_facts *listener)
{
    struct address wanted;
    unsigned long inode;

    if (!read_address(address, &wanted) || wanted.port == 0)
        return;
    listener->port = wanted.port;
    inode = tcp_listener(root, "/proc/net/tcp", &wanted);
    if (!inode)
        inode = tcp_listener(root, "/proc/net/tcp6", &wanted);
    find_holder(root, inode, listener);
}

void pm_look_at_listeners(const struct pm_gather *gather, struct pm_facts *facts)
{
    facts->listeners = pm_xalloc((gather->listen.n + 1) * sizeof(facts->listeners[0]));
    for (size_t i = 0; i < gather->listen.n; i++) {
        struct pm_listen_facts *listener = &facts->listeners[facts->n_listeners++];

        listener->address = pm_xstrdup(gather->listen.items[i]);
        if (pm_str_starts(listener->address, "unix:"))
            look_at_unix(gather->root, listener->address + 5, listener);
        else
            look_at_tcp(gather->root, listener->address, listener);
    }
}
