/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A million operations on queues: three pools that are always ready, four names over them, tenants, both classes,
 * wishes, bounds and both policies, all drawn from a seed. The test keeps books from the actions alone: nobody is lost,
 * doubled or overtaken, and turns, classes, bounds and deadlines are kept (QUEUE-1, QUEUE-2, INV-23, INV-24, INV-31).
 * `test_core_queue_random SEED` runs one world again.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "core_world.h"
#include "rounds.h"

#define N_WORLDS   250
#define N_OPS      4000
#define N_POOLS    3
#define N_TENANTS  4
#define N_SETS     (1 << N_POOLS) /* a set of pools as bits */
#define N_REQUESTS (N_OPS + N_POOLS + 1)

enum place_of { NOWHERE, WAITING, GRANTED, ANSWERED, GONE };

struct asked {
    enum place_of at;
    int name; /* of names[] */
    int set;  /* in whose queue it waits */
    int tenant;
    enum pm_priority class;
    uint64_t bytes, deadline_ms;
    struct pm_lease lease;
};

static const struct {
    const char *text;
    int set;
} names[] = {{"a", 1}, {"b", 2}, {"c", 4}, {"ab", 3}, {"abc", 7}};
static const char *const ids[N_POOLS] = {"a", "b", "c"};
static const char *const tenants[N_TENANTS] = {"", "x", "y", "z"};

static struct books {
    struct world world;
    uint64_t seed, random, n_ops;
    struct pm_pool_spec *specs[N_POOLS];
    uint32_t handles[N_POOLS]; /* as leases name the pools */
    struct asked asked[N_REQUESTS];
    uint64_t first; /* who came before is answered */
    unsigned set_row[N_SETS], pool_row[N_POOLS];
    /* x had a turn since y, who waits, had one */
    bool had[N_SETS][2][N_TENANTS][N_TENANTS];
    uint64_t limit, limit_bytes;
    bool drops;
} books;

static uint64_t n_grants, n_dropped, n_full, n_timeouts, n_turns, n_forced_batch;

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "seed %" PRIu64 " operation %" PRIu64 ": ", books.seed, books.n_ops);  \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fprintf(stderr, "\n");                                                                 \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

static uint64_t below(uint64_t n)
{
    uint64_t x = books.random += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (x ^ (x >> 31)) % n;
}

/* ---- the books ------------------------------------------------------------------------------------------------ */

static int pool_of(const struct pm_lease *lease)
{
    for (int i = 0; i < N_POOLS; i++) {
        if (books.handles[i] == lease->pool)
            return i;
    }
    return -1;
}

static bool waits_in(int set, enum pm_priority class, int tenant)
{
    for (uint64_t i = books.first; i <= books.world.n_requests; i++) {
        const struct asked *one = &books.asked[i];

        if (one->at == WAITING && one->set == set && one->class == class &&
            (tenant < 0 || one->tenant == tenant))
            return true;
    }
    return false;
}

static bool waits_at(int pool, enum pm_priority class)
{
    for (int set = 1; set < N_SETS; set++) {
        if ((set & (1 << pool)) && waits_in(set, class, -1))
            return true;
    }
    return false;
}

static void check_not_overtaking(uint64_t id)
{
    const struct asked *one = &books.asked[id];

    for (uint64_t i = books.first; i < id; i++) {
        const struct asked *other = &books.asked[i];

        CHECK(other->at != WAITING || other->set != one->set || other->class != one->class ||
                  other->tenant != one->tenant,
              "%" PRIu64 " overtakes %" PRIu64, id, i);
    }
}

static void check_turn(const struct asked *one)
{
    bool(*had)[N_TENANTS] = books.had[one->set][one->class];

    for (int y = 0; y < N_TENANTS; y++) {
        had[y][one->tenant] = false; /* this one had its turn */
        if (y == one->tenant)
            continue;
        if (!waits_in(one->set, one->class, y)) {
            had[one->tenant][y] = false;
            continue;
        }
        CHECK(!had[one->tenant][y], "tenant %d has two turns, and %d waits", one->tenant, y);
        had[one->tenant][y] = true;
        n_turns++;
    }
}

/* A tenant of whom nobody waits any more: when one comes again, its turns begin anew. */
static void forget_turns(const struct asked *one)
{
    if (waits_in(one->set, one->class, one->tenant))
        return;
    for (int x = 0; x < N_TENANTS; x++)
        books.had[one->set][one->class][x][one->tenant] = false;
}

static void check_class(const struct asked *one, int pool)
{
    bool batch_in_set = waits_in(one->set, PM_BATCH, -1), batch_at_pool = waits_at(pool, PM_BATCH);
    bool due = books.pool_row[pool] >= 3 || books.set_row[one->set] >= 3;

    for (int set = 1; set < N_SETS; set++)
        due =
            due || ((set & (1 << pool)) && books.set_row[set] >= 3 && waits_in(set, PM_BATCH, -1));
    if (one->class == PM_BATCH) {
        CHECK(!waits_at(pool, PM_INTERACTIVE) || due, "batch goes first, though it is not due");
        n_forced_batch += waits_at(pool, PM_INTERACTIVE);
        books.pool_row[pool] = books.set_row[one->set] = 0;
        return;
    }
    CHECK(!batch_at_pool || books.pool_row[pool] < 3, "the fourth grant of %s is not batch",
          ids[pool]);
    CHECK(!batch_in_set || books.set_row[one->set] < 3, "the fourth grant of a queue is not batch");
    books.pool_row[pool] = batch_at_pool ? books.pool_row[pool] + 1 : 0;
    books.set_row[one->set] = batch_in_set ? books.set_row[one->set] + 1 : 0;
}

static void on_grant(const struct pm_action *action)
{
    struct asked *one = &books.asked[action->request];
    int pool = pool_of(&action->lease);

    CHECK(one->at == WAITING, "%" PRIu64 " is granted and does not wait", action->request);
    CHECK(pool >= 0 && (one->set & (1 << pool)), "granted where it did not want to go");
    one->at = GRANTED;
    one->lease = action->lease;
    n_grants++;
    if (!action->waited)
        return;
    check_not_overtaking(action->request);
    check_turn(one);
    check_class(one, pool);
}

static uint64_t n_admitted(int name, uint64_t *ret_bytes, uint64_t *ret_oldest_batch)
{
    uint64_t n = 0;

    *ret_bytes = *ret_oldest_batch = 0;
    for (uint64_t i = books.first; i <= books.world.n_requests; i++) {
        const struct asked *one = &books.asked[i];

        if (one->at != WAITING || names[one->name].set != names[name].set)
            continue;
        n++;
        *ret_bytes += one->bytes;
        if (one->class == PM_BATCH && *ret_oldest_batch == 0)
            *ret_oldest_batch = i;
    }
    return n;
}

static void on_refuse(const struct pm_action *action)
{
    struct asked *one = &books.asked[action->request];
    bool arrives = action->request == books.world.n_requests;
    enum place_of latest = books.asked[books.world.n_requests].at;
    uint64_t bytes, oldest_batch, n = n_admitted(one->name, &bytes, &oldest_batch);

    CHECK(one->at == WAITING, "%" PRIu64 " is refused and does not wait", action->request);
    one->at = ANSWERED;
    books.asked[books.world.n_requests].at = arrives ? ANSWERED : NOWHERE; /* it is not in yet */
    forget_turns(one);
    if (!arrives)
        books.asked[books.world.n_requests].at = latest;
    switch (action->error->code) {
    case POOLMGR_E_QUEUE_TIMEOUT:
        CHECK(books.world.now_ms >= one->deadline_ms, "refused before its deadline");
        n_timeouts++;
        break;
    case POOLMGR_E_QUEUE_FULL:
        CHECK(arrives && (n > books.limit || bytes > books.limit_bytes),
              "refused beside %" PRIu64 " in a queue for %" PRIu64, n - 1, books.limit);
        n_full++;
        break;
    case POOLMGR_E_QUEUE_DROPPED:
        CHECK(books.drops && !arrives, "dropped, but the policy is to reject");
        CHECK(action->request == oldest_batch, "%" PRIu64 " is dropped, not %" PRIu64,
              action->request, oldest_batch);
        n_dropped++;
        break;
    default: CHECK(false, "refused with %s", action->error->message);
    }
}

static void check_all(void)
{
    uint64_t n_waiting = 0, bytes, oldest;

    for (uint64_t i = books.first; i <= books.world.n_requests; i++) {
        const struct asked *one = &books.asked[i];
        uint64_t position;

        CHECK(pm_core_waiter(books.world.core, i, &position) == (one->at == WAITING),
              "%" PRIu64 " is lost or doubled", i);
        CHECK(one->at != WAITING || books.world.now_ms < one->deadline_ms,
              "%" PRIu64 " outlives its deadline", i);
        n_waiting += one->at == WAITING;
    }
    for (size_t name = 0; name < sizeof(names) / sizeof(names[0]); name++) {
        CHECK(n_admitted((int)name, &bytes, &oldest) <= books.limit && bytes <= books.limit_bytes,
              "the queue of %s is over its bounds", names[name].text);
    }
    for (int pool = 0; pool < N_POOLS; pool++) {
        struct pm_pool_view view;

        CHECK(pm_core_pool(books.world.core, ids[pool], books.world.now_ms, &view), "gone");
        CHECK(view.slots_free == 0 || view.queue_depth == 0, "somebody waits beside a free slot");
        CHECK(view.queue_depth <= n_waiting, "%s has more waiters than there are", ids[pool]);
    }
    while (books.first < books.world.n_requests &&
           (books.asked[books.first].at == ANSWERED || books.asked[books.first].at == GONE))
        books.first++;
}

static void take_actions(void)
{
    for (size_t i = 0; i < books.world.out.n; i++) {
        if (books.world.out.items[i].kind == PM_ACT_GRANT)
            on_grant(&books.world.out.items[i]);
        else if (books.world.out.items[i].kind == PM_ACT_REFUSE)
            on_refuse(&books.world.out.items[i]);
    }
    check_all();
}

/* ---- operations -------------------------------------------------------------------------------------------------- */

/* What a wish leaves of the pools of a name; none: nothing is wished for. */
static int wish(int set, struct pm_placement *placement)
{
    int pool = (int)below(N_POOLS), left = set & ~(1 << pool);

    if (!(set & (1 << pool)) || left == 0)
        return set;
    switch (below(6)) {
    case 0: placement->pin = ids[pool]; return 1 << pool;
    case 1:
        placement->avoid = &ids[pool];
        placement->n_avoid = 1;
        placement->no_fallback = below(2) == 0;
        return left;
    case 2:
        placement->prefer = &ids[pool];
        placement->n_prefer = 1;
        placement->no_fallback = below(2) == 0;
        return placement->no_fallback ? 1 << pool : set;
    default: return set;
    }
}

static void request_comes(void)
{
    int name = (int)below(sizeof(names) / sizeof(names[0]));
    struct asked *one = &books.asked[books.world.n_requests + 1];
    struct pm_request request = {.route = names[name].text};

    one->at = WAITING;
    one->name = name;
    one->set = wish(names[name].set, &request.placement);
    one->tenant = (int)below(N_TENANTS);
    one->class = below(3) == 0 ? PM_BATCH : PM_INTERACTIVE;
    one->bytes = request.bytes = below(100);
    request.deadline_ms = below(4) == 0 ? 1 + below(200) : 100000;
    one->deadline_ms = books.world.now_ms + request.deadline_ms;
    request.tenant = tenants[one->tenant];
    request.priority = one->class;
    (void)request_with(&books.world, request);
    take_actions();
}

static uint64_t some(enum place_of at)
{
    uint64_t n = 0, found = 0;

    for (uint64_t i = books.first; i <= books.world.n_requests; i++) {
        if (books.asked[i].at == at && below(++n) == 0)
            found = i;
    }
    return found;
}

static void answer_ends(void)
{
    uint64_t id = some(GRANTED);

    if (id == 0)
        return;
    books.asked[id].at = ANSWERED;
    release(&books.world, &books.asked[id].lease, PM_RELEASE_UNUSED); /* nothing is measured */
    take_actions();
}

static void client_leaves(void)
{
    uint64_t id = some(WAITING);

    if (id == 0)
        return;
    books.asked[id].at = GONE;
    forget_turns(&books.asked[id]);
    gone(&books.world, id);
    take_actions();
}

static void time_passes(void)
{
    uint64_t due_ms = pm_core_deadline(books.world.core), at_ms = books.world.now_ms + below(50);

    tick(&books.world, due_ms < at_ms ? due_ms : at_ms);
    take_actions();
    for (size_t i = 0; i < books.world.out.n; i++) { /* engines are well */
        if (books.world.out.items[i].kind != PM_ACT_PROBE)
            continue;
        probed(&books.world, books.world.out.items[i].probe, true);
        take_actions();
        break;
    }
}

/* ---- worlds ---------------------------------------------------------------------------------------------------------- */

static void make_pool(int i)
{
    struct pm_pool_spec *spec = books.specs[i] = pm_pool_spec_new(ids[i]);

    spec->n_slots = 1 + below(3);
    spec->idle_ttl_ms = 0;
    spec->probe.fall = 1000000;
    spec->stall_timeout_ms = 1000000000;
    spec->queue.max_age_ms = 100000;
    spec->queue.n_requests = books.limit;
    spec->queue.bytes = books.limit_bytes;
    spec->queue.policy = books.drops ? PM_QUEUE_DROP_LRU : PM_QUEUE_REJECT;
    for (size_t k = N_POOLS; k < sizeof(names) / sizeof(names[0]); k++) {
        if (names[k].set & (1 << i))
            pm_strv_add(&spec->aliases, names[k].text);
    }
    world_add(&books.world, spec);
}

static void make_ready(int i)
{
    struct asked *one = &books.asked[books.world.n_requests + 1];
    struct pm_lease lease;

    *one = (struct asked){.at = ANSWERED};
    (void)request_with(&books.world, (struct pm_request){.route = ids[i]});
    staged(&books.world, the_action(&books.world, PM_ACT_STAGE)->token, NULL);
    endpoint_ready(&books.world, the_action(&books.world, PM_ACT_SPAWN)->token);
    lease = the_action(&books.world, PM_ACT_GRANT)->lease;
    books.handles[i] = lease.pool;
    release(&books.world, &lease, PM_RELEASE_UNUSED);
}

static void run(uint64_t seed)
{
    memset(&books, 0, sizeof(books));
    world_init(&books.world);
    books.seed = books.random = seed;
    books.first = 1;
    books.limit = 1 + below(30);
    books.limit_bytes = 200 + below(2000);
    books.drops = below(2) == 0;
    for (int i = 0; i < N_POOLS; i++)
        make_pool(i);
    pm_core_begin(books.world.core, books.world.now_ms, &books.world.out);
    for (int i = 0; i < N_POOLS; i++)
        make_ready(i);
    for (books.n_ops = 0; books.n_ops < N_OPS; books.n_ops++) {
        uint64_t what = below(100);

        if (what < 45 && books.world.n_requests + 1 < N_REQUESTS)
            request_comes();
        else if (what < 85)
            answer_ends();
        else if (what < 90)
            client_leaves();
        else
            time_passes();
    }
    for (int i = 0; i < N_POOLS; i++)
        pm_pool_spec_unref(books.specs[i]);
    world_fini(&books.world);
}

static void test_in_a_million_operations_nobody_is_lost_doubled_or_overtaken(void **s)
{
    for (uint64_t seed = 1; seed <= (uint64_t)rounds(N_WORLDS); seed++)
        run(seed);
    assert_true(n_grants > (uint64_t)rounds(100000) && n_dropped > (uint64_t)rounds(1000) &&
                n_full > (uint64_t)rounds(1000) && n_timeouts > (uint64_t)rounds(1000) &&
                n_turns > (uint64_t)rounds(10000) && n_forced_batch > (uint64_t)rounds(1000));
}

/* Nobody else comes: then one goes when it was told it would. */
static void test_a_position_is_how_many_go_first(void **s)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        uint64_t position[64], n = 2 + below(60);
        struct pm_lease lease;

        books.random = seed;
        world_init(&books.world);
        books.world.spec->n_slots = 1;
        world_begin(&books.world);
        (void)ready_engine(&books.world, &lease);
        for (uint64_t i = 0; i < n; i++)
            (void)request_with(&books.world,
                               (struct pm_request){.tenant = tenants[below(N_TENANTS)],
                                                   .priority = below(2) ? PM_BATCH : 0});
        for (uint64_t went = 0; went < n; went++) {
            for (uint64_t id = 2; id < n + 2; id++) {
                if (pm_core_waiter(books.world.core, id, &position[id - 2]))
                    position[id - 2] += went;
            }
            release(&books.world, &lease, PM_RELEASE_UNUSED);
            lease = the_action(&books.world, PM_ACT_GRANT)->lease;
            assert_int_equal(position[the_action(&books.world, PM_ACT_GRANT)->request - 2], went);
            if (went == 0)
                n_grants += position[n - 1];
        }
        world_fini(&books.world);
    }
}

static void test_one_world(void **s)
{
    run(*(uint64_t *)*s);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    const struct CMUnitTest one[] = {cmocka_unit_test_prestate(test_one_world, &seed)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_a_million_operations_nobody_is_lost_doubled_or_overtaken),
        cmocka_unit_test(test_a_position_is_how_many_go_first),
    };

    if (argc > 1)
        return cmocka_run_group_tests_name("core: one random queue", one, NULL, NULL);
    return cmocka_run_group_tests_name("core: random queues", tests, NULL, NULL);
}
