# What toolchains for other systems share: libraries come from a prefix that a script fills, and from nowhere else, as those of
# this machine are for another system.

# Looks in the folder that `variable` names (a CMake or environment variable), else in the folder `name` of the private
# prefix; then in those given after.
macro(hearth_cross_prefix variable name)
  set(${variable} "$ENV{${variable}}" CACHE PATH "libraries (empty: the folder ${name} of the private prefix)")
  set(cross_prefix "${${variable}}")
  if(NOT cross_prefix AND DEFINED ENV{HEARTH_PREFIX})
    set(cross_prefix "$ENV{HEARTH_PREFIX}/${name}")
  elseif(NOT cross_prefix)
    set(cross_prefix "${CMAKE_CURRENT_LIST_DIR}/../.prefix/${name}")
  endif()
  set(CMAKE_FIND_ROOT_PATH "${cross_prefix}" ${ARGN})
  set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
  set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
  set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
  set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
  set(ENV{PKG_CONFIG_LIBDIR} "${cross_prefix}/lib/pkgconfig")
endmacro()
