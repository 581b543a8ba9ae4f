#include "config.h"

#include "wg/daemon.h"
#include "wg/isolate.h"
#include "wg/options.h"

int main(int argc, char **argv)
{
	struct wg_options options;
	int r;

	wg_isolate_early();
	r = wg_options_parse(argc, argv, &options);
	return r >= 0 ? r : wg_daemon_run(&options);
}
