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
#include "vk/vk.h"

enum plan_turn { PLAN_CHAT, PLAN_LONG_PROMPT, PLAN_BATCH };

/* Zero: decide everything, for this machine. */
struct plan_request {
    const char *model;   /* a path or synth:SHAPE:QUANT */
    const char *profile; /* a machine as JSON (docs/placement.md), for which is planned what hearth
                          * will do one day; NULL: this one, and what it does now */
    /* log; device, n_threads, memory, session and places as for opening a model. A session's
     * n_batch of 0: chosen */
    struct hth_model_options device;
    enum plan_turn turn;
    double expert_skew; /* the r-th most used expert is used ∝ 1 / r^skew */
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

/* Measures the CPU, and the device that `options` ask for if there is one, and keeps what came out
 * in the user's cache folder. Takes some seconds. Errors: those of opening a device. */
HTH_CHECKED plan_measure_machine(const struct hth_model_options *options);

/* Appends what was measured of a device, or of the CPU (NULL), in one line; nothing where nothing
 * was. Errors: HTH_ERROR_MEMORY. */
HTH_CHECKED plan_measured(const struct vk_caps *caps, struct strbuf *out, const struct log *log);

#endif
