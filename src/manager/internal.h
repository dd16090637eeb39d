/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the shell. Every input to core is written as
 *
 *     pm_core_something(manager->core, …, pm_manager_now(manager), &manager->actions);
 *     pm_manager_flush(manager);
 *
 * so that nested inputs append behind what is being executed, and only the outermost call executes.
 */
#ifndef PM_MANAGER_INTERNAL_H
#define PM_MANAGER_INTERNAL_H

#include <sys/types.h>

#include "engine/engine.h"
#include "manager/manager.h"
#include "store/store.h"
#include "util/lock.h"
#include "util/map.h"
#include "util/worker.h"

struct pm_fit;
struct pm_measure;
struct pm_programs;
struct pm_stager;
struct pm_file_watches;
struct pm_handoff_folder;
struct pm_gpu_watch;
struct pm_cpu_watch;

struct pm_manager {
    struct pm_loop *loop;
    struct pm_manager_options options;
    const struct pm_config *config; /* in force */
    struct pm_config *reloaded;     /* the same, when it is ours; NULL: the host's first one is */
    bool reading_config, config_asked;
    uint64_t config_op; /* the last one that carried one out */
    struct pm_list config_watches;
    struct pm_sink *sink;
    struct pm_core *core;
    struct pm_http_client *client;
    int lock_fd;
    char *instances_dir;

    struct pm_actions actions;
    bool executing;
    struct pm_timer tick;

    struct pm_list instances;
    struct pm_map by_token; /* struct pm_instance by its token's serial */
    struct pm_list strangers;

    struct pm_map tickets; /* struct held by its id */
    struct pm_list held;
    uint64_t last_ticket;

    struct pm_list op_watches;
    struct pm_task op_task;

    struct pm_worker *worker;
    struct pm_store *store;
    struct pm_list preflights;        /* that wait for the driver's answer */
    struct pm_driver_ask *driver_ask; /* NULL: nobody asks it */
    struct pm_list records;           /* of pools that are not handed over yet */
    struct pm_stager *stager;
    struct pm_programs *programs;
    struct pm_file_watches *file_watches;
    struct pm_handoff_folder *handoff_folder; /* NULL: none is watched */
    struct pm_list handings;
    struct pm_gpu_watch *gpus; /* NULL: devices are declared, or not looked for */
    struct pm_cpu_watch *cpu;  /* NULL: its memory is declared */
};

/* One engine instance: a process, the way to its readiness, and the questions under way. */
struct pm_instance {
    struct pm_link link;
    struct pm_manager *manager;
    struct pm_token token;
    struct pm_pool_spec *spec;           /* a reference */
    const struct pm_engine_spec *engine; /* the spec's */
    unsigned replica;
    uint64_t number;
    struct pm_plan plan; /* n_devices 0: none is planned for it */
    char endpoint[128];
    char api_key[33];
    char engine_version[64];
    struct pm_process *process; /* NULL: it never ran, or is childless */
    struct pm_engine_wait *wait;
    struct pm_ready ready; /* what it said when it answered */
    struct pm_list questions;
    pid_t pid, shim_pid; /* 0: not yet known */
    pid_t users[16];     /* others of its tree that were seen on a device */
    size_t n_users;
    bool was_ready, exited, forget, let_go;
    bool minded;               /* counted by gpus.c: its memory comes or goes */
    uint64_t signalled_ms;     /* 0: it was not */
    struct pm_watch pid_watch; /* of an engine that is not ours, where its process is known */
    int pid_fd;                /* -1: unknown */
    bool pid_ended;
    uint64_t n_leases;
    struct pm_timer watch_timer; /* memory and CPU time, while it starts or works */
    struct pm_measure *measure;  /* NULL: it has no devices, or its log cannot tell */
    struct pm_fit *fit;          /* it is up, and its log is read before it is told ready */
    struct pm_timer retry_timer; /* the endpoint was somebody else's */
    struct pm_task signal_task;  /* SIGTERM, at the end of the turn */
    uint64_t rss_max_bytes, cpu_ms, cpu_at_ms;
    uint64_t touched_ms; /* when core was last told of a sign of life */
};

/* ---- manager.c */
void pm_manager_flush(struct pm_manager *manager);
/* Adds a pool whose engine's habits are not known to it yet. The reference stays the caller's. */
int pm_manager_add_pool(struct pm_manager *manager, struct pm_pool_spec *spec, enum pm_owner owner,
                        struct poolmgr_error *err);
void pm_manager_execute(struct pm_manager *manager, const struct pm_action *action); /* execute.c */

/* ---- instance.c */
struct pm_instance *pm_instance_find(struct pm_manager *manager, struct pm_token token);
void pm_instance_spawn(struct pm_manager *manager, const struct pm_action *action);
void pm_instance_free(struct pm_instance *instance);
void pm_instance_forget(struct pm_manager *manager, const struct pm_action *action);
/* A lease came (+1) or went (-1): whether it works is watched only while it has some. */
void pm_instance_leases(struct pm_instance *instance, int change);
void pm_instance_touch(struct pm_instance *instance);
/* SIGTERM, when the connections of requests that end in this turn are closed. */
void pm_instance_signal(struct pm_instance *instance);
/* The process is somebody else's from now on; leases and endpoint stay known. */
void pm_instance_let_go(struct pm_instance *instance);

/* Sets anew what is made from the configuration. */
void pm_manager_configure(struct pm_manager *manager);

/* ---- reload.c */
/* Reads the file again if somebody asked for it, and the last reading is over and done with. */
void pm_config_go_on(struct pm_manager *manager);
void pm_config_watches_free(struct pm_manager *manager);

/* ---- record.c */
void pm_record_commit(struct pm_manager *manager, const struct pm_action *action);
void pm_record_remember(struct pm_manager *manager, const struct pm_memory_record *memory);
void pm_record_keep(struct pm_manager *manager, const struct pm_past *past);
/* When the file's pools are in, and before adoption: what the last daemon left, its pools of the API too. */
int pm_records_restore(struct pm_manager *manager, struct poolmgr_error *err);
/* A pool's specification from what was stored of it, below the configuration in force; the reference is the caller's. */
int pm_record_spec(const struct pm_manager *manager, const char *pool_id, const char *stored,
                   struct pm_pool_spec **ret, struct poolmgr_error *err);
/* What the last daemon left about a pool that was handed over to it holds again. */
void pm_record_handed_over(struct pm_manager *manager, const char *pool_id);
void pm_records_free(struct pm_manager *manager);
/* ---- follow.c: engines that are not ours */
void pm_instance_follow(struct pm_manager *manager, const struct pm_action *action);
void pm_instance_unfollow(struct pm_instance *instance);
/* Nobody listens there. */
void pm_instance_refused(struct pm_instance *instance);
/* Whether a process of that number runs here; *ret_fd (may be NULL) is its pidfd. */
bool pm_pid_runs(uint64_t pid, int *ret_fd);

/* ---- question.c */
void pm_question_probe(struct pm_instance *instance, struct pm_token probe);
void pm_question_busy(struct pm_instance *instance, struct pm_token probe);
void pm_questions_free(struct pm_instance *instance);

/* ---- ticket.c */
void pm_ticket_granted(struct pm_manager *manager, const struct pm_action *action);
void pm_ticket_refused(struct pm_manager *manager, const struct pm_action *action);
void pm_ticket_cut(struct pm_manager *manager, const struct pm_action *action);
void pm_tickets_free(struct pm_manager *manager);

/* ---- operation.c */
void pm_operation_moved(struct pm_manager *manager, uint64_t op); /* accepted, or ended */
void pm_operations_init(struct pm_manager *manager);
void pm_operations_free(struct pm_manager *manager);

/* ---- devices.c */
int pm_devices_begin(struct pm_manager *manager, struct poolmgr_error *err);
void pm_manager_list_devices(struct pm_manager *manager); /* again: what is kept free has changed */

/* ---- gpus.c: those that are found */
int pm_gpus_new(struct pm_manager *manager, struct pm_gpu_watch **ret, struct poolmgr_error *err);
void pm_gpus_free(struct pm_gpu_watch *gpus); /* NULL is fine */
void pm_gpus_list(struct pm_gpu_watch *gpus);
/* What errors made of devices is forgotten: they are what their driver says now. */
void pm_gpus_forgive(struct pm_gpu_watch *gpus);
/* Looks now: core waits for it. */
void pm_gpus_look(struct pm_manager *manager);
/* The engine loads, serves or ends: how often devices are looked at may change. */
void pm_gpus_mind(struct pm_instance *instance);

/* ---- cpu.c: the machine's memory */
void pm_cpu_begin(struct pm_manager *manager);
void pm_cpu_free(struct pm_cpu_watch *cpu);
void pm_cpu_list(struct pm_manager *manager); /* again: what is kept free has changed */
void pm_cpu_look(struct pm_manager *manager); /* if the last look is too old; the caller flushes */
void pm_cpu_look_again(struct pm_manager *manager); /* however new that is */
/* The engine loads, is ready or ends; it is gone, and core is told so next. */
void pm_cpu_mind(struct pm_instance *instance);
void pm_cpu_gone(struct pm_instance *instance);

/* ---- reserve.c: of those that are found */
/* What `reserve` keeps free on gpus[which], in bytes. */
uint64_t pm_reserve_of(const struct pm_device_sizes *reserve, const struct pm_gpu *gpus, size_t n,
                       size_t which);
/* Tells which of its names mean none of them, or several. */
void pm_reserve_check(struct pm_manager *manager, const struct pm_gpu *gpus, size_t n);

/* ---- stage.c: looks at model files, in the helper thread */
struct pm_stager *pm_stager_new(struct pm_manager *manager);
void pm_stager_free(struct pm_stager *stager); /* behind the worker */
void pm_stager_begin(struct pm_stager *stager, struct pm_token token, struct pm_pool_spec *spec);

/* How far a log has come, and which file it is: where an engine that starts now begins in it. */
struct pm_log_mark {
    uint64_t from, inode; /* inode 0: there is no file yet */
};
struct pm_log_mark pm_log_mark(const char *path);
/* Nothing behind it is gone, as far as can be told. */
bool pm_log_mark_holds(const struct pm_log_mark *mark, const char *path);

/* Reads what an engine says of the devices of its plan, and tells core: `from` there on it is its own. */
struct pm_measure *pm_measure_new(struct pm_manager *manager, struct pm_token token,
                                  const struct pm_plan *plan, const char *log_path, uint64_t from);
void pm_measure_ready(struct pm_measure *measure); /* NULL is fine, and for _free */
void pm_measure_free(struct pm_measure *measure);
/* Where its log is read from; borrowed. */
const char *pm_measure_log(const struct pm_measure *measure, uint64_t *ret_from);

/* ---- fit.c: an engine that is up, but not on the devices of its plan (LOAD-5) */
typedef void (*pm_fit_told)(struct pm_instance *instance, const struct pm_failure *unfit);
/* Whether its log has to be asked before it may serve. */
bool pm_fit_matters(const struct pm_instance *instance);
/* Asks; fn is called once, later: `unfit` NULL, it may serve. It is the instance's until then, as instance->fit. */
void pm_fit_ask(struct pm_instance *instance, pm_fit_told fn);
void pm_fit_free(struct pm_fit *fit); /* NULL is fine; fn is not called any more */

struct pm_programs *pm_programs_new(struct pm_manager *manager);
void pm_programs_free(struct pm_programs *programs);  /* behind the worker */
void pm_programs_begin(struct pm_programs *programs); /* those of the configuration's pools */
void pm_programs_look(struct pm_programs *programs, struct pm_engine_spec *engine);
/* Of the program that the engine would run now; zeros where it is unknown. */
struct pm_engine_traits pm_programs_traits(const struct pm_programs *programs,
                                           const struct pm_engine_spec *engine);
/* What tells a file's content apart without reading it, of all local files of a pool; the caller's. */
char *pm_model_signature(const struct pm_pool_spec *spec);

/* ---- filewatch.c */
int pm_file_watches_new(struct pm_manager *manager, struct pm_file_watches **ret,
                        struct poolmgr_error *err);
void pm_file_watches_free(struct pm_file_watches *watches);
/* The pool failed for its model's files: core is told once when one of them changed. `signature` is of when they
 * were looked at, so that a change since then is not missed. */
void pm_file_watches_add(struct pm_file_watches *watches, const struct pm_pool_spec *spec,
                         const char *signature);

/* ---- handoff.c */
void pm_handings_forget(struct pm_manager *manager); /* they are their owners' */
void pm_handoff_tell_refused(struct pm_manager *manager, const char *what,
                             const struct poolmgr_error *error);

/* ---- handoffdir.c: the watched folder of handoffs */
int pm_handoff_folder_new(struct pm_manager *manager, struct pm_handoff_folder **ret,
                          struct poolmgr_error *err);
/* What is there already. */
void pm_handoff_folder_begin(struct pm_handoff_folder *folder);
void pm_handoff_folder_free(struct pm_handoff_folder *folder);

/* ---- folder.c */
int pm_folders_make(struct pm_manager *manager, struct poolmgr_error *err);

/* A folder of ours that nobody else may look into: POOLMGR_E_CONFIG_INVALID names the setting and what is wrong. */
int pm_check_private(const char *setting, const char *path, struct poolmgr_error *err);

/* ---- adopt.c */
int pm_adopt_all(struct pm_manager *manager, struct poolmgr_error *err);
void pm_strangers_free(struct pm_manager *manager);
/* The JSON kept beside an instance for the daemon that adopts it; the caller's. */
char *pm_meta_write(const struct pm_engine_spec *engine, const struct pm_pool_spec *spec,
                    const struct pm_engine_command *command, const struct pm_plan *plan,
                    const struct pm_log_mark *log);
struct pm_instance *pm_instance_new(struct pm_manager *manager, struct pm_token token,
                                    struct pm_pool_spec *spec, unsigned replica, uint64_t number);
extern const struct pm_process_handler pm_instance_handler; /* ctx: struct pm_instance */

#endif
