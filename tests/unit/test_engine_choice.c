/* SPDX-License-Identifier: Apache-2.0 */
/* What engines are told of devices: exactly their plan, and nothing that the daemon inherited (MASK-1, LOAD-5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "engine/internal.h"
#include "plan/selector.h"
#include "util/cleanup.h"

#define U0 "GPU-8f6c1f8e-0000-1111-2222-333344445555"
#define U1 "GPU-12345678-0000-1111-2222-333344445555"
#define M0 "MIG-00000000-0000-1111-2222-333344445555"
#define A0 "GPU-0123456789abcdef"
#define A1 "GPU-fedcba9876543210"

/* All kinds but CUDA's. */
#define NO_OTHERS NO_OTHERS_BUT_VULKAN "GGML_VK_VISIBLE_DEVICES= "
#define NO_OTHERS_BUT_VULKAN                                                                       \
    "HIP_VISIBLE_DEVICES=-1 ROCR_VISIBLE_DEVICES=-1 GPU_DEVICE_ORDINAL=-1 "                        \
    "MUSA_VISIBLE_DEVICES=-1 ASCEND_RT_VISIBLE_DEVICES= ONEAPI_DEVICE_SELECTOR=*:cpu "
#define NOTHING "CUDA_VISIBLE_DEVICES=-1 NVIDIA_VISIBLE_DEVICES=void " NO_OTHERS
#define PCI     "CUDA_DEVICE_ORDER=PCI_BUS_ID "
#define OLD                                                                                        \
    {                                                                                              \
        false, false, false                                                                        \
    }
#define NEW                                                                                        \
    {                                                                                              \
        true, true, false                                                                          \
    }

static const struct row {
    struct pm_plan plan;
    struct pm_engine_traits traits;
    const char *arguments, *variables;
} rows[] = {
    {{.on_cpu = true}, OLD, "--device none -ngl 0 ", NOTHING},
    {{.on_cpu = true}, NEW, "--device none -ngl 0 -fit off -lv 4 ", NOTHING},
    {{.n_layers = 33, .n_devices = 1, .devices = {{.id = U0, .n_layers = 33}}},
     OLD,
     "-sm none -mg 0 -ngl 33 ",
     PCI "CUDA_VISIBLE_DEVICES=" U0 " " NO_OTHERS},
    {{.has_all = true, .n_layers = 33, .n_devices = 1, .devices = {{.id = U0, .n_layers = 33}}},
     OLD,
     "-sm none -mg 0 -ngl 33 ",
     PCI "CUDA_VISIBLE_DEVICES=" U0 " " NO_OTHERS_BUT_VULKAN},
    {{.n_layers = 33, .n_devices = 1, .devices = {{.id = M0, .n_layers = 33}}},
     {.fit = true},
     "-sm none -mg 0 -ngl 33 -fit off ",
     PCI "CUDA_VISIBLE_DEVICES=" M0 " " NO_OTHERS},
    {{.n_layers = 65,
      .n_devices = 2,
      .devices = {{.id = U1, .n_layers = 46}, {.id = U0, .n_layers = 19}}},
     NEW,
     "-sm layer -ts 46,19 -ngl 65 -fit off -lv 4 ",
     PCI "CUDA_VISIBLE_DEVICES=" U1 "," U0 " " NO_OTHERS},
    {{.n_layers = 65,
      .n_devices = 3,
      .devices = {{.id = "2", .n_layers = 25}, {.id = "0", .n_layers = 40}, {.id = "1"}}},
     {.trace = true},
     "-sm layer -ts 25,40,0 -ngl 65 -lv 4 ",
     PCI "CUDA_VISIBLE_DEVICES=2,0,1 "},
    /* Bytes that were declared: nobody counted layers. */
    {{.n_devices = 1, .devices = {{.id = "0", .bytes = 1}}},
     OLD,
     "-sm none -mg 0 -ngl 999 ",
     PCI "CUDA_VISIBLE_DEVICES=0 "},
    {{.n_devices = 2, .devices = {{.id = "1", .bytes = 1}, {.id = "0", .bytes = 1}}},
     NEW,
     "-sm layer -ngl 999 -fit off -lv 4 ",
     PCI "CUDA_VISIBLE_DEVICES=1,0 "},
    {{.n_devices = 2, .devices = {{.id = A1}, {.id = A0}}},
     OLD,
     "-sm layer -ngl 999 ",
     "ROCR_VISIBLE_DEVICES=" A1 "," A0 " NVIDIA_VISIBLE_DEVICES=void MUSA_VISIBLE_DEVICES=-1 "
     "ASCEND_RT_VISIBLE_DEVICES= ONEAPI_DEVICE_SELECTOR=*:cpu GGML_VK_VISIBLE_DEVICES= "},
    /* No plan worth the name: as without one. */
    {{.n_layers = 7}, NEW, "", ""},
};

static char *joined(const struct pm_strv *strv)
{
    pm_auto_buf struct pm_buf out = {0};

    for (size_t i = 0; i < strv->n; i++)
        pm_buf_addf(&out, "%s ", strv->items[i]);
    return pm_xstrdup(pm_buf_text(&out));
}

static char *pairs(const struct pm_pairs *pairs)
{
    pm_auto_buf struct pm_buf out = {0};

    for (size_t i = 0; i < pairs->names.n; i++)
        pm_buf_addf(&out, "%s=%s ", pairs->names.items[i], pairs->values.items[i]);
    return pm_xstrdup(pm_buf_text(&out));
}

static void test_a_plan_is_these_arguments_and_these_variables(void **state)
{
    struct pm_pool_spec *pool = pm_pool_spec_new("tiny");

    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct pm_choice choice = {0};
        struct poolmgr_error err = {0};
        pm_auto_free char *arguments = NULL, *variables = NULL;

        assert_int_equal(pm_engine_choose(&rows[i].plan, pool, &rows[i].traits, &choice, &err), 0);
        arguments = joined(&choice.arguments);
        variables = pairs(&choice.variables);
        assert_string_equal(arguments, rows[i].arguments);
        assert_string_equal(variables, rows[i].variables);
        pm_choice_fini(&choice);
    }
    pm_pool_spec_unref(pool);
}

/* plan NULL: by the pool alone, and old builds are never given what they do not know. */
static void test_without_a_plan_the_pool_decides(void **state)
{
    static const struct pm_engine_traits new = NEW;
    static const struct {
        const char *devices, *arguments, *variables;
    } pools[] = {
        {"auto", "", ""},
        {"0", "", ""},
        {"cpu", "--device none -ngl 0 ", NOTHING},
        {"none", "--device none -ngl 0 ", NOTHING},
    };

    for (size_t i = 0; i < PM_ARRAY_LEN(pools); i++) {
        struct pm_pool_spec *pool = pm_pool_spec_new("tiny");
        struct pm_choice choice = {0};
        pm_auto_free char *arguments = NULL, *variables = NULL;

        free(pool->devices);
        pool->devices = pm_xstrdup(pools[i].devices);
        assert_int_equal(pm_engine_choose(NULL, pool, &new, &choice, NULL), 0);
        arguments = joined(&choice.arguments);
        variables = pairs(&choice.variables);
        assert_string_equal(arguments, pools[i].arguments);
        assert_string_equal(variables, pools[i].variables);
        pm_choice_fini(&choice);
        pm_pool_spec_unref(pool);
    }
}

static void test_devices_that_no_list_can_name_together_are_refused(void **state)
{
    static const struct pm_plan plans[] = {
        {.n_devices = 2, .devices = {{.id = "0"}, {.id = U0}}},
        {.n_devices = 2, .devices = {{.id = U0}, {.id = A0}}},
    };
    struct pm_pool_spec *pool = pm_pool_spec_new("tiny");

    for (size_t i = 0; i < PM_ARRAY_LEN(plans); i++) {
        struct pm_choice choice = {0};
        struct poolmgr_error err = {0};

        assert_int_equal(pm_engine_choose(&plans[i], pool, NULL, &choice, &err),
                         POOLMGR_E_BAD_ARGUMENTS);
        assert_non_null(strstr(err.message, plans[i].devices[1].id));
        assert_int_equal(choice.arguments.n + choice.variables.names.n, 0);
    }
    pm_pool_spec_unref(pool);
}

/* ---- the whole command line ---------------------------------------------------------------------------- */

static size_t count(const struct pm_strv *env, const char *name)
{
    size_t found = 0, n = strlen(name);

    for (size_t i = 0; i < env->n; i++)
        found += strncmp(env->items[i], name, n) == 0 && env->items[i][n] == '=';
    return found;
}

static struct pm_engine_command start(const struct pm_plan *plan, char **inherited)
{
    struct pm_engine_spec engine = {
        .name = (char *)"llama", .family = PM_FAMILY_LLAMA_CPP, .path = (char *)"/bin/true"};
    struct pm_pool_spec *pool = pm_pool_spec_new("tiny");
    struct pm_engine_command command = {0};
    struct poolmgr_error err = {0};

    pool->model.main = pm_xstrdup("/m/a.gguf");
    pm_strv_add(&engine.args, "--flash-attn");
    pm_strv_add(&pool->args, "-ngl");
    pm_strv_add(&pool->args, "5");
    assert_int_equal(pm_engine_command(&engine, pool, 0, "/run/i/tiny.1", "tiny.1", plan, NULL,
                                       inherited, &command, &err),
                     0);
    pm_strv_fini(&engine.args);
    pm_pool_spec_unref(pool);
    return command;
}

static void test_what_a_person_wrote_comes_last_and_wins(void **state)
{
    static const struct pm_plan plan = {.n_devices = 1, .devices = {{.id = "0"}}};
    struct pm_engine_command command = start(&plan, NULL);
    pm_auto_free char *line = joined(&command.argv);

    assert_non_null(strstr(line, "--no-ui -sm none -mg 0 -ngl 999 --flash-attn -ngl 5 "));
    pm_engine_command_fini(&command);
}

/* Whatever selectors the daemon has: none is left but the plan's, and each stands once. */
static void test_no_selector_is_inherited_where_there_is_a_plan(void **state)
{
    static const struct pm_plan gpu = {.n_devices = 1, .devices = {{.id = U1}}},
                                cpu = {.on_cpu = true};
    static const struct pm_plan *const plans[] = {&gpu, &cpu, NULL};
    struct pm_strv inherited = {0};

    for (size_t i = 0; i < pm_n_selectors; i++) {
        pm_auto_free char *text = pm_xasprintf("%s=inherited", pm_selectors[i].name);

        pm_strv_add(&inherited, text);
    }
    pm_strv_add(&inherited, "LLAMA_ARG_RPC=inherited");
    pm_strv_add(&inherited, "LLAMA_ARG_OVERRIDE_TENSOR=inherited");
    pm_strv_add(&inherited, "LLAMA_ARG_THREADS=3");
    for (size_t i = 0; i < PM_ARRAY_LEN(plans); i++) {
        struct pm_engine_command command = start(plans[i], inherited.items);
        pm_auto_free char *env = joined(&command.env);

        assert_non_null(strstr(env, "LLAMA_ARG_THREADS=3 "));
        for (size_t k = 0; k < pm_n_selectors; k++)
            assert_true(count(&command.env, pm_selectors[k].name) <= 1);
        if (!plans[i])
            assert_int_equal(count(&command.env, "LLAMA_ARG_RPC"), 1);
        else
            assert_null(strstr(env, "inherited"));
        if (plans[i] == &gpu)
            assert_non_null(strstr(env, "CUDA_VISIBLE_DEVICES=" U1 " "));
        pm_engine_command_fini(&command);
    }
    pm_strv_fini(&inherited);
}

static void test_selectors_are_known_by_name(void **state)
{
    assert_true(pm_is_selector("CUDA_VISIBLE_DEVICES"));
    assert_true(pm_is_selector("ZE_FLAT_DEVICE_HIERARCHY"));
    assert_true(pm_is_selector("GGML_VK_ALLOW_SYSMEM_FALLBACK"));
    assert_false(pm_is_selector("CUDA_VISIBLE_DEVICES_"));
    assert_false(pm_is_selector("PATH"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_plan_is_these_arguments_and_these_variables),
        cmocka_unit_test(test_without_a_plan_the_pool_decides),
        cmocka_unit_test(test_devices_that_no_list_can_name_together_are_refused),
        cmocka_unit_test(test_what_a_person_wrote_comes_last_and_wins),
        cmocka_unit_test(test_no_selector_is_inherited_where_there_is_a_plan),
        cmocka_unit_test(test_selectors_are_known_by_name),
    };

    return cmocka_run_group_tests_name("engine: devices", tests, NULL, NULL);
}
