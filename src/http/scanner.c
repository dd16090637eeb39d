/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over the bytes of a JSON object. At the top level the grammar is kept strictly, since that is where names
 * are found; inside values only strings and brackets are followed, between bytes that JSON has, and the engine judges
 * the rest. Strings that nobody asks for are skipped with memchr. Keys and the model's name are unescaped and must be well-formed UTF-8, so
 * that no two readers can spell them differently.
 */
#include "http/scanner.h"

#include <string.h>

enum state {
    BEFORE,     /* blanks before '{' */
    KEY_OR_END, /* behind '{' */
    KEY,        /* behind a comma: a quote must come */
    COLON,
    VALUE,
    SCALAR, /* a number or word at the top level */
    NESTED, /* inside an array or object */
    AFTER_VALUE,
    STRING, /* any string */
    ESCAPE,
    HEX,
    AFTER, /* blanks behind '}' */
    REFUSED,
};

enum capture { NOTHING, NESTED_STRING, KEY_TEXT, MODEL, KEEP_ALIVE };
enum key { OTHER, KEY_MODEL, KEY_STREAM, KEY_KEEP_ALIVE };

static const char *const key_names[] = {
    [KEY_MODEL] = "model", [KEY_STREAM] = "stream", [KEY_KEEP_ALIVE] = "keep_alive"};

void pm_scanner_init(struct pm_scanner *scanner)
{
    memset(scanner, 0, sizeof(*scanner));
}

static int refuse(struct pm_scanner *scanner, const char *param, const char *error)
{
    scanner->state = REFUSED;
    scanner->param = param;
    scanner->error = error;
    return -1;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* ---- strings that are kept -------------------------------------------------------------------------- */

static bool is_kept(const struct pm_scanner *scanner)
{
    return scanner->capture == KEY_TEXT || scanner->capture == MODEL;
}

static const char *param_of_string(const struct pm_scanner *scanner)
{
    return scanner->capture == MODEL ? "model" : NULL;
}

static void keep_byte(struct pm_scanner *scanner, char c)
{
    if (scanner->capture == KEY_TEXT) {
        if (scanner->n_key < PM_SCAN_KEY_MAX)
            scanner->key_text[scanner->n_key] = c;
        scanner->n_key++; /* longer than the buffer: none of ours */
    } else if (scanner->n_model < PM_SCAN_MODEL_MAX) {
        scanner->model[scanner->n_model++] = c;
    } else {
        scanner->model_too_long = true;
    }
}

static void keep_code_point(struct pm_scanner *scanner, uint32_t c)
{
    if (c < 0x80) {
        keep_byte(scanner, (char)c);
    } else if (c < 0x800) {
        keep_byte(scanner, (char)(0xc0 | c >> 6));
        keep_byte(scanner, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        keep_byte(scanner, (char)(0xe0 | c >> 12));
        keep_byte(scanner, (char)(0x80 | (c >> 6 & 0x3f)));
        keep_byte(scanner, (char)(0x80 | (c & 0x3f)));
    } else {
        keep_byte(scanner, (char)(0xf0 | c >> 18));
        keep_byte(scanner, (char)(0x80 | (c >> 12 & 0x3f)));
        keep_byte(scanner, (char)(0x80 | (c >> 6 & 0x3f)));
        keep_byte(scanner, (char)(0x80 | (c & 0x3f)));
    }
}

/* The first byte of a UTF-8 sequence of more than one: how many follow, and what the next may be. */
static bool begin_utf8(struct pm_scanner *scanner, unsigned char c)
{
    scanner->utf8_low = 0x80;
    scanner->utf8_high = 0xbf;
    if (c >= 0xc2 && c <= 0xdf) {
        scanner->n_utf8 = 1;
    } else if (c >= 0xe0 && c <= 0xef) {
        scanner->n_utf8 = 2;
        if (c == 0xe0)
            scanner->utf8_low = 0xa0;
        if (c == 0xed)
            scanner->utf8_high = 0x9f; /* no surrogates */
    } else if (c >= 0xf0 && c <= 0xf4) {
        scanner->n_utf8 = 3;
        if (c == 0xf0)
            scanner->utf8_low = 0x90;
        if (c == 0xf4)
            scanner->utf8_high = 0x8f;
    } else {
        return false;
    }
    return true;
}

static bool check_utf8(struct pm_scanner *scanner, unsigned char c)
{
    if (scanner->n_utf8 == 0)
        return c < 0x80 || begin_utf8(scanner, c);
    if (c < scanner->utf8_low || c > scanner->utf8_high)
        return false;
    scanner->utf8_low = 0x80;
    scanner->utf8_high = 0xbf;
    scanner->n_utf8--;
    return true;
}

/* A plain byte of a kept string. */
static int read_kept(struct pm_scanner *scanner, char c)
{
    if ((unsigned char)c < 0x20 || scanner->high_surrogate ||
        !check_utf8(scanner, (unsigned char)c))
        return refuse(scanner, param_of_string(scanner), "a name is not well-formed text");
    keep_byte(scanner, c);
    return 0;
}

static int read_escape(struct pm_scanner *scanner, char c)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    const char *found = c ? strchr(letters, c) : NULL;

    scanner->state = STRING;
    if (!is_kept(scanner))
        return 0;
    if (c == 'u') {
        scanner->state = HEX;
        scanner->n_hex = 4;
        scanner->hex = 0;
        return 0;
    }
    if (!found || scanner->high_surrogate || scanner->n_utf8)
        return refuse(scanner, param_of_string(scanner),
                      "a name holds an escape that JSON does not have");
    keep_byte(scanner, values[found - letters]);
    return 0;
}

static int read_hex(struct pm_scanner *scanner, char c)
{
    uint32_t digit;

    if (c >= '0' && c <= '9')
        digit = (uint32_t)(c - '0');
    else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        digit = (uint32_t)((c | 0x20) - 'a' + 10);
    else
        return refuse(scanner, param_of_string(scanner),
                      "a name holds an escape that JSON does not have");

    scanner->hex = scanner->hex << 4 | digit;
    if (--scanner->n_hex)
        return 0;

    scanner->state = STRING;
    if (scanner->n_utf8)
        return refuse(scanner, param_of_string(scanner), "a name is not well-formed text");
    if (scanner->high_surrogate) {
        if (scanner->hex < 0xdc00 || scanner->hex > 0xdfff)
            return refuse(scanner, param_of_string(scanner), "a name holds half a surrogate pair");
        keep_code_point(scanner, 0x10000 + ((scanner->high_surrogate - 0xd800) << 10) +
                                     (scanner->hex - 0xdc00));
        scanner->high_surrogate = 0;
        return 0;
    }
    if (scanner->hex >= 0xd800 && scanner->hex <= 0xdbff) {
        scanner->high_surrogate = scanner->hex;
        return 0;
    }
    if (scanner->hex >= 0xdc00 && scanner->hex <= 0xdfff)
        return refuse(scanner, param_of_string(scanner), "a name holds half a surrogate pair");
    keep_code_point(scanner, scanner->hex);
    return 0;
}

/* ---- members ---------------------------------------------------------------------------------------- */

static bool same_folded(const char *a, const char *lower, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = a[i] >= 'A' && a[i] <= 'Z' ? (char)(a[i] + 32) : a[i];

        if (c != lower[i])
            return false;
    }
    return true;
}

/* A key has ended: is it one of ours, and did it come already, in whatever case? */
static int end_key(struct pm_scanner *scanner)
{
    scanner->state = COLON;
    scanner->key = OTHER;
    for (enum key k = KEY_MODEL; k <= KEY_KEEP_ALIVE; k++) {
        size_t n = strlen(key_names[k]);

        if (scanner->n_key != n || !same_folded(scanner->key_text, key_names[k], n))
            continue;
        if (scanner->seen & 1u << k)
            return refuse(scanner, key_names[k], "the member is given twice");
        scanner->seen |= (unsigned char)(1u << k);
        if (memcmp(scanner->key_text, key_names[k], n) == 0)
            scanner->key = (unsigned char)k;
    }
    return 0;
}

static int end_scalar(struct pm_scanner *scanner)
{
    size_t n = scanner->n_scalar < sizeof(scanner->scalar) ? scanner->n_scalar
                                                           : sizeof(scanner->scalar) - 1;

    scanner->scalar[n] = '\0';
    scanner->state = AFTER_VALUE;
    if (scanner->key == KEY_MODEL)
        return refuse(scanner, "model", "the member is not a text");
    if (scanner->key == KEY_STREAM) {
        scanner->stream = strcmp(scanner->scalar, "true") == 0;
        if (!scanner->stream && strcmp(scanner->scalar, "false") != 0 &&
            strcmp(scanner->scalar, "null") != 0)
            return refuse(scanner, "stream", "the member is neither true nor false");
    }
    if (scanner->key == KEY_KEEP_ALIVE) {
        if (scanner->n_scalar >= sizeof(scanner->keep_alive))
            return refuse(scanner, "keep_alive", "the member is neither a number nor a short text");
        memcpy(scanner->keep_alive, scanner->scalar, n + 1);
        scanner->has_keep_alive = true;
    }
    return 0;
}

static int end_string(struct pm_scanner *scanner, uint64_t offset)
{
    enum capture capture = (enum capture)scanner->capture;

    scanner->capture = NOTHING;
    if (capture == NESTED_STRING) {
        scanner->state = NESTED;
        return 0;
    }
    if (scanner->n_utf8 || scanner->high_surrogate) {
        scanner->capture = (unsigned char)capture;
        return refuse(scanner, param_of_string(scanner), "a name is not well-formed text");
    }
    if (capture == KEY_TEXT)
        return end_key(scanner);

    scanner->state = AFTER_VALUE;
    if (capture == MODEL) {
        scanner->has_model = true;
        scanner->model_value = (struct pm_scan_range){scanner->value_at, offset + 1};
    }
    if (capture == KEEP_ALIVE) {
        if (scanner->n_scalar + 1 >= sizeof(scanner->keep_alive))
            return refuse(scanner, "keep_alive", "the member is neither a number nor a short text");
        scanner->keep_alive[scanner->n_scalar++] = '"';
        scanner->has_keep_alive = true;
    }
    return 0;
}

static void begin_string(struct pm_scanner *scanner, enum capture capture)
{
    scanner->state = STRING;
    scanner->capture = (unsigned char)capture;
    scanner->n_utf8 = 0;
    scanner->high_surrogate = 0;
}

static int open_bracket(struct pm_scanner *scanner, char c)
{
    uint64_t bit;

    if (scanner->depth + 1 >= PM_SCAN_DEPTH_MAX) /* the top level is one of them */
        return refuse(scanner, NULL, "the body is nested too deep");
    bit = (uint64_t)1 << (scanner->depth % 64);
    scanner->stack[scanner->depth / 64] &= ~bit;
    if (c == '{')
        scanner->stack[scanner->depth / 64] |= bit;
    scanner->depth++;
    scanner->state = NESTED;
    return 0;
}

static int close_bracket(struct pm_scanner *scanner, char c)
{
    bool is_object;

    scanner->depth--;
    is_object = scanner->stack[scanner->depth / 64] >> (scanner->depth % 64) & 1;
    if (is_object != (c == '}'))
        return refuse(scanner, NULL, "the body's brackets do not match");
    if (scanner->depth == 0)
        scanner->state = AFTER_VALUE;
    return 0;
}

static int begin_value(struct pm_scanner *scanner, char c)
{
    static const char *const wrong[] = {
        [KEY_MODEL] = "the member is not a text",
        [KEY_STREAM] = "the member is neither true nor false",
        [KEY_KEEP_ALIVE] = "the member is neither a number nor a short text",
    };

    scanner->value_at = scanner->offset;
    scanner->n_scalar = 0;
    if (c == '"') {
        if (scanner->key == KEY_STREAM)
            return refuse(scanner, "stream", wrong[KEY_STREAM]);
        if (scanner->key == KEY_KEEP_ALIVE)
            scanner->keep_alive[scanner->n_scalar++] = '"';
        begin_string(scanner, scanner->key == KEY_MODEL        ? MODEL
                              : scanner->key == KEY_KEEP_ALIVE ? KEEP_ALIVE
                                                               : NOTHING);
        return 0;
    }
    if (c == '{' || c == '[') {
        if (scanner->key != OTHER)
            return refuse(scanner, key_names[scanner->key], wrong[scanner->key]);
        return open_bracket(scanner, c);
    }
    scanner->state = SCALAR;
    return 0;
}

static bool is_scalar_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '+' || c == '.';
}

static int end_member(struct pm_scanner *scanner, char c)
{
    if (c != ',' && c != '}')
        return refuse(scanner, NULL, "the body is not a JSON object");

    if (scanner->key == KEY_KEEP_ALIVE && scanner->has_keep_alive) {
        if (c == ',')
            scanner->keep_alive_member =
                (struct pm_scan_range){scanner->key_at, scanner->offset + 1};
        else
            scanner->keep_alive_member = (struct pm_scan_range){
                scanner->comma_at ? scanner->comma_at - 1 : scanner->key_at, scanner->offset};
    }
    if (c == ',')
        scanner->comma_at = scanner->offset + 1;
    scanner->key = OTHER;
    scanner->state = c == ',' ? KEY : AFTER;
    return 0;
}

/* ---- bytes ------------------------------------------------------------------------------------------ */

/* Where the next quote and the next backslash of the fed bytes are: each is searched for once, so that a text full of
 * one of them does not have the other searched for again and again. */
struct marks {
    const char *quote, *backslash;
};

static const char *next_mark(const char *known, char c, const char *from, const char *end)
{
    const char *found;

    if (known && known >= from)
        return known;
    found = memchr(from, c, (size_t)(end - from));
    return found ? found : end;
}

/* How many bytes of a skipped string need no look. */
static size_t skip_string(struct marks *marks, const char *from, const char *end)
{
    marks->quote = next_mark(marks->quote, '"', from, end);
    marks->backslash = next_mark(marks->backslash, '\\', from, end);
    return (size_t)((marks->quote < marks->backslash ? marks->quote : marks->backslash) - from);
}

static int read_string(struct pm_scanner *scanner, char c)
{
    if (scanner->capture == KEEP_ALIVE && c != '"') {
        if ((unsigned char)c < 0x20 || c == '\\' ||
            scanner->n_scalar + 2 >= sizeof(scanner->keep_alive))
            return refuse(scanner, "keep_alive", "the member is neither a number nor a short text");
        scanner->keep_alive[scanner->n_scalar++] = c;
        return 0;
    }
    if (c == '"')
        return end_string(scanner, scanner->offset);
    if (c == '\\') {
        scanner->state = ESCAPE;
        return 0;
    }
    return is_kept(scanner) ? read_kept(scanner, c) : 0;
}

/* Between brackets: comments or quotes of another kind would let another reader see other texts than we do. */
static int read_nested(struct pm_scanner *scanner, char c)
{
    switch (c) {
    case '"': begin_string(scanner, NESTED_STRING); return 0;
    case '{':
    case '[': return open_bracket(scanner, c);
    case '}':
    case ']': return close_bracket(scanner, c);
    case ':':
    case ',': return 0;
    default:
        if (is_blank(c) || is_scalar_char(c))
            return 0;
        return refuse(scanner, NULL, "the body is not a JSON object");
    }
}

static int read_byte(struct pm_scanner *scanner, char c)
{
    switch ((enum state)scanner->state) {
    case BEFORE:
        if (is_blank(c))
            return 0;
        scanner->state = KEY_OR_END;
        return c == '{' ? 0 : refuse(scanner, NULL, "the body is not a JSON object");
    case KEY_OR_END:
    case KEY:
        if (is_blank(c))
            return 0;
        if (c == '}' && scanner->state == KEY_OR_END) {
            scanner->state = AFTER;
            return 0;
        }
        if (c != '"')
            return refuse(scanner, NULL, "the body is not a JSON object");
        scanner->key_at = scanner->offset;
        scanner->n_key = 0;
        begin_string(scanner, KEY_TEXT);
        return 0;
    case COLON:
        if (is_blank(c))
            return 0;
        scanner->state = VALUE;
        return c == ':' ? 0 : refuse(scanner, NULL, "the body is not a JSON object");
    case VALUE:
        if (is_blank(c))
            return 0;
        if (c != '"' && c != '{' && c != '[' && !is_scalar_char(c))
            return refuse(scanner, NULL, "the body is not a JSON object");
        if (begin_value(scanner, c) < 0)
            return -1;
        if (scanner->state != SCALAR)
            return 0;
        /* fall through */
    case SCALAR:
        if (is_scalar_char(c)) {
            if (scanner->n_scalar < sizeof(scanner->scalar))
                scanner->scalar[scanner->n_scalar] = c;
            scanner->n_scalar++;
            return 0;
        }
        if (end_scalar(scanner) < 0)
            return -1;
        return is_blank(c) ? 0 : end_member(scanner, c);
    case NESTED: return read_nested(scanner, c);
    case AFTER_VALUE: return is_blank(c) ? 0 : end_member(scanner, c);
    case STRING: return read_string(scanner, c);
    case ESCAPE: return read_escape(scanner, c);
    case HEX: return read_hex(scanner, c);
    case AFTER:
        return is_blank(c) ? 0 : refuse(scanner, NULL, "bytes follow the end of the body's object");
    case REFUSED: break;
    }
    return -1;
}

int pm_scanner_feed(struct pm_scanner *scanner, const char *data, size_t n)
{
    struct marks marks = {0};

    for (size_t i = 0; i < n; i++) {
        if (scanner->state == STRING &&
            (scanner->capture == NOTHING || scanner->capture == NESTED_STRING)) {
            size_t skipped = skip_string(&marks, data + i, data + n);

            i += skipped;
            scanner->offset += skipped;
            if (i == n)
                break;
        }
        if (read_byte(scanner, data[i]) < 0)
            return -1;
        scanner->offset++;
    }
    return 0;
}

int pm_scanner_end(struct pm_scanner *scanner)
{
    if (scanner->state == REFUSED)
        return -1;
    if (scanner->state != AFTER)
        return refuse(scanner, NULL,
                      scanner->state == BEFORE ? "the body is empty" : "the body is cut short");
    return 0;
}
