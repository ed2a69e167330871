#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "build_id.h"
#include "vk/vk_priv.h"

/* The pipeline cache on disk: one file per device, driver and build. Drivers trust what they are
 * given as cache data, so a header of ours with a checksum comes before it, and nothing that is not
 * as it was written reaches them. */

enum { CACHE_VERSION = 1, MAX_CACHE_BYTES = 512 << 20 };

struct cache_header {
    char magic[8]; /* "HTHPIPES" */
    uint32_t version;
    uint32_t driver_version;
    uint32_t vendor_id, device_id;
    uint8_t uuid[16];
    uint64_t size_bytes; /* of what follows */
    uint64_t checksum;   /* of what follows */
};

/* FNV-1a over 64-bit words, then over the bytes left (http://www.isthe.com/chongo/tech/comp/fnv/).
 */
static uint64_t checksum(const void *data, size_t size_bytes)
{
    const unsigned char *bytes = data;
    uint64_t hash = 0xcbf29ce484222325;
    size_t i = 0;
    for (; i + 8 <= size_bytes; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        hash = (hash ^ word) * 0x100000001b3;
        hash ^= hash >> 32; /* else high bits of a word never reach the low ones */
    }
    for (; i < size_bytes; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3;
    return hash;
}

static struct cache_header header_for(const struct vk *vk, const void *data, size_t size_bytes)
{
    const struct vk_caps *caps = &vk->gpu.caps;
    struct cache_header header = {
        .version = CACHE_VERSION,
        .driver_version = caps->driver_version,
        .vendor_id = caps->vendor_id,
        .device_id = caps->device_id,
        .size_bytes = size_bytes,
        .checksum = checksum(data, size_bytes),
    };
    memcpy(header.magic, "HTHPIPES", sizeof header.magic);
    memcpy(header.uuid, caps->uuid, sizeof header.uuid);
    return header;
}

/* Appends ".../pipelines", and with `file` the name in it; false when there is no place. */
static bool cache_path(const struct vk *vk, struct strbuf *path, bool file)
{
    if (!os_cache_folder(path))
        return false;
    strbuf_printf(path, "/pipelines");
    if (file) {
        strbuf_append_char(path, '/');
        for (int i = 0; i < 16; i++)
            strbuf_printf(path, "%02x", vk->gpu.caps.uuid[i]);
        strbuf_printf(path, "-%s.bin", HEARTH_BUILD_ID);
    }
    return !path->failed;
}

/* Why a file's bytes are not a cache for this device; NULL if they are. */
static const char *reject(const struct vk *vk, struct str text)
{
    struct cache_header header;
    if (text.len < sizeof header)
        return "it is cut short";
    memcpy(&header, text.ptr, sizeof header);
    const char *data = text.ptr + sizeof header;
    struct cache_header expected = header_for(vk, data, text.len - sizeof header);
    if (memcmp(header.magic, expected.magic, sizeof header.magic) != 0 ||
        header.version != expected.version)
        return "it is not a cache of this version";
    if (memcmp(header.uuid, expected.uuid, sizeof header.uuid) != 0 ||
        header.driver_version != expected.driver_version ||
        header.vendor_id != expected.vendor_id || header.device_id != expected.device_id)
        return "it belongs to another device or driver";
    if (header.size_bytes != expected.size_bytes)
        return "it is cut short";
    if (header.checksum != expected.checksum)
        return "its checksum is wrong";
    return NULL;
}

/* Appends the bytes of a sound file; leaves `text` empty if there is none. */
static enum hth_status load(struct vk *vk, struct strbuf *text)
{
    struct strbuf path = {0};
    enum hth_status status = HTH_OK;
    uint64_t size_bytes = 0;
    if (cache_path(vk, &path, true) && os_stat(path.ptr, &size_bytes, NULL) == OS_FILE_REGULAR) {
        status = file_read(path.ptr, MAX_CACHE_BYTES, text, NULL);
        const char *why = status == HTH_OK         ? reject(vk, strbuf_str(text))
                          : status == HTH_ERROR_IO ? "it cannot be read"
                                                   : "it is too large";
        if (why)
            log_warning(&vk->log, "%s: is ignored, as %s; shaders are compiled anew", path.ptr,
                        why);
        if (why)
            strbuf_clear(text);
        if (status != HTH_ERROR_MEMORY)
            status = HTH_OK;
    }
    bool failed = path.failed;
    strbuf_free(&path);
    return failed || status != HTH_OK ? log_fail_memory(&vk->log, "the pipeline cache", size_bytes)
                                      : HTH_OK;
}

const char *vk_build_id(void)
{
    return HEARTH_BUILD_ID;
}

enum hth_status vk_cache_open(struct vk *vk)
{
    struct vk_pipelines *all = &vk->pipelines;
    struct strbuf text = {0};
    enum hth_status status = vk->options.no_disk_cache ? HTH_OK : load(vk, &text);
    if (status != HTH_OK) {
        strbuf_free(&text);
        return status;
    }
    VkPipelineCacheCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
    if (text.len > sizeof(struct cache_header)) {
        info.initialDataSize = text.len - sizeof(struct cache_header);
        info.pInitialData = text.ptr + sizeof(struct cache_header);
        all->cache_loaded = true;
    }
    VkResult result = vk->f.vkCreatePipelineCache(vk->device, &info, NULL, &all->cache);
    if (result != VK_SUCCESS && result != VK_ERROR_DEVICE_LOST && all->cache_loaded) {
        log_warning(&vk->log,
                    "the driver refuses the pipeline cache on disk (%s); shaders are "
                    "compiled anew",
                    vk_result_name(result));
        info.initialDataSize = 0;
        all->cache_loaded = false;
        result = vk->f.vkCreatePipelineCache(vk->device, &info, NULL, &all->cache);
    }
    strbuf_free(&text);
    if (result != VK_SUCCESS) {
        all->cache = VK_NULL_HANDLE;
        return vk_fail(vk, result, "vkCreatePipelineCache");
    }
    return HTH_OK;
}

/* Reads the driver's data, with room for our header before it; free with mem_free. */
static unsigned char *fetch(struct vk *vk, size_t *size_bytes)
{
    VkPipelineCache cache = vk->pipelines.cache;
    VkResult result = vk->f.vkGetPipelineCacheData(vk->device, cache, size_bytes, NULL);
    if (result != VK_SUCCESS || *size_bytes == 0)
        return NULL;
    unsigned char *bytes = mem_alloc(sizeof(struct cache_header) + *size_bytes);
    if (!bytes)
        return NULL;
    unsigned char *data = bytes + sizeof(struct cache_header);
    result = vk->f.vkGetPipelineCacheData(vk->device, cache, size_bytes, data);
    if (result != VK_SUCCESS) {
        mem_free(bytes);
        return NULL;
    }
    struct cache_header header = header_for(vk, data, *size_bytes);
    memcpy(bytes, &header, sizeof header);
    return bytes;
}

/* Silent: a cache that cannot be kept is worth one warning of the caller's, not an error. */
static bool store(const char *path, const unsigned char *bytes, size_t size)
{
    struct file_writer writer = {0};
    if (file_begin(&writer, path, NULL) != HTH_OK)
        return false;
    file_put(&writer, bytes, size);
    return file_commit(&writer) == HTH_OK;
}

void vk_pipeline_save(struct vk *vk)
{
    struct vk_pipelines *all = &vk->pipelines;
    uint32_t created, from_cache;
    vk_pipeline_counts(vk, &created, &from_cache);
    uint32_t fresh = created - from_cache;
    if (vk->options.no_disk_cache || all->save_failed || !all->cache || fresh <= all->n_saved ||
        vk_alive(vk) != HTH_OK)
        return;
    struct strbuf folder = {0}, path = {0};
    size_t size_bytes = 0;
    unsigned char *bytes = fetch(vk, &size_bytes);
    if (bytes && cache_path(vk, &folder, false) && cache_path(vk, &path, true)) {
        bool stored = os_make_folders(folder.ptr);
        if (stored)
            stored = store(path.ptr, bytes, sizeof(struct cache_header) + size_bytes);
        all->n_saved = fresh;
        all->save_failed = !stored;
        if (!stored)
            log_warning(&vk->log,
                        "%s: cannot be written: %s; hearth goes on, and compiles its shaders "
                        "again at the next start",
                        path.ptr, os_error_text());
    }
    mem_free(bytes);
    strbuf_free(&folder);
    strbuf_free(&path);
}
