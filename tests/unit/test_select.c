#include "gpu/exec.h"
#include "harness/invented_gpu.h"
#include "products.h"

/* Which row is the default, on invented devices: a table. */

static const struct vk_caps plain = {INVENTED_GPU};

struct device {
    bool fp16, int_dot_any, int_dot;
    uint32_t subgroup_min;
    bool software;
    uint32_t matrix; /* side of cooperative matrices, of halves into floats; 0: there are none */
    uint32_t bytes;  /* and the third side of those of bytes */
    bool bfloat16;   /* there are such of bfloat16, too */
};

/* The row for a product in `env`. */
static const char *selected(const struct row_env *env, const struct dtype *type, int n_tokens)
{
    struct weight weight = {.name = "w", .dtype = type, .ne = {512, 96, 1, 1}};
    struct graph g;
    graph_init(&g, n_tokens, 1, test_log());
    const int64_t ne[] = {512, n_tokens, 1, 1};
    struct tensor *x = graph_activation(&g, "x", &dtype_f32, ne, ROWS_TOKENS);
    assert_non_null(op_matmul(&g, "y", graph_weight(&g, &weight), x, NULL));
    struct row_choice choice;
    const struct row *row = row_select(env, g.ops[0], &choice);
    graph_free(&g);
    return row ? row->name : "none";
}

static struct vk_caps caps_of(const struct device *device)
{
    struct vk_caps caps = plain;
    caps.fp16 = device->fp16;
    caps.int_dot_any = device->int_dot_any;
    caps.int_dot = device->int_dot;
    caps.subgroup_min = device->subgroup_min;
    caps.kind = device->software ? VK_KIND_SOFTWARE : VK_KIND_DISCRETE;
    uint32_t side = device->matrix;
    caps.n_matrices = side ? 1 : 0;
    caps.matrices[0] = (struct vk_matrix){side, side, side, "f16", "f16", "f32", "f32", false};
    if (device->bytes)
        caps.matrices[caps.n_matrices++] =
            (struct vk_matrix){side, side, device->bytes, "s8", "s8", "s32", "s32", false};
    if (device->bfloat16)
        caps.matrices[caps.n_matrices++] =
            (struct vk_matrix){side, side, side, "bf16", "bf16", "f32", "f32", false};
    caps.bf16_matrices = device->bfloat16;
    caps.subgroup_control = side > 0;
    return caps;
}

static const char *chosen(const struct device *device, const struct dtype *type, int n_tokens,
                          bool float_only)
{
    struct vk_caps caps = caps_of(device);
    struct row_env env = {.caps = &caps, .n_seqs = 1, .float_only = float_only};
    return selected(&env, type, n_tokens);
}

static void check(struct device device, const struct dtype *type, int n_tokens, const char *row)
{
    assert_string_equal(chosen(&device, type, n_tokens, false), row);
}

static const struct device none = {false, false, false, 32, false, 0, 0, false},
                           emulated = {true, true, false, 32, false, 0, 0, false},
                           fast = {true, true, true, 32, false, 0, 0, false},
                           narrow = {true, true, true, 8, false, 0, 0, false},
                           no_half = {false, true, true, 32, false, 0, 0, false},
                           cpu = {true, true, false, 8, true, 0, 0, false},
                           with_matrices = {true, true, true, 32, false, 16, 0, false},
                           narrow_with_matrices = {true, true, true, 8, false, 8, 0, false},
                           emulated_matrices = {true, true, false, 8, true, 8, 8, false},
                           with_bytes = {true, true, true, 32, false, 16, 32, false},
                           with_short_bytes = {true, true, true, 32, false, 16, 16, false},
                           narrow_with_bytes = {true, true, true, 8, false, 8, 32, false};

TEST(few_columns_are_matvecs)
{
    check(none, &dtype_q8_0, 1, "matvec_f32");
    check(fast, &dtype_q8_0, 1, "matvec_f32");
    check(fast, &dtype_q8_0, 16, "matvec_f32");
    check(fast, &dtype_f16, 3, "matvec_f32");
    check(cpu, &dtype_q8_0, 1, "matvec_lanes_f32");
}

TEST(tiles_take_integers_where_they_are_fast)
{
    check(none, &dtype_q8_0, 64, "matmul_f32");
    check(emulated, &dtype_q8_0, 64, "matmul_f32");
    check(fast, &dtype_q8_0, 64, "matmul_int");
    check(no_half, &dtype_q8_0, 64, "matmul_int");
    check(narrow, &dtype_q8_0, 64, "matmul_int");
}

/* Where there are no registers to share; x is read by address, which not every device knows. */
TEST(processors_take_rows_of_a_lanes_own)
{
    check(cpu, &dtype_q8_0, 64, "matmul_lanes_f32");
    check(cpu, &dtype_f32, 64, "matmul_lanes_f32");
    struct vk_caps caps = caps_of(&cpu);
    const struct row_env env = {.caps = &caps, .n_seqs = 1};
    caps.addresses = false;
    assert_string_equal(selected(&env, &dtype_q8_0, 64), "matmul_f32");
}

TEST(formats_without_integers_take_halves_where_they_are_fast)
{
    check(fast, &dtype_f16, 64, "matmul_f16");
    check(no_half, &dtype_f16, 64, "matmul_f32");
    check(narrow, &dtype_f16, 64, "matmul_f32");
    check(emulated, &dtype_f16, 64, "matmul_f32");
}

/* All but plain floats: a router would choose other experts for a prompt than token by token. */
TEST(tiles_take_matrices_where_they_are_fast)
{
    check(with_matrices, &dtype_q8_0, 64, "matmul_coop_f16");
    check(with_matrices, &dtype_f16, 64, "matmul_coop_f16");
    check(with_matrices, &dtype_bf16, 64, "matmul_coop_f16");
    check(with_matrices, &dtype_f32, 64, "matmul_f32");
    check(with_matrices, &dtype_q8_0, 16, "matvec_f32");
    check(narrow_with_matrices, &dtype_q8_0, 64, "matmul_coop_f16");
    check(narrow_with_matrices, &dtype_f16, 64, "matmul_coop_f16");
    check(emulated_matrices, &dtype_q8_0, 64, "matmul_lanes_f32");
    check(emulated_matrices, &dtype_f16, 64, "matmul_lanes_f32");
}

/* Where an instruction makes more products of them than of halves, and scales do not change within
 * one: those of Q6_K do after 16 columns. */
TEST(tiles_take_matrices_of_bytes_where_they_are_faster)
{
    check(with_bytes, &dtype_q8_0, 64, "matmul_coop_s8");
    check(with_bytes, &dtype_q4_k, 64, "matmul_coop_s8");
    check(with_bytes, &dtype_q6_k, 64, "matmul_coop_f16");
    check(with_bytes, &dtype_f16, 64, "matmul_coop_f16");
    check(with_bytes, &dtype_bf16, 64, "matmul_coop_f16");
    check(with_bytes, &dtype_f32, 64, "matmul_f32");
    check(with_bytes, &dtype_q8_0, 16, "matvec_f32");
    check(narrow_with_bytes, &dtype_q8_0, 64, "matmul_coop_s8");
    check(narrow_with_bytes, &dtype_q6_k, 64, "matmul_coop_f16");
    check(with_short_bytes, &dtype_q8_0, 64, "matmul_coop_f16");
    check(emulated_matrices, &dtype_q8_0, 64, "matmul_lanes_f32");
    struct device slow = with_bytes, without_halves = with_short_bytes;
    slow.int_dot = false;
    check(slow, &dtype_q8_0, 64, "matmul_f32");
    without_halves.fp16 = false;
    check(without_halves, &dtype_q8_0, 64, "matmul_coop_s8");
    check(without_halves, &dtype_q6_k, 64, "matmul_coop_s8");
}

/* Such weights as they are; where no GLSL compiler knew bfloat16, there is no such kernel. */
TEST(bfloat16_takes_its_own_matrices)
{
    struct device device = with_bytes;
    device.bfloat16 = true;
    bool built = shader_blob_find("matmul_coop_bf16_bf16") != NULL;
    check(device, &dtype_bf16, 64, built ? "matmul_coop_bf16" : "matmul_coop_f16");
    check(device, &dtype_f16, 64, "matmul_coop_f16");
    check(device, &dtype_q8_0, 64, "matmul_coop_s8");
    device.int_dot = false; /* matrices that are emulated, perhaps */
    check(device, &dtype_bf16, 64, "matmul_f32");
}

TEST(float_math_is_float_math)
{
    assert_string_equal(chosen(&with_matrices, &dtype_q8_0, 64, true), "matmul_f32");
    assert_string_equal(chosen(&with_matrices, &dtype_f16, 64, true), "matmul_f32");
    assert_string_equal(chosen(&with_bytes, &dtype_q8_0, 64, true), "matmul_f32");
    assert_string_equal(chosen(&fast, &dtype_q8_0, 64, true), "matmul_f32");
    assert_string_equal(chosen(&fast, &dtype_f16, 64, true), "matmul_f32");
}

/* --- rows that are wrong ---------------------------------------------------------------------- */

static const char *chosen_with(const struct row_bars *bars, const char *forced, int n_tokens,
                               bool plain_rows)
{
    struct row_env env = {
        .caps = &plain, .n_seqs = 1, .bars = bars, .forced = forced, .plain = plain_rows};
    return selected(&env, &dtype_q4_0, n_tokens);
}

TEST(the_next_row_takes_the_place_of_a_wrong_one)
{
    struct row_bars bars = {0};
    assert_string_equal(chosen_with(&bars, NULL, 1, false), "matvec_f32");
    assert_true(row_bars_add(&bars, "matvec_f32", "matvec_q8_0")); /* another format */
    assert_string_equal(chosen_with(&bars, NULL, 1, false), "matvec_f32");
    assert_true(row_bars_add(&bars, "matvec_f32", "matvec_q4_0"));
    assert_true(row_bars_add(&bars, "matvec_f32", "matvec_q4_0"));
    assert_int_equal(bars.n, 2);
    assert_string_equal(chosen_with(&bars, NULL, 1, false), "matmul_f32");
    assert_string_equal(chosen_with(&bars, "matvec_f32", 1, false), "matvec_f32");
    assert_true(row_bars_add(&bars, "matmul_f32", "matmul_f32_q4_0"));
    assert_string_equal(chosen_with(&bars, NULL, 64, false), "matmul_lanes_f32");
    assert_true(row_bars_add(&bars, "matmul_lanes_f32", "matmul_lanes_q4_0"));
    assert_string_equal(chosen_with(&bars, NULL, 64, false), "none");
    assert_string_equal(chosen_with(&bars, NULL, 1, false), "matvec_lanes_f32");
    row_bars_free(&bars);
}

/* As if those before were barred; the last stays. */
TEST(rows_that_are_passed_over)
{
    static const char *const few[] = {"matvec_f32", "matmul_f32", "matmul_f32"};
    static const char *const many[] = {"matmul_coop_f16", "matmul_int", "matmul_f16", "matmul_f32",
                                       "matmul_f32"};
    struct row_env env = {.caps = &plain, .n_seqs = 1};
    for (int i = 0; i < (int)ARRAY_LEN(few); i++) {
        env.passed_over = i;
        assert_string_equal(selected(&env, &dtype_q8_0, 1), few[i]);
    }
    struct vk_caps caps = caps_of(&with_matrices);
    env.caps = &caps;
    for (int i = 0; i < (int)ARRAY_LEN(many); i++) {
        env.passed_over = i;
        assert_string_equal(selected(&env, &dtype_q8_0, 64), many[i]);
    }
}

TEST(plain_rows_are_the_last_in_fp32)
{
    assert_string_equal(chosen_with(NULL, NULL, 1, true), "matmul_f32");
    assert_string_equal(chosen_with(NULL, NULL, 64, true), "matmul_f32");
    assert_string_equal(chosen_with(NULL, "matvec_f32", 1, true), "matvec_f32");
}

/* Of all sizes of batches together: each kernel is compiled and checked. */
TEST(attention_has_few_kernels)
{
    enum { MOST_KERNELS = 8, ENOUGH = 512 };
    struct row_choice choices[MOST_KERNELS], choice;
    int n = 0;
    struct vk_caps caps = {INVENTED_GPU};
    for (int n_tokens = 1; n_tokens <= 512; n_tokens = gpu_bucket(n_tokens + 1)) {
        struct product p;
        product_begin_attention(&p, &dtype_f16, &(struct attends){32, 8, 64, 64, 0}, n_tokens);
        assert_non_null(row_select(&(struct row_env){.caps = &caps}, p.op, &choice));
        product_end(&p);
        uint32_t splits = choice_get(&choice, "SPLITS", 0);
        if (n_tokens <= 16)
            assert_true(splits == 32 || splits * 8 * (uint32_t)n_tokens >= ENOUGH);
        int i = 0;
        while (i < n && !row_choice_equal(&choices[i], &choice))
            i++;
        assert_true(i < MOST_KERNELS);
        choices[i] = choice;
        n = i == n ? n + 1 : n;
    }
}
