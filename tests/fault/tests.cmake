# Every failure tried. What these tests share is each other file of this folder.

# What stands between a program of ours and the system (interpose.c); meant for LD_PRELOAD.
add_library(hearth_test_interposer MODULE ${CMAKE_CURRENT_LIST_DIR}/interpose.c)
target_link_libraries(hearth_test_interposer PRIVATE ${CMAKE_DL_LIBS})
if(HEARTH_SANITIZE) # shells load it, too
  target_compile_options(hearth_test_interposer PRIVATE -fno-sanitize=all)
  target_compile_definitions(hearth_test_interposer PRIVATE HEARTH_SANITIZED)
  target_link_options(hearth_test_interposer PRIVATE -fno-sanitize=all)
endif()

# With --all every call fails that the everyday tier samples; of what takes minutes a part, every n-th: in itself, under sanitizers.
set(fault_strides
  "vulkan\\.(streamed|two_gpus)" 7 31
  "memory\\.vulkan_experts" 7 7
  "memory\\.two_gpus_and_cpu" 3 7
  "memory\\.vulkan_(and_cpu|streamed)" 1 3
  "program\\.files_of_the_pipeline_cache" 3 13 # each with one of three errors
  "(vulkan|program)\\..*" 1 7
  "keeping\\..*" 1 31
)
function(stride_of entry result)
  set(strides ${fault_strides})
  set(${result} 1 PARENT_SCOPE)
  while(strides)
    list(POP_FRONT strides pattern plain sanitized)
    if(entry MATCHES "^fault\\.${pattern}$")
      if(HEARTH_SANITIZE)
        set(plain ${sanitized})
      endif()
      set(${result} ${plain} PARENT_SCOPE)
      return()
    endif()
  endwhile()
endfunction()

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

  if(stem MATCHES "^(pieces|wrong|submits)$")
    continue() # they sample nothing
  endif()
  file(STRINGS ${source} names REGEX "^TEST\\([a-z0-9_]+\\)")
  foreach(line ${names})
    string(REGEX REPLACE "^TEST\\(([a-z0-9_]+)\\).*" "\\1" name "${line}")
    set(entry fault.${stem}.${name})
    if(stem STREQUAL "keeping" AND NOT name MATCHES "^(no_memory_for_a_move|lost_at_a_(submit|wait_discrete)|one_of_two_is_lost)$")
      continue() # the others sample nothing
    endif()
    stride_of(${entry} stride)
    if(HEARTH_SANITIZE AND stem STREQUAL "kill") # what is killed tells of no leak: once is enough
      set_tests_properties(${entry} PROPERTIES LABELS "fault;tier-all")
      continue()
    endif()
    add_test(NAME ${entry}.all COMMAND ${CMAKE_SOURCE_DIR}/scripts/with-lavapipe --or-without $<TARGET_FILE:${target}> ${name})
    set_tests_properties(${entry}.all PROPERTIES LABELS "fault;tier-all" SKIP_RETURN_CODE 77 TIMEOUT 3000 ENVIRONMENT HEARTH_TEST_STRIDE=${stride})
    set_property(TEST ${entry} APPEND PROPERTY LABELS tier-sample)
    if(HEARTH_SANITIZE) # everything is several times slower there
      set_tests_properties(${entry} PROPERTIES ENVIRONMENT HEARTH_TEST_STRIDE=61)
    endif()
  endforeach()
endforeach()
if(HEARTH_SANITIZE) # many runs of a prompt, or of all sizes of batches: every day one of them
  set_property(TEST fault.submits.a_submit_of_experts_that_grows fault.submits.a_submit_that_grows_as_weights_pass
    fault.wrong.none_is_compiled_later APPEND PROPERTY LABELS tier-all)
endif()
