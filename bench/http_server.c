/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU and rate of a short request: the HTTP server with a handler that answers at once, beside nginx with `return
 * 200`, in rounds that take turns. 64 connections that stay open, one request at a time on each; the server alone on
 * one core, the load on another. CPU is the server process's own clock. usage: http_server [ROUNDS [SECONDS]]
 */
#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "http/server.h"
#include "util/cleanup.h"
#include "util/str.h"
#include "util/time.h"

#define CONNECTIONS 64
#define ROUNDS_MAX  99

static const char request[] =
    "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nUser-Agent: "
    "bench\r\nAccept: */*\r\nContent-Type: application/json\r\n"
    "Content-Length: 13\r\n\r\n{\"model\":\"m\"}";

static void die(const char *what)
{
    (void)fprintf(stderr, "http_server: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void stay_on(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    (void)sched_setaffinity(0, sizeof(set), &set); /* with one core there is no choice */
}

static struct sockaddr_in loopback(unsigned port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return in;
}

/* ---- the servers ------------------------------------------------------------------------------------- */

static void on_head(struct pm_exchange *exchange, void *ctx)
{
    (void)exchange;
    (void)ctx;
}

static void on_request(struct pm_exchange *exchange, void *ctx)
{
    static const struct pm_http_field type = {"Content-Type", "text/plain"};

    (void)ctx;
    pm_exchange_respond(exchange, 200, &type, 1, "ok", 2);
}

static void serve(const char *address)
{
    static const struct pm_http_server_options options = {
        .body_max = 1u << 20,
        .body_memory = 64u << 20,
        .head_ms = 10000,
        .body_idle_ms = 10000,
        .write_stall_ms = 10000,
        .keep_alive_ms = 60000,
    };
    static const struct pm_http_handler handler = {
        .on_head = on_head, .on_request = on_request, .on_gone = on_head};
    struct pm_http_server *server = NULL;
    struct poolmgr_error err = {0};
    struct pm_loop *loop = NULL;

    if (pm_loop_new(&loop, &err) < 0 ||
        pm_http_server_new(loop, &options, &handler, NULL, &server, &err) < 0 ||
        pm_http_server_listen(server, address, 0600, &err) < 0) {
        (void)fprintf(stderr, "http_server: %s\n", err.message);
        _exit(1);
    }
    (void)pm_loop_run(loop);
    _exit(0);
}

static void write_nginx_config(const char *folder, unsigned port)
{
    pm_auto_free char *path = pm_xasprintf("%s/nginx.conf", folder);
    FILE *file = fopen(path, "we");

    if (!file)
        die(path);
    (void)fprintf(file,
                  "daemon off; master_process off; worker_processes 1; pid %s/pid; error_log "
                  "/dev/null crit;\nevents { worker_connections 256; }\nhttp { access_log off; "
                  "keepalive_requests 100000000; client_body_temp_path %s/b; proxy_temp_path %s/p; "
                  "fastcgi_temp_path %s/f; uwsgi_temp_path %s/u; scgi_temp_path %s/s;\n"
                  "server { listen 127.0.0.1:%u; location / { default_type text/plain; return 200 "
                  "ok; } } }\n",
                  folder, folder, folder, folder, folder, folder, port);
    (void)fclose(file);
}

static pid_t start(bool nginx, const char *folder, unsigned port)
{
    pm_auto_free char *config = pm_xasprintf("%s/nginx.conf", folder);
    pm_auto_free char *address = pm_xasprintf("127.0.0.1:%u", port);
    pid_t pid = fork();

    if (pid)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    stay_on(0);
    if (!nginx)
        serve(address);
    (void)freopen("/dev/null", "w", stderr);
    (void)execlp("nginx", "nginx", "-c", config, (char *)NULL);
    (void)execl("/usr/sbin/nginx", "nginx", "-c", config, (char *)NULL);
    _exit(127);
}

static unsigned free_port(void)
{
    struct sockaddr_in in = loopback(0);
    socklen_t n = sizeof(in);
    pm_auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0 ||
        getsockname(fd, (struct sockaddr *)&in, &n) < 0)
        die("no free port");
    return ntohs(in.sin_port);
}

/* False: it ended instead of listening. */
static bool wait_for(pid_t pid, unsigned port)
{
    struct sockaddr_in in = loopback(port);

    for (int i = 0; i < 500; i++) {
        pm_auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0)
            return true;
        if (waitpid(pid, NULL, WNOHANG) == pid)
            return false;
        (void)usleep(10000);
    }
    return false;
}

/* ---- the load ---------------------------------------------------------------------------------------- */

struct load {
    uint64_t n_answers;
    bool failed;
};

struct caller {
    struct pm_watch watch;
    struct load *load;
};

static void ask(struct caller *caller)
{
    if (send(caller->watch.fd, request, sizeof(request) - 1, MSG_NOSIGNAL) !=
        (ssize_t)(sizeof(request) - 1))
        caller->load->failed = true;
}

/* An answer is short and comes in one piece; one that does not ends the measurement. */
static void on_answer(struct pm_watch *watch, uint32_t events)
{
    struct caller *caller = pm_container_of(watch, struct caller, watch);
    char buffer[4096];
    ssize_t n = recv(watch->fd, buffer, sizeof(buffer), MSG_DONTWAIT);

    (void)events;
    if (n < 16 || memcmp(buffer, "HTTP/1.1 200", 12) != 0 || memcmp(buffer + n - 2, "ok", 2) != 0) {
        caller->load->failed = true;
        pm_watch_remove(watch);
        return;
    }
    caller->load->n_answers++;
    ask(caller);
}

static uint64_t cpu_ns(pid_t pid)
{
    clockid_t clock;
    struct timespec now;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &now) < 0)
        die("the server's clock");
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void turn_for(struct pm_loop *loop, uint64_t ms)
{
    uint64_t end_ms = pm_monotonic_ms() + ms;

    while (pm_monotonic_ms() < end_ms)
        (void)pm_loop_turn(loop, 10);
}

struct figures {
    double per_s, cpu_us;
};

static struct figures measure(pid_t pid, unsigned port, uint64_t ms)
{
    struct sockaddr_in in = loopback(port);
    struct caller callers[CONNECTIONS] = {0};
    struct pm_loop *loop = NULL;
    struct load load = {0};
    uint64_t before_ns, cpu, begun_ns, n;

    if (pm_loop_new(&loop, NULL) < 0)
        die("no loop");
    for (size_t i = 0; i < CONNECTIONS; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (connect(fd, (struct sockaddr *)&in, sizeof(in)) < 0)
            die("connect");
        callers[i].load = &load;
        (void)pm_watch_add(loop, &callers[i].watch, fd, EPOLLIN, on_answer);
        ask(&callers[i]);
    }
    turn_for(loop, 200); /* warm */
    before_ns = cpu_ns(pid);
    n = load.n_answers;
    begun_ns = pm_monotonic_ns();
    turn_for(loop, ms);
    n = load.n_answers - n;
    cpu = cpu_ns(pid) - before_ns;
    if (load.failed || n == 0) {
        (void)fprintf(stderr, "http_server: an answer was not what it should be\n");
        exit(1);
    }
    for (size_t i = 0; i < CONNECTIONS; i++)
        (void)close(callers[i].watch.fd);
    begun_ns = pm_monotonic_ns() - begun_ns;
    pm_loop_free(loop);
    return (struct figures){(double)n * 1e9 / (double)begun_ns, (double)cpu / 1000.0 / (double)n};
}

/* ---- rounds ------------------------------------------------------------------------------------------ */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof(values[0]), by_size);
    return values[n / 2];
}

static void report(const char *name, double *per_s, double *cpu_us, size_t n)
{
    double rate = median(per_s, n), cpu = median(cpu_us, n);

    printf("%-8s %8.0f requests/s   CPU %6.2f us a request (%.2f to %.2f in %zu rounds)\n", name,
           rate, cpu, cpu_us[0], cpu_us[n - 1], n);
}

int main(int argc, char **argv)
{
    size_t n_rounds = argc > 1 ? (size_t)atoi(argv[1]) : 5, n_servers;
    uint64_t ms = argc > 2 ? (uint64_t)atoi(argv[2]) * 1000 : 1000;
    static double per_s[2][ROUNDS_MAX], cpu_us[2][ROUNDS_MAX];
    char folder[] = "/tmp/pm-bench-XXXXXX";
    pm_auto_free char *config = NULL;
    unsigned ports[2] = {free_port(), free_port()};
    pid_t pids[2];

    if (n_rounds < 1 || n_rounds > ROUNDS_MAX || ms == 0 || !mkdtemp(folder)) {
        (void)fprintf(stderr, "usage: http_server [ROUNDS (1 to %d) [SECONDS]]\n", ROUNDS_MAX);
        return 2;
    }
    config = pm_xasprintf("rm -rf %s", folder);
    write_nginx_config(folder, ports[1]);
    for (int i = 0; i < 2; i++)
        pids[i] = start(i, folder, ports[i]);
    if (!wait_for(pids[0], ports[0]))
        die("the server did not start");
    n_servers = wait_for(pids[1], ports[1]) ? 2 : 1;
    stay_on(1);
    for (size_t round = 0; round < n_rounds; round++) {
        for (size_t i = 0; i < n_servers; i++) {
            struct figures figures = measure(pids[i], ports[i], ms);

            per_s[i][round] = figures.per_s;
            cpu_us[i][round] = figures.cpu_us;
        }
    }
    report("poolmgr", per_s[0], cpu_us[0], n_rounds);
    if (n_servers == 2) {
        report("nginx", per_s[1], cpu_us[1], n_rounds);
        printf("ratio    %8.2f of nginx's rate, %.2f of its CPU a request\n",
               per_s[0][n_rounds / 2] / per_s[1][n_rounds / 2],
               cpu_us[0][n_rounds / 2] / cpu_us[1][n_rounds / 2]);
    } else {
        printf("nginx is not installed: nothing to compare with\n");
    }
    for (size_t i = 0; i < n_servers; i++) {
        (void)kill(pids[i], SIGKILL);
        (void)waitpid(pids[i], NULL, 0);
    }
    return system(config) != 0;
}
