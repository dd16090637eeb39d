/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that uses the GPU: orders come by stdin, one a line; each is answered with one fact and {"fact":"done"}.
 *
 *   init                     cuInit                        context primary|own      of device 0
 *   take BYTES               allocates and writes          give                     frees all
 *   memory                   what CUDA says is free        kernel good|bad|spin MS  see hw.h
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

int hw_hold(int argc, char **argv)
{
    char line[256];

    while (hw_line(line, sizeof(line))) {
        char order[32] = "", word[64] = "";
        unsigned long long number = 0;
        uint64_t begun = hw_now_ns(), left = 0, all = 0;
        int r;

        (void)sscanf(line, "%31s %63s %llu", order, word, &number);
        if (strcmp(order, "leave") == 0)
            _exit(0);
        r = strcmp(order, "memory") == 0 ? hw_cuda_memory(&left, &all) : obey(order, word, number);
        hw_begin("cuda");
        hw_text("order", line);
        hw_number("pid", getpid());
        hw_number("code", r);
        hw_text("error", r > 0 ? hw_cuda_error(r) : "");
        hw_real("ms", (double)(hw_now_ns() - begun) / 1e6);
        if (all) {
            hw_size("free", left);
            hw_size("total", all);
        }
        hw_end();
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
