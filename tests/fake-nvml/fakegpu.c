/* SPDX-License-Identifier: Apache-2.0 */
/* Changes GPUs that are not there; the file is named by FAKE_NVML. One verb a call; see the table below. */
#include <inttypes.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake.h"

static struct fake_state *state;

static void die(const char *what, const char *which)
{
    fprintf(stderr, "fakegpu: %s: %s\n", what, which);
    exit(2);
}

/* "24GiB", "512MiB", "100" */
static uint64_t bytes_of(const char *text)
{
    char *end;
    uint64_t n = strtoull(text, &end, 10);

    if (strcmp(end, "GiB") == 0)
        n <<= 30;
    else if (strcmp(end, "MiB") == 0)
        n <<= 20;
    else if (strcmp(end, "KiB") == 0)
        n <<= 10;
    else if (*end)
        die("no size", text);
    return n;
}

static struct fake_gpu *find(const char *name, int *ret_index, int *ret_slot)
{
    int index, slot;

    if (!fake_find(state, name, &index, &slot))
        die("no such device", name);
    if (ret_index)
        *ret_index = index;
    if (ret_slot)
        *ret_slot = slot;
    return &state->gpus[index];
}

/* ---- members by name -------------------------------------------------------------------------------- */

enum type { INT, UINT, U64, TEXT, TRUTH, BYTES, ADDRESS };

static const struct member {
    const char *name;
    enum type type;
    size_t offset;
} members[] = {
#define GPU(name, type, member)                                                                    \
    {                                                                                              \
        name, type, offsetof(struct fake_gpu, member)                                              \
    }
    GPU("uuid", TEXT, uuid),
    GPU("name", TEXT, name),
    GPU("pci", ADDRESS, domain),
    GPU("total", BYTES, total),
    GPU("reserved", BYTES, reserved),
    GPU("cc_major", INT, cc_major),
    GPU("cc_minor", INT, cc_minor),
    GPU("compute_mode", INT, compute_mode),
    GPU("mig_capable", TRUTH, mig_capable),
    GPU("mig_now", UINT, mig_now),
    GPU("mig_pending", UINT, mig_pending),
    GPU("code", INT, code),
    GPU("gone", TRUTH, gone),
    GPU("recovery", INT, recovery),
    GPU("remap_pending", INT, remap_pending),
    GPU("remap_failed", INT, remap_failed),
    GPU("temperature", UINT, temperature),
    GPU("power", UINT, power_mw),
    GPU("utilisation", UINT, utilisation),
    GPU("memory_utilisation", UINT, memory_utilisation),
    GPU("ecc", U64, ecc_errors),
    GPU("event_types", U64, event_types),
};

static const struct member globals[] = {
#define ALL(name, type, member)                                                                    \
    {                                                                                              \
        name, type, offsetof(struct fake_state, member)                                            \
    }
    ALL("rows", UINT, row_bytes), ALL("lag", UINT, lag_ms),
    ALL("stub", TRUTH, stub),     ALL("bytes_hidden", TRUTH, bytes_hidden),
    ALL("driver", TEXT, driver),  ALL("cuda", INT, cuda_version),
};

static void put(void *object, const struct member *member, const char *value)
{
    void *at = (char *)object + member->offset;

    switch (member->type) {
    case INT: *(int *)at = atoi(value); break;
    case UINT: *(unsigned *)at = (unsigned)strtoul(value, NULL, 0); break;
    case U64: *(uint64_t *)at = strtoull(value, NULL, 0); break;
    case BYTES: *(uint64_t *)at = bytes_of(value); break;
    case TRUTH: *(bool *)at = atoi(value) != 0; break;
    case TEXT: (void)snprintf(at, 80, "%s", value); break;
    case ADDRESS: {
        struct fake_gpu *gpu = object;

        if (sscanf(value, "%x:%x:%x", &gpu->domain, &gpu->bus, &gpu->device) != 3)
            die("no PCI address", value);
    }
    }
}

static void assign(void *object, const struct member *table, size_t n, char *word)
{
    char *value = strchr(word, '=');

    if (!value)
        die("no NAME=VALUE", word);
    *value++ = '\0';
    for (size_t i = 0; i < n; i++) {
        if (strcmp(table[i].name, word) == 0) {
            put(object, &table[i], value);
            return;
        }
    }
    die("no such member", word);
}

/* ---- verbs ------------------------------------------------------------------------------------------ */

static void set(char **words, int n)
{
    struct fake_gpu *gpu = find(words[0], NULL, NULL);

    for (int i = 1; i < n; i++)
        assign(gpu, members, sizeof(members) / sizeof(members[0]), words[i]);
}

static void option(char **words, int n)
{
    for (int i = 0; i < n; i++)
        assign(state, globals, sizeof(globals) / sizeof(globals[0]), words[i]);
}

static void mig(char **words, int n)
{
    int index, slot = atoi(words[1]);
    struct fake_gpu *gpu = find(words[0], &index, NULL);
    struct fake_slot *is;

    if (slot < 0 || slot >= FAKE_SLOTS)
        die("no such slot", words[1]);
    is = &gpu->slots[slot];
    memset(is, 0, sizeof(*is));
    if (strcmp(words[2], "off") == 0)
        return;

    gpu->mig_capable = true;
    gpu->mig_now = gpu->mig_pending = 1;
    is->used = true;
    is->total = bytes_of(words[2]);
    is->gi = n > 3 ? (unsigned)atoi(words[3]) : (unsigned)slot + 7;
    is->ci = 0;
    (void)snprintf(is->uuid, sizeof(is->uuid), "MIG-%08x-1111-4000-8000-%012x", 0xfb000000 + index,
                   (unsigned)slot);
}

static void take(char **words, int n)
{
    int index, slot;

    (void)n;
    (void)find(words[0], &index, &slot);
    if (!fake_take(state, index, slot, atoi(words[1]), bytes_of(words[2])))
        die("not so much is free", words[2]);
}

static void give(char **words, int n)
{
    int index = -1;

    if (n > 1)
        (void)find(words[1], &index, NULL);
    fake_give(state, index, atoi(words[0]));
}

static void event(char **words, int n)
{
    struct fake_event event = {.gi = UINT32_MAX, .ci = UINT32_MAX};

    (void)find(words[0], &event.gpu, NULL);
    event.type = strtoull(words[1], NULL, 0);
    event.data = strtoull(words[2], NULL, 0);
    if (n > 4) {
        event.gi = (unsigned)atoi(words[3]);
        event.ci = (unsigned)atoi(words[4]);
    }
    fake_tell(state, &event);
}

static void xid(char **words, int n)
{
    char type[] = "0x8", *event_words[5] = {words[0], type, words[1]};

    for (int i = 2; i < n && i < 4; i++)
        event_words[i + 1] = words[i];
    event(event_words, n + 1);
}

static void call(char **words, int n)
{
    struct fake_rule *rule = fake_rule(state, words[0], true);

    if (!rule)
        die("too many rules", words[0]);
    memset(rule, 0, sizeof(*rule));
    for (int i = 1; i < n; i++) {
        if (strncmp(words[i], "code=", 5) == 0)
            rule->code = atoi(words[i] + 5);
        else if (strncmp(words[i], "delay=", 6) == 0)
            rule->delay_ms = (unsigned)atoi(words[i] + 6);
        else if (strncmp(words[i], "times=", 6) == 0)
            rule->left = (unsigned)atoi(words[i] + 6);
        else if (strcmp(words[i], "hang") == 0)
            rule->hangs = true;
        else if (strcmp(words[i], "ok") == 0)
            return;
        else
            die("no code=, delay=, times=, hang or ok", words[i]);
    }
    (void)snprintf(rule->call, sizeof(rule->call), "%s", words[0]);
}

static void show(char **words, int n)
{
    (void)words;
    (void)n;
    printf("{\"calls\":%" PRIu64 ",\"inits\":%" PRIu64 ",\"gpus\":[", state->n_calls,
           state->n_inits);
    for (int i = 0; i < state->n_gpus; i++)
        printf("%s{\"uuid\":\"%s\",\"total\":%" PRIu64 ",\"free\":%" PRIu64 "}", i ? "," : "",
               state->gpus[i].uuid, state->gpus[i].total, fake_free_bytes(state, i, -1));
    printf("],\"holdings\":[");
    for (int i = 0, n_shown = 0; i < FAKE_HOLDINGS_MAX; i++) {
        const struct fake_holding *it = &state->holdings[i];

        if (it->pid != 0)
            printf("%s{\"pid\":%d,\"gpu\":\"%s\",\"slot\":%d,\"bytes\":%" PRIu64 ",\"dead\":%s}",
                   n_shown++ ? "," : "", it->pid, state->gpus[it->gpu].uuid, it->slot, it->bytes,
                   it->dead_ms ? "true" : "false");
    }
    printf("]}\n");
}

static const struct verb {
    const char *name;
    int n_min, n_max;
    void (*fn)(char **words, int n);
    const char *help;
} verbs[] = {
    {"set", 2, 99, set,
     "GPU NAME=VALUE…        (uuid name pci total mig_now code gone recovery …)"},
    {"option", 1, 99, option, "NAME=VALUE…        (rows lag stub bytes_hidden driver cuda)"},
    {"mig", 3, 4, mig, "GPU SLOT SIZE|off [GI] an instance; slots may have holes"},
    {"take", 3, 3, take, "GPU[:SLOT] PID SIZE   memory of a process"},
    {"give", 1, 2, give, "PID [GPU]             all that it has"},
    {"xid", 2, 4, xid, "GPU NUMBER [GI CI]     an error of the driver"},
    {"event", 3, 5, event, "GPU TYPE DATA [GI CI]"},
    {"call", 2, 5, call, "NAME code=N|delay=MS|hang|ok [times=N]"},
    {"show", 0, 0, show, "                      as JSON"},
};

static void usage(void)
{
    fprintf(stderr,
            "fakegpu create N SIZE                   GPUs; the file is named by FAKE_NVML\n"
            "fakegpu library FROM TO [SYMBOL…]       a copy of the library without these\n");
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        fprintf(stderr, "fakegpu %s %s\n", verbs[i].name, verbs[i].help);
    exit(2);
}

/* ---- the library without some of its functions -------------------------------------------------------- */

/* In the table of names one letter of each is changed, so that a loader does not find it. */
static void hide(char *image, size_t size, const char *symbol)
{
    size_t n = strlen(symbol) + 1;
    bool hidden = false;

    for (char *at = image + 1; at + n <= image + size; at++) {
        if (at[-1] == '\0' && memcmp(at, symbol, n) == 0) {
            *at = 'X';
            hidden = true;
        }
    }
    if (!hidden)
        die("no such symbol", symbol);
}

static int library(char **words, int n)
{
    FILE *from = fopen(words[0], "rb"), *to = fopen(words[1], "wb");
    static char image[4 << 20];
    size_t size;

    if (!from || !to)
        die("cannot be copied", words[0]);
    size = fread(image, 1, sizeof(image), from);
    for (int i = 2; i < n; i++)
        hide(image, size, words[i]);
    if (size == sizeof(image) || fwrite(image, 1, size, to) != size || fclose(to) != 0)
        die("cannot be copied", words[1]);
    (void)fclose(from);
    return 0;
}

int main(int argc, char **argv)
{
    const char *path = getenv("FAKE_NVML");

    if (argc >= 4 && strcmp(argv[1], "library") == 0)
        return library(argv + 2, argc - 2);
    if (!path || argc < 2)
        usage();
    if (strcmp(argv[1], "create") == 0 && argc == 4) {
        if (!fake_create(path, atoi(argv[2]), bytes_of(argv[3])))
            die("cannot be made", path);
        return 0;
    }

    state = fake_open(path);
    if (!state)
        die("not a file of ours", path);
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(verbs[i].name, argv[1]) != 0)
            continue;
        if (argc - 2 < verbs[i].n_min || argc - 2 > verbs[i].n_max)
            usage();
        fake_lock(state);
        verbs[i].fn(argv + 2, argc - 2);
        fake_unlock(state);
        return 0;
    }
    usage();
}
