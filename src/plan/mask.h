/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Masks: which devices a pool or an engine may use, as people write it.
 *
 *   mask   = "none" | "cpu" | "all" | group { ";" group } ;
 *   group  = [ ("nvidia" | "amd" | "intel") ":" ] ( "all" | item { "," item } ) ;
 *   item   = index | index "-" index | index ":" index | gpu | prefix | amd | mig | "pci:" bdf ;
 *   index  = "0" | nonzero { digit } ;                  at most 1023; a:b is MIG slot b of GPU a
 *   gpu    = "GPU-" h8 "-" h4 "-" h4 "-" h4 "-" h12 ;   prefix: 4 or more of its digits
 *   amd    = "GPU-" h16 ;
 *   mig    = "MIG-" h8 "-" h4 "-" h4 "-" h4 "-" h12 | "MIG-" gpu "/" index "/" index ;
 *   bdf    = [ ( h4 | h8 ) ":" ] h2 ":" h2 "." digit ;
 *
 * Hexadecimal digits may be capitals; words and prefixes are as written here. Reading a text and finding its devices
 * are two steps, because the devices of a machine come and go while a configuration stays. Both are pure.
 */
#ifndef PM_PLAN_MASK_H
#define PM_PLAN_MASK_H

#include <stdbool.h>
#include <stddef.h>

#include "util/cleanup.h"
#include "util/error.h"

#define PM_DEVICE_ID_MAX    95   /* bytes of a device's id: NVML's UUIDs have at most so many */
#define PM_MASK_TEXT_MAX    4096 /* bytes of a mask */
#define PM_MASK_INDEX_MAX   1023
#define PM_MASK_RANGE_MAX   128  /* indexes of one range */
#define PM_MASK_DEVICES_MAX 1024 /* devices of one mask */

enum pm_vendor { PM_VENDOR_NVIDIA, PM_VENDOR_AMD, PM_VENDOR_INTEL, PM_VENDOR_COUNT };

const char *pm_vendor_name(enum pm_vendor vendor); /* "nvidia" "amd" "intel" */

/* One device as masks see it. */
struct pm_gpu {
    enum pm_vendor vendor;
    /* The full UUID (GPU-…, MIG-…, AMD's GPU- and 16 digits); of a declared one its name in the file ("0", "GPU-…");
     * one that is a number is the index. */
    char id[PM_DEVICE_ID_MAX + 1];
    /* Position in PCI order among its vendor's GPUs; of a MIG instance: its parent's. Over PM_MASK_INDEX_MAX: none. */
    unsigned index;
    int slot, gi, ci; /* MIG slot and instance ids; slot -1: a whole GPU */
    char pci[20];     /* "00000000:65:00.0", lower case; "" unknown */
    bool mig_mode;    /* a whole GPU in MIG mode: only its instances can be used */
    bool hidden;      /* outside of the set that we may see ourselves */
    bool unhealthy;
    bool prohibited; /* compute mode 2, or 3 and busy */
};

struct pm_mask; /* a text that was read; never changed, shared by counting references */

/*
 * Reads the text's n bytes. It finds every fault that shows without devices:
 * POOLMGR_E_MASK_EMPTY, _TOO_LONG, _SYNTAX, _LEADING_ZERO, _NEGATIVE, _INDEX_RANGE, _RANGE_REVERSED, _RANGE_TOO_WIDE,
 * _DUPLICATE, _MIXED_NONE, _MIXED_ALL, _UUID_MALFORMED, _PREFIX_SHORT, _VENDOR_UNKNOWN. The byte at fault goes into
 * *ret_offset (which may be NULL) and into err->offset; of a duplicate it is where the second one begins.
 * *ret is a reference that the caller owns.
 */
int pm_mask_parse(const char *text, size_t n, struct pm_mask **ret, size_t *ret_offset,
                  struct poolmgr_error *err);
struct pm_mask *pm_mask_ref(struct pm_mask *mask);
void pm_mask_unref(struct pm_mask *mask); /* NULL is fine */
PM_DEFINE_AUTO(struct pm_mask *, pm_mask_unref)

bool pm_mask_is_cpu(const struct pm_mask *mask);      /* `none`, `cpu`: no device at all */
const char *pm_mask_text(const struct pm_mask *mask); /* as it was written; the mask's own */

bool pm_mask_is_one(const struct pm_mask *mask); /* it names one device: no range, no `all` */
/* The same devices in whatever order, as far as texts can tell: `0-1` and `1,0`, but not an index and a UUID. */
bool pm_mask_same(const struct pm_mask *a, const struct pm_mask *b);

/* A device that is known by its name alone, as those of `devices.declared` are: one index, of NVIDIA's then, or one full
 * UUID. Its id is the mask's text. False: the mask is something else. */
bool pm_mask_declares(const struct pm_mask *mask, struct pm_gpu *ret);

/*
 * Which of gpus[0..n) the mask means: their positions in `gpus`, in the order of the mask, each once. `ret` has room
 * for the smaller of n and PM_MASK_DEVICES_MAX. Of `none` it is no device and no error.
 *
 * `all` means the devices that can be used: what is hidden, unhealthy or prohibited is left out, and a GPU in MIG
 * mode stands for its instances. A device that is named must be usable. `one_engine`: the set of one engine.
 *
 * POOLMGR_E_MASK_NOT_FOUND, _NOT_PERMITTED, _PREFIX_AMBIGUOUS, _VENDOR_AMBIGUOUS, _DUPLICATE (one device by two
 * names), _MIG_DISABLED, _MIG_PARENT_OVERLAP, _GPU_IN_MIG_MODE, _DEVICE_UNHEALTHY, _COMPUTE_PROHIBITED, _TOO_LONG
 * (more than PM_MASK_DEVICES_MAX); for one engine _MIG_MULTI, _MIXED_VENDOR. Offsets as in pm_mask_parse(); of a
 * range's device it is where the range begins.
 */
int pm_mask_resolve(const struct pm_mask *mask, const struct pm_gpu *gpus, size_t n,
                    bool one_engine, size_t *ret, size_t *ret_n, size_t *ret_offset,
                    struct poolmgr_error *err);

/*
 * The normal form of a resolved set: groups by vendor in the order of enum pm_vendor, full ids (where a device has
 * none: its PCI address or index), in the order of the set; "none" where it is empty. Read and resolved again it
 * gives the same set, and this text. The caller frees it.
 */
char *pm_mask_normal(const struct pm_gpu *gpus, const size_t *set, size_t n);

/* Of resolved sets over the same `gpus`: the same devices, in whatever order; all of a's are in b. */
bool pm_mask_equal(const size_t *a, size_t n_a, const size_t *b, size_t n_b);
bool pm_mask_subset(const size_t *a, size_t n_a, const size_t *b, size_t n_b);

#endif
