/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/model.h"

#include <assert.h>
#include <stdlib.h>

#include "util/str.h"

struct pm_model *pm_model_new(size_t n_layers)
{
    struct pm_model *model;

    assert(n_layers <= PM_MODEL_LAYERS_MAX);
    model = pm_xalloc(sizeof(*model) + n_layers * sizeof(model->layers[0]));
    model->n_refs = 1;
    model->n_layers = n_layers;
    model->causal = true;
    return model;
}

struct pm_model *pm_model_ref(struct pm_model *model)
{
    if (model)
        model->n_refs++;
    return model;
}

void pm_model_unref(struct pm_model *model)
{
    if (!model)
        return;
    assert(model->n_refs > 0);
    if (--model->n_refs == 0)
        free(model);
}

int pm_model_read(const struct pm_gguf_source *files, size_t n, struct pm_model **ret,
                  struct poolmgr_error *err)
{
    (void)files, (void)n, (void)ret;
    return pm_fail(err, POOLMGR_E_UNSUPPORTED, "models are not read yet");
}
