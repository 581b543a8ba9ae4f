/*
 * go-idle SIGNAL-URL DIR PEER: says GO_IDLE to PEER in the name of the machine whose private.key is in DIR, as an
 * official client does after a quarter of an hour without traffic. For the labs.
 */
#include "config.h"

#include "net/grpc.h"
#include "wire/signalmsg.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#define SEND_MS 5000

typedef struct {
	GMainLoop *loop;
	int status;
} Run;

static void on_sent(int status, const char *message, GBytes *reply, gpointer owner)
{
	Run *run = owner;

	(void)reply;
	if (status != NBH_GRPC_OK)
		fprintf(stderr, "go-idle: %s\n", message);
	run->status = status;
	g_main_loop_quit(run->loop);
}

int main(int argc, char **argv)
{
	struct nbh_key own_private, own_public, far;
	NbhSignalMessage message = { .type = NBH_SIGNAL_GO_IDLE };
	Run run = { .status = -1 };
	struct nbh_why why = { "" };
	g_autoptr(GError) error = NULL;
	NbhGrpcChannel *channel;
	int dirfd = argc == 4 ? open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (dirfd < 0 || nbh_key_parse(argv[3], &far) < 0) {
		fputs("usage: go-idle SIGNAL-URL DIR PEER\n", stderr);
		return 2;
	}
	if (nbh_keyfile_read(dirfd, "private.key", &own_private, &why) < 0) {
		fprintf(stderr, "go-idle: %s\n", why.text);
		return 1;
	}
	channel = nbh_grpc_channel_new(argv[1], NULL, &error);
	if (!channel) {
		fprintf(stderr, "go-idle: %s\n", error->message);
		return 1;
	}

	nbh_key_public(&own_private, &own_public);
	run.loop = g_main_loop_new(NULL, FALSE);
	nbh_grpc_unary(channel, "/signalexchange.SignalExchange/Send",
	               nbh_signal_seal(&own_private, &own_public, &far, &message), SEND_MS, on_sent, &run);
	g_main_loop_run(run.loop);
	nbh_grpc_channel_free(channel);
	g_main_loop_unref(run.loop);
	return run.status == NBH_GRPC_OK ? 0 : 1;
}
