/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict HTTP/1.1 (and 1.0) framing: heads of requests and responses, chunked bodies. Pure; no I/O, no allocation.
 * What it accepts and refuses is the list of hostile-cases: see docs/http-strictness.md.
 */
#ifndef PM_HTTP_CODEC_H
#define PM_HTTP_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PM_HTTP_HEAD_MAX               (64 * 1024) /* bytes of a head, up to and with its empty line */
#define PM_HTTP_LINES_MAX              100         /* header lines */
#define PM_HTTP_TARGET_MAX             8192
#define PM_HTTP_METHOD_MAX             7 /* "OPTIONS" */
#define PM_HTTP_CONNECTION_OPTIONS_MAX 32
#define PM_HTTP_CHUNK_DIGITS_MAX       8
#define PM_HTTP_CHUNK_EXT_MAX          256  /* bytes of extension of one chunk */
#define PM_HTTP_CHUNK_EXT_SUM_MAX      4096 /* of one body */
#define PM_HTTP_TRAILER_MAX            4096
#define PM_HTTP_TRAILER_LINES_MAX      32

struct pm_slice {
    const char *p;
    size_t n;
};

bool pm_slice_is(struct pm_slice slice, const char *text);         /* byte for byte */
bool pm_slice_is_nocase(struct pm_slice slice, const char *lower); /* ASCII case folded */

struct pm_http_header {
    struct pm_slice name, value; /* value without blanks around it */
    bool hop_by_hop;             /* of the connection, or nominated by it: never forwarded */
};

enum pm_http_method { PM_GET, PM_POST, PM_HEAD, PM_PUT, PM_DELETE, PM_OPTIONS, PM_METHOD_COUNT };
const char *pm_http_method_name(enum pm_http_method method);

enum pm_http_framing {
    PM_BODY_NONE,
    PM_BODY_LENGTH,
    PM_BODY_CHUNKED,
    PM_BODY_UNTIL_CLOSE, /* responses only */
};

/* A parsed head. All slices point into the bytes that were parsed. */
struct pm_http_head {
    enum pm_http_method method; /* requests */
    struct pm_slice target;     /* requests: origin-form, as sent */
    struct pm_slice host;       /* requests; n 0: none (HTTP/1.0 only) */
    int status;                 /* responses: 100..599 */
    int minor;                  /* HTTP/1.minor */
    enum pm_http_framing framing;
    bool has_length;         /* a Content-Length was there */
    uint64_t content_length; /* with PM_BODY_LENGTH; UINT64_MAX when larger than can be told */
    bool keep_alive;         /* what version and Connection say */
    bool expect_continue;    /* requests: Expect: 100-continue */
    bool wrong_expect;       /* requests: any other Expect: 417 */
    bool upgrade;            /* requests: an Upgrade that is not an offer of h2c: 501 */
    unsigned n_headers;
    struct pm_http_header headers[PM_HTTP_LINES_MAX];
};

/* First header of that name (lower case), or NULL; *ret_n (may be NULL) is how many lines have it. */
const struct pm_http_header *pm_http_find(const struct pm_http_head *head, const char *lower_name,
                                          unsigned *ret_n);

/* How far a head has been looked at, so that a byte a read stays linear. Zeros are the start. */
struct pm_http_scan {
    size_t n_scanned;
    unsigned char state;
    unsigned n_lines;
    size_t line_start;
    unsigned char method_index;
    uint32_t extra[4]; /* the codec's own */
};

/*
 * Looks at the first n bytes of a request (or response). Returns the length of the whole head (> 0) with *ret
 * filled; 0: more bytes are needed; negative: minus the HTTP status that answers it (-400, -414, -431, -501, -505;
 * responses: -502), as soon as the byte that settles it is there. One empty line before a request is skipped
 * (its bytes count). For each next call pass the same scan and the same bytes with more behind them.
 */
long pm_http_parse_request(const char *data, size_t n, struct pm_http_scan *scan,
                           struct pm_http_head *ret);
long pm_http_parse_response(const char *data, size_t n, struct pm_http_scan *scan,
                            enum pm_http_method of_method, struct pm_http_head *ret);

/* A chunked body, decoded in place. Zeros are the start; `requests` bodies and engines' are read alike. */
struct pm_http_chunked {
    unsigned char state;
    unsigned char n_digits;
    uint32_t left; /* of the chunk's data */
    uint32_t n_ext, n_ext_sum;
    uint32_t n_trailer, n_trailer_lines;
    uint64_t n_decoded;
    uint32_t extra[2];
};

/*
 * Decodes data[0..n) in place: the body's bytes are moved to the front, *ret_n_body of them. *ret_n_used says how
 * many of the n were read (less than n only at the end of the body). Returns 1 at the end, 0: more is needed,
 * negative: -400, -413 (a single size beyond max_body, or the sum), -431.
 */
int pm_http_chunked_decode(struct pm_http_chunked *chunked, char *data, size_t n, uint64_t max_body,
                           size_t *ret_n_used, size_t *ret_n_body);

/* A target's path: percent-decoded once into `to` (terminated), query cut off at '?' into *ret_query (may be empty).
 * Returns 0; -400: a bad escape, an encoded NUL, a dot segment (encoded or not); -404: an encoded '/', '//' inside,
 * or longer than size. For /upstream/… decode only the prefix: see router. */
int pm_http_decode_path(struct pm_slice target, char *to, size_t size, struct pm_slice *ret_query);

/* The reason phrase of a status we send ("Bad Request"). */
const char *pm_http_reason(int status);

#endif
