/*
 * session_part.h — what the files of a session share: on the devices and off them again, with what
 * is in its cache.
 *
 * session.c owns coming, going and feeding, session_execs.c the executors of all devices and how
 * they run a batch together, session_result.c what comes of a batch, session_pages.c what becomes
 * of the cache when the session has to leave. Threads: all is called with the model's device mutex
 * held.
 */
#ifndef ENGINE_SESSION_PART_H
#define ENGINE_SESSION_PART_H

#include "engine/engine.h"

/* Opens executors by the model's split, and brings back the cache: as it was saved, or computed
 * anew from its tokens. On failure the session is off the devices, and nothing of it is lost. */
HTH_MUST_CHECK session_enter(struct hth_session *session);

/* Closes executors. The cache is saved in the host's memory; where that cannot be (`lost`: what the
 * device had is gone) it will be computed anew. */
void session_leave(struct hth_session *session, bool lost);

/* --- session_execs.c -------------------------------------------------------------------------- */

/* Opens executors on the devices that the model's split uses. After a failure some may be open. */
HTH_MUST_CHECK session_open_execs(struct hth_session *session);
void session_close_execs(struct hth_session *session);

/* Has a GPU a part? */
bool session_has_gpu(const struct hth_session *session);

/* Bytes of results that came from GPUs since executors were opened. */
uint64_t session_read_bytes(const struct hth_session *session);

/* `*result`: as gpu_exec_run has it; NULL without outputs. */
HTH_MUST_CHECK session_run(struct hth_session *session, const struct batch *batch,
                           const void **result);

/* Counts what the session holds, and what its devices have compiled. */
void session_count(struct hth_session *session);

/* --- session_result.c ------------------------------------------------------------------------- */

/* Forgets the results there are; from now on they are what these feeds want. */
void session_results_begin(struct hth_session *session, const struct hth_feed *feeds, int n_feeds);

/* Makes room for those of n outputs. */
HTH_MUST_CHECK session_results_reserve(struct hth_session *session, size_t n);

/* Runs a batch and adds what comes of it to the results. `*again`: nothing usable did, as other
 * kernels may be wrong than those of its last step, and of what the cache holds nothing is known.
 * The session has left the devices; when it enters again it computes its cache anew by the plainest
 * kernels there are, and keeps these. */
HTH_MUST_CHECK session_compute(struct hth_session *session, struct batch *batch, bool *again);

/* --- session_pages.c -------------------------------------------------------------------------- */

/* Remembers the token of a position that is being computed. */
void session_note_id(struct hth_session *session, int seq, int pos, int32_t id);

/* What the cache holds is not to be believed: it will be computed anew. */
void session_doubt(struct hth_session *session);

/* Before executors close: saves all pages in use, or sees that it cannot be done. */
void session_save(struct hth_session *session, bool lost);

/* After executors were opened: pages have again what they had. */
HTH_MUST_CHECK session_bring_back(struct hth_session *session);

void session_saved_free(struct hth_session *session);

#endif
