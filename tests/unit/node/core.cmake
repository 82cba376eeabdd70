# Tests of the core (node/core.h), driven through a fake replica and a fake shell.
foreach(part core clock proposer dispatch reads admission core_check core_memory core_random)
    if(EXISTS "${CMAKE_CURRENT_LIST_DIR}/test_${part}.c")
        lockstep_test(node_${part} SOURCES test_${part}.c test_core_harness.c LINK lockstep_core)
    endif()
endforeach()

# It counts allocations: the calls in our static libraries, not those inside libcrypto.
target_link_options(test_node_core_memory PRIVATE
    -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc -Wl,--wrap=fsm_apply)
