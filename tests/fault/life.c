#include "life.h"

#include <stdio.h>

#include "base/mem.h"
#include "logits.h"
#include "model/synth.h"
#include "text/json_read.h"

static void note(void *user, enum hth_log_level level, const char *line)
{
    struct life *life = user;
    life->n_errors += level == HTH_LOG_ERROR;
    life->n_warnings += level == HTH_LOG_WARNING;
    /* not through base/mem.h, which may just be out of memory */
    size_t n = strlen(line), room = life->said.capacity - life->said.len;
    if (level <= HTH_LOG_WARNING && n + 2 <= room) {
        memcpy(life->said.ptr + life->said.len, line, n);
        life->said.len += n + 1;
        life->said.ptr[life->said.len - 1] = '\n';
        life->said.ptr[life->said.len] = '\0';
    }
}

/* What lives for as long as the model is open. */
struct things {
    struct hth_model *model;
    struct hth_session *session;
    struct hth_sampler *sampler;
    struct hth_stream *stream;
    char *chat, *back;
    int32_t *ids;
    size_t chat_len, n_ids, back_len;
};

static const struct hth_session_options life_session = {
    .n_ctx = LIFE_MAX_TOKENS, .n_batch = 32, .n_seqs = 2};

static enum hth_status open_model(struct life *life, bool for_session, struct hth_model **model)
{
    struct hth_model_options options = {.device = life->device,
                                        .n_threads = 1,
                                        .log = note,
                                        .log_user = life,
                                        .log_level = HTH_LOG_WARNING,
                                        .treat_as_discrete = life->discrete,
                                        .self_test_s = -1,
                                        .gpu_layers = life->gpu_layers,
                                        .vram_bytes = life->vram_bytes};
    if (for_session) /* else for what is usual */
        options.session = life_session;
    return hth_model_open(model, life->path, &options);
}

static enum hth_status open_all(struct life *life, struct things *t)
{
    static const struct hth_message messages[2] = {
        {"system", "You are terse."},
        {"user", "Why is the sky blue? \xe2\x98\x80 <|im_end|>"},
    };
    enum hth_status status = open_model(life, life->vram_bytes > 0, &t->model);
    if (status == HTH_OK)
        status = hth_render_chat(t->model, messages, 2, true, &t->chat, &t->chat_len);
    if (status == HTH_OK)
        status = hth_tokenize(t->model, t->chat, t->chat_len, true, true, &t->ids, &t->n_ids);
    if (status == HTH_OK)
        status = hth_detokenize(t->model, t->ids, t->n_ids, true, &t->back, &t->back_len);
    if (status == HTH_OK && life->chat.len)
        assert_string_equal(t->back, life->chat.ptr);
    if (status == HTH_OK)
        status = hth_session_open(&t->session, t->model, &life_session);
    struct hth_sampler_options sampler = {.repeat_penalty = 1.1f, .top_k = 20};
    if (status == HTH_OK)
        status = hth_sampler_create(&t->sampler, t->model, &sampler);
    if (status == HTH_OK)
        status = hth_stream_create(&t->stream, t->model);
    static const char *const stops[] = {"no such text", "<|im_end|>"};
    return status == HTH_OK ? hth_stream_stop_at(t->stream, stops, 2) : status;
}

/* Feeds, and after a failure once more: what was not lost must then do what it would have done. */
static enum hth_status feed(struct life *life, struct things *t, const struct hth_feed *what)
{
    int before = hth_session_length(t->session, 0);
    enum hth_status status = hth_session_feed(t->session, what, 1);
    if (status == HTH_OK)
        return HTH_OK;
    assert_int_equal(hth_session_length(t->session, 0), before);
    if (life->status == HTH_OK)
        life->status = status;
    int n_errors = life->n_errors;
    enum hth_status again = hth_session_feed(t->session, what, 1);
    if (life->n_errors != n_errors)
        fail_msg("a second failure:\n%s", life->said.ptr);
    return again;
}

static enum hth_status answer(struct life *life, struct things *t, struct strbuf *text)
{
    size_t len;
    const char *part;
    struct hth_feed prompt = {.ids = t->ids, .count = (int)t->n_ids};
    enum hth_status status = feed(life, t, &prompt);
    for (int i = 0; i < 3 && status == HTH_OK; i++) {
        int32_t id;
        status = hth_sample(t->sampler, t->session, 0, &id);
        if (status)
            break;
        status = hth_stream_push(t->stream, id, &part, &len);
        if (status)
            break;
        strbuf_append(text, (struct str){part, len});
        status = feed(life, t, &(struct hth_feed){.ids = &id, .count = 1});
    }
    if (status)
        return status;
    status = hth_stream_end(t->stream, &part, &len);
    strbuf_append(text, (struct str){part, len});
    return status;
}

static void learn(struct life *life, const struct things *t, const struct strbuf *text)
{
    life->n_vocab = (size_t)hth_model_get_info(t->model).n_vocab;
    life->logits = mem_alloc(life->n_vocab * sizeof *life->logits);
    assert_non_null(life->logits);
    memcpy(life->logits, hth_session_logits(t->session, 0), life->n_vocab * sizeof *life->logits);
    strbuf_append(&life->text, strbuf_str(text));
    strbuf_append(&life->chat, (struct str){t->back, t->back_len});
    assert_true(life->text.len > 0);
    if (strchr(life->device, ','))
        assert_int_equal(hth_model_get_plan(t->model).n_gpus, 2);
}

bool life_placed_anew(const struct life *life)
{
    static const char *const says[] = {"planned again", " was lost", " is lost again",
                                       "is not used, as it cannot be opened"};
    bool did = false;
    for (size_t i = 0; i < ARRAY_LEN(says); i++)
        did |= strstr(life->said.ptr, says[i]) != NULL;
    return did;
}

bool life_read_slower(const struct life *life)
{
    return strstr(life->said.ptr, "as the file has them") != NULL;
}

/* Where the device had no memory, parts of the model are elsewhere, and rounded as there; where it
 * was lost, what was computed token by token was so again, but in batches. Weights read as the file
 * has them are summed in another order, after which an activation may be rounded to the next of its
 * 255 steps: of one in the model of experts the NMSE is 1e-6. */
static void compare(const struct life *life, const struct things *t, const struct strbuf *text)
{
    bool placed_anew = life_placed_anew(life);
    if (!placed_anew && !str_equal(strbuf_str(&life->text), strbuf_str(text)))
        fail_msg("another answer: \"%.*s\" instead of \"%.*s\"\n%s", (int)text->len, text->ptr,
                 (int)life->text.len, life->text.ptr, life->said.ptr);
    double nmse = test_nmse(life->logits, hth_session_logits(t->session, 0), life->n_vocab);
    if (nmse > (placed_anew ? 1e-3 : life_read_slower(life) ? 1e-5 : 1e-9))
        fail_msg("other logits (nmse %g):\n%s", nmse, life->said.ptr);
}

static void check_sentences(const struct life *life)
{
    if (life->n_errors != (life->status != HTH_OK))
        fail_msg("status \"%s\", and %d sentences:\n%s", hth_status_name(life->status),
                 life->n_errors, life->said.ptr);
}

void life_run(struct life *life)
{
    static char answer_room[1024];
    static char said_room[16384];
    struct things t = {0};
    struct strbuf text = {.ptr = answer_room, .capacity = sizeof answer_room};
    life->said = (struct strbuf){.ptr = said_room, .capacity = sizeof said_room};
    said_room[0] = '\0';
    life->status = HTH_OK;
    life->n_errors = life->n_warnings = 0;
    json_use_memory();
    enum hth_status opened = open_all(life, &t);
    enum hth_status answered = opened == HTH_OK ? answer(life, &t, &text) : opened;
    if (life->status == HTH_OK)
        life->status = answered;
    if (answered == HTH_OK && life->logits)
        compare(life, &t, &text);
    if (!life->logits) {
        if (answered != HTH_OK)
            fail_msg("an undisturbed life failed: %s", life->said.ptr);
        learn(life, &t, &text);
    }
    check_sentences(life);
    life->n_expert_uses = t.session ? hth_session_get_info(t.session).expert_uses : 0;
    if (life->closing)
        life->closing();
    hth_stream_destroy(t.stream);
    hth_sampler_destroy(t.sampler);
    hth_session_close(t.session);
    hth_free(t.ids);
    hth_free(t.chat);
    hth_free(t.back);
    hth_model_close(t.model);
}

void life_free(struct life *life)
{
    strbuf_free(&life->text);
    strbuf_free(&life->chat);
    mem_free(life->logits);
    life->logits = NULL;
}

uint64_t life_whole_bytes(struct life life)
{
    struct hth_model *model;
    assert_int_equal(open_model(&life, true, &model), HTH_OK);
    uint64_t bytes = hth_model_get_plan(model).gpu_bytes;
    hth_model_close(model);
    return bytes;
}

const char *life_two_gpus(void)
{
    static char devices[256];
    snprintf(devices, sizeof devices, "%s,%s", test_device(), test_device());
    return devices;
}

const char *life_model(void)
{
    return life_model_like("tiny-llama");
}

const char *life_model_like(const char *shape)
{
    static char path[1024];
    if (path[0])
        return path;
    struct synth_params params = {.shape = shape, .quant = "q4_k_m", .seed = 1};
    struct synth *synth;
    snprintf(path, sizeof path, "%s", test_temp_path("life.gguf"));
    assert_int_equal(synth_create(&synth, &params, test_log()), HTH_OK);
    assert_int_equal(gguf_writer_save(synth_writer(synth), path), HTH_OK);
    synth_destroy(synth);
    return path;
}
