/* What a client of each workload does next; the table of them is in workloads.c. */
#ifndef BENCH_LOAD_WORKLOADS_H
#define BENCH_LOAD_WORKLOADS_H

struct load_slot;

void load_cycles_prepare(struct load_slot *slot);
void load_cycles_begin(struct load_slot *slot);
void load_handoff_prepare(struct load_slot *slot);
void load_handoff_begin(struct load_slot *slot);
void load_hold_begin(struct load_slot *slot);
void load_reads_begin(struct load_slot *slot);
void load_mixed_begin(struct load_slot *slot);
void load_swarm_begin(struct load_slot *slot);

#endif
