/* What the files of the engine (world.c, node.c, peers.c, network.c, storm.c) share beside sim.h. */
#ifndef LOCKSTEP_TESTS_SIM_ENGINE_H
#define LOCKSTEP_TESTS_SIM_ENGINE_H

#include "tests/sim/sim.h"

/* How long a message takes. */
uint64_t engine_delay(const struct sim *sim, uint64_t *stream, uint64_t extra_us);

/* ---- node.c ---- */

struct fsm_counts;
void node_counts(const struct sim_node *node, struct fsm_counts *ret_counts);
/* After a jump to sim->fatal_jump. */
void node_fatal_end(struct sim *sim);

/* ---- settings.c ---- */

void settings_draw(struct sim *sim, struct sim_settings *settings);

/* ---- peers.c ---- */

extern const struct link_ops peers_link_ops;
void peers_node_ended(struct sim_node *node);
/* What `from` sends `to` is swallowed; counts, as several faults may do it at a time. */
void peers_cut(struct sim *sim, unsigned from, unsigned to, bool cut);
/* seems_gone: whoever sends on it finds its address refusing connections, too, though its process is there. */
void peers_break(struct sim *sim, unsigned from, unsigned to, bool seems_gone);
/* Connections come and go. */
void peers_turn(struct sim *sim);
uint64_t peers_due(const struct sim *sim);
/* Hand the node the frames that have arrived. @return whether there were any. */
bool peers_receive(struct sim_node *node);
uint64_t peers_receive_due(const struct sim_node *node);

/* ---- network.c ---- */

void network_free(struct sim *sim);
/* What clients hear: accepted, received, broken. */
void network_turn(struct sim *sim);
uint64_t network_due(const struct sim *sim);
/* Hand the node what has arrived on its connections: opened, bytes, closed. @return whether there was anything. */
bool network_receive(struct sim_node *node);
uint64_t network_receive_due(const struct sim_node *node);
void network_node_ended(struct sim_node *node);
/* It closes all of them: what it has sent still goes out, what comes is not read any more. */
void network_node_close_all(struct sim_node *node);
/* core_output's */
bool network_node_send(struct sim_node *node, uint64_t connection, const void *frame, size_t size);
void network_node_close(struct sim_node *node, uint64_t connection);
/* Faults. */
void network_break(struct sim *sim, unsigned client);
void network_silence(struct sim *sim, unsigned client, bool silent);
/* What is on its way and what follows arrives then at the earliest, also if the connection has been given up meanwhile. */
void network_delay(struct sim *sim, unsigned client, bool to_node, uint64_t until_us);

/* ---- storm.c ---- */

void storm_create(struct sim *sim);
void storm_free(struct sim *sim);
void storm_turn(struct sim *sim);
uint64_t storm_due(const struct sim *sim);
/* End all faults, mend all disks, start all nodes. */
void storm_end(struct sim *sim);
/* Whether something that was done to this node's disk explains that it does not start. */
bool storm_explains(const struct sim *sim, const struct sim_node *node);
void storm_print(const struct sim *sim, FILE *file);
unsigned storm_faults(const struct sim *sim);

#endif
