# Cross-compiles for 64-bit ARM Linux; programs run under qemu's user mode. Libraries come from the prefix that scripts/build-arm
# fills, libc from the cross compiler.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)

include("${CMAKE_CURRENT_LIST_DIR}/cross.cmake")
hearth_cross_prefix(HEARTH_ARM_PREFIX arm /usr/aarch64-linux-gnu)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)
# gcc 12 crashes where it vectorizes some loops with fmax for ARM ("in vect_transform_reduction"); kernels name their vectors.
set(CMAKE_C_FLAGS_INIT -fno-tree-vectorize)
