/* The table of workloads. */
#include "tests/bench/load/workloads.h"

#include <stdio.h>
#include <string.h>

#include "tests/bench/load/load.h"

static const struct load_workload WORKLOADS[] = {
    {"w1", "cycles of acquire and release, each client on its own key", load_cycles_prepare,
     load_cycles_begin, false, false, false},
    {"w2", "hand-offs of one key among all clients", load_handoff_prepare, load_handoff_begin, false, false,
     true},
    {"w3", "as w1, with the longest time without a success", load_cycles_prepare, load_cycles_begin, false,
     false, true},
    {"w4", "take --locks locks and hold them until standard input ends", NULL, load_hold_begin, true, true,
     false},
    {"w5", "idle sessions", NULL, NULL, false, false, false},
    {"w7", "status of the client's own key; --stale asks any node", load_cycles_prepare, load_reads_begin,
     false, false, false},
    {"w8", "80 % cycles on own keys, 20 % on 100 hot keys", NULL, load_mixed_begin, false, false, false},
    {"w11", "leave --locks sessions that all expire --expire-after seconds after the start", NULL,
     load_swarm_begin, false, true, false},
};

const struct load_workload *load_workload_find(const char *name)
{
    for (size_t i = 0; i < sizeof WORKLOADS / sizeof WORKLOADS[0]; i++) {
        if (strcmp(WORKLOADS[i].name, name) == 0) {
            return &WORKLOADS[i];
        }
    }
    return NULL;
}

void load_workloads_print(void)
{
    for (size_t i = 0; i < sizeof WORKLOADS / sizeof WORKLOADS[0]; i++) {
        (void)printf("  %-4s %s\n", WORKLOADS[i].name, WORKLOADS[i].doc);
    }
}
