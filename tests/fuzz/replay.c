/* SPDX-License-Identifier: Apache-2.0 */
/* Gives every file of a corpus to a fuzz target, as a test (TAP). A fault ends the program, which is the failure. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "util/file.h"
#include "util/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (16 * 1024 * 1024)

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int replay_file(const char *folder, const char *name)
{
    char *path = pm_xasprintf("%s/%s", folder, name), *data = NULL;
    struct poolmgr_error err = {0};
    size_t n = 0;
    int r = pm_read_file(path, INPUT_MAX, &data, &n, &err);

    if (r == 0) {
        /* A copy of the exact size, so that a read behind its end is seen. */
        uint8_t *exact = malloc(n ? n : 1);
        size_t i;

        for (i = 0; i < n; i++)
            exact[i] = (uint8_t)data[i];
        (void)LLVMFuzzerTestOneInput(exact, n);
        free(exact);
    }

    free(data);
    free(path);
    return r;
}

int main(int argc, char **argv)
{
    struct dirent **entries = NULL;
    int i, n = argc == 2 ? scandir(argv[1], &entries, is_visible, alphasort) : -1;

    if (n <= 0) {
        printf("1..1\nnot ok 1 - no corpus in %s\n", argc == 2 ? argv[1] : "(no folder given)");
        return 1;
    }

    printf("1..%d\n", n);
    for (i = 0; i < n; i++) {
        printf("%s %d - %s\n", replay_file(argv[1], entries[i]->d_name) == 0 ? "ok" : "not ok",
               i + 1, entries[i]->d_name);
        fflush(stdout);
        free(entries[i]);
    }

    free(entries);
    return 0;
}
