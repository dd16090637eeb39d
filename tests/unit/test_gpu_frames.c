/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of pool-probe: what is written is read as the same, and nothing else is taken (DEV-1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "gpu/gpu.h"
#include "util/str.h"

#define GPU "{\"id\":\"GPU-a\",\"vendor\":\"nvidia\",\"index\":0,\"state\":\"ok\",\"total_bytes\":9"

static void fill(struct pm_gpu_seen *gpu, unsigned i)
{
    memset(gpu, 0, sizeof(*gpu));
    (void)snprintf(gpu->is.id, sizeof(gpu->is.id), "GPU-%u", i);
    gpu->is.index = i;
    gpu->is.slot = (int)i - 1;
    gpu->is.gi = gpu->is.ci = (int)i * 3;
    gpu->is.mig_mode = gpu->is.hidden = gpu->is.unhealthy = gpu->is.prohibited = i == 1;
    strcpy(gpu->is.pci, "00000000:65:00.0");
    strcpy(gpu->name, "NVIDIA \"quoted\" \x01 \xc3\xa4");
    gpu->state = (enum pm_device_state)i;
    strcpy(gpu->text, "why");
    gpu->total_bytes = UINT64_C(1) << 40;
    gpu->free_bytes = 12345;
    gpu->driver_bytes = i * 678;
    gpu->free_known = true;
    gpu->cc_major = 9;
    gpu->compute_mode = 3;
    gpu->mig_pending = i == 2;
    gpu->processes_complete = i == 0;
    gpu->temperature_c = gpu->power_mw = gpu->utilisation_percent = PM_GPU_UNKNOWN;
    gpu->memory_percent = 7;
    gpu->n_ecc_uncorrected = INT64_MAX;
    gpu->remap_pending = 1;
    gpu->remap_failed = PM_GPU_UNKNOWN;
    gpu->recovery = 4;
}

static struct pm_gpu_snapshot make(size_t n)
{
    struct pm_gpu_snapshot snapshot = {.node = PM_NODE_OK, .cuda_version = 13000, .n = n};

    strcpy(snapshot.driver, "580.65.06");
    snapshot.gpus = pm_xalloc((n + 1) * sizeof(snapshot.gpus[0]));
    for (size_t i = 0; i < n; i++) {
        fill(&snapshot.gpus[i], (unsigned)i);
        snapshot.gpus[i].n_processes = i;
        snapshot.gpus[i].processes = i ? pm_xalloc(i * sizeof(struct pm_gpu_process)) : NULL;
        for (size_t k = 0; k < i; k++)
            snapshot.gpus[i].processes[k] =
                (struct pm_gpu_process){.pid = (int)k, .bytes = k * 5, .bytes_known = k > 0};
    }
    return snapshot;
}

static int read_text(const char *text, struct pm_gpu_frame *ret, struct poolmgr_error *err)
{
    return pm_gpu_frame_read(text, strlen(text), ret, err);
}

static void test_a_snapshot_is_read_as_it_was_written(void **state)
{
    struct pm_gpu_snapshot snapshot = make(PM_DEVICE_STATE_COUNT);
    struct pm_buf out = {0};
    struct pm_gpu_frame frame;

    (void)state;
    pm_gpu_write_snapshot(&out, &snapshot);
    assert_int_equal(pm_gpu_frame_read(out.data, out.n, &frame, NULL), 0);
    assert_int_equal(frame.kind, PM_GPU_FRAME_SNAPSHOT);
    assert_true(pm_gpu_snapshot_same(&frame.snapshot, &snapshot));
    assert_int_equal(frame.snapshot.gpus[0].memory_percent, 7);
    assert_int_equal(frame.snapshot.gpus[0].temperature_c, PM_GPU_UNKNOWN);
    assert_string_equal(frame.snapshot.gpus[0].name, snapshot.gpus[0].name);
    pm_gpu_frame_fini(&frame);
    pm_gpu_snapshot_fini(&snapshot);
    pm_buf_fini(&out);
}

static void test_each_difference_but_a_gauge_is_a_difference(void **state)
{
    struct pm_gpu_snapshot a = make(3), b;

    (void)state;
    pm_gpu_snapshot_copy(&b, &a);
    b.gpus[1].temperature_c = 80;
    b.gpus[1].power_mw = 300000;
    b.gpus[1].utilisation_percent = 100;
    assert_true(pm_gpu_snapshot_same(&a, &b));
#define DIFFERS(member, value)                                                                     \
    do {                                                                                           \
        struct pm_gpu_snapshot c;                                                                  \
        pm_gpu_snapshot_copy(&c, &a);                                                              \
        c.member = value;                                                                          \
        assert_false(pm_gpu_snapshot_same(&a, &c));                                                \
        pm_gpu_snapshot_fini(&c);                                                                  \
    } while (0)
    DIFFERS(node, PM_NODE_MISMATCH);
    DIFFERS(text[0], 'x');
    DIFFERS(driver[0], 'x');
    DIFFERS(cuda_version, 1);
    DIFFERS(gpus[1].is.hidden, false);
    DIFFERS(gpus[1].state, PM_DEVICE_LOST);
    DIFFERS(gpus[1].free_bytes, 1);
    DIFFERS(gpus[1].free_known, false);
    DIFFERS(gpus[1].recovery, 0);
    DIFFERS(gpus[2].processes[1].bytes, 6);
    DIFFERS(gpus[2].processes_complete, true);
    pm_gpu_snapshot_fini(&b);
    b = make(2);
    assert_false(pm_gpu_snapshot_same(&a, &b));
    pm_gpu_snapshot_fini(&a);
    pm_gpu_snapshot_fini(&b);
}

static void test_events_and_heartbeats_are_read_as_they_were_written(void **state)
{
    struct pm_buf out = {0};
    struct pm_gpu_frame frame;

    (void)state;
    for (int kind = 0; kind < PM_GPU_EVENT_KIND_COUNT; kind++) {
        struct pm_gpu_event event = {
            (enum pm_gpu_event_kind)kind, "GPU-a", 79, 1, PM_GPU_UNKNOWN, 2};

        pm_buf_clear(&out);
        pm_gpu_write_event(&out, &event);
        assert_int_equal(pm_gpu_frame_read(out.data, out.n, &frame, NULL), 0);
        assert_int_equal(frame.kind, PM_GPU_FRAME_EVENT);
        assert_memory_equal(&frame.event, &event, sizeof(event));
    }
    pm_buf_clear(&out);
    pm_gpu_write_heartbeat(&out);
    assert_int_equal(pm_gpu_frame_read(out.data, out.n, &frame, NULL), 0);
    assert_int_equal(frame.kind, PM_GPU_FRAME_HEARTBEAT);
    pm_buf_fini(&out);
}

static const char *const wrong_frames[] = {
    "",
    "[]",
    "null",
    "{}",
    "{\"kind\":1}",
    "{\"kind\":\"snapshots\"}",
    "{\"kind\":\"heartbeat\"} ,",
    "{\"kind\":\"heartbeat\",\"kind\":\"heartbeat\"}",
    "{\"kind\":\"snapshot\"}",
    "{\"kind\":\"snapshot\",\"node\":\"ok\"}",
    "{\"kind\":\"snapshot\",\"node\":\"fine\",\"gpus\":[]}",
    "{\"kind\":\"snapshot\",\"node\":\"ok\",\"gpus\":{}}",
    "{\"kind\":\"snapshot\",\"node\":\"ok\",\"gpus\":[1]}",
    "{\"kind\":\"snapshot\",\"node\":\"ok\",\"gpus\":[{}]}",
    "{\"kind\":\"snapshot\",\"node\":\"ok\",\"cuda\":1.5,\"gpus\":[]}",
    "{\"kind\":\"snapshot\",\"node\":\"ok\",\"driver\":\"a\\u0000b\",\"gpus\":[]}",
    "{\"kind\":\"snapshot\",\"node\":\"ok\",\"gpus\":[" GPU "},{" GPU "}]}",
    "{\"kind\":\"snapshot\",\"node\":\"ok\",\"gpus\":[" GPU "}," GPU "}]}", /* the same id twice */
    "{\"kind\":\"snapshot\",\"node\":\"ok\",\"gpus\":[" GPU ",\"free_bytes\":-1}]}",
    "{\"kind\":\"snapshot\",\"node\":\"ok\",\"gpus\":[" GPU ",\"free_bytes\":\"9\"}]}",
    "{\"kind\":\"snapshot\",\"node\":\"ok\",\"gpus\":[" GPU ",\"free_bytes\":1e3}]}",
    "{\"kind\":\"snapshot\",\"node\":\"ok\",\"gpus\":[" GPU
    ",\"free_bytes\":9223372036854775808}]}",
    "{\"kind\":\"snapshot\",\"node\":\"ok\",\"gpus\":[" GPU ",\"mig_mode\":1}]}",
    "{\"kind\":\"snapshot\",\"node\":\"ok\",\"gpus\":[" GPU ",\"slot\":2147483648}]}",
    "{\"kind\":\"snapshot\",\"node\":\"ok\",\"gpus\":[" GPU ",\"remap_pending\":2}]}",
    "{\"kind\":\"snapshot\",\"node\":\"ok\",\"gpus\":[" GPU
    ",\"pci\":\"00000000:65:00.0 and more\"}]}",
    "{\"kind\":\"snapshot\",\"node\":\"ok\",\"gpus\":[" GPU ",\"compute_capability\":[8]}]}",
    "{\"kind\":\"snapshot\",\"node\":\"ok\",\"gpus\":[" GPU ",\"processes\":7}]}",
    "{\"kind\":\"snapshot\",\"node\":\"ok\",\"gpus\":[" GPU ",\"processes\":[{}]}]}",
    "{\"kind\":\"snapshot\",\"node\":\"ok\",\"gpus\":[" GPU ",\"processes\":[{\"pid\":-5}]}]}",
    "{\"kind\":\"event\"}",
    "{\"kind\":\"event\",\"what\":\"xid\",\"id\":\"GPU-a\"}",
    "{\"kind\":\"event\",\"what\":\"xid\",\"xid\":79}",
    "{\"kind\":\"event\",\"what\":\"flood\",\"id\":\"GPU-a\",\"xid\":79}",
};

static void test_what_is_no_frame_is_refused_with_a_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(wrong_frames); i++) {
        struct poolmgr_error err = {0};
        struct pm_gpu_frame frame;

        if (read_text(wrong_frames[i], &frame, &err) != POOLMGR_E_INVALID_REQUEST ||
            err.message[0] == '\0')
            fail_msg("taken: %s", wrong_frames[i]);
    }
}

static void test_each_beginning_of_a_frame_is_refused(void **state)
{
    struct pm_gpu_snapshot snapshot = make(3);
    struct pm_buf out = {0};
    struct pm_gpu_frame frame;

    (void)state;
    pm_gpu_write_snapshot(&out, &snapshot);
    for (size_t n = 0; n < out.n; n++)
        assert_int_equal(pm_gpu_frame_read(out.data, n, &frame, NULL), POOLMGR_E_INVALID_REQUEST);
    pm_gpu_snapshot_fini(&snapshot);
    pm_buf_fini(&out);
}

static void test_unknown_members_are_passed_over(void **state)
{
    struct pm_gpu_frame frame;

    (void)state;
    assert_int_equal(read_text("{\"kind\":\"snapshot\",\"node\":\"ok\",\"later\":{},\"gpus\":[" GPU
                               ",\"later\":[1]}]}",
                               &frame, NULL),
                     0);
    assert_false(frame.snapshot.gpus[0].free_known);
    assert_int_equal(frame.snapshot.gpus[0].is.slot, -1);
    pm_gpu_frame_fini(&frame);
}

static void add_list(struct pm_buf *out, const char *item, size_t n)
{
    for (size_t i = 0; i < n; i++)
        pm_buf_addf(out, "%s%s", i ? "," : "", item);
}

static void test_lists_have_limits(void **state)
{
    struct pm_gpu_snapshot snapshot = make(0);
    struct pm_buf out = {0};
    struct pm_gpu_frame frame;

    (void)state;
    pm_buf_adds(&out, "{\"kind\":\"snapshot\",\"node\":\"ok\",\"gpus\":[" GPU ",\"processes\":[");
    add_list(&out, "{\"pid\":1}", PM_GPU_PROCESSES_MAX);
    pm_buf_adds(&out, "]}]}");
    assert_int_equal(pm_gpu_frame_read(out.data, out.n, &frame, NULL), 0);
    pm_gpu_frame_fini(&frame);

    pm_buf_clear(&out);
    pm_buf_adds(&out, "{\"kind\":\"snapshot\",\"node\":\"ok\",\"gpus\":[" GPU ",\"processes\":[");
    add_list(&out, "{\"pid\":1}", PM_GPU_PROCESSES_MAX + 1);
    pm_buf_adds(&out, "]}]}");
    assert_int_equal(pm_gpu_frame_read(out.data, out.n, &frame, NULL), POOLMGR_E_INVALID_REQUEST);

    pm_gpu_snapshot_fini(&snapshot);
    snapshot = make(PM_GPUS_MAX + 1);
    for (size_t i = 0; i < snapshot.n; i++) {
        snapshot.gpus[i].state = PM_DEVICE_OK;
        snapshot.gpus[i].n_processes = 0;
    }
    pm_buf_clear(&out);
    pm_gpu_write_snapshot(&out, &snapshot);
    assert_int_equal(pm_gpu_frame_read(out.data, out.n, &frame, NULL), POOLMGR_E_INVALID_REQUEST);
    pm_gpu_snapshot_fini(&snapshot);
    pm_buf_fini(&out);
}

static void add_head(struct pm_buf *out, size_t n)
{
    const unsigned char head[4] = {(unsigned char)n, (unsigned char)(n >> 8),
                                   (unsigned char)(n >> 16), (unsigned char)(n >> 24)};

    pm_buf_add(out, head, sizeof(head));
}

static void test_frames_come_in_whatever_pieces_they_like(void **state)
{
    static const char beat[] = "{\"kind\":\"heartbeat\"}";
    struct pm_buf all = {0}, in = {0};
    struct pm_gpu_frame frame;
    size_t n = 0;

    (void)state;
    for (int i = 0; i < 3; i++) {
        add_head(&all, strlen(beat));
        pm_buf_adds(&all, beat);
    }
    for (size_t i = 0; i < all.n; i++) {
        pm_buf_add(&in, all.data + i, 1);
        while (pm_gpu_frame_take(&in, &frame, NULL) == 1)
            n++;
        assert_int_equal(n, (i + 1) / (4 + strlen(beat)));
    }
    pm_buf_fini(&all);
    pm_buf_fini(&in);
}

static void test_a_length_over_the_limit_is_refused_before_it_comes(void **state)
{
    struct pm_buf in = {0};
    struct pm_gpu_frame frame;

    (void)state;
    add_head(&in, PM_GPU_FRAME_MAX + 1);
    assert_int_equal(pm_gpu_frame_take(&in, &frame, NULL), POOLMGR_E_INVALID_REQUEST);
    pm_buf_clear(&in);
    add_head(&in, PM_GPU_FRAME_MAX);
    assert_int_equal(pm_gpu_frame_take(&in, &frame, NULL), 0);
    pm_buf_clear(&in);
    add_head(&in, 0);
    assert_int_equal(pm_gpu_frame_take(&in, &frame, NULL), POOLMGR_E_INVALID_REQUEST);
    pm_buf_fini(&in);
}

static void test_no_state_of_the_machine_lacks_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < PM_NODE_STATE_COUNT; i++) {
        assert_true(*pm_node_state_name((enum pm_node_state)i) != '\0');
        for (int k = 0; k < i; k++)
            assert_string_not_equal(pm_node_state_name((enum pm_node_state)i),
                                    pm_node_state_name((enum pm_node_state)k));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_snapshot_is_read_as_it_was_written),
        cmocka_unit_test(test_each_difference_but_a_gauge_is_a_difference),
        cmocka_unit_test(test_events_and_heartbeats_are_read_as_they_were_written),
        cmocka_unit_test(test_what_is_no_frame_is_refused_with_a_reason),
        cmocka_unit_test(test_each_beginning_of_a_frame_is_refused),
        cmocka_unit_test(test_unknown_members_are_passed_over),
        cmocka_unit_test(test_lists_have_limits),
        cmocka_unit_test(test_frames_come_in_whatever_pieces_they_like),
        cmocka_unit_test(test_a_length_over_the_limit_is_refused_before_it_comes),
        cmocka_unit_test(test_no_state_of_the_machine_lacks_a_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
