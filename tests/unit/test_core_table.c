/* SPDX-License-Identifier: Apache-2.0 */
/* The table of a place, walked whole: what must hold for every state and every cause. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/table.h"
#include "util/file.h"
#include "util/str.h"

static bool has_process(int state)
{
    return state == PM_STARTING || state == PM_READY || state == PM_SICK || state == PM_STOPPING;
}

#define EACH_ROW(state, cause, next)                                                               \
    for (enum pm_state state = 0; state < PM_STATE_COUNT; state++)                                 \
        for (enum pm_cause cause = 0; cause < PM_CAUSE_COUNT; cause++)                             \
            for (int next = pm_place_next(state, cause), once_ = 1; once_ && next != PM_NOWHERE;   \
                 once_ = 0)

static void test_every_row_leads_to_a_state_or_settles(void **s)
{
    EACH_ROW(state, cause, next)
    assert_true(next == PM_SETTLE || (next >= 0 && next < PM_STATE_COUNT));
}

static void test_every_state_can_be_entered_and_left(void **s)
{
    bool entered[PM_STATE_COUNT] = {[PM_COLD] = true}, left[PM_STATE_COUNT] = {false};

    EACH_ROW(state, cause, next)
    {
        if (next != (int)state)
            left[state] = true;
        if (next != PM_SETTLE)
            entered[next] = true;
    }
    for (int i = 0; i < PM_STATE_COUNT; i++) {
        assert_true(entered[i]);
        assert_true(left[i]);
    }
}

static void test_every_cause_means_something_somewhere(void **s)
{
    bool used[PM_CAUSE_COUNT] = {false};

    EACH_ROW(state, cause, next)
    used[cause] = true;
    for (int i = 0; i < PM_CAUSE_COUNT; i++) {
        assert_true(used[i]);
        assert_true(pm_cause_name((enum pm_cause)i)[0] != '\0');
        assert_true(pm_cause_actions((enum pm_cause)i)[0] != '\0');
    }
}

/* INV-15 */
static void test_failed_is_left_only_by_a_reset(void **s)
{
    EACH_ROW(state, cause, next)
    {
        if (state == PM_FAILED)
            assert_int_equal(cause, PM_CAUSE_RESET);
    }
}

/* INV-6: nothing becomes ready but what answered: a start, an engine that is not ours, a sick one that recovered. */
static void test_ready_is_entered_by_its_own_proof_only(void **s)
{
    EACH_ROW(state, cause, next)
    {
        if (next != PM_READY)
            continue;
        assert_true((state == PM_STARTING && cause == PM_CAUSE_READY) ||
                    (state == PM_COLD && cause == PM_CAUSE_ANSWERS) ||
                    (state == PM_SICK && cause == PM_CAUSE_RECOVERED));
    }
}

static bool is_of_engines_not_ours(enum pm_cause cause)
{
    return cause == PM_CAUSE_ANSWERS || cause == PM_CAUSE_GONE || cause == PM_CAUSE_LET_GO;
}

/* REG-4: ready, sick or cold, and nothing else. */
static void test_an_engine_that_is_not_ours_is_never_stopped_delayed_or_failed(void **s)
{
    EACH_ROW(state, cause, next)
    {
        if (is_of_engines_not_ours(cause)) {
            assert_true(state == PM_COLD || state == PM_READY || state == PM_SICK);
            assert_true(next == PM_COLD || next == PM_READY);
        }
    }
}

/* INV-9: a process comes with a spawn or an adoption, and goes through `stopping`, or was never launched. */
static void test_a_process_comes_and_goes_by_few_ways(void **s)
{
    EACH_ROW(state, cause, next)
    {
        if (is_of_engines_not_ours(cause))
            continue;
        if (!has_process(state) && next != PM_SETTLE && has_process(next))
            assert_true(cause == PM_CAUSE_ROOM || cause == PM_CAUSE_ADOPTED);
        if (has_process(state) && next == PM_SETTLE)
            assert_true(cause == PM_CAUSE_CHILDLESS || cause == PM_CAUSE_VRAM_BACK ||
                        cause == PM_CAUSE_VRAM_LATE || cause == PM_CAUSE_SPAWN_FAILED);
        if (has_process(state) && next != PM_SETTLE)
            assert_true(has_process(next));
    }
}

/* The point of no return: what is being stopped is stopped to its end. */
static void test_stopping_is_left_only_when_nothing_of_the_tree_is_left(void **s)
{
    EACH_ROW(state, cause, next)
    {
        if (state == PM_STOPPING)
            assert_true(next == PM_STOPPING || next == PM_SETTLE);
    }
}

/* SUP-1: whatever an engine with a process is doing, its exit takes it out of routing in that step. */
static void test_an_exit_means_stopping_in_every_state_with_a_process(void **s)
{
    for (enum pm_state state = 0; state < PM_STATE_COUNT; state++)
        assert_int_equal(pm_place_next(state, PM_CAUSE_EXIT),
                         has_process(state) ? PM_STOPPING : PM_NOWHERE);
}

/* The line of an edge in the diagram, for the caller to free; NULL: there is none. */
static char *edge(const char *diagram, enum pm_state state, int next)
{
    char *head = NULL, *ret = NULL;
    const char *at;

    assert_true(asprintf(&head, "    %s --> %s : ", pm_state_name(state),
                         next == PM_SETTLE ? "settle" : pm_state_name((enum pm_state)next)) > 0);
    at = strstr(diagram, head);
    if (at) {
        assert_null(strstr(at + 1, head)); /* one edge, not two */
        ret = strndup(at + strlen(head), strcspn(at + strlen(head), "\n"));
    }
    free(head);
    return ret;
}

static bool names_cause(const char *label, enum pm_cause cause)
{
    const char *name = pm_cause_name(cause);
    size_t n = strlen(name);

    for (const char *at = label; *at; at += strcspn(at, ","), at += strspn(at, ", ")) {
        if (strncmp(at, name, n) == 0 && (at[n] == ',' || at[n] == '\0'))
            return true;
    }
    return false;
}

/* Read back, the diagram is the table: each edge has the causes that lead there, and no other. */
static void test_the_diagram_shows_every_way_from_state_to_state(void **s)
{
    char *diagram = pm_place_diagram_mermaid();

    for (enum pm_state state = 0; state < PM_STATE_COUNT; state++) {
        for (int next = 0; next <= PM_SETTLE; next++) {
            char *label = next == PM_STATE_COUNT ? NULL : edge(diagram, state, next);

            for (enum pm_cause cause = 0; cause < PM_CAUSE_COUNT; cause++)
                assert_int_equal(label && names_cause(label, cause),
                                 next != (int)state && pm_place_next(state, cause) == next);
            free(label);
        }
    }
    free(diagram);
}

static void assert_in_the_document(char *table)
{
    struct poolmgr_error err = {0};
    char *text = NULL;

    assert_int_equal(
        pm_read_file(PM_SOURCE_ROOT "/docs/lifecycle.md", 1024 * 1024, &text, NULL, &err), 0);
    if (!strstr(text, table))
        fail_msg("docs/lifecycle.md must hold this:\n%s", table);
    free(table);
    free(text);
}

static void test_the_document_shows_the_tables_as_they_are(void **s)
{
    assert_in_the_document(pm_place_diagram_mermaid());
    assert_in_the_document(pm_place_table_markdown());
    assert_in_the_document(pm_meetings_markdown());
}

static int print(char *table)
{
    fputs(table, stdout);
    free(table);
    return 0;
}

/* With --print, --print-diagram or --print-meetings what docs/lifecycle.md has of it. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_leads_to_a_state_or_settles),
        cmocka_unit_test(test_every_state_can_be_entered_and_left),
        cmocka_unit_test(test_every_cause_means_something_somewhere),
        cmocka_unit_test(test_failed_is_left_only_by_a_reset),
        cmocka_unit_test(test_ready_is_entered_by_its_own_proof_only),
        cmocka_unit_test(test_an_engine_that_is_not_ours_is_never_stopped_delayed_or_failed),
        cmocka_unit_test(test_a_process_comes_and_goes_by_few_ways),
        cmocka_unit_test(test_stopping_is_left_only_when_nothing_of_the_tree_is_left),
        cmocka_unit_test(test_an_exit_means_stopping_in_every_state_with_a_process),
        cmocka_unit_test(test_the_diagram_shows_every_way_from_state_to_state),
        cmocka_unit_test(test_the_document_shows_the_tables_as_they_are),
    };

    if (argc > 1 && strcmp(argv[1], "--print") == 0)
        return print(pm_place_table_markdown());
    if (argc > 1 && strcmp(argv[1], "--print-diagram") == 0)
        return print(pm_place_diagram_mermaid());
    if (argc > 1 && strcmp(argv[1], "--print-meetings") == 0)
        return print(pm_meetings_markdown());
    return cmocka_run_group_tests_name("core: table of a place", tests, NULL, NULL);
}
