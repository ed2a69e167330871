# Tests of whole models share logits.c, whatever their kind.
foreach(target golden_logits golden_made_models golden_real golden_wrong_models golden_resident prop_split_batches prop_split_devices prop_split_models prop_placed prop_experts prop_best unit_engine unit_engine_turns unit_ring unit_hazard unit_measured unit_tuned unit_dispatches unit_stopwatch unit_pipelines)
  if(TARGET ${target})
    target_sources(${target} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/logits.c)
    target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_LIST_DIR})
  endif()
endforeach()

# On the software device with subgroups of 4, 8 and 16 (a real device does not look at the variable): the entries that there
# are anyway run with 8, and have two sisters; those of formats in the whole tier only, but for two.
file(STRINGS ${CMAKE_CURRENT_LIST_DIR}/test_logits.c names REGEX "^TEST\\([a-z0-9_]+_vulkan\\)")
foreach(line ${names})
  string(REGEX REPLACE "^TEST\\(([a-z0-9_]+)\\).*" "\\1" name "${line}")
  set_tests_properties(golden.logits.${name} PROPERTIES ENVIRONMENT LP_NATIVE_VECTOR_WIDTH=256)
  string(REGEX REPLACE "^quant_(.*)_vulkan$" "\\1" format "${name}")
  if(name MATCHES "^quant_" AND NOT EXISTS ${CMAKE_SOURCE_DIR}/shaders/quant/${format}.h)
    continue() # skips, once is enough
  endif()
  foreach(width 128 512)
    set(entry golden.logits.${name}.w${width})
    add_test(NAME ${entry} COMMAND ${HEARTH_TEST_LAUNCHER} $<TARGET_FILE:golden_logits> ${name})
    set_tests_properties(${entry} PROPERTIES LABELS golden SKIP_RETURN_CODE 77 TIMEOUT 600
      ENVIRONMENT LP_NATIVE_VECTOR_WIDTH=${width})
    if(name MATCHES "^quant_" AND NOT entry MATCHES "quant_(q4_k|iq3_s)_vulkan.w128$")
      set_property(TEST ${entry} APPEND PROPERTY LABELS tier-all)
    endif()
  endforeach()
endforeach()

# Whole models under the Vulkan validation layer, which prints what it finds and changes no result. That it is really there the first
# shows, whose program does what it must find.
if(HEARTH_TEST_LAUNCHER AND NOT WIN32 AND NOT CMAKE_CROSSCOMPILING)
  set(validating LABELS golden SKIP_RETURN_CODE 77 TIMEOUT 600)
  add_test(NAME golden.validate.finds_a_violation COMMAND ${HEARTH_TEST_LAUNCHER} $<TARGET_FILE:op_cache> rope_pairs)
  set_tests_properties(golden.validate.finds_a_violation PROPERTIES ${validating} PASS_REGULAR_EXPRESSION "VUID-"
    ENVIRONMENT "VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation;HEARTH_TEST_VIOLATE=1")
  foreach(entry golden_logits:llama_moe_vulkan golden_logits:discrete_vulkan unit_engine:many_sizes_of_batches_vulkan unit_engine:decoding_allocates_nothing_discrete_vulkan unit_engine:cancel_vulkan prop_split_batches:sharing_vulkan)
    string(REPLACE ":" ";" parts ${entry})
    list(GET parts 0 target)
    list(GET parts 1 name)
    add_test(NAME golden.validate.${name} COMMAND ${HEARTH_TEST_LAUNCHER} $<TARGET_FILE:${target}> ${name})
    set_tests_properties(golden.validate.${name} PROPERTIES ${validating}
      FAIL_REGULAR_EXPRESSION "VUID-;Validation Error" ENVIRONMENT VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation)
  endforeach()
endif()

# The long prompt takes half a minute to minutes: in the everyday tier once on the CPU and once on the device, under sanitizers
# not at all, nor the short one; there never in sevens, nor as users run it (_default), as the short one is in both.
set(slow long_default long_sevens long_sevens_default long_default_vulkan long_sevens_vulkan long_sevens_default_vulkan)
if(HEARTH_SANITIZE)
  list(APPEND slow long sky sky_default)
endif()
foreach(name ${slow})
  set_tests_properties(golden.real.${name} PROPERTIES LABELS "golden;tier-all")
endforeach()
# Experts of every format take twenty seconds; every day those of a mix are loaded.
set_property(TEST golden.resident.experts APPEND PROPERTY LABELS tier-all)
if(HEARTH_SANITIZE)
  set_tests_properties(golden.real.long_default golden.real.long_sevens golden.real.long_sevens_default PROPERTIES LABELS "too-slow;tier-all")
endif()
