/* Asks every node of the cluster for its view: lockstep_cluster_status(). */
#ifndef LOCKSTEP_CLIENT_SURVEY_H
#define LOCKSTEP_CLIENT_SURVEY_H

#include "client/operation.h"

/* As the functions of operation.h; the answer is a struct lockstep_cluster_status. Any thread but the loop's. */
int survey_begin(struct operation *operation);

#endif
