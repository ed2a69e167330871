# Runs an op test whose device has a violation planted, and wants it to fail with the layer's message.
#   cmake -DLAUNCHER=… -DPROGRAM=… -P planted.cmake
execute_process(COMMAND ${LAUNCHER} ${PROGRAM} copy RESULT_VARIABLE result OUTPUT_VARIABLE text ERROR_VARIABLE text)
message("${text}")
if(NOT text MATCHES "no GPU rows" AND (result EQUAL 0 OR NOT text MATCHES "the validation layer had [1-9][0-9]* messages"))
  message(FATAL_ERROR "a planted violation was not counted, or did not fail the program (it ended with ${result})")
endif()
