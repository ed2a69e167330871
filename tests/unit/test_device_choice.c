#include "engine/engine.h"

#include "harness/test.h"

/* Which of the devices of a machine --device means. */

enum { INTEGRATED, CARD, LARGE_CARD, OLD_CARD, SOFTWARE, N_LISTED };

static const struct vk_caps machine[N_LISTED] = {
    [INTEGRATED] = {.name = "Graphics 770", .kind = VK_KIND_INTEGRATED, .device_bytes = 32},
    [CARD] = {.name = "Card 8", .kind = VK_KIND_DISCRETE, .device_bytes = 8},
    [LARGE_CARD] = {.name = "Card 24", .kind = VK_KIND_DISCRETE, .device_bytes = 24},
    [OLD_CARD] = {.name = "Old", .kind = VK_KIND_DISCRETE, .device_bytes = 4, .lacks = "int64"},
    [SOFTWARE] = {.name = "a program", .kind = VK_KIND_SOFTWARE, .device_bytes = 64},
};

/* `numbers`: a digit each. */
static void check(const char *wanted, const char *numbers)
{
    struct device_list list;
    assert_int_equal(device_choose(&list, wanted, machine, N_LISTED, test_log()), HTH_OK);
    if (list.n != (int)strlen(numbers))
        fail_msg("%s: %d devices, not %s", wanted ? wanted : "NULL", list.n, numbers);
    for (int i = 0; i < list.n; i++)
        assert_int_equal(list.index[i], numbers[i] - '0');
}

TEST(none_named_is_all_cards_the_best_first)
{
    check(NULL, "21");
    check("", "21");
    check("auto", "21");
    check("vulkan", "21");
}

TEST(named_ones_are_used_in_their_order)
{
    check("cpu", "");
    check("vulkan:0", "0");
    check("vulkan:1,vulkan:0", "10");
    check("vulkan:card,vulkan:graphics", "10");
    check("vulkan:4,vulkan:4", "44");
    check("vulkan:2,vulkan:1,vulkan:4", "214");
}

/* What shares the host's memory is used where there is nothing else, and then alone. */
TEST(without_cards_there_is_one)
{
    const struct vk_caps laptop[] = {machine[SOFTWARE], machine[INTEGRATED], machine[OLD_CARD],
                                     machine[INTEGRATED]};
    struct device_list list;
    assert_int_equal(device_choose(&list, "auto", laptop, 4, test_log()), HTH_OK);
    assert_int_equal(list.n, 1);
    assert_int_equal(list.index[0], 1);
    assert_int_equal(device_choose(&list, "auto", machine + SOFTWARE, 1, test_log()), HTH_OK);
    assert_int_equal(list.n, 0);
    assert_int_equal(device_choose(&list, "vulkan", machine + SOFTWARE, 1, test_log()),
                     HTH_ERROR_DEVICE);
    assert_logged("only a program");
}

static void check_refused(const char *wanted, const char *why)
{
    struct device_list list;
    test_log_clear();
    assert_true(device_choose(&list, wanted, machine, N_LISTED, test_log()) != HTH_OK);
    assert_logged(why);
}

TEST(what_cannot_be_is_refused)
{
    check_refused("vulkan:5", "no Vulkan device \"5\"; there are 5");
    check_refused("vulkan:1,vulkan:9", "no Vulkan device \"9\"");
    check_refused("vulkan:1,vulkan:8", "no Vulkan device \"8\"");
    check_refused("vulkan:1,cpu", "no such device \"vulkan:1,cpu\"");
    check_refused("vulkan:1,", "no such device \"vulkan:1,\"");
    check_refused("vulkan:", "no Vulkan device \"\"");
    check_refused("vulkan:2,vulkan:Card 24", "names vulkan:2 (Card 24) twice");
    check_refused("vulkan:4,vulkan:4,vulkan:4,vulkan:4", "more than 3 devices");
}
