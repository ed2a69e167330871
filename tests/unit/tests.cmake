target_link_libraries(unit_spirv_parse PRIVATE hearth_spirv)
# The solver against exact ones takes minutes under sanitizers.
if(HEARTH_SANITIZE)
  file(STRINGS ${CMAKE_CURRENT_LIST_DIR}/test_plan_solve.c names REGEX "^TEST\\([a-z0-9_]+\\)")
  foreach(line ${names})
    string(REGEX REPLACE "^TEST\\(([a-z0-9_]+)\\).*" "\\1" name "${line}")
    set_tests_properties(unit.plan_solve.${name} PROPERTIES LABELS "unit;tier-all")
  endforeach()
endif()
