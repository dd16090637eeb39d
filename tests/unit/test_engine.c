/* SPDX-License-Identifier: Apache-2.0 */
/* Engine families: command lines, environments, model checks, last words (ENGINE-2, ENGINE-3, SUP-1, SUP-6). */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/ask.h"
#include "engine/engine.h"
#include "engine/internal.h"
#include "util/cleanup.h"

/* ---- what the tests start from ---------------------------------------------------------------------- */

static struct pm_engine_spec llama = {
    .name = (char *)"llama", .family = PM_FAMILY_LLAMA_CPP, .path = (char *)"/bin/true"};

static struct pm_pool_spec *make_pool(const char *model)
{
    struct pm_pool_spec *pool = pm_pool_spec_new("tiny");

    free(pool->model.main);
    pool->model.main = pm_xstrdup(model);
    pool->n_slots = 4;
    pool->context = 512;
    return pool;
}

static char *joined(const struct pm_strv *strv)
{
    pm_auto_buf struct pm_buf out = {0};
    size_t i;

    for (i = 0; i < strv->n; i++)
        pm_buf_addf(&out, "%s ", strv->items[i]);

    return pm_xstrdup(pm_buf_text(&out));
}

static void assert_says(const char *text, const char *wanted)
{
    if (!strstr(text, wanted))
        fail_msg("%s is not there", wanted);
}

static void assert_says_not(const char *text, const char *unwanted)
{
    if (strstr(text, unwanted) != NULL)
        fail_msg("%s is there", unwanted);
}

static const char *value_of(const struct pm_strv *env, const char *name)
{
    const char *found = NULL;
    size_t i, n = strlen(name);

    for (i = 0; i < env->n; i++) {
        if (strncmp(env->items[i], name, n) == 0 && env->items[i][n] == '=') {
            assert_null(found); /* a name stands once */
            found = env->items[i] + n + 1;
        }
    }

    return found;
}

static char *no_environment[] = {NULL};

/* ---- command lines ---------------------------------------------------------------------------------- */

static void test_llama_server_listens_on_a_socket_in_the_instances_folder(void **state)
{
    struct pm_pool_spec *pool = make_pool("file:/m/a.gguf");
    struct pm_engine_command command = {0};
    struct poolmgr_error err = {0};
    char *line;

    (void)state;
    pm_strv_add(&pool->args, "--temp");
    pm_strv_add(&pool->args, "0");
    assert_int_equal(pm_engine_command(&llama, pool, 0, "/run/i/tiny.3", "tiny.3", NULL, NULL,
                                       no_environment, &command, &err),
                     0);
    line = joined(&command.argv);
    assert_says(line, "/bin/true -m /m/a.gguf -a tiny --host /run/i/tiny.3/engine.sock ");
    assert_says(line, "-np 4 -c 2048 --threads-http 20 --metrics --no-ui");
    assert_says(line, "--temp 0 ");
    assert_says_not(line, "--port");
    assert_says_not(line, "--device");
    assert_string_equal(command.endpoint, "unix:/run/i/tiny.3/engine.sock");
    assert_int_equal(strlen(command.api_key), 32);
    assert_string_equal(value_of(&command.env, "LLAMA_API_KEY"), command.api_key);
    assert_says_not(line, command.api_key);
    free(line);
    pm_engine_command_fini(&command);
    pm_pool_spec_unref(pool);
}

static void test_tcp_gets_a_free_port_and_cpu_pools_no_device(void **state)
{
    struct pm_pool_spec *pool = make_pool("/m/a.gguf");
    struct pm_engine_spec tcp = llama;
    struct pm_engine_command command = {0};
    struct poolmgr_error err = {0};
    unsigned port = 0;
    char *line, *wanted;

    (void)state;
    tcp.transport = PM_TRANSPORT_TCP;
    free(pool->devices);
    pool->devices = pm_xstrdup("cpu");
    assert_int_equal(pm_engine_command(&tcp, pool, 0, "/run/i/tiny.3", "tiny.3", NULL, NULL,
                                       no_environment, &command, &err),
                     0);
    assert_int_equal(sscanf(command.endpoint, "http://127.0.0.1:%u", &port), 1);
    assert_true(port > 0);
    line = joined(&command.argv);
    wanted = pm_xasprintf("--host 127.0.0.1 --port %u ", port);
    assert_says(line, wanted);
    assert_says(line, "--device none -ngl 0");
    assert_string_equal(value_of(&command.env, "CUDA_VISIBLE_DEVICES"), "-1");
    free(wanted);
    free(line);
    pm_engine_command_fini(&command);
    pm_pool_spec_unref(pool);
}

static void test_an_engine_sees_no_secrets_and_keeps_inherited_selectors(void **state)
{
    static char *inherited[] = {(char *)"PATH=/bin",
                                (char *)"HOME=/root",
                                (char *)"HF_TOKEN=secret",
                                (char *)"POOLMGR_API_KEY=secret",
                                (char *)"NOTIFY_SOCKET=/x",
                                (char *)"LISTEN_FDS=1",
                                (char *)"WATCHDOG_USEC=1",
                                (char *)"LLAMA_API_KEY=other",
                                (char *)"CUDA_VISIBLE_DEVICES=1",
                                NULL};
    struct pm_pool_spec *pool = make_pool("/m/a.gguf");
    struct pm_engine_spec engine = llama;
    struct pm_engine_command command = {0};
    struct poolmgr_error err = {0};

    (void)state;
    pm_strv_add(&engine.env.names, "A");
    pm_strv_add(&engine.env.values, "engine");
    pm_strv_add(&engine.env.names, "HOME");
    pm_strv_add(&engine.env.values, "/elsewhere");
    pm_strv_add(&pool->env.names, "A");
    pm_strv_add(&pool->env.values, "pool");
    assert_int_equal(pm_engine_command(&engine, pool, 0, "/run/i/tiny.3", "tiny.3", NULL, NULL,
                                       inherited, &command, &err),
                     0);
    assert_null(value_of(&command.env, "HF_TOKEN"));
    assert_null(value_of(&command.env, "POOLMGR_API_KEY"));
    assert_null(value_of(&command.env, "NOTIFY_SOCKET"));
    assert_null(value_of(&command.env, "LISTEN_FDS"));
    assert_null(value_of(&command.env, "WATCHDOG_USEC"));
    assert_string_not_equal(value_of(&command.env, "LLAMA_API_KEY"), "other");
    assert_string_equal(value_of(&command.env, "CUDA_VISIBLE_DEVICES"), "1");
    assert_string_equal(value_of(&command.env, "POOLMGR_INSTANCE"), "tiny.3");
    assert_string_equal(value_of(&command.env, "POOLMGR_POOL"), "tiny");
    assert_string_equal(value_of(&command.env, "GGML_NO_BACKTRACE"), "1");
    assert_string_equal(value_of(&command.env, "HOME"), "/elsewhere");
    assert_string_equal(value_of(&command.env, "A"), "pool");
    pm_engine_command_fini(&command);
    pm_strv_fini(&engine.env.names);
    pm_strv_fini(&engine.env.values);
    pm_pool_spec_unref(pool);
}

static void test_a_command_gets_its_words_filled_in(void **state)
{
    struct pm_engine_spec engine = {.name = (char *)"sd", .family = PM_FAMILY_COMMAND};
    struct pm_pool_spec *pool = make_pool("/m/a b.bin");
    struct pm_engine_command command = {0};
    struct poolmgr_error err = {0};
    char *line;

    (void)state;
    pm_strv_add(&engine.argv, "/bin/true");
    pm_strv_add(&engine.argv, "--sock=${SOCKET}");
    pm_strv_add(&engine.argv, "${MODEL}${UNKNOWN}$");
    assert_int_equal(pm_engine_command(&engine, pool, 0, "/run/i/tiny.1", "tiny.1", NULL, NULL,
                                       no_environment, &command, &err),
                     0);
    line = joined(&command.argv);
    assert_string_equal(line, "/bin/true --sock=/run/i/tiny.1/engine.sock /m/a b.bin${UNKNOWN}$ ");
    assert_string_equal(command.endpoint, "unix:/run/i/tiny.1/engine.sock");
    assert_string_equal(command.api_key, "");
    free(line);
    pm_engine_command_fini(&command);
    pm_strv_fini(&engine.argv);
    pm_pool_spec_unref(pool);
}

static void test_what_cannot_be_started_is_told_before_the_spawn(void **state)
{
    static char *path_of_nothing[] = {(char *)"PATH=/nowhere:/etc", NULL};
    struct pm_engine_spec missing = llama, folder = llama, from_path = llama, vllm = llama,
                          fetched = llama;
    struct pm_pool_spec *pool = make_pool("/m/a.gguf");
    char deep[200];
    struct {
        struct pm_engine_spec *engine;
        const char *folder;
        int code;
        const char *text;
    } rows[] = {
        {&missing, "/i", POOLMGR_E_ENGINE_MISSING, "/nowhere/llama-server does not exist"},
        {&folder, "/i", POOLMGR_E_ENGINE_MISSING, "/etc is not a program"},
        {&from_path, "/i", POOLMGR_E_ENGINE_MISSING, "no llama-server in PATH (/nowhere:/etc)"},
        {&vllm, "/i", POOLMGR_E_UNSUPPORTED, "only the families"},
        {&fetched, "/i", POOLMGR_E_UNSUPPORTED, "not fetched yet"},
        {&llama, deep, POOLMGR_E_PATH_TOO_LONG, "has 211 bytes"},
    };
    size_t i;

    (void)state;
    missing.path = (char *)"/nowhere/llama-server";
    folder.path = (char *)"/etc";
    from_path.path = NULL;
    vllm.family = PM_FAMILY_VLLM;
    fetched.url = (char *)"https://example.org/x";
    memset(deep, 'x', sizeof deep);
    deep[0] = '/';
    deep[199] = '\0';
    for (i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct pm_engine_command command = {0};
        struct poolmgr_error err = {0};

        assert_int_equal(pm_engine_command(rows[i].engine, pool, 0, rows[i].folder, "tiny.1", NULL,
                                           NULL, path_of_nothing, &command, &err),
                         rows[i].code);
        assert_says(err.message, rows[i].text);
    }
    pm_pool_spec_unref(pool);
}

/* ---- models ----------------------------------------------------------------------------------------- */

static void test_models_that_are_not_there_or_no_files_are_told(void **state)
{
    char folder[] = "/tmp/poolmgr-test-XXXXXX";
    char *fifo;
    struct {
        const char *ref;
        int code;
        const char *text;
    } rows[] = {
        {"/nowhere/a.gguf", POOLMGR_E_MODEL_MISSING, "/nowhere/a.gguf does not exist"},
        {"file:/nowhere/a.gguf", POOLMGR_E_MODEL_MISSING, "/nowhere/a.gguf does not exist"},
        {"/etc/passwd/a.gguf", POOLMGR_E_MODEL_MISSING, "does not exist"},
        {"/etc", POOLMGR_E_MODEL_MISSING, "is a folder"},
        {NULL, POOLMGR_E_MODEL_MISSING, "is a device or a pipe"},
        {"/etc/passwd", POOLMGR_E_MODEL_CORRUPT, "/etc/passwd: no GGUF file"},
        {"hf:org/repo", POOLMGR_E_MODEL_MISSING, "not downloaded yet"},
        {"https://example.org/a.gguf", POOLMGR_E_MODEL_MISSING, "not downloaded yet"},
    };
    size_t i;

    (void)state;
    assert_non_null(mkdtemp(folder));
    fifo = pm_xasprintf("%s/fifo", folder);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    rows[4].ref = fifo;
    for (i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct pm_pool_spec *pool = make_pool(rows[i].ref);
        struct pm_model *model = NULL;
        struct poolmgr_error err = {0};
        uint64_t size;

        assert_int_equal(pm_engine_check_model(&llama, pool, &model, &size, &err), rows[i].code);
        pm_model_unref(model);
        assert_says(err.message, rows[i].text);
        pm_pool_spec_unref(pool);
    }
    (void)unlink(fifo);
    (void)rmdir(folder);
    free(fifo);
}

static void test_shards_lie_beside_the_first_by_its_name(void **state)
{
    char path[64];

    (void)state;
    assert_true(pm_engine_shard("/m/big-00001-of-00012.gguf", 9, path, sizeof path));
    assert_string_equal(path, "/m/big-00010-of-00012.gguf");
    assert_false(pm_engine_shard("/m/big-00001-of-00012.gguf", 12, path, sizeof path));
    assert_true(pm_engine_shard("/m/big-00002-of-00012.gguf", 0, path, sizeof path));
    assert_string_equal(path, "/m/big-00002-of-00012.gguf");
    assert_false(pm_engine_shard("/m/big-00002-of-00012.gguf", 1, path, sizeof path));
    assert_false(pm_engine_shard("/m/big.gguf", 1, path, sizeof path));
    assert_false(pm_engine_shard("/m/big.gguf", 0, path, 4));
}

/* ---- last words ------------------------------------------------------------------------------------- */

static void test_last_words_are_judged_as_the_real_engine_says_them(void **state)
{
    static const struct {
        const char *log;
        struct pm_process_exit how;
        bool was_ready;
        enum pm_class class;
        int code;
        bool permanent;
        const char *line;
    } rows[] = {
        {"error: invalid argument: --frobnicate\n",
         {.status = 1},
         false,
         PM_CLASS_EXIT,
         POOLMGR_E_BAD_ARGUMENTS,
         true,
         "error: invalid argument: --frobnicate"},
        {"error while handling argument \"-c\": stoi\n\nusage:\n-c,    --ctx-size N\n\n\nto show "
         "complete usage, run with -h\n",
         {.status = 1},
         false,
         PM_CLASS_EXIT,
         POOLMGR_E_BAD_ARGUMENTS,
         true,
         "error while handling argument \"-c\": stoi"},
        {"0.00.010.644 E llama_model_load: error loading model: unknown model architecture: "
         "'zzzma'\n"
         "0.00.010.662 E llama_model_load_from_file_impl: failed to load model\n"
         "0.00.011.004 E srv  llama_server: exiting due to model loading error\n",
         {.status = 1},
         false,
         PM_CLASS_EXIT,
         POOLMGR_E_MODEL_UNSUPPORTED,
         true,
         "llama_model_load: error loading model: unknown model architecture: 'zzzma'"},
        {"0.00.010.507 E llama_model_load: error loading model: tensor 'blk.0.attn_output.weight' "
         "data is not within "
         "the file bounds, model is corrupted or incomplete\n",
         {.status = 1},
         false,
         PM_CLASS_EXIT,
         POOLMGR_E_MODEL_CORRUPT,
         true,
         "llama_model_load: error loading model: tensor 'blk.0.attn_output.weight' data is not "
         "within the file bounds, "
         "model is corrupted or incomplete"},
        {"0.00.849.756 E llama_init_from_model: failed to initialize the context: std::bad_alloc\n"
         "0.00.849.777 E srv    load_model: failed to create_context with model 'tiny.gguf'\n",
         {.status = 1},
         false,
         PM_CLASS_OOM,
         0,
         false,
         "llama_init_from_model: failed to initialize the context: std::bad_alloc"},
        {"ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9000.00 MiB on device 0: "
         "cudaMalloc failed: out of memory\n",
         {.status = 1},
         false,
         PM_CLASS_OOM,
         0,
         false,
         "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9000.00 MiB on device 0: "
         "cudaMalloc failed: out of memory"},
        {"0.00.008.752 E srv         start: couldn't bind HTTP server socket, hostname: 127.0.0.1, "
         "port: 9931\n",
         {.status = 1},
         false,
         PM_CLASS_EXIT,
         0,
         false,
         "srv         start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 9931"},
        {"0.04.994.261 I srv    operator(): operator(): cleaning up before exit...\n",
         {.status = 0},
         true,
         PM_CLASS_EXIT,
         0,
         false,
         "srv    operator(): operator(): cleaning up before exit..."},
        {"", {.signalled = true, .status = SIGSEGV}, true, PM_CLASS_SIGNAL, 0, false, ""},
        {"x\n", {.signalled = true, .status = SIGKILL}, true, PM_CLASS_KILLED, 0, false, "x"},
        {"x\n",
         {.signalled = true, .status = SIGKILL, .sigkill_by_us = true},
         true,
         PM_CLASS_SIGNAL,
         0,
         false,
         "x"},
        {"x\n",
         {.signalled = true, .status = SIGKILL, .oom_kill = true},
         true,
         PM_CLASS_OOM,
         0,
         false,
         "x"},
        {"x\n", {.status = -1}, true, PM_CLASS_KILLED, 0, false, "x"},
        /* what was ready once has good arguments: what it repeats of a client's words is no verdict */
        {"W srv: invalid argument: from a request\n",
         {.status = 1},
         true,
         PM_CLASS_EXIT,
         0,
         false,
         "W srv: invalid argument: from a request"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct pm_process_exit how = rows[i].how;
        struct pm_exit ret = {0};

        how.log_tail = (char *)rows[i].log;
        pm_engine_judge(&llama, &how, rows[i].was_ready, &ret);
        assert_int_equal(ret.evidence.class, rows[i].class);
        assert_int_equal(ret.evidence.code, rows[i].code);
        assert_int_equal(ret.evidence.permanent, rows[i].permanent);
        assert_string_equal(ret.evidence.text, rows[i].line);
        assert_int_equal(ret.status, rows[i].how.status);
    }
}

static void test_exit_78_of_a_command_is_for_good(void **state)
{
    struct pm_engine_spec engine = {.name = (char *)"sd", .family = PM_FAMILY_COMMAND};
    struct pm_process_exit how = {.status = 78, .log_tail = (char *)"no such model\n"};
    struct pm_exit ret = {0};

    (void)state;
    pm_engine_judge(&engine, &how, false, &ret);
    assert_true(ret.evidence.permanent);
    assert_string_equal(ret.evidence.text, "no such model");

    how.status = 1;
    pm_engine_judge(&engine, &how, false, &ret);
    assert_false(ret.evidence.permanent);
}

/* ---- what it says of itself -------------------------------------------------------------------------- */

static void test_slots_and_props_are_read_and_anything_else_is_unknown(void **state)
{
    const char *slots = "[{\"id\":0,\"is_processing\":false},{\"id\":1,\"is_processing\":true},{"
                        "\"is_processing\":true}]";
    const char *props = "{\"total_slots\":4,\"build_info\":\"b11669-Debian\"}";
    uint64_t n = 0;
    char version[64];

    (void)state;
    assert_true(pm_slots_busy(slots, strlen(slots), &n));
    assert_int_equal(n, 2);
    assert_true(pm_slots_busy("[]", 2, &n));
    assert_int_equal(n, 0);
    assert_false(pm_slots_busy("{}", 2, &n));
    assert_false(pm_slots_busy("[", 1, &n));
    assert_false(pm_slots_busy("", 0, &n));

    assert_true(pm_props_read(props, strlen(props), version, sizeof version, &n));
    assert_string_equal(version, "b11669-Debian");
    assert_int_equal(n, 4);
    assert_true(pm_props_read("{\"total_slots\":-1}", 18, version, sizeof version, &n));
    assert_int_equal(n, 0);
    assert_string_equal(version, "");
    assert_false(pm_props_read("[]", 2, version, sizeof version, &n));
}

static void test_habits_come_from_the_family_and_a_commands_cancel_from_the_file(void **state)
{
    struct pm_engine_spec command = {
        .name = (char *)"sd", .family = PM_FAMILY_COMMAND, .cancel = PM_CANCEL_ALL};
    struct pm_pool_spec *pool = make_pool("/m");

    (void)state;
    pm_engine_fill_habits(&llama, pool);
    assert_int_equal(pool->habits.cancel, PM_CANCEL_STREAMS);
    assert_true(pool->habits.second_sigterm && pool->habits.reports_busy && pool->habits.ours);

    pm_engine_fill_habits(&command, pool);
    assert_int_equal(pool->habits.cancel, PM_CANCEL_ALL);
    assert_true(!pool->habits.second_sigterm && !pool->habits.reports_busy && pool->habits.ours);
    pm_pool_spec_unref(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_llama_server_listens_on_a_socket_in_the_instances_folder),
        cmocka_unit_test(test_tcp_gets_a_free_port_and_cpu_pools_no_device),
        cmocka_unit_test(test_an_engine_sees_no_secrets_and_keeps_inherited_selectors),
        cmocka_unit_test(test_a_command_gets_its_words_filled_in),
        cmocka_unit_test(test_what_cannot_be_started_is_told_before_the_spawn),
        cmocka_unit_test(test_models_that_are_not_there_or_no_files_are_told),
        cmocka_unit_test(test_shards_lie_beside_the_first_by_its_name),
        cmocka_unit_test(test_last_words_are_judged_as_the_real_engine_says_them),
        cmocka_unit_test(test_exit_78_of_a_command_is_for_good),
        cmocka_unit_test(test_slots_and_props_are_read_and_anything_else_is_unknown),
        cmocka_unit_test(test_habits_come_from_the_family_and_a_commands_cancel_from_the_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
