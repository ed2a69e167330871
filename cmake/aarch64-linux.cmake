# Cross-compiles for 64-bit ARM Linux; programs run under qemu's user mode. Libraries come from the prefix that scripts/build-arm
# fills, libc from the cross compiler.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)

set(HEARTH_ARM_PREFIX "$ENV{HEARTH_ARM_PREFIX}" CACHE PATH "libraries for ARM (empty: the folder arm of the private prefix)")
set(arm_prefix "${HEARTH_ARM_PREFIX}")
if(NOT arm_prefix AND DEFINED ENV{HEARTH_PREFIX})
  set(arm_prefix "$ENV{HEARTH_PREFIX}/arm")
elseif(NOT arm_prefix)
  set(arm_prefix "${CMAKE_CURRENT_LIST_DIR}/../.prefix/arm")
endif()
set(CMAKE_FIND_ROOT_PATH "${arm_prefix}" /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_LIBDIR} "${arm_prefix}/lib/pkgconfig")
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)
# gcc 12 crashes where it vectorizes some loops with fmax for ARM ("in vect_transform_reduction"); kernels name their vectors.
set(CMAKE_C_FLAGS_INIT -fno-tree-vectorize)
