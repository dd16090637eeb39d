/* SPDX-License-Identifier: Apache-2.0 */
/* Asks NVIDIA's driver in a process of its own, which may hang or crash. Started by a daemon; by hand with --once. */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gpu/serve.h"
#include "util/str.h"

static const char help[] =
    "pool-probe asks NVIDIA's driver what there is, and says it as JSON.\n"
    "\n"
    "  --once       print one snapshot and end\n"
    "  --fd N       serve a daemon over the socket that is descriptor N (3)\n"
    "  --nvml LIB   the library to load, an absolute path; default: libnvidia-ml.so.1\n"
    "  --root DIR   in front of /proc and /sys; default: what POOL_PROBE_ROOT says, or nothing\n"
    "  --version\n";

static const struct option options[] = {
    {"once", no_argument, NULL, 'o'},
    {"fd", required_argument, NULL, 'f'},
    {"nvml", required_argument, NULL, 'n'},
    {"root", required_argument, NULL, 'r'},
    {"version", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static int usage(const char *what)
{
    fprintf(stderr, "pool-probe: %s; see pool-probe --help\n", what);
    return 2;
}

static int say(const char *text)
{
    fputs(text, stdout);
    return 0;
}

/* Whoever started us may have been careless with descriptors. */
static int serve(int fd, const char *nvml, const char *root)
{
    int status;

    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return usage("the descriptor of --fd is not open");

    if (fd > 3)
        (void)close_range(3, (unsigned)fd - 1, 0);
    (void)close_range((unsigned)fd + 1, ~0U, 0);
    status = pm_probe_serve(fd, nvml, root);
    _exit(status);
}

int main(int argc, char **argv)
{
    const char *nvml = NULL, *root = getenv("POOL_PROBE_ROOT");
    uint64_t fd = PM_PROBE_FD;
    bool once = false;
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'o': once = true; break;
        case 'n': nvml = optarg; break;
        case 'r': root = optarg; break;
        case 'v': return say("pool-probe " PM_VERSION "\n");
        case 'h': return say(help);
        case 'f':
            if (!pm_parse_u64(optarg, &fd) || fd < 3 || fd > 65535)
                return usage("--fd is no descriptor");
            break;
        default: return usage("unknown or incomplete option");
        }
    }

    if (optind < argc)
        return usage("it takes no arguments but options");
    if (nvml && nvml[0] != '/')
        return usage("--nvml needs an absolute path");
    return once ? pm_probe_print(nvml, root) : serve((int)fd, nvml, root);
}
