# The compilers of GPUs that are not here (scripts/setup --for test): an entry per card. Without them each is skipped.
# Of cards for which one compiler writes much the same instructions, one is tried every day, the others with `scripts/test --all`.
set(hw_twins
  skl icl tgl adl dg1 a380 a770 mtl arl lnl ptl # of b580: Gen9 to Xe3
  polaris10 vega10 renoir # of vega20: GCN4 and GCN5
  navi10 navi21 navi23 vangogh rembrandt # of gfx1201: RDNA1 and RDNA2
  navi31 navi32 navi33 phoenix gfx1150 gfx1151 gfx1200 # of gfx1201: RDNA3 to RDNA4
  gtx980 gtx1080 rtx2080 rtx4090 rtx5090 # of rtx3090: Maxwell to Blackwell
)
set(hw_launcher "${HEARTH_PREFIX}/hw/hw")
file(STRINGS ${CMAKE_CURRENT_LIST_DIR}/hw hw_orders REGEX "^[a-z]+_order='")
set(hw_cards "")
foreach(line ${hw_orders})
  string(REGEX REPLACE "^[a-z]+_order='(.*)'$" "\\1" cards "${line}")
  separate_arguments(cards UNIX_COMMAND "${cards}")
  list(APPEND hw_cards ${cards})
endforeach()
find_package(Python3 COMPONENTS Interpreter)
# hw_rows(NAME CARD LABELS OPTION…)
function(hw_rows name card labels)
  add_test(NAME ${name} COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/hw/check_rows.py ${ARGN} ${hw_launcher} $<TARGET_FILE:hearth> ${card})
  set_tests_properties(${name} PROPERTIES LABELS "${labels}" SKIP_RETURN_CODE 77 TIMEOUT 900 ENVIRONMENT ${HEARTH_TEST_CACHE})
endfunction()

# With --fallbacks, of all cards: what is chosen where a kernel turns out wrong, too, and so every pipeline that selection can choose.
if(Python3_FOUND AND NOT HEARTH_SANITIZE)
  foreach(card ${hw_cards})
    if(card IN_LIST hw_twins)
      hw_rows(hw.rows.${card} ${card} "hw;tier-all" --fallbacks)
    else()
      hw_rows(hw.rows.${card} ${card} "hw;tier-sample")
      hw_rows(hw.rows.fallbacks.${card} ${card} "hw;tier-all" --fallbacks)
    endif()
  endforeach()

  # What AMD's driver offers where it is asked to: elements of cooperative matrices.
  foreach(card navi31 gfx1201)
    hw_rows(hw.rows.elements.${card} ${card} "hw;tier-all" --chosen=attention_coop2_f16 --chosen=attention_coop2_q8_0 --chosen=attention_coop2_q4_0)
    set_property(TEST hw.rows.elements.${card} APPEND PROPERTY ENVIRONMENT radv_cooperative_matrix2_nv=true)
  endforeach()

  # A second start finds a model's kernels on disk (the software device does not say so).
  foreach(card gfx1201 rtx3090)
    add_test(NAME hw.pipelines.${card} COMMAND ${hw_launcher} ${card} $<TARGET_FILE:unit_pipelines> a_second_start_compiles_none)
    set_tests_properties(hw.pipelines.${card} PROPERTIES LABELS hw SKIP_RETURN_CODE 77 TIMEOUT 900
      ENVIRONMENT HEARTH_TEST_NOTHING_RUNS=1)
  endforeach()

  # The committed table of instructions, measured anew: a card of each compiler with a few formats, and with all.
  set(hw_instructions ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/bench/instructions --check --hw ${hw_launcher} --listing $<TARGET_FILE:listing>)
  add_test(NAME hw.instructions COMMAND ${hw_instructions} -j 1 --formats Q4_K,Q8_0 --tile-formats Q4_K)
  add_test(NAME hw.instructions.all COMMAND ${hw_instructions})
  set_tests_properties(hw.instructions hw.instructions.all PROPERTIES LABELS hw SKIP_RETURN_CODE 77 TIMEOUT 3000 ENVIRONMENT ${HEARTH_TEST_CACHE})
  set_property(TEST hw.instructions APPEND PROPERTY LABELS tier-sample)
  set_property(TEST hw.instructions.all APPEND PROPERTY LABELS tier-all)
  set_property(TEST hw.instructions.all PROPERTY PROCESSORS 2)
endif()

# The loops of what measures a device's limits.
if(Python3_FOUND AND NOT HEARTH_SANITIZE)
  add_test(NAME hw.roof COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/check_roof.py ${hw_launcher} ${CMAKE_BINARY_DIR}/gen/shaders)
  set_tests_properties(hw.roof PROPERTIES LABELS hw SKIP_RETURN_CODE 77 TIMEOUT 900)
endif()

if(Python3_FOUND AND NOT HEARTH_SANITIZE)
  add_test(NAME hw.plan COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/check_plan.py ${hw_launcher} $<TARGET_FILE:hearth>)
  set_tests_properties(hw.plan PROPERTIES LABELS hw SKIP_RETURN_CODE 77 TIMEOUT 900 ENVIRONMENT ${HEARTH_TEST_CACHE})
endif()
