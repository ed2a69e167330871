/* The list of types, one or two blocks of each format with what they decode to, and the values that
 * formats must get right exactly. Larger proofs: golden/test_quant.c, prop/test_quant.c. */
#include "harness/test.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/half.h"
#include "quant/dtype.h"

static const struct fact {
    const char *name;
    uint32_t id, elems, bytes;
} facts[] = {
    {"F32", 0, 1, 4},         {"F16", 1, 1, 2},         {"Q4_0", 2, 32, 18},
    {"Q4_1", 3, 32, 20},      {"Q5_0", 6, 32, 22},      {"Q5_1", 7, 32, 24},
    {"Q8_0", 8, 32, 34},      {"Q2_K", 10, 256, 84},    {"Q3_K", 11, 256, 110},
    {"Q4_K", 12, 256, 144},   {"Q5_K", 13, 256, 176},   {"Q6_K", 14, 256, 210},
    {"IQ2_XXS", 16, 256, 66}, {"IQ2_XS", 17, 256, 74},  {"IQ3_XXS", 18, 256, 98},
    {"IQ1_S", 19, 256, 50},   {"IQ4_NL", 20, 32, 18},   {"IQ3_S", 21, 256, 110},
    {"IQ2_S", 22, 256, 82},   {"IQ4_XS", 23, 256, 136}, {"I8", 24, 1, 1},
    {"I16", 25, 1, 2},        {"I32", 26, 1, 4},        {"I64", 27, 1, 8},
    {"F64", 28, 1, 8},        {"IQ1_M", 29, 256, 56},   {"BF16", 30, 1, 2},
    {"TQ1_0", 34, 256, 54},   {"TQ2_0", 35, 256, 66},   {"MXFP4", 39, 32, 17},
    {"NVFP4", 40, 64, 36},
};

TEST(facts_of_the_types)
{
    for (size_t i = 0; i < ARRAY_LEN(facts); i++) {
        const struct dtype *type = dtype_by_name(str_of(facts[i].name));
        if (!type)
            fail_msg("%s is not known", facts[i].name);
        assert_string_equal(type->name, facts[i].name);
        assert_int_equal(type->gguf_id, facts[i].id);
        assert_int_equal(type->block_elems, facts[i].elems);
        assert_int_equal(type->block_bytes, facts[i].bytes);
        assert_ptr_equal(dtype_by_id(facts[i].id), type);
        assert_int_equal(dtype_is_block(type), facts[i].elems > 1);
        assert_int_equal(dtype_row_bytes(type, 512), 512 / facts[i].elems * facts[i].bytes);
        assert_int_equal(type->decode == NULL, type->is_integer);
        if (type->is_integer)
            assert_true(!type->shader && !type->encode && !type->to_int);
    }
}

TEST(list_is_in_order_of_ids)
{
    size_t n = 0;
    for (; dtype_at(n); n++) {
        if (n > 0)
            assert_true(dtype_at(n - 1)->gguf_id < dtype_at(n)->gguf_id);
        assert_ptr_equal(dtype_by_id(dtype_at(n)->gguf_id), dtype_at(n));
        for (size_t i = 0; dtype_at(i); i++) /* shaders are found by stem: no two share one */
            assert_true(i == n || !dtype_at(n)->shader || !dtype_at(i)->shader ||
                        strcmp(dtype_at(n)->shader, dtype_at(i)->shader) != 0);
    }
    assert_int_equal(n, ARRAY_LEN(facts)); /* a type without facts is not checked */
    assert_null(dtype_at(n));
    assert_null(dtype_at(n + 1000));
    assert_ptr_equal(dtype_at(0), &dtype_f32);
    assert_ptr_equal(dtype_at(1), &dtype_f16);
}

TEST(names_do_not_mind_case)
{
    assert_ptr_equal(dtype_by_name(STR("q8_0")), &dtype_q8_0);
    assert_ptr_equal(dtype_by_name(STR("Q8_0")), &dtype_q8_0);
    assert_ptr_equal(dtype_by_name(STR("i32")), &dtype_i32);
    assert_null(dtype_by_name(STR("Q8")));
    assert_null(dtype_by_name(STR("Q8_00")));
    assert_null(dtype_by_name(STR("")));
    assert_null(dtype_by_id(4)); /* removed from the format long ago */
    assert_null(dtype_by_id(0xffffffff));
}

/* One block of each format, or as many as give 64 weights, with weights 0, 1, n / 2 + 1 and n − 1
 * of what they decode to, and the FNV-1a hash of all of it as little-endian floats (−0 as +0). */
static const struct vector {
    const char *name, *blocks;
    size_t n;
    float some[4];
    uint64_t hash;
} vectors[] = {
    {"F16",
     "1d3d983d33bc6534d7b972bca53dcdb50ab7053f0fbc7cbe49b3ac40dcbc7a39083ce6b5ea3afdbd"
     "e7338139132c7839303d6f3f97b903bb91a1bf39b8b3843e4a31debd27363c364fb5d1b265bd2e3e"
     "0ebc7c3bd6ba613ade357bad0bb7033ea2b4fa3826bf973c8633f1b94d313abc3e384bbb94b89d37"
     "342fc6b68cbedf3c",
     64,
     {0x1.474p+0, 0x1.66p+0, -0x1.778p+0, 0x1.37cp+0},
     0x97132b6375c6fbe9},
    {"BF16",
     "a43fb33f86bf8d3e3bbf8ebfb53fbabee1bee13f82bfcfbf69be16409bbf2f3f813fbdbe5d3fc0bf"
     "7d3e303f823d2f3fa63fee3f33bf60bf32bc383f77bed13f293ebcbfc53ec83eaabe5abeadbfc63f"
     "82bf6f3f5bbf4c3fbc3eafbde1bec03f94be1f3fe5bf933f713e3ebf2a3e87bf083f69bf13bff43e"
     "e63dd9bed2bf9c3f",
     64,
     {0x1.48p+0, 0x1.66p+0, -0x1.78p+0, 0x1.38p+0},
     0xcad6fa14545ea071},
    {"Q4_0",
     "49b554945bd77a6b84694923abbd89619c36df3279b10ada9657923fa34c54ac9a6806ef",
     64,
     {0x1.524p+0, 0x1.524p+0, -0x1.80c8p+0, 0x1.49dp+0},
     0x0d00de3523a6a8f9},
    {"Q4_1",
     "27343dbeab5b920773926b95b4dd3230659f51c9f03208bf79b10ada9757923fb34c54ac9a6816ef",
     64,
     {0x1.4b9p+0, 0x1.4b9p+0, -0x1.8a8p+0, 0x1.47p+0},
     0x11e8496026e001c5},
    {"Q5_0",
     "a7b0b45d4a5c9736a7aee5b806b27334576b02b0285b062f8d9a5a99d26304a42d9e246e5789b847"
     "13cf1cbe",
     64,
     {0x1.4ef8p+0, 0x1.743p+0, -0x1.6d38p+0, 0x1.3508p+0},
     0xb873580f3c0f78b3},
    {"Q5_1",
     "0b307dbe43a2a5a357a8451ff724d82a79cb7560db3fb3a2d62e23bf8dba5a99e27304b43eaf247f"
     "6789b95824d01dcf",
     64,
     {0x1.48a8p+0, 0x1.69p+0, -0x1.76b8p+0, 0x1.34ep+0},
     0x53aa9b9991274ff4},
    {"Q8_0",
     "b624454cc70fd8c44dece85fc9a8f47fbe2537ec2faf0d2503254665dad0ff27f35935230c981b1c"
     "e8f1a06eb842c3391afae16beb2c815211cb0cb526bfd72208e28c57",
     64,
     {0x1.450ep+0, 0x1.6608p+0, -0x1.76c4p+0, 0x1.39818p+0},
     0x987120fe42e550b2},
    {"Q2_K",
     "7c697aab9e5c8dbaffeb7caa57488a5f2652d8e95464d2dd114b60785997141ec669a27c6a565906"
     "9bd7d48899c6511ff580e5556711a26395f7051ea255123654677a63ab26051b52540d5f1bd91f7b"
     "df2d5331",
     256,
     {0x1.0978p+0, 0x1.0978p+0, -0x1.3f74p+1, 0x1.1698p-1},
     0x667f6678daa6efbc},
    {"Q3_K",
     "6aae65e1ffeb76f52f7cabd97de2fffc4c1338133284c3f45ecce9ffbb2cb1b2b20e5e6c05121e45"
     "99793a0b0cf086579ea9224fa7caf0160588be26709eb13c732463469387dd2af2a2c3c1d80388b5"
     "cceac0d5515f9a45c00cb90e72367505f78e8b41f924b203b070003ff825",
     256,
     {0x1.2a7p+0, 0x1.2a7p+0, -0x1.721p+1, -0x0p+0},
     0x951ae022f18b286d},
    {"Q4_K",
     "861d4629f0e8b4fbe6aba8aeeff211689b1ba2a773722bf544dd42c0a58f61f97ab509e097599639"
     "bb4d63a3966915ec1865d4ca766be5d61440686e66871634833b6a2f4a4648155786986178933808"
     "754075637e551a3c747c85fa4776376a514b78297a5644990750b3ca8b95a989af64bc373a18695b"
     "759c00076a58272e887b8f8dcc3d16278768026849f9296f",
     256,
     {0x1.485p+0, 0x1.485p+0, -0x1.46f4p+1, 0x1.f98p-3},
     0x219d04822886a7d7},
    {"Q5_K",
     "4d196b29f1e9b4f8e6aaa6acffd5136bc701ca0e5004595a00d32436524b1053c956d5d6d6410631"
     "93492c7256e974772738444fe7f448fa79ab95804b0fd3f2e57a03c13fa22d72678bb7562dd21bca"
     "10dad8a5ece6facc3990d1dddc2e2c782676d54e858c8019bd2b30d1f1467001eb80dcc6ef9b2559"
     "d9da0be570ed60b59388d133e5ad882300915776f71b33034fc8576e543fd1a6eb29101ec4904f4b"
     "00f61f0a996a1c5e1fc005c181e243ce",
     256,
     {0x1.4efb6p+0, 0x1.6f73p+0, -0x1.5555p+1, 0x1.cad4p-3},
     0xa198481dfb82a2dd},
    {"Q6_K",
     "9f3d7e0cfadf4d0566687e1603c00177afe6011a1c049f44ea108c2f70a484843d0e58a8d7e41c70"
     "156d02f008722991cb2b11a43453534ec9c0f61852191405e72108dd9b0648c1712215e9ae1af079"
     "e52001a6c9aa8f361fe16edbcdb4961650db12c5f069972171a1cdb1be3f4f4676936e778f76f299"
     "50e51fe54307abd4d4ac26155a4a2c22eeb09e47a658eba1a44a910f5965592158a496ba9ae5521c"
     "39583998abe96eaf593bc5d269a5dafa545746420685a4aa6154f85e9a199a4a9bb0bd509b938952"
     "786f9f533fc5b780f311",
     256,
     {0x1.3f3678p+0, 0x1.64c468p+0, -0x1.59cc6p+1, 0x1.1d9p-2},
     0x6cf99eb1df6c9ccc},
    {"IQ4_NL",
     "9fa443a24ce77b5d825a3a11bcce89509d25d72269c10aea9647912fb23d43bc9a5705ef",
     64,
     {0x1.2c5fp+0, 0x1.7f8dp+0, -0x1.63acp+0, 0x1.305f8p+0},
     0xeee5fba5a12dcc88},
    {"IQ4_XS",
     "bd110c3336057e0043a24ce77b5d825a3a11bcce89509d2569c10aea9646912fb23d43bc9a5705ef"
     "b6293a03388359987a8e55d058b6585a5db881c2b7a7a0d19d5a58887845bdeb15c085a2bf653bad"
     "730d34bbc746a8abb8bb98e988bbce5df8b847307c685c7a9fc3fde7dbe8597c858d20979b98a7fe"
     "5367525a1bacd7b84674dd7d9709bc7c",
     256,
     {0x1.2f0d9p+0, 0x1.82f9bp+0, -0x1.559b68p+1, 0x1.cb1p-3},
     0x8a9982a89c16e0cf},
    {"TQ1_0",
     "7d7f8382818083a080cd803480d57d9c7f8064898080807d80d48080808064d28080816480802b80"
     "648080d5808080809b82757ffe41",
     256,
     {0x0p+0, 0x0p+0, -0x1.7f8p+1, 0x0p+0},
     0x3279d901a213b595},
    {"TQ2_0",
     "15559595555595995546556455561559555551655555551555565555555551165554955456555155"
     "555655595555555554555551955555555154155555955555fe41",
     256,
     {0x0p+0, 0x0p+0, -0x1.7f8p+1, 0x0p+0},
     0x3279d901a213b595},
    {"MXFP4",
     "7e45953cd11b3c05395a66bccd09369c537da14ff3632bda1fe74ee6cd4513b9fc67",
     64,
     {0x1.8p+0, 0x1.8p+0, -0x1.8p+0, 0x1p+0},
     0x6eff1317b7e58e18},
    {"NVFP4",
     "2c2a282aa566dde19c7dd64a657ac5de0244a074e16fd3533b9acf773ad4cf3612bcf16d",
     64,
     {0x1.2p+0, 0x1.8p+0, -0x1.8p+0, 0x1.4p+0},
     0xe13071207b76c24b},
    {"IQ1_S",
     "fbae274327184bd8c442c5f8de820479c4a84981fbfa71b67fa3cb7da0a82c80c771e46ad526b3fb"
     "02f2ff39ce7d3478bd5b",
     256,
     {-0x1.985b8p+0, -0x1.6afcp-3, 0x1.560bp-1, -0x1.3324p-3},
     0xfa12bccd771ae07e},
    {"IQ1_M",
     "1bd3b46a5346ed5116d1d1149c24c332d2a4be8ee0471d72ec5851877f464ba938a92a1bcd89570c"
     "586454c733d4c2a12d646a1f37216031",
     256,
     {-0x1.0bc8p-2, -0x1.2d41p+1, -0x1.6d28p-2, -0x1.858p-6},
     0xccadde4ab7e69266},
    {"IQ2_XXS",
     "219e1565a0dfb82e2b95772e7dc02e5859f676d5a02fed94614df4d0d899cf932f87faa5b48c79c6"
     "1ff27c6035baba714e283af521d3e998071e9ab3afff0731d159",
     256,
     {-0x1.6be76p-2, -0x1.d1ccp-4, -0x1.28de7p-1, -0x1.6a5f2p-2},
     0x6a9133b6422d90ad},
    {"IQ2_XS",
     "9c9c2931571ea616b6605fc83440533849f9f59d1c4a9835f829bb97f8e4bf0575348cb30562fc62"
     "2f082187328b9a168f0f8cc99cca41187ec32e4ace9cab5e84ed757470bf217fd4d3",
     256,
     {-0x1.3ce5p-3, -0x1.3ce5p-3, -0x1.59b4p-5, 0x1.84ea8p-2},
     0x56e975e0d5c7683f},
    {"IQ2_S",
     "e120a320a2df21b30da1b74fb9359c76dcd05872ee0441f2daeb4f8bf505824449a6ec817000daf4"
     "783f6df3eb1919124e7dc3f33c1c7a8574e5b85e307d57ee7f55c9385ce8805a0a2dfa5976f4ad1c"
     "8acc",
     256,
     {0x1.99d4p-3, 0x1.402dap-1, -0x1.62069p+0, 0x1.e7e4p-3},
     0x8644d2ad665c5db0},
    {"IQ3_XXS",
     "9b1bf77dc689c20478827362a37e50b22364c475870aa73dbfea4361584c1347da666d863df6c44d"
     "6d1323ad9619e03f96ac94a7a8f08f78112c4db56dc06ec8ccb3c79631a7ebc568e18b37314415c5"
     "842f9ae3b4179f5d17a595b86fa1d15c23b1",
     256,
     {-0x1.b7374p-1, -0x1.df25p-3, -0x1.11ccp-5, 0x1.89954p-1},
     0xb41185f184d8a5a9},
    {"IQ3_S",
     "041b74f8772efb0c5cbc88e030026818aeb02a9a5058ccaf0c48245ac5e4693c5d741c5b27404e40"
     "1579fc0570f83a60a2688240aa5e91b0d3868a8ac4c0fff75f2d7b25bf252d6d036231dfa1ca9697"
     "3a111d3f49811c8c5afd4276f7f62d3aaf97de3bdd30560241c2ea81a9b0",
     256,
     {-0x1.01d3p-1, 0x1.01d3p-1, -0x1.8fe4p-3, -0x1.42b8p-4},
     0x71976d08a9529616},
};

static int hex_digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static uint64_t hash_of(const float *values, size_t n)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = f32_to_bits(values[i] + 0.0f);
        for (int k = 0; k < 4; k++)
            hash = (hash ^ (bits >> 8 * k & 255)) * 0x100000001b3u;
    }
    return hash;
}

TEST(known_blocks_decode_exactly)
{
    for (size_t k = 0; k < ARRAY_LEN(vectors); k++) {
        const struct vector *v = &vectors[k];
        const struct dtype *type = dtype_by_name(str_of(v->name));
        if (!type)
            fail_msg("%s is not known", v->name);
        uint8_t blocks[512];
        float values[256];
        size_t size = strlen(v->blocks) / 2;
        assert_int_equal(size, dtype_row_bytes(type, v->n));
        for (size_t i = 0; i < size; i++)
            blocks[i] =
                (uint8_t)(hex_digit(v->blocks[2 * i]) << 4 | hex_digit(v->blocks[2 * i + 1]));
        type->decode(blocks, values, v->n);
        const size_t at[4] = {0, 1, v->n / 2 + 1, v->n - 1};
        for (size_t i = 0; i < 4; i++)
            if (values[at[i]] != v->some[i])
                fail_msg("%s: weight %zu is %a, should be %a", v->name, at[i], values[at[i]],
                         v->some[i]);
        if (hash_of(values, v->n) != v->hash)
            fail_msg("%s: some weight of the block is wrong", v->name);
    }
}

/* Every plain type must give back what it can hold. */
TEST(plain_numbers_round_to_nearest_even)
{
    const float in[] = {0, -0.0f, 1, 65504, 65519.99f, 65520, 0x1p-24f, 0x1.8p-25f, INFINITY};
    const float half[] = {0, -0.0f, 1, 65504, 65504, INFINITY, 0x1p-24f, 0x1p-24f, INFINITY};
    const float brain[] = {0, -0.0f, 1, 65536, 65536, 65536, 0x1p-24f, 0x1.8p-25f, INFINITY};
    enum { COUNT = ARRAY_LEN(in) };
    uint8_t bytes[COUNT * 8];
    float out[COUNT];
    dtype_f16.encode(in, bytes, COUNT);
    dtype_f16.decode(bytes, out, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(f32_to_bits(out[i]), f32_to_bits(half[i]));
    const struct dtype *bf16 = dtype_by_name(STR("BF16")), *f64 = dtype_by_name(STR("F64"));
    bf16->encode(in, bytes, COUNT);
    bf16->decode(bytes, out, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(f32_to_bits(out[i]), f32_to_bits(brain[i]));
    f64->encode(in, bytes, COUNT);
    f64->decode(bytes, out, COUNT);
    assert_memory_equal(out, in, sizeof in);
    dtype_f32.encode(in, bytes, COUNT);
    dtype_f32.decode(bytes, out, COUNT);
    assert_memory_equal(out, in, sizeof in);
}

TEST(activations_round_ties_away)
{
    float x[64] = {127, 0.5f, -0.5f, 1.5f, -1.5f, 2.5f, -126.5f, 0.49999997f, 3};
    struct q8_act act[2];
    x[32] = -254; /* the second block, d = 2 */
    x[33] = 1;
    x[34] = -0.99f;
    q8_act_quantize(x, act, 64);
    const int8_t want[10] = {127, 1, -1, 2, -2, 3, -127, 0, 3, 0};
    assert_true(act[0].d == 1 && act[1].d == 2);
    assert_memory_equal(act[0].q, want, sizeof want);
    assert_true(act[0].sum == 127 + 1 - 1 + 2 - 2 + 3 - 127 + 3);
    assert_int_equal(act[1].q[0], -127);
    assert_int_equal(act[1].q[1], 1);
    assert_int_equal(act[1].q[2], 0);
    assert_true(act[1].sum == 2 * (-127 + 1));
}

TEST(activations_of_odd_blocks)
{
    float x[32] = {0};
    struct q8_act act;
    q8_act_quantize(x, &act, 32);
    assert_true(act.d == 0 && act.sum == 0 && act.q[0] == 0 && act.q[31] == 0);
    x[3] = 1e-40f; /* its d would be denormal */
    q8_act_quantize(x, &act, 32);
    assert_true(act.d == 0 && act.sum == 0 && act.q[3] == 0);
    x[3] = NAN;
    x[4] = 1;
    q8_act_quantize(x, &act, 32);
    assert_true(isnan(act.d) && isnan(act.sum) && act.q[3] == 0 && act.q[4] == 0);
    x[3] = -INFINITY;
    q8_act_quantize(x, &act, 32);
    assert_true(isnan(act.d) && isnan(act.sum) && act.q[3] == 0);
    x[3] = FLT_MAX;
    q8_act_quantize(x, &act, 32);
    assert_int_equal(act.q[3], 127);
    assert_true(isfinite(act.d));
}

/* The scale bytes of the two four-bit floats, against a weight of 1 (code 2) in every place. */
TEST(scale_bytes_of_four_bit_floats)
{
    const struct dtype *mxfp4 = dtype_by_name(STR("MXFP4")), *nvfp4 = dtype_by_name(STR("NVFP4"));
    static const uint8_t e8m0[] = {0, 1, 2, 126, 127, 128, 254, 255};
    static const float e8m0_value[] = {0x1p-127f, 0x1p-126f, 0x1p-125f, 0.5f,
                                       1,         2,         0x1p127f,  INFINITY};
    uint8_t block[36];
    float out[64];
    memset(block, 0x22, sizeof block);
    for (size_t i = 0; i < ARRAY_LEN(e8m0); i++) {
        block[0] = e8m0[i];
        mxfp4->decode(block, out, 32);
        assert_true(out[0] == e8m0_value[i] && out[31] == e8m0_value[i]);
    }
    /* Zero, two denormals, the least normal number, 1, 1.125, 448, NaN, and 1 and NaN with the
     * unused bit. */
    static const uint8_t ue4m3[] = {0x00, 0x01, 0x07, 0x08, 0x38, 0x39, 0x7e, 0x7f, 0xb8, 0xff};
    static const float ue4m3_value[] = {0, 0x1p-9f, 7 * 0x1p-9f, 0x1p-6f, 1, 1.125f, 448, 0, 1, 0};
    for (size_t i = 0; i < ARRAY_LEN(ue4m3); i++) {
        memset(block, 0x38, 4);
        block[2] = ue4m3[i];
        nvfp4->decode(block, out, 64);
        assert_true(out[31] == 1 && out[48] == 1);
        assert_true(out[32] == ue4m3_value[i] && out[47] == ue4m3_value[i]);
    }
}

/* By hand: x = 2 × q with q = 1 … 32, against activations that are all 3. */
TEST(integer_dot_by_hand)
{
    uint8_t block[34] = {0x00, 0x40};
    float x[32];
    struct q8_act act;
    for (int i = 0; i < 32; i++) {
        block[2 + i] = (uint8_t)(i + 1);
        x[i] = 3;
    }
    q8_act_quantize(x, &act, 32);
    assert_true(fabsf(dtype_dot_q8(&dtype_q8_0, block, &act, 32) - 2 * 3 * 528.0f) < 1e-3f);
    assert_true(dtype_dot_q8(&dtype_q8_0, block, &act, 0) == 0);
    x[0] = NAN;
    q8_act_quantize(x, &act, 32);
    assert_true(isnan(dtype_dot_q8(&dtype_q8_0, block, &act, 32)));
}
