# Tests of the core (node/core.h), driven through a fake replica and a fake shell.
foreach(part core clock proposer dispatch reads admission core_memory)
    if(EXISTS "${CMAKE_CURRENT_LIST_DIR}/test_${part}.c")
        lockstep_test(node_${part} SOURCES test_${part}.c test_core_harness.c LINK lockstep_core)
    endif()
endforeach()
