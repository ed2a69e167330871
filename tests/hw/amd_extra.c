/* Around Mesa's amdgpu shim: a kernel interface new enough for today's RADV, and GPUs that its
 * table lacks, each made from the nearest one it has. The stock table is compiled under the names
 * stock_devices and stock_count. */
#define amdgpu_devices     stock_devices
#define num_amdgpu_devices stock_count
#include "amd/drm-shim/amdgpu_devices.h"
#undef amdgpu_devices
#undef num_amdgpu_devices
#include "common.h"

struct amdgpu_device amdgpu_devices[64];
size_t num_amdgpu_devices;

static const struct {
    const char *name, *base;
    unsigned family, external_rev, ip, pci_id, shader_engines, cu_per_array, vgprs, vram_gib;
} extra[] = {
    /* clang-format off */
   /* name       based on   family rev   GC version pci id SE CU per array, VGPRs per SIMD (0: as base), GiB (0: as base) */
   {"vega20",    "vega10",  141, 0x28, 0x090400, 0x66af, 4, 16,    0, 16}, /* Radeon VII, Instinct MI50 */
   {"navi23",    "navi21",  143, 0x3c, 0x0a0302, 0x73ff, 2,  8, 1024,  8}, /* RX 6600 */
   {"rembrandt", "navi21",  146, 0x01, 0x0a0303, 0x1681, 1,  6, 1024,  0}, /* Radeon 680M */
   {"navi32",    "navi31",  145, 0x20, 0x0b0003, 0x747e, 3, 10, 1536, 16}, /* RX 7800 XT */
   {"navi33",    "navi31",  145, 0x10, 0x0b0002, 0x7480, 2,  8, 1024,  8}, /* RX 7600 */
   {"phoenix",   "gfx1150", 148, 0x01, 0x0b0001, 0x15bf, 1,  6, 1024,  0}, /* Radeon 780M */
   {"gfx1151",   "gfx1150", 150, 0xc1, 0x0b0501, 0x1586, 2, 10, 1536,  0}, /* Strix Halo */
   {"gfx1200",   "navi31",  152, 0x40, 0x0c0000, 0x7590, 2,  8, 1536, 16}, /* RX 9060 XT */
   {"gfx1201",   "navi31",  152, 0x51, 0x0c0001, 0x7550, 4,  8, 1536, 16}, /* RX 9070 XT */
    /* clang-format on */
};

static void add(size_t e, const struct amdgpu_device *base)
{
    struct amdgpu_device d = *base;
    d.name = extra[e].name;
    d.hw_ip_gfx.hw_ip_version_major = d.hw_ip_compute.hw_ip_version_major = extra[e].ip >> 16;
    d.hw_ip_gfx.hw_ip_version_minor = d.hw_ip_compute.hw_ip_version_minor = extra[e].ip >> 8 & 255;
    d.hw_ip_gfx.ip_discovery_version = d.hw_ip_compute.ip_discovery_version = extra[e].ip;
    d.dev.family = extra[e].family;
    d.dev.external_rev = extra[e].external_rev;
    d.dev.device_id = extra[e].pci_id;
    if (extra[e].vgprs)
        d.dev.num_shader_visible_vgprs = extra[e].vgprs;
    if (extra[e].vram_gib)
        d.mem.vram.total_heap_size = d.mem.cpu_accessible_vram.total_heap_size =
            (uint64_t)extra[e].vram_gib << 30;
    unsigned arrays = d.dev.num_shader_arrays_per_engine;
    d.dev.num_shader_engines = extra[e].shader_engines;
    d.dev.num_cu_per_sh = extra[e].cu_per_array;
    d.dev.cu_active_number = extra[e].shader_engines * arrays * extra[e].cu_per_array;
    memset(d.dev.cu_bitmap, 0, sizeof d.dev.cu_bitmap);
    for (unsigned se = 0; se < extra[e].shader_engines;
         se++) /* engines from the 5th on sit in columns 2 and 3 */
        for (unsigned a = 0; a < arrays; a++)
            d.dev.cu_bitmap[se % 4][a + 2 * (se / 4)] = (1u << extra[e].cu_per_array) - 1;
    amdgpu_devices[num_amdgpu_devices++] = d;
}

void drm_shim_driver_init(void)
{
    for (size_t i = 0; i < stock_count; i++)
        amdgpu_devices[num_amdgpu_devices++] = stock_devices[i];
    for (size_t e = 0; e < sizeof extra / sizeof *extra; e++)
        for (size_t i = 0; i < stock_count; i++)
            if (!strcmp(stock_devices[i].name, extra[e].base))
                add(e, &stock_devices[i]);
    common_init();
    stock_driver_init();
    shim_device.version_minor = 61; /* RADV of Mesa 26.1 wants at least 3.54 */
}
