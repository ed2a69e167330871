/* A whole program: ./example MODEL.gguf "Why is the sky blue?" prints the model's answer.
 *   cc example.c $(pkg-config --static --cflags --libs hearth) -o example */
#include <stdio.h>
#include "hearth/hearth.h"

static void say(void *user, enum hth_log_level level, const char *line)
{
    (void)user, (void)level, fprintf(stderr, "%s\n", line);
}

int main(int argc, char **argv)
{
    struct hth_model *model = NULL;
    struct hth_session *session = NULL;
    struct hth_sampler *sampler = NULL;
    struct hth_stream *stream = NULL;
    struct hth_message question = {"user", argc == 3 ? argv[2] : "Hello!"};
    struct hth_feed feed = {0};
    const char *piece = "";
    char *text = NULL;
    int32_t *ids = NULL, id;
    size_t len, count = 0;
    int failed = argc < 2 ||
                 hth_model_open(&model, argv[1], &(struct hth_model_options){.log = say}) ||
                 hth_session_open(&session, model, NULL) ||
                 hth_sampler_create(&sampler, model, NULL) || hth_stream_create(&stream, model) ||
                 hth_render_chat(model, &question, 1, true, &text, &len) ||
                 hth_tokenize(model, text, len, false, true, &ids, &count);
    for (feed.ids = ids, feed.count = (int)count; !failed; feed.ids = &id, feed.count = 1) {
        failed = hth_session_feed(session, &feed, 1) || hth_sample(sampler, session, 0, &id);
        if (failed || hth_token_is_end(model, id) || hth_session_length(session, 0) >= 128)
            break;
        failed = hth_stream_push(stream, id, &piece, &len) || fputs(piece, stdout) < 0;
    }
    failed = failed || hth_stream_end(stream, &piece, &len);
    puts(piece);
    hth_free(text), hth_free(ids), hth_stream_destroy(stream), hth_sampler_destroy(sampler);
    hth_session_close(session), hth_model_close(model);
    return failed;
}
