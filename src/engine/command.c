/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a specification to a command line. What the user wrote in `args` comes last and as it is: who knows more
 * than we do wins. The program is looked up here and not by execvp, so that a missing one is told with the places
 * that were searched and is never tried again by itself.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/internal.h"
#include "util/cleanup.h"

/* Connections besides one for each slot: kept ones, probes, a reader of its metrics, and some that are closing. A
 * kept connection holds one of llama-server's threads, and without a free one even its health route is silent. */
#define SPARE_THREADS 16

void pm_engine_command_fini(struct pm_engine_command *command)
{
    pm_strv_fini(&command->argv);
    pm_strv_fini(&command->env);
}

static void add_all(struct pm_strv *to, const struct pm_strv *from)
{
    size_t i;

    for (i = 0; i < from->n; i++)
        pm_strv_add(to, from->items[i]);
}

static bool runnable(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

static const char *variable_of(char **environment, const char *name)
{
    size_t n = strlen(name);

    for (; environment && *environment; environment++)
        if (strncmp(*environment, name, n) == 0 && (*environment)[n] == '=')
            return *environment + n + 1;

    return NULL;
}

static char *search_path(const char *name, const char *path)
{
    const char *end;

    for (; *path; path = *end ? end + 1 : end) {
        pm_auto_free char *candidate = NULL;

        end = strchrnul(path, ':');
        if (*path != '/')
            continue; /* the current folder is nobody's choice */

        candidate = pm_xasprintf("%.*s/%s", (int)(end - path), path, name);
        if (runnable(candidate))
            return pm_take(candidate);
    }

    return NULL;
}

static int find_program(const struct pm_engine_spec *engine, const char *name, char **environment,
                        char **ret, struct poolmgr_error *err)
{
    const char *path = variable_of(environment, "PATH");
    char *found;

    if (strchr(name, '/')) {
        if (!runnable(name)) {
            (void)pm_fail(err, POOLMGR_E_ENGINE_MISSING, "engine '%s': %s %s", engine->name, name,
                          access(name, F_OK) == 0 ? "is not a program that may be run"
                                                  : "does not exist");
            return pm_error_hint(err, POOLMGR_E_ENGINE_MISSING,
                                 "set engines.%s.path in the configuration, or --engine",
                                 engine->name);
        }
        *ret = pm_xstrdup(name);
        return POOLMGR_OK;
    }

    found = search_path(name, path ? path : "/usr/local/bin:/usr/bin:/bin");
    if (!found) {
        (void)pm_fail(err, POOLMGR_E_ENGINE_MISSING, "engine '%s': no %s in PATH (%.300s)",
                      engine->name, name, path ? path : "unset");
        return pm_error_hint(err, POOLMGR_E_ENGINE_MISSING,
                             "install it, or set engines.%s.path or --engine", engine->name);
    }

    *ret = found;
    return POOLMGR_OK;
}

/* A port nobody listens on now. Somebody may take it before the engine does: then the engine fails to bind, or
 * what listens there is found not to be the engine's (ENGINE-3). */
static int free_port(unsigned *ret, struct poolmgr_error *err)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof address;
    pm_auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &n) < 0)
        return pm_fail(err, POOLMGR_E_INTERNAL, "no free port on 127.0.0.1: %m");

    *ret = ntohs(address.sin_port);
    return POOLMGR_OK;
}

/* Where the engine will listen, as words for its command line. */
struct place {
    char socket[sizeof((struct sockaddr_un *)0)->sun_path];
    unsigned port; /* 0: the socket */
};

static int choose_place(bool by_socket, const char *folder, struct place *place, char *endpoint,
                        size_t size, struct poolmgr_error *err)
{
    int r;

    if (by_socket) {
        if ((size_t)snprintf(place->socket, sizeof place->socket, "%s/engine.sock", folder) >=
            sizeof place->socket)
            return pm_fail(err, POOLMGR_E_PATH_TOO_LONG,
                           "%s/engine.sock has %zu bytes; a socket's path has at most %zu", folder,
                           strlen(folder) + strlen("/engine.sock"), sizeof place->socket - 1);
        (void)snprintf(endpoint, size, "unix:%s", place->socket);
        return POOLMGR_OK;
    }

    r = free_port(&place->port, err);
    if (r < 0)
        return r;

    (void)snprintf(endpoint, size, "http://127.0.0.1:%u", place->port);
    return POOLMGR_OK;
}

static void add_number(struct pm_strv *argv, const char *flag, uint64_t number)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%" PRIu64, number);
    pm_strv_add(argv, flag);
    pm_strv_add(argv, text);
}

static void add_model_file(struct pm_strv *argv, const char *flag, const char *ref)
{
    if (!ref)
        return;

    pm_strv_add(argv, flag);
    pm_strv_add(argv, pm_model_path(ref) ? pm_model_path(ref) : ref);
}

static uint64_t context_of_all(const struct pm_pool_spec *pool)
{
    uint64_t n;

    return __builtin_mul_overflow(pool->context, pool->n_slots, &n) ? INT32_MAX : n;
}

static void llama_arguments(const struct pm_engine_spec *engine, const struct pm_pool_spec *pool,
                            const struct place *place, const struct pm_choice *choice,
                            struct pm_strv *argv)
{
    size_t i;

    add_model_file(argv, "-m", pool->model.main);
    add_model_file(argv, "--mmproj", pool->model.mmproj);
    add_model_file(argv, "-md", pool->model.draft);
    for (i = 0; i < pool->model.lora.n; i++)
        add_model_file(argv, "--lora", pool->model.lora.items[i]);

    pm_strv_add(argv, "-a");
    pm_strv_add(argv, pool->id);
    pm_strv_add(argv, "--host");
    pm_strv_add(argv, place->port ? "127.0.0.1" : place->socket);
    if (place->port)
        add_number(argv, "--port", place->port);

    add_number(argv, "-np", pool->n_slots);
    add_number(argv, "-c", context_of_all(pool));
    add_number(argv, "--threads-http", pool->n_slots + SPARE_THREADS);
    pm_strv_add(argv, "--metrics");
    pm_strv_add(argv, "--no-ui");
    add_all(argv, &choice->arguments);
    add_all(argv, &engine->args);
    add_all(argv, &pool->args);
}

/* ${PORT}, ${SOCKET} and ${MODEL}; anything else stays as it is. */
static char *fill_in(const char *text, const struct pm_pool_spec *pool, const struct place *place)
{
    struct {
        const char *name, *value;
    } words[3] = {{"${PORT}", ""}, {"${SOCKET}", place->socket}, {"${MODEL}", ""}};
    pm_auto_buf struct pm_buf out = {0};
    char port[8];
    size_t i;

    (void)snprintf(port, sizeof port, "%u", place->port);
    words[0].value = port;
    if (pool->model.main)
        words[2].value =
            pm_model_path(pool->model.main) ? pm_model_path(pool->model.main) : pool->model.main;

    while (*text) {
        for (i = 0; i < PM_ARRAY_LEN(words); i++)
            if (pm_str_starts(text, words[i].name))
                break;

        if (i == PM_ARRAY_LEN(words)) {
            pm_buf_add(&out, text++, 1);
            continue;
        }

        pm_buf_adds(&out, words[i].value);
        text += strlen(words[i].name);
    }

    return pm_xstrdup(pm_buf_text(&out));
}

static bool mentions(const struct pm_strv *argv, const char *word)
{
    size_t i;

    for (i = 0; i < argv->n; i++)
        if (strstr(argv->items[i], word))
            return true;

    return false;
}

static void command_arguments(const struct pm_engine_spec *engine, const struct pm_pool_spec *pool,
                              const struct place *place, struct pm_strv *argv)
{
    size_t i;

    for (i = 1; i < engine->argv.n; i++) {
        pm_auto_free char *text = fill_in(engine->argv.items[i], pool, place);

        pm_strv_add(argv, text);
    }

    add_all(argv, &engine->args);
    add_all(argv, &pool->args);
}

static const char *program_of(const struct pm_engine_spec *engine)
{
    if (engine->family == PM_FAMILY_COMMAND)
        return engine->argv.n > 0 ? engine->argv.items[0] : NULL;

    return engine->path ? engine->path : "llama-server";
}

int pm_engine_program(const struct pm_engine_spec *engine, char **environment, char **ret,
                      struct poolmgr_error *err)
{
    const char *name = program_of(engine);

    return name ? find_program(engine, name, environment, ret, err) : POOLMGR_E_ENGINE_MISSING;
}

static bool by_socket(const struct pm_engine_spec *engine)
{
    if (engine->family == PM_FAMILY_COMMAND)
        return mentions(&engine->argv, "${SOCKET}");

    return engine->transport == PM_TRANSPORT_UNIX;
}

static int check_family(const struct pm_engine_spec *engine, struct poolmgr_error *err)
{
    if (!pm_adapter(engine->family))
        return pm_fail(
            err, POOLMGR_E_UNSUPPORTED,
            "engine '%s': only the families llama.cpp, command and external are built so far",
            engine->name);

    if (engine->url || engine->image) {
        (void)pm_fail(err, POOLMGR_E_UNSUPPORTED, "engine '%s': engines are not fetched yet",
                      engine->name);
        return pm_error_hint(err, POOLMGR_E_UNSUPPORTED,
                             "install the program yourself and set engines.%s.path", engine->name);
    }

    if (!program_of(engine))
        return pm_fail(err, POOLMGR_E_BAD_ARGUMENTS, "engine '%s' has an empty argv", engine->name);

    return POOLMGR_OK;
}

int pm_engine_command(const struct pm_engine_spec *engine, const struct pm_pool_spec *pool,
                      unsigned replica, const char *folder, const char *instance_name,
                      const struct pm_plan *plan, const struct pm_engine_traits *traits,
                      char **environment, struct pm_engine_command *ret, struct poolmgr_error *err)
{
    __attribute__((__cleanup__(pm_choice_fini))) struct pm_choice choice = {0};
    struct pm_engine_command command = {0};
    struct place place = {0};
    pm_auto_free char *program = NULL;
    int r;

    (void)replica;
    r = check_family(engine, err);
    if (r < 0)
        return r;

    r = pm_engine_program(engine, environment, &program, err);
    if (r < 0)
        return r;

    r = pm_engine_choose(plan, pool, traits, &choice, err);
    if (r < 0)
        return r;

    r = choose_place(by_socket(engine), folder, &place, command.endpoint, sizeof command.endpoint,
                     err);
    if (r < 0)
        return r;

    pm_strv_add(&command.argv, program);
    if (engine->family == PM_FAMILY_COMMAND)
        command_arguments(engine, pool, &place, &command.argv);
    else
        llama_arguments(engine, pool, &place, &choice, &command.argv);

    if (pm_adapter(engine->family)->guards_with_key)
        pm_random_hex(command.api_key, 16);

    pm_engine_environment(engine, pool, &choice, instance_name, command.api_key, environment,
                          &command.env);
    *ret = command;
    return POOLMGR_OK;
}
