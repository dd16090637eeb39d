/* SPDX-License-Identifier: Apache-2.0 */
/* Where a server listens: addresses that are understood, sockets that are taken, files that are left behind. */
#include <sys/stat.h>

#include "wire_server.h"

static int listen_on(struct wire *wire, const char *address, unsigned mode,
                     struct poolmgr_error *err)
{
    *err = (struct poolmgr_error){0};
    return pm_http_server_listen(wire->server, address, mode, err);
}

static void assert_serves(struct wire *wire, const char *address)
{
    struct peer peer = peer_connect(address);

    assert_true(peer_send(wire->loop, &peer, "GET /now HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    TURN_UNTIL(wire->loop, &peer, peer_has(&peer, "\r\n\r\nnow"));
    peer_close(&peer);
}

static void test_addresses_that_are_none_say_what_to_write(void **state)
{
    static const char *const addresses[] = {
        "",         "127.0.0.1",       "8080",          ":8080",         "127.0.0.1:",
        "[::1]",    "127.0.0.1:99999", "127.0.0.1:80x", "127.0.0.1:-1",  "example.org:80",
        "1.2.3:80", "127.0.0.1:0x50",  "127.0.0.1: 80", "[127.0.0.1:80",
    };
    struct wire *wire = *state;
    struct poolmgr_error err;

    for (size_t i = 0; i < PM_ARRAY_LEN(addresses); i++) {
        if (listen_on(wire, addresses[i], 0600, &err) != POOLMGR_E_INVALID_REQUEST)
            fail_msg("'%s' was taken", addresses[i]);
        assert_non_null(strstr(err.message, addresses[i]));
    }
    assert_null(pm_http_server_address(wire->server, 1));
}

static void test_port_0_gives_a_real_port_and_localhost_is_the_loopback(void **state)
{
    struct wire *wire = *state;
    struct poolmgr_error err;

    assert_int_equal(listen_on(wire, "localhost:0", 0600, &err), 0);
    assert_true(pm_str_starts(pm_http_server_address(wire->server, 1), "127.0.0.1:"));
    assert_false(pm_str_ends(pm_http_server_address(wire->server, 1), ":0"));
    assert_serves(wire, pm_http_server_address(wire->server, 1));
}

static void test_a_port_in_use_is_a_conflict_that_names_its_holder(void **state)
{
    struct wire *wire = *state;
    struct poolmgr_error err;
    char pid[32];

    assert_int_equal(listen_on(wire, wire->address, 0600, &err), POOLMGR_E_CONFLICT);
    (void)snprintf(pid, sizeof(pid), "pid %d ", (int)getpid());
    assert_non_null(strstr(err.message, wire->address));
    assert_non_null(strstr(err.message, pid));
}

static void test_a_socket_file_has_its_mode_and_goes_with_its_listener(void **state)
{
    struct wire *wire = *state;
    pm_auto_free char *address = pm_xasprintf("unix:%s/mode", wire->folder);
    struct poolmgr_error err;
    struct stat st;

    assert_int_equal(listen_on(wire, address, 0660, &err), 0);
    assert_int_equal(stat(address + 5, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    assert_serves(wire, address);
    pm_http_server_stop_listening(wire->server);
    assert_int_equal(stat(address + 5, &st), -1);
    assert_null(pm_http_server_address(wire->server, 0));
}

static void test_a_dead_socket_file_is_replaced_and_a_live_one_a_conflict(void **state)
{
    struct wire *wire = *state;
    pm_auto_free char *address = pm_xasprintf("unix:%s/s2", wire->folder);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct poolmgr_error err;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(pm_str_copy(un.sun_path, sizeof(un.sun_path), address + 5));
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(listen_on(wire, address, 0600, &err), POOLMGR_E_CONFLICT);
    assert_non_null(strstr(err.message, address + 5));
    (void)close(fd); /* its file stays, as after a crash */
    assert_int_equal(access(address + 5, F_OK), 0);
    assert_int_equal(listen_on(wire, address, 0600, &err), 0);
    assert_serves(wire, address);
    assert_int_equal(listen_on(wire, address, 0600, &err), POOLMGR_E_CONFLICT);
}

static void test_a_file_that_is_no_socket_is_left_alone(void **state)
{
    struct wire *wire = *state;
    pm_auto_free char *address = pm_xasprintf("unix:%s/file", wire->folder);
    struct poolmgr_error err;
    int fd = open(address + 5, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    (void)close(fd);
    assert_int_equal(listen_on(wire, address, 0600, &err), POOLMGR_E_CONFLICT);
    assert_int_equal(unlink(address + 5), 0);
}

static void test_a_path_of_107_bytes_works_and_one_of_108_says_so(void **state)
{
    struct wire *wire = *state;
    char address[256];
    struct poolmgr_error err;
    size_t n = (size_t)snprintf(address, sizeof(address), "unix:%s/", wire->folder);

    memset(address + n, 'a', 5 + 108 - n);
    address[5 + 108] = '\0';
    assert_int_equal(listen_on(wire, address, 0600, &err), POOLMGR_E_PATH_TOO_LONG);
    assert_non_null(strstr(err.message, "107"));
    address[5 + 107] = '\0';
    assert_int_equal(listen_on(wire, address, 0600, &err), 0);
    assert_string_equal(pm_http_server_address(wire->server, 1), address);
    assert_serves(wire, address);
}

static void test_a_descriptor_of_socket_activation_is_served_and_others_refused(void **state)
{
    struct wire *wire = *state;
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct poolmgr_error err = {0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(pm_http_server_adopt(wire->server, fd, &err), POOLMGR_E_INVALID_REQUEST);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(pm_http_server_adopt(wire->server, fd, &err), 0);
    assert_serves(wire, pm_http_server_address(wire->server, 1));
}

#define ON_TCP(test) cmocka_unit_test_setup_teardown(test, wire_setup, wire_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_TCP(test_addresses_that_are_none_say_what_to_write),
        ON_TCP(test_port_0_gives_a_real_port_and_localhost_is_the_loopback),
        ON_TCP(test_a_port_in_use_is_a_conflict_that_names_its_holder),
        ON_TCP(test_a_socket_file_has_its_mode_and_goes_with_its_listener),
        ON_TCP(test_a_dead_socket_file_is_replaced_and_a_live_one_a_conflict),
        ON_TCP(test_a_file_that_is_no_socket_is_left_alone),
        ON_TCP(test_a_path_of_107_bytes_works_and_one_of_108_says_so),
        ON_TCP(test_a_descriptor_of_socket_activation_is_served_and_others_refused),
    };

    return cmocka_run_group_tests_name("listen", tests, NULL, NULL);
}
