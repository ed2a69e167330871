# Every failure tried. What these tests share is each other file of this folder.

# What stands between a program of ours and the system (interpose.c); meant for LD_PRELOAD.
add_library(hearth_test_interposer MODULE ${CMAKE_CURRENT_LIST_DIR}/interpose.c)
target_link_libraries(hearth_test_interposer PRIVATE ${CMAKE_DL_LIBS})
if(HEARTH_SANITIZE) # shells load it, too
  target_compile_options(hearth_test_interposer PRIVATE -fno-sanitize=all)
  target_compile_definitions(hearth_test_interposer PRIVATE HEARTH_SANITIZED)
  target_link_options(hearth_test_interposer PRIVATE -fno-sanitize=all)
endif()

file(GLOB fault_shared CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.c)
list(FILTER fault_shared EXCLUDE REGEX "/(test_[a-z]+|interpose)\\.c$")
file(GLOB fault_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/test_*.c)
foreach(source ${fault_tests})
  get_filename_component(stem ${source} NAME_WE)
  string(REGEX REPLACE "^test_" "" stem ${stem})
  set(target fault_${stem})
  target_sources(${target} PRIVATE ${fault_shared} ${CMAKE_CURRENT_SOURCE_DIR}/golden/logits.c ${spawn_sources})
  target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_LIST_DIR} golden e2e)
  target_compile_definitions(${target} PRIVATE _POSIX_C_SOURCE=200809L _DEFAULT_SOURCE HEARTH_PROGRAM="$<TARGET_FILE:hearth>"
    HEARTH_LAYER="$<TARGET_FILE:hearth_test_layer>" HEARTH_LAYER_FOLDER="$<TARGET_FILE_DIR:hearth_test_layer>"
    HEARTH_INTERPOSER="$<TARGET_FILE:hearth_test_interposer>")
  add_dependencies(${target} hearth hearth_test_layer hearth_test_interposer)

  if(stem MATCHES "^(pieces|wrong|keeping)$")
    continue() # they sample nothing
  endif()
  # All of what the everyday tier samples, but of what takes minutes a part.
  set(stride 1)
  if(HEARTH_SANITIZE AND stem MATCHES "^(program|vulkan)$")
    set(stride 7)
  endif()
  file(STRINGS ${source} names REGEX "^TEST\\([a-z0-9_]+\\)")
  foreach(line ${names})
    string(REGEX REPLACE "^TEST\\(([a-z0-9_]+)\\).*" "\\1" name "${line}")
    set(entry fault.${stem}.${name})
    set(own_stride ${stride})
    if(HEARTH_SANITIZE AND entry MATCHES "^fault\\.vulkan\\.(streamed|two_gpus)$")
      set(own_stride 31)
    elseif(entry MATCHES "^fault\\.(vulkan\\.(streamed|two_gpus)|memory\\.vulkan_experts)$")
      set(own_stride 7)
    elseif(entry STREQUAL "fault.memory.two_gpus_and_cpu" OR (HEARTH_SANITIZE AND entry MATCHES "^fault\\.memory\\.vulkan_(and_cpu|streamed)$"))
      set(own_stride 3)
    elseif(entry STREQUAL "fault.program.files_of_the_pipeline_cache" AND NOT HEARTH_SANITIZE)
      set(own_stride 3) # each with one of three errors
    endif()
    if(HEARTH_SANITIZE AND stem STREQUAL "kill") # what is killed tells of no leak: once is enough
      set_tests_properties(${entry} PROPERTIES LABELS "fault;tier-all")
      continue()
    endif()
    add_test(NAME ${entry}.all COMMAND ${CMAKE_SOURCE_DIR}/scripts/with-lavapipe --or-without $<TARGET_FILE:${target}> ${name})
    set_tests_properties(${entry}.all PROPERTIES LABELS "fault;tier-all" SKIP_RETURN_CODE 77 TIMEOUT 3000 ENVIRONMENT HEARTH_TEST_STRIDE=${own_stride})
    if(HEARTH_SANITIZE) # everything is several times slower there
      set_tests_properties(${entry} PROPERTIES ENVIRONMENT HEARTH_TEST_STRIDE=61)
    endif()
  endforeach()
endforeach()
