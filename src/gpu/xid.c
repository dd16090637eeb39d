/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu/xid.h"

enum column { UNKNOWN, NOTE, APP, RESET, LOST, ASK };

/* One row an XID. Where the driver has an answer it is asked behind every one of them; of ASK nothing else is known. */
static const struct row {
    short xid;
    unsigned char column; /* enum column */
    bool remap_pending;
    const char *text;
} rows[] = {
    {8, APP, false, "a kernel did not end in time"},
    {11, APP, false, "invalid or corrupted push buffer stream"},
    {13, APP, false, "graphics engine exception"},
    {14, NOTE, false, ""},
    {25, APP, false, "invalid or illegal push buffer stream"},
    {31, APP, false, "memory page fault"},
    {32, APP, false, "invalid or corrupted push buffer stream"},
    {37, NOTE, false, "driver firmware error"},
    {38, NOTE, false, "driver firmware error"},
    {39, APP, false, ""},
    {40, APP, false, ""},
    {41, APP, false, ""},
    {43, APP, false, "the GPU stopped processing"},
    {44, NOTE, false, "graphics engine fault during context switch"},
    {45, APP, false, "preemptive cleanup after an earlier error"},
    {46, RESET, false, "the GPU stopped processing"},
    {48, RESET, false, "double bit memory error"},
    {54, ASK, false, "auxiliary power is not connected"},
    {60, APP, false, "video processor exception"},
    {62, RESET, false, "internal micro-controller halt"},
    {63, NOTE, true, "a row of memory is to be remapped"},
    {64, RESET, false, "a row of memory could not be remapped"},
    {66, NOTE, false, "illegal access by the driver"},
    {67, NOTE, false, "illegal access by the driver"},
    {68, APP, false, "video processor exception"},
    {69, APP, false, "graphics engine class error"},
    {70, APP, false, "copy engine exception"},
    {71, APP, false, "copy engine exception"},
    {72, APP, false, "copy engine exception"},
    {74, RESET, false, "NVLink error"},
    {75, APP, false, "copy engine exception"},
    {76, APP, false, "copy engine exception"},
    {77, APP, false, "copy engine exception"},
    {78, ASK, false, "a virtual GPU could not be started"},
    {79, LOST, false, "the GPU has fallen off the bus"},
    {80, APP, false, "corrupted data sent to the GPU"},
    {82, APP, false, ""},
    {83, APP, false, ""},
    {84, APP, false, ""},
    {85, APP, false, ""},
    {86, APP, false, ""},
    {88, APP, false, ""},
    {89, APP, false, ""},
    {92, NOTE, false, "high rate of corrected memory errors"},
    {93, NOTE, false, ""},
    {94, APP, true, "contained memory error"},
    {95, RESET, false, "uncontained memory error"},
    {96, APP, false, ""},
    {97, APP, false, ""},
    {98, APP, false, ""},
    {99, APP, false, ""},
    {100, APP, false, ""},
    {101, APP, false, ""},
    {102, APP, false, ""},
    {103, APP, false, ""},
    {104, APP, false, ""},
    {105, APP, false, ""},
    {106, NOTE, false, ""},
    {107, NOTE, false, ""},
    {108, NOTE, false, ""},
    {109, APP, false, "context switch timeout"}, /* twice within PM_XID_REPEAT_MS: RESET */
    {110, RESET, false, "security fault"},
    {119, RESET, false, "the GPU's system processor does not answer"},
    {120, RESET, false, "the GPU's system processor failed"},
    {121, NOTE, false, "corrected NVLink error between chips"},
    {126, APP, false, ""},
    {127, APP, false, ""},
    {128, APP, false, ""},
    {129, APP, false, ""},
    {130, APP, false, ""},
    {131, APP, false, ""},
    {132, APP, false, ""},
    {133, APP, false, ""},
    {134, APP, false, ""},
    {135, APP, false, ""},
    {136, RESET, false, "link training failed"},
    {137, NOTE, false, "NVLink privilege error"},
    {139, APP, false, ""},
    {140, RESET, false, "unrecovered memory error"},
    {141, NOTE, false, ""},
    {143, RESET, false, "the GPU could not be initialised"},
    {144, ASK, false, "NVLink error"},
    {145, ASK, false, "NVLink error"},
    {146, ASK, false, "NVLink error"},
    {147, ASK, false, "NVLink error"},
    {148, ASK, false, "NVLink error"},
    {149, ASK, false, "NVLink error"},
    {150, ASK, false, "NVLink error"},
    {151, ASK, false, ""},
    {152, NOTE, false, ""},
    {153, NOTE, false, ""},
    {154, ASK, false, "what the GPU asks for has changed"},
    {155, RESET, false, ""},
    {156, RESET, false, ""},
    {157, NOTE, false, ""},
    {158, RESET, false, ""},
    {159, ASK, false, ""},
    {160, NOTE, false, ""},
    {161, NOTE, false, ""},
};

static const struct row *find(int xid)
{
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        if (rows[i].xid == xid)
            return &rows[i];
    }
    return NULL;
}

static enum pm_xid_action action_of(enum column column)
{
    switch (column) {
    case APP: return PM_XID_APP;
    case RESET: return PM_XID_RESET;
    case LOST: return PM_XID_LOST;
    case UNKNOWN:
    case NOTE:
    case ASK: break;
    }
    return PM_XID_NOTE;
}

enum pm_xid_action pm_xid_action(int xid)
{
    const struct row *row = find(xid);

    return action_of(row ? row->column : UNKNOWN);
}

const char *pm_xid_text(int xid)
{
    const struct row *row = find(xid);

    return row ? row->text : "";
}

/* What the driver asks for, as an action. */
static enum pm_xid_action answer_of(int recovery)
{
    switch (recovery) {
    case 1:
    case 4: return PM_XID_RESET;
    case 2: return PM_XID_LOST;
    case 3: return PM_XID_APP;
    default: return PM_XID_NOTE;
    }
}

/* The second 109 within the span says that the first was no accident. */
static bool came_twice(struct pm_xid_memory *memory, uint64_t now_ms)
{
    bool twice = memory->had_109 && now_ms - memory->last_109_ms < PM_XID_REPEAT_MS;

    memory->had_109 = true;
    memory->last_109_ms = now_ms;
    return twice;
}

/* What came after an error, and not what was before it, ends what the error said. */
static void remember(struct pm_xid_memory *memory, enum pm_xid_action action, int recovery)
{
    enum pm_device_state says = action == PM_XID_LOST ? PM_DEVICE_LOST : PM_DEVICE_RESET_REQUIRED;

    if (action < PM_XID_RESET)
        return;
    if (says > memory->says)
        memory->says = says;
    memory->asked = recovery > 0;
    memory->gone = false;
    memory->n_ecc = 0;
}

static bool was_reset(const struct pm_xid_memory *memory, const struct pm_gpu_seen *gpu)
{
    return gpu->state == PM_DEVICE_OK &&
           (memory->gone || (memory->asked && gpu->recovery == 0) ||
            (gpu->n_ecc_uncorrected >= 0 && gpu->n_ecc_uncorrected < memory->n_ecc));
}

void pm_xid_see(struct pm_xid_memory *memory, const struct pm_gpu_seen *gpu)
{
    if (memory->says != PM_DEVICE_OK && was_reset(memory, gpu))
        memory->says = PM_DEVICE_OK;

    memory->asked = memory->asked || gpu->recovery > 0;
    memory->gone =
        memory->gone || gpu->state == PM_DEVICE_LOST || gpu->state == PM_DEVICE_RESET_REQUIRED;
    if (gpu->n_ecc_uncorrected > memory->n_ecc)
        memory->n_ecc = gpu->n_ecc_uncorrected;
}

enum pm_device_state pm_xid_state(const struct pm_xid_memory *memory, enum pm_device_state seen)
{
    return seen > memory->says ? seen : memory->says;
}

struct pm_xid_verdict pm_xid_judge(int xid, int recovery, bool own_stop, uint64_t now_ms,
                                   struct pm_xid_memory *memory)
{
    const struct row *row = find(xid);
    enum pm_xid_action answer = answer_of(recovery);
    struct pm_xid_verdict verdict = {.action = pm_xid_action(xid)};

    if (xid == 45 && own_stop)
        verdict.action = PM_XID_NOTE;
    if (xid == 109 && came_twice(memory, now_ms))
        verdict.action = PM_XID_RESET;
    if (answer > verdict.action)
        verdict.action = answer;
    remember(memory, verdict.action, recovery);
    /* Of ASK the driver alone knows; where it does not tell, the engines there have the last word. */
    verdict.known = row && (row->column != ASK || recovery != PM_GPU_UNKNOWN);
    verdict.remap_pending = row && row->remap_pending;
    return verdict;
}
