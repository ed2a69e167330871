# Files of src/cpu that end in _avx2, _avx512 or _neon are compiled for those instructions, where the compiler's target has them;
# which of them run is found out on the machine (src/cpu/level.h). CPU_LEVELS_ELSEWHERE matches the files of other targets.
if(CMAKE_C_COMPILER_TARGET MATCHES "^(x86_64|amd64)" OR (NOT CMAKE_C_COMPILER_TARGET AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$"))
  set(CPU_LEVELS_ELSEWHERE "_neon\\.c$")
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
  set(CPU_LEVELS_ELSEWHERE "_avx(2|512)\\.c$")
else()
  set(CPU_LEVELS_ELSEWHERE "_(avx2|avx512|neon)\\.c$")
endif()

# What is computed in float there is held to tolerances, not to bits: products may fuse with sums.
set(cpu_flags_avx2 -mavx2 -mfma -mf16c -ffp-contract=fast)
set(cpu_flags_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx2 -mfma -mf16c -mprefer-vector-width=512 -ffp-contract=fast)
set(cpu_flags_neon -march=armv8.2-a+dotprod+fp16 -ffp-contract=fast)

# gcc takes the stack of 64-bit Windows for aligned to more than its 16 bytes, and moves whole vectors to and from it by
# instructions that fault (https://gcc.gnu.org/bugzilla/show_bug.cgi?id=54412). Debian's has unaligned moves put in their place,
# which are as fast where the address is aligned; others are told to here, by an option of binutils 2.38.
if(WIN32 AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
  include(CheckCCompilerFlag)
  check_c_compiler_flag(-Wa,-muse-unaligned-vector-move HEARTH_UNALIGNED_MOVES)
  if(HEARTH_UNALIGNED_MOVES)
    list(APPEND cpu_flags_avx2 -Wa,-muse-unaligned-vector-move)
    list(APPEND cpu_flags_avx512 -Wa,-muse-unaligned-vector-move)
  endif()
endif()

function(hearth_cpu_levels sources)
  foreach(level avx2 avx512 neon)
    set(found ${sources})
    list(FILTER found INCLUDE REGEX "/src/cpu/[a-z0-9_]+_${level}\\.c$")
    if(found)
      set_source_files_properties(${found} PROPERTIES COMPILE_OPTIONS "${cpu_flags_${level}}")
    endif()
  endforeach()
endfunction()
