# Completions for shells, printed by the program itself and installed where shells look for them.
if(CMAKE_CROSSCOMPILING OR WIN32)
  return()
endif()
set(completion_folder ${CMAKE_BINARY_DIR}/gen/completion)
file(MAKE_DIRECTORY ${completion_folder})
foreach(shell bash zsh fish)
  add_custom_command(OUTPUT ${completion_folder}/hearth.${shell}
    COMMAND hearth completion ${shell} > ${completion_folder}/hearth.${shell}
    DEPENDS hearth VERBATIM)
endforeach()
add_custom_target(completions ALL
  DEPENDS ${completion_folder}/hearth.bash ${completion_folder}/hearth.zsh ${completion_folder}/hearth.fish)
install(FILES ${completion_folder}/hearth.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME hearth)
install(FILES ${completion_folder}/hearth.zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions RENAME _hearth)
install(FILES ${completion_folder}/hearth.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
