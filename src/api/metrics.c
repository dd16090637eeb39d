/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One row a metric: where its number lies, what it is called and what it means. Every pool has every metric from its
 * first moment, at 0 if need be, so that an alert or an autoscaler never meets a gap. Labels are pools, replicas and
 * states, all from the configuration: no client can make a series.
 */
#include "api/metrics.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/str.h"

enum of { OF_DAEMON, OF_POOL, OF_REPLICA, OF_POOL_STATE, OF_BREAKER, OF_BUILD, OF_HISTOGRAM };

struct metric {
    const char *name, *type, *help, *original;
    enum of of;
    size_t offset; /* of a uint64_t, or of a struct pm_histogram */
    double scale;  /* what one unit of the number is in the metric's unit */
};

#define DAEMON(name, type, member, scale, help)                                                    \
    {                                                                                              \
        name, type, help, "", OF_DAEMON, offsetof(struct pm_metrics, member), scale                \
    }
#define POOL(name, type, member, original, help)                                                   \
    {                                                                                              \
        name, type, help, original, OF_POOL, offsetof(struct pm_metrics_pool, member), 1           \
    }
#define REPLICA(name, type, member, help)                                                          \
    {                                                                                              \
        name, type, help, "", OF_REPLICA, offsetof(struct pm_replica_view, member), 1              \
    }
#define HISTOGRAM(name, member, original, help)                                                    \
    {                                                                                              \
        name, "histogram", help, original, OF_HISTOGRAM,                                           \
            offsetof(struct pm_metrics_pool, gateway.member), 1                                    \
    }
#define STATES(name, of, original, help)                                                           \
    {                                                                                              \
        name, "gauge", help, original, of, 0, 1                                                    \
    }

static const struct metric metrics[] = {
    POOL("poolmgr_active_leases", "gauge", view.active_leases, "active_leases",
         "Slots taken by requests now."),
    POOL("poolmgr_slots", "gauge", view.slots_total, "slots_total",
         "Slots of all replicas, up or not."),
    POOL("poolmgr_slots_free", "gauge", view.slots_free, "slots_free",
         "Slots that a request could take now."),
    POOL("poolmgr_queue_depth", "gauge", view.queue_depth, "queue_depth",
         "Requests that wait for a slot or a start."),
    POOL("poolmgr_queue_bytes", "gauge", view.queue_bytes, "",
         "Bytes held in memory for requests that wait."),
    POOL("poolmgr_pool_ready", "gauge", ready, "", "1 when the pool takes requests at once."),
    STATES("poolmgr_pool_state", OF_POOL_STATE, "model_state",
           "1 for the state that the pool is in."),
    POOL("poolmgr_tasks_enqueued_total", "counter", core.requests, "tasks_enqueued_total",
         "Requests that asked for a slot."),
    POOL("poolmgr_tasks_started_total", "counter", gateway.started, "tasks_started_total",
         "Requests that were sent to an engine."),
    POOL("poolmgr_tasks_completed_total", "counter", gateway.completed, "tasks_completed_total",
         "Requests whose answer came to its end."),
    POOL("poolmgr_tasks_failed_total", "counter", gateway.failed, "tasks_failed_total",
         "Requests that an engine broke off, or answered wrongly."),
    POOL("poolmgr_tasks_canceled_total", "counter", gateway.cancelled, "tasks_canceled_total",
         "Requests whose client left before the answer's end."),
    POOL("poolmgr_tasks_rejected_total", "counter", core.refused, "tasks_rejected_total",
         "Requests that were refused, at once or after waiting."),
    POOL("poolmgr_tasks_retried_total", "counter", gateway.retries, "",
         "Requests that were sent once more before their first byte."),
    POOL("poolmgr_tasks_abandoned_total", "counter", core.abandoned, "",
         "Answers that were read to their end after their client had left."),
    POOL("poolmgr_tokens_in_total", "counter", gateway.tokens_in, "tokens_in_total",
         "Tokens of prompts, as engines report them."),
    POOL("poolmgr_tokens_out_total", "counter", gateway.tokens_out, "tokens_out_total",
         "Tokens of answers, as engines report them."),
    POOL("poolmgr_sent_bytes_total", "counter", gateway.bytes_sent, "",
         "Bytes of answers sent to clients."),
    HISTOGRAM("poolmgr_latency_first_token_seconds", first_token, "latency_first_token_ms",
              "From a request's grant to the first byte of its answer."),
    HISTOGRAM("poolmgr_latency_decode_seconds", decode, "latency_decode_ms",
              "From the first byte of an answer to its last."),
    HISTOGRAM("poolmgr_queue_wait_seconds", queue_wait, "",
              "From a request's arrival to its grant."),
    POOL("poolmgr_starts_total", "counter", core.starts, "", "Engines that were launched."),
    POOL("poolmgr_start_failures_total", "counter", core.start_failures, "",
         "Starts that did not become ready."),
    POOL("poolmgr_ready_total", "counter", core.ready, "", "Starts that became ready."),
    POOL("poolmgr_crashes_total", "counter", core.crashes, "",
         "Ready engines that ended, or had to be ended."),
    POOL("poolmgr_idle_stops_total", "counter", core.idle_stops, "",
         "Engines that were stopped because nobody used them."),
    POOL("poolmgr_evictions_total", "counter", core.evictions, "",
         "Engines that were stopped to make room for another pool."),
    POOL("poolmgr_vram_used_bytes", "gauge", view.planned_bytes, "vram_used_bytes",
         "Memory of devices that is charged to the pool's engines."),
    REPLICA("poolmgr_restarts_total", "counter", restart_count,
            "Launches of a replica beyond its first."),
    REPLICA("poolmgr_failures_in_a_row", "gauge", n_failures,
            "Failures of a replica since it last stayed up."),
    STATES("poolmgr_breaker_state", OF_BREAKER, "",
           "1 for the state that a replica's breaker is in."),
    DAEMON("poolmgr_requests_in_flight", "gauge", n_flights, 1,
           "Inference requests that wait or run, over all pools."),
    DAEMON("poolmgr_connections", "gauge", http.connections, 1, "Connections of clients now."),
    DAEMON("poolmgr_connections_accepted_total", "counter", http.accepted, 1,
           "Connections that were accepted."),
    DAEMON("poolmgr_http_requests_total", "counter", http.requests, 1,
           "HTTP requests whose head was good."),
    DAEMON("poolmgr_http_refused_total", "counter", http.refused, 1,
           "Malformed HTTP requests, answered with a bare status."),
    DAEMON("poolmgr_body_memory_bytes", "gauge", http.body_bytes, 1,
           "Memory that bodies of requests take now."),
    DAEMON("poolmgr_events_total", "counter", n_events, 1, "Events that were told."),
    DAEMON("poolmgr_loop_lag_seconds", "gauge", loop_lag_us, 1e-6,
           "The longest turn of the loop since the last scrape."),
    DAEMON("poolmgr_loop_turns_total", "counter", loop_turns, 1, "Turns of the loop."),
    DAEMON("poolmgr_resident_memory_bytes", "gauge", resident_bytes, 1,
           "Memory of the daemon, without its engines."),
    DAEMON("poolmgr_open_descriptors", "gauge", open_descriptors, 1, "Open file descriptors."),
    DAEMON("poolmgr_start_time_seconds", "gauge", started_at_s, 1,
           "When the daemon started, since 1970."),
    STATES("poolmgr_build_info", OF_BUILD, "", "Always 1; the version is the label."),
};

/* ---- text exposition -------------------------------------------------------------------------------- */

/* What one pool's lines of one metric are made from. A scrape of many pools is thousands of lines, so the label is
 * escaped once for all of them, and nothing goes through printf that is only a text or a whole number. */
struct line {
    struct pm_buf *out;
    const struct metric *metric;
    const struct pm_metrics_pool *pool;
    const char *label; /* pool="…" */
};

static char *pool_label(const char *id)
{
    pm_auto_buf struct pm_buf out = {0};

    pm_buf_adds(&out, "pool=\"");
    for (const char *p = id; *p; p++) {
        if (*p == '\n')
            pm_buf_adds(&out, "\\n");
        else if (*p == '"' || *p == '\\')
            pm_buf_addf(&out, "\\%c", *p);
        else
            pm_buf_add(&out, p, 1);
    }
    pm_buf_adds(&out, "\"");
    return pm_xstrndup(out.data, out.n);
}

static void add_u64(struct pm_buf *out, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);

    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    pm_buf_add(out, digits + at, sizeof(digits) - at);
}

static void add_number(struct pm_buf *out, const void *base, const struct metric *metric)
{
    uint64_t number;

    memcpy(&number, (const char *)base + metric->offset, sizeof(number));
    pm_buf_adds(out, " ");
    if (metric->scale == 1)
        add_u64(out, number);
    else
        pm_buf_addf(out, "%.9g", (double)number * metric->scale);
    pm_buf_adds(out, "\n");
}

/* NAME{pool="…" */
static void begin_line(const struct line *line, const char *suffix)
{
    pm_buf_adds(line->out, line->metric->name);
    pm_buf_adds(line->out, suffix);
    pm_buf_adds(line->out, "{");
    pm_buf_adds(line->out, line->label);
}

/* …,NAME="VALUE" */
static void add_label(const struct line *line, const char *name, const char *value)
{
    pm_buf_adds(line->out, ",");
    pm_buf_adds(line->out, name);
    pm_buf_adds(line->out, "=\"");
    pm_buf_adds(line->out, value);
    pm_buf_adds(line->out, "\"");
}

static void add_replica_label(const struct line *line, unsigned index)
{
    pm_buf_adds(line->out, ",replica=\"");
    add_u64(line->out, index);
    pm_buf_adds(line->out, "\"");
}

static void end_line(const struct line *line, uint64_t number)
{
    pm_buf_adds(line->out, "} ");
    add_u64(line->out, number);
    pm_buf_adds(line->out, "\n");
}

static void add_pool(const struct line *line)
{
    begin_line(line, "");
    pm_buf_adds(line->out, "}");
    add_number(line->out, line->pool, line->metric);
}

static void add_replicas(const struct line *line)
{
    for (uint64_t i = 0; i < line->pool->view.n_replicas; i++) {
        begin_line(line, "");
        add_replica_label(line, line->pool->replicas[i].index);
        pm_buf_adds(line->out, "}");
        add_number(line->out, &line->pool->replicas[i], line->metric);
    }
}

static void add_states(const struct line *line)
{
    for (int state = 0; state < PM_STATE_COUNT; state++) {
        begin_line(line, "");
        add_label(line, "state", pm_state_name((enum pm_state)state));
        end_line(line, (int)line->pool->state == state);
    }
}

static void add_breakers(const struct line *line)
{
    for (uint64_t i = 0; i < line->pool->view.n_replicas; i++) {
        for (int state = 0; state < PM_BREAKER_COUNT; state++) {
            begin_line(line, "");
            add_replica_label(line, line->pool->replicas[i].index);
            add_label(line, "state", pm_breaker_name((enum pm_breaker)state));
            end_line(line, (int)line->pool->replicas[i].breaker == state);
        }
    }
}

static void add_histogram(const struct line *line)
{
    struct pm_histogram histogram;
    char bound[16];
    uint64_t sum = 0;

    memcpy(&histogram, (const char *)line->pool + line->metric->offset, sizeof(histogram));
    for (int i = 0; i <= PM_LATENCY_BUCKETS; i++) {
        sum += histogram.counts[i];
        if (i < PM_LATENCY_BUCKETS)
            (void)snprintf(bound, sizeof(bound), "%g", pm_latency_bounds[i]);
        begin_line(line, "_bucket");
        add_label(line, "le", i < PM_LATENCY_BUCKETS ? bound : "+Inf");
        end_line(line, sum);
    }
    begin_line(line, "_sum");
    pm_buf_addf(line->out, "} %.9g\n", histogram.sum);
    begin_line(line, "_count");
    end_line(line, sum);
}

static void add_metric(struct pm_buf *out, const struct metric *metric,
                       const struct pm_metrics *all, char *const *labels)
{
    static void (*const writers[])(const struct line *) = {
        [OF_POOL] = add_pool,        [OF_REPLICA] = add_replicas,    [OF_POOL_STATE] = add_states,
        [OF_BREAKER] = add_breakers, [OF_HISTOGRAM] = add_histogram,
    };

    pm_buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name,
                metric->type);
    if (metric->of == OF_DAEMON) {
        pm_buf_adds(out, metric->name);
        add_number(out, all, metric);
    } else if (metric->of == OF_BUILD) {
        pm_buf_addf(out, "%s{version=\"%s\"} 1\n", metric->name, all->version);
    } else {
        for (size_t i = 0; i < all->n_pools; i++)
            writers[metric->of](&(struct line){out, metric, &all->pools[i], labels[i]});
    }
}

void pm_metrics_write(const struct pm_metrics *all, struct pm_buf *out)
{
    char **labels = pm_xalloc(all->n_pools * sizeof(labels[0]));

    for (size_t i = 0; i < all->n_pools; i++)
        labels[i] = pool_label(all->pools[i].id);
    pm_buf_reserve(out, 16384 + all->n_pools * 8192);
    for (size_t i = 0; i < PM_ARRAY_LEN(metrics); i++)
        add_metric(out, &metrics[i], all, labels);
    for (size_t i = 0; i < all->n_pools; i++)
        free(labels[i]);
    free(labels);
}

/* ---- docs ------------------------------------------------------------------------------------------- */

static const char *labels_of(const struct metric *metric)
{
    static const char *const labels[] = {
        [OF_DAEMON] = "",
        [OF_POOL] = "`pool`",
        [OF_REPLICA] = "`pool` `replica`",
        [OF_POOL_STATE] = "`pool` `state`",
        [OF_BREAKER] = "`pool` `replica` `state`",
        [OF_BUILD] = "`version`",
        [OF_HISTOGRAM] = "`pool`",
    };

    return labels[metric->of];
}

void pm_metrics_docs(struct pm_buf *out)
{
    pm_buf_adds(out, "# Metrics\n\n"
                     "`GET /metrics` answers in Prometheus' text format. Times are in seconds, "
                     "shares are ratios, and every\n"
                     "pool has every metric from its first moment, at 0 if need be. Counters start "
                     "at 0 with the daemon.\n"
                     "Nothing a client sends becomes a label. The last column is the name that the "
                     "original of this project\n"
                     "used.\n\n"
                     "| metric | type | labels | meaning | original |\n"
                     "| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < PM_ARRAY_LEN(metrics); i++)
        pm_buf_addf(out, "| `%s` | %s | %s | %s | %s%s%s |\n", metrics[i].name, metrics[i].type,
                    labels_of(&metrics[i]), metrics[i].help, *metrics[i].original ? "`" : "",
                    metrics[i].original, *metrics[i].original ? "`" : "");
    pm_buf_adds(out, "\nBounds of the histograms, in seconds:");
    for (int i = 0; i < PM_LATENCY_BUCKETS; i++)
        pm_buf_addf(out, " %g", pm_latency_bounds[i]);
    pm_buf_adds(out, ".\n");
}
