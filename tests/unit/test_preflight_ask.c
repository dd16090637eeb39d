/* SPDX-License-Identifier: Apache-2.0 */
/* Asking the driver by a child that prints once (PRE-1). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "preflight_tree.h"

/* ---- asking pool-probe ------------------------------------------------------------------------------ */

struct asked {
    struct pm_loop *loop;
    unsigned n;
    enum pm_asked how;
    char text[POOLMGR_MESSAGE_MAX];
    struct pm_gpu_snapshot snapshot;
};

static void on_answer(void *ctx, enum pm_asked how, const char *text,
                      struct pm_gpu_snapshot *snapshot)
{
    struct asked *asked = ctx;

    asked->n++;
    asked->how = how;
    (void)pm_str_copy(asked->text, sizeof(asked->text), text);
    if (snapshot)
        asked->snapshot = *snapshot;
    pm_loop_stop(asked->loop);
}

static struct asked ask(const char *script, uint64_t deadline_ms)
{
    char *root = make_tree(NULL);
    pm_auto_free char *program = pm_xasprintf("%s/probe", root);
    struct asked asked = {0};
    struct pm_driver_ask *question;
    struct poolmgr_error err = {0};

    put_program(root, "/probe");
    if (script) {
        assert_int_equal(pm_write_file(program, script, strlen(script), 0755, false, &err), 0);
        assert_int_equal(chmod(program, 0755), 0);
    } else {
        assert_int_equal(unlink(program), 0);
    }
    assert_int_equal(pm_loop_new(&asked.loop, &err), 0);
    question = pm_driver_ask_new(asked.loop, program, "/x/libnvidia-ml.so.1", deadline_ms,
                                 on_answer, &asked);
    assert_int_equal(pm_loop_run(asked.loop), 0);
    assert_int_equal(asked.n, 1);
    pm_driver_ask_free(question);
    for (unsigned i = 0; i < 10; i++)
        (void)pm_loop_turn(asked.loop, 50); /* its child is taken leave of */
    pm_loop_free(asked.loop);
    drop_tree(root);
    return asked;
}

static void test_a_snapshot_is_read_from_what_the_probe_prints(void **state)
{
    struct asked asked =
        ask("#!/bin/sh\n[ \"$*\" = \"--once --nvml /x/libnvidia-ml.so.1\" ] || exit 1\n"
            "printf '{\"kind\":\"snapshot\",\"node\":\"no_driver\",'\n"
            "echo '\"text\":\"x\",\"driver\":\"\",\"cuda\":0,\"gpus\":[]}'\n",
            20000);

    (void)state;
    assert_int_equal(asked.how, PM_ASKED_ANSWERED);
    assert_int_equal(asked.snapshot.node, PM_NODE_NO_DRIVER);
    pm_gpu_snapshot_fini(&asked.snapshot);
}

static void test_a_probe_that_says_nonsense_too_much_or_nothing_has_failed(void **state)
{
    static const struct {
        const char *script, *text;
    } rows[] = {
        {"#!/bin/sh\necho hello\n", ""},
        {"#!/bin/sh\necho '{\"kind\":\"heartbeat\"}'\n", "no snapshot"},
        {"#!/bin/sh\nexit 3\n", "printed nothing"},
        {"#!/bin/sh\nkill -9 $$\n", "printed nothing"},
        {"#!/bin/sh\nwhile :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done\n",
         "1 MiB"},
        {NULL, "No such file"},
    };

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct asked asked = ask(rows[i].script, 20000);

        assert_int_equal(asked.how, PM_ASKED_FAILED);
        if (!asked.text[0] || !strstr(asked.text, rows[i].text))
            fail_msg("'%s' has no '%s'", asked.text, rows[i].text);
    }
}

static void test_a_probe_that_hangs_is_killed_at_its_deadline(void **state)
{
    struct asked asked = ask("#!/bin/sh\nexec sleep 1000\n", 100);

    (void)state;
    assert_int_equal(asked.how, PM_ASKED_SILENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_snapshot_is_read_from_what_the_probe_prints),
        cmocka_unit_test(test_a_probe_that_says_nonsense_too_much_or_nothing_has_failed),
        cmocka_unit_test(test_a_probe_that_hangs_is_killed_at_its_deadline),
    };

    return cmocka_run_group_tests(tests, set_up_trees, NULL);
}
