#include "plan/plan.h"

#include <stdio.h>

#include "base/attr.h"

/* The picture: a bar per memory, in which each unit is a block as wide as its bytes, in the order
 * of layers. Colours come from a style sheet that follows the reader's light or dark scheme. */

enum { WIDTH = 960, MARGIN = 24, BAR_HEIGHT = 44, ROW = 92, TOP = 104, LEGEND = 56 };

static const char STYLE[] =
    "<style>\n"
    "svg{--ink:#1c1e21;--faint:#6b7280;--paper:#fff;--empty:#eceef1;--edge:#fff;"
    "--attention:#3b6fb6;--kv:#2a9d8f;--ffn:#d1852f;--experts:#b0527a;--output:#6a5acd;"
    "--other:#9aa3ad;font:14px system-ui,sans-serif}\n"
    "@media(prefers-color-scheme:dark){svg{--ink:#e8eaed;--faint:#9aa3ad;--paper:#16181c;"
    "--empty:#2a2e35;--edge:#16181c;--attention:#6c9fe0;--kv:#4fc3b3;--ffn:#e5a55a;"
    "--experts:#d681a6;--output:#9a8cf0;--other:#6b7280}}\n"
    ".paper{fill:var(--paper)}.ink{fill:var(--ink)}.faint{fill:var(--faint)}"
    ".empty{fill:var(--empty)}.unit{stroke:var(--edge)}.attention{fill:var(--attention)}"
    ".kv{fill:var(--kv)}.ffn{fill:var(--ffn)}.experts{fill:var(--experts)}"
    ".output{fill:var(--output)}.other{fill:var(--other)}.large{font-size:20px}\n"
    "</style>\n";

/* Classes of blocks, as the legend names them. */
enum block {
    BLOCK_ATTENTION,
    BLOCK_KV,
    BLOCK_FFN,
    BLOCK_EXPERTS,
    BLOCK_OUTPUT,
    BLOCK_OTHER,
    BLOCKS
};
static const char *const block_class[BLOCKS] = {"attention", "kv",     "ffn",
                                                "experts",   "output", "other"};
static const char *const block_words[BLOCKS] = {
    "attention", "keys and values", "feed-forward",
    "experts",   "output",          "activations, staging, tables",
};

static enum block block_of(enum unit_kind kind)
{
    static const enum block blocks[] = {
        [UNIT_ATTENTION] = BLOCK_ATTENTION,
        [UNIT_KV] = BLOCK_KV,
        [UNIT_FFN] = BLOCK_FFN,
        [UNIT_SHARED] = BLOCK_FFN,
        [UNIT_EXPERTS] = BLOCK_EXPERTS,
        [UNIT_HEAD] = BLOCK_OUTPUT,
    };
    return blocks[kind];
}

/* Text of others, such as a device's name, as XML takes it. */
static void put_escaped(struct strbuf *out, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '&': strbuf_append(out, STR("&amp;")); break;
        case '<': strbuf_append(out, STR("&lt;")); break;
        case '>': strbuf_append(out, STR("&gt;")); break;
        case '"': strbuf_append(out, STR("&quot;")); break;
        default:
            if ((unsigned char)*text >= ' ')
                strbuf_append_char(out, *text);
        }
}

struct bar {
    struct strbuf *out;
    double x, y, per_byte, end; /* pixels */
};

static void draw_block(struct bar *bar, enum block block, uint64_t bytes, const char *title)
{
    double width = (double)bytes * bar->per_byte;
    if (bar->x + width > bar->end) /* what is planned beyond the budget is the file's */
        width = bar->end - bar->x;
    if (width <= 0)
        return;
    strbuf_printf(bar->out,
                  "<rect class=\"unit %s\" x=\"%.2f\" y=\"%.0f\" width=\"%.2f\" height=\"%d\" "
                  "stroke-width=\"%s\"><title>%s, %.2f GiB</title></rect>\n",
                  block_class[block], bar->x, bar->y, width, BAR_HEIGHT, width > 4 ? "1" : "0",
                  title, (double)bytes / (1 << 30));
    bar->x += width;
}

/* What of a unit lies in a memory. */
static uint64_t bytes_in(const struct plan *plan, int index, int device)
{
    const struct unit *unit = &plan->units->items[index];
    struct choice choice = plan->items[index].choice;
    if (unit->kind != UNIT_EXPERTS)
        return choice.device == device ? unit->bytes : 0;
    bool stay = plan->turn.no_cache || choice.resident == unit->n;
    if (device == 0)
        return unit->bytes * (uint64_t)(stay ? unit->n - choice.resident : unit->n);
    return choice.device == device ? unit->bytes * (uint64_t)choice.resident : 0;
}

static void draw_memory(const struct plan *plan, int device, int row, struct strbuf *out)
{
    const struct plan_heap *heap = &plan->heaps[device];
    char id[24], name[48];
    int y = TOP + row * ROW;
    double per_byte = heap->budget ? (double)(WIDTH - 2 * MARGIN) / (double)heap->budget : 0;
    struct bar bar = {out, MARGIN, y + 24, per_byte, WIDTH - MARGIN};
    strbuf_printf(out, "<text class=\"ink\" x=\"%d\" y=\"%d\">%s  ", MARGIN, y + 14,
                  machine_device_name(plan->machine, device, id));
    put_escaped(out, plan->machine->devices[device].name);
    strbuf_printf(out,
                  "</text>\n<text class=\"faint\" x=\"%d\" y=\"%d\" text-anchor=\"end\">%.2f of "
                  "%.2f GiB</text>\n",
                  WIDTH - MARGIN, y + 14, (double)heap->planned / (1 << 30),
                  (double)heap->budget / (1 << 30));
    strbuf_printf(out,
                  "<rect class=\"empty\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"3\"/>\n",
                  MARGIN, y + 24, WIDTH - 2 * MARGIN, BAR_HEIGHT);
    uint64_t tables = device == 0 ? plan->units->host_bytes : 0;
    draw_block(&bar, BLOCK_OTHER, heap->activations + heap->staging + tables,
               block_words[BLOCK_OTHER]);
    for (int i = 0; i < plan->units->n_units; i++)
        draw_block(&bar, block_of(plan->units->items[i].kind), bytes_in(plan, i, device),
                   unit_name(&plan->units->items[i], name, sizeof name));
}

static void draw_legend(int y, struct strbuf *out)
{
    static const int widths[BLOCKS] = {104, 152, 132, 96, 88, 0};
    int x = MARGIN;
    for (int i = 0; i < BLOCKS; i++) {
        strbuf_printf(out,
                      "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"12\" height=\"12\" rx=\"2\"/>"
                      "<text class=\"faint\" x=\"%d\" y=\"%d\">%s</text>\n",
                      block_class[i], x, y, x + 18, y + 11, block_words[i]);
        x += widths[i];
    }
}

void plan_draw(const struct plan *plan, struct strbuf *out)
{
    int n = plan->machine->n_devices, height = TOP + n * ROW + LEGEND;
    strbuf_printf(out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
                  "height=\"%d\" role=\"img\">\n<title>Where the model lives</title>\n",
                  WIDTH, height, WIDTH, height);
    strbuf_append(out, STR(STYLE));
    strbuf_printf(out, "<rect class=\"paper\" width=\"%d\" height=\"%d\"/>\n", WIDTH, height);
    strbuf_printf(out,
                  "<text class=\"ink large\" x=\"%d\" y=\"38\">prompt %.1f tokens/s, answer %.2f "
                  "tokens/s%s</text>\n<text class=\"faint\" x=\"%d\" y=\"64\">",
                  MARGIN, plan->prompt_tokens_per_s, plan->answer_tokens_per_s,
                  plan->estimated ? " (estimated)" : "", MARGIN);
    put_escaped(out, plan->bottleneck);
    strbuf_append(out, STR("</text>\n"));
    for (int d = 0; d < n; d++) /* GPUs first: they are what is scarce */
        draw_memory(plan, (d + 1) % n, d, out);
    draw_legend(TOP + n * ROW + 12, out);
    strbuf_append(out, STR("</svg>\n"));
}
