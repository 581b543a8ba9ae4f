/* The launcher alone: launcher-main CONFIG-DIR [WHAT-FOLLOWS...], beside fakes of the programs. */
#include "config.h"

#include "app/launcher.h"
#include "base/log.h"

#include <stdio.h>

int main(int argc, char **argv)
{
	struct nbh_launcher_options options = { 0 };

	if (argc < 2) {
		fprintf(stderr, "usage: launcher-main CONFIG-DIR [ARGUMENT...]\n");
		return 2;
	}

	nbh_log_init("launcher");
	options.config_dir = argv[1];
	options.helper_args = argv + 2;
	return nbh_launcher_run(&options);
}
