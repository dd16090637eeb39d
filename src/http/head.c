/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads are read in two steps. The scan is a state machine over bytes: it may stop and go on anywhere, costs the
 * same however the bytes are cut, and refuses with the byte that settles it. When the empty line is there, the
 * lines are known to be well-formed, and the second step only cuts them up and judges what they mean together:
 * one Host, one length, one coding.
 */
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "http/chars.h"
#include "http/codec.h"
#include "util/cleanup.h"

enum scan_state {
    AT_START,    /* nothing yet; one empty line may be skipped (requests) */
    AT_START_LF, /* CR of that empty line seen */
    IN_METHOD,
    AT_TARGET, /* its first byte */
    IN_TARGET,
    IN_VERSION,    /* "HTTP/1.1", byte by byte */
    AFTER_VERSION, /* responses: the blank before the status, or CR for requests */
    IN_STATUS,
    AFTER_STATUS,
    IN_REASON,
    AT_LINE_LF, /* CR seen, LF must follow */
    AT_LINE,    /* first byte of a header line */
    IN_NAME,
    IN_VALUE,
    AT_END_LF, /* CR of the empty line seen */
    AT_END,
};

/* Uses of scan->extra. */
enum { BEGIN, TOKEN_N, MINOR, SKIPPED };

/* ---- first step: bytes ------------------------------------------------------------------------------ */

static bool method_known(const char *p, size_t n, enum pm_http_method *ret)
{
    for (enum pm_http_method m = PM_GET; m < PM_METHOD_COUNT; m++) {
        if (pm_slice_is((struct pm_slice){p, n}, pm_http_method_name(m))) {
            *ret = m;
            return true;
        }
    }
    return false;
}

static int scan_method(struct pm_http_scan *scan, const char *data, size_t at)
{
    enum pm_http_method method;
    size_t n = at - scan->extra[BEGIN];

    if (data[at] == ' ') {
        if (n == 0)
            return -400;
        if (!method_known(data + scan->extra[BEGIN], n, &method))
            return -501;
        scan->method_index = (unsigned char)method;
        scan->state = AT_TARGET;
        return 0;
    }
    if (!pm_is_token_char(data[at]))
        return -400;
    return n >= PM_HTTP_METHOD_MAX ? -501 : 0;
}

static int scan_target(struct pm_http_scan *scan, char c)
{
    if (c == ' ' && scan->state == IN_TARGET) {
        scan->state = IN_VERSION;
        scan->extra[TOKEN_N] = 0;
        return 0;
    }
    if (scan->state == AT_TARGET) {
        if (c != '/')
            return -400; /* origin-form only */
        scan->state = IN_TARGET;
        scan->extra[TOKEN_N] = 0;
    }
    if (!pm_is_target_char(c))
        return -400;
    return ++scan->extra[TOKEN_N] > PM_HTTP_TARGET_MAX ? -414 : 0;
}

/* "HTTP/d.d": the letters must match at once; the numbers are judged when the version has ended. */
static int scan_version(struct pm_http_scan *scan, const char *data, size_t at)
{
    static const char shape[] = "HTTP/0.0";
    unsigned i = scan->extra[TOKEN_N]++;

    if (shape[i] == '0' ? !pm_is_digit(data[at]) : data[at] != shape[i])
        return -400;
    if (shape[i + 1] == '\0')
        scan->state = AFTER_VERSION;
    return 0;
}

static int after_version(struct pm_http_scan *scan, const char *data, size_t at, bool request)
{
    char major = data[at - 3], minor = data[at - 1];

    if (data[at] != (request ? '\r' : ' '))
        return -400;
    if (major != '1' || (minor != '0' && minor != '1'))
        return -505;
    scan->extra[MINOR] = (uint32_t)(minor - '0');
    scan->extra[TOKEN_N] = 0;
    scan->state = request ? AT_LINE_LF : IN_STATUS;
    return 0;
}

static int scan_status(struct pm_http_scan *scan, char c)
{
    if (!pm_is_digit(c) || (scan->extra[TOKEN_N] == 0 && (c < '1' || c > '5')))
        return -400;
    if (++scan->extra[TOKEN_N] == 3)
        scan->state = AFTER_STATUS;
    return 0;
}

/* "HTTP/1.1 200\r\n" is let through, and any reason without controls. */
static int scan_reason(struct pm_http_scan *scan, char c)
{
    if (c == '\r') {
        scan->state = AT_LINE_LF;
        return 0;
    }
    if (scan->state == AFTER_STATUS && c != ' ')
        return -400;
    scan->state = IN_REASON;
    return pm_is_value_char(c) ? 0 : -400;
}

static int scan_line_start(struct pm_http_scan *scan, char c)
{
    if (c == '\r') {
        scan->state = AT_END_LF;
        return 0;
    }
    if (!pm_is_token_char(c)) /* a blank here would be a folded line */
        return -400;
    if (++scan->n_lines > PM_HTTP_LINES_MAX)
        return -431;
    scan->state = IN_NAME;
    return 0;
}

static int scan_byte(struct pm_http_scan *scan, const char *data, size_t at, bool request)
{
    char c = data[at];

    switch ((enum scan_state)scan->state) {
    case AT_START:
        if (request && c == '\r' && at == 0) {
            scan->state = AT_START_LF;
            return 0;
        }
        scan->extra[BEGIN] = (uint32_t)at;
        scan->extra[TOKEN_N] = 0;
        scan->state = request ? IN_METHOD : IN_VERSION;
        return request ? scan_method(scan, data, at) : scan_version(scan, data, at);
    case AT_START_LF: scan->state = AT_START; return c == '\n' ? 0 : -400;
    case IN_METHOD: return scan_method(scan, data, at);
    case AT_TARGET:
    case IN_TARGET: return scan_target(scan, c);
    case IN_VERSION: return scan_version(scan, data, at);
    case AFTER_VERSION: return after_version(scan, data, at, request);
    case IN_STATUS: return scan_status(scan, c);
    case AFTER_STATUS:
    case IN_REASON: return scan_reason(scan, c);
    case AT_LINE_LF:
        scan->state = AT_LINE;
        scan->line_start = at + 1;
        return c == '\n' ? 0 : -400;
    case AT_LINE: return scan_line_start(scan, c);
    case IN_NAME:
        if (c == ':')
            scan->state = IN_VALUE;
        else if (!pm_is_token_char(c))
            return -400;
        return 0;
    case IN_VALUE:
        if (c == '\r')
            scan->state = AT_LINE_LF;
        else if (!pm_is_value_char(c))
            return -400;
        return 0;
    case AT_END_LF: scan->state = AT_END; return c == '\n' ? 0 : -400;
    case AT_END: break;
    }
    return -400;
}

/* Names and values are most of a head: their bytes need no state machine up to the one that ends them. */
static void skip_plain(const char *data, size_t n, struct pm_http_scan *scan)
{
    unsigned char class = scan->state == IN_NAME    ? PM_CHAR_TOKEN
                          : scan->state == IN_VALUE ? PM_CHAR_VALUE
                                                    : 0;
    size_t at = scan->n_scanned;

    while (at < n && pm_char_classes[(unsigned char)data[at]] & class)
        at++;
    scan->n_scanned = at;
}

/* > 0: length of the head; 0: more; < 0: refused */
static long scan_head(const char *data, size_t n, struct pm_http_scan *scan, bool request)
{
    n = n < PM_HTTP_HEAD_MAX ? n : PM_HTTP_HEAD_MAX;
    while (scan->n_scanned < n) {
        int r = scan_byte(scan, data, scan->n_scanned, request);

        if (r < 0)
            return r;
        scan->n_scanned++;
        if (scan->state == AT_END)
            return (long)scan->n_scanned;
        skip_plain(data, n, scan);
    }
    return n == PM_HTTP_HEAD_MAX ? -431 : 0;
}

/* ---- second step: meaning --------------------------------------------------------------------------- */

static struct pm_slice trim(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return (struct pm_slice){p, (size_t)(end - p)};
}

/* Cuts the lines between `p` and the empty line; they are known to be well-formed. */
static void cut_lines(const char *p, struct pm_http_head *head)
{
    while (*p != '\r') {
        const char *colon = strchr(p, ':');
        const char *end = strchr(colon, '\r');

        head->headers[head->n_headers++] = (struct pm_http_header){
            .name = {p, (size_t)(colon - p)},
            .value = trim(colon + 1, end),
        };
        p = end + 2;
    }
}

/* Takes the next element of a comma list; false at its end. Empty elements are elements. */
static bool next_element(struct pm_slice *list, struct pm_slice *ret)
{
    const char *comma;

    if (!list->p)
        return false;

    comma = list->n ? memchr(list->p, ',', list->n) : NULL;
    *ret = trim(list->p, comma ? comma : list->p + list->n);
    if (comma)
        *list = (struct pm_slice){comma + 1, (size_t)(list->p + list->n - comma - 1)};
    else
        list->p = NULL;
    return true;
}

static bool is_token(struct pm_slice slice)
{
    for (size_t i = 0; i < slice.n; i++) {
        if (!pm_is_token_char(slice.p[i]))
            return false;
    }
    return slice.n > 0;
}

static bool same_name(struct pm_slice a, struct pm_slice b)
{
    return a.n == b.n && strncasecmp(a.p, b.p, a.n) == 0;
}

static bool listed(struct pm_slice name, const char *const *names)
{
    for (; *names; names++) {
        if (pm_slice_is_nocase(name, *names))
            return true;
    }
    return false;
}

/* Digits only, no leading zero; a number too large to be told is UINT64_MAX. */
static bool parse_length(struct pm_slice value, uint64_t *ret)
{
    uint64_t length = 0;

    if (value.n == 0 || (value.n > 1 && value.p[0] == '0'))
        return false;
    for (size_t i = 0; i < value.n; i++) {
        if (!pm_is_digit(value.p[i]))
            return false;
        if (__builtin_mul_overflow(length, 10u, &length) ||
            __builtin_add_overflow(length, (uint64_t)(value.p[i] - '0'), &length))
            length = UINT64_MAX; /* and stays: times ten it overflows again */
    }
    *ret = length;
    return true;
}

/* 0: exactly "chunked"; -501: other codings before a last "chunked"; -400: anything else. */
static int judge_coding(struct pm_slice value)
{
    struct pm_slice element;
    bool last_is_chunked = false, others = false;

    if (pm_slice_is_nocase(value, "chunked"))
        return 0;
    while (next_element(&value, &element)) {
        if (last_is_chunked || !is_token(element))
            return -400;
        last_is_chunked = pm_slice_is_nocase(element, "chunked");
        others |= !last_is_chunked;
    }
    return last_is_chunked && others ? -501 : -400;
}

static int judge_framing(struct pm_http_head *head)
{
    unsigned n_lengths, n_codings;
    const struct pm_http_header *length = pm_http_find(head, "content-length", &n_lengths);
    const struct pm_http_header *coding = pm_http_find(head, "transfer-encoding", &n_codings);

    if (n_lengths > 1 || n_codings > 1 || (length && coding) || (coding && head->minor == 0))
        return -400;
    if (coding) {
        head->framing = PM_BODY_CHUNKED;
        return judge_coding(coding->value);
    }
    if (length) {
        if (!parse_length(length->value, &head->content_length))
            return -400;
        head->has_length = true;
        head->framing = head->content_length ? PM_BODY_LENGTH : PM_BODY_NONE;
    }
    return 0;
}

/* Connection: which headers are this hop's, and whether it stays open. */
static int judge_connection(struct pm_http_head *head)
{
    static const char *const never[] = {"host",         "content-length", "transfer-encoding",
                                        "content-type", "authorization",  NULL};
    static const char *const always[] = {
        "connection", "keep-alive",     "te", "trailer", "transfer-encoding",
        "upgrade",    "http2-settings", NULL};
    unsigned n_options = 0;
    bool close = false;

    for (unsigned i = 0; i < head->n_headers; i++) {
        struct pm_http_header *header = &head->headers[i];
        struct pm_slice list = header->value, option;

        if (listed(header->name, always) ||
            (header->name.n >= 6 && strncasecmp(header->name.p, "proxy-", 6) == 0))
            header->hop_by_hop = true;
        if (!pm_slice_is_nocase(header->name, "connection"))
            continue;
        while (next_element(&list, &option)) {
            if (option.n == 0)
                continue;
            if (!is_token(option) || listed(option, never) ||
                ++n_options > PM_HTTP_CONNECTION_OPTIONS_MAX)
                return -400;
            close |= pm_slice_is_nocase(option, "close");
            for (unsigned j = 0; j < head->n_headers; j++)
                head->headers[j].hop_by_hop |= same_name(head->headers[j].name, option);
        }
    }
    head->keep_alive = head->minor == 1 && !close;
    return 0;
}

static bool is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || pm_is_digit(c) || c == '.' ||
           c == '-' || c == '_';
}

/* name[:port] or [v6][:port]; an empty port is allowed. */
static bool host_valid(struct pm_slice host)
{
    size_t at = 0;
    unsigned port = 0;

    if (host.n && host.p[0] == '[') {
        for (at = 1; at < host.n && (pm_hex_digit(host.p[at]) >= 0 || strchr(":.", host.p[at]));
             at++)
            ;
        if (at == host.n || host.p[at] != ']' || at == 1)
            return false;
        at++;
    } else {
        while (at < host.n && is_host_char(host.p[at]))
            at++;
        if (at == 0)
            return false;
    }
    if (at == host.n)
        return true;
    if (host.p[at++] != ':' || host.n - at > 5)
        return false;
    for (; at < host.n; at++) {
        if (!pm_is_digit(host.p[at]))
            return false;
        port = port * 10 + (unsigned)(host.p[at] - '0');
    }
    return port <= 65535;
}

static int judge_host(struct pm_http_head *head)
{
    unsigned n;
    const struct pm_http_header *host = pm_http_find(head, "host", &n);

    if (n > 1 || (n == 0 && head->minor == 1))
        return -400;
    if (!host || (host->value.n == 0 && head->minor == 0))
        return 0;
    if (!host_valid(host->value))
        return -400;
    head->host = host->value;
    return 0;
}

/* Names that become framing headers where `_` turns into `-`. */
static bool has_disguised_framing(const struct pm_http_head *head)
{
    return pm_http_find(head, "content_length", NULL) ||
           pm_http_find(head, "transfer_encoding", NULL) ||
           pm_http_find(head, "content_encoding", NULL);
}

static int judge_request(struct pm_http_head *head)
{
    unsigned n_expect, n_upgrades;
    const struct pm_http_header *expect = pm_http_find(head, "expect", &n_expect);
    const struct pm_http_header *upgrade = pm_http_find(head, "upgrade", &n_upgrades);
    int r;

    if (has_disguised_framing(head))
        return -400;
    if ((r = judge_host(head)) < 0 || (r = judge_framing(head)) < 0 ||
        (r = judge_connection(head)) < 0)
        return r;

    if (expect) {
        head->expect_continue = n_expect == 1 && pm_slice_is_nocase(expect->value, "100-continue");
        head->wrong_expect = !head->expect_continue;
    }
    head->upgrade = n_upgrades > 1 || (upgrade && !pm_slice_is_nocase(upgrade->value, "h2c"));
    return 0;
}

static int judge_response(struct pm_http_head *head, enum pm_http_method of_method)
{
    unsigned n_types;

    (void)pm_http_find(head, "content-type", &n_types);
    if (n_types > 1 || judge_framing(head) < 0 || judge_connection(head) < 0)
        return -502;
    if (head->content_length == UINT64_MAX) /* nobody sends that much: a length to wrap a counter */
        return -502;

    if (of_method == PM_HEAD || head->status < 200 || head->status == 204 || head->status == 304)
        head->framing = PM_BODY_NONE;
    else if (head->framing == PM_BODY_NONE && !head->has_length)
        head->framing = PM_BODY_UNTIL_CLOSE;
    return 0;
}

/* The start line's parts and all header lines. */
static void cut_head(const char *data, const struct pm_http_scan *scan, bool request,
                     struct pm_http_head *head)
{
    const char *p = data + scan->extra[BEGIN];

    head->minor = (int)scan->extra[MINOR];
    if (request) {
        const char *blank;

        head->method = scan->method_index;
        head->target.p = (const char *)memchr(p, ' ', PM_HTTP_METHOD_MAX + 1) + 1;
        blank = strchr(head->target.p, ' ');
        head->target.n = (size_t)(blank - head->target.p);
    } else {
        head->status = (p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0');
    }
    cut_lines(strchr(p, '\n') + 1, head);
}

static void clear_head(struct pm_http_head *head)
{
    memset(head, 0,
           offsetof(struct pm_http_head, headers)); /* the lines are filled as they are found */
}

long pm_http_parse_request(const char *data, size_t n, struct pm_http_scan *scan,
                           struct pm_http_head *ret)
{
    long length = scan_head(data, n, scan, true);
    int r;

    if (length <= 0)
        return length;

    clear_head(ret);
    cut_head(data, scan, true, ret);
    r = judge_request(ret);
    return r < 0 ? r : length;
}

long pm_http_parse_response(const char *data, size_t n, struct pm_http_scan *scan,
                            enum pm_http_method of_method, struct pm_http_head *ret)
{
    long length = scan_head(data, n, scan, false);
    int r;

    if (length <= 0)
        return length < 0 ? -502 : 0;

    clear_head(ret);
    cut_head(data, scan, false, ret);
    r = judge_response(ret, of_method);
    return r < 0 ? r : length;
}
