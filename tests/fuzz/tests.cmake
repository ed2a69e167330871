# Every tests/fuzz/fuzz_<name>.c holds LLVMFuzzerTestOneInput; its kept corpus is tests/fuzz/corpus/<name>/. With clang and
# HEARTH_FUZZ it is a libFuzzer program; otherwise standalone.c drives it, as the ctest entries fuzz.<name> and
# fuzz.<name>.no_memory, 2 s each (HEARTH_FUZZ_SECONDS overrides).
# These check results that only hold when memory was there, so they have no variant without:
set(fuzz_needs_memory tokenizer utf8)
# ... and this one chooses itself which allocation fails:
list(APPEND fuzz_needs_memory eval)
file(GLOB fuzz_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/fuzz_*.c)
set(fuzz_seconds 2)
if(HEARTH_FUZZ) # what is fuzzed reports its coverage
  foreach(library hearth_core hearth_text hearth_engine hearth_spirv)
    target_compile_options(${library} PRIVATE -fsanitize=fuzzer-no-link)
    target_link_options(${library} INTERFACE -fsanitize=fuzzer-no-link) # what they call, without a sanitizer's runtime too
  endforeach()
endif()
foreach(source ${fuzz_sources})
  get_filename_component(target ${source} NAME_WE)
  string(REGEX REPLACE "^fuzz_" "" name ${target})
  set(corpus ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/${name})
  if(NOT EXISTS ${corpus})
    set(corpus)
  endif()
  if(HEARTH_FUZZ)
    add_executable(${target} ${source})
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer)
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/found/${name})
    add_test(NAME fuzz.${name} COMMAND ${target} -max_total_time=20 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
      ${CMAKE_CURRENT_BINARY_DIR}/found/${name} ${corpus})
  else()
    add_executable(${target} ${source} fuzz/standalone.c)
    add_test(NAME fuzz.${name} COMMAND ${target} --seconds ${fuzz_seconds} ${corpus})
    if(NOT ${name} IN_LIST fuzz_needs_memory)
      add_test(NAME fuzz.${name}.no_memory COMMAND ${target} --seconds ${fuzz_seconds} --fail-allocations ${corpus})
      set_tests_properties(fuzz.${name}.no_memory PROPERTIES LABELS fuzz TIMEOUT 300 ENVIRONMENT ${HEARTH_TEST_CACHE})
    endif()
  endif()
  target_link_libraries(${target} PRIVATE hearth_text hearth_core)
  set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT 300 ENVIRONMENT ${HEARTH_TEST_CACHE})
endforeach()
target_link_libraries(fuzz_spirv PRIVATE hearth_spirv)
foreach(name gguf model_bind eval) # their mutator keeps a file a file
  target_sources(fuzz_${name} PRIVATE fuzz/gguf_mutator.c)
endforeach()
target_sources(fuzz_eval PRIVATE fuzz/made_model.c fuzz/made_vocab.c)
target_sources(fuzz_tokenizer PRIVATE fuzz/made_vocab.c)
target_link_libraries(fuzz_eval PRIVATE hearth_engine)
