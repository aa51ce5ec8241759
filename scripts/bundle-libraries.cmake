# Copies what ADDON links beyond the C and C++ runtimes into its folder, under the names it asks for. Run by CMakeLists.txt.
file(GET_RUNTIME_DEPENDENCIES MODULES ${ADDON} RESOLVED_DEPENDENCIES_VAR libraries
     POST_EXCLUDE_REGEXES "/lib(c|m|dl|rt|pthread|stdc\\+\\+|gcc_s)\\.so" "/ld-linux")
get_filename_component(folder ${ADDON} DIRECTORY)
foreach(library ${libraries})
  get_filename_component(name ${library} NAME)
  message(STATUS "bundling ${name}")
  execute_process(COMMAND ${CMAKE_COMMAND} -E copy ${library} ${folder}/${name} COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${STRIP} --strip-unneeded ${folder}/${name} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
