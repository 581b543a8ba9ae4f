#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/engine.h"
#include "app/options.h"
#include "app/status.h"
#include "base/confine.h"
#include "base/log.h"

int main(int argc, char **argv)
{
	NbhOptions options;
	int r = nbh_options_parse(argc, argv, &options);

	if (r >= 0)
		return r;

	nbh_log_init("netbird-helper");
	signal(SIGPIPE, SIG_IGN);
	nbh_confine_memory(); /* the key */

	if (options.debug)
		nbh_log_set_debug_modules(options.debug);

	switch (options.command) {
	case NBH_COMMAND_RUN:
		return nbh_command_run(&options);
	case NBH_COMMAND_LOGIN:
		return nbh_command_login(&options);
	case NBH_COMMAND_UP:
		return nbh_command_up(&options);
	case NBH_COMMAND_DOWN:
		return nbh_command_down(&options);
	case NBH_COMMAND_STATUS:
		return nbh_status_show(options.config_dir, options.json, options.detail);
	case NBH_COMMAND_LOGOUT:
		return nbh_command_logout(&options);
	case NBH_COMMAND_VERSION:
	case NBH_COMMAND_N:
		break;
	}

	puts(PACKAGE_VERSION);
	return NBH_EXIT_OK;
}
