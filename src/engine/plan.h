/*
 * plan.h — `hearth plan`: where a model's units would live on this or another machine, as text,
 * JSON or a picture.
 *
 * Opens what is needed to know sizes (a file's directory, the list of devices), never weights or a
 * device. Owns the report and all it rests on. One thread.
 */
#ifndef ENGINE_PLAN_H
#define ENGINE_PLAN_H

#include "base/str.h"
#include "hearth/hearth.h"

enum plan_turn { PLAN_CHAT, PLAN_LONG_PROMPT, PLAN_BATCH };

/* Zero but for what is said: decide everything, for this machine. */
struct plan_request {
    const char *model;   /* a path or synth:SHAPE:QUANT */
    const char *profile; /* a machine as JSON (docs/placement.md); NULL: this one */
    /* log; device, n_threads, vram_bytes, treat_as_discrete as for opening a model */
    struct hth_model_options device;
    uint64_t ram_bytes; /* of the host's memory to use at most; 0: what is free */
    int n_ctx;          /* 0: 4096, or what the model was trained on, if less */
    int n_batch;        /* 0: chosen */
    enum hth_kv_type kv;
    enum plan_turn turn;
    double expert_skew;        /* the r-th most used expert is used ∝ 1 / r^skew */
    int gpu_layers;            /* the last so many layers on GPUs, the others not; −1: decide */
    int n_cpu_moe;             /* experts of the first so many layers stay with the CPU */
    const char *const *places; /* "PATTERN=cpu|vulkan|vulkan:N", the last that matches wins */
    int n_places;
};

enum plan_form { PLAN_TEXT, PLAN_JSON, PLAN_SVG };

struct plan_report;

/* Errors: those of opening a model's file and of the list of devices; HTH_ERROR_ARGUMENT for an
 * option or a profile that makes no sense; HTH_ERROR_LIMIT when something fits nowhere. */
HTH_CHECKED plan_report_open(struct plan_report **out, const struct plan_request *request);
void plan_report_close(struct plan_report *report);

/* Appends the report. Errors: HTH_ERROR_MEMORY. */
HTH_CHECKED plan_report_write(const struct plan_report *report, enum plan_form form,
                              struct strbuf *out);

#endif
