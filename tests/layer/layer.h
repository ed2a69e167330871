/*
 * layer.h — what tests may ask of our Vulkan layer, which stands between hearth and the driver.
 *
 * The layer counts the calls that hearth makes, fails one of them with a result that the
 * specification allows there, counts the objects that were made and not destroyed, and can show a
 * device with a second queue. It serves one driver at a time. A program is told what to do by its
 * environment:
 *
 *   HEARTH_LAYER_FAIL=vkCreateBuffer:3:-4   the 4th call of this name fails with
 *                                      VK_ERROR_DEVICE_LOST
 *   HEARTH_LAYER_FAIL=vkQueueSubmit:3+:-4   and so do all after it
 *   HEARTH_LAYER_TWO_QUEUES=late       there is a queue family for copies only, whose copies come
 *                                      as late as they may; =early: as early as they may (queues.c)
 *   HEARTH_LAYER_MAX_RANGE=N           no more than N bytes can be bound in one piece (limits.c)
 *   HEARTH_LAYER_FLIP=HASH:WORD:MASK   bits of a word of the shader with this hash (wrong.c) are
 *                                      flipped; all in hexadecimal
 *   HEARTH_LAYER_LATE=HASH             there is no barrier behind the shader with this hash
 *   HEARTH_LAYER_END=HASH              the process ends where the shader with this hash is compiled
 *   HEARTH_LAYER_SUBGROUP=N            subgroups are said to have N lanes
 *   HEARTH_LAYER_BUDGET=N              the driver grants N bytes of each of the device's heaps
 *   HEARTH_LAYER_REPORT=FILE           written at exit: "call NAME COUNT", "failed NAME",
 *                                      "left OBJECT COUNT", "late COUNT"
 *
 * and a test that has the driver in its own process sets the fields of `struct layer`, which it
 * finds by dlopen and the symbol "layer_of_tests". The build names the shared library and the
 * folder of its manifest HEARTH_LAYER and HEARTH_LAYER_FOLDER. Threads: calls may come from any;
 * the plan is changed while there are none.
 */
#ifndef LAYER_LAYER_H
#define LAYER_LAYER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include <vulkan/vulkan_core.h>

enum { LAYER_MAX_RESULTS = 8 };

#define LAYER_NAME "VK_LAYER_HEARTH_test"

/* A function that returns a VkResult. */
struct layer_call {
    const char *name;
    VkResult results[LAYER_MAX_RESULTS]; /* that are no success; VK_SUCCESS at the end */
    atomic_int n_calls;
};

/* A kind of object that is made and destroyed. */
struct layer_object {
    const char *name;
    atomic_int n_left;
};

/* Which of two queues is held back. */
enum layer_queues { LAYER_ONE_QUEUE, LAYER_COPIES_LATE, LAYER_COPIES_EARLY };

/* Bits of a word of a shader that are not as they were. */
struct layer_flip {
    uint64_t hash;       /* of the shader's words: FNV-1a, word by word */
    uint32_t word, mask; /* mask 0: nothing is flipped */
};

struct layer {
    struct layer_call *calls;
    size_t n_calls;
    struct layer_object *objects;
    size_t n_objects;

    /* the plan */
    const struct layer_call *fail_call; /* NULL: none */
    int fail_at;                        /* which of its calls, from 0, since n_calls was 0 */
    bool fail_on;                       /* and all calls after it */
    VkResult fail_result;
    enum layer_queues queues;
    uint32_t max_range;        /* bytes; 0: the device's own */
    struct layer_flip flip[2]; /* of two shaders */
    uint64_t late_hash;        /* of a shader that nothing waits for; 0: none */
    uint64_t end_hash;         /* of a shader that the driver does not survive; 0: none */
    atomic_ullong budget;      /* bytes; 0: the driver's own */
    uint32_t subgroup;         /* 0: the device's own */
    atomic_ullong group_ns;    /* that a workgroup takes by timestamps; 0: the device's own */
    uint64_t late_ns;          /* from a submit until it is done, at least */
    bool offers_priority;      /* of queues, VK_KHR_global_priority */

    atomic_int n_failed;     /* how often the plan was carried out */
    atomic_int n_flipped;    /* shaders */
    atomic_int n_late;       /* submits that were still held back when something needed them */
    atomic_int n_overtaken;  /* dispatches that ran after what should have waited for them */
    atomic_int n_dispatches; /* that were recorded; */
    atomic_int n_parts;      /* those of them that do not begin at the first workgroup */
    uint64_t most_groups;    /* of a submit, since a test set it to 0 */
    int wished_priority;     /* of the last device's queue, VkQueueGlobalPriorityKHR; 0: none */
};

typedef struct layer *layer_of_tests_fn(void);

#endif
