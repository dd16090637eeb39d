/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon on loopback without keys trusts whoever can reach it, and a web browser can be made to reach it by any page
 * its user looks at. Three headers tell such requests apart, and no page can forge them:
 *
 * - Host. A page that had its own name point to 127.0.0.1 (DNS rebinding) still says its own name. So Host must be a
 *   loopback name, an address we were told to listen on, or one of allowed_hosts.
 * - Origin. Sent with every request that a script makes across origins, and with every POST. It must be the address
 *   served, which is what our own pages have.
 * - Sec-Fetch-Site. An image or a link sends no Origin, but browsers say that it comes from elsewhere.
 *
 * Programs send none of the last two. A refusal carries no Access-Control header, so that a page learns nothing.
 */
#include "api/guard.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

/* The host of "host", "host:port", "[v6]:port", without the port; brackets stay. */
static struct pm_slice without_port(struct pm_slice host)
{
    const char *end;

    if (host.n > 0 && host.p[0] == '[') {
        end = memchr(host.p, ']', host.n);
        return (struct pm_slice){host.p, end ? (size_t)(end - host.p) + 1 : host.n};
    }

    end = memchr(host.p, ':', host.n);
    return (struct pm_slice){host.p, end ? (size_t)(end - host.p) : host.n};
}

static bool same_nocase(struct pm_slice a, struct pm_slice b)
{
    return a.n == b.n && strncasecmp(a.p, b.p, a.n) == 0;
}

static struct pm_slice slice_of(const char *text)
{
    return (struct pm_slice){text, strlen(text)};
}

static bool is_loopback(struct pm_slice name)
{
    char text[INET_ADDRSTRLEN];
    struct in_addr address;

    if (pm_slice_is_nocase(name, "localhost") || pm_slice_is(name, "[::1]"))
        return true;
    if (name.n == 0 || name.n >= sizeof(text))
        return false;

    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    return inet_pton(AF_INET, text, &address) == 1 && (ntohl(address.s_addr) >> 24) == 127;
}

static bool is_wildcard(struct pm_slice name)
{
    return name.n == 0 || pm_slice_is(name, "0.0.0.0") || pm_slice_is(name, "[::]") ||
           pm_slice_is(name, "*");
}

static bool is_listed(const struct pm_strv *list, struct pm_slice name)
{
    for (size_t i = 0; list && i < list->n; i++) {
        struct pm_slice listed = without_port(slice_of(list->items[i]));

        if (!pm_str_starts(list->items[i], "unix:") && !is_wildcard(listed) &&
            same_nocase(listed, name))
            return true;
    }
    return false;
}

bool pm_guard_host_ok(const struct pm_guard *guard, struct pm_slice host)
{
    struct pm_slice name = without_port(host);

    return is_loopback(name) || is_listed(guard->listen, name) ||
           is_listed(guard->allowed_hosts, name);
}

static int refuse(struct poolmgr_error *err, const char *param, struct pm_slice value)
{
    (void)pm_fail(err, POOLMGR_E_ORIGIN_REFUSED, "%s '%.*s' is not one this daemon serves", param,
                  (int)(value.n > 200 ? 200 : value.n), value.p);
    (void)pm_error_hint(err, POOLMGR_E_ORIGIN_REFUSED,
                        "use http://localhost or a listen address; a proxy's name goes into "
                        "allowed_hosts");
    return pm_error_param(err, POOLMGR_E_ORIGIN_REFUSED, param);
}

/* Origin is "http://" or "https://" and then what Host says: the page was served by us. */
static bool is_our_origin(const struct pm_guard *guard, struct pm_slice origin,
                          struct pm_slice host)
{
    size_t n = strncmp(origin.p, "https://", origin.n < 8 ? origin.n : 8) == 0 ? 8 : 7;

    if (origin.n <= n || (n == 7 && strncmp(origin.p, "http://", 7) != 0))
        return false;
    origin = (struct pm_slice){origin.p + n, origin.n - n};
    return same_nocase(origin, host) && pm_guard_host_ok(guard, host);
}

int pm_guard_check(const struct pm_guard *guard, const struct pm_http_head *head,
                   struct poolmgr_error *err)
{
    unsigned n_origins;
    const struct pm_http_header *origin = pm_http_find(head, "origin", &n_origins);
    const struct pm_http_header *site;

    /* HTTP/1.0 may go without a Host; no browser does. */
    if (!guard->is_unix && !guard->open_host && head->host.n > 0 &&
        !pm_guard_host_ok(guard, head->host))
        return refuse(err, "Host", head->host);

    if (origin) {
        if (n_origins > 1 || !is_our_origin(guard, origin->value, head->host))
            return refuse(err, "Origin", origin->value);
        return 0;
    }

    site = pm_http_find(head, "sec-fetch-site", NULL);
    if (site && !pm_slice_is(site->value, "same-origin") && !pm_slice_is(site->value, "none"))
        return refuse(err, "Sec-Fetch-Site", site->value);
    return 0;
}
