/* SPDX-License-Identifier: Apache-2.0 */
/* Programs are asked once what they can, and nothing that they do about it holds anybody up (ENGINE-2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "engine/internal.h"
#include "util/cleanup.h"
#include "util/time.h"

static char folder[] = "/tmp/poolmgr-test-XXXXXX", program[64];
static struct pm_engine_spec engine = {
    .name = (char *)"llama", .family = PM_FAMILY_LLAMA_CPP, .path = program};
static char *environment[] = {(char *)"PATH=/usr/bin:/bin", (char *)"CUDA_VISIBLE_DEVICES=0",
                              (char *)"HF_TOKEN=secret", NULL};

static int set_up(void **state)
{
    assert_non_null(mkdtemp(folder));
    (void)snprintf(program, sizeof program, "%s/engine", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)unlink(program);
    return rmdir(folder);
}

static void write_program(const char *body)
{
    FILE *file;

    (void)unlink(program);
    file = fopen(program, "w");
    assert_non_null(file);
    assert_true(fprintf(file, "#!/bin/sh\n%s\n", body) > 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(program, 0700), 0);
}

static void test_help_tells_what_a_program_can(void **state)
{
    static const struct {
        const char *help;
        bool fit, trace, few_outputs;
    } rows[] = {
        {"-fit,  --fit [on|off]   whether to adjust", true, false, false},
        {"  --fit [on|off], -fit", true, false, false},
        {"-fitt, --fit-target MiB\n-fitc, --fit-ctx N", false, false, false},
        {"use --no-fit, or x-fit y", false, false, false},
        {"-lv,   --verbosity N\n  - 3: info\n  - 4: trace (more info)\n  - 5: debug", false, true,
         false},
        {"-lv N  set verbosity (default: 3)", false, false, false},
        {"--kv-unified-per-slot N  context limit", .few_outputs = true},
        {"-kvu,  --kv-unified, -no-kvu", .few_outputs = false},
        {"", false, false, false},
    };

    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct pm_engine_traits traits;

        pm_engine_read_help(rows[i].help, &traits);
        assert_int_equal(traits.fit, rows[i].fit);
        assert_int_equal(traits.trace, rows[i].trace);
        assert_int_equal(traits.few_outputs, rows[i].few_outputs);
    }
}

static void test_a_program_is_asked_without_devices_and_secrets(void **state)
{
    struct pm_engine_traits traits;

    write_program(
        "[ \"$1\" = --help ] && [ \"$CUDA_VISIBLE_DEVICES\" = -1 ] && [ -z \"$HF_TOKEN\" ] "
        "&& echo '-fit,  --fit' >&2");
    assert_true(pm_engine_look(&engine, environment, 10000, &traits));
    assert_true(traits.fit);
    assert_false(traits.trace);
}

/* Each ends within its time, and is unknown. */
static void test_who_hangs_or_floods_holds_nobody_up(void **state)
{
    static const struct {
        const char *body;
        uint64_t timeout_ms;
    } rows[] = {
        {"echo '-fit, --fit'; sleep 60", 200},
        {"sleep 60 & exec sleep 60", 200},
        {"(sleep 60 &) ; echo '-fit, --fit'", 200}, /* its child holds the pipe open */
        {"trap '' TERM HUP INT; while :; do sleep 1; done", 200},
        {"while :; do echo '-fit, --fit -fit, --fit -fit, --fit -fit, --fit -fit'; done", 30000},
        {"kill -STOP $$", 200},
    };

    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct pm_engine_traits traits = {.fit = true};
        uint64_t began_ms = pm_monotonic_ms();

        write_program(rows[i].body);
        assert_false(pm_engine_look(&engine, environment, rows[i].timeout_ms, &traits));
        assert_false(traits.fit);
        assert_true(pm_monotonic_ms() - began_ms < 20000);
    }
}

static void test_what_cannot_be_run_says_nothing(void **state)
{
    struct pm_engine_traits traits;
    FILE *file;

    (void)unlink(program);
    assert_false(pm_engine_look(&engine, environment, 1000, &traits));
    file = fopen(program, "w");
    assert_non_null(file);
    assert_true(fputs("no program", file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(program, 0700), 0);
    assert_false(pm_engine_look(&engine, environment, 1000, &traits));
}

static void test_another_program_in_its_place_has_another_signature(void **state)
{
    pm_auto_free char *before = NULL, *same = NULL, *after = NULL;

    write_program("exit 0");
    before = pm_engine_signature(&engine, environment);
    same = pm_engine_signature(&engine, environment);
    assert_string_equal(before, same);
    write_program("exit 1; more");
    after = pm_engine_signature(&engine, environment);
    assert_string_not_equal(before, after);
    (void)unlink(program);
    assert_null(pm_engine_signature(&engine, environment));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help_tells_what_a_program_can),
        cmocka_unit_test(test_a_program_is_asked_without_devices_and_secrets),
        cmocka_unit_test(test_who_hangs_or_floods_holds_nobody_up),
        cmocka_unit_test(test_what_cannot_be_run_says_nothing),
        cmocka_unit_test(test_another_program_in_its_place_has_another_signature),
    };

    return cmocka_run_group_tests_name("engine: looks", tests, set_up, tear_down);
}
