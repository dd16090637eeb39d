/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that uses the GPU: orders come by stdin, one a line; each is answered with one fact and {"fact":"done"}.
 *
 *   init                     cuInit                        context primary|own      of device 0
 *   take BYTES               allocates and writes          give                     frees all
 *   memory                   what CUDA says is free        kernel good|spin MS      see hw.h
 *   store ADDRESS            by a kernel; see hw.h         load ADDRESS             what a kernel sees there
 *   copy ADDRESS             what CUDA copies from there
 *   leave                    ends without tidying up
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hw.h"

static int obey(const char *order, const char *word, unsigned long long number)
{
    int r = -1;

    if (strcmp(order, "init") == 0)
        (void)hw_cuda_start(&r);
    else if (strcmp(order, "context") == 0)
        r = hw_cuda_context(strcmp(word, "primary") == 0);
    else if (strcmp(order, "take") == 0)
        r = hw_cuda_take(strtoull(word, NULL, 10));
    else if (strcmp(order, "give") == 0)
        r = hw_cuda_give_back();
    else if (strcmp(order, "kernel") == 0)
        r = hw_cuda_kernel(word, (unsigned)number);
    return r;
}

struct answer {
    int code;
    uint64_t left, all; /* of memory */
    uint64_t address;   /* of store, load and copy: that which was meant */
    uint32_t seen;      /* there */
};

static bool touches(const char *order)
{
    return strcmp(order, "store") == 0 || strcmp(order, "load") == 0 || strcmp(order, "copy") == 0;
}

static void touch(const char *order, const char *word, struct answer *ret)
{
    ret->address = hw_cuda_address(word);
    if (strcmp(order, "store") == 0)
        ret->code = hw_cuda_store(ret->address);
    else if (strcmp(order, "load") == 0)
        ret->code = hw_cuda_load(ret->address, &ret->seen);
    else
        ret->code = hw_cuda_copy(ret->address, &ret->seen);
}

static void tell(const char *line, const char *order, const struct answer *answer, double ms)
{
    hw_begin("cuda");
    hw_text("order", line);
    hw_number("pid", getpid());
    hw_number("code", answer->code);
    hw_text("error", answer->code > 0 ? hw_cuda_error(answer->code) : "");
    hw_real("ms", ms);
    if (answer->all) {
        hw_size("free", answer->left);
        hw_size("total", answer->all);
    }
    if (touches(order)) {
        hw_size("address", answer->address);
        hw_size("seen", answer->seen);
    }
    hw_end();
}

int hw_hold(int argc, char **argv)
{
    char line[256];

    while (hw_line(line, sizeof(line))) {
        char order[32] = "", word[64] = "";
        unsigned long long number = 0;
        struct answer answer = {0};
        uint64_t begun = hw_now_ns();

        (void)sscanf(line, "%31s %63s %llu", order, word, &number);
        if (strcmp(order, "leave") == 0)
            _exit(0);
        if (touches(order))
            touch(order, word, &answer);
        else if (strcmp(order, "memory") == 0)
            answer.code = hw_cuda_memory(&answer.left, &answer.all);
        else
            answer.code = obey(order, word, number);
        tell(line, order, &answer, (double)(hw_now_ns() - begun) / 1e6);
        hw_begin("done");
        hw_end();
    }
    return 0;
}

/* What CUDA sees with the environment as it is. */
int hw_visible(int argc, char **argv)
{
    uint64_t begun = hw_now_ns();
    int r = 0, n = 0;

    (void)hw_cuda_start(&r);
    hw_begin("visible");
    hw_number("init", r);
    hw_text("error", r > 0 ? hw_cuda_error(r) : "");
    if (r == 0)
        hw_number("count_code", hw_cuda_count(&n));
    hw_number("count", n);
    hw_real("ms", (double)(hw_now_ns() - begun) / 1e6);
    hw_end();
    for (int i = 0; i < n; i++) {
        char uuid[41] = "", name[96] = "", pci[32] = "";

        hw_begin("seen");
        hw_number("index", i);
        hw_number("code", hw_cuda_uuid(i, uuid));
        hw_text("uuid", uuid);
        (void)hw_cuda_name(i, name, sizeof(name));
        hw_text("name", name);
        (void)hw_cuda_pci(i, pci, sizeof(pci));
        hw_text("pci", pci);
        hw_end();
    }
    return 0;
}
