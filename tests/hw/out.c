/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "hw.h"

static char text[1 << 16];
static size_t length;

static void add(const char *s, size_t n)
{
    if (n > sizeof(text) - 4 - length)
        n = sizeof(text) - 4 - length;
    memcpy(text + length, s, n);
    length += n;
}

static void add_string(const char *s)
{
    char code[8];

    add("\"", 1);
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '"' || c == '\\' || c < 0x20 || c >= 0x7f)
            add(code, (size_t)snprintf(code, sizeof(code), "\\u%04x", c));
        else
            add(s, 1);
    }
    add("\"", 1);
}

static void add_key(const char *key)
{
    add(",", 1);
    add_string(key);
    add(":", 1);
}

void hw_begin(const char *fact)
{
    length = 0;
    add("{\"fact\":", 8);
    add_string(fact);
}

void hw_text(const char *key, const char *value)
{
    add_key(key);
    add_string(value);
}

void hw_number(const char *key, long long value)
{
    char s[32];

    add_key(key);
    add(s, (size_t)snprintf(s, sizeof(s), "%lld", value));
}

void hw_size(const char *key, unsigned long long value)
{
    char s[32];

    add_key(key);
    add(s, (size_t)snprintf(s, sizeof(s), "%llu", value));
}

void hw_real(const char *key, double value)
{
    char s[64];

    add_key(key);
    add(s, (size_t)snprintf(s, sizeof(s), "%.3f", value));
}

void hw_bytes(const char *key, const void *data, size_t n)
{
    const unsigned char *bytes = data;
    char s[4];

    add_key(key);
    add("\"", 1);
    for (size_t i = 0; i < n; i++)
        add(s, (size_t)snprintf(s, sizeof(s), "%02x", bytes[i]));
    add("\"", 1);
}

void hw_end(void)
{
    text[length] = '}';
    text[length + 1] = '\n';
    fwrite(text, 1, length + 2, stdout);
    fflush(stdout);
}

uint64_t hw_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void hw_sleep_ms(long ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};

    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}

bool hw_line(char *line, size_t size)
{
    if (!fgets(line, (int)size, stdin))
        return false;
    line[strcspn(line, "\n")] = '\0';
    return true;
}
