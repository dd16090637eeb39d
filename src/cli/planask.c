/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/plan.h"
#include "gpu/gpu.h"
#include "gpu/host.h"
#include "util/cleanup.h"
#include "util/str.h"
#include "util/time.h"

#define GIB         (UINT64_C(1) << 30)
#define OUTPUT_MAX  (4 * 1024 * 1024)
#define PATIENCE_MS 90000 /* of pool-probe, whose driver may need a minute to wake */

/* ---- a machine in words ------------------------------------------------------------------------------- */

static uint64_t read_size(const char *text)
{
    uint64_t bytes, number;

    if (pm_parse_u64(text, &number) && number > 0 && number < (UINT64_C(1) << 30))
        return number * GIB;
    if (!pm_parse_bytes(text, &bytes) || bytes == 0 || bytes > INT64_MAX)
        pm_cli_die(2, "--machine: '%s' is no size; write 24 (GiB) or 11800MiB, one a device", text);
    return bytes;
}

size_t pm_plan_read_machine(const char *text, uint64_t free_bytes[PM_SHARES_MAX])
{
    size_t n = 0;

    for (;;) {
        size_t length = strcspn(text, ",");
        pm_auto_free char *word = strndup(text, length);

        if (n == PM_SHARES_MAX)
            pm_cli_die(2, "--machine: more than %d devices", PM_SHARES_MAX);
        free_bytes[n++] = read_size(word ? word : "");
        if (!text[length])
            return n;
        text += length + 1;
    }
}

/* ---- programs that are asked -------------------------------------------------------------------------- */

static void become(char *const argv[], int out, bool with_errors)
{
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (dup2(nothing, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 &&
        dup2(with_errors ? out : nothing, STDERR_FILENO) >= 0)
        (void)execvp(argv[0], argv);
    _exit(127);
}

static void read_all(int fd, struct pm_buf *out)
{
    uint64_t until_ms = pm_monotonic_ms() + PATIENCE_MS;
    char buffer[4096];

    while (out->n < OUTPUT_MAX) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        uint64_t now_ms = pm_monotonic_ms();
        ssize_t n;

        if (now_ms >= until_ms || poll(&ready, 1, (int)(until_ms - now_ms)) <= 0)
            return;
        n = read(fd, buffer, sizeof(buffer));
        if (n <= 0)
            return;
        pm_buf_add(out, buffer, (size_t)n);
    }
}

/* What a program prints; false: it cannot be run, or failed. */
static bool ask_program(char *const argv[], bool with_errors, struct pm_buf *out)
{
    int pipe_fds[2], status;
    pid_t pid;

    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return false;

    pid = fork();
    if (pid == 0)
        become(argv, pipe_fds[1], with_errors);
    (void)close(pipe_fds[1]);
    if (pid > 0)
        read_all(pipe_fds[0], out);
    (void)close(pipe_fds[0]);
    if (pid < 0)
        return false;

    /* Whoever has closed its output has nothing more to say. */
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return out->n > 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == 127);
}

/* ---- this machine ------------------------------------------------------------------------------------- */

/* Beside poolctl, or where it is installed. */
static char *find_probe(void)
{
    static const char *const beside[] = {"pool-probe", "../libexec/poolmgr/pool-probe",
                                         "../bin/pool-probe"};
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    self[n > 0 ? n : 0] = '\0';
    slash = strrchr(self, '/');
    for (size_t i = 0; slash && i < PM_ARRAY_LEN(beside); i++) {
        char *path = pm_xasprintf("%.*s/%s", (int)(slash - self), self, beside[i]);

        if (access(path, X_OK) == 0)
            return path;
        free(path);
    }

    return NULL;
}

/* As a daemon knows them: one without a name is none, and what cannot be used is refused by the mask. */
static size_t take_devices(const struct pm_gpu_snapshot *snapshot,
                           struct pm_planning_device *devices)
{
    size_t n = 0;

    for (size_t i = 0; i < snapshot->n; i++) {
        const struct pm_gpu_seen *gpu = &snapshot->gpus[i];

        if (pm_gpu_is_nameless(gpu->is.id))
            continue;
        devices[n] = pm_planning_imagine(n, gpu->free_known ? gpu->free_bytes : gpu->total_bytes);
        devices[n].gpu = gpu->is;
        devices[n++].gpu.unhealthy = gpu->state != PM_DEVICE_OK;
    }

    return n;
}

size_t pm_plan_look_at_machine(struct pm_planning_device **ret)
{
    pm_auto_free char *probe = find_probe();
    char *const argv[] = {probe, (char *)"--once", NULL};
    pm_auto_buf struct pm_buf out = {0};
    struct pm_gpu_frame frame;
    struct poolmgr_error err = {0};
    size_t n;

    if (!probe || !ask_program(argv, false, &out))
        pm_cli_die(1, "nobody can be asked for this machine's devices: no pool-probe beside "
                      "poolctl; say what there is with --machine 24,12");
    if (pm_gpu_frame_read(out.data, out.n, &frame, &err) < 0 || frame.kind != PM_GPU_FRAME_SNAPSHOT)
        pm_cli_die(1, "pool-probe's answer cannot be read: %s", err.message);

    *ret = pm_xalloc((frame.snapshot.n + 1) * sizeof(**ret));
    n = take_devices(&frame.snapshot, *ret);
    if (n == 0 && frame.snapshot.node != PM_NODE_NONE)
        pm_cli_die(1,
                   "this machine has no GPU that can be planned on (%s%s%s); say what there "
                   "would be with --machine 24,12",
                   pm_node_state_name(frame.snapshot.node), frame.snapshot.text[0] ? ": " : "",
                   frame.snapshot.text);
    pm_gpu_frame_fini(&frame);
    return n;
}

uint64_t pm_plan_look_at_memory(void)
{
    struct pm_host_memory memory;
    struct poolmgr_error err = {0};

    if (pm_host_memory(NULL, &memory, &err) < 0)
        pm_cli_die(1, "%s; say what there is with --machine 24", err.message);
    return memory.free_bytes;
}

/* ---- a mask ------------------------------------------------------------------------------------------- */

bool pm_plan_is_cpu(const char *devices)
{
    struct pm_mask *mask = NULL;
    bool is = devices && pm_mask_parse(devices, strlen(devices), &mask, NULL, NULL) == 0 &&
              pm_mask_is_cpu(mask);

    pm_mask_unref(mask);
    return is;
}

bool pm_plan_is_auto(const char *devices)
{
    return !devices || strcmp(devices, "auto") == 0;
}

static _Noreturn void die_of_mask(const struct poolmgr_error *err)
{
    pm_cli_die(2, "--devices: %s%s%s", err->message, err->hint[0] ? "; " : "", err->hint);
}

size_t pm_plan_choose(const char *text, const struct pm_planning_device *devices, size_t n,
                      struct pm_planning_device chosen[PM_SHARES_MAX])
{
    bool is_auto = pm_plan_is_auto(text);
    struct poolmgr_error err = {0};
    struct pm_mask *mask = NULL;

    if (is_auto)
        text = "all"; /* that can be used */
    if (pm_mask_parse(text, strlen(text), &mask, NULL, &err) < 0 ||
        pm_planning_choose(mask, devices, n, chosen, &n, &err) < 0) {
        if (is_auto)
            pm_cli_die(1, "%s; say what there would be with --machine 24,12", err.message);
        die_of_mask(&err);
    }
    pm_mask_unref(mask);
    return n;
}

/* ---- an engine ---------------------------------------------------------------------------------------- */

/* The limit of logits is a little older than --kv-unified-per-slot: who knows the one has the other. */
struct pm_plan_engine pm_plan_look_at_engine(const char *program)
{
    char *const argv[] = {(char *)program, (char *)"--help", NULL};
    pm_auto_buf struct pm_buf out = {0};

    if (!ask_program(argv, true, &out))
        pm_cli_die(2, "--engine: %s cannot be run", program);
    if (!strstr(pm_buf_text(&out), "-ngl"))
        pm_cli_die(2, "--engine: %s is no llama-server: its --help names no -ngl", program);

    return (struct pm_plan_engine){
        .knows_fit = strstr(pm_buf_text(&out), "-fit,") != NULL,
        .few_outputs = strstr(pm_buf_text(&out), "--kv-unified-per-slot") != NULL,
    };
}
