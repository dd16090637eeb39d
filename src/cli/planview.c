/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One bar a device: what the engine takes, what is kept free, what is left. Bars of all devices have the same scale, so that a
 * small device has a short one; what does not fit stands out behind its end.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/plan.h"
#include "util/cleanup.h"
#include "util/str.h"

#define BAR_MIN     20
#define BAR_MAX     100
#define LABEL_WIDTH 22 /* "  0   46 layers  " */
#define KIB         1024
#define GIB         (UINT64_C(1) << 30)

enum part { WEIGHTS, KV, COMPUTE, CONTEXT, RESERVE, FREE, LACK, PART_COUNT };

static const struct {
    const char *name, *member; /* of a device in the answer; NULL: worked out */
    char letter;
    const char *colour; /* of a terminal */
    const char *fill;   /* of an SVG */
} parts[PART_COUNT] = {
    [WEIGHTS] = {"weights", "weights_bytes", 'W', "\033[44m", "#3b6ea5"},
    [KV] = {"KV cache", "kv_bytes", 'K', "\033[42m", "#5a9e6f"},
    [COMPUTE] = {"compute", "compute_bytes", 'C', "\033[45m", "#9467a8"},
    [CONTEXT] = {"context", "context_bytes", 'x', "\033[46m", "#62a8b5"},
    [RESERVE] = {"reserve", "reserve_bytes", 'r', "\033[100m", "#9a9a9a"},
    [FREE] = {"free", NULL, '.', "\033[47m", "#e4e4e4"},
    [LACK] = {"lacking", NULL, '!', "\033[41m", "#c0392b"},
};

struct bar {
    uint64_t bytes[PART_COUNT];
    uint64_t n_layers, device;
};

/* Of a device that takes no part the reserve and what is free. */
static struct bar bar_of(const json_t *device)
{
    struct bar bar = {.n_layers = pm_number(device, "layers"),
                      .device = pm_number(device, "device")};
    uint64_t there = pm_number(device, "free_bytes"), used = 0;

    for (int i = 0; i < PART_COUNT; i++) {
        bar.bytes[i] = parts[i].member ? pm_number(device, parts[i].member) : 0;
        if (bar.n_layers == 0 && bar.bytes[i] > there) /* nothing is lacking for nothing */
            bar.bytes[i] = there;
        used += bar.bytes[i];
    }
    if (used <= there) {
        bar.bytes[FREE] = there - used;
        return bar;
    }

    /* What is behind the device's end is lacking, whatever it would be for. */
    bar.bytes[LACK] = used - there;
    for (int i = RESERVE, left = 1; i >= 0 && left; i--) {
        uint64_t over = used - there;

        left = bar.bytes[i] < over;
        over = left ? bar.bytes[i] : over;
        bar.bytes[i] -= over;
        used -= over;
    }
    return bar;
}

static uint64_t length_of(const struct bar *bar)
{
    uint64_t sum = 0;

    for (int i = 0; i < PART_COUNT; i++)
        sum += bar->bytes[i];
    return sum;
}

static uint64_t longest_of(const json_t *devices)
{
    uint64_t longest = 1;
    const json_t *device;
    size_t i;

    json_array_foreach(devices, i, device)
    {
        struct bar bar = bar_of(device);

        longest = length_of(&bar) > longest ? length_of(&bar) : longest;
    }
    return longest;
}

/* ---- words -------------------------------------------------------------------------------------------- */

static bool is_on_cpu(const json_t *answer)
{
    return json_is_true(json_object_get(answer, "on_cpu"));
}

/* What is lacking to the byte: with so many more it fits, with one less it does not. */
static void print_shortfall(const json_t *answer, struct pm_buf *out)
{
    const json_t *shortfall = json_object_get(answer, "shortfall");
    uint64_t bytes = pm_number(shortfall, "bytes");
    char text[32];

    if (is_on_cpu(answer))
        pm_buf_adds(out, "does not fit: the CPU");
    else
        pm_buf_addf(out, "does not fit: device %" PRIu64, pm_number(shortfall, "device"));
    if (bytes >= GIB / 100)
        pm_buf_addf(out, " lacks %.2f GiB (%" PRIu64 " bytes)", (double)bytes / (double)GIB, bytes);
    else if (bytes >= KIB)
        pm_buf_addf(out, " lacks %s (%" PRIu64 " bytes)",
                    pm_format_bytes(text, sizeof(text), bytes), bytes);
    else
        pm_buf_addf(out, " lacks %" PRIu64 " %s", bytes, bytes == 1 ? "byte" : "bytes");
}

void pm_plan_print_verdict(const json_t *answer, struct pm_buf *out)
{
    uint64_t largest = pm_number(answer, "largest_context");
    uint64_t trained = pm_number(json_object_get(answer, "model"), "trained_context");
    uint64_t context = pm_number(answer, "context");
    bool fits = json_is_true(json_object_get(answer, "fits"));

    if (fits)
        pm_buf_adds(out, "fits");
    else
        print_shortfall(answer, out);

    if (fits && trained > 0 && context > trained)
        pm_buf_addf(out, "; it was trained on %" PRIu64 " tokens, and %" PRIu64 " are more\n",
                    trained, context);
    else if (largest > 0)
        pm_buf_addf(out, "; the largest context that fits is %" PRIu64 " tokens\n", largest);
    else
        pm_buf_adds(out, "; no context does\n");
}

/* In lines of the terminal's width that end behind a comma or the like, the later ones indented; 0 columns: in one. */
static void print_wrapped(const char *text, size_t indent, size_t columns, struct pm_buf *out)
{
    size_t at = 0, n;

    for (; *text; text += n, at += n) {
        n = strcspn(text, ",;:");
        n += text[n] != '\0';
        if (columns > 0 && at > 0 && at + n > columns) {
            pm_buf_addf(out, "\n%*s", (int)indent, "");
            at = indent;
            n -= *text == ' ';
            text += *text == ' ';
        }
        pm_buf_add(out, text, n);
    }
    pm_buf_adds(out, "\n");
}

static void print_model(const json_t *answer, struct pm_buf *out)
{
    const json_t *model = json_object_get(answer, "model");
    double parameters = (double)pm_number(model, "parameters");
    bool is_small = parameters < 1e8;
    char text[32];

    pm_buf_addf(out, "%s, %.1f %s parameters, %s %s; %" PRIu64 " layers and the output; ",
                pm_text(model, "architecture", "?"), parameters / (is_small ? 1e6 : 1e9),
                is_small ? "million" : "billion",
                pm_format_bytes(text, sizeof(text), pm_number(model, "size_bytes")),
                pm_text(model, "quantisation", ""), pm_number(model, "layers"));
    pm_buf_addf(out, "context %" PRIu64 ", slots %" PRIu64, pm_number(answer, "context"),
                pm_number(answer, "slots"));
}

static void print_list(const json_t *words, const char *between, struct pm_buf *out)
{
    const json_t *word;
    size_t i;

    json_array_foreach(words, i, word)
        pm_buf_addf(out, "%s%s", i > 0 ? between : "", json_string_value(word));
}

static const char *part_of(const char *member)
{
    for (int i = 0; i < PART_COUNT; i++) {
        if (parts[i].member && member && strcmp(parts[i].member, member) == 0)
            return parts[i].name;
    }
    return "?";
}

void pm_plan_print_measured(const json_t *answer, struct pm_buf *out)
{
    const json_t *members = json_object_get(answer, "measured"), *member;
    size_t i;

    json_array_foreach(members, i, member)
    {
        pm_buf_addf(out, "%s%s",
                    i > 0 ? " and " : "measured: ", part_of(json_string_value(member)));
    }
    if (json_array_size(members) > 0)
        pm_buf_adds(out, "; the rest is estimated\n");
}

/* ---- the terminal ------------------------------------------------------------------------------------- */

/* Cells up to a byte of the bar. */
static size_t cell_at(uint64_t bytes, uint64_t longest, size_t width)
{
    return (size_t)((double)bytes / (double)longest * (double)width + 0.5);
}

static void print_bar(const struct bar *bar, uint64_t longest, size_t width, bool colour,
                      struct pm_buf *out)
{
    uint64_t sum = 0;
    size_t at = 0;

    for (int i = 0; i < PART_COUNT; i++) {
        size_t end;

        if (bar->bytes[i] == 0)
            continue;
        sum += bar->bytes[i];
        end = cell_at(sum, longest, width);
        if (end <= at && at < width) /* what is there is seen */
            end = at + 1;
        if (colour)
            pm_buf_adds(out, parts[i].colour);
        for (; at < end; at++)
            pm_buf_add(out, colour ? " " : &parts[i].letter, 1);
        if (colour)
            pm_buf_adds(out, "\033[0m");
    }
}

static void print_legend(size_t columns, bool colour, struct pm_buf *out)
{
    size_t at = 0;

    for (int i = 0; i < PART_COUNT; i++) {
        size_t width = strlen("  W ") + strlen(parts[i].name);

        if (columns > 0 && at > 0 && at + width > columns) {
            pm_buf_adds(out, "\n");
            at = 0;
        }
        pm_buf_addf(out, "  %s%c%s %s", colour ? parts[i].colour : "",
                    colour ? ' ' : parts[i].letter, colour ? "\033[0m" : "", parts[i].name);
        at += width;
    }
    pm_buf_adds(out, "\n");
}

/* How wide the terminal is, and how wide a bar becomes there: behind its label, or below it where there is no room. */
struct page {
    size_t columns, bar; /* columns 0: no terminal */
    uint64_t longest;
    bool below, colour;
};

static struct page page_of(const json_t *devices, size_t columns, bool colour)
{
    struct page page = {
        .columns = columns, .bar = 60, .longest = longest_of(devices), .colour = colour};

    page.below = columns > 0 && columns < LABEL_WIDTH + BAR_MIN;
    if (columns > 0)
        page.bar = page.below ? columns - 2 : columns - LABEL_WIDTH;
    if (page.bar > BAR_MAX)
        page.bar = BAR_MAX;
    return page;
}

static void print_device(const json_t *device, bool on_cpu, const struct page *page,
                         struct pm_buf *out)
{
    struct bar bar = bar_of(device);
    pm_auto_buf struct pm_buf text = {0};
    char used[32], there[32];

    (void)snprintf(used, sizeof(used), "%" PRIu64, bar.device);
    pm_buf_addf(out, "  %-4s%4" PRIu64 " layers%s", on_cpu ? "cpu" : used, bar.n_layers,
                page->below ? "\n  " : " ");
    print_bar(&bar, page->longest, page->bar, page->colour, out);
    pm_buf_addf(&text, "      %s of %s",
                pm_format_bytes(used, sizeof(used), pm_number(device, "used_bytes")),
                pm_format_bytes(there, sizeof(there), pm_number(device, "free_bytes")));
    for (int i = 0; i <= RESERVE && bar.n_layers > 0; i++) {
        uint64_t bytes = pm_number(device, parts[i].member);

        if (bytes > 0)
            pm_buf_addf(&text, "%s%s %s", i > 0 ? ", " : ": ", parts[i].name,
                        pm_format_bytes(used, sizeof(used), bytes));
    }
    pm_buf_adds(out, "\n");
    print_wrapped(pm_buf_text(&text), 6, page->columns, out);
}

/* As ratios of a pool, for all devices of its mask; of six digits, which give the same counts. Nothing of one device. */
static void print_ratios(const json_t *devices, struct pm_buf *out)
{
    uint64_t n_items = 0, left = 1000000;
    size_t n_used = 0, i;
    const json_t *device;

    json_array_foreach(devices, i, device)
    {
        n_items += pm_number(device, "layers");
        n_used += pm_number(device, "layers") > 0;
    }
    if (n_used < 2)
        return;

    pm_buf_adds(out, "tensor_split: [");
    json_array_foreach(devices, i, device)
    {
        uint64_t n = pm_number(device, "layers");
        uint64_t millionths = n > 0 && --n_used == 0 ? left : n * 1000000 / n_items;

        left -= millionths;
        pm_buf_addf(out, "%s0.%06" PRIu64, i > 0 ? ", " : "", millionths);
    }
    pm_buf_adds(out, "]\n");
}

static void print_flags(const json_t *answer, struct pm_buf *out)
{
    const json_t *value;
    const char *name;

    pm_buf_adds(out, "flags ");
    print_list(json_object_get(answer, "args"), " ", out);
    pm_buf_adds(out, "\n");
    json_object_foreach((json_t *)json_object_get(answer, "env"), name, value)
        pm_buf_addf(out, "%s=%s\n", name, json_string_value(value));
    print_ratios(json_object_get(answer, "devices"), out);
}

void pm_plan_print(const json_t *answer, unsigned columns, bool colour, struct pm_buf *out)
{
    const json_t *devices = json_object_get(answer, "devices"), *device;
    struct page page = page_of(devices, columns, colour);
    pm_auto_buf struct pm_buf model = {0};
    char text[32];
    size_t i;

    print_model(answer, &model);
    print_wrapped(pm_buf_text(&model), 2, columns, out);
    json_array_foreach(devices, i, device) print_device(device, is_on_cpu(answer), &page, out);
    print_legend(columns, colour, out);
    if (!is_on_cpu(answer))
        pm_buf_addf(out, "host memory %s\n",
                    pm_format_bytes(text, sizeof(text), pm_number(answer, "host_bytes")));
    if (json_is_true(json_object_get(answer, "fits")))
        print_flags(answer, out); /* those of a plan that is none would only be copied */
}

/* ---- SVG ---------------------------------------------------------------------------------------------- */

#define SVG_LEFT  90
#define SVG_WIDTH 640
#define SVG_ROW   44

static void draw_text(struct pm_buf *out, double x, double y, const char *text)
{
    pm_buf_addf(out, "<text x=\"%.0f\" y=\"%.0f\">", x, y);
    for (; *text; text++) {
        if (*text == '<' || *text == '&')
            pm_buf_adds(out, *text == '<' ? "&lt;" : "&amp;");
        else
            pm_buf_add(out, text, 1);
    }
    pm_buf_adds(out, "</text>\n");
}

static void draw_bar(const struct bar *bar, uint64_t longest, double y, struct pm_buf *out)
{
    double x = SVG_LEFT;
    char text[32];

    for (int i = 0; i < PART_COUNT; i++) {
        double width = (double)bar->bytes[i] / (double)longest * SVG_WIDTH;

        if (bar->bytes[i] == 0)
            continue;
        pm_buf_addf(out,
                    "<rect x=\"%.1f\" y=\"%.0f\" width=\"%.1f\" height=\"22\" fill=\"%s\">"
                    "<title>%s %s</title></rect>\n",
                    x, y, width, parts[i].fill, parts[i].name,
                    pm_format_bytes(text, sizeof(text), bar->bytes[i]));
        x += width;
    }
}

static void draw_legend(double y, struct pm_buf *out)
{
    for (int i = 0; i < PART_COUNT; i++) {
        double x = SVG_LEFT + i * SVG_WIDTH / (double)PART_COUNT;

        pm_buf_addf(out, "<rect x=\"%.0f\" y=\"%.0f\" width=\"12\" height=\"12\" fill=\"%s\"/>\n",
                    x, y - 10, parts[i].fill);
        draw_text(out, x + 17, y, parts[i].name);
    }
}

void pm_plan_draw(const json_t *answer, struct pm_buf *out)
{
    const json_t *devices = json_object_get(answer, "devices"), *device;
    uint64_t longest = longest_of(devices);
    pm_auto_buf struct pm_buf text = {0};
    size_t n = json_array_size(devices), i;
    int height = (int)(n * SVG_ROW) + 96;

    pm_buf_addf(out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                "viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n"
                "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n",
                SVG_LEFT + SVG_WIDTH + 20, height, SVG_LEFT + SVG_WIDTH + 20, height);
    pm_plan_print_verdict(answer, &text);
    text.n--; /* its line's end */
    draw_text(out, 10, 20, pm_buf_text(&text));
    pm_buf_clear(&text);
    print_model(answer, &text);
    draw_text(out, 10, 38, pm_buf_text(&text));
    json_array_foreach(devices, i, device)
    {
        struct bar bar = bar_of(device);
        double y = 54 + (double)i * SVG_ROW;
        char label[64], used[32], there[32];

        (void)snprintf(label, sizeof(label), "device %" PRIu64, bar.device);
        if (is_on_cpu(answer))
            (void)snprintf(label, sizeof(label), "the CPU");
        draw_text(out, 10, y + 15, label);
        draw_bar(&bar, longest, y, out);
        (void)snprintf(label, sizeof(label), "%" PRIu64 " layers, %s of %s", bar.n_layers,
                       pm_format_bytes(used, sizeof(used), pm_number(device, "used_bytes")),
                       pm_format_bytes(there, sizeof(there), pm_number(device, "free_bytes")));
        draw_text(out, SVG_LEFT, y + 36, label);
    }
    draw_legend(height - 14, out);
    pm_buf_adds(out, "</svg>\n");
}
