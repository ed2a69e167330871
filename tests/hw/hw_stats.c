/* Compiles SPIR-V compute shaders on the first Vulkan device and prints what its compiler says of
 * them.
 *
 *   hw_stats --info                      name, subgroup sizes, integer dot product, cooperative
 * matrices hw_stats [options] FILE.spv ...      one line per executable
 *     --subgroup N     required subgroup size      --varying   VK_..._ALLOW_VARYING_SUBGROUP_SIZE
 *     --full           require full subgroups      --spec ID=N 32-bit specialization constant
 * (repeatable)
 *     --isa            the compiler's text too     --no-spills exit 1 if anything spills or uses
 * scratch
 *
 * Descriptors come from the module (storage and uniform buffers only); push constants: all the
 * device allows. All features the device has are on, but robustBufferAccess. Nothing is executed.
 */
#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUNCTIONS(X)                                                                               \
    X(vkCreateInstance)                                                                            \
    X(vkEnumeratePhysicalDevices) X(vkGetPhysicalDeviceProperties2)                                \
        X(vkGetPhysicalDeviceFeatures2) X(vkEnumerateDeviceExtensionProperties)                    \
            X(vkGetPhysicalDeviceMemoryProperties)                                                 \
                X(vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR) X(vkCreateDevice)             \
                    X(vkCreateShaderModule) X(vkDestroyShaderModule)                               \
                        X(vkCreateDescriptorSetLayout) X(vkCreatePipelineLayout)                   \
                            X(vkCreateComputePipelines) X(vkDestroyPipeline)                       \
                                X(vkGetPipelineExecutablePropertiesKHR)                            \
                                    X(vkGetPipelineExecutableStatisticsKHR)                        \
                                        X(vkGetPipelineExecutableInternalRepresentationsKHR)
#define X(f) static PFN_##f f;
FUNCTIONS(X)
#undef X

static VkInstance instance;
static VkPhysicalDevice gpu;
static VkDevice device;
static VkPhysicalDeviceProperties2 props = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
static VkPhysicalDeviceVulkan11Properties props11 = {
    VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES};
static VkPhysicalDeviceVulkan12Properties props12 = {
    VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES};
static VkPhysicalDeviceVulkan13Properties props13 = {
    VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES};
static VkPhysicalDeviceFeatures2 features = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2};
static VkPhysicalDeviceVulkan11Features features11 = {
    VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES};
static VkPhysicalDeviceVulkan12Features features12 = {
    VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES};
static VkPhysicalDeviceVulkan13Features features13 = {
    VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES};
static VkPhysicalDeviceCooperativeMatrixFeaturesKHR featuresCm = {
    VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR};
static VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR featuresPe = {
    VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR};

static void check(VkResult r, const char *what)
{
    if (r == VK_SUCCESS || r == VK_INCOMPLETE)
        return;
    fprintf(stderr, "hw_stats: %s: VkResult %d\n", what, r);
    exit(1);
}

static void open_device(void)
{
    void *lib = dlopen("libvulkan.so.1", RTLD_NOW);
    if (!lib) {
        fprintf(stderr, "hw_stats: %s\n", dlerror());
        exit(1);
    }
    PFN_vkGetInstanceProcAddr get = (PFN_vkGetInstanceProcAddr)dlsym(lib, "vkGetInstanceProcAddr");
    vkCreateInstance = (PFN_vkCreateInstance)get(NULL, "vkCreateInstance");
    VkApplicationInfo app = {VK_STRUCTURE_TYPE_APPLICATION_INFO, .apiVersion = VK_API_VERSION_1_3};
    check(vkCreateInstance(&(VkInstanceCreateInfo){VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                                   .pApplicationInfo = &app},
                           NULL, &instance),
          "vkCreateInstance");
#define X(f)                                                                                       \
    if (!f)                                                                                        \
        f = (PFN_##f)get(instance, #f);
    FUNCTIONS(X)
#undef X
    uint32_t n = 1;
    check(vkEnumeratePhysicalDevices(instance, &n, &gpu), "vkEnumeratePhysicalDevices");
    if (!n) {
        fprintf(stderr, "hw_stats: no Vulkan device\n");
        exit(1);
    }
    props.pNext = &props11, props11.pNext = &props12, props12.pNext = &props13;
    vkGetPhysicalDeviceProperties2(gpu, &props);

    static VkExtensionProperties ext[1024];
    uint32_t count = 1024;
    check(vkEnumerateDeviceExtensionProperties(gpu, NULL, &count, ext),
          "vkEnumerateDeviceExtensionProperties");
    const char *use[2];
    uint32_t used = 0;
    features.pNext = &features11, features11.pNext = &features12, features12.pNext = &features13;
    void **tail = &features13.pNext;
    for (uint32_t i = 0; i < count; i++) {
        if (!strcmp(ext[i].extensionName, VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME))
            use[used++] = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME, *tail = &featuresPe,
            tail = &featuresPe.pNext;
        else if (!strcmp(ext[i].extensionName, VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME))
            use[used++] = VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME, *tail = &featuresCm,
            tail = &featuresCm.pNext;
    }
    vkGetPhysicalDeviceFeatures2(gpu, &features);
    features.features.robustBufferAccess = VK_FALSE;
    float one = 1;
    VkDeviceQueueCreateInfo queue = {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1,
                                     .pQueuePriorities = &one};
    check(vkCreateDevice(
              gpu,
              &(VkDeviceCreateInfo){VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, .pNext = &features,
                                    .queueCreateInfoCount = 1, .pQueueCreateInfos = &queue,
                                    .enabledExtensionCount = used, .ppEnabledExtensionNames = use},
              NULL, &device),
          "vkCreateDevice");
}

static const char *component(VkComponentTypeKHR t)
{
    static const char *names[] = {"f16", "f32", "f64", "s8",  "s16", "s32",
                                  "s64", "u8",  "u16", "u32", "u64"};
    return t < 11            ? names[t]
           : t == 1000141000 ? "bf16"
           : t == 1000491002 ? "e4m3"
           : t == 1000491003 ? "e5m2"
                             : "?";
}

static void print_info(void)
{
    const VkPhysicalDeviceProperties *p = &props.properties;
    printf("device: %s\ndriver: %s, %s\n", p->deviceName, props12.driverName, props12.driverInfo);
    printf("subgroup: default %u, min %u, max %u, required size in compute %s, full subgroups %s\n",
           props11.subgroupSize, props13.minSubgroupSize, props13.maxSubgroupSize,
           props13.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT ? "yes" : "no",
           features13.computeFullSubgroups ? "yes" : "no");
    printf("workgroup: %u invocations, %u subgroups, %u bytes shared, push constants %u\n",
           p->limits.maxComputeWorkGroupInvocations, props13.maxComputeWorkgroupSubgroups,
           p->limits.maxComputeSharedMemorySize, p->limits.maxPushConstantsSize);
    printf("shader: fp16 %u, int8 %u, int16 %u, int64 %u, 8-bit storage %u, 16-bit storage %u, "
           "buffer address %u\n",
           features12.shaderFloat16, features12.shaderInt8, features.features.shaderInt16,
           features.features.shaderInt64, features12.storageBuffer8BitAccess,
           features11.storageBuffer16BitAccess, features12.bufferDeviceAddress);
    printf("dot product accelerated: packed 4x8 signed %u, unsigned %u, mixed %u; saturating "
           "signed %u, unsigned %u, mixed %u; "
           "8-bit vector signed %u\n",
           props13.integerDotProduct4x8BitPackedSignedAccelerated,
           props13.integerDotProduct4x8BitPackedUnsignedAccelerated,
           props13.integerDotProduct4x8BitPackedMixedSignednessAccelerated,
           props13.integerDotProductAccumulatingSaturating4x8BitPackedSignedAccelerated,
           props13.integerDotProductAccumulatingSaturating4x8BitPackedUnsignedAccelerated,
           props13.integerDotProductAccumulatingSaturating4x8BitPackedMixedSignednessAccelerated,
           props13.integerDotProduct8BitSignedAccelerated);
    VkCooperativeMatrixPropertiesKHR cm[256];
    uint32_t n = 256;
    for (int i = 0; i < 256; i++)
        cm[i] =
            (VkCooperativeMatrixPropertiesKHR){VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR};
    if (!featuresCm.cooperativeMatrix ||
        vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR(gpu, &n, cm) < 0)
        n = 0;
    printf("cooperative matrix: %s\n", n ? "yes" : "none");
    for (uint32_t i = 0; i < n; i++)
        printf("  %ux%ux%u (MxNxK) A %s, B %s, C %s, result %s%s%s\n", cm[i].MSize, cm[i].NSize,
               cm[i].KSize, component(cm[i].AType), component(cm[i].BType), component(cm[i].CType),
               component(cm[i].ResultType), cm[i].saturatingAccumulation ? ", saturating" : "",
               cm[i].scope == VK_SCOPE_SUBGROUP_KHR ? "" : ", scope is not subgroup");
}

struct module {
    uint32_t *code, words;
    const char *entry;
    VkDescriptorSetLayoutBinding bindings[8][64];
    uint32_t counts[8], sets;
};

static void read_module(const char *path, struct module *m)
{
    *m = (struct module){.entry = "main"};
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    fseek(f, 0, SEEK_END);
    m->words = (uint32_t)(ftell(f) / 4);
    rewind(f);
    m->code = malloc(m->words * 4ul + 4);
    if (m->words < 5 || fread(m->code, 4, m->words, f) != m->words || m->code[0] != 0x07230203) {
        fprintf(stderr, "%s: not a SPIR-V module\n", path);
        exit(1);
    }
    fclose(f);
    uint32_t bound = m->code[3], *set = calloc(bound, 4), *binding = calloc(bound, 4);
    for (uint32_t i = 5; i < m->words && m->code[i] >> 16; i += m->code[i] >> 16) {
        uint32_t *w = m->code + i, op = *w & 0xffff;
        if (op == 15)
            m->entry = (const char *)(w + 3);
        else if (op == 71 && w[2] == 34)
            set[w[1]] = w[3];
        else if (op == 71 && w[2] == 33)
            binding[w[1]] = w[3] + 1;
        else if (op == 59 && (w[3] == 12 || w[3] == 2) && binding[w[2]] &&
                 set[w[2]] < 8) { /* StorageBuffer, Uniform */
            uint32_t s = set[w[2]], b = binding[w[2]] - 1, k = 0;
            while (k < m->counts[s] && m->bindings[s][k].binding != b)
                k++;
            if (k == m->counts[s] && k < 64)
                m->bindings[s][m->counts[s]++] =
                    (VkDescriptorSetLayoutBinding){b,
                                                   w[3] == 12 ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
                                                              : VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER,
                                                   1, VK_SHADER_STAGE_COMPUTE_BIT, NULL};
            if (m->sets <= s)
                m->sets = s + 1;
        }
    }
    free(set), free(binding);
}

static VkPipelineLayout layout_of(const struct module *m)
{
    VkDescriptorSetLayout sets[8];
    for (uint32_t s = 0; s < m->sets; s++)
        check(vkCreateDescriptorSetLayout(device,
                                          &(VkDescriptorSetLayoutCreateInfo){
                                              VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                                              .bindingCount = m->counts[s],
                                              .pBindings = m->bindings[s]},
                                          NULL, &sets[s]),
              "vkCreateDescriptorSetLayout");
    VkPushConstantRange push = {VK_SHADER_STAGE_COMPUTE_BIT, 0,
                                props.properties.limits.maxPushConstantsSize};
    VkPipelineLayout layout;
    check(vkCreatePipelineLayout(device,
                                 &(VkPipelineLayoutCreateInfo){
                                     VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                     .setLayoutCount = m->sets, .pSetLayouts = sets,
                                     .pushConstantRangeCount = 1, .pPushConstantRanges = &push},
                                 NULL, &layout),
          "vkCreatePipelineLayout");
    return layout;
}

/* Prints the executables of a pipeline, returns how many registers were spilled (or bytes of
 * scratch used). */
static uint64_t print_executables(VkPipeline pipeline, const char *path, bool isa)
{
    VkPipelineExecutablePropertiesKHR ex[16];
    for (int i = 0; i < 16; i++)
        ex[i] = (VkPipelineExecutablePropertiesKHR){
            VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR};
    uint32_t n = 16;
    uint64_t spilled = 0;
    check(vkGetPipelineExecutablePropertiesKHR(
              device,
              &(VkPipelineInfoKHR){VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, .pipeline = pipeline}, &n,
              ex),
          "vkGetPipelineExecutablePropertiesKHR");
    for (uint32_t e = 0; e < n; e++) {
        VkPipelineExecutableInfoKHR info = {VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
                                            .pipeline = pipeline, .executableIndex = e};
        VkPipelineExecutableStatisticKHR st[64];
        for (int i = 0; i < 64; i++)
            st[i] = (VkPipelineExecutableStatisticKHR){
                VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR};
        uint32_t k = 64;
        check(vkGetPipelineExecutableStatisticsKHR(device, &info, &k, st),
              "vkGetPipelineExecutableStatisticsKHR");
        printf("%s [%s] subgroup=%u", path, ex[e].name, ex[e].subgroupSize);
        for (uint32_t i = 0; i < k; i++) {
            printf("; %s=", st[i].name);
            switch (st[i].format) {
            case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR:
                printf("%u", st[i].value.b32);
                break;
            case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR:
                printf("%lld", (long long)st[i].value.i64);
                break;
            case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_FLOAT64_KHR:
                printf("%g", st[i].value.f64);
                break;
            default: printf("%llu", (unsigned long long)st[i].value.u64);
            }
            if (strstr(st[i].name, "pill") || strstr(st[i].name, "Fill") ||
                !strncmp(st[i].name, "Scratch", 7))
                spilled += st[i].value.u64;
        }
        putchar('\n');
        if (!isa)
            continue;
        VkPipelineExecutableInternalRepresentationKHR ir[32];
        for (int i = 0; i < 32; i++)
            ir[i] = (VkPipelineExecutableInternalRepresentationKHR){
                VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR};
        uint32_t r = 32;
        check(vkGetPipelineExecutableInternalRepresentationsKHR(device, &info, &r, ir),
              "vkGetPipelineExecutableInternalRepresentationsKHR");
        for (uint32_t i = 0; i < r; i++)
            ir[i].pData = calloc(1, ir[i].dataSize + 1);
        check(vkGetPipelineExecutableInternalRepresentationsKHR(device, &info, &r, ir),
              "vkGetPipelineExecutableInternalRepresentationsKHR");
        for (uint32_t i = 0; i < r; i++)
            if (ir[i].isText)
                printf("---- %s\n%s\n", ir[i].name, (char *)ir[i].pData);
    }
    return spilled;
}

struct options {
    VkPipelineShaderStageRequiredSubgroupSizeCreateInfo need;
    VkSpecializationMapEntry map[32];
    uint32_t values[32], specs;
    VkPipelineShaderStageCreateFlags flags;
    bool isa, no_spills;
};

static int usage(const char *text, const char *what)
{
    fprintf(stderr, "hw_stats: %s%s\n", text, what);
    return 2;
}

static bool subgroup_size_exists(uint32_t size)
{
    return props13.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT &&
           size >= props13.minSubgroupSize && size <= props13.maxSubgroupSize;
}

/* Compiles one file; true if it compiles, and without spills where that is asked. */
static bool compile(const char *path, const struct options *o)
{
    if (o->need.requiredSubgroupSize && !subgroup_size_exists(o->need.requiredSubgroupSize)) {
        fprintf(stderr, "hw_stats: %s: no subgroup size of %u\n", props.properties.deviceName,
                o->need.requiredSubgroupSize);
        return false;
    }
    struct module m;
    read_module(path, &m);
    VkShaderModule shader;
    VkShaderModuleCreateInfo module_info = {VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                            .codeSize = m.words * 4ul, .pCode = m.code};
    check(vkCreateShaderModule(device, &module_info, NULL, &shader), "vkCreateShaderModule");
    VkSpecializationInfo spec = {o->specs, o->map, o->specs * 4, o->values};
    VkPipelineCreateFlags capture = VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR;
    if (o->isa)
        capture |= VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR;
    VkComputePipelineCreateInfo info = {
        VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO, .flags = capture,
        .stage = {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .pNext = o->need.requiredSubgroupSize ? &o->need : NULL, .flags = o->flags,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT, .module = shader, .pName = m.entry,
                  .pSpecializationInfo = &spec},
        .layout = layout_of(&m)};
    VkPipeline pipeline;
    VkResult r = vkCreateComputePipelines(device, VK_NULL_HANDLE, 1, &info, NULL, &pipeline);
    bool ok = r == VK_SUCCESS;
    if (ok) {
        uint64_t spilled = print_executables(pipeline, path, o->isa);
        ok = !o->no_spills || !spilled;
        vkDestroyPipeline(device, pipeline, NULL);
    } else {
        printf("%s: does not compile: VkResult %d\n", path, r);
    }
    vkDestroyShaderModule(device, shader, NULL);
    free(m.code);
    return ok;
}

int main(int argc, char **argv)
{
    struct options o = {
        .need = {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO}};
    bool failed = false;
    open_device();
    for (int i = 1; i < argc; i++) {
        char *a = argv[i];
        if (!strcmp(a, "--info"))
            print_info();
        else if (!strcmp(a, "--isa"))
            o.isa = true;
        else if (!strcmp(a, "--no-spills"))
            o.no_spills = true;
        else if (!strcmp(a, "--varying"))
            o.flags |= VK_PIPELINE_SHADER_STAGE_CREATE_ALLOW_VARYING_SUBGROUP_SIZE_BIT;
        else if (!strcmp(a, "--full"))
            o.flags |= VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT;
        else if (!strcmp(a, "--subgroup") && i + 1 < argc)
            o.need.requiredSubgroupSize = (uint32_t)atoi(argv[++i]);
        else if (!strcmp(a, "--spec") && i + 1 < argc && o.specs < 32) {
            unsigned id = 0, value = 0;
            if (sscanf(argv[++i], "%u=%u", &id, &value) != 2)
                return usage("--spec wants ID=N", "");
            o.map[o.specs] = (VkSpecializationMapEntry){id, o.specs * 4, 4};
            o.values[o.specs++] = value;
        } else if (a[0] == '-')
            return usage("unknown option ", a);
        else
            failed |= !compile(a, &o);
    }
    return failed;
}
