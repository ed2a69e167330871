# GLSL → SPIR-V → one table inside the program (src/vk/shader_blob.h).
#
# Every shaders/<op>/<name>.comp is an entry point and makes the blob <name>. Lines at its top say more:
#   // args: STRUCT HEADER          the struct that its push constants are; its size is asserted
#   // variants: quant              once for each shaders/quant/<format>.h, which is what #include "quant_format.h" gets
#                                   (glslang has no #include of a macro), with -DQUANT_<FORMAT>=1: blobs <name>_<format>
#   // only: FORMAT …              with variants: once for each of these formats
#   // defines: SUFFIX A=1 B=2 ; …  further blobs <name>_SUFFIX (with formats: <name>_SUFFIX_<format>)
#   // requires: EXTENSION …        GLSL extensions; where the compiler lacks one, the blobs are left out
#   // target: vulkan1.3            where SPIR-V 1.6 is needed; else vulkan1.2
# and at the top of a format's header:
#   // not-in: <name> …             entry points that this format does not take part in (<name>_SUFFIX too)
#   // requires: EXTENSION …        as above
#
# Results: HEARTH_SHADER_SOURCES, gen/build_id.h. Each blob is a step of its own for the build tool: compile, optimise
# (where there is spirv-opt), validate.
#
# For tests each blob is made once more, as <blob>_addr, with -DHTH_ADDRESSES=1: the form of memory by 64-bit addresses. Op tests
# link hearth_blobs_both, a table of both forms that stands in for the program's own; the program carries only the first (which may read by address, too).

set(shader_tool_hints "${HEARTH_PREFIX}/bin" "$ENV{VULKAN_SDK}/bin" "$ENV{VULKAN_SDK}/Bin")
find_program(HEARTH_GLSLANG NAMES glslang glslangValidator HINTS ${shader_tool_hints})
find_program(HEARTH_SPIRV_VAL NAMES spirv-val HINTS ${shader_tool_hints})
find_program(HEARTH_SPIRV_OPT NAMES spirv-opt HINTS ${shader_tool_hints})
option(HEARTH_OPTIMIZE_SHADERS "run spirv-opt -O over each blob" ON)

foreach(tool HEARTH_GLSLANG HEARTH_SPIRV_VAL)
  if(NOT ${tool})
    message(FATAL_ERROR "glslang and spirv-val compile and check the shaders, and one is missing: run scripts/setup, or set VULKAN_SDK")
  endif()
endforeach()
execute_process(COMMAND ${HEARTH_GLSLANG} --version OUTPUT_VARIABLE glslang_version ERROR_QUIET)
string(REGEX MATCH "Glslang Version: [0-9]+:([0-9.]+)" _ "${glslang_version}")
set(glslang_version "${CMAKE_MATCH_1}")
if(glslang_version VERSION_LESS 14)
  message(FATAL_ERROR "${HEARTH_GLSLANG} is version \"${glslang_version}\", and the shaders need 14: run scripts/setup, or set VULKAN_SDK (and clear the CMake cache)")
endif()

# shader_extension(EXT OUT): whether the compiler knows a GLSL extension, found out by compiling three lines.
function(shader_extension extension out)
  set(key "HEARTH_HAS_${extension}")
  if(NOT "${${key}_BY}" STREQUAL "${HEARTH_GLSLANG} ${glslang_version}")
    set(probe ${CMAKE_BINARY_DIR}/CMakeFiles/probe.comp)
    set(text "#version 460\n#pragma use_vulkan_memory_model\n#extension GL_KHR_memory_scope_semantics : enable\n#extension GL_KHR_cooperative_matrix : enable\n#extension ${extension} : require\nlayout(local_size_x = 1) in;\nvoid main() {}\n")
    file(WRITE ${probe} "${text}")
    execute_process(COMMAND ${HEARTH_GLSLANG} --target-env vulkan1.3 -o ${probe}.spv ${probe} RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
    if(failed)
      set(${key} OFF CACHE INTERNAL "")
    else()
      set(${key} ON CACHE INTERNAL "")
    endif()
    set(${key}_BY "${HEARTH_GLSLANG} ${glslang_version}" CACHE INTERNAL "")
  endif()
  set(${out} ${${key}} PARENT_SCOPE)
endfunction()

# shader_mark(FILE NAME OUT): the text of the line "// NAME: text" among the first of a file; ON for a bare "// NAME".
function(shader_mark file name out)
  file(STRINGS ${file} lines LIMIT_COUNT 40 REGEX "^// ${name}(:|$)")
  list(LENGTH lines count)
  if(count EQUAL 0)
    set(${out} "" PARENT_SCOPE)
  elseif("${lines}" MATCHES "^// ${name}: *(.+)$")
    string(STRIP "${CMAKE_MATCH_1}" text)
    set(${out} "${text}" PARENT_SCOPE)
  else()
    set(${out} ON PARENT_SCOPE)
  endif()
endfunction()

# shader_missing(FILE OUT): which extensions that a file requires the compiler lacks.
function(shader_missing file out)
  shader_mark(${file} requires text)
  separate_arguments(extensions UNIX_COMMAND "${text}")
  set(missing "")
  foreach(extension ${extensions})
    shader_extension(${extension} known)
    if(NOT known)
      list(APPEND missing ${extension})
    endif()
  endforeach()
  set(${out} "${missing}" PARENT_SCOPE)
endfunction()

# Paths on the command line are relative to the build folder: the compiler writes them unescaped into its dependency
# files, which cannot hold spaces. Where the way to the sources has one, every blob depends on every file instead.
file(RELATIVE_PATH shader_folder ${CMAKE_BINARY_DIR} ${CMAKE_SOURCE_DIR}/shaders)
file(GLOB_RECURSE shader_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/shaders/*.comp ${CMAKE_SOURCE_DIR}/shaders/*.glsl ${CMAKE_SOURCE_DIR}/shaders/*.h)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/gen/shaders)
if(HEARTH_SPIRV_OPT AND HEARTH_OPTIMIZE_SHADERS)
  set(shader_optimizes ON)
else()
  set(shader_optimizes OFF)
endif()

# shader_blob(TABLE NAME SOURCE FORMAT DEFINES): one blob; appends to TABLE_list and TABLE_spirv of the caller.
function(shader_blob table name source format defines)
  get_filename_component(op ${source} DIRECTORY)
  get_filename_component(op ${op} NAME)
  file(RELATIVE_PATH relative ${CMAKE_SOURCE_DIR}/shaders ${source})
  shader_mark(${source} args args)
  separate_arguments(args UNIX_COMMAND "${args}")
  if(NOT args)
    set(args - -)
  endif()
  shader_mark(${source} target target)
  if(NOT target)
    set(target vulkan1.2)
  endif()
  set(spirv gen/shaders/${name}.spv)
  set(compile ${HEARTH_GLSLANG} --quiet --target-env ${target} -S comp -I${shader_folder} ${defines})
  set(depends DEPFILE ${CMAKE_BINARY_DIR}/${spirv}.d)
  if(shader_folder MATCHES " " OR NOT CMAKE_GENERATOR MATCHES "Ninja|Makefiles")
    set(depends DEPENDS ${shader_files})
  else()
    list(APPEND compile --depfile ${spirv}.d)
  endif()
  set(optimize)
  if(shader_optimizes)
    set(optimize COMMAND ${HEARTH_SPIRV_OPT} --target-env=${target} -O ${spirv} -o ${spirv})
  endif()
  add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/${spirv}
    COMMAND ${compile} -o ${spirv} ${shader_folder}/${relative}
    ${optimize}
    COMMAND ${HEARTH_SPIRV_VAL} --target-env ${target} ${spirv}
    MAIN_DEPENDENCY ${source} ${depends}
    WORKING_DIRECTORY ${CMAKE_BINARY_DIR} COMMENT "Shader ${name}" VERBATIM)
  list(GET args 0 struct)
  list(GET args 1 header)
  set(${table}_list "${${table}_list}${name}\t${op}\t${format}\t${struct}\t${header}\t${spirv}\n" PARENT_SCOPE)
  set(${table}_spirv ${${table}_spirv} ${CMAKE_BINARY_DIR}/${spirv} PARENT_SCOPE)
endfunction()

# shader_forms(NAME SOURCE FORMAT DEFINES): a blob, and for tests its form with 64-bit addresses.
macro(shader_forms form_name form_source form_format form_defines)
  shader_blob(shader ${form_name} ${form_source} ${form_format} "${form_defines}")
  if(HEARTH_TESTS)
    shader_blob(address ${form_name}_addr ${form_source} ${form_format} "${form_defines};-DHTH_ADDRESSES=1")
  endif()
endmacro()

# shader_variant(NAME SOURCE DEFINES): a variant of an entry point, in every format if it asks for that.
macro(shader_variant variant_name variant_source variant_defines)
  get_filename_component(variant_entry ${variant_source} NAME_WE)
  shader_mark(${variant_source} variants variant_kind)
  shader_mark(${variant_source} only variant_only)
  separate_arguments(variant_only UNIX_COMMAND "${variant_only}")
  if("${variant_kind}" STREQUAL "quant")
    foreach(header ${shader_format_headers})
      get_filename_component(format ${header} NAME_WE)
      string(TOUPPER ${format} upper)
      shader_mark(${header} not-in left_out)
      separate_arguments(left_out UNIX_COMMAND "${left_out}")
      shader_missing(${header} missing)
      if(variant_only AND NOT format IN_LIST variant_only)
        continue()
      endif()
      if(missing)
        string(APPEND shader_summary "\n  without ${variant_name}_${format}: glslang ${glslang_version} lacks ${missing}")
      elseif(NOT ${variant_entry} IN_LIST left_out AND NOT ${variant_name} IN_LIST left_out)
        shader_forms(${variant_name}_${format} ${variant_source} ${format}
          "${variant_defines};-DQUANT_${upper}=1;-Igen/format/${format}")
      endif()
    endforeach()
  elseif(variant_kind)
    message(FATAL_ERROR "${variant_source}: variants \"${variant_kind}\" are not known; there is \"quant\"")
  else()
    shader_forms(${variant_name} ${variant_source} - "${variant_defines}")
  endif()
endmacro()

file(GLOB shader_entries CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/shaders/*/*.comp)
file(GLOB shader_format_headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/shaders/quant/*.h)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${shader_entries} ${shader_format_headers})
foreach(header ${shader_format_headers})
  get_filename_component(format ${header} NAME_WE)
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/gen/format/${format}/quant_format.h CONTENT "#include \"quant/${format}.h\"\n" @ONLY)
endforeach()
set(shader_list "")
set(shader_spirv "")
set(address_list "")
set(address_spirv "")
set(shader_summary "")
foreach(source ${shader_entries})
  get_filename_component(entry ${source} NAME_WE)
  shader_missing(${source} missing)
  if(missing)
    string(APPEND shader_summary "\n  without ${entry}: glslang ${glslang_version} lacks ${missing}")
    continue()
  endif()
  shader_variant(${entry} ${source} "")
  shader_mark(${source} defines more)
  string(REPLACE "\\;" ";" more "${more}")
  foreach(variant ${more})
    separate_arguments(words UNIX_COMMAND "${variant}")
    list(POP_FRONT words suffix)
    list(TRANSFORM words PREPEND "-D")
    shader_variant(${entry}_${suffix} ${source} "${words}")
  endforeach()
endforeach()

list(LENGTH shader_spirv shader_count)
message(STATUS "Shaders: ${shader_count} blobs, glslang ${glslang_version} (${HEARTH_GLSLANG}), optimised: ${shader_optimizes}${shader_summary}")

add_library(hearth_spirv STATIC tools/spirv_parse.c)
target_include_directories(hearth_spirv PUBLIC tools src include)
set(reflect_sources tools/spirv_reflect.c src/base/mem.c)
if(CMAKE_CROSSCOMPILING) # it runs here, so this machine's compiler makes it
  find_program(HEARTH_BUILD_CC NAMES cc gcc clang REQUIRED)
  list(APPEND reflect_sources tools/spirv_parse.c)
  list(TRANSFORM reflect_sources PREPEND ${CMAKE_SOURCE_DIR}/)
  set(reflect_program ${CMAKE_BINARY_DIR}/gen/spirv_reflect)
  add_custom_command(OUTPUT ${reflect_program}
    COMMAND ${HEARTH_BUILD_CC} -std=c11 -O1 -I${CMAKE_SOURCE_DIR}/tools -I${CMAKE_SOURCE_DIR}/src -I${CMAKE_SOURCE_DIR}/include
            ${reflect_sources} -o ${reflect_program}
    DEPENDS ${reflect_sources} COMMENT "Building spirv_reflect for this machine" VERBATIM)
else()
  add_executable(spirv_reflect ${reflect_sources})
  target_link_libraries(spirv_reflect PRIVATE hearth_spirv)
  set(reflect_program spirv_reflect)
endif()

# shader_table(FOLDER LIST SPIRV…): FOLDER/shader_blobs.c with the blobs of a list, and the files beside it.
function(shader_table folder list)
  list(LENGTH ARGN count)
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/${folder}/shaders.list CONTENT "${list}" @ONLY)
  add_custom_command(OUTPUT ${folder}/shader_blobs.c ${folder}/build_id.h ${folder}/shaders.bin
    COMMAND ${reflect_program} ${folder}/shaders.list ${CMAKE_BINARY_DIR}/${folder}/shaders.bin ${folder}/shader_blobs.c ${folder}/build_id.h
    DEPENDS ${reflect_program} ${CMAKE_BINARY_DIR}/${folder}/shaders.list ${ARGN}
    WORKING_DIRECTORY ${CMAKE_BINARY_DIR} COMMENT "Embedding ${count} shaders" VERBATIM)
  set_source_files_properties(${CMAKE_BINARY_DIR}/${folder}/shader_blobs.c PROPERTIES OBJECT_DEPENDS ${CMAKE_BINARY_DIR}/${folder}/shaders.bin)
endfunction()

shader_table(gen "${shader_list}" ${shader_spirv})
set(HEARTH_SHADER_SOURCES ${CMAKE_BINARY_DIR}/gen/shader_blobs.c ${CMAKE_BINARY_DIR}/gen/build_id.h)
# A target of its own, so that shaders need not wait for the C code below them: cmake --build build/release --target shaders
add_custom_target(shaders DEPENDS ${HEARTH_SHADER_SOURCES})

# Kernels of bench/roof alone: a table of its own, which stands in for the program's where it is linked first.
set(roof_list "")
set(roof_spirv "")
file(GLOB roof_entries CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bench/roof/*.comp)
file(RELATIVE_PATH bench_folder ${CMAKE_BINARY_DIR} ${CMAKE_SOURCE_DIR}/bench)
foreach(source ${roof_entries})
  get_filename_component(entry ${source} NAME_WE)
  shader_missing(${source} missing)
  if(missing) # what it measures is then not measured
    continue()
  endif()
  shader_blob(roof ${entry} ${source} - -I${bench_folder})
  shader_mark(${source} defines more)
  if(more)
    separate_arguments(words UNIX_COMMAND "${more}")
    list(POP_FRONT words suffix)
    list(TRANSFORM words PREPEND "-D")
    shader_blob(roof ${entry}_${suffix} ${source} - "-I${bench_folder};${words}")
  endif()
endforeach()
shader_table(gen/roof "${roof_list}" ${roof_spirv})
add_library(hearth_blobs_roof OBJECT EXCLUDE_FROM_ALL ${CMAKE_BINARY_DIR}/gen/roof/shader_blobs.c)
target_include_directories(hearth_blobs_roof PRIVATE src include shaders bench)
if(HEARTH_TESTS)
  shader_table(gen/both "${shader_list}${address_list}" ${shader_spirv} ${address_spirv})
  add_library(hearth_blobs_both OBJECT EXCLUDE_FROM_ALL ${CMAKE_BINARY_DIR}/gen/both/shader_blobs.c)
  target_include_directories(hearth_blobs_both PRIVATE src include shaders)
endif()
