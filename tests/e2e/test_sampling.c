/* Options of sampling, as a user gives them. */
#include "spawn.h"

#include <stdio.h>
#include <stdlib.h>

#include "harness/changed.h"

static void expect_usage_error(const char *const *args, const char *text)
{
    struct spawn s = {0};
    spawn_run(&s, args);
    spawn_assert_refused(&s, 2, text);
    spawn_free(&s);
}

/* There is no such model: options are looked at first. */
#define REFUSED(text, ...)                                                                         \
    expect_usage_error((const char *const[]){"run", "none.gguf", "-p", "x", __VA_ARGS__, NULL},    \
                       text)

TEST(samplers_that_there_are_not)
{
    REFUSED("no sampler \"top_kk\": did you mean top_k?", "--samplers", "penalties;top_kk");
    REFUSED("no sampler \"temprature\": did you mean temperature?", "--samplers=temprature");
    REFUSED("no sampler \"quux\" (there are penalties;dry;", "--samplers", "quux");
    REFUSED("no sampler has the letter 'z'", "--sampler-seq", "kz");
    REFUSED("leave one out", "--sampler-seq", "k", "--samplers", "top_k");
    expect_usage_error((const char *const[]){"chat", "none.gguf", "--samplers", "tpo_k", NULL},
                       "did you mean top_k?");
}

TEST(numbers_out_of_range)
{
    REFUSED("--typical wants a number from 0 to 1", "--typical", "1.1");
    REFUSED("--top-nsigma wants a number from -1", "--top-nsigma", "-2");
    REFUSED("--xtc-probability wants a number from 0 to 1", "--xtc-probability", "2");
    REFUSED("--xtc-threshold wants a number from 0.001 to 1", "--xtc-threshold", "0");
    REFUSED("--dry-multiplier wants a number from 0", "--dry-multiplier", "-1");
    REFUSED("--dry-base wants a number from 1", "--dry-base", "0.5");
    REFUSED("--dry-allowed-length wants a number from 1", "--dry-allowed-length", "0");
    REFUSED("--dry-penalty-last-n wants a whole number", "--dry-penalty-last-n", "1.5");
    REFUSED("--mirostat wants one of 0|2", "--mirostat", "1");
    REFUSED("--mirostat-lr wants a number", "--mirostat-lr", "fast");
    REFUSED("--mirostat-ent wants a number from 0.01", "--mirostat-ent", "0");
    REFUSED("--frequency-penalty wants a number", "--frequency-penalty", "nan");
    REFUSED("--presence-penalty wants a number from -100 to 100", "--presence-penalty", "1e3");
    REFUSED("--dynatemp-range wants a number from 0", "--dynatemp-range", "-1");
    REFUSED("--dynatemp-exp wants a number from 0.01", "--dynatemp-exp", "0");
    REFUSED("--repeat-last-n wants a number from -1", "--repeat-last-n", "-2");
    REFUSED("a sequence breaker of DRY has 1 to 64 bytes", "--dry-sequence-breaker", "");
    REFUSED("did you mean --typical?", "--typical-p", "0.5");
}

TEST(biases_that_are_none)
{
    const char *const wrong[] = {"12",     "+1",    "12*1",          "12+",      "12+inf",
                                 "a-1",    "12-1x", "-3-1",          "12-nan",   " 12+1",
                                 "12+0x1", "12++1", "99999999999+1", "12+1e300", ""};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        REFUSED("--logit-bias wants a token's number", "--logit-bias", wrong[i]);
    struct spawn s = {0};
    RUN(&s, "run", spawn_tiny_model(), "-p", "x", "--device", "cpu", "--logit-bias", "9999999+1");
    spawn_assert_refused(&s, 2, "a bias is of token 9999999, but the vocabulary has 0 to ");
    spawn_free(&s);
}

/* The answer to one prompt with these options. */
static void answer(struct spawn *s, const char *const *options)
{
    const char *args[40] = {
        "run", spawn_tiny_model(), "--device", "cpu", "-p", "the same", "--raw", "-n", "40"};
    size_t n = 9;
    for (size_t i = 0; options[i]; i++)
        args[n++] = options[i];
    spawn_run(s, args);
    assert_code(s, 0);
}

#define ANSWER(s, ...) answer(s, (const char *const[]){__VA_ARGS__, NULL})

/* Each option reaches the sampler: the answer is another one. */
TEST(each_option_changes_the_answer)
{
    const struct {
        const char *options[12];
    } cases[] = {
        {{"--temp", "1.2"}},
        {{"--top-k", "3"}},
        {{"--top-p", "0.2"}},
        {{"--min-p", "0.5"}},
        {{"--typical", "0.1"}},
        {{"--top-nsigma", "0.5"}},
        {{"--xtc-probability", "1", "--xtc-threshold", "0.001"}},
        {{"--dynatemp-range", "0.9", "--dynatemp-exp", "2"}},
        {{"--repeat-penalty", "30"}},
        {{"--presence-penalty", "50"}},
        {{"--frequency-penalty", "50"}},
        {{"--dry-multiplier", "50", "--dry-allowed-length", "1", "--top-k", "2",
          "--dry-sequence-breaker", "none"}},
        {{"--mirostat", "2", "--mirostat-ent", "1", "--mirostat-lr", "1"}},
        {{"--seed", "2"}},
    };
    struct spawn plain = {0};
    ANSWER(&plain, "--temp", "1", "--seed", "1");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *options[16] = {"--temp", "1", "--seed", "1"};
        struct spawn other = {0};
        for (size_t k = 0; cases[i].options[k]; k++)
            options[4 + k] = cases[i].options[k];
        answer(&other, options);
        if (strcmp(other.out.ptr, plain.out.ptr) == 0)
            fail_msg("%s %s changes nothing", options[4], options[5]);
        spawn_free(&other);
    }
    spawn_free(&plain);
}

TEST(what_is_off_changes_nothing)
{
    struct spawn plain = {0}, off = {0};
    ANSWER(&plain, "--temp", "1", "--seed", "1");
    ANSWER(&off, "--temp", "1", "--seed", "1", "--repeat-penalty", "5", "--repeat-last-n", "0",
           "--dry-multiplier", "5", "--dry-penalty-last-n", "0", "--xtc-probability", "1",
           "--xtc-threshold", "0.6", "--samplers", "temperature;xtc;penalties;dry", "--top-k", "1");
    assert_string_equal(off.out.ptr, plain.out.ptr);
    spawn_free(&off);
    ANSWER(&off, "--temp", "1", "--seed", "1", "--top-k", "1", "--sampler-seq", "t");
    assert_string_equal(off.out.ptr, plain.out.ptr);
    spawn_free(&off);
    spawn_free(&plain);
}

/* Biases of one token add up, −inf is the last word, and "none" takes back what was said. */
TEST(biases_may_come_several_times)
{
    struct spawn plain = {0}, s = {0};
    ANSWER(&plain, "-n", "1");
    ANSWER(&s, "-n", "1", "--logit-bias", "7+1e6");
    assert_true(strcmp(s.out.ptr, plain.out.ptr) != 0);
    spawn_free(&s);
    ANSWER(&s, "-n", "1", "--logit-bias", "7+1e6", "--logit-bias", "7-1e6");
    assert_string_equal(s.out.ptr, plain.out.ptr);
    spawn_free(&s);
    ANSWER(&s, "-n", "1", "--logit-bias", "7+1e6", "--logit-bias", "7-inf");
    assert_string_equal(s.out.ptr, plain.out.ptr);
    spawn_free(&s);
    ANSWER(&s, "-n", "1", "--logit-bias", "7+1e6", "--logit-bias", "none", "--logit-bias", "9-1");
    assert_string_equal(s.out.ptr, plain.out.ptr);
    spawn_free(&s);
    spawn_free(&plain);
}

/* Penalties see the prompt: a token that would surely come does not when the prompt has it. */
TEST(penalties_see_the_prompt)
{
    struct spawn x = {0}, y = {0}, ids = {0};
    char bias[32];
    RUN(&ids, "tokenize", spawn_tiny_model(), "--no-bos", "-f", spawn_file("x", "x", 1));
    const char *last = strrchr(ids.out.ptr, ' '); /* after one for the space in front */
    snprintf(bias, sizeof bias, "%d+90", atoi(last ? last + 1 : ids.out.ptr));
    const char *args[] = {
        "run", spawn_tiny_model(),   "--device", "cpu",          "--raw", "-n", "1", "-p",
        "a",   "--presence-penalty", "100",      "--logit-bias", bias,    NULL};
    spawn_run(&x, args);
    assert_code(&x, 0);
    assert_string_equal(x.out.ptr, "x\n");
    args[8] = "x";
    spawn_run(&y, args);
    assert_code(&y, 0);
    assert_true(strcmp(y.out.ptr, "x\n") != 0);
    spawn_free(&x);
    spawn_free(&y);
    spawn_free(&ids);
}

/* In a chat a setting that no sampler can do is not set, and stands in no other's way. */
TEST(a_chat_keeps_settings_that_work)
{
    struct spawn s = {.input = STR("/set samplers top_kk\n/set top-k 3\n/set logit-bias 3\n"
                                   "/set logit-bias 3-inf\n/set logit-bias none\n/set samplers\n")};
    RUN(&s, "chat", spawn_tiny_model(), "--device", "cpu");
    const char *error = strstr(s.err.ptr, "did you mean top_k?");
    assert_non_null(error);
    assert_null(strstr(error + 1, "did you mean"));
    assert_contains(s.err.ptr, "top-k 3");
    assert_contains(s.err.ptr, "--logit-bias wants");
    assert_contains(s.err.ptr, "logit-bias 3-inf");
    assert_contains(s.err.ptr, "samplers -");
    spawn_free(&s);
}

/* --- seeds ------------------------------------------------------------------------------------ */

/* The seed that the last line tells. */
static const char *told_seed(const struct spawn *s)
{
    static char seed[32];
    const char *at = strstr(spawn_last_line(s), ", seed ");
    if (!at || sscanf(at, ", seed %31[0-9]", seed) != 1)
        fail_msg("no seed in: %s", spawn_last_line(s));
    return seed;
}

TEST(a_random_seed_is_told_and_can_be_given_again)
{
    struct spawn random = {0}, another = {0}, again = {0};
    char seed[32];
    ANSWER(&random, "--temp", "5", "--seed", "-1");
    ANSWER(&another, "--temp", "5");
    snprintf(seed, sizeof seed, "%s", told_seed(&random));
    assert_string_not_equal(told_seed(&another), seed);
    assert_string_not_equal(another.out.ptr, random.out.ptr);
    ANSWER(&again, "--temp", "5", "--seed", seed);
    assert_string_equal(again.out.ptr, random.out.ptr);
    assert_string_equal(told_seed(&again), seed);
    spawn_free(&random);
    spawn_free(&another);
    spawn_free(&again);
}

TEST(a_seed_that_plays_no_part_is_not_told)
{
    struct spawn s = {0};
    ANSWER(&s, "--seed", "-1");
    assert_null(strstr(s.err.ptr, "seed"));
    spawn_free(&s);
}

TEST(a_chat_tells_its_seed)
{
    struct spawn s = {.input = STR("/set seed\n/set seed -1\n/set seed 7\n/set seed\n")};
    RUN(&s, "chat", spawn_tiny_model(), "--device", "cpu", "--seed", "-1");
    assert_code(&s, 0);
    unsigned long first, second;
    assert_int_equal(sscanf(s.err.ptr, "hearth: seed %lu\nhearth: seed %lu", &first, &second), 2);
    assert_true(first != second);
    assert_contains(s.err.ptr, "hearth: seed 7\nhearth: seed 7\n");
    spawn_free(&s);
}

/* --- samplers that are set and not asked ------------------------------------------------------ */

TEST(samplers_left_out_of_the_chain_are_a_warning)
{
    struct spawn s = {0};
    ANSWER(&s, "--temp", "0.5", "--dry-multiplier", "1", "--samplers", "top_k;temperature");
    assert_contains(s.err.ptr,
                    "warning: sampling: dry_multiplier is set, but dry ('d') is not among "
                    "the samplers \"top_k;temperature\"\n");
    assert_null(strstr(s.err.ptr, "temp is set"));
    spawn_free(&s);
    ANSWER(&s, "--temp", "0.5", "--top-k", "4", "--sampler-seq", "pm");
    assert_contains(s.err.ptr,
                    "temp is set, but temperature ('t') is not among the samplers \"pm\"");
    assert_contains(s.err.ptr, "top_k is set, but top_k ('k')");
    spawn_free(&s);
    ANSWER(&s, "--mirostat", "2", "--top-k", "4", "--samplers", "dry", "--temp", "1");
    assert_null(strstr(s.err.ptr, "warning")); /* mirostat works in its place */
    spawn_free(&s);
    ANSWER(&s, "--temp", "0.5", "--top-k", "4", "--dry-multiplier", "1");
    assert_null(strstr(s.err.ptr, "warning"));
    spawn_free(&s);
}

/* --- what the file advises -------------------------------------------------------------------- */

static const char *advising_model(const struct changed_key *keys)
{
    const char *path = spawn_temp("advising.gguf");
    changed_model(spawn_tiny_model(), path, keys);
    return path;
}

static const struct changed_key advice[] = {
    {"general.sampling.temp", NULL, 0.7f},
    {"general.sampling.top_k", NULL, 30},
    {"general.sampling.sequence", "top_k;temperature", 0},
    {0},
};

static void ask(struct spawn *s, const char *model, const char *const *options)
{
    const char *args[24] = {"run",   model, "--device", "cpu",    "-p", "x",
                            "--raw", "-n",  "24",       "--seed", "5"};
    for (size_t i = 0; options[i]; i++)
        args[11 + i] = options[i];
    spawn_run(s, args);
    assert_code(s, 0);
}

#define ASK(s, model, ...) ask(s, model, (const char *const[]){__VA_ARGS__, NULL})

TEST(the_file_advises_and_options_win)
{
    const char *model = advising_model(advice);
    struct spawn told = {0}, advised = {0}, other = {0}, same = {0};
    ASK(&told, spawn_tiny_model(), "--temp", "0.7", "--top-k", "30");
    ASK(&advised, model, "--verbose");
    assert_string_equal(advised.out.ptr, told.out.ptr);
    assert_contains(advised.err.ptr,
                    "as the model's file advises: --temp 0.7 --top-k 30 --samplers "
                    "top_k;temperature\n");
    assert_null(strstr(told.err.ptr, "advises"));
    ASK(&other, model, "--temp", "0", "--verbose", "--sampler-seq", "p");
    ASK(&same, spawn_tiny_model(), "--temp", "0");
    assert_string_equal(other.out.ptr, same.out.ptr);
    assert_contains(other.err.ptr, "advises: --top-k 30");
    spawn_free(&told);
    spawn_free(&advised);
    spawn_free(&other);
    spawn_free(&same);
}

TEST(an_option_without_a_place_in_the_files_chain_is_a_warning)
{
    struct spawn s = {0};
    ASK(&s, advising_model(advice), "--min-p", "0.1");
    assert_contains(s.err.ptr, "min_p is set, but min_p ('m') is not among the samplers "
                               "\"top_k;temperature\"");
    spawn_free(&s);
}

TEST(set_and_inspect_show_what_the_file_advises)
{
    const char *model = advising_model(advice);
    struct spawn inspect = {0}, chat = {.input = STR("/set top-k 5\n/set\n/set sampler-seq kt\n")};
    RUN(&inspect, "inspect", model);
    assert_contains(inspect.out.ptr, "sampling, if run and chat are told nothing else: --temp 0.7 "
                                     "--top-k 30 --samplers top_k;temperature\n");
    RUN(&chat, "chat", model, "--device", "cpu");
    assert_code(&chat, 0);
    assert_contains(chat.err.ptr, "  temp               0.7 (the model's file)\n");
    assert_contains(chat.err.ptr, "  top-k              5\n");
    assert_contains(chat.err.ptr, "sampler-seq kt");
    spawn_free(&inspect);
    spawn_free(&chat);
}

TEST(absurd_advice_is_a_warning)
{
    static const struct changed_key keys[] = {
        {"general.sampling.temp", NULL, -3}, {"general.sampling.sequence", "\033[2Jk", 0}, {0}};
    struct spawn s = {0}, plain = {0};
    ASK(&s, advising_model(keys), "--temp", "0");
    ASK(&plain, spawn_tiny_model(), "--temp", "0");
    assert_contains(s.err.ptr, "warning: ");
    assert_contains(s.err.ptr, "general.sampling.temp is -3, and is ignored");
    assert_contains(s.err.ptr,
                    "general.sampling.sequence is ignored: sampling: there is no sampler");
    assert_null(strchr(s.err.ptr, '\033'));
    assert_string_equal(s.out.ptr, plain.out.ptr);
    spawn_free(&s);
    spawn_free(&plain);
}
