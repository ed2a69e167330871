target_link_libraries(unit_spirv_parse PRIVATE hearth_spirv)
# The solver beside exact ones: every day a quarter of the thousand cases; under sanitizers, where they take minutes, none.
foreach(part RANGE 2 4)
  set_property(TEST unit.plan_solve.within_one_percent_of_exact_${part} APPEND PROPERTY LABELS tier-all)
endforeach()
set_property(TEST unit.plan_solve.more_memory_of_two_gpus_is_hardly_slower APPEND PROPERTY LABELS tier-all)
# Nor machines in virtual time, whose arithmetic is the same there.
if(HEARTH_SANITIZE)
  foreach(stem plan_solve plan_virtual)
    file(STRINGS ${CMAKE_CURRENT_LIST_DIR}/test_${stem}.c names REGEX "^TEST\\([a-z0-9_]+\\)")
    foreach(line ${names})
      string(REGEX REPLACE "^TEST\\(([a-z0-9_]+)\\).*" "\\1" name "${line}")
      set_tests_properties(unit.${stem}.${name} PROPERTIES LABELS "unit;tier-all")
    endforeach()
  endforeach()
endif()

target_sources(unit_trial PRIVATE ${CMAKE_SOURCE_DIR}/bench/trial.c)
target_include_directories(unit_trial PRIVATE ${CMAKE_SOURCE_DIR}/bench)
