/* SPDX-License-Identifier: Apache-2.0 */
/* The table of settings: one row each, from which parsing, defaults, schema, docs and dump come. For config/ only. */
#ifndef PM_CONFIG_SETTINGS_H
#define PM_CONFIG_SETTINGS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "config/yaml.h"

enum pm_setting_type {
    PM_BOOL,
    PM_UINT,
    PM_DURATION,
    PM_BYTES,
    PM_SHARE, /* 0.2 or 20%, stored as a double */
    PM_TEXT,
    PM_PATH,      /* a text; relative ones start at the file's folder, ~/ at home */
    PM_MODEL_REF, /* a path, or a text with a scheme */
    PM_WORD,      /* one of `words`, stored as an int: its place among them */
    PM_LIST,      /* of texts; one text is a list of one */
    PM_PAIRS,     /* NAME: text */
    PM_GROUP,     /* a map of settings of its own (`rows`), stored in the same struct */
    PM_GROUPS,    /* a list of such maps; checked, not stored */
    PM_NAMED,     /* a map of name → such map; read by its own code, or checked only */
    PM_SIZES,     /* a size, or a map of device and size: struct pm_device_sizes */
    PM_RAW,       /* a value of its `shape`, stored as JSON text; NULL when it is not given */
};

/* What a PM_RAW value may be. */
enum pm_setting_shape {
    PM_SHAPE_ANY,
    PM_SHAPE_MAP,    /* of `rows`, where there are any */
    PM_SHAPE_RATIOS, /* none, auto, or a list of numbers above 0 */
};

struct pm_setting {
    const char *name;
    enum pm_setting_type type;
    size_t offset;                 /* PM_UNSTORED: checked only */
    const char *fallback;          /* the default as one would write it; NULL: none */
    const char *words;             /* PM_WORD: "stop|leave" */
    enum pm_setting_shape shape;   /* PM_RAW; PM_SIZES: PM_SHAPE_MAP where one size is none */
    const struct pm_setting *rows; /* groups; ends with a row without name */
    uint64_t least, most;          /* PM_UINT; most 0: no bound */
    bool later;                    /* its part is not built: told once at start when it is set */
    bool restart;                  /* a reload keeps its value and says so; texts and lists only */
    const char *help;
};

#define PM_UNSTORED ((size_t)-1)
#define PM_SETTINGS_END                                                                            \
    {                                                                                              \
        .name = NULL                                                                               \
    }

extern const struct pm_setting pm_top_settings[];
extern const struct pm_setting pm_engine_settings[];
extern const struct pm_setting pm_pool_settings[];

/* Where values are read. */
struct pm_reading {
    struct pm_config_errors *errors;
    const char *folder;    /* where relative paths start */
    struct pm_strv *later; /* names of settings without effect that were set; may be NULL */
};

/* Sets every stored setting to its default. */
void pm_settings_defaults(const struct pm_setting *rows, void *base);

/* Reads a map into base. `where` is for messages: "", or " in pool 'tiny'". Errors are collected. */
void pm_settings_read(struct pm_reading *reading, const struct pm_setting *rows,
                      const struct pm_yaml *map, const char *where, void *base);

#define PM_MASKED "********" /* shown in place of a secret */

/* The whole as JSON in the file's words. */
json_t *pm_settings_dump(const struct pm_setting *rows, const void *base);
/* The same, and values that look like secrets stand in it. */
json_t *pm_settings_dump_secrets(const struct pm_setting *rows, const void *base);

/* Every setting with `restart` gets the value that it has in `from`; names of those that differed are added. */
void pm_settings_keep(const struct pm_setting *rows, void *base, const void *from,
                      struct pm_strv *ret_names);

/* A scalar with ${env:…} replaced; NULL after an error. */
char *pm_settings_text(struct pm_reading *reading, const struct pm_yaml *node, const char *name);

/* `path` made absolute: ~/ at home, else below folder. */
char *pm_settings_path(const char *path, const char *folder);

/* A ref with a scheme stays as it is; file: and everything else is a path. */
char *pm_settings_model_ref(const char *text, const char *folder);

/* A list's items / the number of rows. */
size_t pm_settings_count(const struct pm_setting *rows);
json_t *pm_yaml_json(const struct pm_yaml *node);

#endif
