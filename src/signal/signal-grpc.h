#ifndef NBH_SIGNAL_SIGNAL_GRPC_H
#define NBH_SIGNAL_SIGNAL_GRPC_H

#include "signal/signal.h"

/* For tests, right behind open(): other times than 30 s and 10 s. */
void nbh_signal_grpc_set_watchdog(NbhSignal *signal, guint silence_ms, guint echo_ms);

#endif
