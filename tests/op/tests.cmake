# What all op tests share, devices included: each op_*.c of this folder goes into each of them.
file(GLOB op_shared CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/op_*.c)
file(GLOB op_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/test_*.c)
foreach(source ${op_tests})
  get_filename_component(stem ${source} NAME_WE)
  string(REGEX REPLACE "^test_" "op_" target ${stem})
  target_sources(${target} PRIVATE ${op_shared})
  target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_LIST_DIR})
endforeach()

# The same under the Vulkan validation layer: a message of its fails the program (op_device_gpu.c).
if(HEARTH_TEST_LAUNCHER)
  foreach(source ${op_tests})
    get_filename_component(stem ${source} NAME_WE)
    string(REGEX REPLACE "^test_" "" stem ${stem})
    add_test(NAME op.validate.${stem} COMMAND ${HEARTH_TEST_LAUNCHER} $<TARGET_FILE:op_${stem}>)
    set_tests_properties(op.validate.${stem} PROPERTIES LABELS op TIMEOUT 600 ENVIRONMENT HEARTH_TEST_VALIDATE=1)
  endforeach()
endif()
