/* SPDX-License-Identifier: Apache-2.0 */
/* A YAML file as a tree that knows where each value stands. For config/ only. */
#ifndef PM_CONFIG_YAML_H
#define PM_CONFIG_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

#define PM_YAML_DEPTH_MAX 32
#define PM_YAML_NODES_MAX 100000 /* aliases counted as what they stand for */

enum pm_yaml_kind { PM_YAML_TEXT, PM_YAML_LIST, PM_YAML_MAP };

struct pm_yaml {
    enum pm_yaml_kind kind;
    unsigned line, column; /* from 1 */
    char *text;            /* TEXT; never holds a NUL byte */
    bool quoted;
    bool
        as_written; /* the text stands on one line of the file byte for byte, behind a quote where it is quoted */
    struct pm_yaml **keys,
        **values; /* MAP: n of each; LIST: n values. Aliased nodes stand in several places */
    size_t n;
    size_t n_nodes; /* of this subtree, aliases expanded */
};

struct pm_yaml_file;

/* NULL after errors. The nodes live as long as the file. An empty document is an empty map. */
struct pm_yaml_file *pm_yaml_read(const char *text, size_t n, struct pm_config_errors *errors);
const struct pm_yaml *pm_yaml_root(const struct pm_yaml_file *file);
void pm_yaml_free(struct pm_yaml_file *file);

/* The value of a key, or NULL. */
const struct pm_yaml *pm_yaml_get(const struct pm_yaml *map, const char *key);

/* Adds an error at a place (0, 0: none). */
void pm_config_error_at(struct pm_config_errors *errors, unsigned line, unsigned column,
                        const char *format, ...) __attribute__((__format__(__printf__, 4, 5)));

#endif
