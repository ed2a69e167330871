#include "plan/plan.h"

#include "base/attr.h"

void plan_draw(const struct plan *plan, struct strbuf *out)
{
    (void)plan;
    strbuf_append(out, STR("<svg/>"));
}
