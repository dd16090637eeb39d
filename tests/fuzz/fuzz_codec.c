/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what a client or an engine sends: cut in any way they must be understood the same, and what is
 * understood must be what was checked. The first byte says how to read the rest: bit 0 answers instead of requests,
 * bit 1 answers to HEAD; the remaining bits choose the cut.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "../unit/http_reader.h"
#include "http/chars.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_header(const struct pm_http_header *header, const char *from, const char *to)
{
    assert(header->name.n > 0 && header->name.p >= from && header->name.p + header->name.n < to);
    for (size_t i = 0; i < header->name.n; i++)
        assert(pm_is_token_char(header->name.p[i]));

    assert(header->value.p >= header->name.p + header->name.n);
    assert(header->value.p + header->value.n <= to - 4);
    for (size_t i = 0; i < header->value.n; i++)
        assert(pm_is_value_char(header->value.p[i]));
    if (header->value.n) {
        char first = header->value.p[0], last = header->value.p[header->value.n - 1];

        assert(first != ' ' && first != '\t' && last != ' ' && last != '\t');
    }
}

/* What no head that was let through may have. */
static void check_head(const struct pm_http_head *head, const char *from, const char *to,
                       bool response)
{
    unsigned n_lengths, n_codings, n_hosts;

    (void)pm_http_find(head, "content-length", &n_lengths);
    (void)pm_http_find(head, "transfer-encoding", &n_codings);
    (void)pm_http_find(head, "host", &n_hosts);
    assert(n_lengths + n_codings <= 1 && (head->minor == 0 || head->minor == 1));
    assert((size_t)(to - from) <= PM_HTTP_HEAD_MAX && head->n_headers <= PM_HTTP_LINES_MAX);
    assert(memcmp(to - 4, "\r\n\r\n", 4) == 0);
    for (unsigned i = 0; i < head->n_headers; i++)
        check_header(&head->headers[i], from, to);

    if (response) {
        assert(head->status >= 100 && head->status <= 599);
        assert(head->framing != PM_BODY_LENGTH || head->content_length < UINT64_MAX);
        return;
    }
    assert(head->method < PM_METHOD_COUNT && head->framing != PM_BODY_UNTIL_CLOSE);
    assert(head->target.n >= 1 && head->target.n <= PM_HTTP_TARGET_MAX && head->target.p[0] == '/');
    assert(n_hosts <= 1 && (head->minor == 0 || n_hosts == 1));
    assert((head->framing == PM_BODY_CHUNKED) == (n_codings == 1));
    assert(head->framing != PM_BODY_LENGTH || n_lengths == 1);
}

static void check_path(const struct pm_http_head *head)
{
    char path[256];
    struct pm_slice query;

    if (pm_http_decode_path(head->target, path, sizeof(path), &query) < 0)
        return;
    assert(path[0] == '/' && strlen(path) < sizeof(path) && strstr(path, "//") == NULL);
    assert(strstr(path, "/../") == NULL && strstr(path, "/./") == NULL);
    for (const char *p = path; *p; p++)
        assert((unsigned char)*p >= 0x20 && *p != 0x7f);
    assert(query.n == 0 || query.p[-1] == '?');
}

/* The first head alone, at a copy of the exact size. */
static void check_first_head(const char *data, size_t n, bool response, enum pm_http_method method)
{
    static struct pm_http_head head;
    struct pm_http_scan scan = {0};
    char *exact = malloc(n ? n : 1);
    long r;

    memcpy(exact, data, n);
    r = response ? pm_http_parse_response(exact, n, &scan, method, &head)
                 : pm_http_parse_request(exact, n, &scan, &head);
    assert(r <= (long)n);
    assert(r >= 0 ||
           (response ? r == -502 : r == -400 || r == -414 || r == -431 || r == -501 || r == -505));
    if (r > 0) {
        check_head(&head, exact, exact + r, response);
        if (!response)
            check_path(&head);
    }
    free(exact);
}

static void check_same(const struct reader *a, const struct reader *b)
{
    assert(a->text.n == b->text.n && memcmp(a->text.data, b->text.data, a->text.n) == 0);
    assert(a->detail.n == b->detail.n && memcmp(a->detail.data, b->detail.data, a->detail.n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const char *data = (const char *)bytes + 1;
    size_t n, cut;
    bool response;
    enum pm_http_method method;
    struct reader whole, single, two;

    if (size < 1)
        return 0;
    n = size - 1;
    response = bytes[0] & 1;
    method = bytes[0] & 2 ? PM_HEAD : PM_POST;
    cut = n * (bytes[0] >> 2) / 64;

    check_first_head(data, n, response, method);

    whole = single = two = (struct reader){.responses = response, .of_method = method};
    reader_feed_all(&whole, data, n, n);
    reader_feed_all(&single, data, n, 1);
    if (cut)
        reader_feed(&two, data, cut);
    reader_feed_all(&two, data + cut, n - cut, n);
    check_same(&whole, &single);
    check_same(&whole, &two);
    assert(whole.text.n <= n + 64 * READER_HEADS_MAX); /* nothing is made up */

    reader_fini(&whole);
    reader_fini(&single);
    reader_fini(&two);
    return 0;
}
