# What all op tests share, devices included: each op_*.c of this folder goes into each of them. Linked before the engine, the table
# of blobs in both forms of memory takes the place of the program's.
file(GLOB op_shared CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/op_*.c)
list(FILTER op_shared EXCLUDE REGEX "${left_out}")
file(GLOB op_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/test_*.c)
foreach(source ${op_tests})
  get_filename_component(stem ${source} NAME_WE)
  string(REGEX REPLACE "^test_" "op_" target ${stem})
  target_sources(${target} PRIVATE ${op_shared})
  target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_LIST_DIR})
  target_link_libraries(${target} PRIVATE hearth_blobs_both ${CMAKE_DL_LIBS})
  if(NOT WIN32) # op_fence_posix.c stands before the libraries
    target_link_options(${target} PRIVATE LINKER:--export-dynamic-symbol=mmap64)
  endif()
endforeach()

# What each entry runs is noted (op_ran.h); op.every_row.ran, after all of them, misses what none ran.
set(op_entries "")
set(op_ran_list "")
file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/op_ran)
foreach(source ${op_tests})
  get_filename_component(stem ${source} NAME_WE)
  string(REGEX REPLACE "^test_" "" stem ${stem})
  file(STRINGS ${source} names REGEX "^TEST\\([a-z0-9_]+\\)")
  foreach(line ${names})
    string(REGEX REPLACE "^TEST\\(([a-z0-9_]+)\\).*" "op.${stem}.\\1" entry "${line}")
    if(NOT stem STREQUAL "every_row")
      list(APPEND op_entries ${entry})
      if(NOT stem STREQUAL "knobs") # of rows that all run elsewhere
        string(APPEND op_ran_list "${entry}\t$<TARGET_FILE:op_${stem}>\n")
      endif()
      set_tests_properties(${entry} PROPERTIES ENVIRONMENT HEARTH_OP_RAN=${CMAKE_CURRENT_BINARY_DIR}/op_ran/${entry})
    endif()
  endforeach()
endforeach()
file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/op_ran.list CONTENT "${op_ran_list}")
set_tests_properties(op.every_row.ran PROPERTIES DEPENDS "${op_entries}")

# A kernel for each value that tuning can give: every day those of the commonest products, in one width of subgroups.
foreach(name superblocks many_columns_of_halves many_columns_by_expert gate_and_up norm_and_products attention_of_some_tokens
    attention_of_many_tokens)
  set_property(TEST op.knobs.${name} APPEND PROPERTY LABELS tier-all)
endforeach()
if(HEARTH_TEST_LAUNCHER AND NOT WIN32)
  foreach(width 128 512)
    foreach(name one_column superblocks some_columns many_columns many_columns_of_halves many_columns_by_expert gate_and_up norm_and_products
        attention_of_one_token)
      add_test(NAME op.knobs.${name}.w${width} COMMAND ${HEARTH_TEST_LAUNCHER} $<TARGET_FILE:op_knobs> ${name})
      set_tests_properties(op.knobs.${name}.w${width} PROPERTIES LABELS "op;tier-all" SKIP_RETURN_CODE 77 TIMEOUT 600
        ENVIRONMENT "HEARTH_TEST_WHOLE=1;LP_NATIVE_VECTOR_WIDTH=${width}")
    endforeach()
  endforeach()
endif()

# What depends on how many lanes a subgroup has beyond sums: with 4 and 16 of them, too.
if(HEARTH_TEST_LAUNCHER AND NOT WIN32 AND NOT CMAKE_CROSSCOMPILING)
  foreach(width 128 512)
    foreach(name any_rows ties_go_to_the_lower_id)
      add_test(NAME op.top_k.${name}.w${width} COMMAND ${HEARTH_TEST_LAUNCHER} $<TARGET_FILE:op_top_k> ${name})
      set_tests_properties(op.top_k.${name}.w${width} PROPERTIES LABELS op SKIP_RETURN_CODE 77 TIMEOUT 600
        ENVIRONMENT LP_NATIVE_VECTOR_WIDTH=${width})
    endforeach()
  endforeach()
endif()

# What takes too long to compile every day (op_test_whole): of formats that few models have some shapes of matmul, and tiles on
# cooperative matrices.
if(HEARTH_TEST_LAUNCHER AND NOT WIN32 AND NOT CMAKE_CROSSCOMPILING)
  file(STRINGS ${CMAKE_CURRENT_LIST_DIR}/test_matmul.c rare REGEX "(rare|sibling)_format\\(\"")
  foreach(line ${rare})
    string(REGEX REPLACE ".*\"(.*)\".*" "\\1" name "${line}")
    string(TOLOWER ${name} name)
    add_test(NAME op.matmul.${name}.all_shapes COMMAND ${HEARTH_TEST_LAUNCHER} $<TARGET_FILE:op_matmul> ${name})
    set_tests_properties(op.matmul.${name}.all_shapes PROPERTIES LABELS "op;tier-all" TIMEOUT 600
      ENVIRONMENT HEARTH_TEST_WHOLE=1)
  endforeach()
  foreach(entry matmul_experts.formats knobs.many_columns cache.attention_f16 cache.attention_q8_0 cache.attention_q4_0 cache.attention_shared
      cache.attention_tiles cache.attention_widths cache.attention_window cache.attention_softcap cache.attention_sinks)
    string(REPLACE "." ";" names ${entry})
    list(GET names 0 stem)
    list(GET names 1 name)
    add_test(NAME op.${entry}.whole COMMAND ${HEARTH_TEST_LAUNCHER} $<TARGET_FILE:op_${stem}> ${name})
    set_tests_properties(op.${entry}.whole PROPERTIES LABELS "op;tier-all" TIMEOUT 600 ENVIRONMENT HEARTH_TEST_WHOLE=1)
  endforeach()
endif()

# The same under the Vulkan validation layer: a message of its fails the program (op_device_gpu.c).
if(HEARTH_TEST_LAUNCHER AND NOT WIN32 AND NOT CMAKE_CROSSCOMPILING) # there layers are not seen
  foreach(source ${op_tests})
    get_filename_component(stem ${source} NAME_WE)
    string(REGEX REPLACE "^test_" "" stem ${stem})
    if(stem STREQUAL "every_row")
      continue()
    endif()
    add_test(NAME op.validate.${stem} COMMAND ${HEARTH_TEST_LAUNCHER} $<TARGET_FILE:op_${stem}>)
    set_tests_properties(op.validate.${stem} PROPERTIES LABELS op TIMEOUT 600 SKIP_REGULAR_EXPRESSION "no GPU rows"
      ENVIRONMENT HEARTH_TEST_VALIDATE=1)
    if(stem MATCHES "^(knobs|many_rows|matmul_experts)$") # the kernels of the others, and many of them
      set_property(TEST op.validate.${stem} APPEND PROPERTY LABELS tier-all)
    endif()
  endforeach()
  # The test of the tests: with a violation planted after the layer was proved, the program must fail and say how many.
  add_test(NAME op.validate.planted COMMAND ${CMAKE_COMMAND} "-DLAUNCHER=${HEARTH_TEST_LAUNCHER}" -DPROGRAM=$<TARGET_FILE:op_rows>
    -P ${CMAKE_CURRENT_LIST_DIR}/planted.cmake)
  set_tests_properties(op.validate.planted PROPERTIES LABELS op TIMEOUT 600 SKIP_REGULAR_EXPRESSION "no GPU rows"
    ENVIRONMENT "HEARTH_TEST_VALIDATE=1;HEARTH_TEST_VIOLATE=1")
endif()

# Under sanitizers only the CPU's rows run, whose buffers lie between guards without them, too: every day products and the cache.
if(HEARTH_SANITIZE)
  foreach(entry ${op_entries} op.every_row.ran)
    if(NOT entry MATCHES "^op\\.(matmul|cache)\\.")
      set_property(TEST ${entry} APPEND PROPERTY LABELS tier-all)
    endif()
  endforeach()
endif()
