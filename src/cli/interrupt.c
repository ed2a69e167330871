#include "cli/interrupt.h"

#include <stdatomic.h>

#include "base/os.h"
#include "hearth/hearth.h"

enum { PRESSES = 2, PRESSES_HELD = 3 }; /* that end the program */

static atomic_int n_presses, most_presses = PRESSES;
static _Atomic(struct hth_session *) watched;

static void on_interrupt(void)
{
    int n = atomic_fetch_add(&n_presses, 1) + 1;
    struct hth_session *session = atomic_load(&watched);
    if (session)
        hth_session_cancel(session);
    if (n + 1 >= atomic_load(&most_presses))
        os_on_interrupt(NULL);
}

void watch_interrupt(struct hth_session *session)
{
    atomic_store(&n_presses, 0);
    atomic_store(&watched, session);
    os_on_interrupt(on_interrupt);
}

bool interrupted(void)
{
    return atomic_load(&n_presses) > 0;
}

void unwatch_interrupt(void)
{
    if (atomic_load(&most_presses) == PRESSES)
        os_on_interrupt(NULL);
    atomic_store(&watched, NULL);
}

void hold_interrupts(void)
{
    atomic_store(&most_presses, PRESSES_HELD);
    watch_interrupt(NULL);
}
