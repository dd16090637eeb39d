/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses to listen on, and the length of sockets' paths. */
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "provision/judge.h"
#include "util/str.h"

#define SOCKET_PATH_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

static void say_taken(struct pm_judging *j, const struct pm_listen_facts *listener)
{
    bool is_unix = pm_str_starts(listener->address, "unix:");
    enum pm_finding finding = is_unix ? PM_FOUND_SOCKET_TAKEN : PM_FOUND_PORT_TAKEN;
    const char *port = strrchr(listener->address, ':'); /* ":8080", as ss wants it */
    const char *about = is_unix ? listener->address + 5 : port;

    if (listener->is_no_socket)
        (void)pm_judge_say(j, PM_CHECK_LISTEN, finding, about, listener->address,
                           "%s is there, and is no socket", about);
    else if (listener->pid > 0)
        (void)pm_judge_say(j, PM_CHECK_LISTEN, finding, about, listener->address,
                           "in use by process %d (%s)", listener->pid, listener->holder);
    else
        (void)pm_judge_say(j, PM_CHECK_LISTEN, finding, about, listener->address,
                           "in use by a process of another user");
}

static void judge_listener(struct pm_judging *j, const struct pm_listen_facts *listener)
{
    const struct pm_user_facts *user = &j->facts->user;
    bool is_low = listener->port > 0 && listener->port < user->low_port_end;
    char first[16];

    (void)snprintf(first, sizeof(first), "%u", listener->port);
    if (listener->taken && !listener->ours)
        say_taken(j, listener);
    else if (listener->is_no_socket)
        say_taken(j, listener);
    else if (listener->taken)
        (void)pm_judge_say(j, PM_CHECK_LISTEN, PM_FOUND_NOTHING, NULL, listener->address,
                           "our own daemon listens there, process %d (%s)", listener->pid,
                           listener->holder);
    else if (is_low && !user->may_bind_low)
        (void)pm_judge_say(j, PM_CHECK_LISTEN, PM_FOUND_PORT_PRIVILEGED, first, listener->address,
                           "ports below %u are root's, and we are %s", user->low_port_end,
                           user->name);
    else
        (void)pm_judge_say(j, PM_CHECK_LISTEN, PM_FOUND_NOTHING, NULL, listener->address,
                           "nobody listens there");
}

static void judge_socket_path(struct pm_judging *j)
{
    size_t n = j->needs->socket_path_n;
    char value[24];

    if (n == 0)
        return;
    (void)snprintf(value, sizeof(value), "%zu", n);
    if (n > SOCKET_PATH_MAX)
        (void)pm_judge_say(j, PM_CHECK_SOCKET_PATH, PM_FOUND_PATH_TOO_LONG, NULL, value,
                           "the longest path of an engine's socket; at most %zu bytes work",
                           SOCKET_PATH_MAX);
    else
        (void)pm_judge_say(j, PM_CHECK_SOCKET_PATH, PM_FOUND_NOTHING, NULL, value,
                           "of at most %zu bytes: the longest path of an engine's socket",
                           SOCKET_PATH_MAX);
}

void pm_judge_network(struct pm_judging *j)
{
    for (size_t i = 0; i < j->facts->n_listeners; i++)
        judge_listener(j, &j->facts->listeners[i]);
    judge_socket_path(j);
}
