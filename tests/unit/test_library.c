/* SPDX-License-Identifier: Apache-2.0 */
/* libpoolmgr in a host that has nothing but poll() (LIB-1). Its engine is a thread of the test that answers 200. */
#include <arpa/inet.h>
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "poolmgr/poolmgr.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/time.h"

#define WAIT_MS 20000

struct host {
    char folder[32];
    struct poolmgr *mgr;
    int listen_fd, port;
    pthread_t engine;
    unsigned n_events, n_ready, n_lost, n_stopped, n_done;
    struct poolmgr_lease lost;
    int why, done_code, dispatch_in_callback;
};

/* ---- an engine of somebody else ------------------------------------------------------------------------ */

static void *serve(void *ctx)
{
    static const char answer[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    int listen_fd = *(int *)ctx, fd;
    char request[1024];

    while ((fd = accept(listen_fd, NULL, NULL)) >= 0) {
        if (recv(fd, request, sizeof(request), 0) > 0)
            (void)!send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL);
        (void)close(fd);
    }
    return NULL;
}

static void start_engine(struct host *host)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(address);

    host->listen_fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(host->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(host->listen_fd, 16), 0);
    assert_int_equal(getsockname(host->listen_fd, (struct sockaddr *)&address, &n), 0);
    host->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&host->engine, NULL, serve, &host->listen_fd), 0);
}

static void stop_engine(struct host *host)
{
    if (host->listen_fd < 0)
        return;
    (void)shutdown(host->listen_fd, SHUT_RDWR); /* accept() ends */
    (void)pthread_join(host->engine, NULL);
    (void)close(host->listen_fd);
    host->listen_fd = -1;
}

/* ---- a host ---------------------------------------------------------------------------------------------- */

static void on_event(void *ctx, const struct poolmgr_event *event)
{
    struct host *host = ctx;

    host->n_events++;
    assert_int_equal(event->json[0], '{');
    host->n_ready += strcmp(event->name, "instance_ready") == 0;
    host->dispatch_in_callback = poolmgr_dispatch(host->mgr);
}

static void on_lease_lost(void *ctx, const struct poolmgr_lease *lease,
                          const struct poolmgr_error *why)
{
    struct host *host = ctx;

    host->n_lost++;
    host->lost = *lease;
    host->why = why->code;
}

static void on_stopped(void *ctx)
{
    ((struct host *)ctx)->n_stopped++;
}

static void on_done(void *ctx, const struct poolmgr_error *error)
{
    struct host *host = ctx;

    host->n_done++;
    host->done_code = error ? error->code : 0;
}

static int make_manager(struct host *host, const char *more, struct poolmgr_error *err)
{
    char text[512];
    const struct poolmgr_options options = {
        .size = sizeof(options),
        .config_text = text,
        .config_folder = host->folder,
        .shim_path = "/nowhere/pool-shim",
        .ctx = host,
        .on_event = on_event,
        .on_lease_lost = on_lease_lost,
        .on_stopped = on_stopped,
    };

    (void)snprintf(text, sizeof(text),
                   "runtime_dir: %s/run\nstate_dir: %s/state\nlog_dir: %s/log\n%s", host->folder,
                   host->folder, host->folder, more);
    return poolmgr_new(&options, &host->mgr, err);
}

static struct host *make_host(const char *more)
{
    struct host *host = calloc(1, sizeof(*host));
    struct poolmgr_error err = {0};

    assert_non_null(host);
    host->listen_fd = -1;
    (void)snprintf(host->folder, sizeof(host->folder), "/tmp/pmt-lib-XXXXXX");
    assert_non_null(mkdtemp(host->folder));
    if (make_manager(host, more, &err) < 0)
        fail_msg("%s", err.message);
    return host;
}

static void free_host(struct host *host)
{
    struct poolmgr_error err = {0};

    poolmgr_free(host->mgr);
    stop_engine(host);
    assert_int_equal(pm_remove_tree(host->folder, &err), 0);
    free(host);
}

/* Polls the one descriptor and dispatches until *counter has reached n. */
static void run_until(struct host *host, const unsigned *counter, unsigned n)
{
    uint64_t until_ms = pm_monotonic_ms() + WAIT_MS;
    struct pollfd fd = {.fd = poolmgr_fd(host->mgr), .events = POLLIN};

    while (*counter < n) {
        if (pm_monotonic_ms() > until_ms)
            fail_msg("it did not come in time");
        if (poll(&fd, 1, WAIT_MS) > 0)
            assert_int_equal(poolmgr_dispatch(host->mgr), POOLMGR_OK);
    }
}

static int hand_over(struct host *host, const char *more)
{
    struct poolmgr_error err = {0};
    char text[512];
    int n = snprintf(text, sizeof(text),
                     "{\"version\":1,\"pool\":\"far\",\"engine\":\"vllm\",\"endpoint\":"
                     "\"http://127.0.0.1:%d\",\"model\":\"theirs\",\"slots\":2%s}",
                     host->port, more);

    return poolmgr_register_ready_from_handoff(host->mgr, text, (size_t)n, on_done, host, &err);
}

static struct host *make_ready_host(void)
{
    struct host *host = make_host("");

    start_engine(host);
    assert_int_equal(hand_over(host, ""), POOLMGR_OK);
    run_until(host, &host->n_done, 1);
    assert_int_equal(host->done_code, 0);
    return host;
}

static struct poolmgr_pool look(struct host *host, const char *id)
{
    struct poolmgr_pool pool = {.size = sizeof(pool)};
    struct poolmgr_error err = {0};

    assert_int_equal(poolmgr_pool_find(host->mgr, id, &pool, &err), POOLMGR_OK);
    return pool;
}

static int acquire(struct host *host, const char *id, struct poolmgr_lease *ret)
{
    struct poolmgr_error err = {0};
    int r = poolmgr_lease_acquire(host->mgr, id, ret, &err);

    assert_int_equal(err.code, r);
    assert_true(r == 0 || err.message[0] != '\0');
    return r;
}

/* ---- the guest's manners ------------------------------------------------------------------------------------- */

static unsigned n_threads(void)
{
    DIR *dir = opendir("/proc/self/task");
    struct dirent *entry;
    unsigned n = 0;

    while ((entry = readdir(dir)))
        n += entry->d_name[0] != '.';
    (void)closedir(dir);
    return n;
}

static void *nothing(void *ctx)
{
    return ctx;
}

/* A sanitizer starts a thread of its own with the first one: it shall be there before we count. */
static unsigned n_threads_before(void)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, nothing, NULL), 0);
    (void)pthread_join(thread, NULL);
    (void)poll(NULL, 0, 50); /* the kernel may list it a moment longer */
    return n_threads();
}

static void ignore(int signo)
{
    (void)signo;
}

/* A signal to the process that this thread blocks waits, unless another thread takes it. */
static void assert_nobody_takes(int signo)
{
    const struct timespec now = {0};
    struct sigaction action = {.sa_handler = ignore}, before;
    sigset_t set, mask;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, signo);
    (void)sigaction(signo, &action, &before);
    (void)pthread_sigmask(SIG_BLOCK, &set, &mask);
    assert_int_equal(kill(getpid(), signo), 0);
    (void)poll(NULL, 0, 50);
    assert_int_equal(sigtimedwait(&set, NULL, &now), signo);
    (void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
    (void)sigaction(signo, &before, NULL);
}

static void test_it_changes_nothing_of_its_host_LIB_1(void **state)
{
    const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD, SIGALRM, SIGRTMIN};
    static struct sigaction before[NSIG], after[NSIG];
    sigset_t mask_before, mask_after;
    unsigned threads = n_threads_before();
    int reaper = -1;
    struct host *host;

    (void)state;
    for (int i = 1; i < NSIG; i++)
        (void)sigaction(i, NULL, &before[i]);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &mask_before);
    host = make_host("");
    for (int i = 0; i < 3; i++)
        assert_int_equal(poolmgr_dispatch(host->mgr), POOLMGR_OK);
    for (int i = 1; i < NSIG; i++) {
        (void)sigaction(i, NULL, &after[i]);
        assert_true(before[i].sa_handler == after[i].sa_handler);
    }
    (void)pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
    for (int i = 1; i < NSIG; i++)
        assert_int_equal(sigismember(&mask_before, i), sigismember(&mask_after, i));
    assert_int_equal(prctl(PR_GET_CHILD_SUBREAPER, &reaper), 0);
    assert_int_equal(reaper, 0);
    assert_int_equal(n_threads(), threads + 1);
    for (size_t i = 0; i < PM_ARRAY_LEN(signals); i++)
        assert_nobody_takes(signals[i]);
    free_host(host);
    (void)poll(NULL, 0, 50);
    assert_int_equal(n_threads(), threads);
}

static void test_with_nothing_to_do_it_does_not_wake_its_host_LIB_1(void **state)
{
    struct host *host = make_host("pools: { fox: { model: /nowhere/fox.gguf } }");
    struct pollfd fd = {.fd = poolmgr_fd(host->mgr), .events = POLLIN};

    (void)state;
    while (poll(&fd, 1, 100) > 0)
        assert_int_equal(poolmgr_dispatch(host->mgr), POOLMGR_OK);
    assert_int_equal(poll(&fd, 1, 1500), 0);
    free_host(host);
}

static void test_timers_are_in_its_one_descriptor_LIB_1(void **state)
{
    struct host *host = make_ready_host();
    uint64_t version = poolmgr_snapshot_version(host->mgr), until_ms = pm_monotonic_ms() + WAIT_MS;
    struct pollfd fd = {.fd = poolmgr_fd(host->mgr), .events = POLLIN};

    (void)state;
    /* A probe is due after two seconds: nobody but the descriptor says so. */
    while (poolmgr_snapshot_version(host->mgr) == version) {
        assert_true(pm_monotonic_ms() < until_ms);
        assert_true(poll(&fd, 1, WAIT_MS) > 0);
        assert_int_equal(poolmgr_dispatch(host->mgr), POOLMGR_OK);
    }
    free_host(host);
}

static void test_what_makes_no_sense_is_refused_and_makes_nothing_LIB_1(void **state)
{
    struct poolmgr_options options = {.size = sizeof(options)};
    struct host *host = make_host(""), *second = calloc(1, sizeof(*second));
    struct poolmgr_error err = {0};
    struct poolmgr *mgr = NULL;

    (void)state;
    assert_int_equal(poolmgr_new(&options, &mgr, &err), POOLMGR_E_INVALID_REQUEST);
    options.config_text = "x: 1";
    options.config_path = "/nowhere";
    assert_int_equal(poolmgr_new(&options, &mgr, &err), POOLMGR_E_INVALID_REQUEST);
    options.config_path = NULL;
    assert_int_equal(poolmgr_new(&options, &mgr, &err), POOLMGR_E_INVALID_REQUEST);
    options.shim_path = "/nowhere/pool-shim";
    assert_int_equal(poolmgr_new(&options, &mgr, &err), POOLMGR_E_CONFIG_INVALID);
    assert_non_null(strstr(err.message, "config_text:1:1"));
    assert_null(mgr);

    memcpy(second->folder, host->folder, sizeof(host->folder));
    assert_int_equal(make_manager(second, "handoff_dir: /proc\n", &err), POOLMGR_E_CONFIG_INVALID);
    assert_null(second->mgr);
    free(second);
    free_host(host);
}

/* ---- leases ----------------------------------------------------------------------------------------------- */

static void test_acquire_tells_apart_why_there_is_no_slot_LEASE_1(void **state)
{
    struct host *host = make_ready_host();
    struct poolmgr_lease first, second, none = {0, 0}, copy;

    (void)state;
    poolmgr_free(host->mgr);
    stop_engine(host);
    {
        struct poolmgr_error err = {0};

        assert_int_equal(make_manager(host, "pools: { fox: { model: /nowhere/fox.gguf } }\n", &err),
                         0);
    }
    start_engine(host);
    assert_int_equal(hand_over(host, ""), POOLMGR_OK);
    run_until(host, &host->n_done, 2);

    assert_int_equal(acquire(host, "nobody", &none), POOLMGR_E_NOT_FOUND);
    assert_int_equal(acquire(host, "fox", &none), POOLMGR_E_NOT_READY);
    assert_string_equal(look(host, "fox").state, "cold"); /* asking starts nothing */
    assert_int_equal(none.id, 0);

    assert_int_equal(acquire(host, "far", &first), POOLMGR_OK);
    assert_int_equal(acquire(host, "far", &second), POOLMGR_OK);
    assert_int_equal(acquire(host, "far", &none), POOLMGR_E_NO_CAPACITY);
    assert_int_equal(look(host, "far").active_leases, 2);
    assert_int_equal(look(host, "far").queue_depth, 0);

    copy = first;
    poolmgr_lease_release(host->mgr, &first, POOLMGR_RELEASE_DONE);
    poolmgr_lease_release(host->mgr, &copy, POOLMGR_RELEASE_DONE); /* twice is harmless */
    poolmgr_lease_release(host->mgr, &none, POOLMGR_RELEASE_DONE);
    assert_int_equal(look(host, "far").active_leases, 1);

    poolmgr_shutdown(host->mgr, 0);
    assert_int_not_equal(acquire(host, "far", &none), POOLMGR_OK);
    assert_int_equal(host->n_stopped, 0);
    poolmgr_lease_release(host->mgr, &second, POOLMGR_RELEASE_DONE);
    run_until(host, &host->n_stopped, 1);
    free_host(host);
}

static void test_a_lease_says_where_its_engine_is(void **state)
{
    struct poolmgr_endpoint where = {.size = sizeof(where)};
    struct host *host = make_ready_host();
    struct poolmgr_error err = {0};
    struct poolmgr_lease lease;
    char url[64];

    (void)state;
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d", host->port);
    assert_int_equal(acquire(host, "far", &lease), POOLMGR_OK);
    assert_int_equal(poolmgr_lease_endpoint(host->mgr, &lease, &where, &err), POOLMGR_OK);
    assert_string_equal(where.url, url);
    assert_string_equal(where.model_name, "theirs");
    assert_string_equal(where.pool_id, "far");
    poolmgr_lease_touch(host->mgr, &lease);
    poolmgr_lease_release(host->mgr, &lease, POOLMGR_RELEASE_UNUSED);
    assert_int_equal(poolmgr_lease_endpoint(host->mgr, &lease, &where, &err), POOLMGR_E_NOT_FOUND);
    free_host(host);
}

static void test_a_lease_of_an_engine_that_went_is_told_and_releases_nothing_LEASE_1(void **state)
{
    struct host *host = make_ready_host();
    struct poolmgr_lease lease;

    (void)state;
    assert_int_equal(acquire(host, "far", &lease), POOLMGR_OK);
    stop_engine(host);
    run_until(host, &host->n_lost, 1);
    assert_int_equal(host->lost.id, lease.id);
    assert_int_equal(host->why, POOLMGR_E_ENGINE_CRASHED);
    poolmgr_lease_release(host->mgr, &lease, POOLMGR_RELEASE_DONE);
    assert_int_equal(look(host, "far").active_leases, 0);
    assert_int_equal(acquire(host, "far", &lease), POOLMGR_E_NOT_READY);
    assert_string_equal(look(host, "far").code, "engine_gone");
    free_host(host);
}

/* ---- handoffs, events, growing structs ------------------------------------------------------------------------ */

static void test_a_bad_handoff_is_refused_by_the_call_and_a_dead_engine_by_its_callback_REG_4(
    void **state)
{
    struct host *host = make_host("");

    (void)state;
    assert_int_equal(hand_over(host, ",\"gpu\":1"), POOLMGR_E_INVALID_REQUEST);
    start_engine(host);
    stop_engine(host);
    assert_int_equal(hand_over(host, ""), POOLMGR_OK);
    run_until(host, &host->n_done, 1);
    assert_int_equal(host->done_code, POOLMGR_E_ENGINE_GONE);
    assert_int_equal(poolmgr_n_pools(host->mgr), 0);
    assert_int_equal(hand_over(host, ""), POOLMGR_OK); /* freed before its answer */
    free_host(host);
}

static void test_callbacks_may_call_anything_but_dispatch(void **state)
{
    struct host *host = make_ready_host();

    (void)state;
    run_until(host, &host->n_ready, 1);
    assert_int_equal(host->dispatch_in_callback, POOLMGR_E_CONFLICT);
    assert_true(host->n_events >= 3);
    free_host(host);
}

static void test_an_older_host_gets_what_it_has_room_for(void **state)
{
    struct host *host = make_ready_host();
    struct poolmgr_pool pool;

    (void)state;
    memset(&pool, 0x5a, sizeof(pool));
    pool.size = offsetof(struct poolmgr_pool, state);
    assert_int_equal(poolmgr_pool_at(host->mgr, 0, &pool), POOLMGR_OK);
    assert_string_equal(pool.id, "far");
    assert_string_equal(pool.owner, "handoff");
    assert_int_equal(pool.size, offsetof(struct poolmgr_pool, state));
    assert_int_equal(((unsigned char *)&pool)[pool.size], 0x5a);
    assert_int_equal(poolmgr_pool_at(host->mgr, 1, &pool), POOLMGR_E_NOT_FOUND);
    free_host(host);
}

/* Dispatches until the operation has ended. */
static struct poolmgr_operation wait_for(struct host *host, uint64_t id)
{
    struct poolmgr_operation op = {.size = sizeof(op)};
    uint64_t until_ms = pm_monotonic_ms() + WAIT_MS;
    struct poolmgr_error err = {0};

    for (;;) {
        struct pollfd fd = {.fd = poolmgr_fd(host->mgr), .events = POLLIN};

        assert_int_equal(poolmgr_operation_find(host->mgr, id, &op, &err), POOLMGR_OK);
        if (strcmp(op.state, "running") != 0)
            return op;
        assert_true(pm_monotonic_ms() < until_ms);
        assert_true(poll(&fd, 1, WAIT_MS) > 0);
        assert_int_equal(poolmgr_dispatch(host->mgr), POOLMGR_OK);
    }
}

static void test_a_drain_holds_until_it_is_undone_DRAIN_2(void **state)
{
    const struct poolmgr_drain_options options = {.size = sizeof(options), .deadline_ms = 0};
    struct host *host = make_ready_host();
    struct poolmgr_operation op;
    struct poolmgr_error err = {0};
    struct poolmgr_lease lease;
    uint64_t id;

    (void)state;
    assert_int_equal(acquire(host, "far", &lease), POOLMGR_OK);
    assert_int_equal(poolmgr_drain(host->mgr, "nobody", NULL, &id, &err), POOLMGR_E_NOT_FOUND);
    assert_int_equal(poolmgr_drain(host->mgr, "far", &options, &id, &err), POOLMGR_OK);
    op = wait_for(host, id);
    assert_string_equal(op.kind, "drain");
    assert_string_equal(op.state, "succeeded");
    assert_true(op.accepted && op.forced && op.n_leases_left == 1);
    run_until(host, &host->n_lost, 1);
    assert_int_equal(host->why, POOLMGR_E_DRAINING);
    assert_int_equal(acquire(host, "far", &lease), POOLMGR_E_DISABLED);
    assert_int_equal(poolmgr_resume(host->mgr, "far", &id, &err), POOLMGR_OK);
    assert_string_equal(wait_for(host, id).state, "succeeded");
    assert_int_equal(acquire(host, "far", &lease), POOLMGR_OK);
    free_host(host);
}

static void test_a_reload_that_fails_changes_nothing_RELOAD_1(void **state)
{
    static const char good[] = "{\"model\":\"/nowhere/other.gguf\",\"slots\":1}";
    struct host *host = make_host("pools: { fox: { model: /nowhere/fox.gguf } }");
    struct poolmgr_operation op;
    struct poolmgr_error err = {0};
    uint64_t id;

    (void)state;
    assert_int_equal(poolmgr_reload(host->mgr, "fox", "[]", 2, &id, &err),
                     POOLMGR_E_INVALID_REQUEST);
    assert_int_equal(poolmgr_reload(host->mgr, "fox", "{\"slotz\":1}", 11, &id, &err),
                     POOLMGR_E_CONFIG_INVALID);
    assert_int_equal(poolmgr_reload(host->mgr, "nobody", NULL, 0, &id, &err), POOLMGR_E_NOT_FOUND);
    assert_int_equal(poolmgr_reload(host->mgr, "fox", good, sizeof(good) - 1, &id, &err),
                     POOLMGR_OK);
    op = wait_for(host, id);
    assert_string_equal(op.kind, "reload");
    assert_string_equal(op.state, "failed");
    assert_int_equal(op.error.code, POOLMGR_E_MODEL_MISSING);
    assert_int_equal(look(host, "fox").slots_total, 4);
    free_host(host);
}

static void test_commands_are_the_manager_s(void **state)
{
    struct poolmgr_operation op;
    struct host *host = make_host("pools: { fox: { model: /nowhere/fox.gguf } }");
    struct poolmgr_error err = {0};
    uint64_t id = 0;

    (void)state;
    assert_int_equal(poolmgr_start(host->mgr, "nobody", &id, &err), POOLMGR_E_NOT_FOUND);
    assert_int_equal(poolmgr_start(host->mgr, "fox", &id, &err), POOLMGR_OK);
    op = wait_for(host, id);
    assert_string_equal(op.kind, "start");
    assert_string_equal(op.state, "failed");
    assert_int_equal(op.error.code, POOLMGR_E_POOL_FAILED);
    assert_int_equal(poolmgr_reset(host->mgr, "fox", &err), POOLMGR_OK);
    assert_string_equal(look(host, "fox").state, "cold");
    assert_int_equal(poolmgr_stop(host->mgr, "fox", POOLMGR_DEADLINE_DEFAULT, NULL, &err),
                     POOLMGR_OK);
    poolmgr_leave(host->mgr);
    run_until(host, &host->n_stopped, 1);
    free_host(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_changes_nothing_of_its_host_LIB_1),
        cmocka_unit_test(test_with_nothing_to_do_it_does_not_wake_its_host_LIB_1),
        cmocka_unit_test(test_timers_are_in_its_one_descriptor_LIB_1),
        cmocka_unit_test(test_what_makes_no_sense_is_refused_and_makes_nothing_LIB_1),
        cmocka_unit_test(test_acquire_tells_apart_why_there_is_no_slot_LEASE_1),
        cmocka_unit_test(test_a_lease_says_where_its_engine_is),
        cmocka_unit_test(test_a_lease_of_an_engine_that_went_is_told_and_releases_nothing_LEASE_1),
        cmocka_unit_test(
            test_a_bad_handoff_is_refused_by_the_call_and_a_dead_engine_by_its_callback_REG_4),
        cmocka_unit_test(test_callbacks_may_call_anything_but_dispatch),
        cmocka_unit_test(test_an_older_host_gets_what_it_has_room_for),
        cmocka_unit_test(test_a_drain_holds_until_it_is_undone_DRAIN_2),
        cmocka_unit_test(test_a_reload_that_fails_changes_nothing_RELOAD_1),
        cmocka_unit_test(test_commands_are_the_manager_s),
    };

    return cmocka_run_group_tests_name("library", tests, NULL, NULL);
}
