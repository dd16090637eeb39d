/* SPDX-License-Identifier: Apache-2.0 */
#include "config/paths.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/str.h"

static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value && value[0] ? value : NULL;
}

/* $XDG_…/poolmgr, else below home. */
static char *user_folder(const char *xdg, const char *below_home)
{
    const char *base = variable(xdg), *home = variable("HOME");

    if (base && base[0] == '/')
        return pm_xasprintf("%s/poolmgr", base);
    return pm_xasprintf("%s/%s/poolmgr", home ? home : "", below_home);
}

char *pm_default_config_path(void)
{
    const char *named = variable("POOLMGR_CONFIG");
    pm_auto_free char *folder = NULL;
    char *path;

    if (named)
        return pm_xstrdup(named);
    folder =
        geteuid() == 0 ? pm_xstrdup("/etc/poolmgr") : user_folder("XDG_CONFIG_HOME", ".config");
    path = pm_xasprintf("%s/config.yaml", folder);
    if (access(path, F_OK) == 0)
        return path;
    free(path);
    return NULL;
}

static char *default_runtime(void)
{
    if (geteuid() == 0)
        return pm_xstrdup("/run/poolmgr");
    if (variable("XDG_RUNTIME_DIR"))
        return pm_xasprintf("%s/poolmgr", variable("XDG_RUNTIME_DIR"));
    return pm_xasprintf("/tmp/poolmgr-%u", (unsigned)geteuid());
}

static char *default_folder(const char *system, const char *xdg, const char *below_home)
{
    return geteuid() == 0 ? pm_xstrdup(system) : user_folder(xdg, below_home);
}

/* systemd may give several, separated by colons; the first is ours. */
static char *first_of(const char *list)
{
    return pm_xstrndup(list, strcspn(list, ":"));
}

static void resolve(char **folder, const char *ours, const char *systemd, char *otherwise)
{
    const char *named = variable(ours), *given = variable(systemd);

    if (named || given) {
        free(*folder);
        *folder = named ? pm_xstrdup(named) : first_of(given);
    }
    if (!*folder || !**folder) {
        free(*folder);
        *folder = pm_take(otherwise);
    }
    if ((*folder)[0] != '/') {
        pm_auto_free char *here = getcwd(NULL, 0);
        char *absolute = pm_xasprintf("%s/%s", here ? here : "", *folder);

        free(*folder);
        *folder = absolute;
    }
    free(otherwise);
}

void pm_resolve_folders(struct pm_config *config)
{
    resolve(&config->runtime_dir, "POOLMGR_RUNTIME_DIR", "RUNTIME_DIRECTORY", default_runtime());
    resolve(&config->state_dir, "POOLMGR_STATE_DIR", "STATE_DIRECTORY",
            default_folder("/var/lib/poolmgr", "XDG_STATE_HOME", ".local/state"));
    resolve(&config->cache_dir, "POOLMGR_CACHE_DIR", "CACHE_DIRECTORY",
            default_folder("/var/cache/poolmgr", "XDG_CACHE_HOME", ".cache"));
    resolve(&config->log_dir, "POOLMGR_LOG_DIR", "LOGS_DIRECTORY",
            geteuid() == 0 ? pm_xstrdup("/var/log/poolmgr")
                           : pm_xasprintf("%s/log", config->state_dir));
}
