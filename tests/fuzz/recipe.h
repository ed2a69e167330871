/*
 * recipe.h — bytes that choose, one after the other, what a fuzz target makes. One thread.
 */
#ifndef FUZZ_RECIPE_H
#define FUZZ_RECIPE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"

/* Bytes that are used up; zeros follow the last, so zero should choose what is usual. */
struct recipe {
    const uint8_t *at;
    size_t left;
};

static inline unsigned recipe_byte(struct recipe *recipe)
{
    if (recipe->left == 0)
        return 0;
    recipe->left--;
    return *recipe->at++;
}

/* The next bytes as they are, `len` or what is left. */
static inline struct str recipe_text(struct recipe *recipe, size_t len)
{
    struct str text = {(const char *)recipe->at, len < recipe->left ? len : recipe->left};
    recipe->at += text.len;
    recipe->left -= text.len;
    return text;
}

/* A number in two bytes: mostly positive and near 1, sometimes of any size, as in BF16. */
static inline float recipe_float(struct recipe *recipe)
{
    enum { NEGATIVE = 224, ANY = 240 };
    unsigned high = recipe_byte(recipe), low = recipe_byte(recipe);
    float value = ldexpf(1 + (float)low / 256, (int)(high % 32) - 16);
    uint32_t bits = high << 24 | low << 16;
    if (high >= ANY)
        memcpy(&value, &bits, sizeof value);
    return high >= NEGATIVE && high < ANY ? -value : value;
}

#endif
