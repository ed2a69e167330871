# A Vulkan layer of ours, for tests of what happens when the driver fails (layer.h). It stays in memory once it was loaded
# (nodelete), as its counts outlive the instance.
file(GLOB layer_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.c)
add_library(hearth_test_layer MODULE ${layer_sources})
set_target_properties(hearth_test_layer PROPERTIES C_VISIBILITY_PRESET hidden)
target_include_directories(hearth_test_layer SYSTEM PRIVATE ${HEARTH_VULKAN_INCLUDE})
target_link_options(hearth_test_layer PRIVATE -Wl,-z,nodelete)
target_link_libraries(hearth_test_layer PRIVATE Threads::Threads)
set(layer_folder ${CMAKE_CURRENT_BINARY_DIR}/layer)
set_target_properties(hearth_test_layer PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${layer_folder})
set(layer_library ${layer_folder}/libhearth_test_layer.so)
configure_file(${CMAKE_CURRENT_LIST_DIR}/layer.json.in ${layer_folder}/layer.json @ONLY)

find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND)
  add_test(NAME fault.layer_calls COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_LIST_DIR}/check_calls.py ${CMAKE_SOURCE_DIR} ${HEARTH_VULKAN_INCLUDE})
  set_tests_properties(fault.layer_calls PROPERTIES LABELS fault SKIP_RETURN_CODE 77)
endif()
