/* SPDX-License-Identifier: Apache-2.0 */
/* The pure pieces of the control API: routes, targets, queries, the guard, shapes, metrics, and docs that are current. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/guard.h"
#include "api/internal.h"
#include "api/metrics.h"
#include "api/query.h"
#include "api/routes.h"
#include "api/shapes.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/str.h"
#include "util/time.h"

static struct pm_slice slice(const char *text)
{
    return (struct pm_slice){text, strlen(text)};
}

/* ---- routes ----------------------------------------------------------------------------------------- */

static void assert_route(enum pm_http_method method, const char *path, const char *pattern,
                         const char *arg)
{
    struct pm_route_match found;

    pm_route_find(path, method, &found);
    if (!pattern) {
        assert_null(found.route);
        return;
    }
    assert_non_null(found.route);
    assert_string_equal(found.route->pattern, pattern);
    assert_int_equal(found.args[0].n, strlen(arg));
    assert_memory_equal(found.args[0].p ? found.args[0].p : "", arg, strlen(arg));
}

static void test_a_path_finds_its_route_and_arguments(void **state)
{
    (void)state;
    assert_route(PM_GET, "/", "/", "");
    assert_route(PM_GET, "/v1/pools", "/v1/pools", "");
    assert_route(PM_GET, "/v1/pools/a.b-c", "/v1/pools/{id}", "a.b-c");
    assert_route(PM_POST, "/v1/pools/m/start", "/v1/pools/{id}/start", "m");
    assert_route(PM_GET, "/v1/models/org/name", "/v1/models/{name...}", "org/name");
    assert_route(PM_HEAD, "/v1/models", "/v1/models", "");
    assert_route(PM_POST, "/upstream/m/x/y", "/upstream/{pool}/{path...}", "m");
    assert_route(PM_DELETE, "/v1/pools/m", "/v1/pools/{id}", "m");
}

/* H-16 g to m: what looks nearly like a route is none. */
static void test_case_slashes_and_semicolons_make_other_paths(void **state)
{
    static const char *const paths[] = {
        "//v1/models",  "/v1//models",  "/V1/models", "/v1/models/",   "/v1;a/models", "/v1/pools/",
        "/v1/pools//x", "/v1/pools/m/", "/v1",        "/v1/pools/m/x", "/v1/modelsx",  ""};

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(paths); i++)
        assert_route(PM_GET, paths[i], NULL, NULL);
}

static void test_a_known_path_with_another_method_tells_what_it_takes(void **state)
{
    struct pm_route_match found;
    char allow[64];

    (void)state;
    pm_route_find("/v1/models", PM_POST, &found);
    assert_null(found.route);
    assert_string_equal(pm_route_allow(found.allowed, allow, sizeof(allow)), "GET, HEAD, OPTIONS");
    pm_route_find("/v1/chat/completions", PM_PUT, &found);
    assert_null(found.route);
    assert_string_equal(pm_route_allow(found.allowed, allow, sizeof(allow)), "POST, OPTIONS");
    pm_route_find("/nope", PM_GET, &found);
    assert_int_equal(found.allowed, 0);
}

static void test_no_two_routes_have_a_method_and_a_path_in_common(void **state)
{
    (void)state;
    for (size_t i = 0; i < pm_n_routes; i++) {
        struct pm_route_match found;

        assert_true(pm_routes[i].help && *pm_routes[i].help);
        assert_true((pm_routes[i].kind == PM_ROUTE_API) == (pm_routes[i].handler != NULL));
        for (unsigned m = 0; m < PM_METHOD_COUNT; m++) {
            if (!(pm_routes[i].methods & PM_METHOD(m)))
                continue;
            pm_route_find(pm_routes[i].pattern, (enum pm_http_method)m, &found);
            assert_ptr_equal(found.route, &pm_routes[i]);
        }
    }
}

/* H-16, P-11 */
static void test_a_target_is_decoded_once_and_names_may_have_slashes(void **state)
{
    static const struct {
        const char *target;
        int verdict;
        const char *path;
    } rows[] = {
        {"/v1/%6dodels", 0, "/v1/models"},
        {"/v1/models?x=%zz", 0, "/v1/models"},
        {"/v1/models/org%2Fna%20me", 0, "/v1/models/org/na me"},
        {"/v1/models/org/name", 0, "/v1/models/org/name"},
        {"/v1/models/https%3A%2F%2Fx", 0, "/v1/models/https://x"},
        {"/v1/models/a%2Fb?q=/x", 0, "/v1/models/a/b"},
        {"/%76%31/models/a%2fb", 0, "/v1/models/a/b"},
        {"/v1/models/a%252Fb", 0, "/v1/models/a%2Fb"},
        {"/v1/../v1/pools", -400, NULL},
        {"/v1/%2e%2e/pools", -400, NULL},
        {"/v1/models/%00", -400, NULL},
        {"/v1/models/a%2Fb%00", -400, NULL},
        {"/v1/models/a%2Fb%zz", -400, NULL},
        {"/v1/models/%4", -400, NULL},
        {"/v1/models/a%2Fb/../c", -400, NULL},
        {"/v1%2Fmodels", -404, NULL},
        {"/v1%2Fmodels/x%2Fy", -404, NULL},
        {"/v1/pools/a%2Fb", -404, NULL},
        {"//v1/models", -404, NULL},
        {"/v1//models", -404, NULL},
    };

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        char path[PM_HTTP_TARGET_MAX + 1];
        struct pm_slice query;

        assert_int_equal(pm_api_decode_target(slice(rows[i].target), path, sizeof(path), &query),
                         rows[i].verdict);
        if (rows[i].path)
            assert_string_equal(path, rows[i].path);
    }
}

/* ---- queries ---------------------------------------------------------------------------------------- */

static const struct pm_query_key some_keys[] = {
    {"tail", "integer", ""}, {"wait", "duration", ""}, {"follow", "boolean", ""}, {0}};

static void assert_query_fails(const char *text, const char *param)
{
    struct poolmgr_error err = {0};
    struct pm_query query;

    assert_int_equal(pm_query_parse(slice(text), some_keys, &query, &err),
                     POOLMGR_E_INVALID_REQUEST);
    assert_string_equal(err.param, param);
}

/* H-24 g to i */
static void test_a_query_with_a_key_twice_or_unknown_or_broken_is_refused(void **state)
{
    struct poolmgr_error err = {0};
    struct pm_query query;

    (void)state;
    assert_query_fails("tail=1&tail=2", "tail");
    assert_query_fails("tail=1&t%61il=2", "tail");
    assert_query_fails("wiat=3s", "wiat");
    assert_query_fails("tail=%zz", "tail");
    assert_query_fails("tail=%00", "tail");
    assert_int_equal(pm_query_parse(slice("{}^\"<>[]|&x&=&"), NULL, &query, &err), 0);
    pm_query_fini(&query);
    assert_int_equal(pm_query_parse(slice("a=1&a=1"), NULL, &query, &err),
                     POOLMGR_E_INVALID_REQUEST);
}

static void test_values_of_a_query_are_checked(void **state)
{
    struct poolmgr_error err = {0};
    struct pm_query query;
    uint64_t number = 7, ms = 9;
    bool flag = true;

    (void)state;
    assert_int_equal(
        pm_query_parse(slice("tail=-1&wait=1e9&follow=maybe"), some_keys, &query, &err), 0);
    assert_int_equal(pm_query_uint(&query, "tail", 100, &number, &err), POOLMGR_E_INVALID_REQUEST);
    assert_string_equal(err.param, "tail");
    assert_int_equal(pm_query_duration(&query, "wait", &ms, &err), POOLMGR_E_INVALID_REQUEST);
    assert_string_equal(err.param, "wait");
    assert_int_equal(pm_query_flag(&query, "follow", &flag, &err), POOLMGR_E_INVALID_REQUEST);
    assert_int_equal(number, 7);
    pm_query_fini(&query);

    assert_int_equal(pm_query_parse(slice("tail=5&wait=30s&follow=0"), some_keys, &query, &err), 0);
    assert_int_equal(pm_query_uint(&query, "tail", 100, &number, &err), 0);
    assert_int_equal(pm_query_duration(&query, "wait", &ms, &err), 0);
    assert_int_equal(pm_query_flag(&query, "follow", &flag, &err), 0);
    assert_int_equal(number, 5);
    assert_int_equal(ms, 30000);
    assert_false(flag);
    pm_query_fini(&query);
}

/* ---- control bodies --------------------------------------------------------------------------------- */

/* H-78, H-82 in so far as bodies exist */
static void test_control_bodies_are_parsed_strictly(void **state)
{
    static const char *const bad[] = {
        "[]",
        "null",
        "\"x\"",
        "5",
        "{\"breaker\":1,\"breaker\":1}",
        "{\"nope\":1}",
        "{} x",
        "{}{}",
        "{",
        "{\"breaker\":\"\\u0000\"}",
        "\xef\xbb\xbf{}",
        "{'breaker':1}",
        " ",
    };
    struct poolmgr_error err = {0};
    char deep[3000 + 16] = "{\"breaker\":";
    json_t *body;

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(bad); i++)
        assert_int_equal(pm_parse_control_body(bad[i], strlen(bad[i]), "breaker", &body, &err),
                         POOLMGR_E_INVALID_REQUEST);
    assert_int_equal(pm_parse_control_body("{\"breaker\":1\0}", 14, "breaker", &body, &err),
                     POOLMGR_E_INVALID_REQUEST);
    assert_int_equal(pm_parse_control_body("{}\0", 3, "breaker", &body, &err),
                     POOLMGR_E_INVALID_REQUEST);
    memset(deep + strlen(deep), '[', 3000);
    assert_int_equal(pm_parse_control_body(deep, strlen(deep), "breaker", &body, &err),
                     POOLMGR_E_INVALID_REQUEST);

    assert_int_equal(pm_parse_control_body("{\"nope\":1}", 10, "breaker", &body, &err),
                     POOLMGR_E_INVALID_REQUEST);
    assert_string_equal(err.param, "nope");
    assert_int_equal(pm_parse_control_body("", 0, "", &body, &err), 0);
    json_decref(body);
    assert_int_equal(
        pm_parse_control_body("{\"breaker\":\"closed\"}", 20, "x breaker", &body, &err), 0);
    json_decref(body);
}

/* ---- the guard -------------------------------------------------------------------------------------- */

static int guarded(const char *more, bool is_unix, bool open_host)
{
    struct pm_strv listen = {0}, allowed = {0};
    struct pm_guard guard = {&listen, &allowed, is_unix, open_host};
    char text[512];
    struct pm_http_scan scan = {0};
    struct pm_http_head head;
    struct poolmgr_error err = {0};
    int r;

    pm_strv_add(&listen, "0.0.0.0:8080");
    pm_strv_add(&listen, "192.168.7.1:8080");
    pm_strv_add(&listen, "unix:/run/evil.sock");
    pm_strv_add(&allowed, "gpu.example");
    (void)snprintf(text, sizeof(text), "GET /v1/models HTTP/1.%d\r\n%s\r\n",
                   strcasestr(more, "host:") ? 1 : 0, more);
    assert_true(pm_http_parse_request(text, strlen(text), &scan, &head) > 0);
    r = pm_guard_check(&guard, &head, &err);
    pm_strv_fini(&listen);
    pm_strv_fini(&allowed);
    return r;
}

/* P-09 */
static void test_hosts_of_this_machine_pass(void **state)
{
    static const char *const good[] = {
        "localhost",  "LOCALHOST:8080", "127.0.0.1",   "127.8.9.10:1",  "[::1]:8080",
        "localhost:", "192.168.7.1:80", "gpu.example", "GPU.example:1",
    };

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(good); i++) {
        char line[64];

        (void)snprintf(line, sizeof(line), "Host: %s\r\n", good[i]);
        assert_int_equal(guarded(line, false, false), 0);
    }
    assert_int_equal(guarded("", false, false), 0); /* HTTP/1.0 */
}

/* H-22 a to d */
static void test_foreign_hosts_are_refused_but_on_sockets_and_health_routes(void **state)
{
    static const char *const bad[] = {
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "0.0.0.0:8080",
        "127.1",
        "128.0.0.1",
        "unix",
        "gpu.example.evil",
    };

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(bad); i++) {
        char line[64];

        (void)snprintf(line, sizeof(line), "Host: %s\r\n", bad[i]);
        assert_int_equal(guarded(line, false, false), POOLMGR_E_ORIGIN_REFUSED);
        assert_int_equal(guarded(line, true, false), 0);
        assert_int_equal(guarded(line, false, true), 0);
    }
}

/* H-22 e to k, P-09 */
static void test_only_pages_of_ours_may_ask(void **state)
{
    static const char *const bad[] = {
        "Host: localhost\r\nOrigin: http://evil.example\r\n",
        "Host: localhost\r\nOrigin: null\r\n",
        "Host: localhost\r\nOrigin: http://localhost.evil.example\r\n",
        "Host: localhost\r\nOrigin: http://localhost:3000\r\n",
        "Host: localhost\r\nOrigin: http://localhost\r\nOrigin: http://localhost\r\n",
        "Host: localhost\r\nOrigin: ftp://localhost\r\n",
        "Host: localhost\r\nOrigin: localhost\r\n",
        "Host: localhost\r\nOrigin:\r\n",
        "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n",
        "Host: localhost\r\nSec-Fetch-Site: same-site\r\n",
    };
    static const char *const good[] = {
        "Host: localhost:8080\r\nOrigin: http://localhost:8080\r\n",
        "Host: 127.0.0.1:8080\r\nOrigin: http://127.0.0.1:8080\r\n",
        "Host: gpu.example\r\nOrigin: https://gpu.example\r\n",
        "Host: localhost\r\nSec-Fetch-Mode: cors\r\n",
        "Host: localhost\r\nSec-Fetch-Site: none\r\n",
        "Host: localhost\r\nSec-Fetch-Site: same-origin\r\n",
    };

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(bad); i++) {
        assert_int_equal(guarded(bad[i], false, false), POOLMGR_E_ORIGIN_REFUSED);
        assert_int_equal(guarded(bad[i], true, true), POOLMGR_E_ORIGIN_REFUSED);
    }
    for (size_t i = 0; i < PM_ARRAY_LEN(good); i++)
        assert_int_equal(guarded(good[i], false, false), 0);
    /* A name that only says it is us, over a way where Host is not checked. */
    assert_int_equal(guarded("Host: evil\r\nOrigin: http://evil\r\n", true, false),
                     POOLMGR_E_ORIGIN_REFUSED);
}

/* ---- shapes ----------------------------------------------------------------------------------------- */

static void assert_shape(json_t *value, const char *expected)
{
    char *text = json_dumps(value, JSON_COMPACT);

    assert_string_equal(text, expected);
    free(text);
    json_decref(value);
}

static void test_a_cold_pool_shows_what_is_known_and_nothing_else(void **state)
{
    struct pm_pool_spec *spec = pm_pool_spec_new("m");
    struct pm_clock clock = {.now_ms = 5000, .wall_ms = 1769860804117};
    struct pm_replica_view replica = {.state = PM_COLD};
    struct pm_pool_view view = {
        .spec = spec, .state = PM_COLD, .code_name = "cold", .n_replicas = 1, .since_ms = 4000};

    (void)state;
    free(spec->text);
    spec->text = pm_xstrdup("{\"slots\":4}");
    free(spec->engine);
    spec->engine = pm_xstrdup("llama");
    free(spec->devices);
    spec->devices = pm_xstrdup("cpu");
    (void)pm_str_copy(view.reason, sizeof(view.reason), "starts with the first request");
    assert_shape(
        pm_pool_json(&view, &replica, &clock),
        "{\"id\":\"m\",\"owner\":\"file\",\"intent\":\"enabled\",\"state\":\"cold\",\"aliases\":[],"
        "\"start\":\"on-demand\",\"devices\":\"cpu\",\"model\":{},\"engine\":{\"name\":\"llama\"},"
        "\"health\":{\"live\":false,\"ready\":false,\"draining\":false,\"consecutive_failures\":0,"
        "\"code\":\"cold\",\"reason\":\"starts with the first request\"},\"slots_total\":0,"
        "\"slots_free\":0,\"active_leases\":0,\"queue_depth\":0,"
        "\"since_at\":\"2026-01-31T12:00:03.117Z\",\"config_drift\":false,\"spec\":{\"slots\":4},"
        "\"replicas\":[{\"index\":0,\"state\":\"cold\",\"slots_total\":0,\"active_leases\":0,"
        "\"restart_count\":0,\"failures_in_a_row\":0,\"breaker\":\"closed\"}]}");
    pm_pool_spec_unref(spec);
}

static void test_a_failed_operation_shows_its_error(void **state)
{
    struct pm_clock clock = {.now_ms = 5000, .wall_ms = 1769860804117};
    struct pm_operation op = {.id = 17,
                              .kind = PM_OP_START,
                              .state = PM_OP_FAILED,
                              .pool_id = "m",
                              .created_ms = 4000,
                              .ended_ms = 5000};

    (void)state;
    (void)pm_fail(&op.error, POOLMGR_E_START_FAILED, "it \xff broke");
    assert_shape(pm_operation_json(&op, &clock),
                 "{\"id\":\"op-17\",\"kind\":\"start\",\"pool_id\":\"m\",\"state\":\"failed\","
                 "\"created_at\":\"2026-01-31T12:00:03.117Z\","
                 "\"ended_at\":\"2026-01-31T12:00:04.117Z\",\"error\":{\"code\":\"start_failed\","
                 "\"message\":\"it \xef\xbf\xbd broke\",\"type\":\"server_error\","
                 "\"retriable\":true,\"pool_id\":\"m\"}}");
}

static void test_operation_ids_are_read_strictly(void **state)
{
    uint64_t id;

    (void)state;
    assert_true(pm_operation_id("op-17", &id));
    assert_int_equal(id, 17);
    assert_false(pm_operation_id("op-", &id));
    assert_false(pm_operation_id("op-017", &id));
    assert_false(pm_operation_id("op-1x", &id));
    assert_false(pm_operation_id("17", &id));
}

/* ---- metrics ---------------------------------------------------------------------------------------- */

static void make_pools(struct pm_metrics_pool *pools, size_t n, struct pm_replica_view *replica,
                       char (*names)[16])
{
    memset(pools, 0, n * sizeof(pools[0]));
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "pool-%zu", i);
        pools[i].id = names[i];
        pools[i].view.n_replicas = 1;
        pools[i].replicas = replica;
    }
}

/* MET-1: gauges exist at 0 */
static void test_a_pool_that_did_nothing_has_its_metrics_at_zero(void **state)
{
    struct pm_metrics_pool pool = {.id = "m"};
    struct pm_metrics metrics = {.version = "1", .pools = &pool, .n_pools = 1};
    pm_auto_buf struct pm_buf out = {0};

    (void)state;
    pm_metrics_write(&metrics, &out);
    assert_non_null(strstr(pm_buf_text(&out), "\npoolmgr_queue_depth{pool=\"m\"} 0\n"));
    assert_non_null(strstr(pm_buf_text(&out), "\npoolmgr_active_leases{pool=\"m\"} 0\n"));
    assert_non_null(strstr(pm_buf_text(&out), "\npoolmgr_tasks_started_total{pool=\"m\"} 0\n"));
    assert_non_null(
        strstr(pm_buf_text(&out),
               "\npoolmgr_latency_first_token_seconds_bucket{pool=\"m\",le=\"+Inf\"} 0\n"));
    assert_non_null(
        strstr(pm_buf_text(&out), "\npoolmgr_pool_state{pool=\"m\",state=\"cold\"} 1\n"));
}

static void test_histograms_add_up_and_labels_are_escaped(void **state)
{
    struct pm_metrics_pool pool = {.id = "a\"b\\c\nd"};
    struct pm_metrics metrics = {.version = "1", .pools = &pool, .n_pools = 1};
    pm_auto_buf struct pm_buf out = {0};

    (void)state;
    pool.gateway.decode.counts[0] = 2;
    pool.gateway.decode.counts[PM_LATENCY_BUCKETS] = 1;
    pool.gateway.decode.sum = 400.5;
    pool.gateway.decode.n = 3;
    pm_metrics_write(&metrics, &out);
    assert_non_null(strstr(pm_buf_text(&out), "poolmgr_latency_decode_seconds_bucket"
                                              "{pool=\"a\\\"b\\\\c\\nd\",le=\"0.005\"} 2\n"));
    assert_non_null(strstr(pm_buf_text(&out), "_bucket{pool=\"a\\\"b\\\\c\\nd\",le=\"300\"} 2\n"));
    assert_non_null(strstr(pm_buf_text(&out), "_bucket{pool=\"a\\\"b\\\\c\\nd\",le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(pm_buf_text(&out), "_sum{pool=\"a\\\"b\\\\c\\nd\"} 400.5\n"));
    assert_non_null(strstr(pm_buf_text(&out), "_count{pool=\"a\\\"b\\\\c\\nd\"} 3\n"));
}

/* What promtool looks for, in so far as text can be checked without it. */
static void test_the_exposition_keeps_prometheus_rules(void **state)
{
    struct pm_replica_view replica = {0};
    struct pm_metrics_pool pools[2];
    char names[2][16];
    struct pm_metrics metrics = {.version = "1", .pools = pools, .n_pools = 2};
    pm_auto_buf struct pm_buf out = {0};
    char *rest, *line, name[128] = "", type[32] = "";

    (void)state;
    make_pools(pools, 2, &replica, names);
    pm_metrics_write(&metrics, &out);
    rest = (char *)(uintptr_t)pm_buf_text(&out);
    assert_int_equal(out.data[out.n - 1], '\n');
    while ((line = strsep(&rest, "\n")) && rest) {
        if (pm_str_starts(line, "# TYPE "))
            assert_int_equal(sscanf(line, "# TYPE %127s %31s", name, type), 2);
        else if (pm_str_starts(line, "# HELP "))
            assert_int_equal(line[strlen(line) - 1], '.');
        else
            assert_true(pm_str_starts(line, name));
        if (strcmp(type, "counter") == 0)
            assert_true(pm_str_ends(name, "_total"));
        else
            assert_false(pm_str_ends(name, "_total"));
    }
}

/* MET-1: 100 pools in less than 5 ms; sanitizers make everything slower, so a bug is told from a slow build. */
static void test_a_hundred_pools_are_written_fast(void **state)
{
    enum { N = 100 };
    struct pm_replica_view replica = {0};
    struct pm_metrics_pool *pools = pm_xalloc(N * sizeof(pools[0]));
    char(*names)[16] = pm_xalloc(N * sizeof(names[0]));
    struct pm_metrics metrics = {.version = "1", .pools = pools, .n_pools = N};
    uint64_t best_us = UINT64_MAX;

    (void)state;
    make_pools(pools, N, &replica, names);
    for (int i = 0; i < 5; i++) {
        pm_auto_buf struct pm_buf out = {0};
        uint64_t start = pm_monotonic_ns(), us;

        pm_metrics_write(&metrics, &out);
        us = (pm_monotonic_ns() - start) / 1000;
        best_us = us < best_us ? us : best_us;
    }
    print_message("# 100 pools: %llu us\n", (unsigned long long)best_us);
    assert_true(best_us < 2000000);
    free(pools);
    free(names);
}

/* ---- docs ------------------------------------------------------------------------------------------- */

/* The page in the repository is what the table prints; POOLMGR_WRITE_DOCS=1 writes it instead. */
static void assert_page_current(const char *name, void (*print)(struct pm_buf *out))
{
    pm_auto_buf struct pm_buf page = {0};
    pm_auto_free char *there = NULL;
    struct poolmgr_error err = {0};
    char path[512];

    (void)snprintf(path, sizeof(path), "%s/docs/%s", PM_SOURCE_ROOT, name);
    print(&page);
    if (getenv("POOLMGR_WRITE_DOCS"))
        assert_int_equal(pm_write_file(path, page.data, page.n, 0644, false, &err), 0);
    assert_int_equal(pm_read_file(path, 1 << 20, &there, NULL, &err), 0);
    if (strcmp(there, pm_buf_text(&page)) != 0)
        fail_msg("docs/%s is old; run this test with POOLMGR_WRITE_DOCS=1", name);
}

static void test_docs_api_is_what_the_table_says(void **state)
{
    (void)state;
    assert_page_current("api.md", pm_api_docs);
}

static void test_docs_metrics_is_what_the_table_says(void **state)
{
    (void)state;
    assert_page_current("metrics.md", pm_metrics_docs);
}

/* API-1: OpenAPI 3.1, and true: every reference has its schema, every route that is built is there. */
static void test_the_openapi_document_is_whole(void **state)
{
    pm_auto_buf struct pm_buf out = {0};
    json_t *document, *schemas, *paths;
    const char *p;

    (void)state;
    pm_api_openapi(true, &out);
    document = json_loadb(out.data, out.n, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(document);
    schemas = json_object_get(json_object_get(document, "components"), "schemas");
    paths = json_object_get(document, "paths");
    for (p = pm_buf_text(&out); (p = strstr(p, "#/components/schemas/")); p++) {
        char name[64];

        assert_int_equal(sscanf(p, "#/components/schemas/%63[A-Za-z]", name), 1);
        assert_non_null(json_object_get(schemas, name));
    }
    assert_non_null(json_object_get(json_object_get(paths, "/v1/pools/{id}/stop"), "post"));
    assert_non_null(json_object_get(json_object_get(paths, "/v1/models/{name}"), "get"));
    assert_non_null(json_object_get(json_object_get(paths, "/v1/plan"), "post"));
    assert_null(json_object_get(paths, "/v1/nodes"));
    json_decref(document);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_path_finds_its_route_and_arguments),
        cmocka_unit_test(test_case_slashes_and_semicolons_make_other_paths),
        cmocka_unit_test(test_a_known_path_with_another_method_tells_what_it_takes),
        cmocka_unit_test(test_no_two_routes_have_a_method_and_a_path_in_common),
        cmocka_unit_test(test_a_target_is_decoded_once_and_names_may_have_slashes),
        cmocka_unit_test(test_a_query_with_a_key_twice_or_unknown_or_broken_is_refused),
        cmocka_unit_test(test_values_of_a_query_are_checked),
        cmocka_unit_test(test_control_bodies_are_parsed_strictly),
        cmocka_unit_test(test_hosts_of_this_machine_pass),
        cmocka_unit_test(test_foreign_hosts_are_refused_but_on_sockets_and_health_routes),
        cmocka_unit_test(test_only_pages_of_ours_may_ask),
        cmocka_unit_test(test_a_cold_pool_shows_what_is_known_and_nothing_else),
        cmocka_unit_test(test_a_failed_operation_shows_its_error),
        cmocka_unit_test(test_operation_ids_are_read_strictly),
        cmocka_unit_test(test_a_pool_that_did_nothing_has_its_metrics_at_zero),
        cmocka_unit_test(test_histograms_add_up_and_labels_are_escaped),
        cmocka_unit_test(test_the_exposition_keeps_prometheus_rules),
        cmocka_unit_test(test_a_hundred_pools_are_written_fast),
        cmocka_unit_test(test_docs_api_is_what_the_table_says),
        cmocka_unit_test(test_docs_metrics_is_what_the_table_says),
        cmocka_unit_test(test_the_openapi_document_is_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
