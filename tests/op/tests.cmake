# What all op tests share, devices included: each op_*.c of this folder goes into each of them.
file(GLOB op_shared CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/op_*.c)
file(GLOB op_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/test_*.c)
foreach(source ${op_tests})
  get_filename_component(stem ${source} NAME_WE)
  string(REGEX REPLACE "^test_" "op_" target ${stem})
  target_sources(${target} PRIVATE ${op_shared})
  target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_LIST_DIR})
endforeach()
