#include "logits.h"

#include <stdio.h>

#include "base/mem.h"
#include "engine/engine.h"
#include "gguf/gguf_write.h"

/* cost: 30 */

/* Weights stay quantized in device memory: what is allocated for them is at most 1.03 × the bytes
 * that the file has for them, for every block format that the shaders read, before and after
 * tokens are computed. */

static const double limit = 1.03;

/* Of all tensors of the file: in a made model every one is used. */
static uint64_t file_bytes(const struct gguf *gguf)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++)
        bytes += gguf_tensor_at(gguf, i)->size_bytes;
    return bytes;
}

static void compute_some_tokens(struct hth_model *model)
{
    static const int32_t ids[20] = {1, 2, 3, 5, 8, 13, 21, 34, 55, 89};
    struct hth_session *session;
    struct hth_session_options options = {.n_ctx = 64, .n_batch = 20};
    if (hth_session_open(&session, model, &options) != HTH_OK)
        fail_msg("%s", test_log_text());
    const struct hth_feed prompt = {.ids = ids, .count = 20}, token = {.ids = ids, .count = 1};
    /* Of blocks that are random bytes no numbers may come: only memory is looked at. */
    enum hth_status first = hth_session_feed(session, &prompt, 1);
    enum hth_status second = hth_session_feed(session, &token, 1);
    assert_true(first == HTH_OK || first == HTH_ERROR_FORMAT);
    assert_true(second == HTH_OK || second == HTH_ERROR_FORMAT);
    /* What the device holds now is weights, the session, and nothing decoded besides. */
    uint64_t all = vk_allocated_bytes(model->devices[1].vk, VK_MEMORY_DEVICE);
    assert_true(all > hth_session_get_info(session).bytes);
    uint64_t rest = all - hth_session_get_info(session).bytes;
    assert_true((double)rest <= limit * (double)file_bytes(model->gguf));
    hth_session_close(session);
}

static void check_file(const char *name, const char *device)
{
    struct hth_model *model = model_open(name, (struct hth_model_options){.device = device});
    struct hth_model_info info = hth_model_get_info(model);
    uint64_t file = file_bytes(model->gguf);
    uint64_t allocated = vk_allocated_bytes(model->devices[1].vk, VK_MEMORY_DEVICE);
    double share = (double)info.weight_bytes_resident / (double)file;
    printf("%s: %.1f MB in the file, %.4f × resident, %.4f × allocated\n", name, (double)file / 1e6,
           share, (double)allocated / (double)file);
    assert_true(info.on_gpu);
    assert_int_equal(info.weight_bytes_file, file);
    assert_true(info.weight_bytes_resident >= file); /* less would not be all of them */
    assert_true(allocated >= info.weight_bytes_resident);
    if (share > limit || (double)allocated > limit * (double)file)
        fail_msg("%s: more than %.2f × the file's bytes", name, limit);
    compute_some_tokens(model);
    hth_model_close(model);
}

static void check(const char *shape, const char *quant, const char *device)
{
    char name[96];
    snprintf(name, sizeof name, "synth:%s:%s", shape, quant);
    check_file(name, device);
}

static enum hth_status emit_zeros(void *user, const struct gguf_tensor *tensor,
                                  struct gguf_writer *writer)
{
    static const char zeros[1 << 16];
    (void)user;
    for (uint64_t left = tensor->size_bytes; left;) {
        size_t n = left < sizeof zeros ? (size_t)left : sizeof zeros;
        gguf_emit(writer, zeros, n);
        left -= n;
    }
    return HTH_OK;
}

/* A model of this shape whose matrices are all blocks of zeros: formats that hearth reads and does
 * not write. */
static const char *zeros_of(const char *shape, const struct dtype *type)
{
    char like[96];
    struct gguf_writer *writer;
    const char *path = test_temp_path("%s.gguf", type->name);
    snprintf(like, sizeof like, "synth:%s:q8_0", shape);
    struct hth_model *model = model_open(like, (struct hth_model_options){.device = "cpu"});
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    for (size_t i = 0; i < gguf_n_keys(model->gguf); i++)
        gguf_put_key(writer, gguf_key_at(model->gguf, i));
    for (size_t i = 0; i < gguf_n_tensors(model->gguf); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(model->gguf, i);
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)tensor->name.len, tensor->name.ptr);
        if (dtype_is_block(tensor->dtype))
            gguf_put_tensor(writer, name, type, tensor->n_dims, tensor->ne, NULL, emit_zeros, NULL);
        else
            gguf_put_tensor(writer, name, tensor->dtype, tensor->n_dims, tensor->ne, tensor->data,
                            NULL, NULL);
    }
    assert_int_equal(gguf_writer_save(writer, path), HTH_OK);
    gguf_writer_destroy(writer);
    hth_model_close(model);
    return path;
}

/* Checks each block format that shaders exist for and whose blocks divide rows of `width`, those
 * that hearth cannot write only `with_zeros`; there are at least `n_least`. */
static void check_formats(const char *shape, uint32_t width, bool with_zeros, int n_least)
{
    const char *device = test_device();
    int n = 0;
    for (size_t i = 0; dtype_at(i); i++) {
        const struct dtype *type = dtype_at(i);
        char blob[64];
        snprintf(blob, sizeof blob, "matvec_%s", type->shader ? type->shader : "");
        if (!dtype_is_block(type) || !(type->encode || with_zeros) || width % type->block_elems ||
            !shader_blob_find(blob))
            continue;
        if (type->encode)
            check(shape, type->name, device);
        else
            check_file(zeros_of(shape, type), device);
        n++;
    }
    printf("%d formats\n", n);
    assert_true(n >= n_least);
}

TEST(dense)
{
    check_formats("smollm2-135m", 576, false, 7);
}

TEST(experts)
{
    check_formats("tiny-moe", 512, true, 23);
}

/* A mix as people use it: embeddings, head and some matrices in other formats. */
TEST(mix)
{
    check("tiny-moe", "q4_k_m", test_device());
}

/* On the CPU weights are read where the file is mapped. */
TEST(cpu)
{
    struct hth_model *model =
        model_open("synth:tiny-moe:q4_k", (struct hth_model_options){.device = "cpu"});
    struct hth_model_info info = hth_model_get_info(model);
    assert_int_equal(info.weight_bytes_resident, info.weight_bytes_file);
    assert_int_equal(info.weight_bytes_file, file_bytes(model->gguf));
    hth_model_close(model);
}
