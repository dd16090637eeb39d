/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PM_UTIL_FILE_H
#define PM_UTIL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"

/* Reads a whole regular file; *ret is terminated and the caller's. POOLMGR_E_NOT_FOUND, POOLMGR_E_TOO_LARGE
 * (over max_bytes), POOLMGR_E_INVALID_REQUEST (not a regular file, not readable). ret_n may be NULL. */
int pm_read_file(const char *path, size_t max_bytes, char **ret, size_t *ret_n,
                 struct poolmgr_error *err);

/* Writes beside `path` and renames over it; fsync on file and folder when `durable`. POOLMGR_E_STORE_FAILED. */
int pm_write_file(const char *path, const void *data, size_t n, mode_t mode, bool durable,
                  struct poolmgr_error *err);

/* Removes one file, durably when asked; a missing one is success. POOLMGR_E_STORE_FAILED. */
int pm_remove_file(const char *path, bool durable, struct poolmgr_error *err);

/* mkdir -p; existing folders keep their mode. */
int pm_make_folders(const char *path, mode_t mode, struct poolmgr_error *err);

/* Removes a folder with all it holds, without following links; a missing one is success. */
int pm_remove_tree(const char *path, struct poolmgr_error *err);

#endif
