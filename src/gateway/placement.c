/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members are parted by semicolons, pools and devices by commas; blanks may stand around each. What is unknown, empty
 * or given twice is refused: a wish that is read in two ways is granted in one of them.
 */
#include "gateway/placement.h"

#include <string.h>

#include "util/cleanup.h"
#include "util/error.h"
#include "util/str.h"

static int bad(struct poolmgr_error *err, const char *what, const char *why)
{
    char text[64];

    (void)pm_str_copy(text, sizeof(text), what);
    pm_text_clean(text);
    (void)pm_fail(err, POOLMGR_E_INVALID_REQUEST, "X-Placement: '%s' %s", text, why);
    (void)pm_error_param(err, 0, "X-Placement");
    return pm_error_hint(err, POOLMGR_E_INVALID_REQUEST,
                         "X-Placement: pin=a; prefer=b,c; avoid=d; mask=0; fallback=no");
}

/* Without the blanks around it. */
static char *trim(char *text)
{
    size_t n;

    text += strspn(text, " \t");
    for (n = strlen(text); n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t'); n--)
        ;
    text[n] = '\0';
    return text;
}

/* What comes before the separator, trimmed; *rest is behind it, or NULL. */
static char *cut(char **rest, char separator)
{
    char *text = *rest, *end = strchr(text, separator);

    if (end)
        *end++ = '\0';
    *rest = end;
    return trim(text);
}

static int read_pools(char *value, const char **ids, size_t *ret_n, struct poolmgr_error *err)
{
    size_t n = 0;

    while (value) {
        char *id = cut(&value, ',');

        if (!pm_pool_id_valid(id))
            return bad(err, id, "is no pool's id");
        if (n == PM_PLACEMENT_POOLS_MAX)
            return bad(err, id, "is one pool too many");
        ids[n++] = id;
    }
    *ret_n = n;
    return POOLMGR_OK;
}

static int read_pin(char *value, struct pm_placement_header *to, struct poolmgr_error *err)
{
    if (!pm_pool_id_valid(value))
        return bad(err, value, "is no pool's id");
    to->placement.pin = value;
    return POOLMGR_OK;
}

static int read_prefer(char *value, struct pm_placement_header *to, struct poolmgr_error *err)
{
    to->placement.prefer = to->prefer;
    return read_pools(value, to->prefer, &to->placement.n_prefer, err);
}

static int read_avoid(char *value, struct pm_placement_header *to, struct poolmgr_error *err)
{
    to->placement.avoid = to->avoid;
    return read_pools(value, to->avoid, &to->placement.n_avoid, err);
}

/* Devices as a pool's `devices` has them, but of one group; which there are is not known here. */
static int read_mask(char *value, struct pm_placement_header *to, struct poolmgr_error *err)
{
    pm_auto(pm_mask_unref) struct pm_mask *mask = NULL;
    size_t offset;
    int r;

    r = pm_mask_parse(value, strlen(value), &mask, &offset, err);
    if (r < 0) {
        (void)pm_wrap(err, r, "X-Placement: mask");
        (void)pm_error_offset(err, r, (uint32_t)((size_t)(value - to->text) + offset));
        return pm_error_param(err, r, "X-Placement");
    }
    to->placement.mask = value;
    return POOLMGR_OK;
}

static int read_fallback(char *value, struct pm_placement_header *to, struct poolmgr_error *err)
{
    to->placement.no_fallback = strcmp(value, "no") == 0;
    if (to->placement.no_fallback || strcmp(value, "yes") == 0)
        return POOLMGR_OK;
    return bad(err, value, "is neither yes nor no");
}

static const struct {
    const char *name;
    int (*read)(char *value, struct pm_placement_header *to, struct poolmgr_error *err);
} members[] = {
    {"pin", read_pin},   {"prefer", read_prefer},     {"avoid", read_avoid},
    {"mask", read_mask}, {"fallback", read_fallback},
};

static int read_member(char *text, unsigned *seen, struct pm_placement_header *to,
                       struct poolmgr_error *err)
{
    char *value = strchr(text, '=');

    if (!value)
        return bad(err, text, "is no name=value");
    *value++ = '\0';
    text = trim(text);
    for (unsigned i = 0; i < PM_ARRAY_LEN(members); i++) {
        if (strcmp(text, members[i].name) != 0)
            continue;
        if (*seen & 1u << i)
            return bad(err, text, "is given twice");
        *seen |= 1u << i;
        return members[i].read(trim(value), to, err);
    }
    return bad(err, text, "is unknown");
}

int pm_placement_parse(const char *data, size_t n, struct pm_placement_header *ret,
                       struct poolmgr_error *err)
{
    char *rest = ret->text;
    unsigned seen = 0;
    int r;

    memset(ret, 0, sizeof(*ret));
    if (n > PM_PLACEMENT_MAX || memchr(data, '\0', n))
        return bad(err, "the header", "is too long, or no text");
    memcpy(ret->text, data, n);
    while (rest) {
        r = read_member(cut(&rest, ';'), &seen, ret, err);
        if (r < 0)
            return r;
    }
    return POOLMGR_OK;
}
