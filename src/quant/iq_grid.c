#include "quant/iq_grid.h"

#include "common/iq_grids.h"

const uint32_t iq1_grid[] = {IQ1_GRID};

void iq2_group(unsigned entry, unsigned signs, int8_t q[8])
{
    static const int8_t levels[4] = {8, 25, 43, 0};
    for (int i = 0; i < 8; i++) {
        int value = levels[iq_code(entry, i)];
        q[i] = (int8_t)(signs >> i & 1 ? -value : value);
    }
}

void iq3_group(uint32_t entry, unsigned signs, int8_t q[4])
{
    for (int i = 0; i < 4; i++) {
        int value = (int)(entry >> 8 * i & 255);
        q[i] = (int8_t)(signs >> i & 1 ? -value : value);
    }
}

void iq1_group(unsigned entry, unsigned minus, int8_t q[8])
{
    for (int i = 0; i < 8; i++)
        q[i] = (int8_t)(8 * (iq_code(entry, i) - 1) + (minus ? -1 : 1));
}
