/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An incremental scanner for the top level of a JSON object: finds `model`, `stream` and `keep_alive` and where they
 * stand, in O(1) memory, a byte at a time or 20 MiB at once. Tolerant inside values (the engine judges them), never
 * fooled: what two parsers could read differently is refused. DATA-PLANE, hostile-cases H-72 to H-80.
 */
#ifndef PM_HTTP_SCANNER_H
#define PM_HTTP_SCANNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PM_SCAN_KEY_MAX   32
#define PM_SCAN_MODEL_MAX 256
#define PM_SCAN_DEPTH_MAX 512

struct pm_scan_range {
    uint64_t from, to; /* bytes of the body, [from, to); equal: not there */
};

struct pm_scanner {
    /* results */
    bool has_model,
        model_too_long; /* too long: longer than PM_SCAN_MODEL_MAX bytes; `model` then holds the first of them */
    char model[PM_SCAN_MODEL_MAX + 1];
    size_t n_model; /* may hold NULs: compare n_model with strlen */
    bool stream;    /* true only for `"stream": true` */
    bool has_keep_alive;
    char keep_alive[32];              /* its raw JSON text, "\"5m\"" or "300" */
    struct pm_scan_range model_value; /* of the value, quotes included */
    struct pm_scan_range
        keep_alive_member; /* of the whole member with one neighbouring comma: cut it and JSON stays whole */
    const char *param; /* "model" "stream" "keep_alive" or NULL: what an error is about */
    const char *error; /* one line, after a failure */
    /* its own */
    uint64_t offset;                   /* of the next byte */
    unsigned char state, capture;      /* what the running string is kept for */
    unsigned char seen;                /* bits: keys in any case, that came already */
    unsigned char key;                 /* which of ours the running member is */
    unsigned char n_utf8, n_hex;       /* bytes and digits still to come of a sequence */
    unsigned char utf8_low, utf8_high; /* what the next byte of the sequence may be */
    unsigned depth;                    /* inside the running value */
    uint32_t hex, high_surrogate;
    size_t n_key, n_scalar;
    uint64_t key_at, value_at, comma_at; /* comma_at: of the last top-level comma + 1; 0 none */
    bool keep_alive_open;                /* its member still wants its comma */
    char key_text[PM_SCAN_KEY_MAX + 1];
    char scalar[32];                            /* the running top-level number or word */
    uint64_t stack[PM_SCAN_DEPTH_MAX / 64 + 1]; /* object or array, a bit a level */
};

void pm_scanner_init(struct pm_scanner *scanner);

/* Feeds the next bytes. 0: go on; -1: refused for good (400), `error` and `param` say why. */
int pm_scanner_feed(struct pm_scanner *scanner, const char *data, size_t n);

/* The body ended. 0, or -1 (not an object, cut short). A missing model is no failure here. */
int pm_scanner_end(struct pm_scanner *scanner);

#endif
