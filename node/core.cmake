# The part of a node between its sockets and the replica (core.h). Of the replica it sees the header only.
lockstep_library(lockstep_core
    SOURCES
        core.c core_check.c core_connection.c core_log.c core_machine.c core_slab.c core_table.c
        admission.c admission_authenticate.c admission_limit.c admission_route.c
        answer.c clock.c cluster_status.c dispatch.c greeting.c proposer.c reads.c request.c
    PUBLIC_LINK lockstep_protocol lockstep_fsm
    PRIVATE_LINK PkgConfig::crypto)
