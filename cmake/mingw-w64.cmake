# Cross-compiles for 64-bit Windows with mingw-w64. Libraries come from the prefix that scripts/build-windows fills.
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_C_COMPILER x86_64-w64-mingw32-gcc)
set(CMAKE_RC_COMPILER x86_64-w64-mingw32-windres)

include("${CMAKE_CURRENT_LIST_DIR}/cross.cmake")
hearth_cross_prefix(HEARTH_WINDOWS_PREFIX windows)
set(CMAKE_EXE_LINKER_FLAGS_INIT -static)
