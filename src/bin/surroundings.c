/* SPDX-License-Identifier: Apache-2.0 */
/* systemd's protocols are a datagram and two numbers in the environment: no library is linked for them. */
#include "bin/surroundings.h"

#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/str.h"

uint64_t pm_raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 0;

    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

void pm_forbid_core_dumps(void)
{
    struct rlimit none = {0, 0};

    (void)setrlimit(RLIMIT_CORE, &none);
}

void pm_notify(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    pm_auto_close int fd = -1;
    size_t n;

    if (!path || (path[0] != '/' && path[0] != '@') ||
        !pm_str_copy(address.sun_path, sizeof address.sun_path, path))
        return;

    n = strlen(path);
    if (path[0] == '@')
        address.sun_path[0] = '\0'; /* an abstract name */

    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        (void)sendto(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL,
                     (struct sockaddr *)&address,
                     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
}

static bool is_for_us(const char *pid_variable)
{
    const char *pid = getenv(pid_variable);
    uint64_t number;

    return !pid || (pm_parse_u64(pid, &number) && number == (uint64_t)getpid());
}

uint64_t pm_watchdog_ms(void)
{
    const char *text = getenv("WATCHDOG_USEC");
    uint64_t us;

    return text && pm_parse_u64(text, &us) && is_for_us("WATCHDOG_PID") ? us / 1000 : 0;
}

unsigned pm_listen_fds(void)
{
    const char *text = getenv("LISTEN_FDS");
    uint64_t n = 0;
    unsigned i;

    if (!text || !getenv("LISTEN_PID") || !is_for_us("LISTEN_PID") || !pm_parse_u64(text, &n) ||
        n > 64)
        n = 0;

    for (i = 0; i < n; i++)
        (void)fcntl(3 + (int)i, F_SETFD, FD_CLOEXEC);

    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDNAMES");
    return (unsigned)n;
}

char *pm_find_helper(const char *name)
{
    static const char *const beside[] = {".", "../proc", "../libexec/poolmgr", "../lib/poolmgr"};
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash;
    size_t i;

    if (n <= 0)
        return NULL;

    self[n] = '\0';
    slash = strrchr(self, '/');
    if (!slash)
        return NULL;

    *slash = '\0';
    for (i = 0; i < PM_ARRAY_LEN(beside); i++) {
        pm_auto_free char *path = pm_xasprintf("%s/%s/%s", self, beside[i], name);

        if (access(path, X_OK) == 0)
            return pm_take(path);
    }

    return NULL;
}
