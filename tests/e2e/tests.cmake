# The programs that e2e tests start: hearth itself, and docs/example.c as a reader would compile it.
add_executable(hearth_example ${CMAKE_SOURCE_DIR}/docs/example.c)
target_link_libraries(hearth_example PRIVATE hearth_engine)

set(spawn_sources ${CMAKE_CURRENT_LIST_DIR}/spawn.c)
if(WIN32)
  list(APPEND spawn_sources ${CMAKE_CURRENT_LIST_DIR}/spawn_win32.c)
else()
  list(APPEND spawn_sources ${CMAKE_CURRENT_LIST_DIR}/spawn_posix.c)
  set(terminal_sources ${CMAKE_CURRENT_LIST_DIR}/terminal.c)
endif()

file(GLOB e2e_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/test_*.c)
list(FILTER e2e_sources EXCLUDE REGEX "${left_out}")
foreach(source ${e2e_sources})
  get_filename_component(stem ${source} NAME_WE)
  string(REGEX REPLACE "^test_" "" stem ${stem})
  target_sources(e2e_${stem} PRIVATE ${spawn_sources} ${terminal_sources})
  target_compile_definitions(e2e_${stem} PRIVATE
    _XOPEN_SOURCE=700 _DEFAULT_SOURCE
    HEARTH_PROGRAM="$<TARGET_FILE:hearth>" HEARTH_EXAMPLE="$<TARGET_FILE:hearth_example>"
    HEARTH_LIBEDIT=$<BOOL:${HEARTH_LIBEDIT}>)
  add_dependencies(e2e_${stem} hearth hearth_example)
endforeach()
if(NOT WIN32) # installs what is built, and builds docs/example.c with that
  target_compile_definitions(e2e_scripts PRIVATE HEARTH_CMAKE="${CMAKE_COMMAND}" HEARTH_CC="${CMAKE_C_COMPILER}")
  add_dependencies(e2e_scripts hearth_library completions)
endif()

if(WIN32)
  add_test(NAME e2e.libraries COMMAND ${CMAKE_COMMAND} -DOBJDUMP=${CMAKE_OBJDUMP} -DPROGRAM=$<TARGET_FILE:hearth>
    -P ${CMAKE_CURRENT_LIST_DIR}/libraries_win32.cmake)
  set_tests_properties(e2e.libraries PROPERTIES LABELS e2e)
endif()

# Every kind of product of a model, each in a dozen shapes: a minute or two.
set_property(TEST e2e.tune.until_nothing_is_left APPEND PROPERTY LABELS tier-all)

if(HEARTH_SANITIZE) # they measure, again and again
  set_tests_properties(e2e.placement.what_bench_achieves_is_kept e2e.placement.what_tune_finds_is_kept PROPERTIES LABELS "e2e;tier-all")
  foreach(name packed takes_one_device compares_with_goals without_room without_a_roof ends_in_time) # and these a script
    if(TEST e2e.scripts.gpu_check_${name})
      set_property(TEST e2e.scripts.gpu_check_${name} APPEND PROPERTY LABELS tier-all)
    endif()
  endforeach()
endif()
