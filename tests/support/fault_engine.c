/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine that fails on demand. It speaks enough of llama-server's protocol to be taken for one, and takes its
 * arguments (those it does not know are ignored). Its orders are in the environment's FAULT, or in the file that
 * FAULT_FILE names, which is read again with every request: `phase:what[=value]`, separated by commas.
 *
 *   start:exit=CODE      ends before it listens            start:signal=N       kills itself before it listens
 *   start:oom            says it is out of memory, exit 1  start:corrupt        says the model is corrupt, exit 1
 *   start:fork=N         N children that only wait         start:setsid=N       N helpers in sessions of their own
 *   start:flood=BYTES    writes so much to stderr first    start:silent         never prints a ready line
 *   load:delay=MS        says 503 so long                  load:hang            says 503 for ever
 *   load:deaf            accepts and never answers         load:exit=CODE       ends while it loads
 *   load:absent          never listens
 *   ready:exit_after=MS  ends so long after it was ready   ready:exit=CODE      with this code (0)
 *   health:fail          says 503 once it was ready        health:deaf          never answers /health once it was ready
 *   request:exit=CODE    ends with the request             request:signal=N     kills itself with the request
 *   request:hang         never answers                     request:delay=MS     answers so late
 *   request:status=N     answers with an error             request:raw=FILE     answers with the file's bytes, and closes
 *   request:driver       says that its driver failed, and aborts
 *   request:after=N      the orders of `request` and `stream` hold from the Nth request on (from 0)
 *   stream:tokens=N      so many tokens (25)               stream:delay=MS      between two of them
 *   stream:die_at=N      kills itself after N bytes of the body     stream:hang_at=N   stops there
 *   stream:close_at=N    closes the connection there       stream:hold          waits behind the first token
 *   body:size=BYTES      a plain answer of this size
 *   vram:weights=BYTES   takes memory of GPUs that are not there, as CUDA_VISIBLE_DEVICES and the arguments say
 *   vram:layers=N        of so many layers (32)            vram:kv=BYTES        for each token of -c
 *   vram:compute=BYTES   on each device that has a layer   vram:context=BYTES   the same, before all else
 *   vram:steps=N         weights in so many steps (4)      vram:step=MS         between two of them
 *   term:ignore          does not hear SIGTERM             term:hang_busy       nor while a request runs
 *
 * FAULT_STARTS names a file to which each start adds a line; FAULT_TIMES one to which `main`, `ready`, `request` and
 * `token` are added with the nanoseconds of CLOCK_MONOTONIC; FAULT_RECORD one to which every request's bytes are.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fault.h"

static const char *const words[] = {
    " The",  " quick",   " brown", " fox", " starts", " one",  " engine,", " checks",
    " its",  " health,", " waits", " for", " every",  " open", " stream,", " then",
    " lets", " it",      " rest",  " and", " tells",  " you",  " so",      " again."};
#define N_WORDS (sizeof(words) / sizeof(words[0]))

static atomic_bool is_ready;
static atomic_int n_running, n_requests;
static const char *model_name = "fault", *api_key;
static int n_slots = 1, n_args;
static char **args;

/* ---- small things ----------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void fault_sleep_ms(long ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};

    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}

static void append(const char *variable, const void *data, size_t n)
{
    const char *path = getenv(variable);
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;

    if (fd < 0)
        return;
    (void)!write(fd, data, n);
    close(fd);
}

static void stamp(const char *what)
{
    char line[64];

    append("FAULT_TIMES", line,
           (size_t)snprintf(line, sizeof(line), "%s %llu\n", what, (unsigned long long)now_ns()));
}

/* The orders as they stand now; the caller frees. */
static char *orders(void)
{
    const char *path = getenv("FAULT_FILE"), *given = getenv("FAULT");
    char *text = calloc(1, 4096);
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd >= 0) {
        (void)!read(fd, text, 4095);
        close(fd);
    } else if (given) {
        strncpy(text, given, 4095);
    }
    return text;
}

/* True when the order is given; *ret_value (may be NULL) is what stands behind '='. */
bool fault_ordered(const char *name, char *value, size_t size)
{
    char *text = orders(), *save = NULL;
    bool found = false;

    for (char *word = strtok_r(text, ",\n", &save); word && !found;
         word = strtok_r(NULL, ",\n", &save)) {
        size_t n = strlen(name);

        while (*word == ' ')
            word++;
        found = strncmp(word, name, n) == 0 && (word[n] == '\0' || word[n] == '=');
        if (found && value)
            snprintf(value, size, "%s", word[n] ? word + n + 1 : "");
    }
    free(text);
    return found;
}

long fault_number(const char *name, long otherwise)
{
    char value[256];

    return fault_ordered(name, value, sizeof(value)) ? atol(value) : otherwise;
}

static void die(long sig)
{
    signal((int)sig, SIG_DFL);
    raise((int)sig);
    _exit(99);
}

/* ---- HTTP ------------------------------------------------------------------------------------------- */

struct client {
    int fd;
    char in[1 << 16];
    size_t n_in;
    long n_sent; /* of the answer's body */
    bool chunked, dead;
};

static bool send_all(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t put = send(fd, data, n, MSG_NOSIGNAL);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        data += put;
        n -= (size_t)put;
    }
    return true;
}

static bool send_text(int fd, const char *text)
{
    return send_all(fd, text, strlen(text));
}

static bool answer(struct client *client, int status, const char *body)
{
    char head[256];

    snprintf(head, sizeof(head),
             "HTTP/1.1 %d %s\r\nServer: llama.cpp\r\nContent-Type: "
             "application/json\r\nContent-Length: %zu\r\n"
             "Keep-Alive: timeout=5, max=100\r\n\r\n",
             status, status == 200 ? "OK" : "Error", strlen(body));
    return send_text(client->fd, head) && send_text(client->fd, body);
}

/* Sends a piece of a body, and stops where it was told to. */
static bool send_body(struct client *client, const char *data, size_t n)
{
    long die_at = fault_number("stream:die_at", -1), hang_at = fault_number("stream:hang_at", -1);
    long close_at = fault_number("stream:close_at", -1);
    long stop_at = die_at >= 0 ? die_at : hang_at >= 0 ? hang_at : close_at;
    size_t whole = n;
    char size[20];

    if (atomic_load(&n_requests) - 1 < fault_number("request:after", 0))
        stop_at = -1;
    if (stop_at >= 0 && client->n_sent + (long)n > stop_at)
        n = (size_t)(stop_at - client->n_sent);
    if (client->chunked && whole) {
        snprintf(size, sizeof(size), "%zx\r\n", whole);
        if (!send_text(client->fd, size))
            return false;
    }
    if (!send_all(client->fd, data, n))
        return false;
    client->n_sent += (long)n;
    if (stop_at >= 0 && client->n_sent >= stop_at) {
        if (die_at >= 0)
            die(SIGKILL);
        while (hang_at >= 0)
            fault_sleep_ms(1000);
        client->dead = true;
        return false;
    }
    return !client->chunked || send_text(client->fd, "\r\n");
}

/* ---- inference -------------------------------------------------------------------------------------- */

static bool stream_answer(struct client *client, bool chat)
{
    long n = fault_number("stream:tokens", N_WORDS), delay = fault_number("stream:delay", 0);
    char event[512];

    client->chunked = true;
    client->n_sent = 0;
    if (!send_text(client->fd,
                   "HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nContent-Type: text/event-stream\r\n"
                   "Transfer-Encoding: chunked\r\nKeep-Alive: timeout=5, max=100\r\n\r\n"))
        return false;
    for (long i = 0; i < n; i++) {
        const char *shape =
            chat ? "data: "
                   "{\"choices\":[{\"index\":0,\"finish_reason\":null,\"delta\":{\"content\":\"%"
                   "s\"}}],"
                   "\"object\":\"chat.completion.chunk\",\"model\":\"%s\"}\n\n"
                 : "data: {\"choices\":[{\"index\":0,\"text\":\"%s\"}],\"model\":\"%s\"}\n\n";

        if (i && delay)
            fault_sleep_ms(delay);
        while (i && fault_ordered("stream:hold", NULL, 0))
            fault_sleep_ms(10);
        snprintf(event, sizeof(event), shape, words[(size_t)i % N_WORDS], model_name);
        if (i == 0)
            stamp("token");
        if (!send_body(client, event, strlen(event)))
            return false;
    }
    snprintf(
        event, sizeof(event),
        "data: {\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"delta\":{}}],\"object\":"
        "\"chat.completion.chunk\",\"model\":\"%s\",\"timings\":{\"prompt_n\":5,\"predicted_n\":%"
        "ld,"
        "\"predicted_ms\":%ld.5}}\n\ndata: [DONE]\n\n",
        model_name, n, n * delay);
    return send_body(client, event, strlen(event)) && send_text(client->fd, "0\r\n\r\n");
}

static bool plain_answer(struct client *client, bool chat)
{
    long n = fault_number("stream:tokens", N_WORDS), delay = fault_number("stream:delay", 0),
         size = fault_number("body:size", 0);
    char *body = calloc(1, (size_t)(size > 0 ? size : 0) + (size_t)n * 16 + 512);
    char head[256];
    size_t at;
    bool ok;

    strcpy(body, chat ? "{\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"message\":{"
                        "\"role\":\"assistant\","
                        "\"content\":\""
                      : "{\"choices\":[{\"index\":0,\"text\":\"");
    at = strlen(body);
    for (long i = 0; i < n; i++) {
        if (delay)
            fault_sleep_ms(delay);
        at += (size_t)sprintf(body + at, "%s", words[(size_t)i % N_WORDS]);
    }
    while ((long)at < size)
        body[at++] = 'x';
    snprintf(
        body + at, 256,
        "\"%s}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":%ld,\"total_tokens\":%ld}}",
        chat ? "}" : "", n, n + 5);
    snprintf(
        head, sizeof(head),
        "HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nContent-Type: application/json; charset=utf-8\r\n"
        "Content-Length: %zu\r\nKeep-Alive: timeout=5, max=100\r\n\r\n",
        strlen(body));
    stamp("token");
    client->chunked = false;
    client->n_sent = 0;
    ok = send_text(client->fd, head) && send_body(client, body, strlen(body));
    free(body);
    return ok;
}

static bool send_raw(struct client *client, const char *path)
{
    char buffer[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    while (fd >= 0 && (n = read(fd, buffer, sizeof(buffer))) > 0)
        send_all(client->fd, buffer, (size_t)n);
    if (fd >= 0)
        close(fd);
    client->dead = true;
    return false;
}

static bool infer(struct client *client, const char *path, const char *body)
{
    bool stream = strstr(body, "\"stream\":true") || strstr(body, "\"stream\": true");
    bool chat = strstr(path, "chat") != NULL;
    char value[512];
    bool ok;

    atomic_fetch_add(&n_running, 1);
    if (atomic_fetch_add(&n_requests, 1) >= fault_number("request:after", 0)) {
        stamp("request");
        if (fault_ordered("request:exit", NULL, 0))
            exit((int)fault_number("request:exit", 1));
        if (fault_ordered("request:driver", NULL, 0)) {
            fprintf(stderr,
                    "E ggml_cuda_error: CUDA error: an illegal memory access was encountered\n");
            die(SIGABRT);
        }
        if (fault_ordered("request:signal", NULL, 0))
            die(fault_number("request:signal", SIGKILL));
        while (fault_ordered("request:hang", NULL, 0))
            fault_sleep_ms(50);
        fault_sleep_ms(fault_number("request:delay", 0));
        if (fault_ordered("request:raw", value, sizeof(value))) {
            atomic_fetch_sub(&n_running, 1);
            return send_raw(client, value);
        }
        if (fault_ordered("request:status", NULL, 0)) {
            atomic_fetch_sub(&n_running, 1);
            return answer(client, (int)fault_number("request:status", 500),
                          "{\"error\":{\"message\":\"as ordered\",\"type\":\"server_error\"}}");
        }
    }
    ok = stream ? stream_answer(client, chat) : plain_answer(client, chat);
    atomic_fetch_sub(&n_running, 1);
    return ok;
}

/* ---- requests --------------------------------------------------------------------------------------- */

static bool health(struct client *client)
{
    bool ready = atomic_load(&is_ready);

    while (fault_ordered("load:deaf", NULL, 0) || (ready && fault_ordered("health:deaf", NULL, 0)))
        fault_sleep_ms(50);
    if (!ready || fault_ordered("health:fail", NULL, 0))
        return answer(client, 503,
                      "{\"error\":{\"code\":503,\"message\":\"Loading "
                      "model\",\"type\":\"unavailable_error\"}}");
    return answer(client, 200, "{\"status\":\"ok\"}");
}

static bool slots(struct client *client)
{
    int busy = atomic_load(&n_running);
    char body[8192] = "[";

    for (int i = 0; i < n_slots && strlen(body) < sizeof(body) - 64; i++)
        snprintf(body + strlen(body), 64, "%s{\"id\":%d,\"is_processing\":%s}", i ? "," : "", i,
                 i < busy ? "true" : "false");
    strcat(body, "]");
    return answer(client, 200, body);
}

static bool authorised(const char *head)
{
    char wanted[128];

    if (!api_key)
        return true;
    snprintf(wanted, sizeof(wanted), "Authorization: Bearer %s\r\n", api_key);
    return strcasestr(head, wanted) != NULL;
}

static bool route(struct client *client, char *head, const char *body)
{
    char path[256] = "";
    char text[256];

    sscanf(head, "%*s %255s", path);
    if (strcmp(path, "/health") == 0)
        return health(client);
    if (!atomic_load(&is_ready))
        return answer(client, 503,
                      "{\"error\":{\"code\":503,\"message\":\"Loading "
                      "model\",\"type\":\"unavailable_error\"}}");
    if (!authorised(head))
        return answer(client, 401,
                      "{\"error\":{\"code\":401,\"message\":\"Invalid API "
                      "Key\",\"type\":\"authentication_error\"}}");
    if (strcmp(path, "/props") == 0) {
        snprintf(text, sizeof(text),
                 "{\"total_slots\":%d,\"build_info\":\"fault-1\",\"model_path\":\"%s\"}", n_slots,
                 model_name);
        return answer(client, 200, text);
    }
    if (strncmp(path, "/slots", 6) == 0)
        return slots(client);
    if (strcmp(path, "/metrics") == 0)
        return answer(client, 200, "llamacpp:requests_processing 0\n");
    if (strcmp(path, "/tokenize") == 0)
        return answer(client, 200, "{\"tokens\":[1,2,3]}");
    if (strcmp(path, "/v1/embeddings") == 0)
        return answer(client, 200,
                      "{\"object\":\"list\",\"data\":[{\"index\":0,\"embedding\":[0.5,0.5]}],"
                      "\"usage\":{\"prompt_tokens\":2,\"total_tokens\":2}}");
    if (strncmp(path, "/v1/", 4) == 0 || strcmp(path, "/infill") == 0)
        return infer(client, path, body);
    return answer(
        client, 404,
        "{\"error\":{\"code\":404,\"message\":\"File Not Found\",\"type\":\"not_found_error\"}}");
}

/* Reads one request and answers it; false ends the connection. */
static bool serve_one(struct client *client)
{
    char *end, *length, *head;
    size_t n_head, n_body, have;
    char *body;
    bool ok;

    while (!(end = memmem(client->in, client->n_in, "\r\n\r\n", 4))) {
        ssize_t n =
            recv(client->fd, client->in + client->n_in, sizeof(client->in) - client->n_in - 1, 0);

        if (n <= 0 || (client->n_in += (size_t)n) >= sizeof(client->in) - 1)
            return false;
    }
    n_head = (size_t)(end - client->in) + 4;
    head = strndup(client->in, n_head);
    length = strcasestr(head, "content-length:");
    n_body = length ? strtoul(length + 15, NULL, 10) : 0;
    body = calloc(1, n_body + 1);
    have = client->n_in - n_head < n_body ? client->n_in - n_head : n_body;
    memcpy(body, client->in + n_head, have);
    memmove(client->in, client->in + n_head + have, client->n_in - n_head - have);
    client->n_in -= n_head + have;
    while (have < n_body) {
        ssize_t n = recv(client->fd, body + have, n_body - have, 0);

        if (n <= 0)
            break;
        have += (size_t)n;
    }
    ok = have == n_body;
    if (ok) {
        append("FAULT_RECORD", head, n_head);
        append("FAULT_RECORD", body, n_body);
        ok = route(client, head, body) && !client->dead;
    }
    free(head);
    free(body);
    return ok;
}

static void *serve(void *argument)
{
    struct client *client = argument;

    while (serve_one(client))
        ;
    close(client->fd);
    free(client);
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------------- */

static void on_term(int signo)
{
    (void)signo;
    if (fault_ordered("term:ignore", NULL, 0))
        return;
    if (fault_ordered("term:hang_busy", NULL, 0) && atomic_load(&n_running) > 0)
        return;
    _exit(0);
}

static void *load(void *argument)
{
    const char *where = argument;

    fault_sleep_ms(fault_number("load:delay", 0));
    fault_vram_load(n_args, args);
    while (fault_ordered("load:hang", NULL, 0))
        fault_sleep_ms(50);
    if (fault_ordered("load:exit", NULL, 0)) {
        fprintf(stderr, "E srv  load_model: failed to load model, '%s'\n", model_name);
        exit((int)fault_number("load:exit", 1));
    }
    stamp("ready");
    atomic_store(&is_ready, true);
    if (!fault_ordered("start:silent", NULL, 0))
        fprintf(stderr, "I main: server is listening on %s\n", where);
    if (fault_ordered("ready:exit_after", NULL, 0)) {
        fault_sleep_ms(fault_number("ready:exit_after", 0));
        exit((int)fault_number("ready:exit", 0));
    }
    return NULL;
}

static void make_children(long n, bool own_session)
{
    for (long i = 0; i < n; i++) {
        pid_t child = fork();

        if (child == 0) {
            if (own_session) {
                setsid();
                if (fork() != 0)
                    _exit(0);
            }
            signal(SIGTERM, SIG_IGN);
            for (;;)
                pause();
        }
        if (own_session)
            (void)waitpid(child, NULL, 0); /* who counts the helpers is not to count it */
    }
}

static void flood(long n)
{
    char line[1024];

    memset(line, 'f', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    for (; n > 0; n -= (long)sizeof(line))
        (void)!write(2, line, sizeof(line));
}

static void start_orders(void)
{
    if (fault_ordered("start:oom", NULL, 0)) {
        fprintf(stderr,
                "E ggml_backend_cuda_buffer_type_alloc_buffer: allocating 4096.00 MiB on device 0: "
                "cudaMalloc failed: out of memory\n");
        exit(1);
    }
    if (fault_ordered("start:corrupt", NULL, 0)) {
        fprintf(stderr, "E llama_model_load: error loading model: tensor 'blk.0.ffn_up.weight' "
                        "data is not within the "
                        "file bounds, model is corrupted or incomplete\n");
        exit(1);
    }
    if (fault_ordered("start:exit", NULL, 0))
        exit((int)fault_number("start:exit", 1));
    if (fault_ordered("start:signal", NULL, 0))
        die(fault_number("start:signal", SIGSEGV));
    flood(fault_number("start:flood", 0));
    make_children(fault_number("start:fork", 0), false);
    make_children(fault_number("start:setsid", 0), true);
    while (fault_ordered("load:absent", NULL, 0))
        fault_sleep_ms(50);
}

static int listen_on(const char *host, int port)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    bool is_unix = strlen(host) > 5 && strcmp(host + strlen(host) - 5, ".sock") == 0;
    int fd = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    strncpy(un.sun_path, host, sizeof(un.sun_path) - 1);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, is_unix ? (void *)&un : (void *)&in, is_unix ? sizeof(un) : sizeof(in)) < 0 ||
        listen(fd, 1024) < 0) {
        fprintf(stderr, "E srv  start: couldn't bind HTTP server socket, hostname: %s, port: %d\n",
                host, port);
        exit(1);
    }
    return fd;
}

/* What builds differ in, as a new one says it. */
static void tell_help(void)
{
    puts("-fit,  --fit [on|off]   whether to adjust unset arguments to fit in device memory\n"
         "-lv,   --verbosity N    - 3: info\n                         - 4: trace (more info)");
}

int main(int argc, char **argv)
{
    const char *host = "127.0.0.1";
    static char where[300];
    int port = 8080, fd;
    pthread_t thread;

    n_args = argc;
    args = argv;
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        tell_help();
        return 0;
    }
    stamp("main");
    append("FAULT_STARTS", "start\n", 6);
    api_key = getenv("LLAMA_API_KEY");
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--host") == 0)
            host = argv[i + 1];
        else if (strcmp(argv[i], "--port") == 0)
            port = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "-a") == 0)
            model_name = argv[i + 1];
        else if (strcmp(argv[i], "-np") == 0)
            n_slots = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--api-key") == 0)
            api_key = argv[i + 1];
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, on_term);
    start_orders();
    fd = listen_on(host, port);
    snprintf(where, sizeof(where), strchr(host, '/') ? "unix://%s" : "http://%s:%d", host, port);
    pthread_create(&thread, NULL, load, where);
    for (;;) {
        struct client *client;
        int one = 1, accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

        if (accepted < 0)
            continue;
        setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        client = calloc(1, sizeof(*client));
        client->fd = accepted;
        if (pthread_create(&thread, NULL, serve, client) != 0) {
            close(accepted);
            free(client);
            continue;
        }
        pthread_detach(thread);
    }
}
