/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shim outlives daemons and must never be the reason why something hangs: one poll loop, nothing that waits, no
 * memory that grows. What the daemon must know is kept as facts, each told once to whoever is connected; a daemon
 * that is slow to read is told later, one that comes back is told again from the start.
 *
 * As a subreaper it inherits whatever its engine leaves behind, daemons that left the process group too. When the
 * engine itself has ended, or was to be killed, everything below it is killed until nothing is left to wait for.
 */
#include "proc/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/cgroup.h"
#include "proc/folder.h"
#include "proc/oom.h"
#include "proc/shimlog.h"
#include "proc/tree.h"
#include "util/cleanup.h"
#include "util/time.h"

#define LOG_EVERY_MS  100 /* between two packets "log" */
#define KILL_EVERY_MS 5   /* between two looks at what is left of a tree that is being killed */
#define KILL_EVERY_MAX_MS                                                                          \
    500 /* doubled up to this while nothing dies: a driver may hold one for long */
#define ORPHAN_GRACE_MS  10000 /* from the SIGTERM to an orphaned engine to its SIGKILL */
#define ENGINE_OOM_SCORE "200"
#define DRAIN_MAX        (4 * 1024 * 1024) /* bytes read from the pipe after the engine's end */

enum fact { F_HELLO, F_SPAWNED, F_READY, F_EXITED, F_CHILDLESS, F_COUNT };

struct shim {
    const char *folder;
    struct pm_shim_spec spec;
    struct pm_shim_log log;
    int listen_fd, connection, signal_fd, pipe, lock_fd;
    pid_t self, engine;
    int spawn_errno; /* 0: it runs, or ran */
    bool true_of[F_COUNT], told[F_COUNT];
    uint64_t n_log_bytes, log_told_ms;
    bool killing, kill_asked;
    uint64_t kill_due_ms, kill_every_ms;
    uint64_t orphan_since_ms; /* 0: a daemon is connected */
    bool orphan_termed;
    uint64_t oom_kills;
};

/* ---- telling ---------------------------------------------------------------------------------------- */

static void hang_up(struct shim *shim)
{
    if (shim->connection >= 0)
        (void)close(pm_take_fd(&shim->connection));
    if (shim->orphan_since_ms == 0)
        shim->orphan_since_ms = pm_monotonic_ms();
}

/* False: it could not be sent now. */
static bool send_packet(struct shim *shim, const char *text)
{
    ssize_t n = send(shim->connection, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n < 0 && errno != EAGAIN && errno != EINTR)
        hang_up(shim);

    return n >= 0;
}

static void fact_text(const struct shim *shim, enum fact fact, char *to, size_t size)
{
    bool missing =
        shim->spawn_errno == ENOENT || shim->spawn_errno == EACCES || shim->spawn_errno == ENOEXEC;

    switch (fact) {
    case F_HELLO: (void)snprintf(to, size, "hello %d", (int)getpid()); break;
    case F_SPAWNED:
        if (shim->spawn_errno != 0)
            (void)snprintf(to, size, "failed %d %.800s: %s", missing, shim->spec.argv.items[0],
                           strerror(shim->spawn_errno));
        else
            (void)snprintf(to, size, "spawned %d", (int)shim->engine);
        break;
    case F_READY: (void)snprintf(to, size, "ready"); break;
    case F_EXITED: (void)snprintf(to, size, "exited"); break;
    case F_CHILDLESS: (void)snprintf(to, size, "childless"); break;
    case F_COUNT: break;
    }
}

/* True: there is something left to tell, and nobody who takes it now. */
static bool tell(struct shim *shim)
{
    char text[PM_SHIM_PACKET_MAX];
    int fact;

    for (fact = 0; fact < F_COUNT; fact++) {
        if (!shim->true_of[fact] || shim->told[fact])
            continue;
        if (shim->connection < 0)
            return true;
        fact_text(shim, (enum fact)fact, text, sizeof text);
        if (!send_packet(shim, text))
            return true;
        shim->told[fact] = true;
    }

    return false;
}

static void tell_log(struct shim *shim, uint64_t now_ms)
{
    char text[64];

    if (shim->connection < 0 || shim->n_log_bytes == 0 || now_ms - shim->log_told_ms < LOG_EVERY_MS)
        return;

    (void)snprintf(text, sizeof text, "log %llu", (unsigned long long)shim->n_log_bytes);
    shim->log_told_ms = now_ms;
    if (send_packet(shim, text))
        shim->n_log_bytes = 0;
}

/* ---- the engine ------------------------------------------------------------------------------------- */

/* When memory runs out the kernel shall take an engine, which is started again, and not a shim or the daemon. */
static void offer_to_oom_killer(void)
{
    pm_auto_close int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd >= 0)
        (void)!write(fd, ENGINE_OOM_SCORE, strlen(ENGINE_OOM_SCORE));
}

static void become_engine(struct shim *shim, const int *log_pipe, int report)
{
    pm_auto_free char *folder = pm_xasprintf("%s=%s", PM_FOLDER_VARIABLE, shim->folder);
    sigset_t none;
    int null_fd = open("/dev/null", O_RDONLY);

    pm_strv_add(&shim->spec.env, folder);
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != shim->self)
        _exit(127); /* the shim died before it could be watched */

    (void)dup2(null_fd, STDIN_FILENO);
    (void)dup2(log_pipe[1], STDOUT_FILENO);
    (void)dup2(log_pipe[1], STDERR_FILENO);
    offer_to_oom_killer();
    (void)pm_cgroup_enter(shim->folder);
    (void)close(PM_SHIM_LISTEN_FD);
    (void)close_range(PM_SHIM_LISTEN_FD + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC);

    (void)signal(SIGPIPE, SIG_DFL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)execve(shim->spec.argv.items[0], shim->spec.argv.items, shim->spec.env.items);
    (void)!write(report, &errno, sizeof errno);
    _exit(127);
}

/* The engine, or why there is none: its exec is waited for, since that is all that blocks here, and it is short. */
static void spawn_engine(struct shim *shim)
{
    int log_pipe[2], report[2], error = 0;

    if (pipe2(log_pipe, O_CLOEXEC) < 0 || pipe2(report, O_CLOEXEC) < 0) {
        shim->spawn_errno = errno;
        return;
    }

    shim->engine = fork();
    if (shim->engine == 0)
        become_engine(shim, log_pipe, report[1]);

    shim->spawn_errno = shim->engine < 0 ? errno : 0;
    (void)close(log_pipe[1]);
    (void)close(report[1]);
    if (shim->engine > 0 && read(report[0], &error, sizeof error) == (ssize_t)sizeof error) {
        shim->spawn_errno = error;
        (void)waitpid(shim->engine, NULL, 0);
    }
    (void)close(report[0]);

    shim->pipe = log_pipe[0];
    (void)fcntl(shim->pipe, F_SETFL, O_NONBLOCK);
    (void)fcntl(shim->pipe, F_SETPIPE_SZ, 256 * 1024);
    shim->true_of[F_SPAWNED] = true;
}

static bool engine_runs(const struct shim *shim)
{
    return shim->spawn_errno == 0 && !shim->true_of[F_EXITED];
}

static void read_pipe(struct shim *shim, size_t at_most)
{
    static char buffer[64 * 1024];
    size_t n_read = 0;
    ssize_t n;

    while (shim->pipe >= 0 && n_read < at_most) {
        n = read(shim->pipe, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return;
        if (n == 0) {
            (void)close(pm_take_fd(&shim->pipe));
            return;
        }
        pm_shim_log_add(&shim->log, buffer, (size_t)n);
        shim->n_log_bytes += (uint64_t)n;
        shim->true_of[F_READY] = shim->log.ready;
        n_read += (size_t)n;
    }
}

static void begin_kill(struct shim *shim)
{
    shim->killing = true;
    shim->kill_due_ms = 0;
    shim->kill_every_ms = KILL_EVERY_MS;
}

static void engine_exited(struct shim *shim, int status)
{
    struct pm_process_exit how = {
        .signalled = WIFSIGNALED(status),
        .status = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
        .sigkill_by_us = shim->kill_asked,
    };

    how.oom_kill = how.signalled && how.status == SIGKILL && !shim->kill_asked &&
                   pm_oom_kills() > shim->oom_kills;
    read_pipe(shim, DRAIN_MAX);
    how.log_tail = pm_shim_log_tail(&shim->log);
    (void)pm_exit_write(shim->folder, &how, NULL);
    free(how.log_tail);
    shim->true_of[F_EXITED] = true;
    begin_kill(shim); /* what it left behind */
}

static void reap(struct shim *shim)
{
    struct signalfd_siginfo info;
    int status;
    pid_t pid;

    while (read(shim->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        ;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        shim->kill_every_ms = KILL_EVERY_MS;
        if (pid == shim->engine)
            engine_exited(shim, status);
    }

    if (pid < 0 && errno == ECHILD && !engine_runs(shim))
        shim->true_of[F_CHILDLESS] = true;
}

static void kill_tree(struct shim *shim, uint64_t now_ms)
{
    if (engine_runs(shim))
        (void)kill(-shim->engine, SIGKILL);
    (void)pm_cgroup_kill(shim->folder);
    (void)pm_kill_descendants(getpid());
    reap(shim);
    shim->kill_due_ms = now_ms + shim->kill_every_ms;
    if (shim->kill_every_ms < KILL_EVERY_MAX_MS)
        shim->kill_every_ms *= 2;
}

/* ---- the daemon ------------------------------------------------------------------------------------- */

static void obey(struct shim *shim, const char *order)
{
    int signo;

    if (strcmp(order, "kill") == 0) {
        shim->kill_asked = true;
        begin_kill(shim);
    } else if (sscanf(order, "signal %d", &signo) == 1 && signo > 0 && signo < NSIG &&
               engine_runs(shim)) {
        (void)kill(-shim->engine, signo);
    }

    (void)send_packet(shim, "obeyed");
}

static void hear(struct shim *shim)
{
    char order[64];
    ssize_t n;

    while (shim->connection >= 0) {
        n = recv(shim->connection, order, sizeof order - 1, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            hang_up(shim);
            return;
        }
        order[n] = '\0';
        obey(shim, order);
    }
}

/* The newest daemon is the one that counts. */
static void answer_call(struct shim *shim)
{
    int fd = accept4(shim->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;

    hang_up(shim);
    shim->connection = fd;
    shim->orphan_since_ms = 0;
    shim->orphan_termed = false;
    memset(shim->told, 0, sizeof shim->told);
}

static uint64_t orphan_due(const struct shim *shim)
{
    uint64_t due_ms = shim->orphan_since_ms + shim->spec.orphan_timeout_ms;

    if (shim->orphan_since_ms == 0 || shim->killing)
        return UINT64_MAX;

    return shim->orphan_termed ? due_ms + ORPHAN_GRACE_MS : due_ms;
}

static void end_orphan(struct shim *shim)
{
    if (shim->orphan_termed) {
        shim->kill_asked = true;
        begin_kill(shim);
        return;
    }

    shim->orphan_termed = true;
    (void)kill(-shim->engine, SIGTERM);
}

/* ---- the loop --------------------------------------------------------------------------------------- */

static int wait_ms(const struct shim *shim, uint64_t now_ms)
{
    uint64_t due_ms = shim->killing ? shim->kill_due_ms : orphan_due(shim);

    if (shim->connection >= 0 && shim->n_log_bytes > 0 && shim->log_told_ms + LOG_EVERY_MS < due_ms)
        due_ms = shim->log_told_ms + LOG_EVERY_MS;

    if (due_ms == UINT64_MAX)
        return -1;
    if (due_ms <= now_ms)
        return 0;
    return due_ms - now_ms < 3600000 ? (int)(due_ms - now_ms) : 3600000;
}

static void do_what_is_due(struct shim *shim)
{
    uint64_t now_ms = pm_monotonic_ms();

    if (!shim->killing && now_ms >= orphan_due(shim))
        end_orphan(shim);
    if (shim->killing && now_ms >= shim->kill_due_ms)
        kill_tree(shim, now_ms);
    tell_log(shim, now_ms);
}

/* A daemon that is slow to read is waited for with POLLOUT, so that nothing is told twice or lost. */
static void turn(struct shim *shim, bool wants_out)
{
    struct pollfd fds[4] = {
        {.fd = shim->listen_fd, .events = POLLIN},
        {.fd = shim->connection, .events = (short)(POLLIN | (wants_out ? POLLOUT : 0))},
        {.fd = shim->signal_fd, .events = POLLIN},
        {.fd = shim->pipe, .events = POLLIN},
    };

    if (poll(fds, PM_ARRAY_LEN(fds), wait_ms(shim, pm_monotonic_ms())) < 0)
        return;

    if (fds[3].revents)
        read_pipe(shim, 1024 * 1024);
    if (fds[2].revents)
        reap(shim);
    if (fds[1].revents & (POLLIN | POLLHUP | POLLERR))
        hear(shim);
    if (fds[0].revents)
        answer_call(shim);
}

/* With nobody to tell it to, the end is only written. */
static bool is_over(const struct shim *shim)
{
    return shim->true_of[F_CHILDLESS] && (shim->connection < 0 || shim->told[F_CHILDLESS]);
}

static void limit_core(const struct shim *shim)
{
    struct rlimit none = {0, 0};

    if (!shim->spec.core_dumps)
        (void)setrlimit(RLIMIT_CORE, &none);
}

static bool set_up(struct shim *shim)
{
    sigset_t all;

    (void)close_range(PM_SHIM_LISTEN_FD + 1, UINT_MAX, 0); /* whatever the daemon let through */
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    (void)sigemptyset(&all);
    (void)sigaddset(&all, SIGCHLD);
    shim->signal_fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    (void)fcntl(shim->listen_fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl(shim->listen_fd, F_SETFL, O_NONBLOCK);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    limit_core(shim);
    shim->lock_fd = pm_lock_take(shim->folder);
    return shim->lock_fd >= 0 && shim->signal_fd >= 0;
}

int pm_shim_run(const char *folder)
{
    struct shim shim = {.folder = folder,
                        .self = getpid(),
                        .listen_fd = PM_SHIM_LISTEN_FD,
                        .connection = -1,
                        .signal_fd = -1,
                        .pipe = -1};
    bool wants_out;

    if (pm_spec_read(folder, &shim.spec, NULL) < 0 || !set_up(&shim))
        return 1;

    shim.log = (struct pm_shim_log){.path = shim.spec.log_path,
                                    .max_bytes = shim.spec.log_max_bytes,
                                    .n_files = shim.spec.log_files,
                                    .ready_line = shim.spec.ready_line};
    pm_shim_log_open(&shim.log);
    shim.oom_kills = pm_oom_kills();
    (void)pm_cgroup_make(folder);
    shim.orphan_since_ms = pm_monotonic_ms();
    shim.true_of[F_HELLO] = true;
    answer_call(&shim); /* whoever launched it has called already */
    spawn_engine(&shim);
    if (shim.spawn_errno != 0)
        shim.true_of[F_CHILDLESS] = true;

    for (;;) {
        wants_out = tell(&shim) && shim.connection >= 0;
        if (is_over(&shim))
            break;
        turn(&shim, wants_out);
        (void)tell(&shim); /* an exit is told before the search for what it left behind */
        do_what_is_due(&shim);
    }

    pm_cgroup_remove(folder);
    return 0;
}
