/* SPDX-License-Identifier: Apache-2.0 */
/* A model's file, or the first of its shards, read for what an estimate needs. */
#ifndef PM_ENGINE_READMODEL_H
#define PM_ENGINE_READMODEL_H

#include "plan/model.h"
#include "util/error.h"

/*
 * @param ref  A path, or "file:" and one. A relative one starts at the current folder.
 *
 * Blocking but bounded (64 KiB … 64 MiB read a file). The other shards lie beside the first.
 *
 * @param[out] ret  A reference; give it to pm_model_unref().
 *
 * @return POOLMGR_OK; POOLMGR_E_MODEL_MISSING, with the path that cannot be read; what pm_model_read() returns.
 */
int pm_engine_read_model(const char *ref, struct pm_model **ret, struct poolmgr_error *err);

#endif
