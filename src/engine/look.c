/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program can, asked of itself: `--help` is run, its GPUs hidden so that no driver is woken, and read up to a
 * limit. It is a stranger: it may hang, write without end or leave children that hold its output open. So it gets a
 * time, a group of its own, and a SIGKILL to all of that group as soon as its answer is complete or the time is over.
 * What it did not say is unknown, and then nothing is asked of it that old builds do not know.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/internal.h"
#include "util/cleanup.h"
#include "util/time.h"

#define HELP_MAX   (256 * 1024) /* bytes; llama-server's are 60 thousand */
#define DIES_IN_MS 1000

char *pm_engine_signature(const struct pm_engine_spec *engine, char **environment)
{
    pm_auto_free char *program = NULL;
    struct stat status;

    if (pm_engine_program(engine, environment, &program, NULL) < 0 || stat(program, &status) < 0)
        return NULL;
    return pm_xasprintf("%s:%ju:%ju:%jd:%jd.%09ld", program, (uintmax_t)status.st_dev,
                        (uintmax_t)status.st_ino, (intmax_t)status.st_size,
                        (intmax_t)status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

/* ---- running it --------------------------------------------------------------------------------------- */

static int spawn_help(const char *program, char **environment, int out, pid_t *ret)
{
    char *const argv[] = {(char *)program, (char *)"--help", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    int r;

    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    (void)posix_spawnattr_init(&attributes);
    (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                    POSIX_SPAWN_SETSIGDEF);
    (void)posix_spawnattr_setsigmask(&attributes, &none);
    (void)posix_spawnattr_setsigdefault(&attributes, &all);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
    (void)posix_spawn_file_actions_adddup2(&actions, out, 1);
    (void)posix_spawn_file_actions_adddup2(&actions, out, 2);

    r = posix_spawn(ret, program, &actions, &attributes, argv, environment);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attributes);
    return r;
}

/* False: the time is over, or there is more than anybody needs. */
static bool read_all(int fd, uint64_t until_ms, struct pm_buf *out)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};

    for (;;) {
        uint64_t now_ms = pm_monotonic_ms();
        ssize_t n;

        if (now_ms >= until_ms || out->n >= HELP_MAX)
            return false;
        if (poll(&poller, 1, (int)(until_ms - now_ms)) <= 0)
            continue; /* the clock decides */

        pm_buf_reserve(out, 4096);
        n = read(fd, out->data + out->n, 4096);
        if (n == 0)
            return true;
        if (n > 0)
            out->n += (size_t)n;
        else if (errno != EINTR && errno != EAGAIN)
            return false;
    }
}

/* The pid is ours until it is waited for, and its group is itself unless it left it. One that a driver holds in the
 * kernel does not die of this: it is not waited for any longer. */
static void end(pid_t pid)
{
    (void)kill(-pid, SIGKILL);
    (void)kill(pid, SIGKILL);
    for (int i = 0; i < DIES_IN_MS && waitpid(pid, NULL, WNOHANG) == 0; i++)
        (void)usleep(1000);
}

static bool run_help(const char *program, char **environment, uint64_t timeout_ms,
                     struct pm_buf *out)
{
    uint64_t until_ms = pm_monotonic_ms() + timeout_ms;
    pm_auto_close int from = -1;
    int ends[2];
    bool whole;
    pid_t pid;
    int r;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return false;

    from = ends[0];
    r = spawn_help(program, environment, ends[1], &pid);
    (void)close(ends[1]);
    if (r != 0)
        return false;

    whole = read_all(from, until_ms, out);
    end(pid);
    return whole;
}

/* ---- what it says ------------------------------------------------------------------------------------- */

/* The option as a word: "-fit," in "-fit,  --fit [on|off]", not in "-fitt". */
static bool names_option(const char *help, const char *option)
{
    size_t n = strlen(option);

    for (const char *at = help; (at = strstr(at, option)); at += n) {
        bool begins = at == help || strchr(" ,\n\t", at[-1]);

        if (begins && strchr(" ,=\n\t\r", at[n]))
            return true;
    }
    return false;
}

/* The limit of logits is a little older than --kv-unified-per-slot: who knows the one has the other. */
void pm_engine_read_help(const char *help, struct pm_engine_traits *ret)
{
    *ret = (struct pm_engine_traits){
        .fit = names_option(help, "-fit"),
        .trace = names_option(help, "-lv") && strstr(help, "- 4: trace") != NULL,
        .few_outputs = names_option(help, "--kv-unified-per-slot"),
    };
}

bool pm_engine_look(const struct pm_engine_spec *engine, char **environment, uint64_t timeout_ms,
                    struct pm_engine_traits *ret)
{
    struct pm_choice cpu = {.of = PM_CHOICE_CPU};
    pm_auto_free char *program = NULL;
    pm_auto_buf struct pm_buf help = {0};
    struct pm_strv inherited = {0};
    bool whole;

    *ret = (struct pm_engine_traits){0};
    if (engine->family != PM_FAMILY_LLAMA_CPP)
        return true; /* nothing is asked of others */
    if (pm_engine_program(engine, environment, &program, NULL) < 0)
        return false;

    pm_choice_hide_all(&cpu);
    pm_engine_inherit(&cpu, environment, &inherited);
    for (size_t i = 0; i < engine->env.names.n; i++)
        pm_environment_set(&inherited, engine->env.names.items[i], engine->env.values.items[i]);
    whole = run_help(program, inherited.items, timeout_ms, &help) && help.n > 0;
    if (whole)
        pm_engine_read_help(pm_buf_text(&help), ret);
    pm_choice_fini(&cpu);
    pm_strv_fini(&inherited);
    return whole;
}
